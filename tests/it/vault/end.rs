//! Ending access: what each answer of Vault proves, and what it doesn't.

use std::time::Duration;

use hallpass::{
    access::handle::{Accessor, LeaseId},
    vault::{Issuer, Outcome},
};
use serde_json::json;

use super::world::{MINUTE, World, leaked, world};
use crate::support::servers::{Postgres, eventually, openbao};

/// I3. Defect 2: an asynchronous revocation taken for done.
#[tokio::test]
async fn defect_2_revoking_the_token_leaves_the_lease_until_it_is_revoked_with_sync() {
    let database = leaked(Postgres::start_private());
    let world = World::new("queued", "", openbao(), database, super::clock()).await;
    let issued = world.issue().await;
    let lease = &issued.wrapped.lease;
    database.stop();
    world.issuer.revoke_token(&issued.token).await.unwrap();
    assert!(world.token(issued.token.expose()).await.is_none());
    assert!(!world.issuer.lease_gone(lease).await.unwrap(), "it is only queued");
    database.start();
    assert_eq!(world.accounts(issued.grant).await.len(), 1);
    world.issuer.revoke_lease(lease).await.unwrap();
    assert!(world.issuer.lease_gone(lease).await.unwrap());
    assert_eq!(world.accounts(issued.grant).await, [""; 0]);
}

/// I3. Defect 1: an error of the revocation taken for "gone".
#[tokio::test]
async fn defect_1_with_the_database_down_the_revocation_fails_and_the_lookup_says_alive() {
    let database = leaked(Postgres::start_private());
    let world = World::new("down", "", openbao(), database, super::clock()).await;
    let issued = world.issue().await;
    let lease = &issued.wrapped.lease;
    database.stop();
    let error = world.issuer.revoke_lease(lease).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::Refused);
    assert!(error.reason.contains("connection refused"), "{error}");
    assert!(!world.issuer.lease_gone(lease).await.unwrap());
    database.start();
    world.issuer.revoke_lease(lease).await.unwrap();
    assert!(world.issuer.lease_gone(lease).await.unwrap());
    assert_eq!(world.accounts(issued.grant).await, [""; 0]);
}

#[tokio::test]
async fn revocation_ends_the_open_session_and_drops_the_account() {
    let world = world("session").await;
    let issued = world.issue().await;
    let credential = world.unwrap(&issued.wrapped.token).await.unwrap();
    let session =
        world.postgres.connect(&credential.username, &credential.password, "postgres").await.unwrap();
    world.issuer.revoke_lease(&issued.wrapped.lease).await.unwrap();
    eventually("the session is thrown out", async || session.is_closed()).await;
    assert_eq!(world.accounts(issued.grant).await, [""; 0]);
}

/// Defect 19: leases of vanished accounts that can never be revoked.
#[tokio::test]
async fn defect_19_an_account_that_somebody_dropped_by_hand_counts_as_revoked() {
    let world = world("vanished").await;
    let issued = world.issue().await;
    let account = world.accounts(issued.grant).await.remove(0);
    world.superuser().await.batch_execute(&format!("DROP ROLE \"{account}\"")).await.unwrap();
    world.issuer.revoke_lease(&issued.wrapped.lease).await.unwrap();
    assert!(world.issuer.lease_gone(&issued.wrapped.lease).await.unwrap());
}

#[tokio::test]
async fn a_lease_with_a_typo_is_gone_too() {
    let world = world("typo").await;
    let issued = world.issue().await;
    let typo = LeaseId::new(format!("{}x", issued.wrapped.lease.expose()));
    assert!(world.issuer.lease_gone(&typo).await.unwrap());
    world.issuer.revoke_lease(&typo).await.unwrap();
    assert!(!world.issuer.lease_gone(&issued.wrapped.lease).await.unwrap());
}

#[tokio::test]
async fn ending_twice_is_no_error() {
    let world = world("twice").await;
    let issued = world.issue().await;
    for _ in 0..2 {
        world.issuer.revoke_wrapping(&issued.wrapped.accessor).await.unwrap();
        world.issuer.revoke_token(&issued.token).await.unwrap();
        world.issuer.revoke_lease(&issued.wrapped.lease).await.unwrap();
        assert!(world.issuer.lease_gone(&issued.wrapped.lease).await.unwrap());
    }
    world.issuer.revoke_token(&Accessor::new("never-was")).await.unwrap();
}

#[tokio::test]
async fn the_wrapping_outlives_the_grants_token_and_is_revoked_by_itself() {
    let world = world("wrapping").await;
    let issued = world.issue().await;
    world.issuer.revoke_token(&issued.token).await.unwrap();
    assert!(world.token(issued.wrapped.accessor.expose()).await.is_some());
    world.issuer.revoke_wrapping(&issued.wrapped.accessor).await.unwrap();
    assert!(world.token(issued.wrapped.accessor.expose()).await.is_none());
    assert!(world.unwrap(&issued.wrapped.token).await.is_none());
}

#[tokio::test]
async fn an_opened_wrapping_can_be_revoked_and_its_credential_stays() {
    let world = world("opened").await;
    let issued = world.issue().await;
    assert!(world.unwrap(&issued.wrapped.token).await.is_some());
    world.issuer.revoke_wrapping(&issued.wrapped.accessor).await.unwrap();
    assert!(!world.issuer.lease_gone(&issued.wrapped.lease).await.unwrap());
}

#[tokio::test]
async fn without_the_daemon_vault_ends_the_grant_when_its_time_is_over() {
    let world = world("alone").await;
    let issued = world.issue().await;
    world.issuer.shorten(&issued.token, &issued.wrapped.lease, Duration::from_secs(1)).await.unwrap();
    eventually("Vault has ended the lease", async || world.lease(&issued.wrapped.lease).await.is_none())
        .await;
    assert!(world.issuer.lease_gone(&issued.wrapped.lease).await.unwrap());
    assert_eq!(world.accounts(issued.grant).await, [""; 0]);
    // Both timers fired: what the daemon does now must succeed too.
    world.issuer.revoke_token(&issued.token).await.unwrap();
    world.issuer.revoke_lease(&issued.wrapped.lease).await.unwrap();
}

#[tokio::test]
async fn an_ended_token_ends_its_lease_sooner_or_later() {
    let world = world("follows").await;
    let issued = world.issue().await;
    world.issuer.revoke_token(&issued.token).await.unwrap();
    eventually("Vault has revoked the queued lease", async || {
        world.issuer.lease_gone(&issued.wrapped.lease).await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn what_has_ended_cannot_be_given_a_new_end() {
    let world = world("ended").await;
    let issued = world.issue().await;
    world.issuer.revoke_token(&issued.token).await.unwrap();
    world.issuer.revoke_lease(&issued.wrapped.lease).await.unwrap();
    let error = world.issuer.shorten(&issued.token, &issued.wrapped.lease, MINUTE).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::Refused);
}

#[tokio::test]
async fn many_leases_are_looked_up_a_few_at_a_time() {
    let world = world("many").await;
    for _ in 0..20 {
        world.issue().await;
    }
    assert_eq!(world.issuer.leases(&world.path).await.unwrap().len(), 20);
    world.write(&format!("sys/leases/revoke-prefix/{}", world.path), json!({ "sync": true })).await;
    assert_eq!(world.issuer.leases(&world.path).await.unwrap().len(), 0);
}
