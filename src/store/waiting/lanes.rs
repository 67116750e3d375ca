//! The commits that wait, in two lanes: those that bring a grant nearer to its end go before all others, so that a flood
//! of requests can't delay them.
//!
//! Both lanes are bounded. Whoever finds his full is refused at once: the disk can't keep up, and waiting would help
//! nobody.

use std::{
    collections::VecDeque,
    error::Error,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, oneshot};

use super::job::{Answer, Change, Failure, Job};
use crate::store::StoreError;

/// How many commits wait in a lane at most: what a disk that works writes in the time that a caller waits.
pub(in crate::store) const LANE_MAX: usize = 1024;

/// How many commits are made in one transaction at most: enough that the wait for the disk is shared by all who come
/// meanwhile, and few enough that the transaction takes some ten milliseconds, which is what an urgent commit that comes
/// a moment too late has to wait.
pub(in crate::store) const GROUP_MAX: usize = 64;

/// The commits that wait for a transaction.
#[derive(Debug, Default)]
pub(in crate::store) struct Lanes {
    waiting: Mutex<Waiting>,
    /// Told of each arrival, and of the end. Only the writer's task waits for it.
    news: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    urgent: VecDeque<Job>,
    ordinary: VecDeque<Job>,
    is_closed: bool,
}

impl Lanes {
    /// Puts a commit at the end of its lane, or says why it can't wait there.
    pub(in crate::store) fn push(
        &self,
        changes: Vec<Change>,
    ) -> Result<oneshot::Receiver<Answer>, StoreError> {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Err(refused(sqlx::Error::PoolClosed.into()));
        }
        let is_urgent = changes.iter().any(Change::is_urgent);
        let lane = if is_urgent { &mut waiting.urgent } else { &mut waiting.ordinary };
        if lane.len() == LANE_MAX {
            return Err(refused("too many commits wait already".into()));
        }
        let (job, answer) = Job::new(changes);
        lane.push_back(job);
        drop(waiting);
        self.news.notify_one();
        Ok(answer)
    }

    /// Returns when a commit waits; false when none does and none can come any more.
    pub(in crate::store) async fn wait(&self) -> bool {
        loop {
            let over = {
                let waiting = self.lock();
                if !waiting.urgent.is_empty() || !waiting.ordinary.is_empty() {
                    return true;
                }
                waiting.is_closed
            };
            if over {
                return false;
            }
            self.news.notified().await;
        }
    }

    /// The commits for one transaction, the urgent ones first and each lane in order. Those whose callers are gone were
    /// answered with a refusal or wanted no answer; they aren't made.
    pub(in crate::store) fn group(&self) -> Vec<Job> {
        let mut waiting = self.lock();
        let mut group = Vec::new();
        while group.len() < GROUP_MAX {
            let next = waiting.urgent.pop_front();
            let Some(job) = next.or_else(|| waiting.ordinary.pop_front()) else { break };
            if job.is_wanted() {
                group.push(job);
            }
        }
        group
    }

    /// Refuses the next group as a whole.
    pub(in crate::store) fn refuse_group(&self, operation: &'static str, source: &Failure) {
        for job in self.group() {
            job.refuse(operation, source);
        }
    }

    /// Lets nobody in any more. Who waits already is served.
    pub(in crate::store) fn close(&self) {
        self.lock().is_closed = true;
        self.news.notify_one();
    }

    /// How many wait.
    #[cfg(test)]
    pub(in crate::store) fn len(&self) -> usize {
        let waiting = self.lock();
        waiting.urgent.len() + waiting.ordinary.len()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that is done under the lock leaves it half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(source: Box<dyn Error + Send + Sync>) -> StoreError {
    StoreError::Unavailable { operation: "wait to commit", source }
}
