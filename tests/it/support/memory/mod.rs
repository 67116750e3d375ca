//! A store in memory that gives the answers that SQLite gives: the same conflicts, the same refusals, the same orders and
//! bounds. The store's conformance suite runs against it, and so do histories that SQLite is played beside.
//!
//! Nothing in it fails by itself and nothing waits: a commit is done when it is polled for the first time.

mod matching;
mod rows;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use hallpass::{
    access::{
        event::Recorded,
        freeze::{self, Freeze},
        grant::{Grant, State},
        handle::LeaseId,
        id::{GrantId, RequestId},
        limits::Held,
        policy::Scope,
        request::Request,
        retention::{Past, PastFreeze},
        target::TargetName,
        text::IdempotencyKey,
        totals::Totals,
    },
    ledger::{
        leaf::Leaf,
        tree::{Frontier, Hash, Node},
    },
    store::{
        Checkpoint, Cosignature, Due, GrantFilter, Ledger, Overdue, Part, RequestFilter, Retention, Slice,
        Store, StoreError, Write,
    },
};

pub use self::rows::Rows;

/// How many of a kind one target may have in one answer of what is due, as in SQLite.
const PER_TARGET_MAX: usize = 1000;

/// Requests, grants and events in maps.
#[derive(Debug)]
pub struct MemoryStore {
    rows: Mutex<Rows>,
    per_target_max: usize,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::with_due_max(PER_TARGET_MAX)
    }
}

impl MemoryStore {
    /// One that tells of so many due things of a target at once.
    pub fn with_due_max(per_target_max: usize) -> Self {
        Self { rows: Mutex::default(), per_target_max }
    }

    /// All that is stored, as it is now.
    pub fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap()
    }

    /// The first of each target, in this order; and whether one has as many as it may have.
    fn per_target<Id: Ord + Copy>(
        &self,
        mut due: Vec<(DateTime<Utc>, Id, TargetName)>,
    ) -> (Vec<(Id, TargetName)>, bool) {
        due.sort_by_key(|(at, id, _)| (*at, *id));
        let mut counts: BTreeMap<TargetName, usize> = BTreeMap::new();
        due.retain(|(_, _, target)| {
            let count = counts.entry(target.clone()).or_default();
            *count += 1;
            *count <= self.per_target_max
        });
        let is_cut = counts.values().any(|count| *count >= self.per_target_max);
        (due.into_iter().map(|(_, id, target)| (id, target)).collect(), is_cut)
    }
}

fn begun_at(grant: &Grant) -> Option<DateTime<Utc>> {
    match &grant.state {
        State::Revoking(ending) => Some(ending.begun_at),
        _ => None,
    }
}

fn is_open(grant: &Grant) -> bool {
    matches!(grant.state, State::Issuing { .. } | State::Active { .. })
}

fn is_overdue(grant: &Grant, overdue: Overdue) -> bool {
    begun_at(grant).is_some_and(|at| at <= overdue.begun_by)
        || is_open(grant) && grant.window.closes_at() <= overdue.closed_by
}

fn is_in_scope(scope: &Scope, owner: &str, target: &TargetName) -> bool {
    match scope {
        Scope::All => true,
        Scope::Some { owner: caller, targets } => owner == caller || targets.contains(target),
    }
}

/// Whether an optional filter lets something through.
fn fits<T>(filter: Option<&T>, matches: impl FnOnce(&T) -> bool) -> bool {
    filter.is_none_or(matches)
}

fn sliced<Id: Ord + Copy, T: Clone>(
    rows: &BTreeMap<Id, T>,
    slice: Slice<Id>,
    matches: impl Fn(&T) -> bool,
) -> Vec<T> {
    let newest_first = rows.iter().rev().filter(|(id, _)| fits(slice.after.as_ref(), |after| *id < after));
    newest_first.map(|(_, row)| row).filter(|row| matches(row)).take(slice.limit as usize).cloned().collect()
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, writes: &[Write<'_>]) -> Result<Vec<Recorded>, StoreError> {
        self.rows().commit(writes)
    }

    async fn request(&self, id: RequestId) -> Result<Option<Request>, StoreError> {
        Ok(self.rows().requests.get(&id).cloned())
    }

    async fn request_by_key(
        &self,
        requester_subject: &str,
        key: &IdempotencyKey,
    ) -> Result<Option<Request>, StoreError> {
        let is_it = |request: &&Request| {
            request.ask.requester.subject == requester_subject && request.ask.key.as_ref() == Some(key)
        };
        Ok(self.rows().requests.values().find(is_it).cloned())
    }

    async fn requests(
        &self,
        scope: &Scope,
        filter: &RequestFilter,
        slice: Slice<RequestId>,
    ) -> Result<Part<Request>, StoreError> {
        let rows = self.rows();
        let after = |id: &RequestId| {
            fits(slice.after.as_ref(), |after| if filter.oldest_first { id > after } else { id < after })
        };
        let mut found: Vec<_> = rows
            .requests
            .values()
            .filter(|request| after(&request.id))
            .filter(|request| is_in_scope(scope, &request.ask.requester.subject, &request.ask.target))
            .filter(|request| rows.matches(filter, request))
            .cloned()
            .collect();
        if !filter.oldest_first {
            found.reverse();
        }
        found.truncate(slice.limit as usize);
        Ok(Part { items: found, resume: None })
    }

    async fn totals(
        &self,
        scope: &Scope,
        filter: &RequestFilter,
        now: DateTime<Utc>,
    ) -> Result<Totals, StoreError> {
        let (rows, mut totals) = (self.rows(), Totals::default());
        for request in rows.requests.values() {
            let seen = is_in_scope(scope, &request.ask.requester.subject, &request.ask.target);
            if seen && rows.matches(filter, request) {
                totals.add(&rows.counted(request, now));
            }
        }
        Ok(totals)
    }

    async fn grant(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        Ok(self.rows().grants.get(&id).cloned())
    }

    async fn grants(
        &self,
        scope: &Scope,
        filter: &GrantFilter,
        slice: Slice<GrantId>,
    ) -> Result<Vec<Grant>, StoreError> {
        Ok(sliced(&self.rows().grants, slice, |grant| {
            let who = &grant.holder;
            is_in_scope(scope, &who.subject, &grant.target)
                && (filter.states.is_empty() || filter.states.contains(&grant.state.name()))
                && fits(filter.target.as_ref(), |target| grant.target == *target)
                && fits(filter.holder.as_ref(), |name| who.subject == **name || who.name == **name)
                && fits(filter.request.as_ref(), |request| grant.request == *request)
                && fits(filter.overdue.as_ref(), |overdue| is_overdue(grant, *overdue))
        }))
    }

    async fn grants_of(&self, requests: &[RequestId]) -> Result<BTreeMap<RequestId, Vec<Grant>>, StoreError> {
        let mut found: BTreeMap<RequestId, Vec<Grant>> = BTreeMap::new();
        for grant in self.rows().grants.values().rev() {
            if requests.contains(&grant.request) {
                found.entry(grant.request).or_default().push(grant.clone());
            }
        }
        Ok(found)
    }

    async fn timeline(&self, request: RequestId) -> Result<Vec<Recorded>, StoreError> {
        let rows = self.rows();
        Ok(rows.events.iter().filter(|event| event.about.request == Some(request)).cloned().collect())
    }

    async fn events_after(
        &self,
        scope: &Scope,
        request: Option<RequestId>,
        sequence: i64,
        limit: u32,
    ) -> Result<Vec<Recorded>, StoreError> {
        let rows = self.rows();
        let seen = |event: &&Recorded| {
            let Some(about) = event.about.request else { return false };
            let row = || rows.requests.get(&about);
            let in_scope = *scope == Scope::All
                || row().is_some_and(|row| is_in_scope(scope, &row.ask.requester.subject, &row.ask.target));
            fits(request.as_ref(), |request| about == *request) && in_scope
        };
        let later = rows.events.iter().skip(usize::try_from(sequence).unwrap_or_default());
        Ok(later.filter(seen).take(limit as usize).cloned().collect())
    }

    fn retention(&self) -> &dyn Retention {
        self
    }

    fn ledger(&self) -> &dyn Ledger {
        self
    }

    async fn last_sequence(&self) -> Result<i64, StoreError> {
        Ok(self.rows().events.last().map_or(0, |event| event.sequence))
    }

    async fn due(&self, now: DateTime<Utc>) -> Result<Due, StoreError> {
        let rows = self.rows();
        let lapsing = rows.requests.values().filter_map(|request| {
            let at = request.state.lapses_at().filter(|at| *at <= now)?;
            Some((at, request.id, request.ask.target.clone()))
        });
        let closing = rows.grants.values().filter(|grant| is_open(grant) && grant.window.is_closed(now));
        let closing = closing.map(|grant| (grant.window.closes_at(), grant.id, grant.target.clone()));
        let revoking =
            rows.grants.values().filter_map(|grant| Some((begun_at(grant)?, grant.id, grant.target.clone())));
        let (lapsing, _) = self.per_target(lapsing.collect());
        let (closing, closing_is_cut) = self.per_target(closing.collect());
        let (revoking, revoking_is_cut) = self.per_target(revoking.collect());
        Ok(Due {
            lapsing: lapsing.into_iter().map(|(id, _)| id).collect(),
            closing,
            revoking,
            is_cut: closing_is_cut || revoking_is_cut,
        })
    }

    async fn next_deadline(&self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, StoreError> {
        let rows = self.rows();
        let lapses = rows.requests.values().filter_map(|request| request.state.lapses_at());
        let closes = rows.grants.values().filter(|grant| is_open(grant));
        Ok(lapses.chain(closes.map(|grant| grant.window.closes_at())).filter(|at| *at > now).min())
    }

    async fn grant_to_end(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        self.grant(id).await
    }

    async fn closing(&self, until: DateTime<Utc>, limit: u32) -> Result<Vec<Grant>, StoreError> {
        let rows = self.rows();
        let closes = |grant: &&Grant| is_open(grant) && grant.window.closes_at() <= until;
        let mut closing: Vec<&Grant> = rows.grants.values().filter(closes).collect();
        closing.sort_by_key(|grant| (grant.window.closes_at(), grant.id));
        Ok(closing.into_iter().take(limit as usize).cloned().collect())
    }

    async fn open_grants(&self, after: Option<GrantId>, limit: u32) -> Result<Vec<Grant>, StoreError> {
        let rows = self.rows();
        let open = rows.grants.values().filter(|grant| is_open(grant));
        let later = open.filter(|grant| fits(after.as_ref(), |after| grant.id > *after));
        Ok(later.take(limit as usize).cloned().collect())
    }

    async fn endings(
        &self,
        after: Option<(DateTime<Utc>, GrantId)>,
        limit: u32,
    ) -> Result<Vec<Grant>, StoreError> {
        let rows = self.rows();
        let place = |grant: &Grant| Some((begun_at(grant)?, grant.id));
        // None comes before every place, so what isn't ending isn't after any.
        let mut endings: Vec<&Grant> = rows.grants.values().filter(|grant| place(grant) > after).collect();
        endings.sort_by_key(|grant| place(grant));
        Ok(endings.into_iter().take(limit as usize).cloned().collect())
    }

    async fn known_leases(&self, credential_path: &str) -> Result<Vec<LeaseId>, StoreError> {
        let rows = self.rows();
        let here = rows.grants.values().filter(|grant| grant.credential_path == credential_path);
        Ok(here.filter_map(|grant| rows::lease(grant).cloned()).collect())
    }

    async fn held(
        &self,
        target: &TargetName,
        holder_subject: &str,
        but_of: RequestId,
    ) -> Result<Held, StoreError> {
        let rows = self.rows();
        let others = rows.grants.values().filter(|grant| grant.target == *target && grant.request != but_of);
        let mut held = Held::default();
        for grant in others {
            let is_persons = grant.holder.subject == holder_subject;
            match &grant.state {
                State::Issuing { .. } | State::Active { .. } | State::Revoking(_) => {
                    held.in_all += 1;
                    held.by_person += u64::from(is_persons);
                }
                State::Revoked { revoked_at, .. } if is_persons => {
                    held.last_ended_at = held.last_ended_at.max(Some(*revoked_at));
                }
                State::Revoked { .. } | State::Failed { .. } => {}
            }
        }
        Ok(held)
    }

    async fn freezes(&self) -> Result<Vec<Freeze>, StoreError> {
        let mut standing: Vec<Freeze> =
            self.rows().freezes.values().filter(|freeze| freeze.is_frozen()).cloned().collect();
        standing.sort_by(|one, other| one.extent.cmp(&other.extent));
        Ok(standing)
    }

    async fn digest_key(&self) -> Result<[u8; 32], StoreError> {
        Ok([7; 32])
    }
}

#[async_trait]
impl Retention for MemoryStore {
    async fn past(&self, until: DateTime<Utc>, limit: u32) -> Result<Vec<Past>, StoreError> {
        let rows = self.rows();
        let whole = rows.requests.values().filter(|request| {
            let is_whole = request.ask.reason.kept().is_some() && request.is_settled();
            is_whole && request.id < RequestId::new(until, 0)
        });
        let past = whole.map(|request| {
            let mut grants: Vec<_> =
                rows.grants.values().filter(|grant| grant.request == request.id).cloned().collect();
            grants.reverse();
            let about = |event: &&Recorded| event.about.request == Some(request.id);
            let timeline = rows.events.iter().filter(about).cloned().collect();
            Past { request: request.clone(), grants, timeline }
        });
        let over = past.filter(|past| {
            let is_over = |grant: &Grant| match grant.state {
                State::Revoked { revoked_at: at, .. } | State::Failed { failed_at: at, .. } => {
                    at < until && grant.window.closes_at() <= until
                }
                _ => false,
            };
            past.grants.iter().all(is_over) && past.timeline.iter().all(|event| event.at < until)
        });
        Ok(over.take(limit as usize).collect())
    }

    async fn past_freezes(&self, until: DateTime<Utc>, limit: u32) -> Result<Vec<PastFreeze>, StoreError> {
        let rows = self.rows();
        let thawed_at = |freeze: &Freeze| match freeze.state {
            freeze::State::Thawed { thawed_at } => Some(thawed_at),
            freeze::State::Frozen { .. } => None,
        };
        let is_past = |freeze: &&Freeze| {
            let is_whole = !rows.erased_freezes.contains_key(&freeze.id);
            is_whole && thawed_at(freeze).is_some_and(|at| at < until)
        };
        let mut past: Vec<&Freeze> = rows.freezes.values().filter(is_past).collect();
        past.sort_by_key(|freeze| (thawed_at(freeze), freeze.id));
        let with_timeline =
            |freeze: &Freeze| PastFreeze { freeze: freeze.clone(), timeline: rows.of_freeze(freeze) };
        Ok(past.into_iter().take(limit as usize).map(with_timeline).collect())
    }

    async fn scrub(&self) -> Result<bool, StoreError> {
        Ok(true)
    }
}

#[async_trait]
impl Ledger for MemoryStore {
    async fn leaves(&self, sequence: i64, limit: u32) -> Result<Vec<Leaf>, StoreError> {
        let rows = self.rows();
        let later = rows.events.iter().skip(usize::try_from(sequence).unwrap_or_default());
        Ok(later.take(limit as usize).map(Leaf::of).collect())
    }

    async fn nodes(&self, nodes: &[Node]) -> Result<Vec<Hash>, StoreError> {
        let (mut frontier, mut kept) = (Frontier::default(), Vec::new());
        for event in &self.rows().events {
            let mut hashes = Vec::new();
            frontier.push(Leaf::of(event).hash(), |hash| hashes.push(hash));
            kept.push(hashes);
        }
        let of = |node: &Node| {
            let (leaf, number) = node.place();
            kept.get(usize::try_from(leaf).unwrap()).and_then(|hashes| hashes.get(number)).copied()
        };
        let corrupt = || StoreError::Corrupt { operation: "nodes", what: "the tree".into(), problem: "gaps" };
        nodes.iter().map(of).collect::<Option<_>>().ok_or_else(corrupt)
    }

    async fn last_checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        Ok(self.rows().checkpoints.values().last().cloned())
    }

    async fn checkpoint_of(&self, size: u64) -> Result<Option<Checkpoint>, StoreError> {
        Ok(self.rows().checkpoints.range(size..).next().map(|(_, checkpoint)| checkpoint.clone()))
    }

    async fn cosignatures(&self, size: u64) -> Result<Vec<Cosignature>, StoreError> {
        Ok(self.rows().cosignatures.values().filter(|one| one.size == size).cloned().collect())
    }

    async fn last_cosigned_at(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        Ok(self.rows().cosignatures.values().map(|one| one.cosigned_at).max())
    }
}
