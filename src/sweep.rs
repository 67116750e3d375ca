//! The pass without input that finishes whatever is due or half-done.
//!
//! ```text
//!           a deadline came ---.
//!    a grant began to end -----+--> pass: let lapse, and try to end each grant whose window is over
//!    a retry is due -----------+
//!    the configured schedule --'    (before it: look at every open grant, and at the daemon's rights in Vault)
//! ```
//!
//! Deadlines come from the store each time; nothing is kept here that a restart could lose. An ending that fails is tried
//! again for ever, each one in its own time, and no target's endings wait for another target's.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::{
    sync::Semaphore,
    task::{Id, JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    access::{id::GrantId, target::TargetName},
    broker::{Broker, Error},
    clock::Clock,
    schedule::Schedule,
};

/// The pause before an ending's first retry. It doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest pause between tries: short enough that an account is gone promptly once its database is back.
const RETRY_MAX: Duration = Duration::from_secs(15);
/// The pause after a pass that the store refused.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How many endings of one target are under way at once: Vault runs one connection's revocations one after another
/// anyway, and a target that hangs must not take all of Vault's workers.
const ENDINGS_PER_TARGET: usize = 4;

/// Meets the deadlines, and brings endings to their end.
#[derive(Debug)]
pub struct Sweeper {
    broker: Arc<Broker>,
    clock: Arc<dyn Clock>,
    turns: BTreeMap<TargetName, Arc<Semaphore>>,
    endings: JoinSet<Result<bool, Error>>,
    under_way: HashMap<Id, (GrantId, TargetName)>,
    retries: HashMap<GrantId, Retry>,
}

/// When an ending that failed is tried again; no time while a try is under way.
#[derive(Clone, Copy, Debug)]
struct Retry {
    pause: Duration,
    at: Option<DateTime<Utc>>,
}

impl Retry {
    /// Whether its time is still to come. One further away than any pause was reckoned by a clock that was set back since.
    fn is_paused(self, now: DateTime<Utc>) -> bool {
        self.at.is_some_and(|at| at > now && at <= now + RETRY_MAX)
    }
}

impl Sweeper {
    /// A sweeper that has done nothing yet.
    #[must_use]
    pub fn new(broker: Arc<Broker>, clock: Arc<dyn Clock>) -> Self {
        let (turns, retries) = (BTreeMap::new(), HashMap::new());
        Self { broker, clock, turns, endings: JoinSet::new(), under_way: HashMap::new(), retries }
    }

    /// Runs until told to stop; then the tries that are under way end by themselves, and the next start does the rest.
    pub async fn run(mut self, stopping: CancellationToken) {
        while !stopping.is_cancelled() {
            let wake_at = match self.pass().await {
                Ok(wake_at) => wake_at,
                Err(failure) => {
                    let failure: &dyn std::error::Error = &failure;
                    error!(
                        "event.action" = "sweep-failed",
                        error = failure,
                        "a pass could not read or record what is due"
                    );
                    Some(self.clock.now() + STORE_PAUSE)
                }
            };
            tokio::select! {
                () = stopping.cancelled() => break,
                () = self.wait(wake_at) => {}
            }
        }
        self.turns.values().for_each(|turns| turns.close());
        while let Some(done) = self.endings.join_next_with_id().await {
            self.ended(done);
        }
    }

    /// Does what is due, and answers when the next deadline is.
    async fn pass(&mut self) -> Result<Option<DateTime<Utc>>, Error> {
        let now = self.clock.now();
        let (lapsing, ending) = self.broker.due(now).await?;
        let due: HashSet<GrantId> = ending.iter().map(|(id, _)| *id).collect();
        // What isn't due any more was ended by somebody else, and must not wake anybody.
        self.retries.retain(|id, retry| retry.at.is_none() || due.contains(id));
        let at_work: HashSet<GrantId> = self.under_way.values().map(|(id, _)| *id).collect();
        for (id, target) in ending {
            let paused = self.retries.get(&id).is_some_and(|retry| retry.is_paused(now));
            if !at_work.contains(&id) && !paused {
                self.start(id, target);
            }
        }
        // After the endings have begun: people can make as many requests as they like lapse at once, and a lapse counts
        // whether or not it is recorded.
        let may_be_more = !lapsing.is_empty();
        self.broker.let_lapse(lapsing).await?;
        if may_be_more { Ok(Some(now)) } else { self.broker.next_deadline(now).await }
    }

    fn start(&mut self, id: GrantId, target: TargetName) {
        let turns =
            self.turns.entry(target.clone()).or_insert_with(|| Arc::new(Semaphore::new(ENDINGS_PER_TARGET)));
        let (broker, turns) = (Arc::clone(&self.broker), Arc::clone(turns));
        let task = self.endings.spawn(async move {
            // Closed when the process stops: whoever waits for a turn is left to the next start.
            let Ok(_turn) = turns.acquire_owned().await else { return Ok(false) };
            broker.pursue(id).await
        });
        self.under_way.insert(task.id(), (id, target));
        if let Some(retry) = self.retries.get_mut(&id) {
            retry.at = None;
        }
    }

    /// Returns when a pass has something to do.
    async fn wait(&mut self, deadline: Option<DateTime<Utc>>) {
        loop {
            let wake_at = self.retries.values().filter_map(|retry| retry.at).chain(deadline).min();
            let clock = Arc::clone(&self.clock);
            tokio::select! {
                () = self.broker.work_to_do() => return,
                () = sleep_until(&*clock, wake_at) => return,
                Some(done) = self.endings.join_next_with_id() => {
                    let Some(target) = self.ended(done) else { continue };
                    // A pass sees so many endings of a target at most. With all of these done, there may be more.
                    if self.under_way.values().all(|(_, other)| *other != target) {
                        return;
                    }
                }
            }
        }
    }

    /// Notes how a try went. Answers with its target if the grant is over.
    fn ended(&mut self, done: Result<(Id, Result<bool, Error>), JoinError>) -> Option<TargetName> {
        let task = done.as_ref().map_or_else(JoinError::id, |(task, _)| *task);
        let (id, target) = self.under_way.remove(&task)?;
        let failure: Option<Box<dyn std::error::Error>> = match done {
            Ok((_, Ok(true))) => {
                self.retries.remove(&id);
                return Some(target);
            }
            Ok((_, Ok(false))) => None,
            Ok((_, Err(failure))) => Some(Box::new(failure)),
            Err(failure) => Some(Box::new(failure)),
        };
        if let Some(failure) = failure {
            error!(
                "event.action" = "ending-not-recorded",
                "hallpass.grant.id" = %id,
                error = &*failure,
                "an ending could not be recorded"
            );
        }
        let pause = self.retries.get(&id).map_or(RETRY_MIN, |retry| (retry.pause * 2).min(RETRY_MAX));
        self.retries.insert(id, Retry { pause, at: Some(self.clock.now() + pause) });
        None
    }
}

async fn sleep_until(clock: &dyn Clock, at: Option<DateTime<Utc>>) {
    match at {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Looks at once, and then whenever the schedule says, at every open grant and at the daemon's rights in Vault. This is
/// the safety net for whatever a timer missed.
pub async fn on_schedule(
    broker: Arc<Broker>,
    clock: Arc<dyn Clock>,
    schedule: Schedule,
    stopping: CancellationToken,
) {
    while !stopping.is_cancelled() {
        if let Err(failure) = broker.sweep().await {
            let failure: &dyn std::error::Error = &failure;
            error!(
                "event.action" = "sweep-failed",
                error = failure,
                "a sweep could not read or record what it found"
            );
        }
        broker.refresh_blockers().await;
        tokio::select! {
            () = stopping.cancelled() => {}
            () = clock.sleep_until(schedule.next_after(clock.now())) => {}
        }
    }
}
