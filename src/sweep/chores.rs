//! What goes on beside the pass: each chore is a loop of its own, so that none waits for another, and none of them is
//! needed for a deadline that is in memory to be met.

use std::{pin::Pin, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Notify, watch as channel};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    broker::{Broker, Error, Extent, TextsErased, Unsigned, Witness},
    clock::Clock,
    schedule::Schedule,
};

/// The pause after something that the store refused.
const STORE_PAUSE: TimeDelta = TimeDelta::seconds(1);
/// How often it is tried to remove what erased texts left in files: whoever reads is done in a moment.
const SCRUB_TRIES: u32 = 60;
/// How long a chore sleeps at most: endings can begin, and clocks can be set, without anybody telling it.
const LOOK_AGAIN: TimeDelta = TimeDelta::minutes(1);

/// How often all of the log is computed anew.
const WHOLE_AGAIN: TimeDelta = TimeDelta::days(1);
/// How long at most to wait for a Vault that didn't sign.
const SIGN_AGAIN: TimeDelta = TimeDelta::seconds(10);
/// How long to wait for a witness that didn't take a checkpoint, at first and at most.
const SHOW_AGAIN: TimeDelta = TimeDelta::seconds(2);
const SHOW_AGAIN_MAX: TimeDelta = TimeDelta::minutes(5);
/// How often it is told of what goes on being wrong.
const TELL_AGAIN: TimeDelta = TimeDelta::hours(1);

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
        let witnesses = self
            .broker
            .witnesses()
            .into_iter()
            .map(|witness| -> Chore { ("witness", Box::pin(self.clone().show_checkpoints(witness))) });
        let chores: Vec<Chore> = vec![
            ("deadlines", Box::pin(self.clone().load_deadlines())),
            ("rescan", Box::pin(self.clone().look_through())),
            ("recording", Box::pin(self.clone().record())),
            ("lapses", Box::pin(self.clone().let_lapse())),
            ("alarms", Box::pin(self.clone().raise_alarms())),
            ("sweep", Box::pin(self.clone().sweep(sweep))),
            ("reconciliation", Box::pin(self.clone().reconcile(reconcile))),
            ("retention", Box::pin(self.clone().erase_texts(retention))),
            ("others", Box::pin(self.clone().follow_others())),
            ("takeover", Box::pin(self.clone().take_over())),
        ];
        let signing = self.broker.signs_the_log();
        let signing =
            signing.then(|| -> Chore { ("checkpoints", Box::pin(self.clone().sign_checkpoints())) });
        chores.into_iter().chain(signing).chain(witnesses).collect()
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

    /// Hears of what other daemons record.
    async fn follow_others(self) {
        tokio::select! {
            () = self.stopping.cancelled() => {}
            () = self.broker.follow_others() => {}
        }
    }

    /// Looks for what a daemon was at that is gone.
    async fn take_over(self) {
        let mut seen = None;
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.broker.somebody_gone(&mut seen) => {}
            }
            info!(
                "event.action" = "takeover",
                "another hallpassd isn't heard of any more; what it was at is taken over"
            );
            self.broker.arm().await;
            if let Err(failure) = self.broker().sweep().await {
                failed(&failure, "a sweep could not read or record what it found");
            }
        }
    }

    /// Waits until a chore is this daemon's. False if the daemon stops.
    async fn has(&self, chore: &'static str) -> bool {
        while !self.stopping.is_cancelled() {
            if self.broker.has_chore(chore).await {
                return true;
            }
            self.rest_until(self.clock.now() + STORE_PAUSE).await;
        }
        false
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
        let mut first = self.broker.first_lapse();
        while self.has("lapses").await {
            if let Err(failure) = self.broker.let_lapse().await {
                failed(&failure, "requests could not be let lapse");
                self.rest_until(self.clock.now() + STORE_PAUSE).await;
                continue;
            }
            self.rest_until_first(&mut first).await;
        }
    }

    /// Raises an alarm about each ending that takes too long.
    async fn raise_alarms(self) {
        while self.has("alarms").await {
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
    ///
    /// At the start and when it is asked, each daemon does; on the schedule, one of them.
    async fn reconcile(self, mut schedule: channel::Receiver<Schedule>) {
        let mut is_asked = true;
        while !self.stopping.is_cancelled() {
            if (is_asked || self.broker.has_chore("reconciliation").await)
                && let Err(failure) = self.broker().reconcile().await
            {
                failed(&failure, "a reconciliation could not read or record what it found");
            }
            is_asked = tokio::select! {
                () = self.reconcile.notified() => true,
                () = self.broker.reconciliation_wanted() => true,
                () = self.rest_until_next(&mut schedule) => false,
            };
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
            if self.clock.now() >= due_at && self.broker.has_chore("retention").await {
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

    /// Signs the log when it has grown, and looks at all of it at the start and once a day.
    async fn sign_checkpoints(self) {
        let (mut whole_at, mut told_at) = (self.clock.now(), None);
        while !self.stopping.is_cancelled() {
            let begun_at = self.clock.now();
            let extent = if begun_at >= whole_at { Extent::Whole } else { Extent::SinceLast };
            // A long log takes longer than a stop may.
            let signed = tokio::select! {
                () = self.stopping.cancelled() => return,
                signed = self.broker.sign_log(extent) => signed,
            };
            if !matches!(signed, Err(Unsigned::Store(_))) && extent == Extent::Whole {
                whole_at = begun_at + WHOLE_AGAIN;
            }
            let interval = self.broker.checkpoint_interval();
            let pause = match signed {
                Ok(()) => interval,
                Err(Unsigned::Broken(problem)) => {
                    // It stays so; an alarm that nobody heard is raised again.
                    if told_at.is_none_or(|told| begun_at - told >= TELL_AGAIN) {
                        self.broker.tell_broken(&problem);
                        told_at = Some(begun_at);
                    }
                    interval
                }
                Err(failure) => {
                    let failure: &dyn std::error::Error = &failure;
                    warn!(
                        "event.action" = "checkpoint-failed",
                        error = failure,
                        "the audit log wasn't signed"
                    );
                    interval.min(SIGN_AGAIN)
                }
            };
            self.wait_until(begun_at + pause, std::future::pending()).await;
        }
    }

    /// Shows each checkpoint to one witness, for as long as it takes: no other waits for this one.
    async fn show_checkpoints(self, witness: Arc<dyn Witness>) {
        let (mut signed, mut kept, mut failures) = (self.broker.signed_sizes(), 0, Failures::default());
        while !self.stopping.is_cancelled() {
            signed.borrow_and_update();
            let broker = self.broker();
            let shown = broker.show(&*witness, &mut kept).await;
            let now = self.clock.now();
            self.broker.was_asked(&*witness);
            match shown {
                Ok(()) => {
                    failures = Failures::default();
                    let news = async { drop(signed.changed().await) };
                    self.wait_until(now + broker.refresh_after(&*witness), news).await;
                }
                Err(why) => {
                    if failures.is_news(now) {
                        broker.tell_unseen(&*witness, &why);
                    }
                    let again_at = now + failures.pause().min(broker.refresh_after(&*witness));
                    self.wait_until(again_at, std::future::pending()).await;
                }
            }
        }
    }

    /// Waits for a time or for something else, whichever comes first.
    pub(crate) async fn wait_until(&self, at: DateTime<Utc>, other: impl Future<Output = ()>) {
        let time = async {
            while self.clock.now() < at && !self.stopping.is_cancelled() {
                self.rest_until(at).await;
            }
        };
        tokio::select! {
            () = time => {}
            () = other => {}
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

    /// Rests until then, or until what it is by then.
    async fn rest_until_first(&self, first: &mut channel::Receiver<DateTime<Utc>>) {
        loop {
            let at = *first.borrow_and_update();
            tokio::select! {
                () = self.rest_until(at) => return,
                // Whoever says when lives as long as the daemon.
                Ok(()) = first.changed() => {}
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

/// How often in a row something failed.
#[derive(Debug, Default)]
struct Failures {
    count: u32,
    told_at: Option<DateTime<Utc>>,
}

impl Failures {
    /// Whether one more is to be told of: the first, and from then on one an hour.
    fn is_news(&mut self, now: DateTime<Utc>) -> bool {
        let is_news = self.told_at.is_none_or(|told| now - told >= TELL_AGAIN);
        if is_news {
            self.told_at = Some(now);
        }
        is_news
    }

    /// How long to wait before the next try: twice as long as before the last, up to a bound.
    fn pause(&mut self) -> TimeDelta {
        let pause = SHOW_AGAIN * (1 << self.count.min(16));
        self.count += 1;
        pause.min(SHOW_AGAIN_MAX)
    }
}

fn failed(failure: &Error, what: &'static str) {
    let failure: &dyn std::error::Error = failure;
    error!("event.action" = "sweep-failed", error = failure, "{what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_waits_twice_as_long_up_to_a_bound_and_is_told_of_once_an_hour() {
        let mut failures = Failures::default();
        let pauses: Vec<i64> = (0..10).map(|_| failures.pause().num_seconds()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        let at = |minutes| DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes);
        let told: Vec<bool> = [0, 1, 59, 60, 61].into_iter().map(|m| failures.is_news(at(m))).collect();
        assert_eq!(told, [true, false, false, true, false]);
    }
}
