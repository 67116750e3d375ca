//! What only this process knows about grants being made: which ones a task is at work on, for how long a read without an
//! answer has been waited for, and who may read from a credential path now.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::access::id::GrantId;

/// The grants that a claim is at work on, and those whose read certainly is over.
#[derive(Debug, Default)]
pub(super) struct Issuing {
    at_work: Mutex<HashSet<GrantId>>,
    settled: Mutex<HashSet<GrantId>>,
    /// Since when each read that may still be under way is waited for, in time that nobody can set.
    waiting: Mutex<HashMap<GrantId, Duration>>,
}

/// Shows that a claim is at work, until it is dropped.
#[derive(Debug)]
pub(super) struct AtWork<'a>(&'a Issuing, GrantId);

impl Issuing {
    pub(super) fn begin(&self, id: GrantId) -> AtWork<'_> {
        locked(&self.at_work).insert(id);
        AtWork(self, id)
    }

    pub(super) fn is_at_work(&self, id: GrantId) -> bool {
        locked(&self.at_work).contains(&id)
    }

    /// Notes that Vault answered the grant's read, so that none is under way.
    pub(super) fn settle(&self, id: GrantId) {
        locked(&self.settled).insert(id);
    }

    pub(super) fn is_settled(&self, id: GrantId) -> bool {
        locked(&self.settled).contains(&id)
    }

    /// How long a read that may still be under way has been waited for, from the first time that this is asked.
    pub(super) fn waited(&self, id: GrantId, now: Duration) -> Duration {
        let since = *locked(&self.waiting).entry(id).or_insert(now);
        now.saturating_sub(since)
    }

    /// Forgets a grant that is over.
    pub(super) fn forget(&self, id: GrantId) {
        locked(&self.settled).remove(&id);
        locked(&self.waiting).remove(&id);
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        locked(&self.0.at_work).remove(&self.1);
    }
}

/// One at a time for each name.
#[derive(Debug, Default)]
pub(super) struct Locks(Mutex<HashMap<String, Arc<AsyncMutex<()>>>>);

impl Locks {
    /// Waits for the turn. The map grows with what is configured, and was when what is open began.
    pub(super) async fn lock(&self, name: &str) -> OwnedMutexGuard<()> {
        let lock = Arc::clone(locked(&self.0).entry(name.to_owned()).or_default());
        lock.lock_owned().await
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn what_is_over_is_forgotten() {
        let (issuing, id) = (Issuing::default(), GrantId::new(DateTime::UNIX_EPOCH, 1));
        issuing.settle(id);
        assert_eq!(issuing.waited(id, Duration::from_secs(1)), Duration::ZERO);
        assert_eq!(issuing.waited(id, Duration::from_secs(9)), Duration::from_secs(8));
        issuing.forget(id);
        assert!(!issuing.is_settled(id));
        assert_eq!(issuing.waited(id, Duration::from_secs(9)), Duration::ZERO);
    }
}
