//! More than fits on a page: whatever the daemon looks through page by page, it looks through to the end.

use std::{collections::BTreeSet, time::Duration};

use chrono::TimeDelta;
use hallpass::{
    access::{grant::State, id::GrantId},
    broker::{Error, Tried},
    clock::Clock,
};

use super::{
    SECOND, WINDOW, developer,
    races::{World, caller, world},
};

/// One more than a page has.
const MANY: usize = 501;

/// A world in which so many grants are held.
async fn many() -> (World, Vec<GrantId>) {
    let (world, mut grants) = (world(), Vec::new());
    for _ in 0..MANY {
        let request = world.submit().await.unwrap();
        world.approve(&request).await.unwrap();
        let claimed = world.broker.claim(&caller(developer(), "dev"), request.id, false).await.unwrap();
        grants.push(claimed.grant.id);
    }
    (world, grants)
}

async fn release(world: &World, grant: GrantId) -> Result<(), Error> {
    world.broker.release(&caller(developer(), "dev"), grant, false).await.map(drop)
}

async fn are_ending(world: &World, grants: &[GrantId]) -> usize {
    let mut ending = 0;
    for grant in grants {
        ending += usize::from(matches!(world.grant(*grant).await.state, State::Revoking(_)));
    }
    ending
}

#[tokio::test]
async fn every_ending_that_takes_too_long_is_told_of() {
    let (world, grants) = many().await;
    for grant in &grants {
        release(&world, *grant).await.unwrap();
    }
    world.clock.advance(TimeDelta::minutes(1));
    world.broker.raise_alarms().await.unwrap();
    assert_eq!(world.store.count("RevocationOverdue"), MANY);
}

#[tokio::test]
async fn the_next_look_for_alarms_is_when_the_next_is_due() {
    let world = world();
    let after = TimeDelta::minutes(1);
    assert_eq!(world.broker.raise_alarms().await.unwrap(), world.clock.now() + after, "nothing is ending");
    let mut begun = Vec::new();
    for _ in 0..2 {
        let request = world.approved().await;
        let grant = world.claim(request, false).await.unwrap().grant.id;
        begun.push(world.clock.now());
        release(&world, grant).await.unwrap();
        world.clock.advance(TimeDelta::seconds(10));
    }
    assert_eq!(world.broker.raise_alarms().await.unwrap(), begun[0] + after, "the first is due first");
    world.clock.set(begun[0] + after - TimeDelta::milliseconds(1));
    world.broker.raise_alarms().await.unwrap();
    assert_eq!(world.store.count("RevocationOverdue"), 0, "and not before");
    world.clock.set(begun[0] + after);
    assert_eq!(world.broker.raise_alarms().await.unwrap(), begun[1] + after);
    assert_eq!(world.store.count("RevocationOverdue"), 1);
}

#[tokio::test]
async fn a_sweep_sees_every_open_grant() {
    let (world, grants) = many().await;
    world.clock.advance(TimeDelta::from_std(WINDOW).unwrap() + SECOND * 5);
    world.broker.sweep().await.unwrap();
    assert_eq!(are_ending(&world, &grants).await, MANY);
}

#[tokio::test]
async fn a_reconciliation_sees_every_held_grant() {
    let (world, grants) = many().await;
    assert_eq!(world.broker.reconcile().await.unwrap().vanished, 0);
    world.vault.forget_leases();
    let findings = world.broker.reconcile().await.unwrap();
    assert_eq!((findings.leases, findings.vanished), (0, MANY as u64));
    assert_eq!(are_ending(&world, &grants).await, MANY);
}

/// Each grant of a target, in its turn, however many begin to end at once.
#[tokio::test]
async fn every_ending_is_handed_to_the_sweeper_once() {
    let (world, grants) = many().await;
    for grant in &grants {
        release(&world, *grant).await.unwrap();
    }
    let (due, next) = world.broker.take_due(world.clock.now());
    let ids: BTreeSet<GrantId> = due.iter().map(|(id, ..)| *id).collect();
    assert_eq!((due.len(), ids), (MANY, grants.iter().copied().collect()));
    assert_eq!(next, None);
    assert_eq!(world.broker.take_due(world.clock.now()), (Vec::new(), None));
    for grant in grants {
        assert_eq!(world.broker.pursue(grant).await, Tried::Over);
    }
    assert_eq!(world.vault.leases_left(), 0);
}

/// The store names a few endings of each target at once, here three. Whoever has tried as many asks for the next ones.
#[tokio::test]
async fn whether_there_is_more_is_told_once() {
    for (ending, more) in [(2, false), (3, true)] {
        let world = world();
        for _ in 0..ending {
            let request = world.approved().await;
            let grant = world.claim(request, false).await.unwrap().grant.id;
            release(&world, grant).await.unwrap();
        }
        world.broker.rescan().await.unwrap();
        assert_eq!(world.broker.may_have_more(), more, "{ending} are ending");
        assert!(!world.broker.may_have_more());
    }
}

#[tokio::test]
async fn who_asks_for_a_look_through_the_store_gets_one() {
    let world = world();
    world.broker.want_rescan();
    tokio::time::timeout(Duration::from_secs(5), world.broker.rescan_wanted()).await.unwrap();
}

/// Deadlines are read again in good time, and soon where they couldn't be read.
#[tokio::test]
async fn deadlines_are_loaded_again() {
    let world = world();
    let now = world.clock.now();
    assert!(world.broker.arm().await > now);
    *world.store.reads_nothing.lock().unwrap() = true;
    let again = world.broker.arm().await;
    assert!(now < again && again <= now + TimeDelta::minutes(1), "{again}");
}
