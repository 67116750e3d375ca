//! The store in one SQLite file: a single daemon's requests, grants and audit log.
//!
//! One connection writes, a few only read, and a lock file keeps a second daemon out. A connection is used only after its
//! settings were read back. The writing one is closed, which rolls back, unless its transaction was committed or refused
//! as a conflict; the next commit opens another.

mod connect;
mod due;
mod events;
mod files;
mod grant_row;
pub mod inspect;
mod migrations;
mod open;
mod read;
mod request_row;
mod rows;
mod settings;
mod write;
mod writer;

use std::{collections::BTreeMap, fs::File, path::Path};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::SqlitePool;

use crate::{
    access::{
        event::Recorded,
        grant::Grant,
        handle::LeaseId,
        id::{GrantId, RequestId},
        policy::Scope,
        request::Request,
        text::IdempotencyKey,
    },
    clock::Clock,
    store::{Due, GrantFilter, RequestFilter, Slice, Store, StoreError, Write},
};

pub use self::open::OpenError;

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
    readers: SqlitePool,
    writer: writer::Writer,
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
        self.readers.close().await;
        self.writer.close().await;
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, writes: &[Write<'_>]) -> Result<Vec<Recorded>, StoreError> {
        self.writer.commit(writes).await
    }

    async fn request(&self, id: RequestId) -> Result<Option<Request>, StoreError> {
        read::request(&self.readers, id).await
    }

    async fn request_by_key(
        &self,
        requester_subject: &str,
        key: &IdempotencyKey,
    ) -> Result<Option<Request>, StoreError> {
        read::request_by_key(&self.readers, requester_subject, key).await
    }

    async fn requests(
        &self,
        scope: &Scope,
        filter: &RequestFilter,
        slice: Slice<RequestId>,
    ) -> Result<Vec<Request>, StoreError> {
        read::requests(&self.readers, scope, filter, slice).await
    }

    async fn grant(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        read::grant(&self.readers, id).await
    }

    async fn grants(
        &self,
        scope: &Scope,
        filter: &GrantFilter,
        slice: Slice<GrantId>,
    ) -> Result<Vec<Grant>, StoreError> {
        read::grants(&self.readers, scope, filter, slice).await
    }

    async fn grants_of(&self, requests: &[RequestId]) -> Result<BTreeMap<RequestId, Vec<Grant>>, StoreError> {
        read::grants_of(&self.readers, requests).await
    }

    async fn timeline(&self, request: RequestId) -> Result<Vec<Recorded>, StoreError> {
        events::timeline(&self.readers, request).await
    }

    async fn events_after(
        &self,
        scope: &Scope,
        request: Option<RequestId>,
        sequence: i64,
        limit: u32,
    ) -> Result<Vec<Recorded>, StoreError> {
        events::after(&self.readers, scope, request, sequence, limit).await
    }

    async fn last_sequence(&self) -> Result<i64, StoreError> {
        events::last_sequence(&self.readers).await
    }

    async fn due(&self, now: DateTime<Utc>) -> Result<Due, StoreError> {
        due::due(&self.readers, now).await
    }

    async fn next_deadline(&self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, StoreError> {
        due::next_deadline(&self.readers, now).await
    }

    async fn open_grants(&self) -> Result<Vec<Grant>, StoreError> {
        read::open_grants(&self.readers).await
    }

    async fn known_leases(&self, credential_path: &str) -> Result<Vec<LeaseId>, StoreError> {
        read::known_leases(&self.readers, credential_path).await
    }

    async fn digest_key(&self) -> Result<[u8; 32], StoreError> {
        settings::digest_key(&self.readers).await
    }
}
