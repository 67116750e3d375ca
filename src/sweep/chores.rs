//! What goes on beside the pass: each chore is a loop of its own, so that none waits for another, and none of them is
//! needed for a deadline that is in memory to be met.

use std::{pin::Pin, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Notify, watch as channel};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    broker::{Broker, Error},
    clock::Clock,
    schedule::Schedule,
};

/// The pause after something that the store refused.
const STORE_PAUSE: TimeDelta = TimeDelta::seconds(1);
/// How long a chore sleeps at most: endings can begin, and clocks can be set, without anybody telling it.
const LOOK_AGAIN: TimeDelta = TimeDelta::minutes(1);

/// A loop that runs until the daemon stops, with its name.
pub type Chore = (&'static str, Pin<Box<dyn Future<Output = ()> + Send>>);

/// When the two chores run that have a schedule.
#[derive(Debug)]
pub struct Schedules {
    /// When every open grant is looked at.
    pub sweep: channel::Sender<Schedule>,
    /// When Vault and the records are compared.
    pub reconcile: channel::Sender<Schedule>,
}

impl Schedules {
    /// Begins with these.
    #[must_use]
    pub fn new(sweep: Schedule, reconcile: Schedule) -> Self {
        Self { sweep: channel::Sender::new(sweep), reconcile: channel::Sender::new(reconcile) }
    }

    /// Goes on with these.
    pub fn replace(&self, sweep: Schedule, reconcile: Schedule) {
        for (now, next) in [(&self.sweep, sweep), (&self.reconcile, reconcile)] {
            now.send_if_modified(|now| {
                let differs = *now != next;
                *now = next;
                differs
            });
        }
    }
}

/// Everything that recurs.
#[derive(Clone, Debug)]
pub struct Chores {
    /// Who does it.
    pub broker: Arc<Broker>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Asks for a reconciliation now.
    pub reconcile: Arc<Notify>,
    /// Asks all of them to end.
    pub stopping: CancellationToken,
}

impl Chores {
    /// All of them; the schedules say when two of them run, beside at once and when the schedules are changed.
    #[must_use]
    pub fn all(&self, schedules: &Schedules) -> Vec<Chore> {
        let [sweep, reconcile] = [&schedules.sweep, &schedules.reconcile].map(channel::Sender::subscribe);
        vec![
            ("deadlines", Box::pin(self.clone().load_deadlines())),
            ("rescan", Box::pin(self.clone().look_through())),
            ("recording", Box::pin(self.clone().record())),
            ("lapses", Box::pin(self.clone().let_lapse())),
            ("alarms", Box::pin(self.clone().raise_alarms())),
            ("sweep", Box::pin(self.clone().sweep(sweep))),
            ("reconciliation", Box::pin(self.clone().reconcile(reconcile))),
        ]
    }

    /// One with the configuration that is in force now.
    fn broker(&self) -> Broker {
        self.broker.renewed()
    }

    /// Keeps the deadlines of the next minutes in memory.
    async fn load_deadlines(self) {
        while !self.stopping.is_cancelled() {
            let again_at = self.broker.arm().await;
            self.rest_until(again_at).await;
        }
    }

    /// Looks the store through for endings: at the start, after each sweep, and when a target ran out of those known.
    async fn look_through(self) {
        while !self.stopping.is_cancelled() {
            if let Err(failure) = self.broker.rescan().await {
                failed(&failure, "endings that are due could not be read");
                self.rest_until(self.clock.now() + STORE_PAUSE).await;
                continue;
            }
            tokio::select! {
                () = self.stopping.cancelled() => {}
                () = self.broker.rescan_wanted() => {}
            }
        }
    }

    /// Records what ended while nothing could be recorded.
    async fn record(self) {
        while !self.stopping.is_cancelled() {
            tokio::select! {
                () = self.stopping.cancelled() => break,
                () = self.broker.something_unrecorded() => {}
            }
            match self.broker.record_kept().await {
                Ok(true) => self.broker.want_rescan(),
                Ok(false) => {}
                // It was told of when it began.
                Err(_) => self.rest_until(self.clock.now() + STORE_PAUSE).await,
            }
        }
    }

    /// Lets requests lapse when their time has come.
    async fn let_lapse(self) {
        while !self.stopping.is_cancelled() {
            let next = self.broker.let_lapse().await.unwrap_or_else(|failure| {
                failed(&failure, "requests could not be let lapse");
                Some(self.clock.now() + STORE_PAUSE)
            });
            tokio::select! {
                () = self.broker.lapse_to_note() => {}
                () = self.rest_until(next.unwrap_or(DateTime::<Utc>::MAX_UTC)) => {}
            }
        }
    }

    /// Raises an alarm about each ending that takes too long.
    async fn raise_alarms(self) {
        while !self.stopping.is_cancelled() {
            let next = self.broker().raise_alarms().await.unwrap_or_else(|failure| {
                failed(&failure, "overdue endings could not be told of");
                self.clock.now() + STORE_PAUSE
            });
            self.rest_until(next).await;
        }
    }

    /// Looks at every open grant, and at the daemon's rights in Vault: the safety net for whatever a timer missed.
    async fn sweep(self, mut schedule: channel::Receiver<Schedule>) {
        while !self.stopping.is_cancelled() {
            if let Err(failure) = self.broker().sweep().await {
                failed(&failure, "a sweep could not read or record what it found");
            }
            self.broker().refresh_blockers().await;
            self.rest_until_next(&mut schedule).await;
        }
    }

    /// Compares Vault with the records.
    async fn reconcile(self, mut schedule: channel::Receiver<Schedule>) {
        while !self.stopping.is_cancelled() {
            if let Err(failure) = self.broker().reconcile().await {
                failed(&failure, "a reconciliation could not read or record what it found");
            }
            tokio::select! {
                () = self.reconcile.notified() => {}
                () = self.rest_until_next(&mut schedule) => {}
            }
        }
    }

    async fn rest_until_next(&self, schedule: &mut channel::Receiver<Schedule>) {
        let next = |schedule: &channel::Receiver<Schedule>| schedule.borrow().next_after(self.clock.now());
        let at = next(schedule);
        // By a clock that was set back meanwhile, or by another schedule, it may be due sooner.
        while next(schedule) == at && !self.stopping.is_cancelled() {
            tokio::select! {
                () = self.rest_until(at) => {}
                // Whoever changes schedules lives as long as the daemon.
                Ok(()) = schedule.changed() => {}
            }
        }
    }

    async fn rest_until(&self, at: DateTime<Utc>) {
        let at = at.min(self.clock.now() + LOOK_AGAIN);
        tokio::select! {
            () = self.stopping.cancelled() => {}
            () = self.clock.meet(at) => {}
        }
    }
}

fn failed(failure: &Error, what: &'static str) {
    let failure: &dyn std::error::Error = failure;
    error!("event.action" = "sweep-failed", error = failure, "{what}");
}
