//! The grants whose end is near or under way, whole and in memory: those whose window closes within the next minutes, in
//! the order of time, and those that are ending. So a deadline is met without asking the store first, and access ends even
//! while the store can't be read or written (I7).
//!
//! It is bounded: what is further away, or too much, stays in the store until its time comes. What it holds may be
//! outdated, which is harmless: ending what has ended changes nothing, and a record that moved on is read again.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::access::{
    grant::{Ending, Grant, State},
    id::GrantId,
    target::TargetName,
};

/// How far ahead deadlines are held in memory.
const HORIZON: TimeDelta = TimeDelta::minutes(5);
/// How many of them at most: about three megabytes.
pub(super) const CLOSING_MAX: u32 = 4096;
/// How many ending grants are held whole at most; of more, only their ids wait.
const ENDING_MAX: usize = 4096;

/// An ending to try: its grant, its target, and since when it is due.
pub type Due = (GrantId, TargetName, DateTime<Utc>);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Armed(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    /// Held or being made, by the end of the window.
    closing: BTreeMap<(DateTime<Utc>, GrantId), Grant>,
    /// Everything that closes by then is in `closing`.
    until: DateTime<Utc>,
    /// Those whose end is under way.
    ending: BTreeMap<GrantId, Grant>,
    /// Endings that the sweeper hasn't heard of.
    news: Vec<Due>,
    /// Whether the store had more of them than it gave.
    is_cut: bool,
}

impl Armed {
    /// Says what is to be loaded: everything that closes by the answered time. What is recorded from now on counts.
    pub(super) fn begin_loading(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let mut held = self.held();
        held.until = now + HORIZON;
        held.until
    }

    /// Takes what was loaded, in the order of time.
    pub(super) fn load(&self, grants: Vec<Grant>) {
        let mut held = self.held();
        let is_cut = grants.len() >= CLOSING_MAX as usize;
        if let Some(last) = grants.last().filter(|_| is_cut) {
            held.until = last.window.closes_at();
        }
        held.closing.extend(grants.into_iter().map(|grant| (key(&grant), grant)));
        while held.closing.len() > CLOSING_MAX as usize
            && let Some(((closes_at, _), _)) = held.closing.pop_last()
        {
            held.until = held.until.min(closes_at - TimeDelta::milliseconds(1));
        }
    }

    /// Nothing could be loaded.
    pub(super) fn give_up_loading(&self, now: DateTime<Utc>) {
        let mut held = self.held();
        held.until = held.closing.last_key_value().map_or(now, |((closes_at, _), _)| *closes_at);
    }

    /// When to load again.
    pub(super) fn load_at(&self) -> DateTime<Utc> {
        self.held().until - HORIZON / 2
    }

    /// Notes how a grant stands after a commit.
    pub(super) fn note(&self, grant: &Grant) {
        let mut held = self.held();
        match &grant.state {
            State::Issuing { .. } | State::Active { .. } => {
                if grant.window.closes_at() <= held.until {
                    held.closing.insert(key(grant), grant.clone());
                }
            }
            State::Revoking(ending) => {
                held.closing.remove(&key(grant));
                held.news.push((grant.id, grant.target.clone(), ending.begun_at));
                held.keep_ending(grant.clone());
            }
            State::Revoked { .. } | State::Failed { .. } => {
                held.closing.remove(&key(grant));
                held.ending.remove(&grant.id);
            }
        }
    }

    /// Adds an ending that isn't on record.
    pub(super) fn want(&self, grant: &Grant, ending: &Ending) {
        self.held().news.push((grant.id, grant.target.clone(), ending.begun_at));
    }

    /// Adds endings that were found in the store; `is_cut` says that it has more.
    pub(super) fn found(&self, due: Vec<Due>, is_cut: bool) {
        let mut held = self.held();
        held.news.extend(due);
        held.is_cut = is_cut;
    }

    /// Whether the store had more than it gave; once.
    pub(super) fn take_cut(&self) -> bool {
        std::mem::take(&mut self.held().is_cut)
    }

    /// Takes what is due by now, and what began to end.
    pub(super) fn take_due(&self, now: DateTime<Utc>) -> Vec<Due> {
        let mut held = self.held();
        let mut due = std::mem::take(&mut held.news);
        while let Some(first) = held.closing.first_entry()
            && first.key().0 <= now
        {
            let grant = first.remove();
            due.push((grant.id, grant.target.clone(), grant.window.closes_at()));
            held.keep_ending(grant);
        }
        due
    }

    /// When the next window closes that is held in memory.
    pub(super) fn next_at(&self) -> Option<DateTime<Utc>> {
        self.held().closing.first_key_value().map(|((closes_at, _), _)| *closes_at)
    }

    /// A grant whose end is under way or due, as it was last seen.
    pub(super) fn ending(&self, id: GrantId) -> Option<Grant> {
        self.held().ending.get(&id).cloned()
    }

    /// Forgets a grant, so that it is read again.
    pub(super) fn forget(&self, id: GrantId) {
        self.held().ending.remove(&id);
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn keep_ending(&mut self, grant: Grant) {
        if self.ending.len() < ENDING_MAX || self.ending.contains_key(&grant.id) {
            self.ending.insert(grant.id, grant);
        }
    }
}

fn key(grant: &Grant) -> (DateTime<Utc>, GrantId) {
    (grant.window.closes_at(), grant.id)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::access::{
        actor::Person,
        grant::{Issued, Leased},
        handle::{Accessor, LeaseId},
        id::RequestId,
        revocation::{Cause, Step},
        window::Window,
    };

    const START: DateTime<Utc> = DateTime::from_timestamp_nanos(1_790_000_000_000_000_000);

    pub(in crate::broker) fn at(millis: i64) -> DateTime<Utc> {
        START + TimeDelta::milliseconds(millis)
    }

    fn leased() -> Leased {
        let (token, wrapping) = (Accessor::new("token"), Accessor::new("wrapping"));
        Leased { token, wrapping, lease: LeaseId::new("lease") }
    }

    /// A grant whose window closes at so many milliseconds; the number tells it apart.
    pub(in crate::broker) fn held(number: u32, closes_at: i64) -> Grant {
        Grant {
            id: GrantId::new(START, u128::from(number)),
            request: RequestId::new(START, u128::from(number)),
            target: "orders".parse().unwrap(),
            credential_path: "database/creds/orders".to_owned(),
            holder: Person { subject: "sub-dev".to_owned(), name: "dev".to_owned() },
            window: Window::recorded(at(-1), at(closes_at)).unwrap(),
            opened_at: at(-1),
            state: State::Active { leased: leased(), activated_at: at(-1) },
            revision: 4,
        }
    }

    pub(in crate::broker) fn ending(number: u32) -> Grant {
        let (cause, issued, step) = (Cause::Released, Issued::Lease(leased()), Step::Wrapping);
        let (begun_at, activated_at) = (at(7), Some(at(-1)));
        let state =
            State::Revoking(Ending { cause, issued, activated_at, begun_at, step, error: None, alarms: 0 });
        Grant { state, ..held(number, 1000) }
    }

    fn over(number: u32) -> Grant {
        let state = State::Failed { cause: Cause::IssueFailed, begun_at: at(0), failed_at: at(0) };
        Grant { state, ..held(number, 1000) }
    }

    /// One that holds what closes within the horizon, from the start on.
    fn armed(grants: Vec<Grant>) -> Armed {
        let armed = Armed::default();
        assert_eq!(armed.begin_loading(START), START + HORIZON);
        armed.load(grants);
        armed
    }

    fn due(armed: &Armed, millis: i64) -> Vec<GrantId> {
        armed.take_due(at(millis)).into_iter().map(|(id, ..)| id).collect()
    }

    #[test]
    fn deadlines_are_met_in_their_order_and_neither_early_nor_twice() {
        let armed = armed(vec![held(2, 20), held(1, 30)]);
        assert_eq!(armed.next_at(), Some(at(20)));
        assert_eq!(due(&armed, 19), []);
        assert_eq!(armed.take_due(at(20)), [(held(2, 20).id, held(2, 20).target, at(20))]);
        assert_eq!(armed.next_at(), Some(at(30)));
        assert_eq!(due(&armed, 29), []);
        assert_eq!(due(&armed, 31), [held(1, 30).id]);
        assert_eq!((due(&armed, 40), armed.next_at()), (vec![], None));
        assert_eq!(armed.ending(held(1, 30).id), Some(held(1, 30)), "it is ended without the store");
        armed.forget(held(1, 30).id);
        assert_eq!(armed.ending(held(1, 30).id), None);
    }

    #[test]
    fn what_is_recorded_while_loading_is_not_missed() {
        let armed = Armed::default();
        armed.begin_loading(START);
        armed.note(&held(1, 10));
        armed.load(vec![held(2, 20)]);
        assert_eq!(due(&armed, 20), [held(1, 10).id, held(2, 20).id]);
    }

    #[test]
    fn what_is_further_away_stays_in_the_store() {
        let (armed, horizon) = (armed(Vec::new()), HORIZON.num_milliseconds());
        armed.note(&held(1, horizon + 1));
        assert_eq!(armed.next_at(), None);
        armed.note(&held(2, horizon));
        assert_eq!(armed.next_at(), Some(at(horizon)));
        assert_eq!(armed.load_at(), START + HORIZON / 2, "before anything is missed");
    }

    #[test]
    fn what_began_to_end_or_is_over_has_no_deadline() {
        let armed = armed(vec![held(1, 1000), held(2, 1000)]);
        armed.note(&ending(1));
        armed.note(&over(2));
        assert_eq!(armed.next_at(), None);
        assert_eq!(armed.take_due(at(0)), [(ending(1).id, ending(1).target, at(7))]);
        assert_eq!(armed.ending(ending(1).id), Some(ending(1)));
        armed.note(&Grant { state: over(1).state, ..ending(1) });
        assert_eq!(armed.ending(ending(1).id), None);
    }

    #[test]
    fn an_ending_that_is_not_on_record_is_handed_over() {
        let (armed, grant) = (armed(Vec::new()), ending(1));
        let State::Revoking(begun) = &grant.state else { unreachable!() };
        armed.want(&grant, begun);
        assert_eq!(armed.take_due(at(0)), [(grant.id, grant.target.clone(), at(7))]);
    }

    /// With as many as may be loaded, only what closes by the last of them is known.
    #[test]
    fn a_full_load_reaches_as_far_as_its_last() {
        let all = |count: u32| (1..=count).map(|number| held(number, i64::from(number))).collect();
        let cut = armed(all(CLOSING_MAX));
        let last = i64::from(CLOSING_MAX);
        assert_eq!(cut.load_at(), at(last) - HORIZON / 2);
        cut.note(&held(CLOSING_MAX + 1, last + 1));
        assert_eq!(due(&cut, last + 1).len(), CLOSING_MAX as usize, "what lies beyond is loaded later");
        let whole = armed(all(CLOSING_MAX - 1));
        assert_eq!(whole.load_at(), START + HORIZON / 2);
        whole.note(&held(CLOSING_MAX + 1, last + 1));
        assert_eq!(whole.take_due(at(last + 1)).len(), CLOSING_MAX as usize);
    }

    /// What was recorded meanwhile comes on top, and the last ones make room.
    #[test]
    fn no_more_are_held_than_there_is_room_for() {
        let armed = Armed::default();
        armed.begin_loading(START);
        armed.note(&held(CLOSING_MAX + 1, 5));
        armed.load((1..=CLOSING_MAX).map(|number| held(number, 10 * i64::from(number))).collect());
        let last = 10 * i64::from(CLOSING_MAX);
        assert_eq!(armed.load_at(), at(last - 1) - HORIZON / 2, "the last one isn't held any more");
        assert_eq!(due(&armed, last).len(), CLOSING_MAX as usize);
    }

    #[test]
    fn a_load_that_failed_reaches_as_far_as_what_is_held() {
        let kept = armed(vec![held(1, 60_000)]);
        kept.begin_loading(at(1000));
        kept.give_up_loading(at(1000));
        assert_eq!(kept.load_at(), at(60_000) - HORIZON / 2);
        let nothing = armed(Vec::new());
        nothing.give_up_loading(at(1000));
        assert_eq!(nothing.load_at(), at(1000) - HORIZON / 2);
    }

    #[test]
    fn endings_are_kept_whole_up_to_a_bound() {
        let (armed, bound) = (armed(Vec::new()), u32::try_from(ENDING_MAX).unwrap());
        (1..=bound + 1).for_each(|number| armed.note(&ending(number)));
        assert_eq!(armed.ending(ending(bound).id), Some(ending(bound)));
        assert_eq!(armed.ending(ending(bound + 1).id), None, "it is read from the store");
        let moved_on = Grant { revision: 9, ..ending(1) };
        armed.note(&moved_on);
        assert_eq!(armed.ending(ending(1).id), Some(moved_on), "what is kept stays up to date");
        assert_eq!(armed.take_due(at(0)).len(), ENDING_MAX + 2, "and all are handed over");
    }

    #[test]
    fn that_the_store_has_more_is_told_once() {
        let armed = armed(Vec::new());
        assert!(!armed.take_cut());
        armed.found(vec![(held(1, 1).id, held(1, 1).target, at(0))], true);
        assert!(armed.take_cut() && !armed.take_cut());
        assert_eq!(due(&armed, 0), [held(1, 1).id]);
    }
}
