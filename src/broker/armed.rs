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
