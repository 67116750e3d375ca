//! Deadlines that come one at a time: how late the first call to Vault leaves, beside how late a bare timer fires.
//!
//! The broker, the sweeper and SQLite are real; Vault is simulated, because only so the moment of the call is seen.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use hallpass::{
    access::id::GrantId,
    broker::{Broker, Notary, Parts},
    clock::{Clock, SystemClock},
    signature::Signers,
    store::{Migrate, Store, sqlite::SqliteStore},
    vault::{SimulatedIssuer, simulated::Operation},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    common::{pause, percentile, print},
    support::{
        servers::Dir,
        sim::{alice, at_work, olivia, policy, submission, written},
    },
};

/// How many windows, and how far apart they end.
const WINDOWS: usize = 150;
const APART: Duration = Duration::from_millis(40);
/// How long each is: longer than making all of them takes.
const LENGTH: Duration = Duration::from_secs(15);
/// How long after each window's end a bare timer is set to.
const BESIDE: TimeDelta = TimeDelta::milliseconds(17);

type Calls = Arc<Mutex<BTreeMap<GrantId, DateTime<Utc>>>>;

pub async fn measure() {
    let dir = Dir::new("isolated");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Arc::new(SqliteStore::open(&dir.join("hallpass.db"), Migrate::Yes, &*clock).await.unwrap());
    let vault = Arc::new(SimulatedIssuer::new(clock.clone()));
    let calls = Calls::default();
    note_calls(&vault, &calls);
    let stopping = CancellationToken::new();
    let broker = Arc::new(Broker::new(Parts {
        policy: policy(&["orders-ro"]),
        digest_key: store.digest_key().await.unwrap(),
        store: store.clone(),
        issuer: vault,
        clock: clock.clone(),
        wrap_ttl: Duration::from_mins(5),
        alarm_after: Duration::from_mins(1),
        revoke_unknown: false,
        texts_for: None,
        signers: Signers::default(),
        notary: Notary::default(),
        stopping: stopping.clone(),
        tasks: TaskTracker::new(),
    }));
    let at_work = at_work(&broker, &clock, &stopping);
    let (mut ends, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..WINDOWS {
        let (id, closes_at) = claim(&broker).await;
        bare.push(tokio::spawn(fire(closes_at + BESIDE)));
        ends.push((id, closes_at));
        pause(APART).await;
    }
    pause(LENGTH + Duration::from_secs(1)).await;
    let mut ours = Vec::new();
    for (id, closes_at) in ends {
        let called_at = *calls.lock().unwrap().get(&id).expect("its end was begun");
        assert!(called_at >= closes_at, "never early");
        ours.push(millis(called_at - closes_at));
    }
    let mut theirs = Vec::new();
    for late in bare {
        theirs.push(millis(late.await.unwrap()));
    }
    let ratio = median(&ours) / median(&theirs);
    println!("{:<58}{:>6}{:>12}{:>12}", "one window at a time", "N", "median", "p99");
    print("from the window's end to the first call to Vault", ours);
    print("a bare timer (tokio), beside", theirs);
    println!("ratio of the medians: {ratio:.2}; milliseconds\n");
    stopping.cancel();
    at_work.await.unwrap();
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn note_calls(vault: &SimulatedIssuer, calls: &Calls) {
    let calls = Arc::clone(calls);
    vault.on_call(move |call| {
        let ends = matches!(call.operation, Operation::RevokeToken | Operation::RevokeWrapping);
        if let Some(grant) = call.grant.filter(|_| ends) {
            calls.lock().unwrap().entry(grant).or_insert_with(Utc::now);
        }
    });
}

async fn claim(broker: &Arc<Broker>) -> (GrantId, DateTime<Utc>) {
    let view = broker.submit(&alice(), submission("orders-ro", LENGTH)).await.unwrap();
    let (id, written) = (view.request.id, written(&view));
    broker.approve(&olivia(), id, written).await.unwrap();
    let grant = broker.claim(&alice(), id, false).await.unwrap().grant;
    (grant.id, grant.window.closes_at())
}

/// How late a bare timer fires.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
async fn fire(at: DateTime<Utc>) -> TimeDelta {
    pause((at - Utc::now()).to_std().unwrap()).await;
    Utc::now() - at
}

fn millis(delta: TimeDelta) -> f64 {
    delta.to_std().unwrap().as_secs_f64() * 1000.0
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    percentile(&sorted, 50)
}
