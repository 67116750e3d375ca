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

/// How many endings of one target are under way at once. Vault runs one connection's revocations one after another, so
/// more end no account sooner; these are as many as keep it busy while others are confirmed and recorded.
pub(super) const PER_TARGET_MAX: usize = 8;
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
    due_at: DateTime<Utc>,
    pause: TimeDelta,
}

/// One target's endings.
#[derive(Debug, Default)]
struct Lane {
    /// Those that were tried longest ago first.
    waiting: BTreeSet<Waiting>,
    under_way: usize,
    failing: Option<Failing>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    /// When it was tried last; those never tried come first.
    tried_at: Option<DateTime<Utc>>,
    /// Since when it is due.
    due_at: DateTime<Utc>,
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
            let pause = TimeDelta::zero();
            let waiting = Waiting { tried_at: None, due_at, id, not_before: due_at, pause };
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
                let under_way =
                    UnderWay { target: target.clone(), since: now, due_at: next.due_at, pause: next.pause };
                self.under_way.insert(next.id, under_way);
                taken.push(next.id);
                (room, more) = (room - 1, true);
            }
        }
        taken
    }

    /// Gives back an ending that was tried. True if it was the last that is known of its target.
    pub(super) fn done(&mut self, id: GrantId, tried: Tried, now: DateTime<Utc>) -> bool {
        let Some(UnderWay { target, due_at, pause, .. }) = self.under_way.remove(&id) else { return false };
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
            // Its turn comes when those had theirs that were never tried.
            Tried::Again => TimeDelta::zero(),
        };
        lane.waiting.insert(Waiting { tried_at: Some(now), due_at, id, not_before: now + pause, pause });
        false
    }

    /// When [`Self::take`] may have something next, if nothing is added or given back; none if never.
    pub(super) fn wake_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let next = self.lanes.values().filter_map(Lane::next_at).min()?;
        match self.young(now).min() {
            Some(first) if self.young(now).count() >= YOUNG_MAX => Some(next.max(first + YOUNG)),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: DateTime<Utc> = DateTime::from_timestamp_nanos(1_790_000_000_000_000_000);

    fn at(millis: i64) -> DateTime<Utc> {
        START + TimeDelta::milliseconds(millis)
    }

    fn id(number: usize) -> GrantId {
        GrantId::new(START, number as u128)
    }

    fn target(name: &str) -> TargetName {
        name.parse().unwrap()
    }

    /// A queue with so many endings of each target, and their ids by target.
    fn queue(counts: &[(&str, usize)]) -> (Queue, Vec<Vec<GrantId>>) {
        let (mut queue, mut all, mut number) = (Queue::default(), Vec::new(), 0);
        for (name, count) in counts {
            let ids: Vec<_> = (number..number + count).map(id).collect();
            for id in &ids {
                queue.add(*id, target(name), START);
            }
            number += count;
            all.push(ids);
        }
        (queue, all)
    }

    #[test]
    fn a_target_has_few_at_a_time_and_all_together_not_many() {
        let (mut one, _) = queue(&[("a", 100)]);
        assert_eq!(one.take(START).len(), PER_TARGET_MAX);
        assert_eq!(one.take(START), []);
        let names: Vec<String> = (0..40).map(|n| format!("t{n}")).collect();
        let counts: Vec<_> = names.iter().map(|name| (name.as_str(), 10)).collect();
        let (mut many, _) = queue(&counts);
        assert_eq!(many.take(START).len(), YOUNG_MAX);
        assert_eq!(many.wake_at(START), Some(START + YOUNG), "the next place is had when one isn't young");
        assert_eq!(many.take(at(999)), []);
        assert_eq!(many.take(at(1000)).len(), YOUNG_MAX, "what hangs is its target's matter");
    }

    #[test]
    fn places_are_shared_between_targets() {
        let (mut queue, ids) = queue(&[("a", 1000), ("b", 1)]);
        let taken = queue.take(START);
        assert!(taken.contains(&ids[1][0]) && taken.len() == PER_TARGET_MAX + 1);
    }

    #[test]
    fn a_failing_target_is_probed_by_one_in_turn_with_growing_pauses() {
        let (mut queue, ids) = queue(&[("a", PER_TARGET_MAX + 2)]);
        for id in queue.take(START) {
            queue.done(id, Tried::Failed, START);
        }
        let (mut now, mut probed, mut pauses) = (START, Vec::new(), Vec::new());
        for _ in 0..8 {
            let next = queue.wake_at(now).unwrap();
            assert_eq!(queue.take(next - TimeDelta::milliseconds(1)), []);
            pauses.push((next - now).num_milliseconds());
            now = next;
            let [probe] = queue.take(now)[..] else { panic!("one probe") };
            assert_eq!(queue.take(now), [], "one at a time");
            queue.done(probe, Tried::Failed, now);
            probed.push(probe);
        }
        assert_eq!(pauses, [2000; 8], "the failures made it two seconds, and it stays there");
        let (tried, fresh) = ids[0].split_at(PER_TARGET_MAX);
        let in_turn: Vec<_> = fresh.iter().chain(tried).copied().take(8).collect();
        assert_eq!(probed, in_turn, "those never tried come first");
    }

    #[test]
    fn one_success_and_all_go_on() {
        let (mut queue, ids) = queue(&[("a", PER_TARGET_MAX + 2)]);
        let mut now = START;
        for id in queue.take(now) {
            queue.done(id, Tried::Failed, now);
        }
        now = queue.wake_at(now).unwrap();
        let [probe] = queue.take(now)[..] else { panic!("one probe") };
        assert!(!queue.done(probe, Tried::Over, now));
        let taken = queue.take(now);
        assert_eq!(taken.len(), PER_TARGET_MAX, "after an outage nobody's own pause counts");
        for id in taken {
            queue.done(id, Tried::Over, now);
        }
        let [last] = queue.take(now)[..] else { panic!("the last") };
        assert!(ids[0].contains(&last) && queue.done(last, Tried::Over, now));
        assert_eq!(queue.wake_at(now), None);
    }

    #[test]
    fn what_is_broken_about_one_keeps_no_other_waiting() {
        let (mut queue, ids) = queue(&[("a", 50)]);
        let (broken, mut now, mut over) = (ids[0][0], START, 0);
        while over < 49 {
            let taken = queue.take(now);
            if taken.is_empty() {
                now = queue.wake_at(now).unwrap();
            }
            for id in taken {
                let tried = if id == broken { Tried::Failed } else { Tried::Over };
                over += usize::from(tried == Tried::Over);
                queue.done(id, tried, now);
            }
        }
        assert!(now - START <= TimeDelta::seconds(1), "{now}");
        let again = queue.wake_at(now).unwrap();
        assert_eq!(queue.take(again), [broken], "and it is tried again and again");
    }

    #[test]
    fn what_can_not_be_over_yet_says_nothing_about_its_target() {
        let (mut queue, ids) = queue(&[("a", PER_TARGET_MAX + 1)]);
        let (taken, last) = (queue.take(START), ids[0][PER_TARGET_MAX]);
        queue.done(taken[0], Tried::NotYet, START);
        assert_eq!(queue.take(START), [last]);
        for id in &taken[1..] {
            queue.done(*id, Tried::Over, START);
        }
        queue.done(last, Tried::Over, START);
        assert_eq!(queue.wake_at(START), Some(START + NOT_YET_PAUSE));
        assert_eq!(queue.take(START + NOT_YET_PAUSE), [taken[0]]);
    }

    #[test]
    fn what_vault_is_at_comes_again_at_once_and_after_all_others() {
        let (mut queue, ids) = queue(&[("a", PER_TARGET_MAX + 1)]);
        let taken = queue.take(START);
        queue.done(taken[0], Tried::Again, START);
        assert_eq!(queue.take(START), [ids[0][PER_TARGET_MAX]]);
        queue.done(taken[1], Tried::Over, START);
        assert_eq!(queue.take(START), [taken[0]], "it waits for nothing but its turn");
    }

    #[test]
    fn an_ending_that_is_known_is_not_added_twice() {
        let (mut queue, ids) = queue(&[("a", 1)]);
        queue.add(ids[0][0], target("a"), START);
        assert_eq!(queue.take(START), ids[0]);
        queue.add(ids[0][0], target("a"), START);
        assert_eq!(queue.take(START), []);
        queue.done(ids[0][0], Tried::Over, START);
        queue.add(ids[0][0], target("a"), START);
        assert_eq!(queue.take(START), ids[0], "one that is over may come again");
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_nothing_waiting() {
        let (mut queue, ids) = queue(&[("a", 1)]);
        queue.take(START);
        queue.done(ids[0][0], Tried::Failed, START);
        assert_eq!(queue.take(START), []);
        assert_eq!(queue.take(START - TimeDelta::hours(1)), ids[0]);
    }

    proptest! {
        /// Whatever the order of successes and failures: bounds hold, nothing is lost, and something is always to come.
        #[test]
        fn nothing_is_lost_and_no_bound_is_broken(
            outcomes in prop::collection::vec((0_usize..4, 0_i64..700), 1..400),
            counts in prop::collection::vec(1_usize..12, 1..4),
        ) {
            let names = ["a", "b", "c"];
            let counts: Vec<_> = names.into_iter().zip(counts).collect();
            let (mut queue, ids) = queue(&counts);
            let (mut now, mut left): (_, usize) = (START, ids.iter().map(Vec::len).sum());
            let mut out: Vec<GrantId> = Vec::new();
            for (outcome, passed) in outcomes {
                now += TimeDelta::milliseconds(passed);
                out.extend(queue.take(now));
                for ids in &ids {
                    prop_assert!(out.iter().filter(|id| ids.contains(id)).count() <= PER_TARGET_MAX);
                }
                prop_assert!(out.len() + queue.lanes.values().map(|l| l.waiting.len()).sum::<usize>() == left);
                if let Some(id) = out.pop() {
                    let tried = [Tried::Over, Tried::Failed, Tried::NotYet, Tried::Again][outcome];
                    left -= usize::from(tried == Tried::Over);
                    queue.done(id, tried, now);
                }
                prop_assert!(left == 0 || !out.is_empty() || queue.wake_at(now).is_some());
            }
        }
    }
}
