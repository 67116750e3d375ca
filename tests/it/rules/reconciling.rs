//! Vault and the records, compared: what is nobody's, what may be somebody's, and what Vault says of itself.

use std::sync::Arc;

use chrono::TimeDelta;
use hallpass::{
    access::{grant::State, target::Target},
    broker::{Error, Tried},
    vault::Issuer as _,
};

use super::{
    developer, groups,
    races::{World, caller, world, world_of, world_that},
    target,
};

/// How many unknown leases are told of in one comparison.
const TOLD_MAX: u64 = 100;

fn orders() -> Target {
    Target { requesters: groups(&["dev"]).into(), ..target(1) }
}

/// A target whose credentials come from another path.
fn payroll() -> Target {
    Target {
        name: "payroll".parse().unwrap(),
        credential_path: "database/creds/payroll".to_owned(),
        ..target(1)
    }
}

async fn unknown(world: &World) -> u64 {
    world.broker.reconcile().await.unwrap().unknown
}

#[tokio::test]
async fn what_a_grant_knows_is_not_unknown() {
    let world = world();
    let request = world.approved().await;
    world.claim(request, false).await.unwrap();
    let findings = world.broker.reconcile().await.unwrap();
    assert_eq!((findings.leases, findings.unknown, findings.vanished), (1, 0, 0));
    assert!(findings.unanswered.is_empty());
    assert_eq!(world.store.count("UnknownLeaseFound"), 0);
    assert_eq!(world.store.count("ReconciliationDone"), 1);
}

#[tokio::test]
async fn what_no_grant_knows_is_counted_each_time_told_of_once_and_left_alone() {
    let world = world_of([payroll(), orders()]);
    world.vault.lease(&target(1).credential_path);
    world.vault.lease(&target(1).credential_path);
    for _ in 0..2 {
        let findings = world.broker.reconcile().await.unwrap();
        assert_eq!((findings.leases, findings.unknown), (2, 2));
        assert_eq!(world.store.count("UnknownLeaseFound"), 2);
    }
    assert_eq!(world.store.targets("UnknownLeaseFound"), [Some(orders().name), Some(orders().name)]);
    assert_eq!(world.vault.leases_left(), 2, "nobody said that they may be revoked");
    assert!(world.vault.revoked().is_empty());
}

#[tokio::test]
async fn what_no_grant_knows_is_revoked_where_the_configuration_says_so() {
    let world = world_that(true, [orders()]);
    world.vault.lease(&target(1).credential_path);
    *world.vault.refusing.lock().unwrap() = 1;
    assert_eq!(unknown(&world).await, 1);
    assert_eq!((world.vault.leases_left(), world.store.count("UnknownLeaseFound")), (1, 1));
    assert_eq!(unknown(&world).await, 1);
    assert_eq!(
        (world.vault.leases_left(), world.store.count("UnknownLeaseFound")),
        (0, 2),
        "told of when gone"
    );
    assert_eq!(unknown(&world).await, 0);
    assert_eq!(world.store.count("UnknownLeaseFound"), 2);
}

#[tokio::test]
async fn a_flood_is_counted_and_not_told_of_one_by_one() {
    let world = world();
    for _ in 0..=TOLD_MAX {
        world.vault.lease(&target(1).credential_path);
    }
    assert_eq!(unknown(&world).await, TOLD_MAX + 1);
    assert_eq!(world.store.count("UnknownLeaseFound") as u64, TOLD_MAX);
    assert_eq!(unknown(&world).await, TOLD_MAX + 1);
    assert_eq!(
        world.store.count("UnknownLeaseFound") as u64,
        TOLD_MAX,
        "nothing of the first hundred is news"
    );
}

/// A read without an answer may have made a lease. Whose it is its ending finds out.
#[tokio::test]
async fn what_may_be_somebodys_is_nobodys_only_when_he_has_ended() {
    let world = world_of([orders(), payroll()]);
    let request = world.approved().await;
    *world.vault.silent.lock().unwrap() = true;
    let failure = world.claim(request, false).await.unwrap_err();
    let Error::IssueFailed { grant, .. } = failure else { panic!("{failure:?}") };
    let may_be_its = world.vault.lease(&target(1).credential_path);
    assert_eq!(unknown(&world).await, 0);
    world.vault.lease(&payroll().credential_path);
    assert_eq!(unknown(&world).await, 1, "at another path it can't have read anything");
    world.clock.advance(TimeDelta::seconds(150));
    assert_eq!(world.broker.pursue(grant).await, Tried::Over);
    assert!(world.vault.lease_gone(&may_be_its).await.unwrap(), "its ending found it");
    world.vault.lease(&target(1).credential_path);
    assert_eq!(unknown(&world).await, 2);
}

/// A grant that is ending and whose lease is on record hides nothing.
#[tokio::test]
async fn an_ending_whose_lease_is_known_hides_no_other() {
    let world = world();
    let request = world.approved().await;
    let grant = world.claim(request, false).await.unwrap().grant.id;
    world.broker.release(&caller(developer(), "dev"), grant, false).await.unwrap();
    assert!(matches!(world.grant(grant).await.state, State::Revoking(_)));
    world.vault.lease(&target(1).credential_path);
    let findings = world.broker.reconcile().await.unwrap();
    assert_eq!((findings.leases, findings.unknown), (2, 1));
}

/// A lease that is gone in the last two seconds of its window is no news; before that, somebody else ended it.
#[tokio::test]
async fn a_lease_that_vanishes_in_the_last_moments_is_left_to_its_deadline() {
    for (left, vanished) in [(2000, 0), (2001, 1)] {
        let world = world();
        let request = world.approved().await;
        let grant = world.claim(request, false).await.unwrap().grant;
        world.vault.forget_leases();
        world.clock.set(grant.window.closes_at() - TimeDelta::milliseconds(left));
        assert_eq!(world.broker.reconcile().await.unwrap().vanished, vanished, "{left} ms are left");
    }
}

#[tokio::test]
async fn what_vault_says_of_itself_is_recorded() {
    let world = world();
    world.vault.given_up.lock().unwrap().insert("database/".to_owned(), 3);
    let clock = Arc::clone(&world.clock);
    world.vault.timing.set(move || {
        // The call takes two seconds, and Vault reads its clock at the end of them.
        clock.advance(TimeDelta::seconds(2));
        async {}
    });
    let findings = world.broker.reconcile().await.unwrap();
    assert_eq!(findings.gave_up, Some(3));
    assert_eq!(findings.clock_ahead, Some(TimeDelta::seconds(1)), "as if it were read half way");
    let findings = world.broker.reconcile().await.unwrap();
    assert_eq!(findings.clock_ahead, Some(TimeDelta::zero()));
}

/// A path of which Vault says nothing: none of its grants has vanished, and the record says that it wasn't looked at.
#[tokio::test]
async fn a_path_without_an_answer_is_told_of_and_ends_nothing() {
    let world = world();
    let request = world.approved().await;
    world.claim(request, false).await.unwrap();
    world.vault.forget_leases();
    *world.vault.lists_nothing.lock().unwrap() = true;
    let findings = world.broker.reconcile().await.unwrap();
    assert_eq!((findings.leases, findings.unknown, findings.vanished), (0, 0, 0));
    assert_eq!(findings.unanswered, [target(1).credential_path]);
    *world.vault.lists_nothing.lock().unwrap() = false;
    assert_eq!(world.broker.reconcile().await.unwrap().vanished, 1);
}
