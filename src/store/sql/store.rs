//! What a store answers with, and from which of its connections: people's reads from theirs, the daemon's from its own.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{
    checkpoints,
    dialect::{self, This},
    due, erase, events, freezes, listing, read, settings, totals, upkeep,
};
use crate::{
    access::{
        event::Recorded,
        freeze::Freeze,
        grant::Grant,
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
        tree::{Hash, Node},
    },
    store::{
        Checkpoint, Cosignature, Due, Duties, GrantFilter, Ledger, Part, RequestFilter, Retention, Slice,
        Store, StoreError, Write,
    },
};

#[async_trait]
impl Store for This {
    async fn commit(&self, writes: &[Write<'_>]) -> Result<Vec<Recorded>, StoreError> {
        self.writer.commit(writes, |duty| dialect::fence(self, duty)).await
    }

    async fn request(&self, id: RequestId) -> Result<Option<Request>, StoreError> {
        read::request(&self.people, id).await
    }

    async fn request_by_key(
        &self,
        requester_subject: &str,
        key: &IdempotencyKey,
    ) -> Result<Option<Request>, StoreError> {
        read::request_by_key(&self.people, requester_subject, key).await
    }

    async fn requests(
        &self,
        scope: &Scope,
        filter: &RequestFilter,
        slice: Slice<RequestId>,
    ) -> Result<Part<Request>, StoreError> {
        listing::requests(&self.people, scope, filter, slice).await
    }

    async fn totals(
        &self,
        scope: &Scope,
        filter: &RequestFilter,
        now: DateTime<Utc>,
    ) -> Result<Totals, StoreError> {
        totals::totals(&self.reports, scope, filter, now).await
    }

    async fn grant(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        read::grant(&self.people, id).await
    }

    async fn grants(
        &self,
        scope: &Scope,
        filter: &GrantFilter,
        slice: Slice<GrantId>,
    ) -> Result<Vec<Grant>, StoreError> {
        read::grants(&self.people, scope, filter, slice).await
    }

    async fn grants_of(&self, requests: &[RequestId]) -> Result<BTreeMap<RequestId, Vec<Grant>>, StoreError> {
        read::grants_of(&self.people, requests).await
    }

    async fn timeline(&self, request: RequestId) -> Result<Vec<Recorded>, StoreError> {
        events::timeline(&self.people, request).await
    }

    async fn events_after(
        &self,
        scope: &Scope,
        request: Option<RequestId>,
        sequence: i64,
        limit: u32,
    ) -> Result<Vec<Recorded>, StoreError> {
        events::after(&self.people, scope, request, sequence, limit).await
    }

    fn duties(&self) -> Option<&dyn Duties> {
        dialect::duties(self)
    }

    fn retention(&self) -> &dyn Retention {
        self
    }

    fn ledger(&self) -> &dyn Ledger {
        self
    }

    async fn last_sequence(&self) -> Result<i64, StoreError> {
        events::last_sequence(&self.daemon).await
    }

    async fn due(&self, now: DateTime<Utc>) -> Result<Due, StoreError> {
        due::due(&self.daemon, now).await
    }

    async fn next_deadline(&self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, StoreError> {
        due::next_deadline(&self.daemon, now).await
    }

    async fn grant_to_end(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        read::grant(&self.daemon, id).await
    }

    async fn closing(&self, until: DateTime<Utc>, limit: u32) -> Result<Vec<Grant>, StoreError> {
        upkeep::closing(&self.daemon, until, limit).await
    }

    async fn open_grants(&self, after: Option<GrantId>, limit: u32) -> Result<Vec<Grant>, StoreError> {
        upkeep::open_grants(&self.daemon, after, limit).await
    }

    async fn endings(
        &self,
        after: Option<(DateTime<Utc>, GrantId)>,
        limit: u32,
    ) -> Result<Vec<Grant>, StoreError> {
        upkeep::endings(&self.daemon, after, limit).await
    }

    async fn known_leases(&self, credential_path: &str) -> Result<Vec<LeaseId>, StoreError> {
        read::known_leases(&self.daemon, credential_path).await
    }

    async fn held(
        &self,
        target: &TargetName,
        holder_subject: &str,
        but_of: RequestId,
    ) -> Result<Held, StoreError> {
        read::held(&self.daemon, target, holder_subject, but_of).await
    }

    async fn freezes(&self) -> Result<Vec<Freeze>, StoreError> {
        freezes::standing(&self.daemon).await
    }

    async fn digest_key(&self) -> Result<[u8; 32], StoreError> {
        settings::digest_key(&self.daemon).await
    }
}

#[async_trait]
impl Retention for This {
    async fn past(&self, until: DateTime<Utc>, limit: u32) -> Result<Vec<Past>, StoreError> {
        erase::past(&self.daemon, until, limit).await
    }

    async fn past_freezes(&self, until: DateTime<Utc>, limit: u32) -> Result<Vec<PastFreeze>, StoreError> {
        erase::past_freezes(&self.daemon, until, limit).await
    }

    async fn scrub(&self) -> Result<bool, StoreError> {
        dialect::scrub(self).await
    }
}

#[async_trait]
impl Ledger for This {
    async fn leaves(&self, sequence: i64, limit: u32) -> Result<Vec<Leaf>, StoreError> {
        events::leaves(&self.people, sequence, limit).await
    }

    async fn nodes(&self, nodes: &[Node]) -> Result<Vec<Hash>, StoreError> {
        events::nodes(&self.people, nodes).await
    }

    async fn last_checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        checkpoints::last(&self.daemon).await
    }

    async fn checkpoint_of(&self, size: u64) -> Result<Option<Checkpoint>, StoreError> {
        checkpoints::first_of(&self.people, size).await
    }

    async fn cosignatures(&self, size: u64) -> Result<Vec<Cosignature>, StoreError> {
        checkpoints::cosignatures(&self.people, size).await
    }

    async fn last_cosigned_at(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        checkpoints::last_cosigned_at(&self.daemon).await
    }
}
