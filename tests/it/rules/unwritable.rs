//! I7: a log that can't be written stops grants, and never a revocation. The store fails at each commit, once and for good.

use std::sync::Arc;

use chrono::TimeDelta;
use hallpass::{
    access::{freeze::Extent, grant::State, revocation::Cause, text::Prose},
    broker::{Error, Tried},
    store::Store,
};

use super::{
    WINDOW, developer, person,
    races::{World, caller, world},
};

/// More commits than any test makes.
const FOR_GOOD: usize = 1000;

/// What the sweeper does, once.
async fn swept(world: &World) {
    let _ = world.broker.sweep().await;
    let _ = world.broker.record_kept().await;
    world.broker.rescan().await.unwrap();
    let (due, _) = world.broker.take_due(hallpass::clock::Clock::now(&*world.clock));
    for (id, _, _) in due {
        while world.broker.pursue(id).await == Tried::Again {}
    }
}

#[tokio::test]
async fn i7_nothing_is_submitted_approved_or_issued_that_cannot_be_recorded() {
    let world = world();
    let pending = world.submit().await.unwrap();
    let approved = world.approved().await;
    world.store.fail_commits(0, FOR_GOOD);
    let refused = [
        world.submit().await.map(drop),
        world.approve(&pending).await,
        world.claim(approved, false).await.map(drop),
    ];
    for refused in refused {
        assert!(matches!(refused, Err(Error::StoreUnavailable(_))), "{refused:?}");
    }
    assert_eq!(world.vault.minted(), 0, "Vault was asked for nothing");
    assert_eq!(world.store.open_grants(None, 1000).await.unwrap(), []);
    world.store.fail_commits(0, 0);
    world.claim(approved, false).await.unwrap();
}

#[tokio::test]
async fn i7_a_claim_that_cannot_be_recorded_leaves_nothing_at_whichever_step() {
    for step in 0..4 {
        for failures in [1, FOR_GOOD] {
            let world = world();
            let request = world.approved().await;
            world.store.fail_commits(step, failures);
            let failure = world.claim(request, false).await.unwrap_err();
            let expected = matches!(
                (&failure, step),
                (Error::StoreUnavailable(_), 0) | (Error::IssueFailed { .. }, 1..)
            );
            assert!(expected, "{step} {failure:?}");
            assert!(
                failures == 1 || world.vault.leases_left() == 0,
                "it is ended without the record: {step}"
            );
            world.store.fail_commits(0, 0);
            swept(&world).await;
            assert_eq!(world.vault.leases_left(), 0, "{step} {failures}");
            for grant in world.store.grants_of(&[request]).await.unwrap().remove(&request).unwrap_or_default()
            {
                assert!(matches!(grant.state, State::Failed { cause: Cause::IssueFailed, .. }), "{grant:?}");
            }
            world.claim(request, false).await.expect("the holder claims again");
        }
    }
}

#[tokio::test]
async fn i7_a_window_that_closes_ends_the_access_and_is_recorded_later() {
    let world = world();
    let request = world.approved().await;
    let grant = world.claim(request, false).await.unwrap().grant.id;
    world.store.fail_commits(0, FOR_GOOD);
    world.clock.advance(TimeDelta::from_std(WINDOW).unwrap());
    swept(&world).await;
    assert_eq!(world.vault.leases_left(), 0);
    assert!(matches!(world.grant(grant).await.state, State::Active { .. }), "nothing is on record");
    world.store.fail_commits(0, 0);
    swept(&world).await;
    assert!(matches!(world.grant(grant).await.state, State::Revoked { cause: Cause::WindowClosed, .. }));
}

#[tokio::test]
async fn i7_whoever_ends_a_grant_ends_it_without_the_record() {
    for by_operator in [false, true] {
        let world = world();
        let request = world.approved().await;
        let grant = world.claim(request, false).await.unwrap().grant.id;
        world.store.fail_commits(0, FOR_GOOD);
        let ended = if by_operator {
            let oren = caller(person("sub-oren", "oren"), "operators");
            world.broker.revoke(&oren, grant, Prose::new("an incident").unwrap()).await
        } else {
            world.broker.release(&caller(developer(), "dev"), grant, false).await
        };
        assert!(matches!(ended, Err(Error::StoreUnavailable(_))), "{ended:?}");
        assert_eq!(world.vault.leases_left(), 0);
        world.store.fail_commits(0, 0);
        swept(&world).await;
        let State::Revoked { cause, .. } = world.grant(grant).await.state else { panic!("it is over") };
        assert_eq!(cause, if by_operator { Cause::RevokedByOperator } else { Cause::Released });
    }
}

#[tokio::test]
async fn i7_a_freeze_that_ends_grants_ends_them_without_the_record() {
    let world = world();
    let request = world.approved().await;
    let grant = world.claim(request, false).await.unwrap().grant.id;
    let oren = caller(person("sub-oren", "oren"), "operators");
    world.store.fail_commits(0, FOR_GOOD);
    let why = || Prose::new("a breach").unwrap();
    let elsewhere = Extent::Target("elsewhere".parse().unwrap());
    assert!(matches!(world.broker.freeze(&oren, elsewhere, why(), true).await, Err(Error::NotFound { .. })));
    let only_frozen = world.broker.freeze(&oren, Extent::Everything, why(), false).await;
    assert!(matches!(only_frozen, Err(Error::StoreUnavailable(_))), "{only_frozen:?}");
    assert_eq!(world.vault.leases_left(), 1, "what wasn't to end goes on");
    let ended = world.broker.freeze(&oren, Extent::Everything, why(), true).await;
    assert!(matches!(ended, Err(Error::StoreUnavailable(_))), "{ended:?}");
    assert_eq!(world.vault.leases_left(), 0);
    world.store.fail_commits(0, 0);
    swept(&world).await;
    assert!(matches!(world.grant(grant).await.state, State::Revoked { cause: Cause::Frozen, .. }));
}

/// An ending that was begun on record goes on when no further step can be recorded.
#[tokio::test]
async fn i7_an_ending_goes_on_without_the_record() {
    let world = world();
    let request = world.approved().await;
    let grant = world.claim(request, false).await.unwrap().grant.id;
    world.broker.release(&caller(developer(), "dev"), grant, false).await.unwrap();
    world.store.fail_commits(0, FOR_GOOD);
    assert_eq!(world.broker.pursue(grant).await, Tried::Over, "it is kept");
    assert_eq!(world.vault.leases_left(), 0);
    world.store.fail_commits(0, 0);
    assert!(matches!(world.grant(grant).await.state, State::Revoking(_)), "nothing more is on record");
    swept(&world).await;
    assert!(matches!(world.grant(grant).await.state, State::Revoked { cause: Cause::Released, .. }));
}

/// Whoever orders an end when it can be neither recorded nor carried out at once: it is tried again until it is.
#[tokio::test]
async fn i7_an_order_that_is_not_on_record_is_tried_again() {
    let world = world();
    let request = world.approved().await;
    let grant = world.claim(request, false).await.unwrap().grant.id;
    world.store.fail_commits(0, FOR_GOOD);
    *world.vault.refusing.lock().unwrap() = 1;
    let oren = caller(person("sub-oren", "oren"), "operators");
    let ended = world.broker.revoke(&oren, grant, Prose::new("an incident").unwrap()).await;
    assert!(matches!(ended, Err(Error::StoreUnavailable(_))), "{ended:?}");
    assert_eq!(world.vault.leases_left(), 1);
    let (due, _) = world.broker.take_due(hallpass::clock::Clock::now(&*world.clock));
    assert!(due.iter().any(|(id, ..)| *id == grant), "the sweeper hears of it");
    assert_eq!(world.broker.pursue(grant).await, Tried::Over);
    assert_eq!(world.vault.leases_left(), 0);
    world.store.fail_commits(0, 0);
    swept(&world).await;
    let State::Revoked { cause, .. } = world.grant(grant).await.state else { panic!("it is over") };
    assert_eq!(cause, Cause::RevokedByOperator);
}

/// An operator ended a grant that had nothing yet, off the record, and the claim's own record was faster than that: what it
/// made meanwhile is ended by the same order.
#[tokio::test]
async fn i7_an_order_outlives_the_claim_that_was_faster_with_its_record() {
    let world = Arc::new(world());
    let request = world.approved().await;
    let (grant, claiming, go_on) = world.claiming(request).await;
    world.store.fail_commits(0, 1);
    let oren = caller(person("sub-oren", "oren"), "operators");
    let ended = world.broker.revoke(&oren, grant, Prose::new("an incident").unwrap()).await;
    assert!(matches!(ended, Err(Error::StoreUnavailable(_))), "{ended:?}");
    go_on.notify_one();
    claiming.await.unwrap().expect("nothing told it otherwise");
    assert!(world.broker.record_kept().await.unwrap(), "nothing is left to record");
    let begun = world.grant(grant).await.state;
    assert!(
        matches!(&begun, State::Revoking(ending) if ending.cause == Cause::RevokedByOperator),
        "{begun:?}"
    );
    swept(&world).await;
    assert!(matches!(world.grant(grant).await.state, State::Revoked { .. }));
    assert_eq!(world.vault.leases_left(), 0);
}
