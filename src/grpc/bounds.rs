//! How much there may be, and how much of it anybody's: places, which are given back, and rates.
//!
//! Neither waits. What doesn't fit is refused, because a queue that is full only makes everybody late. Neither asks the wall
//! clock, which can be set.

use std::{
    collections::HashMap,
    hash::Hash,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::clock::Clock;

/// What differs between installations; the bounds that don't are constants beside what they bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many connections over the network there are at once.
    pub connections_max: NonZeroU32,
    /// How many of them one peer may have; on the Unix socket, one user.
    pub connections_per_peer_max: NonZeroU32,
    /// How many calls one person may make a minute.
    pub calls_per_minute_max: NonZeroU32,
    /// How many watches one person may have at once.
    pub watches_per_person_max: NonZeroU32,
}

impl Default for Limits {
    /// For some hundred people. A person who waits for decisions has a connection and a watch for each.
    fn default() -> Self {
        let number = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self {
            connections_max: number(1000),
            connections_per_peer_max: number(200),
            calls_per_minute_max: number(600),
            watches_per_person_max: number(16),
        }
    }
}

/// Places, in all and each one's.
#[derive(Debug)]
pub(super) struct Places<K>(Arc<Kept<K>>);

#[derive(Debug)]
struct Kept<K> {
    max: usize,
    each_max: usize,
    taken: Mutex<Taken<K>>,
}

#[derive(Debug)]
struct Taken<K> {
    all: usize,
    each: HashMap<K, usize>,
}

impl<K> Clone for Places<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Clone + Eq + Hash> Places<K> {
    pub(super) fn new(max: usize, each_max: usize) -> Self {
        let taken = Mutex::new(Taken { all: 0, each: HashMap::new() });
        Self(Arc::new(Kept { max, each_max, taken }))
    }

    /// A place, until it is dropped; `None` if there is none, or none for this one.
    pub(super) fn take(&self, key: &K) -> Option<Place<K>> {
        let mut taken = self.0.taken();
        let own = taken.each.get(key).copied().unwrap_or_default();
        if taken.all >= self.0.max || own >= self.0.each_max {
            return None;
        }
        taken.all += 1;
        taken.each.insert(key.clone(), own + 1);
        Some(Place { kept: Arc::clone(&self.0), key: key.clone() })
    }
}

impl<K> Kept<K> {
    fn taken(&self) -> MutexGuard<'_, Taken<K>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place that somebody has.
#[derive(Debug)]
pub(super) struct Place<K: Eq + Hash> {
    kept: Arc<Kept<K>>,
    key: K,
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.kept.taken();
        taken.all = taken.all.saturating_sub(1);
        if let Some(own) = taken.each.get_mut(&self.key) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.each.remove(&self.key);
            }
        }
    }
}

/// A minute's worth may be used at once, and comes back evenly.
const MINUTE: Duration = Duration::from_mins(1);

/// How many keys are remembered at most; each is forgotten once its minute is whole again. What comes above is refused.
const REMEMBERED_MAX: usize = 65_536;

/// From how many keys on those whose minute is whole are looked for.
const PRUNED_FROM: usize = 1024;

/// How often, each one.
#[derive(Debug)]
pub(super) struct Rates<K> {
    /// How much of the minute one use takes.
    share: Duration,
    clock: Arc<dyn Clock>,
    used: Mutex<Used<K>>,
}

#[derive(Debug)]
struct Used<K> {
    /// When each one's minute is whole again.
    whole_at: HashMap<K, Duration>,
    prune_from: usize,
}

impl<K: Clone + Eq + Hash> Rates<K> {
    pub(super) fn new(per_minute: NonZeroU32, clock: Arc<dyn Clock>) -> Self {
        let used = Mutex::new(Used { whole_at: HashMap::new(), prune_from: PRUNED_FROM });
        Self { share: MINUTE / per_minute.get(), clock, used }
    }

    /// Uses one, or says after how long there is one to use.
    pub(super) fn take(&self, key: &K) -> Result<(), Duration> {
        let now = self.clock.elapsed();
        let mut used = self.used();
        used.prune(now);
        let whole_at = used.whole_at.get(key).copied().unwrap_or(now).max(now);
        self.room(whole_at, now)?;
        if used.whole_at.len() >= REMEMBERED_MAX && !used.whole_at.contains_key(key) {
            return Err(MINUTE);
        }
        used.whole_at.insert(key.clone(), whole_at + self.share);
        Ok(())
    }

    /// Whether there is one to use, without using it.
    pub(super) fn look(&self, key: &K) -> Result<(), Duration> {
        let now = self.clock.elapsed();
        let whole_at = self.used().whole_at.get(key).copied().unwrap_or(now).max(now);
        self.room(whole_at, now)
    }

    fn room(&self, whole_at: Duration, now: Duration) -> Result<(), Duration> {
        let missing = (whole_at + self.share).saturating_sub(now + MINUTE);
        if missing.is_zero() { Ok(()) } else { Err(missing) }
    }

    fn used(&self) -> MutexGuard<'_, Used<K>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Used<K> {
    /// Forgets those whose minute is whole, seldom enough to cost nothing.
    fn prune(&mut self, now: Duration) {
        if self.whole_at.len() >= self.prune_from {
            self.whole_at.retain(|_, whole_at| *whole_at > now);
            self.prune_from = PRUNED_FROM.max(2 * self.whole_at.len()).min(REMEMBERED_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn places_are_bounded_in_all_and_each_and_come_back() {
        let places = Places::new(3, 2);
        let first = places.take(&"a").unwrap();
        let _second = places.take(&"a").unwrap();
        assert!(places.take(&"a").is_none(), "no more for one");
        let third = places.take(&"b").unwrap();
        assert!(places.take(&"c").is_none(), "no more for anybody");
        drop(third);
        assert!(places.take(&"a").is_none());
        drop(first);
        assert!(places.take(&"a").is_some());
        assert!(places.take(&"c").is_some());
        assert_eq!(places.0.taken().each.len(), 1, "nobody is remembered who has nothing");
    }

    fn rates(per_minute: u32) -> (Rates<u32>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
        (Rates::new(NonZeroU32::new(per_minute).unwrap(), clock.clone()), clock)
    }

    #[test]
    fn a_minutes_worth_may_be_used_at_once_and_comes_back_evenly() {
        let (rates, clock) = rates(60);
        for _ in 0..60 {
            assert_eq!(rates.look(&1), Ok(()));
            assert_eq!(rates.take(&1), Ok(()));
        }
        assert_eq!(rates.take(&1), Err(Duration::from_secs(1)));
        assert_eq!(rates.look(&1), Err(Duration::from_secs(1)));
        assert_eq!(rates.take(&2), Ok(()), "others have their own");
        clock.advance(TimeDelta::milliseconds(999));
        assert_eq!(rates.take(&1), Err(Duration::from_millis(1)));
        clock.advance(TimeDelta::milliseconds(1));
        assert_eq!(rates.take(&1), Ok(()));
        assert!(rates.take(&1).is_err());
        clock.advance(TimeDelta::hours(1));
        assert_eq!((0..100).filter(|_| rates.take(&1).is_ok()).count(), 60, "nothing is saved up");
    }

    #[test]
    fn a_clock_that_is_set_changes_nothing() {
        let (rates, clock) = rates(1);
        rates.take(&1).unwrap();
        clock.set(DateTime::UNIX_EPOCH + TimeDelta::days(1));
        assert!(rates.take(&1).is_err());
        clock.set(DateTime::UNIX_EPOCH - TimeDelta::days(1));
        clock.advance(TimeDelta::minutes(1));
        assert!(rates.take(&1).is_ok());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (rates, clock) = rates(1);
        let max = u32::try_from(REMEMBERED_MAX).unwrap();
        assert!((0..max).all(|key| rates.take(&key).is_ok()));
        assert!(rates.take(&max).is_err(), "what can't be remembered can't be let through");
        assert_eq!(rates.used().whole_at.len(), REMEMBERED_MAX);
        clock.advance(TimeDelta::minutes(1));
        assert!(rates.take(&max).is_ok());
        assert_eq!(rates.used().whole_at.len(), 1);
    }
}
