//! The store in one SQLite file: a single daemon's requests, grants and audit log.
//!
//! One connection writes, a few only read, some for people and some for the daemon, and a lock file keeps a second daemon
//! out. A connection is used only after its settings were read back.

mod adopt;
pub mod backup;
mod connect;
#[macro_use]
mod dialect;
mod files;
pub mod holder;
pub mod inspect;
mod open;
pub mod snapshot;
#[path = "../sql/mod.rs"]
mod sql;
mod texts;

#[cfg(test)]
pub(in crate::store) mod tests;

use std::{fs::File, path::Path};

use sqlx::sqlite::SqliteConnectOptions;
use tokio::time::timeout;

pub(in crate::store) use self::files::lock;
use self::sql::{CLOSE_MAX, readers::Readers, writer::Writer};
use super::{Migrate, OpenError};
use crate::clock::Clock;

/// A database file that this process has for itself.
#[derive(Debug)]
pub struct SqliteStore {
    /// For what people ask.
    people: Readers,
    /// For what goes through the whole history, so that it delays no other read.
    reports: Readers,
    /// For what the daemon does by itself, so that people's reads can't delay it.
    daemon: Readers,
    writer: Writer,
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
