//! A store and a Vault in memory, with a place to step in between two steps of the broker: what a race needs to be lost on
//! purpose. They do what their traits say, and no more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use hallpass::{
    access::{
        change::Change,
        event::{Event, Recorded},
        grant::{Grant, State},
        handle::{Accessor, LeaseId},
        id::{GrantId, RequestId},
        policy::Scope,
        request::Request,
        text::IdempotencyKey,
    },
    clock::{Clock, ManualClock},
    store::{Due, GrantFilter, RequestFilter, Slice, Store, StoreError, Write},
    vault::{GrantToken, Issuer, LeaseSeen, MissingCapability, Outcome, VaultError, Wrapped},
};
use tokio::sync::Notify;

type Step = Pin<Box<dyn Future<Output = ()> + Send>>;
type Hook = Box<dyn Fn() -> Step + Send>;

/// Something that a test does once, in the middle of a call.
#[derive(Default)]
pub struct Once(Mutex<Option<Hook>>);

impl Once {
    pub fn set<F: Future<Output = ()> + Send + 'static>(&self, hook: impl Fn() -> F + Send + 'static) {
        *self.0.lock().unwrap() = Some(Box::new(move || Box::pin(hook())));
    }

    /// Stops whoever comes by: the first notification says that somebody is there, the second lets him go on.
    pub fn hold(&self) -> (Arc<Notify>, Arc<Notify>) {
        let (reached, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (told, waited) = (Arc::clone(&reached), Arc::clone(&go_on));
        self.set(move || {
            let (told, waited) = (Arc::clone(&told), Arc::clone(&waited));
            async move {
                told.notify_one();
                waited.notified().await;
            }
        });
        (reached, go_on)
    }

    async fn run(&self) {
        let hook = self.0.lock().unwrap().take();
        if let Some(hook) = hook {
            hook().await;
        }
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Once")
    }
}

/// How many lapsing requests are told of at once: few, so that a test sees what becomes of the others.
const LAPSING_MAX: usize = 3;

/// Requests, grants and events in maps.
#[derive(Debug, Default)]
pub struct MemoryStore {
    rows: Mutex<Rows>,
    /// How many commits succeed before some fail, and how many those are.
    failing: Mutex<(usize, usize)>,
    /// After the next commit that opens a grant, before it is answered.
    pub opened: Once,
    /// Before the next commit that lets a request lapse.
    pub lapsing: Once,
    /// After the next commit that begins an ending, before it is answered.
    pub begun: Once,
}

#[derive(Clone, Debug, Default)]
struct Rows {
    requests: BTreeMap<RequestId, Request>,
    grants: BTreeMap<GrantId, Grant>,
    events: Vec<Recorded>,
}

impl Rows {
    fn log(&mut self, event: &Event) {
        let (kind, detail) = event.fact.parts();
        let sequence = i64::try_from(self.events.len()).unwrap() + 1;
        let (at, actor, about) = (event.at, event.actor.clone(), event.about.clone());
        self.events.push(Recorded { sequence, at, actor, about, kind, detail });
    }

    fn put<Id: Ord, T: Clone>(
        rows: &mut BTreeMap<Id, T>,
        id: Id,
        change: &Change<T>,
        as_found: impl Fn(&T) -> (&'static str, i64),
    ) -> Result<(), StoreError> {
        let found = rows.get(&id).map(&as_found);
        let expected = change.from().map(|state| (state, as_found(change.after()).1 - 1));
        if found != expected {
            return Err(StoreError::Conflict { operation: "commit" });
        }
        rows.insert(id, change.after().clone());
        Ok(())
    }

    fn put_all(&mut self, writes: &[Write<'_>]) -> Result<(), StoreError> {
        for write in writes {
            match write {
                Write::Request(change) => {
                    let id = change.after().id;
                    Self::put(&mut self.requests, id, change, |row| (row.state.name(), row.revision))?;
                    self.log(change.event());
                }
                Write::Grant(change) => {
                    let id = change.after().id;
                    Self::put(&mut self.grants, id, change, |row| (row.state.name(), row.revision))?;
                    self.log(change.event());
                }
                Write::Fact(event) => self.log(event),
            }
        }
        let held = self.open().into_iter().map(|grant| grant.request);
        let requests: BTreeSet<RequestId> = held.collect();
        if requests.len() == self.open().len() {
            Ok(())
        } else {
            Err(StoreError::Conflict { operation: "commit" })
        }
    }

    fn open(&self) -> Vec<Grant> {
        let is_open = |grant: &&Grant| matches!(grant.state, State::Issuing { .. } | State::Active { .. });
        self.grants.values().filter(is_open).cloned().collect()
    }
}

impl MemoryStore {
    fn rows(&self) -> Rows {
        self.rows.lock().unwrap().clone()
    }

    /// Lets `count` commits fail, after as many as `after` that don't.
    pub fn fail_commits(&self, after: usize, count: usize) {
        *self.failing.lock().unwrap() = (after, count);
    }

    fn must_fail(&self) -> bool {
        let mut failing = self.failing.lock().unwrap();
        match &mut *failing {
            (0, 0) => false,
            (0, count) => {
                *count -= 1;
                true
            }
            (after, _) => {
                *after -= 1;
                false
            }
        }
    }

    /// What is recorded of one grant, by kind.
    /// How many events of a kind are recorded.
    pub fn count(&self, kind: &str) -> usize {
        self.rows().events.iter().filter(|event| event.kind == kind).count()
    }

    pub fn kinds(&self, grant: GrantId) -> Vec<String> {
        let events = self.rows().events;
        events.into_iter().filter(|event| event.about.grant == Some(grant)).map(|event| event.kind).collect()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, writes: &[Write<'_>]) -> Result<Vec<Recorded>, StoreError> {
        let lapse = |write: &Write<'_>| matches!(write, Write::Request(change) if change.after().state.name() == "LAPSED");
        if writes.iter().any(lapse) {
            self.lapsing.run().await;
        }
        if self.must_fail() {
            return Err(StoreError::Unavailable { operation: "commit", source: "told to fail".into() });
        }
        let recorded = {
            let mut rows = self.rows.lock().unwrap();
            let mut after = rows.clone();
            after.put_all(writes)?;
            let recorded = after.events.split_off(rows.events.len());
            after.events.extend(recorded.clone());
            *rows = after;
            recorded
        };
        if recorded.iter().any(|event| event.kind == "GrantOpened") {
            self.opened.run().await;
        }
        if recorded.iter().any(|event| event.kind == "RevocationBegun") {
            self.begun.run().await;
        }
        Ok(recorded)
    }

    async fn request(&self, id: RequestId) -> Result<Option<Request>, StoreError> {
        Ok(self.rows().requests.remove(&id))
    }

    async fn request_by_key(&self, _: &str, _: &IdempotencyKey) -> Result<Option<Request>, StoreError> {
        Ok(None)
    }

    async fn requests(
        &self,
        _: &Scope,
        _: &RequestFilter,
        _: Slice<RequestId>,
    ) -> Result<Vec<Request>, StoreError> {
        Ok(self.rows().requests.into_values().rev().collect())
    }

    async fn grant(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        Ok(self.rows().grants.remove(&id))
    }

    async fn grants(&self, _: &Scope, _: &GrantFilter, _: Slice<GrantId>) -> Result<Vec<Grant>, StoreError> {
        Ok(self.rows().grants.into_values().rev().collect())
    }

    async fn grants_of(&self, requests: &[RequestId]) -> Result<BTreeMap<RequestId, Vec<Grant>>, StoreError> {
        let mut found: BTreeMap<RequestId, Vec<Grant>> = BTreeMap::new();
        for grant in self.rows().grants.into_values().rev() {
            if requests.contains(&grant.request) {
                found.entry(grant.request).or_default().push(grant);
            }
        }
        Ok(found)
    }

    async fn timeline(&self, request: RequestId) -> Result<Vec<Recorded>, StoreError> {
        let mut events = self.rows().events;
        events.retain(|event| event.about.request == Some(request));
        Ok(events)
    }

    async fn events_after(
        &self,
        _: &Scope,
        _: Option<RequestId>,
        sequence: i64,
        _: u32,
    ) -> Result<Vec<Recorded>, StoreError> {
        Ok(self.rows().events.into_iter().filter(|event| event.sequence > sequence).collect())
    }

    async fn last_sequence(&self) -> Result<i64, StoreError> {
        Ok(self.rows().events.last().map_or(0, |event| event.sequence))
    }

    async fn due(&self, now: DateTime<Utc>) -> Result<Due, StoreError> {
        let rows = self.rows();
        let lapses = |request: &Request| request.state.lapses_at().is_some_and(|at| at <= now);
        let revoking = |grant: &&Grant| matches!(grant.state, State::Revoking(_));
        Ok(Due {
            lapsing: rows
                .requests
                .values()
                .filter(|request| lapses(request))
                .map(|request| request.id)
                .take(LAPSING_MAX)
                .collect(),
            closing: rows
                .open()
                .into_iter()
                .filter(|g| g.window.is_closed(now))
                .map(|g| (g.id, g.target))
                .collect(),
            revoking: rows.grants.values().filter(revoking).map(|g| (g.id, g.target.clone())).collect(),
            is_cut: false,
        })
    }

    async fn next_deadline(&self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, StoreError> {
        let rows = self.rows();
        let lapses = rows.requests.values().filter_map(|request| request.state.lapses_at());
        let closes = rows.open().into_iter().map(|grant| grant.window.closes_at());
        Ok(lapses.chain(closes).filter(|at| *at > now).min())
    }

    async fn grant_to_end(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        self.grant(id).await
    }

    async fn closing(&self, until: DateTime<Utc>, limit: u32) -> Result<Vec<Grant>, StoreError> {
        let mut closing = self.rows().open();
        closing.retain(|grant| grant.window.closes_at() <= until);
        closing.sort_by_key(|grant| (grant.window.closes_at(), grant.id));
        closing.truncate(limit as usize);
        Ok(closing)
    }

    async fn open_grants(&self, after: Option<GrantId>, limit: u32) -> Result<Vec<Grant>, StoreError> {
        let mut open = self.rows().open();
        open.retain(|grant| after.is_none_or(|after| grant.id > after));
        open.truncate(limit as usize);
        Ok(open)
    }

    async fn endings(
        &self,
        after: Option<(DateTime<Utc>, GrantId)>,
        limit: u32,
    ) -> Result<Vec<Grant>, StoreError> {
        let begun = |grant: &Grant| match &grant.state {
            State::Revoking(ending) => Some((ending.begun_at, grant.id)),
            _ => None,
        };
        let mut endings: Vec<Grant> =
            self.rows().grants.into_values().filter(|grant| begun(grant) > after).collect();
        endings.sort_by_key(begun);
        endings.truncate(limit as usize);
        Ok(endings)
    }

    async fn known_leases(&self, _: &str) -> Result<Vec<LeaseId>, StoreError> {
        let leases = self.rows().grants.into_values().filter_map(|grant| match grant.state {
            State::Active { leased, .. } => Some(leased.lease),
            _ => None,
        });
        Ok(leases.collect())
    }

    async fn digest_key(&self) -> Result<[u8; 32], StoreError> {
        Ok([7; 32])
    }
}

/// A Vault that makes leases out of numbers.
#[derive(Debug)]
pub struct MemoryVault {
    clock: Arc<ManualClock>,
    leases: Mutex<BTreeMap<String, DateTime<Utc>>>,
    /// In the next making of a token.
    pub minting: Once,
    /// In the next read, before anything is made.
    pub reading: Once,
    /// In the next lookup of a lease.
    pub looking: Once,
    /// Whether the next read gets no answer, although Vault will do it later.
    pub silent: Mutex<bool>,
    /// In the next setting of an end, before it is set.
    pub shortening: Once,
    minted: Mutex<usize>,
    wrap_ttls: Mutex<Vec<Duration>>,
    ends_at: Mutex<Option<DateTime<Utc>>>,
}

impl MemoryVault {
    pub fn new(clock: Arc<ManualClock>) -> Self {
        Self {
            clock,
            leases: Mutex::default(),
            minting: Once::default(),
            reading: Once::default(),
            looking: Once::default(),
            silent: Mutex::default(),
            shortening: Once::default(),
            minted: Mutex::default(),
            wrap_ttls: Mutex::default(),
            ends_at: Mutex::default(),
        }
    }

    /// Makes a lease now, as a read does that was answered late.
    pub fn lease(&self, path: &str) -> LeaseId {
        let mut leases = self.leases.lock().unwrap();
        let id = format!("{path}/{}", self.clock.random());
        leases.insert(id.clone(), self.clock.now());
        LeaseId::new(id)
    }

    pub fn leases_left(&self) -> usize {
        self.leases.lock().unwrap().len()
    }

    /// How many tokens were made.
    pub fn minted(&self) -> usize {
        *self.minted.lock().unwrap()
    }

    /// The end that was set last.
    pub fn ends_at(&self) -> Option<DateTime<Utc>> {
        *self.ends_at.lock().unwrap()
    }

    /// For how long the credentials were wrapped, in order.
    pub fn wrap_ttls(&self) -> Vec<Duration> {
        self.wrap_ttls.lock().unwrap().clone()
    }
}

#[async_trait]
impl Issuer for MemoryVault {
    async fn mint(&self, grant: GrantId, _: &str, _: Duration) -> Result<GrantToken, VaultError> {
        *self.minted.lock().unwrap() += 1;
        self.minting.run().await;
        let token = format!("token of {grant}");
        Ok(GrantToken { accessor: Accessor::new(token.clone()), token: token.into() })
    }

    async fn read_wrapped(
        &self,
        _: GrantToken,
        path: &str,
        wrap_ttl: Duration,
    ) -> Result<Wrapped, VaultError> {
        self.reading.run().await;
        self.wrap_ttls.lock().unwrap().push(wrap_ttl);
        if std::mem::take(&mut *self.silent.lock().unwrap()) {
            let reason = "no answer".to_owned();
            return Err(VaultError { operation: "read the credential", reason, outcome: Outcome::Unknown });
        }
        let lease = self.lease(path);
        let (token, accessor) = ("wrapping".to_owned().into(), Accessor::new("wrapping"));
        Ok(Wrapped { token, accessor, creation_path: "path".to_owned(), lease })
    }

    async fn shorten(&self, _: &Accessor, _: &LeaseId, left: Duration) -> Result<(), VaultError> {
        self.shortening.run().await;
        *self.ends_at.lock().unwrap() = Some(self.clock.now() + Duration::from_secs(left.as_secs()));
        Ok(())
    }

    async fn revoke_wrapping(&self, _: &Accessor) -> Result<(), VaultError> {
        Ok(())
    }

    async fn revoke_token(&self, _: &Accessor) -> Result<(), VaultError> {
        Ok(())
    }

    async fn revoke_lease(&self, lease: &LeaseId) -> Result<(), VaultError> {
        self.leases.lock().unwrap().remove(lease.expose());
        Ok(())
    }

    async fn lease_gone(&self, lease: &LeaseId) -> Result<bool, VaultError> {
        self.looking.run().await;
        Ok(!self.leases.lock().unwrap().contains_key(lease.expose()))
    }

    async fn lease_ids(&self, path: &str) -> Result<BTreeSet<LeaseId>, VaultError> {
        Ok(self.leases(path).await?.into_iter().map(|lease| lease.id).collect())
    }

    async fn leases(&self, path: &str) -> Result<Vec<LeaseSeen>, VaultError> {
        let leases = self.leases.lock().unwrap();
        let below = leases.iter().filter(|(id, _)| id.starts_with(path));
        Ok(below
            .map(|(id, at)| LeaseSeen { id: LeaseId::new(id.clone()), issued_at: *at, given_up: false })
            .collect())
    }

    async fn wrapping_unopened(&self, _: &Accessor) -> Result<bool, VaultError> {
        Ok(true)
    }

    async fn gave_up(&self) -> Result<BTreeMap<String, u64>, VaultError> {
        Ok(BTreeMap::new())
    }

    async fn time(&self) -> Result<DateTime<Utc>, VaultError> {
        Ok(self.clock.now())
    }

    async fn missing(&self, _: &[&str]) -> Result<Vec<MissingCapability>, VaultError> {
        Ok(Vec::new())
    }
}
