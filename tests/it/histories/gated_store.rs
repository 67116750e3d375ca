//! A store whose commits wait at the gates, and that can be out of order as a whole. What it keeps and answers is another
//! store's matter.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use hallpass::{
    access::{
        event::Recorded,
        freeze::Freeze,
        grant::Grant,
        handle::LeaseId,
        id::{GrantId, RequestId},
        limits::Held,
        policy::Scope,
        request::Request,
        target::TargetName,
        text::IdempotencyKey,
        totals::Totals,
    },
    store::{Due, GrantFilter, Ledger, Part, RequestFilter, Retention, Slice, Store, StoreError, Write},
};
use tokio::sync::Mutex;

use super::gates::{Change, Gates, Point, Verdict};

/// See the module.
#[derive(Debug)]
pub struct GatedStore {
    inner: Arc<dyn Store>,
    gates: Arc<Gates>,
    down: AtomicBool,
    /// One at a time and in turn, so that a store with threads of its own answers in the same order each time.
    turn: Mutex<()>,
}

impl GatedStore {
    pub fn new(inner: Arc<dyn Store>, gates: Arc<Gates>) -> Self {
        Self { inner, gates, down: AtomicBool::new(false), turn: Mutex::default() }
    }

    /// Takes the database away, or gives it back.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Relaxed);
    }

    pub fn is_down(&self) -> bool {
        self.down.load(Relaxed)
    }

    async fn read<T>(
        &self,
        read: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let _turn = self.turn.lock().await;
        if self.is_down() {
            return Err(unavailable());
        }
        let _at_work = self.gates.work();
        read.await
    }
}

pub fn unavailable() -> StoreError {
    StoreError::Unavailable { operation: "simulated call", source: "told to fail".into() }
}

#[async_trait]
impl Store for GatedStore {
    async fn commit(&self, writes: &[Write<'_>]) -> Result<Vec<Recorded>, StoreError> {
        let changes = Change::all(writes);
        let Verdict::Pass { hold } = self.gates.wait(Point::Commit(changes.clone())).await else {
            return Err(unavailable());
        };
        let done = self.read(self.inner.commit(writes)).await;
        self.gates.committed();
        if hold && self.gates.wait(Point::Committed(changes)).await == Verdict::Lose {
            return Err(unavailable());
        }
        done
    }

    async fn request(&self, id: RequestId) -> Result<Option<Request>, StoreError> {
        self.read(self.inner.request(id)).await
    }

    async fn request_by_key(
        &self,
        subject: &str,
        key: &IdempotencyKey,
    ) -> Result<Option<Request>, StoreError> {
        self.read(self.inner.request_by_key(subject, key)).await
    }

    async fn requests(
        &self,
        scope: &Scope,
        filter: &RequestFilter,
        slice: Slice<RequestId>,
    ) -> Result<Part<Request>, StoreError> {
        self.read(self.inner.requests(scope, filter, slice)).await
    }

    async fn totals(
        &self,
        scope: &Scope,
        filter: &RequestFilter,
        now: DateTime<Utc>,
    ) -> Result<Totals, StoreError> {
        self.read(self.inner.totals(scope, filter, now)).await
    }

    async fn grant(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        self.read(self.inner.grant(id)).await
    }

    async fn grants(
        &self,
        scope: &Scope,
        filter: &GrantFilter,
        slice: Slice<GrantId>,
    ) -> Result<Vec<Grant>, StoreError> {
        self.read(self.inner.grants(scope, filter, slice)).await
    }

    async fn grants_of(&self, requests: &[RequestId]) -> Result<BTreeMap<RequestId, Vec<Grant>>, StoreError> {
        self.read(self.inner.grants_of(requests)).await
    }

    async fn timeline(&self, request: RequestId) -> Result<Vec<Recorded>, StoreError> {
        self.read(self.inner.timeline(request)).await
    }

    async fn events_after(
        &self,
        scope: &Scope,
        request: Option<RequestId>,
        sequence: i64,
        limit: u32,
    ) -> Result<Vec<Recorded>, StoreError> {
        self.read(self.inner.events_after(scope, request, sequence, limit)).await
    }

    fn retention(&self) -> &dyn Retention {
        self.inner.retention()
    }

    fn ledger(&self) -> &dyn Ledger {
        self.inner.ledger()
    }

    async fn last_sequence(&self) -> Result<i64, StoreError> {
        self.read(self.inner.last_sequence()).await
    }

    async fn due(&self, now: DateTime<Utc>) -> Result<Due, StoreError> {
        self.read(self.inner.due(now)).await
    }

    async fn next_deadline(&self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.read(self.inner.next_deadline(now)).await
    }

    async fn grant_to_end(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        self.read(self.inner.grant_to_end(id)).await
    }

    async fn closing(&self, until: DateTime<Utc>, limit: u32) -> Result<Vec<Grant>, StoreError> {
        self.read(self.inner.closing(until, limit)).await
    }

    async fn open_grants(&self, after: Option<GrantId>, limit: u32) -> Result<Vec<Grant>, StoreError> {
        self.read(self.inner.open_grants(after, limit)).await
    }

    async fn endings(
        &self,
        after: Option<(DateTime<Utc>, GrantId)>,
        limit: u32,
    ) -> Result<Vec<Grant>, StoreError> {
        self.read(self.inner.endings(after, limit)).await
    }

    async fn known_leases(&self, path: &str) -> Result<Vec<LeaseId>, StoreError> {
        self.read(self.inner.known_leases(path)).await
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
        self.read(self.inner.freezes()).await
    }

    async fn digest_key(&self) -> Result<[u8; 32], StoreError> {
        self.inner.digest_key().await
    }
}
