//! How much of a target may be held at once, asked of the whole broker: what counts, and that two at once don't both get in.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use chrono::TimeDelta;
use hallpass::{
    access::{
        id::RequestId,
        limits::Limits,
        refusal::{Holders, Refusal},
        target::Target,
        text::Prose,
    },
    broker::{Claimed, Error, Submission, Tried, Written},
    clock::Clock as _,
};

use super::{
    STATEMENT, WINDOW, developer, groups, person,
    races::{World, caller, world_with},
    target,
};

const ONE: Option<NonZeroU32> = Some(NonZeroU32::MIN);

fn limited(limits: Limits) -> World {
    world_with(Target { requesters: groups(&["dev"]).into(), limits, ..target(1) })
}

fn limit(refused: Result<Claimed, Error>) -> Holders {
    match refused.unwrap_err() {
        Error::Refused { name, refusal: Refusal::GrantLimit { holders, max: NonZeroU32::MIN } } => {
            assert_eq!(name, "targets/orders");
            holders
        }
        other => panic!("{other:?}"),
    }
}

/// A colleague's approved request.
async fn colleagues(world: &World) -> RequestId {
    let submission = Submission {
        target: target(1).name,
        duration: Some(WINDOW),
        reason: Prose::new("another matter").unwrap(),
        not_before: None,
        ticket: None,
        key: None,
        validate_only: false,
    };
    let eve = caller(person("sub-eve", "eve"), "dev");
    let request = world.broker.submit(&eve, submission).await.unwrap().request;
    let written = Written { digest: request.digest(), statement: Prose::new(STATEMENT).unwrap() };
    world.broker.approve(&caller(person("sub-ann", "ann"), "leads"), request.id, written).await.unwrap();
    request.id
}

async fn claim_colleagues(world: &World, request: RequestId) -> Result<Claimed, Error> {
    world.broker.claim(&caller(person("sub-eve", "eve"), "dev"), request, false).await
}

#[tokio::test]
async fn a_person_holds_no_more_than_he_may_until_the_end_is_confirmed() {
    let world = limited(Limits { per_person_max: ONE, ..Limits::default() });
    let (first, second, others) = (world.approved().await, world.approved().await, colleagues(&world).await);
    let grant = world.claim(first, false).await.unwrap().grant.id;
    assert_eq!(limit(world.claim(second, false).await), Holders::Caller);
    claim_colleagues(&world, others).await.unwrap();
    let again = world.claim(first, true).await.unwrap().grant.id;
    assert!(again > grant, "the same request's next credential is no further grant");
    world.broker.release(&caller(developer(), "dev"), again, false).await.unwrap();
    assert_eq!(limit(world.claim(second, false).await), Holders::Caller, "it may still work");
    assert_eq!(world.broker.pursue(again).await, Tried::Over);
    world.claim(second, false).await.unwrap();
}

#[tokio::test]
async fn there_are_no_more_grants_than_the_target_allows() {
    let world = limited(Limits { grants_max: ONE, ..Limits::default() });
    let (first, others) = (world.approved().await, colleagues(&world).await);
    let grant = world.claim(first, false).await.unwrap().grant;
    assert_eq!(limit(claim_colleagues(&world, others).await), Holders::Everybody);
    world.clock.advance(grant.window.closes_at() - world.clock.now());
    world.vault.forget_leases();
    assert_eq!(world.broker.pursue(grant.id).await, Tried::Over);
    claim_colleagues(&world, others).await.unwrap();
}

#[tokio::test]
async fn between_two_grants_of_a_person_is_a_pause() {
    let world = limited(Limits { pause: Some(Duration::from_mins(10)), ..Limits::default() });
    let (first, second, others) = (world.approved().await, world.approved().await, colleagues(&world).await);
    let grant = world.claim(first, false).await.unwrap().grant.id;
    world.broker.release(&caller(developer(), "dev"), grant, false).await.unwrap();
    assert_eq!(world.broker.pursue(grant).await, Tried::Over);
    let over_at = world.clock.now() + TimeDelta::minutes(10);
    let refused = world.claim(second, false).await.unwrap_err();
    let expected = Refusal::GrantPause { over_at };
    assert!(matches!(&refused, Error::Refused { refusal, .. } if *refusal == expected), "{refused:?}");
    assert!(refused.to_string().contains("claim again at 2026-"), "{refused}");
    claim_colleagues(&world, others).await.unwrap();
    world.clock.set(over_at);
    world.claim(second, false).await.unwrap();
}

/// Two claims at the same time count the same; only one may get in.
#[tokio::test]
async fn of_two_claims_at_once_the_limit_lets_one_in() {
    let world = Arc::new(limited(Limits { grants_max: ONE, ..Limits::default() }));
    let (first, others) = (world.approved().await, colleagues(&world).await);
    let other = Arc::clone(&world);
    // Between the first one's count and its commit the second one comes.
    let racing = Arc::new(std::sync::Mutex::new(None));
    let begun = Arc::clone(&racing);
    world.store.opening.set(move || {
        let world = Arc::clone(&other);
        let claiming = tokio::spawn(async move { claim_colleagues(&world, others).await });
        *begun.lock().unwrap() = Some(claiming);
        async { tokio::task::yield_now().await }
    });
    world.claim(first, false).await.unwrap();
    let racing = racing.lock().unwrap().take().unwrap();
    assert_eq!(limit(racing.await.unwrap()), Holders::Everybody);
}

#[tokio::test]
async fn a_refused_claim_changes_nothing() {
    let world = limited(Limits { per_person_max: ONE, ..Limits::default() });
    let (first, second) = (world.approved().await, world.approved().await);
    world.claim(first, false).await.unwrap();
    let before = world.store.count("RequestClaimed");
    limit(world.claim(second, false).await);
    let request = world.broker.request(&caller(developer(), "dev"), second).await.unwrap();
    assert_eq!((request.request.state.name(), request.grant), ("APPROVED", None));
    assert_eq!((world.store.count("RequestClaimed"), world.vault.minted()), (before, 1));
}

/// Whoever claims again after a claim that failed is counted like anybody else: others may have taken the place.
#[tokio::test]
async fn a_claim_again_is_no_way_round_the_limits() {
    let world = limited(Limits { grants_max: ONE, ..Limits::default() });
    let (first, others) = (world.approved().await, colleagues(&world).await);
    *world.vault.silent.lock().unwrap() = true;
    let failure = world.claim(first, false).await.unwrap_err();
    let Error::IssueFailed { grant, .. } = failure else { panic!("{failure:?}") };
    assert_eq!(
        limit(claim_colleagues(&world, others).await),
        Holders::Everybody,
        "its read may be under way"
    );
    world.clock.advance(TimeDelta::seconds(150));
    assert_eq!(world.broker.pursue(grant).await, Tried::Over);
    claim_colleagues(&world, others).await.unwrap();
    for reissue in [false, true] {
        assert_eq!(limit(world.claim(first, reissue).await), Holders::Everybody);
    }
}

/// A later grant that ended sooner doesn't hide an earlier one that ended just now.
#[tokio::test]
async fn the_pause_counts_from_the_last_end() {
    let world = limited(Limits { pause: Some(Duration::from_mins(10)), ..Limits::default() });
    let dev = caller(developer(), "dev");
    let (first, second, third) = (world.approved().await, world.approved().await, world.approved().await);
    let earlier = world.claim(first, false).await.unwrap().grant.id;
    let later = world.claim(second, false).await.unwrap().grant.id;
    for grant in [later, earlier] {
        world.clock.advance(TimeDelta::minutes(5));
        world.broker.release(&dev, grant, false).await.unwrap();
        assert_eq!(world.broker.pursue(grant).await, Tried::Over);
    }
    let over_at = world.clock.now() + TimeDelta::minutes(10);
    let refused = world.claim(third, false).await.unwrap_err();
    assert!(
        matches!(refused, Error::Refused { refusal: Refusal::GrantPause { over_at: at }, .. } if at == over_at)
    );
}
