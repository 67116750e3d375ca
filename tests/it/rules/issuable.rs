//! Nothing is issued that couldn't be revoked: what the daemon lacks in Vault stands in the way, by target.

use chrono::TimeDelta;
use hallpass::{
    access::{id::RequestId, target::Target},
    broker::Error,
    vault::MissingCapability,
};

use super::{
    developer, groups,
    races::{World, caller, world, world_of},
    target,
};

fn lack(path: &str) -> MissingCapability {
    MissingCapability { path: path.to_owned(), capability: "update" }
}

/// A world in which the daemon lacks these rights, and a request that is approved there.
async fn lacking(lacks: Option<Vec<MissingCapability>>) -> (World, RequestId) {
    let payroll = Target {
        name: "payroll".parse().unwrap(),
        credential_path: "database/creds/payroll".to_owned(),
        ..target(1)
    };
    let world = world_of([Target { requesters: groups(&["dev"]).into(), ..target(1) }, payroll]);
    *world.vault.lacking.lock().unwrap() = lacks;
    let request = world.approved().await;
    (world, request)
}

async fn blockers(world: &World) -> Vec<String> {
    let dev = caller(developer(), "dev");
    world.broker.target(&dev, &target(1).name).await.unwrap().blockers
}

#[tokio::test]
async fn a_missing_right_stands_in_the_way_of_a_claim_and_is_named() {
    let (world, request) = lacking(Some(vec![lack("sys/leases/revoke")])).await;
    let Error::IssueBlocked { name, missing } = world.claim(request, false).await.unwrap_err() else {
        panic!("it can't be issued")
    };
    assert_eq!((name.as_str(), missing), ("targets/orders", vec![lack("sys/leases/revoke")]));
    let [said] = blockers(&world).await.try_into().unwrap();
    assert!(said.contains("sys/leases/revoke"), "{said}");
    assert_eq!(world.vault.minted(), 0);
    *world.vault.lacking.lock().unwrap() = Some(Vec::new());
    world.broker.refresh_blockers().await;
    assert_eq!(blockers(&world).await, <[String; 0]>::default());
    world.claim(request, false).await.unwrap();
}

#[tokio::test]
async fn a_right_below_one_path_concerns_the_targets_there() {
    let (world, request) = lacking(Some(vec![lack("sys/leases/lookup/database/creds/payroll/")])).await;
    world.claim(request, false).await.unwrap();
    assert!(blockers(&world).await.is_empty());
    let (world, request) = lacking(Some(vec![lack("sys/leases/lookup/database/creds/orders/")])).await;
    assert!(matches!(world.claim(request, false).await, Err(Error::IssueBlocked { .. })));
}

#[tokio::test]
async fn rights_of_which_vault_says_nothing_are_not_there() {
    let (world, request) = lacking(None).await;
    let failure = world.claim(request, false).await.unwrap_err();
    assert!(matches!(&failure, Error::IssueBlocked { missing, .. } if missing.is_empty()), "{failure:?}");
    assert_eq!(blockers(&world).await.len(), 1, "people are told that nothing is known");
    *world.vault.lacking.lock().unwrap() = Some(Vec::new());
    world.claim(request, false).await.unwrap();
}

/// Whoever claims again is told whether somebody had opened what he was given before; an alarm says so to others.
#[tokio::test]
async fn a_wrapping_that_somebody_opened_is_told_of() {
    for opened in [false, true] {
        let world = world();
        let request = world.approved().await;
        assert!(!world.claim(request, false).await.unwrap().earlier_opened);
        *world.vault.opened.lock().unwrap() = opened;
        assert_eq!(world.claim(request, true).await.unwrap().earlier_opened, opened);
        assert_eq!(
            world.store.targets("WrappingTokenOpened"),
            vec![Some(target(1).name); usize::from(opened)]
        );
    }
}

/// A wrapping that has expired is gone, whether or not anybody had opened it.
#[tokio::test]
async fn a_wrapping_that_may_have_expired_raises_no_alarm() {
    for (after, told) in [(299_999, true), (300_000, false), (300_001, false)] {
        let world = world();
        let request = world.approved().await;
        let grant = world.claim(request, false).await.unwrap().grant;
        *world.vault.opened.lock().unwrap() = true;
        world.clock.set(grant.opened_at + TimeDelta::milliseconds(after));
        assert_eq!(world.claim(request, true).await.unwrap().earlier_opened, told, "after {after} ms");
    }
}

/// What was delivered has to be gone before anything else is, also at the next try.
#[tokio::test]
async fn nothing_is_issued_while_what_was_delivered_before_remains() {
    let world = world();
    let request = world.approved().await;
    world.claim(request, false).await.unwrap();
    *world.vault.refusing.lock().unwrap() = 2;
    for _ in 0..2 {
        let failure = world.claim(request, true).await.unwrap_err();
        assert!(matches!(failure, Error::EarlierRemains { .. }), "{failure:?}");
        assert_eq!(world.vault.minted(), 1);
    }
    world.claim(request, true).await.unwrap();
    assert_eq!((world.vault.minted(), world.vault.leases_left()), (2, 1));
}

/// What was never delivered is nobody's, so nothing has to wait for its end.
#[tokio::test]
async fn what_was_never_delivered_keeps_nobody_waiting() {
    let world = world();
    let request = world.approved().await;
    *world.vault.silent.lock().unwrap() = true;
    assert!(matches!(world.claim(request, false).await, Err(Error::IssueFailed { .. })));
    world.claim(request, true).await.unwrap();
}
