//! Freezing, asked of the whole broker: nothing is granted of what is frozen, however close a claim was, and what a freeze
//! ends is ended also by the next start.

use std::sync::Arc;

use hallpass::{
    access::{
        actor::{Actor, Caller},
        freeze::{Extent, Freeze},
        grant::{Ending, State},
        id::FreezeId,
        refusal::Refusal,
        revocation::Cause,
        target::Target,
        text::Prose,
    },
    broker::Error,
    store::{Store as _, Write},
};

use super::{
    SECOND, at, developer, groups, person,
    races::{World, caller, policy, world, world_of},
    target,
};

fn operator() -> Caller {
    caller(person("sub-op", "opal"), "operators")
}

fn why(text: &str) -> Prose {
    Prose::new(text).unwrap()
}

fn everything() -> Extent {
    Extent::Everything
}

fn orders() -> Extent {
    Extent::Target(target(1).name)
}

async fn freeze(world: &World, extent: Extent, end_grants: bool) -> Freeze {
    world.broker.freeze(&operator(), extent, why("a breach"), end_grants).await.unwrap()
}

async fn thaw(world: &World, extent: Extent) -> Result<Freeze, Error> {
    world.broker.thaw(&operator(), extent, why("it is over")).await
}

fn is_frozen<T: std::fmt::Debug>(answer: Result<T, Error>) -> bool {
    matches!(
        answer,
        Err(Error::Refused { name, refusal: Refusal::Frozen { reason, .. } })
            if name == "targets/orders" && reason == "a breach"
    )
}

#[tokio::test]
async fn nothing_is_granted_while_a_freeze_stands() {
    for extent in [everything(), orders()] {
        let world = world();
        let request = world.approved().await;
        freeze(&world, extent.clone(), false).await;
        assert!(is_frozen(world.claim(request, false).await), "{extent}");
        assert_eq!(world.vault.minted(), 0);
        // Asking and deciding go on.
        let other = world.approved().await;
        let thawed = thaw(&world, extent).await.unwrap();
        assert!(!thawed.is_frozen());
        for request in [request, other] {
            world.claim(request, false).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_held_goes_on_unless_it_is_to_end() {
    let world = world();
    let held = world.approved().await;
    let held = world.claim(held, false).await.unwrap().grant;
    freeze(&world, everything(), false).await;
    assert_eq!(world.grant(held.id).await.state.name(), "ACTIVE");
    assert!(is_frozen(world.claim(held.request, true).await), "not even again");
    assert_eq!(world.grant(held.id).await.state.name(), "ACTIVE", "and a refused claim ends nothing");

    let frozen = freeze(&world, everything(), true).await;
    assert_eq!((frozen.revision, world.store.count("TargetsFrozen")), (2, 2));
    match world.grant(held.id).await.state {
        State::Revoking(Ending { cause, .. }) => assert_eq!(cause, Cause::Frozen),
        other => panic!("{other:?}"),
    }
    let timeline = world.broker.exception(&operator(), held.request).await.unwrap().timeline;
    let begun = timeline.iter().find(|event| event.kind == "RevocationBegun").unwrap();
    assert_eq!(begun.actor, Actor::Person(operator().person));
    assert_eq!(begun.detail["reason"], "a breach");
}

/// The claim has looked, and finds nothing frozen; the freeze is committed before the grant would be.
#[tokio::test]
async fn no_claim_slips_through() {
    let world = Arc::new(world());
    let request = world.approved().await;
    let (opening, go_on) = world.store.opening.hold();
    let claiming = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.claim(request, false).await }
    });
    opening.notified().await;
    freeze(&world, orders(), false).await;
    go_on.notify_one();
    assert!(is_frozen(claiming.await.unwrap()));
    assert_eq!((world.vault.minted(), world.store.count("GrantOpened")), (0, 0));
}

/// The freeze is committed while Vault makes the grant's token.
#[tokio::test]
async fn a_grant_that_is_being_made_ends_as_well() {
    let world = Arc::new(world());
    let request = world.approved().await;
    let (grant, claiming, go_on) = world.claiming(request).await;
    freeze(&world, everything(), true).await;
    go_on.notify_one();
    assert!(matches!(claiming.await.unwrap(), Err(Error::IssueFailed { .. })));
    assert_eq!(world.grant(grant).await.state.name(), "REVOKING");
}

/// A crash between the freeze and the ends that it asks for.
#[tokio::test]
async fn a_freeze_is_gone_on_with_after_a_restart() {
    let world = world();
    let request = world.approved().await;
    let held = world.claim(request, false).await.unwrap().grant.id;
    let change =
        Freeze::begin(FreezeId::new(at(0), 1), orders(), operator().person, why("a breach"), true, at(0));
    world.store.commit(&[Write::Freeze(&change)]).await.unwrap();
    let world = world.configured(policy([target(1)]));
    world.broker.sweep().await.unwrap();
    assert_eq!(world.grant(held).await.state.name(), "REVOKING");
    assert_eq!(world.vault.minted(), 1);
}

#[tokio::test]
async fn freezing_twice_is_freezing_once() {
    let world = world();
    let first = freeze(&world, orders(), false).await;
    world.clock.advance(SECOND);
    assert_eq!(freeze(&world, orders(), false).await, first);
    freeze(&world, everything(), true).await;
    assert_eq!(world.store.count("TargetsFrozen"), 2);
    // Each ends what it began.
    thaw(&world, everything()).await.unwrap();
    let request = world.approved().await;
    assert!(is_frozen(world.claim(request, false).await));
    thaw(&world, orders()).await.unwrap();
    for extent in [orders(), everything()] {
        assert!(matches!(thaw(&world, extent).await, Err(Error::NotFound { .. })));
    }
    freeze(&world, orders(), false).await;
}

#[tokio::test]
async fn operators_freeze_and_others_see_what_concerns_them() {
    let payroll =
        Target { name: "payroll".parse().unwrap(), requesters: groups(&["hr"]).into(), ..target(1) };
    let world = world_of([target(1), payroll]);
    let payroll = || Extent::Target("payroll".parse().unwrap());
    for (who, group) in [("dev", "dev"), ("ann", "leads"), ("aud", "auditors"), ("eve", "nobody")] {
        let caller = caller(person(&format!("sub-{who}"), who), group);
        for extent in [everything(), orders()] {
            let refused = world.broker.freeze(&caller, extent.clone(), why("x"), false).await;
            assert!(
                matches!(refused, Err(Error::Refused { refusal: Refusal::RoleMissing { .. }, .. })),
                "{who}"
            );
            let refused = world.broker.thaw(&caller, extent, why("x")).await;
            assert!(
                matches!(refused, Err(Error::Refused { refusal: Refusal::RoleMissing { .. }, .. })),
                "{who}"
            );
        }
    }
    let unknown = Extent::Target("nothing".parse().unwrap());
    assert!(matches!(
        world.broker.freeze(&operator(), unknown, why("x"), false).await,
        Err(Error::NotFound { name }) if name == "targets/nothing"
    ));
    for extent in [payroll(), orders(), everything()] {
        freeze(&world, extent, false).await;
    }
    let seen = async |caller: &Caller| {
        let freezes = world.broker.freezes(caller).await.unwrap();
        freezes.into_iter().map(|freeze| freeze.extent.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(seen(&operator()).await, ["*", "orders", "payroll"]);
    assert_eq!(seen(&caller(developer(), "dev")).await, ["*", "orders"]);
    let view = world.broker.target(&caller(developer(), "dev"), &target(1).name).await.unwrap();
    assert_eq!(view.freeze.unwrap().extent, everything());
}
