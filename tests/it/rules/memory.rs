//! A store and a Vault in memory, with a place to step in between two steps of the broker: what a race needs to be lost on
//! purpose. The Vault does what its trait says, and no more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use hallpass::{
    access::{
        event::Recorded,
        freeze::Freeze,
        grant::Grant,
        handle::{Accessor, LeaseId},
        id::{GrantId, RequestId},
        limits::Held,
        policy::Scope,
        request::Request,
        target::TargetName,
        text::IdempotencyKey,
        totals::Totals,
    },
    clock::{Clock, ManualClock},
    store::{Due, GrantFilter, Ledger, Part, RequestFilter, Retention, Slice, Store, StoreError, Write},
    vault::{GrantToken, Issuer, LeaseSeen, MissingCapability, Outcome, VaultError, Wrapped},
};
use tokio::sync::Notify;

use crate::support::memory::MemoryStore;

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

/// The store in memory, with places to step in and commits that fail when told to.
#[derive(Debug)]
pub struct SteppedStore {
    inner: MemoryStore,
    /// How many commits succeed before some fail, and how many those are.
    failing: Mutex<(usize, usize)>,
    /// Whether the deadlines can't be read.
    pub reads_nothing: Mutex<bool>,
    /// Before the next commit that opens a grant.
    pub opening: Once,
    /// After the next commit that opens a grant, before it is answered.
    pub opened: Once,
    /// Before the next commit that lets a request lapse.
    pub lapsing: Once,
    /// Before the next commit that begins an ending.
    pub beginning: Once,
    /// After the next commit that begins an ending, before it is answered.
    pub begun: Once,
}

impl Default for SteppedStore {
    fn default() -> Self {
        Self {
            inner: MemoryStore::with_due_max(LAPSING_MAX),
            failing: Mutex::default(),
            reads_nothing: Mutex::default(),
            opening: Once::default(),
            opened: Once::default(),
            lapsing: Once::default(),
            beginning: Once::default(),
            begun: Once::default(),
        }
    }
}

impl SteppedStore {
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

    /// How many events of a kind are recorded.
    pub fn count(&self, kind: &str) -> usize {
        self.inner.rows().events.iter().filter(|event| event.kind == kind).count()
    }

    /// The details of the events of a kind.
    pub fn details(&self, kind: &str) -> Vec<serde_json::Value> {
        let events = self.inner.rows().events.clone();
        events.into_iter().filter(|event| event.kind == kind).map(|event| event.detail).collect()
    }

    /// The targets that the events of a kind are about.
    pub fn targets(&self, kind: &str) -> Vec<Option<TargetName>> {
        let rows = self.inner.rows();
        let of_kind = rows.events.iter().filter(|event| event.kind == kind);
        of_kind.map(|event| event.about.target.clone()).collect()
    }

    /// What is recorded of one grant, by kind.
    pub fn kinds(&self, grant: GrantId) -> Vec<String> {
        let rows = self.inner.rows();
        let about = rows.events.iter().filter(|event| event.about.grant == Some(grant));
        about.map(|event| event.kind.clone()).collect()
    }
}

#[async_trait]
impl Store for SteppedStore {
    async fn commit(&self, writes: &[Write<'_>]) -> Result<Vec<Recorded>, StoreError> {
        let lapse = |write: &Write<'_>| matches!(write, Write::Request(change) if change.after().state.name() == "LAPSED");
        if writes.iter().any(lapse) {
            self.lapsing.run().await;
        }
        let opens = |write: &Write<'_>| matches!(write, Write::Grant(change) if change.after().revision == 1);
        if writes.iter().any(opens) {
            self.opening.run().await;
        }
        let begins = |write: &Write<'_>| matches!(write, Write::Grant(change) if change.after().state.name() == "REVOKING");
        if writes.iter().any(begins) {
            self.beginning.run().await;
        }
        if self.must_fail() {
            return Err(StoreError::Unavailable { operation: "commit", source: "told to fail".into() });
        }
        let recorded = self.inner.commit(writes).await?;
        if recorded.iter().any(|event| event.kind == "GrantOpened") {
            self.opened.run().await;
        }
        if recorded.iter().any(|event| event.kind == "RevocationBegun") {
            self.begun.run().await;
        }
        Ok(recorded)
    }

    async fn request(&self, id: RequestId) -> Result<Option<Request>, StoreError> {
        self.inner.request(id).await
    }

    async fn request_by_key(
        &self,
        subject: &str,
        key: &IdempotencyKey,
    ) -> Result<Option<Request>, StoreError> {
        self.inner.request_by_key(subject, key).await
    }

    async fn requests(
        &self,
        scope: &Scope,
        filter: &RequestFilter,
        slice: Slice<RequestId>,
    ) -> Result<Part<Request>, StoreError> {
        self.inner.requests(scope, filter, slice).await
    }

    async fn totals(
        &self,
        scope: &Scope,
        filter: &RequestFilter,
        now: DateTime<Utc>,
    ) -> Result<Totals, StoreError> {
        self.inner.totals(scope, filter, now).await
    }

    async fn grant(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        self.inner.grant(id).await
    }

    async fn grants(
        &self,
        scope: &Scope,
        filter: &GrantFilter,
        slice: Slice<GrantId>,
    ) -> Result<Vec<Grant>, StoreError> {
        self.inner.grants(scope, filter, slice).await
    }

    async fn grants_of(&self, requests: &[RequestId]) -> Result<BTreeMap<RequestId, Vec<Grant>>, StoreError> {
        self.inner.grants_of(requests).await
    }

    async fn timeline(&self, request: RequestId) -> Result<Vec<Recorded>, StoreError> {
        self.inner.timeline(request).await
    }

    async fn events_after(
        &self,
        scope: &Scope,
        request: Option<RequestId>,
        sequence: i64,
        limit: u32,
    ) -> Result<Vec<Recorded>, StoreError> {
        self.inner.events_after(scope, request, sequence, limit).await
    }

    fn retention(&self) -> &dyn Retention {
        self.inner.retention()
    }

    fn ledger(&self) -> &dyn Ledger {
        self.inner.ledger()
    }

    async fn last_sequence(&self) -> Result<i64, StoreError> {
        self.inner.last_sequence().await
    }

    async fn due(&self, now: DateTime<Utc>) -> Result<Due, StoreError> {
        self.inner.due(now).await
    }

    async fn next_deadline(&self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.inner.next_deadline(now).await
    }

    async fn grant_to_end(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        self.inner.grant_to_end(id).await
    }

    async fn closing(&self, until: DateTime<Utc>, limit: u32) -> Result<Vec<Grant>, StoreError> {
        if *self.reads_nothing.lock().unwrap() {
            return Err(StoreError::Unavailable { operation: "read", source: "told to fail".into() });
        }
        self.inner.closing(until, limit).await
    }

    async fn open_grants(&self, after: Option<GrantId>, limit: u32) -> Result<Vec<Grant>, StoreError> {
        self.inner.open_grants(after, limit).await
    }

    async fn endings(
        &self,
        after: Option<(DateTime<Utc>, GrantId)>,
        limit: u32,
    ) -> Result<Vec<Grant>, StoreError> {
        self.inner.endings(after, limit).await
    }

    async fn known_leases(&self, path: &str) -> Result<Vec<LeaseId>, StoreError> {
        self.inner.known_leases(path).await
    }

    async fn held(
        &self,
        target: &TargetName,
        holder_subject: &str,
        but_of: RequestId,
    ) -> Result<Held, StoreError> {
        self.inner.held(target, holder_subject, but_of).await
    }

    async fn freezes(&self) -> Result<Vec<Freeze>, StoreError> {
        self.inner.freezes().await
    }

    async fn digest_key(&self) -> Result<[u8; 32], StoreError> {
        self.inner.digest_key().await
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
    /// After the next list of leases was made, before it is answered.
    pub listed: Once,
    /// How many revocations of leases are refused from now on.
    pub refusing: Mutex<usize>,
    /// Whether the next read gets no answer, although Vault will do it later.
    pub silent: Mutex<bool>,
    /// In the next setting of an end, before it is set.
    pub shortening: Once,
    minted: Mutex<usize>,
    revoked: Mutex<Vec<&'static str>>,
    wrap_ttls: Mutex<Vec<Duration>>,
    /// Whether lists get no answer.
    pub lists_nothing: Mutex<bool>,
    /// Which rights the daemon lacks, or none if nobody answers that.
    pub lacking: Mutex<Option<Vec<MissingCapability>>>,
    /// Whether somebody has opened each wrapping.
    pub opened: Mutex<bool>,
    /// What it gave up on, by mount.
    pub given_up: Mutex<BTreeMap<String, u64>>,
    /// What its clock is ahead by.
    pub ahead: Mutex<TimeDelta>,
    /// In the next question for the time, before the clock is read.
    pub timing: Once,
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
            listed: Once::default(),
            refusing: Mutex::default(),
            silent: Mutex::default(),
            shortening: Once::default(),
            minted: Mutex::default(),
            revoked: Mutex::default(),
            wrap_ttls: Mutex::default(),
            lists_nothing: Mutex::default(),
            lacking: Mutex::new(Some(Vec::new())),
            opened: Mutex::default(),
            given_up: Mutex::default(),
            ahead: Mutex::new(TimeDelta::zero()),
            timing: Once::default(),
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

    /// Loses all leases, as a Vault that was restored from a backup.
    pub fn forget_leases(&self) {
        self.leases.lock().unwrap().clear();
    }

    pub fn leases_left(&self) -> usize {
        self.leases.lock().unwrap().len()
    }

    /// How many tokens were made.
    pub fn minted(&self) -> usize {
        *self.minted.lock().unwrap()
    }

    /// What was asked to be revoked, in order.
    pub fn revoked(&self) -> Vec<&'static str> {
        self.revoked.lock().unwrap().clone()
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
        self.revoked.lock().unwrap().push("wrapping");
        Ok(())
    }

    async fn revoke_token(&self, _: &Accessor) -> Result<(), VaultError> {
        self.revoked.lock().unwrap().push("token");
        Ok(())
    }

    async fn revoke_lease(&self, lease: &LeaseId) -> Result<(), VaultError> {
        self.revoked.lock().unwrap().push("lease");
        let refusing = std::mem::take(&mut *self.refusing.lock().unwrap());
        if refusing > 0 {
            *self.refusing.lock().unwrap() = refusing - 1;
            let reason = "the database is down".to_owned();
            return Err(VaultError { operation: "revoke the lease", reason, outcome: Outcome::Refused });
        }
        self.leases.lock().unwrap().remove(lease.expose());
        Ok(())
    }

    async fn lease_gone(&self, lease: &LeaseId) -> Result<bool, VaultError> {
        self.looking.run().await;
        Ok(!self.leases.lock().unwrap().contains_key(lease.expose()))
    }

    async fn lease_ids(&self, path: &str) -> Result<BTreeSet<LeaseId>, VaultError> {
        if *self.lists_nothing.lock().unwrap() {
            let reason = "nobody answers".to_owned();
            return Err(VaultError { operation: "list the leases", reason, outcome: Outcome::Refused });
        }
        let listed = self.leases(path).await?.into_iter().map(|lease| lease.id).collect();
        self.listed.run().await;
        Ok(listed)
    }

    async fn leases(&self, path: &str) -> Result<Vec<LeaseSeen>, VaultError> {
        let leases = self.leases.lock().unwrap();
        let below = leases.iter().filter(|(id, _)| id.starts_with(path));
        Ok(below
            .map(|(id, at)| LeaseSeen { id: LeaseId::new(id.clone()), issued_at: *at, given_up: false })
            .collect())
    }

    async fn wrapping_unopened(&self, _: &Accessor) -> Result<bool, VaultError> {
        Ok(!*self.opened.lock().unwrap())
    }

    async fn gave_up(&self) -> Result<BTreeMap<String, u64>, VaultError> {
        Ok(self.given_up.lock().unwrap().clone())
    }

    async fn time(&self) -> Result<DateTime<Utc>, VaultError> {
        self.timing.run().await;
        Ok(self.clock.now() + *self.ahead.lock().unwrap())
    }

    async fn missing(&self, _: &[&str]) -> Result<Vec<MissingCapability>, VaultError> {
        let lacking = self.lacking.lock().unwrap().clone();
        let reason = "nobody answers".to_owned();
        lacking.ok_or(VaultError { operation: "ask for rights", reason, outcome: Outcome::Refused })
    }
}
