//! Retention as the daemon does it: on its schedule, batch by batch, with an event for each, and nothing that isn't over.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use hallpass::{
    access::{id::RequestId, retention::TEXTS_FOR_MIN, text::Prose},
    broker::TextsErased,
    clock::Clock,
    schedule::Schedule,
    store::Store as _,
    sweep::{Chores, Schedules},
};

use crate::support::sim::{HOUR, Sim, alice, caller, submission, written};

const KEPT_FOR: TimeDelta = TimeDelta::days(30);

async fn erased(sim: &Sim) -> Vec<serde_json::Value> {
    let last = u32::try_from(sim.store.last_sequence().await.unwrap()).unwrap();
    let leaves = sim.store.ledger().leaves(0, last).await.unwrap();
    let events = leaves.iter().map(|leaf| leaf.event().unwrap());
    events.filter(|event| event.kind == "TextsErased").map(|event| event.detail).collect()
}

async fn withdrawn(sim: &Sim, target: &str) -> RequestId {
    let id = sim.submit(target).await.request.id;
    sim.broker.withdraw(&alice(), id).await.unwrap();
    id
}

async fn has_its_text(sim: &Sim, id: RequestId) -> bool {
    sim.store.request(id).await.unwrap().unwrap().ask.reason.kept().is_some()
}

#[tokio::test]
async fn texts_go_when_their_time_is_over() {
    let mut sim = Sim::start().await;
    let request = sim.approved("orders-ro").await;
    let grant = sim.claim(request).await.unwrap().grant.id;
    let why = Prose::new("an incident of long ago").unwrap();
    sim.broker.revoke(&caller("oren", "operators"), grant, why).await.unwrap();
    sim.settle().await;
    sim.clock.advance(KEPT_FOR);
    sim.clock.advance(TimeDelta::hours(2));
    let young = withdrawn(&sim, "orders-ro").await;
    let open = sim.submit("orders-ro").await.request.id;
    assert_eq!(sim.broker.erase_texts().await.unwrap(), TextsErased::default(), "they are kept for ever");
    sim.restart_keeping(TEXTS_FOR_MIN).await;
    let done = sim.broker.erase_texts().await.unwrap();
    assert_eq!(done, TextsErased { requests: 1, freezes: 0, more: false });
    assert!(sim.broker.scrub().await.unwrap());
    let [event] = erased(&sim).await.try_into().unwrap();
    assert_eq!(event["requests"], serde_json::json!([request.to_string()]));
    assert_eq!(event["texts"], 3);
    let exception = sim.broker.exception(&caller("audrey", "auditors"), request).await.unwrap();
    let shown = format!("{exception:?}");
    for words in ["order 4711 is stuck", "\"fine\"", "an incident of long ago"] {
        assert!(!shown.contains(words), "{words}: {shown}");
    }
    let left = exception.request.request.ask.reason.erased().unwrap();
    assert_eq!(left.erased_at, sim.clock.now());
    let begun = exception.timeline.iter().find(|event| event.kind == "RevocationBegun").unwrap();
    assert!(begun.detail.get("reason").is_none() && begun.detail.get("reason_digest").is_some());
    assert!(has_its_text(&sim, young).await && has_its_text(&sim, open).await);
    assert_eq!(sim.broker.erase_texts().await.unwrap(), TextsErased::default(), "once");
    assert_eq!(erased(&sim).await.len(), 1, "and nothing is told of nothing");
}

/// A retry of long ago's submission is known by the digest, and asks for nothing anew.
#[tokio::test]
async fn a_key_names_its_submission_for_ever() {
    let mut sim = Sim::start().await;
    let key = hallpass::access::text::IdempotencyKey::new("k-1").unwrap();
    let mut submission = submission("orders-ro", HOUR);
    submission.key = key;
    let first = sim.broker.submit(&alice(), submission.clone()).await.unwrap();
    sim.broker.withdraw(&alice(), first.request.id).await.unwrap();
    sim.clock.advance(KEPT_FOR + TimeDelta::seconds(1));
    sim.restart_keeping(TEXTS_FOR_MIN).await;
    assert_eq!(sim.broker.erase_texts().await.unwrap().requests, 1);
    let again = sim.broker.submit(&alice(), submission.clone()).await.unwrap();
    assert_eq!((again.request.id, again.request.state.name()), (first.request.id, "WITHDRAWN"));
    submission.reason = Prose::new("something else").unwrap();
    sim.broker.submit(&alice(), submission).await.unwrap_err();
    let refused =
        sim.broker.approve(&caller("olivia", "operations-leads"), first.request.id, written(&first)).await;
    refused.unwrap_err();
}

#[tokio::test]
async fn a_long_history_goes_batch_by_batch() {
    let mut sim = Sim::start().await;
    let mut all = Vec::new();
    for _ in 0..20 {
        all.push(withdrawn(&sim, "payroll-ro").await);
        sim.clock.advance(TimeDelta::milliseconds(1));
    }
    sim.clock.advance(KEPT_FOR + TimeDelta::seconds(1));
    sim.restart_keeping(TEXTS_FOR_MIN).await;
    assert_eq!(sim.broker.erase_texts().await.unwrap().requests, 20);
    let events = erased(&sim).await;
    let named: Vec<String> = events
        .iter()
        .flat_map(|event| {
            event["requests"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(named, all.iter().map(ToString::to_string).collect::<Vec<_>>(), "the oldest first");
    assert_eq!(events.len(), 2);
}

/// Whoever starts the daemon with a time that is too short has until then to notice.
#[tokio::test]
async fn texts_go_on_the_schedule_and_not_at_a_start() {
    let mut sim = Sim::start().await;
    let id = withdrawn(&sim, "orders-ro").await;
    sim.clock.advance(KEPT_FOR + TimeDelta::days(1));
    sim.restart_keeping(Duration::from_hours(30 * 24)).await;
    let clock: Arc<dyn Clock> = sim.clock.clone();
    let chores = Chores {
        broker: Arc::clone(&sim.broker),
        clock,
        reconcile: Arc::default(),
        stopping: sim.stopping.clone(),
    };
    let [minutely, hourly]: [Schedule; 2] = ["0 * * * * *", "0 0 * * * *"].map(|text| text.parse().unwrap());
    let schedules = Schedules::new(minutely.clone(), minutely, hourly);
    let due_at = schedules.retention.borrow().next_after(sim.clock.now());
    let running: Vec<_> = chores.all(&schedules).into_iter().map(|(_, chore)| tokio::spawn(chore)).collect();
    let erased_at = sim
        .as_time_goes_by(TimeDelta::seconds(30), async {
            loop {
                if let Some(left) = sim.store.request(id).await.unwrap().unwrap().ask.reason.erased() {
                    return left.erased_at;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    assert!(erased_at >= due_at, "{erased_at} {due_at}");
    running.iter().for_each(tokio::task::JoinHandle::abort);
}
