//! Tokens that aren't to be trusted, made with the real identity provider wherever it can make them.

use std::{fs, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hallpass::wire::ListTargetsRequest;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use reqwest::Method;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::support::{
    people::{Bearer, Person},
    refusals::reason,
    servers::eventually,
    world::{Wishes, World},
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

/// An issuer of the tests' own, whose keys the daemon has in a file.
struct Corp {
    key: EncodingKey,
    dir: tempfile::TempDir,
}

impl Corp {
    fn new() -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.public_key_raw());
        let jwk =
            json!({ "kid": "corp", "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "x": x });
        fs::write(dir.path().join("keys.json"), json!({ "keys": [jwk] }).to_string()).unwrap();
        Self { key: EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).unwrap(), dir }
    }

    /// The daemon trusts it beside Vault, and two of its people's identities are one person's.
    fn wishes(&self) -> Wishes {
        let more = format!(
            r#"
[identity.oidc.corp]
issuer = "corp"
audience = "hallpass"
keys_file = "{}"
groups_claim = "realm_access.roles"
groups = ["developers-@", "operations-leads-@"]

[identity.persons.dana]
identities = ["corp:dana-at-work", "corp:dana-on-call"]
"#,
            self.dir.path().join("keys.json").display()
        );
        Wishes { more, issuer: "groups = [\"developers-@\", \"operations-leads-@\"]", ..Wishes::default() }
    }

    fn person(&self, world: &World, id: &str, name: &str, group: &str) -> Person {
        let claims = json!({
            "iss": "corp", "aud": "hallpass", "sub": id, "name": name, "exp": 4_000_000_000_u32,
            "realm_access": { "roles": [format!("{group}-{}", world.name)] },
        });
        let header = Header { kid: Some("corp".into()), ..Header::new(Algorithm::EdDSA) };
        Person::with_token(world, &encode(&header, &claims, &self.key).unwrap())
    }
}

#[tokio::test]
async fn people_of_two_issuers_work_together() {
    let corp = Corp::new();
    let world = World::with(corp.wishes()).await;
    let mut dave = corp.person(&world, "dave", "Dave", "developers");
    let request = dave.submit(Duration::from_mins(1), "orders hang").await.unwrap();
    let requester = request.requester.clone().unwrap();
    assert_eq!((requester.subject.as_str(), requester.name.as_str()), ("corp:dave", "Dave"));
    let approved = world.person("olivia").await.approve(&request, "read-only").await.unwrap();
    let olivia = approved.decisions[0].approver.clone().unwrap();
    assert!(olivia.subject.starts_with("vault:"), "{olivia:?}");
    let claimed = dave.claim(&request).await.unwrap();
    dave.release(&claimed.grant.unwrap()).await.unwrap();
}

/// Four eyes are two people's, not two logins'.
#[tokio::test]
async fn a_person_with_two_identities_does_not_approve_what_he_asked() {
    let corp = Corp::new();
    let world = World::with(corp.wishes()).await;
    let mut asking = corp.person(&world, "dana-at-work", "Dana", "developers");
    let request = asking.submit(Duration::from_mins(1), "orders hang").await.unwrap();
    assert_eq!(request.requester.as_ref().unwrap().subject, "person:dana");
    let mut deciding = corp.person(&world, "dana-on-call", "On Call", "operations-leads");
    let refused = deciding.approve(&request, "I trust myself").await.unwrap_err();
    assert_eq!(reason(&refused), (Code::PermissionDenied, "SELF_APPROVAL".to_owned()));
    assert_eq!(world.audit("AttemptRefused").await.len(), 1);
    let mut another = corp.person(&world, "erin", "Erin", "operations-leads");
    another.approve(&request, "read-only").await.unwrap();
}
