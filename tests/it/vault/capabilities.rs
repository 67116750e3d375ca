//! What the daemon lacks is named before it issues anything.

use hallpass::vault::{Issuer, MissingCapability, VaultIssuer};
use reqwest::Method;
use serde_json::json;

use super::world::{World, deploy, text, world};

fn missing(path: &str, capability: &'static str) -> MissingCapability {
    MissingCapability { path: path.into(), capability }
}

/// Gives the daemon its policy without the block of one path.
async fn take(world: &World, path: &str) {
    let policy = world.own(&deploy("hallpassd.hcl"));
    let left: Vec<_> = policy.lines().filter(|line| !line.contains(&format!("\"{path}\""))).collect();
    assert!(left.len() < policy.lines().count(), "{path} stands in the policy");
    world.write_policy(&world.daemon_policy(), &left.join("\n")).await;
}

#[tokio::test]
async fn the_policy_that_operators_load_is_enough() {
    let world = world("enough").await;
    assert_eq!(world.issuer.missing(&[&world.path]).await.unwrap(), []);
}

#[tokio::test]
async fn a_missing_capability_is_named() {
    let world = world("lacking").await;
    for path in ["auth/token/revoke-accessor", "sys/leases/revoke", "auth/token/create/lacking-grant"] {
        take(&world, path).await;
        assert_eq!(world.issuer.missing(&[&world.path]).await.unwrap(), [missing(path, "update")]);
    }
}

#[tokio::test]
async fn a_credential_path_outside_of_the_policy_is_named() {
    let world = world("outside").await;
    let list = "sys/leases/lookup/other/creds/x/";
    let expected = [missing(list, "list"), missing(list, "sudo")];
    assert_eq!(world.issuer.missing(&[&world.path, "other/creds/x"]).await.unwrap(), expected);
}

#[tokio::test]
async fn who_may_not_even_ask_lacks_that() {
    let world = world("unasked").await;
    take(&world, "sys/capabilities-self").await;
    let expected = [missing("sys/capabilities-self", "update")];
    assert_eq!(world.issuer.missing(&[&world.path]).await.unwrap(), expected);
}

#[tokio::test]
async fn the_daemon_cannot_read_credentials_nor_revoke_by_prefix() {
    let world = world("daemon").await;
    let secret_id = world.rotate_secret_id().await;
    let login = json!({ "role_id": world.settings.role_id, "secret_id": secret_id });
    let login = world.write("auth/daemon-approle/login", login).await;
    let token = text(&login["auth"]["client_token"]);
    assert_eq!(login["auth"]["policies"], json!(["daemon-hallpassd"]));
    let (read, _) = world.bao.call(&token, Method::GET, &world.path, None).await;
    let prefix = format!("sys/leases/revoke-prefix/{}", world.path);
    let (revoke, _) = world.bao.call(&token, Method::POST, &prefix, Some(json!({}))).await;
    assert_eq!((read, revoke), (403, 403));
}

#[tokio::test]
async fn a_denial_names_the_path_and_the_capability() {
    let world = world("named").await;
    let issued = world.issue().await;
    take(&world, "sys/leases/revoke").await;
    let daemon = VaultIssuer::new(world.settings.clone(), super::clock()).unwrap();
    let error = daemon.revoke_lease(&issued.wrapped.lease).await.unwrap_err();
    assert!(error.reason.contains("grant update on sys/leases/revoke"), "{error}");
}
