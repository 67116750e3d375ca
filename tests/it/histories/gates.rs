//! Where everything that the daemon asks of others waits until the history lets it go on: before it arrives there, and
//! before its answer arrives here. So the seed decides how concurrent verbs interleave, what fails, and at which await
//! point a crash finds them.

use std::{
    mem,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use hallpass::{
    access::id::{GrantId, RequestId},
    store::Write,
    vault::{
        Outcome,
        simulated::{Effect, Operation},
    },
};
use tokio::sync::{Notify, oneshot};

/// What waits. The order is what a seed chooses in: it doesn't depend on who came first, which a store with threads of its
/// own might decide.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// A commit on its way to the store, by what its writes are about and lead to.
    Commit(Vec<Change>),
    /// A commit that is done, and whose caller doesn't know it yet.
    Committed(Vec<Change>),
    /// A call on its way to Vault, and what it is about.
    Call(Operation, String),
    /// A call that is done, and whose caller doesn't know how it went.
    Answer(Operation, String),
}

/// One write of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    Request(RequestId, &'static str),
    Grant(GrantId, &'static str),
    Fact,
}

impl Change {
    pub fn all(writes: &[Write<'_>]) -> Vec<Self> {
        let one = |write: &Write<'_>| match write {
            Write::Request(change) => Some(Self::Request(change.after().id, change.after().state.name())),
            Write::Grant(change) => Some(Self::Grant(change.after().id, change.after().state.name())),
            // Conditions of what else is written.
            Write::Fenced(_) => None,
            Write::Freeze(_)
            | Write::Erasure(_)
            | Write::Fact(_)
            | Write::Checkpoint(_)
            | Write::Cosignature(_) => Some(Self::Fact),
        };
        writes.iter().filter_map(one).collect()
    }
}

/// How it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done; `hold` keeps the answer back.
    Pass { hold: bool },
    /// A commit that isn't done, and says so.
    Refuse,
    /// A call that fails in this way.
    Fail(Outcome, Effect),
    /// The answer is lost.
    Lose,
}

/// The way on for whoever waits.
#[derive(Debug)]
struct Waiting {
    number: u64,
    point: Point,
    go_on: oneshot::Sender<Verdict>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Gates {
    waiting: Mutex<Vec<Waiting>>,
    arrivals: AtomicUsize,
    at_work: AtomicUsize,
    done: Notify,
    commits: AtomicUsize,
    open: Mutex<bool>,
}

/// Shows that a call is being done, until it is dropped.
#[derive(Debug)]
pub struct AtWork<'a>(&'a Gates);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Relaxed);
        self.0.done.notify_one();
    }
}

impl Gates {
    /// Waits to be let go on. Safe to cancel.
    pub async fn wait(&self, point: Point) -> Verdict {
        let number = self.arrivals.fetch_add(1, Relaxed) as u64;
        if *self.open.lock().unwrap() {
            return Verdict::Pass { hold: false };
        }
        let (go_on, told) = oneshot::channel();
        self.waiting.lock().unwrap().push(Waiting { number, point, go_on });
        told.await.unwrap_or(Verdict::Pass { hold: false })
    }

    /// Says that something is being done by somebody else than the history.
    pub fn work(&self) -> AtWork<'_> {
        self.at_work.fetch_add(1, Relaxed);
        AtWork(self)
    }

    /// Returns when nobody else is at work.
    pub async fn all_done(&self) {
        while self.at_work.load(Relaxed) > 0 {
            self.done.notified().await;
        }
    }

    /// How many came by so far.
    pub fn arrivals(&self) -> usize {
        self.arrivals.load(Relaxed)
    }

    /// Notes that something may have been committed.
    pub fn committed(&self) {
        self.commits.fetch_add(1, Relaxed);
    }

    /// How often something may have been committed since the last time.
    pub fn take_commits(&self) -> usize {
        self.commits.swap(0, Relaxed)
    }

    /// Those who wait, in order.
    pub fn waiting(&self) -> Vec<(u64, Point)> {
        let mut waiting = self.waiting.lock().unwrap();
        waiting.retain(|one| !one.go_on.is_closed());
        waiting.sort_by(|one, other| (&one.point, one.number).cmp(&(&other.point, other.number)));
        waiting.iter().map(|one| (one.number, one.point.clone())).collect()
    }

    /// How many wait.
    pub fn count(&self) -> usize {
        let mut waiting = self.waiting.lock().unwrap();
        waiting.retain(|one| !one.go_on.is_closed());
        waiting.len()
    }

    /// Lets one go on.
    pub fn let_go(&self, number: u64, verdict: Verdict) {
        let mut waiting = self.waiting.lock().unwrap();
        if let Some(place) = waiting.iter().position(|one| one.number == number) {
            // Whoever isn't there any more was dropped.
            let _ = waiting.remove(place).go_on.send(verdict);
        }
    }

    /// Lets everybody go on, now and until it is shut again.
    pub fn open(&self) {
        *self.open.lock().unwrap() = true;
        for one in mem::take(&mut *self.waiting.lock().unwrap()) {
            let _ = one.go_on.send(Verdict::Pass { hold: false });
        }
    }

    pub fn shut(&self) {
        *self.open.lock().unwrap() = false;
    }
}
