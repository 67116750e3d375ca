//! What ended while it could not be recorded (I7): kept in memory, and recorded with the times at which it happened as
//! soon as the store takes it, after an event that marks the gap.
//!
//! A crash loses it: the grants still are open in the store. Those that are gone are found gone, and that is recorded with
//! a later time; of an early end that Vault hadn't done yet the order is lost, and whoever gave it was told so.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};

use crate::access::{
    actor::Actor,
    grant::{Grant, State},
    id::GrantId,
    revocation::{Cause, Confirmation},
    text::Prose,
};

/// How many ends are kept at most: about ten megabytes. The times of more are lost.
const KEPT_MAX: usize = 10_000;

/// The beginning of an ending.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    pub(super) cause: Cause,
    pub(super) actor: Actor,
    pub(super) reason: Option<Prose>,
    pub(super) at: DateTime<Utc>,
}

/// An ending that isn't on record, or not as far as it got.
#[derive(Clone, Debug)]
pub(super) struct Unrecorded {
    /// The grant, REVOKING.
    pub(super) grant: Grant,
    /// Its beginning, if that isn't on record.
    pub(super) begun: Option<Begun>,
    /// What confirmed its end, and when, if anything did.
    pub(super) confirmed: Option<(Confirmation, DateTime<Utc>)>,
}

/// The gap as it is told of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    pub(super) lost_from: DateTime<Utc>,
    pub(super) kept: u64,
    pub(super) dropped: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Journal(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    lost_from: Option<DateTime<Utc>>,
    endings: BTreeMap<GrantId, Unrecorded>,
    dropped: u64,
}

impl Journal {
    /// Keeps an ending. What was kept of its beginning before stays.
    pub(super) fn keep(&self, unrecorded: Unrecorded, now: DateTime<Utc>) {
        let mut kept = self.kept();
        kept.lost_from.get_or_insert(now);
        let id = unrecorded.grant.id;
        if let Some(known) = kept.endings.get_mut(&id) {
            known.confirmed = known.confirmed.or(unrecorded.confirmed);
        } else if kept.endings.len() < KEPT_MAX {
            kept.endings.insert(id, unrecorded);
        } else {
            kept.dropped += 1;
        }
    }

    /// An ending that is kept.
    pub(super) fn get(&self, id: GrantId) -> Option<Unrecorded> {
        self.kept().endings.get(&id).cloned()
    }

    /// The first ending that is kept.
    pub(super) fn first(&self) -> Option<Unrecorded> {
        self.kept().endings.first_key_value().map(|(_, unrecorded)| unrecorded.clone())
    }

    /// Forgets an ending that was recorded as far as it was kept, unless more was kept of it meanwhile.
    pub(super) fn recorded(&self, unrecorded: &Unrecorded) {
        let (mut kept, id) = (self.kept(), unrecorded.grant.id);
        if kept.endings.get(&id).is_some_and(|now| now.confirmed == unrecorded.confirmed) {
            kept.endings.remove(&id);
        }
    }

    /// The gap, if there is one that wasn't told of.
    pub(super) fn gap(&self) -> Option<Gap> {
        let kept = self.kept();
        let lost_from = kept.lost_from?;
        Some(Gap { lost_from, kept: kept.endings.len() as u64, dropped: kept.dropped })
    }

    /// The gap was told of.
    pub(super) fn told(&self) {
        let mut kept = self.kept();
        (kept.lost_from, kept.dropped) = (None, 0);
    }

    /// Whether there is anything to record.
    pub(super) fn is_empty(&self) -> bool {
        let kept = self.kept();
        kept.lost_from.is_none() && kept.endings.is_empty()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unrecorded {
    /// The grant with its beginning on record, as the store's row will have it after that.
    pub(super) fn begin(&self, stored: Grant) -> Option<crate::access::change::Change<Grant>> {
        let begun = self.begun.as_ref()?;
        match stored.state {
            State::Issuing { .. } | State::Active { .. } => {
                stored.begin(begun.cause, begun.actor.clone(), begun.reason.as_ref(), begun.at)
            }
            State::Revoking(_) | State::Revoked { .. } | State::Failed { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::armed::tests::{at, ending, held};

    fn begun() -> Begun {
        Begun { cause: Cause::Released, actor: Actor::Daemon, reason: None, at: at(5) }
    }

    fn kept(number: u32, is_begun: bool, confirmed: Option<i64>) -> Unrecorded {
        let confirmed = confirmed.map(|millis| (Confirmation::LeaseGone, at(millis)));
        Unrecorded { grant: ending(number), begun: is_begun.then(begun), confirmed }
    }

    #[test]
    fn an_ending_is_kept_from_its_beginning_to_its_end() {
        let journal = Journal::default();
        assert!(journal.is_empty() && journal.gap().is_none() && journal.first().is_none());
        journal.keep(kept(1, true, None), at(10));
        journal.keep(kept(1, false, Some(20)), at(20));
        journal.keep(kept(1, false, None), at(30));
        let Unrecorded { begun: Some(begun), confirmed, .. } = journal.get(ending(1).id).unwrap() else {
            panic!("its beginning is kept")
        };
        assert_eq!((begun.at, confirmed), (at(5), Some((Confirmation::LeaseGone, at(20)))));
        assert!(journal.get(ending(2).id).is_none());
        let Gap { lost_from, kept, dropped } = journal.gap().unwrap();
        assert_eq!((lost_from, kept, dropped), (at(10), 1, 0));
    }

    #[test]
    fn what_is_told_and_recorded_is_forgotten() {
        let journal = Journal::default();
        journal.keep(kept(1, true, None), at(10));
        journal.told();
        assert!(journal.gap().is_none() && !journal.is_empty(), "the ending is to be recorded yet");
        let first = journal.first().unwrap();
        journal.keep(kept(1, false, Some(20)), at(20));
        journal.recorded(&first);
        assert!(journal.first().is_some(), "more was kept of it meanwhile");
        journal.recorded(&journal.first().unwrap());
        assert!(journal.first().is_none() && !journal.is_empty(), "and of that nobody was told");
        journal.told();
        assert!(journal.is_empty());
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let (journal, bound) = (Journal::default(), u32::try_from(KEPT_MAX).unwrap());
        (0..bound + 3).for_each(|number| journal.keep(kept(number, true, None), at(10)));
        journal.keep(kept(0, false, Some(20)), at(20));
        assert!(journal.get(ending(0).id).unwrap().confirmed.is_some(), "of what is kept the end finds room");
        assert!(journal.get(ending(bound).id).is_none());
        let Gap { kept, dropped, .. } = journal.gap().unwrap();
        assert_eq!((kept, dropped), (u64::from(bound), 3));
        journal.told();
        journal.keep(self::kept(0, false, None), at(30));
        assert_eq!(journal.gap().unwrap().dropped, 0, "they are told of once");
    }

    #[test]
    fn a_beginning_is_recorded_of_what_is_open() {
        let begins =
            |unrecorded: Unrecorded, stored| unrecorded.begin(stored).map(|change| change.event().at);
        assert_eq!(begins(kept(1, true, None), held(1, 1000)), Some(at(5)));
        assert_eq!(begins(kept(1, true, None), ending(1)), None, "it is on record");
        assert_eq!(begins(kept(1, false, None), held(1, 1000)), None);
    }
}
