//! The daemon's own login: made, renewed, replaced.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use hallpass::{
    access::handle::LeaseId,
    clock::ManualClock,
    vault::{Issuer, Outcome, VaultIssuer},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::world::{MINUTE, World, deploy_json, leaked, new_grant, now, world};
use crate::support::servers::{Bao, eventually, openbao, postgres};

async fn revoke_logins(world: &World) {
    for login in world.logins().await {
        world.write("auth/token/revoke-accessor", json!({ "accessor": login })).await;
    }
}

/// Keeps the login in the background, until the guard is dropped.
fn keep(issuer: &VaultIssuer) -> tokio_util::sync::DropGuard {
    let (issuer, stop) = (issuer.clone(), CancellationToken::new());
    let guard = stop.clone().drop_guard();
    tokio::spawn(async move { issuer.keep_login(stop).await });
    guard
}

#[tokio::test]
async fn nobody_is_logged_in_until_the_login_is_kept_or_needed() {
    let world = world("needed").await;
    assert!(!world.issuer.ready());
    assert!(world.issuer.lease_gone(&LeaseId::new("never")).await.unwrap());
    assert!(world.issuer.ready());
    assert_eq!(world.logins().await.len(), 1);
}

#[tokio::test]
async fn many_who_need_a_login_make_one() {
    let world = world("flight").await;
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let issuer = world.issuer.clone();
            tokio::spawn(async move { issuer.lease_gone(&LeaseId::new("never")).await })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap().unwrap());
    }
    assert_eq!(world.logins().await.len(), 1);
}

#[tokio::test]
async fn relogin_after_the_login_token_was_revoked() {
    let world = world("relogin").await;
    let issued = world.issue().await;
    revoke_logins(&world).await;
    assert!(!world.issuer.lease_gone(&issued.wrapped.lease).await.unwrap());
    assert_eq!(world.logins().await.len(), 1);
    revoke_logins(&world).await;
    world.issuer.revoke_lease(&issued.wrapped.lease).await.unwrap();
}

#[tokio::test]
async fn a_token_creation_finds_out_about_an_ended_login_before_it_is_sent() {
    let world = world("once").await;
    world.mint().await;
    revoke_logins(&world).await;
    let (grant, _) = world.mint().await;
    assert_eq!(world.tokens_of(grant).await.len(), 1);
}

#[tokio::test]
async fn a_restart_of_vault_fails_no_token_creation() {
    let bao = leaked(Bao::start_private().await);
    let world = World::new("restart", "", bao, postgres(), super::clock()).await;
    world.mint().await;
    bao.stop();
    bao.start().await;
    world.mint().await;
}

#[tokio::test]
async fn being_denied_by_policy_makes_no_new_login() {
    let world = world("policy").await;
    world.mint().await;
    world
        .write_policy(&world.daemon_policy(), "path \"auth/token/lookup-self\" { capabilities = [\"read\"] }")
        .await;
    assert!(world.issuer.lease_gone(&LeaseId::new("never")).await.is_err());
    assert_eq!(world.logins().await.len(), 1);
}

#[tokio::test]
async fn the_login_is_renewed_at_two_thirds_of_its_life() {
    let clock = Arc::new(ManualClock::new(now()));
    let world = World::new("renewed", "", openbao(), postgres(), clock.clone()).await;
    let _guard = keep(&world.issuer);
    eventually("there is a login", async || world.issuer.ready()).await;
    let login = world.logins().await.remove(0);
    assert!(world.token(&login).await.unwrap()["last_renewal_time"].is_null());
    clock.advance(TimeDelta::minutes(14));
    eventually("it is renewed", async || !world.token(&login).await.unwrap()["last_renewal_time"].is_null())
        .await;
    assert_eq!(world.logins().await, [login]);
}

#[tokio::test]
async fn a_login_whose_renewal_is_refused_is_replaced() {
    let clock = Arc::new(ManualClock::new(now()));
    let world = World::new("replaced", "", openbao(), postgres(), clock.clone()).await;
    let _guard = keep(&world.issuer);
    eventually("there is a login", async || world.issuer.ready()).await;
    let first = world.logins().await;
    revoke_logins(&world).await;
    clock.advance(TimeDelta::minutes(14));
    eventually("there is another", async || world.logins().await.len() == 1).await;
    assert_ne!(world.logins().await, first);
}

#[tokio::test]
async fn a_login_that_the_max_ttl_cuts_short_is_replaced() {
    let clock = Arc::new(ManualClock::new(now()));
    let world = World::new("cut", "", openbao(), postgres(), clock.clone()).await;
    let mut role = deploy_json("approle.json");
    role["token_policies"] = json!([world.daemon_policy()]);
    role["token_ttl"] = "20m".into();
    world.write("auth/cut-approle/role/hallpassd", role.clone()).await;
    let _guard = keep(&world.issuer);
    eventually("there is a login", async || world.issuer.ready()).await;
    role["token_ttl"] = "2m".into();
    role["token_max_ttl"] = "2m".into();
    world.write("auth/cut-approle/role/hallpassd", role).await;
    clock.advance(TimeDelta::minutes(14));
    eventually("there is another", async || world.logins().await.len() == 2).await;
}

#[tokio::test]
async fn a_rotated_secret_id_is_read_from_its_file() {
    let world = world("rotated").await;
    let old = world.rotate_secret_id().await;
    world.mint().await;
    world.write("auth/rotated-approle/role/hallpassd/secret-id/destroy", json!({ "secret_id": old })).await;
    world.rotate_secret_id().await;
    revoke_logins(&world).await;
    assert!(world.issuer.lease_gone(&LeaseId::new("never")).await.unwrap());
}

#[tokio::test]
async fn a_wrong_secret_id_is_an_error_that_does_not_tell_it() {
    let world = world("wrong").await;
    std::fs::write(&world.settings.secret_id_file, "not-the-secret-id").unwrap();
    let error = world.issuer.mint(new_grant(), &world.policy, MINUTE).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::Refused);
    assert!(error.reason.contains("invalid role or secret ID"), "{error}");
    assert!(!format!("{error} {error:?}").contains("not-the-secret-id"));
    std::fs::remove_file(&world.settings.secret_id_file).unwrap();
    let error = world.issuer.mint(new_grant(), &world.policy, MINUTE).await.unwrap_err();
    assert!(error.reason.contains("secret-id"), "the file is named: {error}");
}

#[tokio::test]
async fn a_vault_that_comes_up_later_is_logged_in_to() {
    let bao = leaked(Bao::start_private().await);
    let world = World::new("later", "", bao, postgres(), super::clock()).await;
    bao.stop();
    let error = world.issuer.missing(&[]).await.unwrap_err();
    assert!(error.reason.contains("cannot connect"), "{error}");
    let _guard = keep(&world.issuer);
    bao.start().await;
    eventually("there is a login", async || world.issuer.ready()).await;
    world.mint().await;
}

#[tokio::test]
async fn keeping_the_login_ends_when_it_is_told_to() {
    let world = world("stop").await;
    let stop = CancellationToken::new();
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), world.issuer.keep_login(stop)).await.unwrap();
}
