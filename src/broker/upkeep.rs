//! What the daemon does by itself: deadlines, and finishing what a crash, an outage or a change of configuration left.
//! Without input and idempotent: running it once more than needed does no harm.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch as channel;

use super::{
    Broker, Error,
    armed::{CLOSING_MAX, Due},
};
use crate::{
    access::{
        actor::Actor,
        grant::{Grant, State},
        id::{GrantId, RequestId},
        revocation::Cause,
    },
    store::{Duty, Write},
};

/// How many open grants are read at a time.
const PAGE: u32 = 500;
/// How long after its end a window is left to its deadline before a sweep begins to end it.
const LATE: TimeDelta = TimeDelta::seconds(5);
/// The pause between two looks for a loading that fails.
const LOAD_AGAIN: TimeDelta = TimeDelta::seconds(1);
/// How many grants without a target are remembered as told of; after that they are told of again.
const TOLD_MAX: usize = 10_000;

/// The grants without a configured target that were told of already.
#[derive(Debug, Default)]
pub(super) struct Homeless(Mutex<BTreeSet<GrantId>>);

impl Homeless {
    /// Whether this is the first time.
    fn is_new(&self, id: GrantId) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= TOLD_MAX {
            told.clear();
        }
        told.insert(id)
    }
}

impl Broker {
    /// Returns when there may be something to do that no deadline announces: a grant began to end.
    pub async fn work_to_do(&self) {
        self.work.notified().await;
    }

    /// When the first request may lapse, as far as is known: sooner, as soon as one is recorded that does.
    #[must_use]
    pub fn first_lapse(&self) -> channel::Receiver<DateTime<Utc>> {
        self.lapses.subscribe()
    }

    /// Notes that a request may lapse then.
    pub(super) fn may_lapse(&self, at: DateTime<Utc>) {
        self.lapses.send_if_modified(|first| {
            let is_sooner = at < *first;
            *first = at.min(*first);
            is_sooner
        });
    }

    /// Returns when the store should be asked for endings that aren't known.
    pub async fn rescan_wanted(&self) {
        self.rescan.notified().await;
    }

    /// Asks for the store to be looked through for endings that aren't known.
    pub fn want_rescan(&self) {
        self.rescan.notify_one();
    }

    /// Takes the endings that are due by now or were begun, as far as they are in memory, and says when the next is.
    #[must_use]
    pub fn take_due(&self, now: DateTime<Utc>) -> (Vec<Due>, Option<DateTime<Utc>>) {
        self.passes.send_replace(());
        let due = self.armed.take_due(now);
        (due, self.armed.next_at())
    }

    /// Loads the deadlines of the next minutes, and answers with when to load again.
    pub async fn arm(&self) -> DateTime<Utc> {
        let now = self.clock.now();
        let until = self.armed.begin_loading(now);
        match self.store.closing(until, CLOSING_MAX).await {
            Ok(grants) => {
                self.armed.load(grants);
                self.work.notify_one();
                self.armed.load_at().max(now + LOAD_AGAIN)
            }
            Err(failure) => {
                self.armed.give_up_loading(now);
                let failure: &dyn std::error::Error = &failure;
                tracing::error!(
                    "event.action" = "sweep-failed",
                    error = failure,
                    "the next deadlines could not be read"
                );
                now + LOAD_AGAIN
            }
        }
    }

    /// Finds the endings that are due or under way, as the store has them: at most so many for each target.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub async fn rescan(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let due = self.store.due(now).await?;
        let all: Vec<Due> =
            due.closing.into_iter().chain(due.revoking).map(|(id, target)| (id, target, now)).collect();
        self.armed.found(all, due.is_cut);
        self.work.notify_one();
        Ok(())
    }

    /// Whether the last look through the store left something out, and nobody has asked yet.
    #[must_use]
    pub fn may_have_more(&self) -> bool {
        self.armed.take_cut()
    }

    /// Lets the requests lapse whose time has come, and notes when the next one's comes; at once, if there were some.
    ///
    /// # Errors
    ///
    /// If the store can't be read, or with the first failure to record a lapse, which doesn't keep the others from being
    /// recorded.
    pub async fn let_lapse(&self) -> Result<(), Error> {
        let now = self.clock.now();
        // First, because what is recorded from here on may not be in what is read.
        self.lapses.send_replace(DateTime::<Utc>::MAX_UTC);
        let lapsing = self.store.due(now).await?.lapsing;
        if lapsing.is_empty() {
            self.store.next_deadline(now).await?.into_iter().for_each(|next| self.may_lapse(next));
            return Ok(());
        }
        let mut recorded = Ok(());
        for id in lapsing {
            recorded = recorded.and(self.lapse(id).await);
        }
        self.may_lapse(now);
        recorded
    }

    async fn lapse(&self, id: RequestId) -> Result<(), Error> {
        let request = self.store.request(id).await?;
        let lapsed = request.and_then(|request| request.lapse(self.clock.now()));
        let Some(change) = lapsed else { return Ok(()) };
        match self.commit(&[Write::Request(&change)]).await {
            // Somebody decided or withdrew it just now; if it still is due, the next pass finds it again.
            Err(Error::Conflict) => Ok(()),
            done => done,
        }
    }

    /// Looks at every open grant, for what no deadline tells: grants being made that nobody is at work on (after a
    /// crash), and those that a freeze ends. And for windows that closed a while ago: in an outage their turn to be tried
    /// comes late, and that they are ending is to be on record before that.
    ///
    /// A grant whose target isn't configured any more goes on to the end of its window and is only told of: that it ends
    /// sooner is for somebody to say ([`Self::reconfigure`]), and a start with another file says nothing.
    ///
    /// # Errors
    ///
    /// If the store fails; a failure to record one grant's end doesn't keep the others from being looked at.
    pub async fn sweep(&self) -> Result<(), Error> {
        let (mut after, mut recorded): (Option<GrantId>, _) = (None, Ok(()));
        loop {
            let page = self.store.open_grants(after, PAGE).await?;
            let is_last = page.len() < PAGE as usize;
            // After the page, so that what was granted since a thaw isn't ended. If they can't be read, all else goes on.
            let freezes = self.store.freezes().await.unwrap_or_else(|failure| {
                recorded = std::mem::replace(&mut recorded, Ok(())).and(Err(failure.into()));
                Vec::new()
            });
            for grant in page {
                after = Some(grant.id);
                let frozen = freezes.iter().find(|freeze| freeze.ends(&grant.target));
                let Some(cause) = self.cause_of_end(&grant, frozen.is_some()) else {
                    self.tell_homeless(&grant);
                    continue;
                };
                let by = frozen.filter(|_| cause == Cause::Frozen);
                let actor = by.map_or(Actor::Daemon, |freeze| Actor::Person(freeze.by.clone()));
                // Another daemon's claim may be at work on it.
                let is_being_made = matches!(grant.state, State::Issuing { .. });
                if is_being_made && !self.takes(&Duty::Grant(grant.id)).await.unwrap_or(false) {
                    continue;
                }
                match self.begin_as_read(grant, cause, &actor, by.map(|freeze| &freeze.reason)).await {
                    // It moved on while others were looked at, so what was found needn't hold any more: a grant that
                    // was being made may be held by now.
                    Ok(_) | Err(Error::Conflict) => {}
                    Err(failure) => recorded = recorded.and(Err(failure)),
                }
            }
            if is_last {
                break;
            }
        }
        // Whatever a timer missed is due now.
        self.rescan.notify_one();
        recorded
    }

    fn tell_homeless(&self, grant: &Grant) {
        if !self.policy.targets.contains_key(&grant.target) && self.homeless.is_new(grant.id) {
            tracing::error!(
                "event.action" = "target-missing",
                "hallpass.grant.id" = %grant.id,
                "hallpass.target.name" = %grant.target,
                "user.name" = grant.holder.name,
                "a grant's target isn't configured; it ends with its window, or by hallpassd reload --end-removed"
            );
        }
    }

    /// Why an open grant has to end now, if it has to.
    fn cause_of_end(&self, grant: &Grant, is_frozen: bool) -> Option<Cause> {
        match &grant.state {
            State::Issuing { .. } if !self.issuing.is_at_work(grant.id) => Some(Cause::IssueFailed),
            _ if grant.window.is_closed(self.clock.now() - LATE) => Some(Cause::WindowClosed),
            _ if is_frozen => Some(Cause::Frozen),
            _ => None,
        }
    }

    /// Returns true when the sweeper has passed once more: the sign of life that the process's supervisor asks for. It
    /// doesn't ask the store: a daemon that is restarted because its disk hangs loses the deadlines that it has in memory.
    pub async fn is_alive(&self) -> bool {
        let mut passes = self.passes.subscribe();
        self.work.notify_one();
        passes.changed().await.is_ok()
    }
}
