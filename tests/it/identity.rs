//! Tokens that aren't to be trusted, made with the real identity provider wherever it can make them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hallpass::wire::ListTargetsRequest;
use reqwest::Method;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::support::{
    people::{Bearer, Person},
    refusals::reason,
    servers::eventually,
    world::World,
};

async fn refusal(world: &World, jwt: &str) -> Status {
    let listing = Person::with_token(world, jwt).targets.list_targets(ListTargetsRequest::default()).await;
    listing.expect_err("the token is refused")
}

fn invalid() -> (Code, String) {
    (Code::Unauthenticated, "TOKEN_INVALID".to_owned())
}

/// A token for alice from another role of the identity provider.
async fn token_of_role(world: &World, role: Value) -> String {
    let (bao, name) = (&world.bao, format!("odd-{}", world.name));
    bao.write(&format!("identity/oidc/role/{name}"), role).await;
    let rights = "path \"identity/oidc/token/*\" { capabilities = [\"read\"] }";
    world.write_policy(&format!("login-{}", world.name), rights).await;
    let path = format!("auth/userpass-{}/login/alice", world.name);
    let (_, login) = bao.call("", Method::POST, &path, Some(json!({ "password": "open sesame" }))).await;
    let token = login["auth"]["client_token"].as_str().unwrap();
    let (status, answer) = bao.call(token, Method::GET, &format!("identity/oidc/token/{name}"), None).await;
    assert_eq!(status, 200, "{answer}");
    answer["data"]["token"].as_str().unwrap().to_owned()
}

fn role(world: &World) -> Value {
    serde_json::from_str(&world.deployed_text("oidc-role.json")).unwrap()
}

#[tokio::test]
async fn a_token_for_another_audience() {
    let world = World::start().await;
    let mut other = role(&world);
    other["client_id"] = json!("another-service");
    let key = json!({ "allowed_client_ids": ["*"], "algorithm": "EdDSA" });
    world.bao.write(&format!("identity/oidc/key/hallpass-{}", world.name), key).await;
    let jwt = token_of_role(&world, other).await;
    let error = refusal(&world, &jwt).await;
    assert_eq!(reason(&error), invalid());
    assert!(error.message().contains("audience"), "{}", error.message());
    let recorded = world.audit("IdentityRefused").await;
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0]["detail"]["client_address"], "127.0.0.1");
    let log = world.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("identity-refused")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(r#""client.address":"127.0.0.1""#), "{lines:?}");
}

#[tokio::test]
async fn a_token_without_groups() {
    let world = World::start().await;
    let mut bare = role(&world);
    bare["template"] = json!("{\"name\": {{identity.entity.name}}}");
    let error = refusal(&world, &token_of_role(&world, bare).await).await;
    assert_eq!(reason(&error), invalid());
    assert!(error.message().contains("groups"), "{}", error.message());
}

#[tokio::test]
async fn a_token_that_expired() {
    let world = World::start().await;
    let mut brief = role(&world);
    brief["ttl"] = json!("2s");
    let jwt = token_of_role(&world, brief).await;
    let mut alice = Person::with_token(&world, &jwt);
    alice.targets.list_targets(ListTargetsRequest::default()).await.expect("it is good while it lasts");
    let mut error = None;
    eventually("the token is refused", async || {
        error = alice.targets.list_targets(ListTargetsRequest::default()).await.err();
        error.is_some()
    })
    .await;
    let error = error.unwrap();
    assert_eq!(reason(&error), invalid());
    assert!(error.message().contains("expired"), "{}", error.message());
}

#[tokio::test]
async fn tokens_that_are_forged() {
    let world = World::start().await;
    let jwt = world.person("alice").await.jwt;
    let [header, claims, signature] = jwt.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let mut promoted: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    promoted["groups"] = json!([format!("operators-{}", world.name)]);
    let promoted = URL_SAFE_NO_PAD.encode(promoted.to_string());
    let unsigned = URL_SAFE_NO_PAD.encode(json!({ "alg": "none", "typ": "JWT" }).to_string());
    for forged in [
        format!("{header}.{promoted}.{signature}"),
        format!("{unsigned}.{promoted}."),
        format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode([7; 64])),
        format!("{header}.{claims}"),
        "nonsense".to_owned(),
    ] {
        assert_eq!(reason(&refusal(&world, &forged).await), invalid(), "{forged}");
    }
    assert_eq!(world.audit("IdentityRefused").await.len(), 5);
    assert!(!world.log().contains(&jwt) && !world.log().contains(claims), "no token in the log");
}

#[tokio::test]
async fn no_token_at_all() {
    let world = World::start().await;
    let mut nobody = Person::with_bearer(&world, "", Bearer(None));
    let error = nobody.targets.list_targets(ListTargetsRequest::default()).await.unwrap_err();
    assert_eq!(reason(&error), invalid());
    assert!(world.audit("IdentityRefused").await.is_empty(), "anybody may forget to log in");
}
