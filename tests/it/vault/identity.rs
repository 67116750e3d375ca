//! Vault as the one who knows people: the token that its identity provider gives a developer.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::{Value, json};

use super::world::{deploy_json, text};
use crate::support::servers::openbao;

/// Loads the OIDC key and role under names of the test's own, and logs a person in.
async fn person(name: &str, template: Option<&str>) -> Value {
    let bao = openbao();
    let mut key = deploy_json("oidc-key.json");
    key["allowed_client_ids"] = json!([name]);
    bao.write(&format!("identity/oidc/key/{name}"), key).await;
    let mut role = deploy_json("oidc-role.json");
    (role["key"], role["client_id"]) = (name.into(), name.into());
    if let Some(template) = template {
        role["template"] = template.into();
    }
    bao.write(&format!("identity/oidc/role/{name}"), role).await;
    log_in(name).await
}

async fn log_in(name: &str) -> Value {
    let bao = openbao();
    let read = format!("path \"identity/oidc/token/{name}\" {{ capabilities = [\"read\"] }}");
    bao.write(&format!("sys/policies/acl/{name}"), json!({ "policy": read })).await;
    bao.write(&format!("sys/auth/{name}"), json!({ "type": "userpass" })).await;
    bao.write(&format!("auth/{name}/users/ada"), json!({ "password": "p", "token_policies": [name] })).await;
    let entity = bao.write("identity/entity", json!({ "name": format!("{name}-ada") })).await;
    let entity = text(&entity["data"]["id"]);
    let mount = text(&bao.read("sys/auth").await["data"][format!("{name}/")]["accessor"]);
    let alias = json!({ "name": "ada", "canonical_id": entity, "mount_accessor": mount });
    bao.write("identity/entity-alias", alias).await;
    let group = json!({ "name": format!("{name}-ops"), "member_entity_ids": [entity] });
    bao.write("identity/group", group).await;
    let login = bao.write(&format!("auth/{name}/login/ada"), json!({ "password": "p" })).await;
    let token = text(&login["auth"]["client_token"]);
    let (status, answer) = bao.call(&token, Method::GET, &format!("identity/oidc/token/{name}"), None).await;
    assert_eq!(status, 200, "{answer}");
    claims(&text(&answer["data"]["token"]))
}

fn claims(jwt: &str) -> Value {
    let payload = BASE64_URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

#[tokio::test]
async fn a_persons_token_carries_name_groups_and_audience() {
    let claims = person("hp-person", None).await;
    assert_eq!(claims["name"], "hp-person-ada");
    assert_eq!(claims["groups"], json!(["hp-person-ops"]));
    assert_eq!(claims["aud"], "hp-person");
    assert_eq!(claims["iss"], format!("{}/v1/identity/oidc", openbao().address));
    assert!(claims["nbf"].is_i64() && claims["exp"].is_i64() && claims["sub"].is_string(), "{claims}");
}

#[tokio::test]
async fn without_a_template_there_are_no_groups() {
    let claims = person("hp-plain", Some("")).await;
    assert!(claims["groups"].is_null(), "{claims}");
}
