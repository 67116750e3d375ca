//! The simulated Vault keeps the real one's traps.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta};
use hallpass::{
    access::id::GrantId,
    clock::{Clock, ManualClock},
    vault::{
        Issuer, Outcome, SimulatedIssuer, Wrapped,
        simulated::{Effect, Operation},
    },
};

use super::world::MINUTE;

const PATH: &str = "database/creds/hp-orders-ro";

fn simulated() -> (Arc<ManualClock>, SimulatedIssuer, GrantId) {
    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH + TimeDelta::days(20_000)));
    let grant = GrantId::new(clock.now(), clock.random());
    (clock.clone(), SimulatedIssuer::new(clock), grant)
}

async fn issue(vault: &SimulatedIssuer, grant: GrantId) -> (hallpass::access::handle::Accessor, Wrapped) {
    let token = vault.mint(grant, "cred-orders-ro", MINUTE).await.unwrap();
    let accessor = token.accessor.clone();
    (accessor, vault.read_wrapped(token, PATH, MINUTE).await.unwrap())
}

#[tokio::test]
async fn a_grant_is_issued_and_ended_step_by_step() {
    let (_, vault, grant) = simulated();
    let (token, wrapped) = issue(&vault, grant).await;
    vault.shorten(&token, &wrapped.lease, 5 * MINUTE).await.unwrap();
    assert_eq!(vault.leases(PATH).await.unwrap().len(), 1);
    vault.revoke_token(&token).await.unwrap();
    assert!(vault.live_tokens().is_empty());
    assert!(!vault.lease_gone(&wrapped.lease).await.unwrap(), "the lease is only queued");
    assert_eq!(vault.live_wrappings(), 1, "the wrapping is an orphan");
    vault.revoke_wrapping(&wrapped.accessor).await.unwrap();
    assert!(vault.unwrap(&wrapped.token).is_none());
    vault.revoke_lease(&wrapped.lease).await.unwrap();
    assert!(vault.lease_gone(&wrapped.lease).await.unwrap());
    let operations: Vec<_> = vault.calls().iter().map(|call| (call.operation, call.grant)).collect();
    assert_eq!(operations[..2], [(Operation::Mint, Some(grant)), (Operation::ReadWrapped, Some(grant))]);
    assert_eq!(operations.last(), Some(&(Operation::LeaseGone, Some(grant))));
}

#[tokio::test]
async fn time_ends_what_nobody_ended() {
    let (clock, vault, grant) = simulated();
    let (token, wrapped) = issue(&vault, grant).await;
    vault.shorten(&token, &wrapped.lease, Duration::from_millis(90_999)).await.unwrap();
    clock.advance(TimeDelta::seconds(89));
    assert_eq!((vault.live_tokens().len(), vault.live_leases().len()), (1, 1));
    clock.advance(TimeDelta::seconds(1));
    assert_eq!((vault.live_tokens().len(), vault.live_leases().len(), vault.live_wrappings()), (0, 0, 0));
}

#[tokio::test]
async fn a_token_that_is_not_renewed_takes_its_lease_along() {
    let (clock, vault, grant) = simulated();
    issue(&vault, grant).await;
    clock.advance(TimeDelta::minutes(1));
    assert!(vault.live_leases().is_empty());
}

#[tokio::test]
async fn a_target_that_is_down_keeps_its_lease_alive_beyond_its_end() {
    let (clock, vault, grant) = simulated();
    let (token, wrapped) = issue(&vault, grant).await;
    vault.target_down(PATH, true);
    assert!(vault.revoke_lease(&wrapped.lease).await.is_err());
    vault.revoke_token(&token).await.unwrap();
    clock.advance(TimeDelta::days(1));
    assert!(!vault.lease_gone(&wrapped.lease).await.unwrap());
    vault.target_down(PATH, false);
    assert!(vault.lease_gone(&wrapped.lease).await.unwrap());
}

#[tokio::test]
async fn it_fails_as_told_with_or_without_the_effect() {
    let (_, vault, grant) = simulated();
    vault.fail_next(Operation::Mint, Outcome::Unknown, Effect::Happened);
    vault.fail_next(Operation::Mint, Outcome::Refused, Effect::DidNot);
    let outcome = vault.mint(grant, "p", MINUTE).await.unwrap_err().outcome;
    assert_eq!((outcome, vault.live_tokens().len()), (Outcome::Unknown, 1));
    let outcome = vault.mint(grant, "p", MINUTE).await.unwrap_err().outcome;
    assert_eq!((outcome, vault.live_tokens().len()), (Outcome::Refused, 1));
    assert!(vault.mint(grant, "p", MINUTE).await.is_ok());
    vault.down(true);
    assert_eq!(vault.mint(grant, "p", MINUTE).await.unwrap_err().outcome, Outcome::Unknown);
}

#[tokio::test]
async fn a_stalled_call_never_returns_and_its_effect_stays() {
    let (_, vault, grant) = simulated();
    vault.stall_next(Operation::Mint, Effect::Happened);
    tokio::select! {
        biased;
        _ = vault.mint(grant, "p", MINUTE) => panic!("it returned"),
        () = async { while vault.live_tokens().is_empty() { tokio::task::yield_now().await } } => {}
    }
}
