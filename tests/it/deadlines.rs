//! Requests lapse: undecided ones after `decide_within`, approved ones after `claim_within`. A deadline that has passed
//! counts at once, whether or not the daemon has recorded it.

use chrono::{DateTime, TimeDelta, Utc};
use hallpass::{
    access::{refusal::Refusal, request::State},
    broker::{Error, RequestView},
    clock::Clock,
    store::Store,
};

use crate::support::sim::{HOUR, Sim, alice};

fn hour() -> TimeDelta {
    TimeDelta::from_std(HOUR).unwrap()
}

async fn state(sim: &Sim, request: &RequestView) -> State {
    sim.store.request(request.request.id).await.unwrap().unwrap().state
}

fn is_lapsed<T: std::fmt::Debug>(result: Result<T, Error>) -> bool {
    let error = result.expect_err("it is refused");
    matches!(error, Error::Refused { refusal: Refusal::RequestState { state: "LAPSED", .. }, .. })
}

#[tokio::test]
async fn a_request_is_decided_until_the_last_millisecond() {
    let sim = Sim::start().await;
    let (early, late) = (sim.submit("orders-ro").await, sim.submit("orders-ro").await);
    sim.clock.advance(hour() - TimeDelta::milliseconds(1));
    sim.approve(&early).await.unwrap();
    sim.clock.advance(TimeDelta::milliseconds(1));
    assert!(is_lapsed(sim.approve(&late).await), "refused before anybody recorded the lapse");
    assert!(matches!(state(&sim, &late).await, State::Pending { .. }));
    sim.settle().await;
    assert!(matches!(state(&sim, &late).await, State::Lapsed { .. }));
    assert!(is_lapsed(sim.approve(&late).await));
    assert_eq!(sim.kinds(late.request.id).await, ["RequestSubmitted", "RequestLapsed"]);
}

#[tokio::test]
async fn an_approval_is_claimed_until_the_last_millisecond() {
    let sim = Sim::start().await;
    let (early, late) = (sim.approved("orders-ro").await, sim.approved("orders-ro").await);
    sim.clock.advance(hour() - TimeDelta::milliseconds(1));
    sim.claim(early).await.unwrap();
    sim.clock.advance(TimeDelta::milliseconds(1));
    assert!(is_lapsed(sim.claim(late).await));
    assert!(is_lapsed(sim.broker.withdraw(&alice(), late).await));
    assert_eq!(sim.grants(late).await, []);
    sim.settle().await;
    assert_eq!(sim.kinds(late).await, ["RequestSubmitted", "RequestApproved", "RequestLapsed"]);
    assert!(is_lapsed(sim.claim(late).await));
}

#[tokio::test]
async fn the_next_deadline_is_the_earliest_of_all() {
    let sim = Sim::start().await;
    assert_eq!(sim.store.next_deadline(sim.clock.now()).await.unwrap(), None);
    let begun = sim.clock.now();
    let request = sim.approved("orders-ro").await;
    sim.clock.advance(TimeDelta::minutes(10));
    sim.claim(request).await.unwrap();
    assert_eq!(
        sim.store.next_deadline(sim.clock.now()).await.unwrap(),
        Some(begun + TimeDelta::minutes(10) + hour())
    );
    sim.submit("orders-ro").await;
    assert_eq!(
        sim.store.next_deadline(sim.clock.now()).await.unwrap(),
        Some(begun + TimeDelta::minutes(10) + hour())
    );
    sim.settle().await;
}

/// Whoever waits for it asks the store when it has come, and not after each commit.
#[tokio::test]
async fn the_first_lapse_is_noted_as_requests_are_recorded() {
    let sim = Sim::start().await;
    let (first, begun) = (sim.broker.first_lapse(), sim.clock.now());
    sim.submit("orders-ro").await;
    assert_eq!(*first.borrow(), begun + hour());
    sim.clock.advance(TimeDelta::minutes(10));
    let later = sim.approved("orders-ro").await;
    assert_eq!(*first.borrow(), begun + hour(), "what lapses later changes nothing");
    sim.clock.advance(TimeDelta::minutes(50));
    sim.broker.let_lapse().await.unwrap();
    assert_eq!(*first.borrow(), begun + hour(), "there may be more that is due");
    sim.broker.let_lapse().await.unwrap();
    assert_eq!(*first.borrow(), begun + TimeDelta::minutes(10) + hour());
    sim.broker.withdraw(&alice(), later).await.unwrap();
    sim.clock.advance(hour());
    sim.broker.let_lapse().await.unwrap();
    assert_eq!(*first.borrow(), DateTime::<Utc>::MAX_UTC, "nothing lapses any more");
}
