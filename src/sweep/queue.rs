//! Which endings are tried when: a bound over all and for each target, pauses, and one probe of a target that fails.
//!
//! ```text
//! target   WELL --a try fails--> FAILING --a try succeeds--> WELL
//!                                   '--another fails--> FAILING, with a longer pause
//! ```
//!
//! While a target is FAILING, one of its endings is tried at a time, the one that was tried longest ago: so an outage
//! costs one call in a while instead of one for each grant, what is broken about one grant alone keeps no other waiting,
//! and everything goes on as soon as one try succeeds. It computes; it neither sleeps nor calls anybody.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    access::{id::GrantId, target::TargetName},
    broker::Tried,
};

/// How many endings of one target are under way at once: Vault runs one connection's revocations one after another
/// anyway, and a target that hangs must not take all of Vault's workers.
pub(super) const PER_TARGET_MAX: usize = 4;
/// How many young tries there are at once. What is due after an outage or a restart must not become as many calls.
pub(super) const YOUNG_MAX: usize = 64;
/// How long a try counts as young. What hangs longer is its target's matter and must not keep the others waiting.
const YOUNG: TimeDelta = TimeDelta::seconds(1);
/// The first pause of a target that fails. It doubles up to [`PROBE_PAUSE_MAX`].
const PROBE_PAUSE_MIN: TimeDelta = TimeDelta::milliseconds(250);
/// The longest pause between two probes: short enough that what is overdue is over seconds after its target is back.
const PROBE_PAUSE_MAX: TimeDelta = TimeDelta::seconds(2);
/// The first pause of an ending that fails while others of its target succeed. It doubles up to [`RETRY_PAUSE_MAX`].
const RETRY_PAUSE_MIN: TimeDelta = TimeDelta::milliseconds(500);
/// The longest pause of such an ending.
const RETRY_PAUSE_MAX: TimeDelta = TimeDelta::seconds(30);

/// The pause of an ending that can't be over yet.
const NOT_YET_PAUSE: TimeDelta = TimeDelta::seconds(10);

/// The endings that wait, and those under way.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lanes: BTreeMap<TargetName, Lane>,
    under_way: BTreeMap<GrantId, UnderWay>,
    known: BTreeSet<GrantId>,
}

/// A try that is under way.
#[derive(Debug)]
struct UnderWay {
    target: TargetName,
    since: DateTime<Utc>,
    pause: TimeDelta,
}

/// One target's endings.
#[derive(Debug, Default)]
struct Lane {
    /// By when they may be tried, those that were tried longest ago first.
    waiting: BTreeSet<Waiting>,
    under_way: usize,
    failing: Option<Failing>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    /// Of an ending that was never tried: when it was added.
    tried_at: DateTime<Utc>,
    id: GrantId,
    not_before: DateTime<Utc>,
    pause: TimeDelta,
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    pause: TimeDelta,
    probe_at: DateTime<Utc>,
}

impl Queue {
    /// Adds an ending, unless it is there already. `due_at` orders it among those that were never tried.
    pub(super) fn add(&mut self, id: GrantId, target: TargetName, due_at: DateTime<Utc>) {
        if self.known.insert(id) {
            let waiting = Waiting { tried_at: due_at, id, not_before: due_at, pause: TimeDelta::zero() };
            self.lanes.entry(target).or_default().waiting.insert(waiting);
        }
    }

    /// Takes what may be tried now. Each of it must be given back by [`Self::done`].
    pub(super) fn take(&mut self, now: DateTime<Utc>) -> Vec<GrantId> {
        let mut taken = Vec::new();
        let mut room = YOUNG_MAX.saturating_sub(self.young(now).count());
        // In rounds, so that a target with many doesn't take all the places there are.
        let mut more = true;
        while more && room > 0 {
            more = false;
            for (target, lane) in &mut self.lanes {
                let Some(next) = (room > 0).then(|| lane.take(now)).flatten() else { continue };
                let under_way = UnderWay { target: target.clone(), since: now, pause: next.pause };
                self.under_way.insert(next.id, under_way);
                taken.push(next.id);
                (room, more) = (room - 1, true);
            }
        }
        taken
    }

    /// Gives back an ending that was tried. True if it was the last that is known of its target.
    pub(super) fn done(&mut self, id: GrantId, tried: Tried, now: DateTime<Utc>) -> bool {
        let Some(UnderWay { target, pause, .. }) = self.under_way.remove(&id) else { return false };
        let Some(lane) = self.lanes.get_mut(&target) else { return false };
        lane.under_way -= 1;
        let pause = match tried {
            Tried::Over => {
                self.known.remove(&id);
                lane.recover(now);
                let is_last = lane.waiting.is_empty() && lane.under_way == 0;
                if is_last {
                    self.lanes.remove(&target);
                }
                return is_last;
            }
            Tried::Failed => {
                lane.fail(now);
                (pause * 2).clamp(RETRY_PAUSE_MIN, RETRY_PAUSE_MAX)
            }
            Tried::NotYet => {
                lane.postpone(now);
                NOT_YET_PAUSE
            }
        };
        lane.waiting.insert(Waiting { tried_at: now, id, not_before: now + pause, pause });
        false
    }

    /// When [`Self::take`] may have something next, if nothing is added or given back; none if never.
    pub(super) fn wake_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let next = self.lanes.values().filter_map(Lane::next_at).min()?;
        let mut young = self.young(now);
        match young.next() {
            Some(first) if 1 + young.count() >= YOUNG_MAX => Some(next.max(first + YOUNG)),
            _ => Some(next),
        }
    }

    /// Since when each young try is under way. The clock may have been set since: what lies ahead of it isn't young.
    fn young(&self, now: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        self.under_way
            .values()
            .map(|one| one.since)
            .filter(move |since| (*since..*since + YOUNG).contains(&now))
    }
}

impl Lane {
    fn take(&mut self, now: DateTime<Utc>) -> Option<Waiting> {
        let next = match self.failing {
            // Whichever was tried longest ago, whatever its own pause.
            Some(Failing { probe_at, pause }) => {
                let rests = self.under_way > 0 || is_ahead(probe_at, pause, now);
                (!rests).then(|| self.waiting.first().copied()).flatten()?
            }
            None if self.under_way >= PER_TARGET_MAX => return None,
            None => *self.waiting.iter().find(|one| !is_ahead(one.not_before, one.pause, now))?,
        };
        self.waiting.remove(&next);
        self.under_way += 1;
        Some(next)
    }

    fn next_at(&self) -> Option<DateTime<Utc>> {
        let first = self.waiting.first()?;
        match self.failing {
            Some(_) if self.under_way > 0 => None,
            Some(Failing { probe_at, .. }) => Some(probe_at),
            None if self.under_way >= PER_TARGET_MAX => None,
            None => self.waiting.iter().map(|one| one.not_before).min().or(Some(first.not_before)),
        }
    }

    fn fail(&mut self, now: DateTime<Utc>) {
        let doubled = |failing: Failing| (failing.pause * 2).min(PROBE_PAUSE_MAX);
        let pause = self.failing.map_or(PROBE_PAUSE_MIN, doubled);
        self.failing = Some(Failing { pause, probe_at: now + pause });
    }

    /// What can't be over yet tells nothing about its target.
    fn postpone(&mut self, now: DateTime<Utc>) {
        if let Some(failing) = &mut self.failing {
            failing.probe_at = now + failing.pause;
        }
    }

    /// After an outage each waits only for its turn: its pauses told nothing about itself.
    fn recover(&mut self, now: DateTime<Utc>) {
        let Some(failing) = self.failing.take() else { return };
        if failing.pause > PROBE_PAUSE_MIN {
            let waiting = std::mem::take(&mut self.waiting);
            self.waiting = waiting.into_iter().map(|one| Waiting { not_before: now, ..one }).collect();
        }
    }
}

/// Whether `at` is still to come. One that is further away than the pause which led to it was reckoned by a clock that was
/// set back since.
fn is_ahead(at: DateTime<Utc>, pause: TimeDelta, now: DateTime<Utc>) -> bool {
    at > now && at <= now + pause
}
