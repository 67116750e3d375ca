//! The store in one SQLite file: a single daemon's requests, grants and audit log.
//!
//! One connection writes, a few only read, some for people and some for the daemon, and a lock file keeps a second daemon
//! out. A connection is used only after its settings were read back.

mod adopt;
pub mod backup;
mod checkpoints;
mod condition;
mod connect;
mod due;
mod erase;
mod events;
mod files;
mod freezes;
mod grant_row;
pub mod holder;
pub mod inspect;
mod listing;
mod migrations;
mod open;
mod read;
mod readers;
mod request_row;
mod rows;
mod settings;
pub mod snapshot;
mod stream;
mod totals;
mod upkeep;
mod write;
mod writer;

use std::{collections::BTreeMap, fs::File, path::Path, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteConnectOptions;
use tokio::time::timeout;

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
    clock::Clock,
    ledger::{
        leaf::Leaf,
        tree::{Hash, Node},
    },
    store::{
        Checkpoint, Cosignature, Due, GrantFilter, Ledger, Part, RequestFilter, Retention, Slice, Store,
        StoreError, Write,
    },
};

pub use self::open::OpenError;

/// How long whoever waits for the store is kept waiting: less than the second within which a claim is refused when the
/// record is lost, so that the answer gets to the caller within it. A disk that works needs milliseconds.
const ANSWER_MAX: Duration = Duration::from_millis(900);

/// How long closing waits for reads, and then for commits, that are under way. What a disk that hangs doesn't let finish
/// is left to the next start.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// Whether opening the database may change its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migrate {
    /// Make the database if there is none, and bring its schema up to date.
    Yes,
    /// Refuse a database that isn't there or isn't up to date.
    No,
}

/// A database file that this process has for itself.
#[derive(Debug)]
pub struct SqliteStore {
    /// For what people ask.
    people: readers::Readers,
    /// For what goes through the whole history, so that it delays no other read.
    reports: readers::Readers,
    /// For what the daemon does by itself, so that people's reads can't delay it.
    daemon: readers::Readers,
    writer: writer::Writer,
    /// For what takes a moment of a connection that writes.
    options: SqliteConnectOptions,
    /// Held, not read: the lock ends with it.
    _lock: File,
}

impl SqliteStore {
    /// Opens the database, having checked that it may be relied on. Chance is for the key that a new database gets.
    ///
    /// # Errors
    ///
    /// If the file can't be used as it is; the error says what to do.
    pub async fn open(path: &Path, migrate: Migrate, clock: &dyn Clock) -> Result<Self, OpenError> {
        open::open(path, migrate, clock).await.map(|(store, _)| store)
    }

    /// Makes the database if there is none, brings its schema up to date, and answers with the migrations that were
    /// applied: none, if it was up to date.
    ///
    /// # Errors
    ///
    /// Like [`Self::open`].
    pub async fn migrate(path: &Path, clock: &dyn Clock) -> Result<Vec<i64>, OpenError> {
        let (store, applied) = open::open(path, Migrate::Yes, clock).await?;
        store.close().await;
        Ok(applied)
    }

    /// Closes the connections, which moves everything into the one file. Calls that come later fail. Dropping the store
    /// instead loses nothing: the next start finds the rest in the `-wal` file.
    pub async fn close(&self) {
        let readers = async { tokio::join!(self.people.close(), self.reports.close(), self.daemon.close()) };
        drop(timeout(CLOSE_MAX, readers).await);
        // Last, because only what is closed last can move everything.
        self.writer.close().await;
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, writes: &[Write<'_>]) -> Result<Vec<Recorded>, StoreError> {
        self.writer.commit(writes).await
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
impl Retention for SqliteStore {
    async fn past(&self, until: DateTime<Utc>, limit: u32) -> Result<Vec<Past>, StoreError> {
        erase::past(&self.daemon, until, limit).await
    }

    async fn past_freezes(&self, until: DateTime<Utc>, limit: u32) -> Result<Vec<PastFreeze>, StoreError> {
        erase::past_freezes(&self.daemon, until, limit).await
    }

    async fn scrub(&self) -> Result<bool, StoreError> {
        erase::scrub(&self.options).await
    }
}

#[async_trait]
impl Ledger for SqliteStore {
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
