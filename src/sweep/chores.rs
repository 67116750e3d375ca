//! What goes on beside the pass: each chore is a loop of its own, so that none waits for another, and none of them is
//! needed for a deadline that is in memory to be met.

use std::{pin::Pin, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Notify, watch as channel};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    broker::{Broker, Error, TextsErased},
    clock::Clock,
    schedule::Schedule,
};

/// The pause after something that the store refused.
const STORE_PAUSE: TimeDelta = TimeDelta::seconds(1);
/// How often it is tried to remove what erased texts left in files: whoever reads is done in a moment.
const SCRUB_TRIES: u32 = 60;
/// How long a chore sleeps at most: endings can begin, and clocks can be set, without anybody telling it.
const LOOK_AGAIN: TimeDelta = TimeDelta::minutes(1);

/// A loop that runs until the daemon stops, with its name.
pub type Chore = (&'static str, Pin<Box<dyn Future<Output = ()> + Send>>);

/// When the chores run that have a schedule.
#[derive(Debug)]
pub struct Schedules {
    /// When every open grant is looked at.
    pub sweep: channel::Sender<Schedule>,
    /// When Vault and the records are compared.
    pub reconcile: channel::Sender<Schedule>,
    /// When texts go that were kept for long enough.
    pub retention: channel::Sender<Schedule>,
}

impl Schedules {
    /// Begins with these.
    #[must_use]
    pub fn new(sweep: Schedule, reconcile: Schedule, retention: Schedule) -> Self {
        let [sweep, reconcile, retention] = [sweep, reconcile, retention].map(channel::Sender::new);
        Self { sweep, reconcile, retention }
    }

    /// Goes on with these.
    pub fn replace(&self, sweep: Schedule, reconcile: Schedule, retention: Schedule) {
        let all = [(&self.sweep, sweep), (&self.reconcile, reconcile), (&self.retention, retention)];
        for (now, next) in all {
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
    /// All of them; the schedules say when the last ones run. The sweep and the reconciliation do so at once, too, and when
    /// their schedules are changed.
    #[must_use]
    pub fn all(&self, schedules: &Schedules) -> Vec<Chore> {
        let Schedules { sweep, reconcile, retention } = schedules;
        let [sweep, reconcile, retention] = [sweep, reconcile, retention].map(channel::Sender::subscribe);
        vec![
            ("deadlines", Box::pin(self.clone().load_deadlines())),
            ("rescan", Box::pin(self.clone().look_through())),
            ("recording", Box::pin(self.clone().record())),
            ("lapses", Box::pin(self.clone().let_lapse())),
            ("alarms", Box::pin(self.clone().raise_alarms())),
            ("sweep", Box::pin(self.clone().sweep(sweep))),
            ("reconciliation", Box::pin(self.clone().reconcile(reconcile))),
            ("retention", Box::pin(self.clone().erase_texts(retention))),
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

    /// Erases the texts that were kept for long enough. Never at once: whoever wrote too short a time has until then to
    /// notice, and what is erased doesn't come back.
    async fn erase_texts(self, mut schedule: channel::Receiver<Schedule>) {
        loop {
            let due_at = schedule.borrow_and_update().next_after(self.clock.now());
            self.rest_until_next(&mut schedule).await;
            if self.stopping.is_cancelled() {
                return;
            }
            // Another schedule ends the rest, too.
            if self.clock.now() >= due_at {
                self.erase_texts_once(&self.broker()).await;
            }
        }
    }

    async fn erase_texts_once(&self, broker: &Broker) {
        match broker.erase_texts().await {
            Ok(TextsErased { requests: 0, freezes: 0, more: false }) => {}
            Ok(TextsErased { requests, freezes, more }) => info!(
                "event.action" = "texts-erased",
                "hallpass.requests" = requests,
                "hallpass.freezes" = freezes,
                "the texts of {requests} requests and {freezes} freezes were erased{}",
                if more { "; there are more for the next time" } else { "" }
            ),
            Err(failure) => failed(&failure, "texts that were kept for long enough could not be erased"),
        }
        self.scrub(broker).await;
    }

    /// Also when nothing was erased now: the last time may have been cut short.
    async fn scrub(&self, broker: &Broker) {
        for _ in 0..SCRUB_TRIES {
            match broker.scrub().await {
                Ok(true) => return,
                Ok(false) => self.rest_until(self.clock.now() + STORE_PAUSE).await,
                Err(failure) => {
                    return failed(&failure, "what erased texts left in files could not be removed");
                }
            }
        }
        warn!(
            "event.action" = "erased-texts-linger",
            "somebody reads the database all the time, so its -wal file may still have texts that were erased"
        );
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
