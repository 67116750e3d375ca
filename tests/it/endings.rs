//! Every way in which a grant ends, and everything that may stand in the way of it: restarts, Vault down, the database
//! down. Only Vault's word that the lease is gone makes a grant REVOKED.

use std::time::Duration;

use hallpass::wire::{Grant, GrantState, Request, RevocationCause, RevocationStep, RevokeGrantRequest};
use tonic::Code;

use crate::support::{
    people::Person,
    refusals::reason,
    servers::{Postgres, eventually},
    world::{Wishes, World},
};

const MINUTE: Duration = Duration::from_mins(1);

async fn approved(world: &World, alice: &mut Person, window: Duration) -> Request {
    let request = alice.submit(window, "order 4711 is stuck").await.unwrap();
    world.person("olivia").await.approve(&request, "fine").await.unwrap()
}

/// A grant that is held, with its credential.
async fn held(
    world: &World,
    alice: &mut Person,
    window: Duration,
) -> (Grant, crate::support::people::Credential) {
    let request = approved(world, alice, window).await;
    let claimed = alice.claim(&request).await.unwrap();
    let credential = alice.unwrap(&claimed).await;
    (claimed.grant.unwrap(), credential)
}

async fn lets_in(world: &World, credential: &crate::support::people::Credential) -> bool {
    world.postgres.connect(&credential.username, &credential.password, &world.database()).await.is_ok()
}

/// I3. Defect 2: an asynchronous revocation taken for done.
#[tokio::test]
async fn defect_2_a_released_grant_is_gone() {
    let world = World::start().await;
    let mut alice = world.person("alice").await;
    let (grant, credential) = held(&world, &mut alice, MINUTE).await;
    assert!(lets_in(&world, &credential).await);
    let ending = alice.release(&grant).await.unwrap();
    assert_ne!(ending.state(), GrantState::Active);
    let revoked = alice.sees(&grant, GrantState::Revoked).await;
    assert_eq!(revoked.cause(), RevocationCause::Released);
    assert!(!lets_in(&world, &credential).await);
    let again = alice.release(&grant).await.unwrap();
    assert_eq!(again.state(), GrantState::Revoked, "ending twice is ending");
    assert_eq!(world.audit("RevocationBegun").await.len(), 1);
}

#[tokio::test]
async fn an_operator_ends_anybodys_grant_and_nobody_else_does() {
    let world = World::start().await;
    let mut alice = world.person("alice").await;
    let (grant, credential) = held(&world, &mut alice, MINUTE).await;
    let revoke = || RevokeGrantRequest { name: grant.name.clone(), reason: "an incident".to_owned() };
    for name in ["alice", "olivia", "audrey"] {
        let error = world.person(name).await.grants.revoke_grant(revoke()).await.unwrap_err();
        assert_eq!(reason(&error), (Code::PermissionDenied, "ROLE_MISSING".to_owned()), "{name}");
    }
    let error = world.person("bob").await.grants.revoke_grant(revoke()).await.unwrap_err();
    assert_eq!(
        reason(&error),
        (Code::NotFound, "NOT_FOUND".to_owned()),
        "who may not read it learns nothing of it"
    );
    assert!(lets_in(&world, &credential).await);
    world.person("oren").await.grants.revoke_grant(revoke()).await.unwrap();
    let revoked = alice.sees(&grant, GrantState::Revoked).await;
    assert_eq!(revoked.cause(), RevocationCause::RevokedByOperator);
    assert!(!lets_in(&world, &credential).await);
    assert_eq!(world.audit("RevocationBegun").await[0]["detail"]["reason"], "an incident");
}

#[tokio::test]
async fn a_lost_answer_is_claimed_again_in_the_same_window() {
    let world = World::start().await;
    let mut alice = world.person("alice").await;
    let request = approved(&world, &mut alice, MINUTE).await;
    let lost = alice.claim(&request).await.unwrap();
    let found = alice.claim_with(&request, true).await.unwrap();
    let (first, second) = (lost.grant.clone().unwrap(), found.grant.clone().unwrap());
    assert_eq!(
        (first.opens_at, first.closes_at),
        (second.opens_at, second.closes_at),
        "the window never moves"
    );
    let revoked = alice.sees(&first, GrantState::Revoked).await;
    assert_eq!(revoked.cause(), RevocationCause::Reissued);
    assert!(alice.try_unwrap(&lost).await.is_err(), "the credential that nobody opened was destroyed");
    let credential = alice.unwrap(&found).await;
    assert!(lets_in(&world, &credential).await);
    assert_eq!(world.accounts().await, [credential.username]);
}

/// Defect 5: the first grant's timer ends the second's access.
#[tokio::test]
async fn defect_5_overlapping_grants_of_one_person_are_independent() {
    let world = World::start().await;
    let mut alice = world.person("alice").await;
    let (first, first_credential) = held(&world, &mut alice, MINUTE).await;
    let (second, second_credential) = held(&world, &mut alice, MINUTE).await;
    alice.release(&first).await.unwrap();
    alice.sees(&first, GrantState::Revoked).await;
    assert!(!lets_in(&world, &first_credential).await);
    assert!(lets_in(&world, &second_credential).await, "the first one's end leaves the second alone");
    assert_eq!(alice.grant(&second.name).await.unwrap().state(), GrantState::Active);
}

/// Defect 7: timers lost at an upgrade.
#[tokio::test]
async fn defect_7_a_restart_keeps_open_grants_and_their_deadlines() {
    let world = World::start().await;
    let mut alice = world.person("alice").await;
    let (grant, credential) = held(&world, &mut alice, Duration::from_secs(15)).await;
    world.stop_daemon("KILL").await;
    world.start_daemon().await;
    let kept = alice.grant(&grant.name).await.unwrap();
    assert_eq!((kept.closes_at, kept.activated_at), (grant.closes_at, grant.activated_at));
    alice.sees(&grant, GrantState::Revoked).await;
    assert!(!lets_in(&world, &credential).await);
}

/// I2: without the daemon.
#[tokio::test]
async fn a_window_that_closes_while_the_daemon_is_dead_is_ended_by_vault_and_recorded_at_the_start() {
    let world = World::start().await;
    let mut alice = world.person("alice").await;
    let (grant, credential) = held(&world, &mut alice, Duration::from_secs(8)).await;
    world.stop_daemon("KILL").await;
    eventually("Vault ends the account without the daemon", async || world.accounts().await.is_empty()).await;
    assert!(!lets_in(&world, &credential).await);
    world.start_daemon().await;
    let revoked = alice.sees(&grant, GrantState::Revoked).await;
    assert_eq!(revoked.cause(), RevocationCause::WindowClosed);
}

/// Defect 3: the server gives up on an ending; the daemon never does.
#[tokio::test]
async fn defect_3_vault_down_at_the_windows_end_then_back() {
    let world = World::with(Wishes { own_vault: true, ..Wishes::default() }).await;
    let mut alice = world.person("alice").await;
    let (grant, credential) = held(&world, &mut alice, Duration::from_secs(10)).await;
    world.bao.stop();
    let mut ending = grant.clone();
    eventually("the grant is ending, in vain", async || {
        ending = alice.grant(&grant.name).await.unwrap();
        ending.state() == GrantState::Revoking && !ending.revocation_error.is_empty()
    })
    .await;
    assert!(ending.ended_at.is_none(), "nothing is confirmed");
    world.bao.start().await;
    let revoked = alice.sees(&grant, GrantState::Revoked).await;
    assert_eq!(revoked.cause(), RevocationCause::WindowClosed);
    assert!(!lets_in(&world, &credential).await);
    assert!(world.accounts().await.is_empty());
}

/// I3. Defect 1: an error of the revocation taken for "gone".
#[tokio::test]
async fn defect_1_the_database_down_at_the_windows_end_then_back() {
    let world = World::with(Wishes { database: Some(Postgres::start_private), ..Wishes::default() }).await;
    let mut alice = world.person("alice").await;
    let (grant, credential) = held(&world, &mut alice, MINUTE).await;
    world.postgres.stop();
    alice.release(&grant).await.unwrap();
    let mut ending = grant.clone();
    eventually("the grant is ending, in vain", async || {
        ending = alice.grant(&grant.name).await.unwrap();
        ending.state() == GrantState::Revoking && !ending.revocation_error.is_empty()
    })
    .await;
    assert_eq!(ending.revocation_step(), RevocationStep::Lease, "{}", ending.revocation_error);
    world.postgres.start();
    alice.sees(&grant, GrantState::Revoked).await;
    assert!(!lets_in(&world, &credential).await);
    assert!(world.accounts().await.is_empty());
}

/// Defect 12: a broker without the right to revoke learns it at the revocation.
#[tokio::test]
async fn defect_12_a_daemon_that_could_not_revoke_does_not_issue() {
    let without_revocation =
        |policy: String| policy.replace("path \"sys/leases/revoke\"", "path \"sys/leases/no-such-thing\"");
    let wishes = Wishes { daemon_policy: without_revocation, ..Wishes::default() };
    let world = World::with(wishes).await;
    let mut alice = world.person("alice").await;
    let request = approved(&world, &mut alice, MINUTE).await;
    let error = alice.claim(&request).await.unwrap_err();
    assert_eq!(reason(&error), (Code::FailedPrecondition, "ISSUE_BLOCKED".to_owned()));
    assert!(error.message().contains("update on sys/leases/revoke"), "{}", error.message());
    assert!(world.accounts().await.is_empty());
    assert!(world.audit("GrantOpened").await.is_empty());
    // Once the right is there, the same request can be claimed.
    world.write_policy(&format!("hallpassd-{}", world.name), &world.deployed_text("hallpassd.hcl")).await;
    world.stop_daemon("TERM").await;
    world.start_daemon().await;
    alice.claim(&request).await.unwrap();
}

#[tokio::test]
async fn of_many_claims_at_once_one_wins() {
    let world = World::start().await;
    let mut alice = world.person("alice").await;
    let request = approved(&world, &mut alice, MINUTE).await;
    let mut claims = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (mut alice, request) = (alice.clone(), request.clone());
        claims.spawn(async move { alice.claim(&request).await });
    }
    let results = claims.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        assert_eq!(reason(error).1, "GRANT_HELD");
    }
    assert_eq!(world.accounts().await.len(), 1);
}
