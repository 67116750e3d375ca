//! The pass without input that finishes whatever is due or half-done.
//!
//! ```text
//!           a window closed ---.
//!    a grant began to end -----+--> pass: try to end each, within the queue's bounds
//!    a try ended, or is due ---'
//!                              the chores beside it: load deadlines, look the store through, record what is kept,
//!                              let requests lapse, raise alarms, sweep, reconcile, erase texts, sign the log, show that to
//!                              witnesses
//! ```
//!
//! The pass itself never waits for the store: what it needs is in memory, so that neither a flood of requests nor a lost
//! disk keeps a window from closing. Nothing is kept that a restart could lose, and an ending is tried for ever.

mod chores;
mod queue;

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::error;

pub use self::chores::{Chore, Chores, Schedules};
use self::queue::Queue;
use crate::{
    access::id::GrantId,
    broker::{Broker, Tried},
    clock::Clock,
};

/// Meets the deadlines, and brings endings to their end.
#[derive(Debug)]
pub struct Sweeper {
    broker: Arc<Broker>,
    clock: Arc<dyn Clock>,
    queue: Queue,
    tries: JoinSet<Tried>,
    under_way: BTreeMap<Id, GrantId>,
}

impl Sweeper {
    /// A sweeper that has done nothing yet.
    #[must_use]
    pub fn new(broker: Arc<Broker>, clock: Arc<dyn Clock>) -> Self {
        let (queue, under_way) = (Queue::default(), BTreeMap::new());
        Self { broker, clock, queue, tries: JoinSet::new(), under_way }
    }

    /// Runs until told to stop; then the tries that are under way end by themselves, and the next start does the rest.
    pub async fn run(mut self, stopping: CancellationToken) {
        while !stopping.is_cancelled() {
            let wake_at = self.pass();
            let clock = Arc::clone(&self.clock);
            tokio::select! {
                () = stopping.cancelled() => break,
                () = self.broker.work_to_do() => {}
                () = meet(&*clock, wake_at) => {}
                Some(done) = self.tries.join_next_with_id() => self.tried(done),
            }
        }
        while let Some(done) = self.tries.join_next_with_id().await {
            self.tried(done);
        }
    }

    /// Starts what may be tried now, and answers when there may be more.
    fn pass(&mut self) -> Option<DateTime<Utc>> {
        let now = self.clock.now();
        let (due, next_at) = self.broker.take_due(now);
        for (id, target, since) in due {
            self.queue.add(id, target, since);
        }
        for id in self.queue.take(now) {
            let broker = Arc::clone(&self.broker);
            let task = self.tries.spawn(async move { broker.pursue(id).await });
            self.under_way.insert(task.id(), id);
        }
        self.queue.wake_at(now).into_iter().chain(next_at).min()
    }

    /// Notes how a try went. A try that panicked has failed.
    fn tried(&mut self, done: Result<(Id, Tried), JoinError>) {
        let task = done.as_ref().map_or_else(JoinError::id, |(task, _)| *task);
        let Some(id) = self.under_way.remove(&task) else { return };
        let tried = done.map_or_else(
            |_| {
                // Why is in the line of the panic; its text, which the failure repeats, may hold anything.
                error!(
                    "event.action" = "ending-not-recorded",
                    "hallpass.grant.id" = %id,
                    "a try to end a grant broke off"
                );
                Tried::Failed
            },
            |(_, tried)| tried,
        );
        let is_last = self.queue.done(id, tried, self.clock.now());
        // The store gives so many of each target at a time; with these done, there may be more.
        if is_last && self.broker.may_have_more() {
            self.broker.want_rescan();
        }
    }
}

async fn meet(clock: &dyn Clock, at: Option<DateTime<Utc>>) {
    match at {
        Some(at) => clock.meet(at).await,
        None => std::future::pending().await,
    }
}
