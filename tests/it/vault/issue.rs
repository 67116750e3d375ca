//! Making a credential: what the token is, what the wrapped read shows and hides, where the end is set.

use std::time::Duration;

use hallpass::vault::{Issuer, Outcome};
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::json;

use super::world::{MINUTE, World, deploy_json, leaked, new_grant, world};
use crate::support::servers::{Postgres, openbao, postgres};

#[tokio::test]
async fn a_grants_token_is_an_orphan_with_one_policy_and_the_grants_id() {
    let world = world("orphan").await;
    let (grant, token) = world.mint().await;
    let seen = world.token(token.accessor.expose()).await.unwrap();
    assert_eq!(seen["orphan"], true);
    assert_eq!(seen["policies"], json!(["cred-orphan"]));
    assert_eq!(seen["meta"], json!({ "grant": grant.to_string() }));
    assert_eq!(seen["display_name"], format!("token-{grant}"));
    assert_eq!(seen["creation_ttl"], 60);
    assert_eq!(seen["type"], "service");
}

#[tokio::test]
async fn a_grants_token_outlives_the_daemons_login() {
    let world = world("outlives").await;
    let (_, token) = world.mint().await;
    for login in world.logins().await {
        world.write("auth/token/revoke-accessor", json!({ "accessor": login })).await;
    }
    assert!(world.token(token.accessor.expose()).await.is_some());
}

#[tokio::test]
async fn a_token_that_is_no_orphan_is_refused_and_revoked() {
    let world = world("child").await;
    let mut role = deploy_json("token-role.json");
    role["orphan"] = false.into();
    world.write("auth/token/roles/child-grant", role).await;
    let grant = new_grant();
    let error = world.issuer.mint(grant, &world.policy, MINUTE).await.unwrap_err();
    assert!(error.reason.contains("no orphan"), "{error}");
    assert_eq!(error.outcome, Outcome::Refused);
    assert_eq!(world.tokens_of(grant).await, [""; 0]);
}

#[tokio::test]
async fn a_period_on_the_token_role_is_refused_because_the_token_would_last_longer() {
    let world = world("period").await;
    let mut role = deploy_json("token-role.json");
    role["token_period"] = "1h".into();
    world.write("auth/token/roles/period-grant", role).await;
    let grant = new_grant();
    let error = world.issuer.mint(grant, &world.policy, MINUTE).await.unwrap_err();
    assert!(error.reason.contains("longer than was asked for"), "{error}");
    assert_eq!(world.tokens_of(grant).await, [""; 0]);
}

#[tokio::test]
async fn a_policy_that_the_token_role_does_not_allow_is_refused() {
    let world = world("foreign").await;
    let error = world.issuer.mint(new_grant(), "root", MINUTE).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::Refused);
}

#[tokio::test]
async fn wrapped_read_hides_the_lease_but_the_list_shows_it() {
    let world = world("wrapped").await;
    let issued = world.issue().await;
    let listed = world.issuer.leases(&world.path).await.unwrap();
    let ids: Vec<_> = listed.iter().map(|lease| lease.id.expose()).collect();
    assert_eq!(ids, [issued.wrapped.lease.expose()], "the wrapping token's own lease is left out");
    let credential = world.unwrap(&issued.wrapped.token).await.unwrap();
    assert_eq!(credential.lease, issued.wrapped.lease);
    assert!(world.unwrap(&issued.wrapped.token).await.is_none(), "it opens once");
}

#[tokio::test]
async fn the_accounts_name_tells_the_grant_and_its_password_opens_the_database() {
    let world = world("account").await;
    let issued = world.issue().await;
    let credential = world.unwrap(&issued.wrapped.token).await.unwrap();
    assert!(credential.username.starts_with(&format!("token-{}-", issued.grant)), "{}", credential.username);
    world.postgres.connect(&credential.username, &credential.password, "postgres").await.unwrap();
}

#[tokio::test]
async fn nothing_leased_below_a_path_is_an_empty_list() {
    let world = world("empty").await;
    assert_eq!(world.issuer.leases(&world.path).await.unwrap().len(), 0);
}

#[tokio::test]
async fn unwrapped_read_is_refused_by_policy() {
    let world = world("unwrapped").await;
    let (grant, token) = world.mint().await;
    let (status, _) = world.bao.call(token.token.expose_secret(), Method::GET, &world.path, None).await;
    assert_eq!(status, 403);
    assert_eq!(world.accounts(grant).await, [""; 0]);
}

#[tokio::test]
async fn a_denied_read_is_refused_and_takes_the_token_along() {
    let world = world("denied").await;
    let (grant, token) = world.mint().await;
    let error = world.issuer.read_wrapped(token, "denied-db/creds/hp-other", MINUTE).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::Refused);
    assert!(error.reason.contains("denied-db/creds/hp-other"), "{error}");
    assert_eq!(world.tokens_of(grant).await, [""; 0]);
}

#[tokio::test]
async fn a_wrapping_ttl_beyond_the_policys_is_refused() {
    let world = world("toolong").await;
    let (grant, token) = world.mint().await;
    let error = world.issuer.read_wrapped(token, &world.path, 11 * MINUTE).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::Refused);
    assert_eq!(world.accounts(grant).await, [""; 0]);
}

#[tokio::test]
async fn a_role_that_vault_does_not_know_is_refused() {
    let world = world("norole").await;
    let read_all = "path \"norole-db/creds/*\" { capabilities = [\"read\"] min_wrapping_ttl = \"1s\" }";
    world.write_policy(&world.policy, read_all).await;
    let (_, token) = world.mint().await;
    let error = world.issuer.read_wrapped(token, "norole-db/creds/hp-none", MINUTE).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::Refused);
    assert!(error.reason.contains("unknown role: hp-none"), "{error}");
}

#[tokio::test]
async fn the_database_down_leaves_the_read_unknown_and_makes_no_lease() {
    let database = leaked(Postgres::start_private());
    let world = World::new("readdown", "", openbao(), database, super::clock()).await;
    let (grant, token) = world.mint().await;
    database.stop();
    let error = world.issuer.read_wrapped(token, &world.path, MINUTE).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::Unknown);
    assert!(error.reason.contains("connection refused"), "{error}");
    assert_eq!(world.issuer.leases(&world.path).await.unwrap().len(), 0);
    assert_eq!(world.tokens_of(grant).await, [""; 0]);
}

#[tokio::test]
async fn an_engine_without_leases_is_refused_and_its_wrapping_destroyed() {
    let world = world("leaseless").await;
    world.write("sys/mounts/leaseless-kv", json!({ "type": "kv" })).await;
    world.write("leaseless-kv/hp-key", json!({ "key": "value" })).await;
    let read = "path \"leaseless-kv/hp-key\" { capabilities = [\"read\"] }";
    world.write_policy(&world.policy, read).await;
    let list = "path \"sys/leases/lookup/leaseless-kv/*\" { capabilities = [\"list\", \"sudo\"] }";
    let daemon = world.own(&super::world::deploy("hallpassd.hcl"));
    world.write_policy(&world.daemon_policy(), &format!("{daemon}\n{list}")).await;
    let (_, token) = world.mint().await;
    let error = world.issuer.read_wrapped(token, "leaseless-kv/hp-key", MINUTE).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::Unknown);
    assert!(error.reason.contains("no lease appeared"), "{error}");
    let left = world.bao.list("sys/leases/lookup/leaseless-kv/hp-key/").await;
    assert!(left.is_null(), "the wrapping is destroyed: {left}");
}

#[tokio::test]
async fn the_token_does_not_cap_the_lease() {
    let world = world("uncapped").await;
    let issued = world.issue().await;
    let lease = world.lease(&issued.wrapped.lease).await.unwrap();
    assert!(lease["ttl"].as_i64().unwrap() > 7 * 3600, "{lease}");
}

/// I2, clocks 2 and 3: Vault and the database.
#[tokio::test]
async fn shortening_moves_token_lease_and_valid_until() {
    let world = world("shorten").await;
    let issued = world.issue().await;
    let left = Duration::from_millis(300_900);
    world.issuer.shorten(&issued.token, &issued.wrapped.lease, left).await.unwrap();
    let token = world.token(issued.token.expose()).await.unwrap()["ttl"].as_i64().unwrap();
    let lease = world.lease(&issued.wrapped.lease).await.unwrap()["ttl"].as_i64().unwrap();
    let account = world.valid_for(issued.grant).await;
    assert!((290..=300).contains(&token), "{token}");
    assert!((290..=300).contains(&lease), "{lease}");
    assert!((295.0..=306.0).contains(&account), "{account}");
}

#[tokio::test]
async fn an_end_beyond_the_max_ttl_is_capped_which_is_no_error() {
    let world = world("capped").await;
    let issued = world.issue().await;
    world.issuer.shorten(&issued.token, &issued.wrapped.lease, 60 * 24 * 30 * MINUTE).await.unwrap();
    let lease = world.lease(&issued.wrapped.lease).await.unwrap()["ttl"].as_i64().unwrap();
    assert!(lease <= 24 * 3600, "{lease}");
}

#[tokio::test]
async fn less_than_a_second_cannot_be_set() {
    let world = world("second").await;
    let issued = world.issue().await;
    let shorten = world.issuer.shorten(&issued.token, &issued.wrapped.lease, Duration::from_millis(999));
    assert_eq!(shorten.await.unwrap_err().outcome, Outcome::Refused);
}

#[tokio::test]
async fn two_grants_on_one_path_are_independent() {
    let world = world("both").await;
    let (first, second) = (world.issue().await, world.issue().await);
    world.issuer.shorten(&first.token, &first.wrapped.lease, MINUTE).await.unwrap();
    world.issuer.revoke_token(&first.token).await.unwrap();
    world.issuer.revoke_lease(&first.wrapped.lease).await.unwrap();
    assert!(world.issuer.lease_gone(&first.wrapped.lease).await.unwrap());
    assert!(!world.issuer.lease_gone(&second.wrapped.lease).await.unwrap());
    let left: Vec<_> = world.issuer.leases(&world.path).await.unwrap();
    assert_eq!(left.iter().map(|lease| &lease.id).collect::<Vec<_>>(), [&second.wrapped.lease]);
    assert!(world.valid_for(second.grant).await > 7.0 * 3600.0);
}

#[tokio::test]
async fn a_namespace_is_a_vault_of_its_own() {
    openbao().write("sys/namespaces/hp-team", json!({})).await;
    let world = World::new("spaced", "hp-team/", openbao(), postgres(), super::clock()).await;
    let issued = world.issue().await;
    assert!(world.issuer.missing(&[&world.path]).await.unwrap().is_empty());
    world.issuer.shorten(&issued.token, &issued.wrapped.lease, MINUTE).await.unwrap();
    assert_eq!(world.issuer.leases(&world.path).await.unwrap().len(), 1);
    world.issuer.revoke_wrapping(&issued.wrapped.accessor).await.unwrap();
    world.issuer.revoke_token(&issued.token).await.unwrap();
    world.issuer.revoke_lease(&issued.wrapped.lease).await.unwrap();
    assert!(world.issuer.lease_gone(&issued.wrapped.lease).await.unwrap());
    assert_eq!(world.accounts(issued.grant).await, [""; 0]);
}
