//! A store that lies in one way, and passes everything else on.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use hallpass::{
    access::{
        event::Recorded,
        freeze::Freeze,
        grant::{Grant, Issued, State},
        handle::LeaseId,
        id::{GrantId, RequestId},
        limits::Held,
        policy::Scope,
        request::Request,
        target::TargetName,
        text::IdempotencyKey,
        totals::Totals,
        window::Window,
    },
    store::{Due, GrantFilter, Ledger, Part, RequestFilter, Retention, Slice, Store, StoreError, Write},
};

use super::Mutant;
use crate::support::memory::MemoryStore;

/// See the module.
#[derive(Debug)]
pub struct LyingStore {
    inner: Arc<dyn Store>,
    memory: Arc<MemoryStore>,
    mutant: Mutant,
}

impl LyingStore {
    pub const fn new(inner: Arc<dyn Store>, memory: Arc<MemoryStore>, mutant: Mutant) -> Self {
        Self { inner, memory, mutant }
    }

    /// Whether a write is the one that this mutant loses.
    fn loses(&self, write: &Write<'_>) -> bool {
        let Write::Grant(change) = write else { return false };
        let issuing = |state: &State, token: bool| match state {
            State::Issuing { issued: Issued::Nothing } => !token,
            State::Issuing { issued: Issued::Token(_) } => token,
            _ => false,
        };
        match self.mutant {
            Mutant::IntentIsLost => issuing(&change.after().state, false),
            Mutant::TokenIsLost => issuing(&change.after().state, true),
            _ => false,
        }
    }

    fn longer(grant: Grant) -> Grant {
        let closes_at = grant.window.closes_at() + TimeDelta::hours(1);
        Grant { window: Window::recorded(grant.window.opens_at(), closes_at).unwrap(), ..grant }
    }
}

#[async_trait]
impl Store for LyingStore {
    async fn commit(&self, writes: &[Write<'_>]) -> Result<Vec<Recorded>, StoreError> {
        if writes.iter().any(|write| self.loses(write)) {
            return Ok(Vec::new());
        }
        match (self.mutant, writes) {
            (Mutant::ChangeIsLost, [Write::Grant(change)]) if change.from() == Some("REVOKING") => {
                self.inner.commit(&[Write::Fact(change.event())]).await
            }
            (Mutant::EventIsLost, [Write::Grant(change)]) if change.from() == Some("ACTIVE") => {
                let recorded = self.inner.commit(writes).await?;
                self.memory.rows().events.pop();
                Ok(recorded)
            }
            _ => self.inner.commit(writes).await,
        }
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
        let mut grants = self.inner.grants_of(requests).await?;
        if self.mutant == Mutant::WindowMoves {
            for of_one in grants.values_mut() {
                *of_one = std::mem::take(of_one).into_iter().map(Self::longer).collect();
            }
        }
        Ok(grants)
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
