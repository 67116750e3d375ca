//! The one way to write: all changes and their events in one transaction, which either commits or leaves no trace (I4).
//!
//! Commits queue for the one connection. Nothing is written outside of a commit.

use std::{
    error::Error,
    io, mem,
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    Connection,
    sqlite::{SqliteConnectOptions, SqliteConnection},
};
use tokio::{sync::Mutex, time::timeout};

use super::{
    connect, events,
    files::{self, Identity},
    rows::failed,
    write,
};
use crate::{
    access::event::Recorded,
    store::{StoreError, Write},
};

/// How long a commit waits for those before it. A commit takes milliseconds; whoever waited this long has a stuck disk
/// before him, and his caller is told rather than kept.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// How long a commit may take: far longer than a disk that works needs. What hangs longer counts as failed, so that
/// whoever has to end access gets on without the record; if it is written later all the same, the next read sees it.
const COMMIT_MAX: Duration = Duration::from_secs(30);

/// The only connection that writes, and the queue before it.
#[derive(Debug)]
pub(super) struct Writer {
    file: PathBuf,
    identity: Identity,
    options: SqliteConnectOptions,
    commit_max: Duration,
    slot: Mutex<Slot>,
}

#[derive(Debug)]
enum Slot {
    /// No transaction is under way on it.
    Ready(SqliteConnection),
    /// In use, or lost to a commit that didn't end well.
    Empty,
    /// The store is closed.
    Closed,
}

impl Writer {
    /// Writes to this file, which must be the one that is connected to.
    pub(super) fn new(
        file: &Path,
        options: SqliteConnectOptions,
        connection: SqliteConnection,
    ) -> io::Result<Self> {
        let (file, identity) = (file.to_owned(), files::identity(file)?);
        let slot = Mutex::new(Slot::Ready(connection));
        Ok(Self { file, identity, options, commit_max: COMMIT_MAX, slot })
    }

    pub(super) async fn close(&self) {
        let slot = mem::replace(&mut *self.slot.lock().await, Slot::Closed);
        if let Slot::Ready(connection) = slot {
            // What it couldn't finish, the next start does.
            drop(connection.close().await);
        }
    }

    /// Commits all of it. Safe to cancel: the connection is out of its slot until the transaction is over, so a call
    /// that is dropped midway takes it along, and closing rolls back.
    pub(super) async fn commit(&self, writes: &[Write<'_>]) -> Result<Vec<Recorded>, StoreError> {
        let operation = "wait to commit";
        let mut slot = timeout(WAIT_MAX, self.slot.lock())
            .await
            .map_err(|late| StoreError::Unavailable { operation, source: Box::new(late) })?;
        self.check_file()?;
        let mut connection = match mem::replace(&mut *slot, Slot::Empty) {
            Slot::Ready(connection) => connection,
            Slot::Empty => connect::writer(&self.options)
                .await
                .map_err(|error| StoreError::Unavailable { operation, source: Box::new(error) })?,
            Slot::Closed => {
                *slot = Slot::Closed;
                return Err(failed(operation)(sqlx::Error::PoolClosed));
            }
        };
        let done = timeout(self.commit_max, transaction(&mut connection, writes)).await;
        let (outcome, is_clean) = done.unwrap_or_else(|late| {
            (Err(StoreError::Unavailable { operation: "commit", source: Box::new(late) }), false)
        });
        if is_clean {
            *slot = Slot::Ready(connection);
        }
        outcome
    }

    /// A file that was removed can be written to for as long as it is open, and everything is lost at the end.
    fn check_file(&self) -> Result<(), StoreError> {
        let source: Box<dyn Error + Send + Sync> = match files::identity(&self.file) {
            Ok(identity) if identity == self.identity => return Ok(()),
            Ok(_) => "another file has taken the database's place; stop hallpassd and put it back".into(),
            Err(error) => Box::new(error),
        };
        Err(StoreError::Unavailable { operation: "find the database's file", source })
    }
}

/// One transaction, and whether the connection may be used again. After a failure (the disk is full, say, and SQLite has
/// rolled back by itself) the driver's count of open transactions can't be relied on.
async fn transaction(
    connection: &mut SqliteConnection,
    writes: &[Write<'_>],
) -> (Result<Vec<Recorded>, StoreError>, bool) {
    // IMMEDIATE takes the write lock at once, so that what is read in it stays true until the end.
    let mut transaction = match connection.begin_with("BEGIN IMMEDIATE").await {
        Ok(transaction) => transaction,
        Err(error) => return (Err(failed("begin a transaction")(error)), false),
    };
    match apply(&mut transaction, writes).await {
        Ok(recorded) => match transaction.commit().await {
            Ok(()) => (Ok(recorded), true),
            Err(error) => (Err(failed("commit")(error)), false),
        },
        Err(error) => {
            let rolled_back = transaction.rollback().await.is_ok();
            let is_clean = rolled_back && matches!(error, StoreError::Conflict { .. });
            (Err(error), is_clean)
        }
    }
}

async fn apply(connection: &mut SqliteConnection, writes: &[Write<'_>]) -> Result<Vec<Recorded>, StoreError> {
    let mut recorded = Vec::with_capacity(writes.len());
    for one in writes {
        let event = match one {
            Write::Request(change) => {
                write::request(connection, change).await?;
                change.event()
            }
            Write::Grant(change) => {
                write::grant(connection, change).await?;
                change.event()
            }
            Write::Fact(event) => event,
        };
        recorded.push(events::append(connection, event).await.map_err(failed("append to the audit log"))?);
    }
    Ok(recorded)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::{
        access::{
            actor::Actor,
            event::{About, Event, Fact},
        },
        clock::ManualClock,
        store::{
            Store,
            sqlite::{Migrate, SqliteStore},
        },
    };

    fn fact(bytes: usize) -> Event {
        let fact = Fact::IdentityRefused {
            method: "x".into(),
            client_address: None,
            error: "y".repeat(bytes),
            unrecorded: 0,
        };
        Event { at: DateTime::UNIX_EPOCH, actor: Actor::Daemon, about: About::default(), fact }
    }

    #[tokio::test]
    async fn a_full_disk_stops_one_commit_and_not_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(DateTime::UNIX_EPOCH);
        let store = SqliteStore::open(&directory.path().join("db"), Migrate::Yes, &clock).await.unwrap();
        if let Slot::Ready(connection) = &mut *store.writer.slot.lock().await {
            // Stands for the disk: no page more than there are. The connection that replaces this one has no such bound.
            sqlx::query("PRAGMA max_page_count = 1").execute(connection).await.unwrap();
        }
        let refused = store.commit(&[Write::Fact(&fact(100_000))]).await.unwrap_err();
        assert!(matches!(refused, StoreError::Unavailable { .. }), "{refused:?}");
        assert_eq!(store.last_sequence().await.unwrap(), 0);
        let recorded = store.commit(&[Write::Fact(&fact(100_000))]).await.unwrap();
        assert_eq!(recorded[0].sequence, 1);
    }

    /// Defect 20: an audit sink that hangs stops everything.
    #[tokio::test]
    async fn defect_20_a_commit_that_hangs_fails_and_the_next_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(DateTime::UNIX_EPOCH);
        let mut store = SqliteStore::open(&directory.path().join("db"), Migrate::Yes, &clock).await.unwrap();
        if let Slot::Ready(connection) = &mut *store.writer.slot.lock().await {
            // Stands for the disk: counts for a while before each event. Only this connection has it.
            let slow = "CREATE TEMP VIEW slow AS WITH RECURSIVE n(x) AS (
                            SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 3000000) SELECT count(*) AS x FROM n;
                        CREATE TEMP TRIGGER slowly BEFORE INSERT ON audit_events BEGIN SELECT x FROM slow; END;";
            sqlx::raw_sql(slow).execute(connection).await.unwrap();
        }
        store.writer.commit_max = Duration::from_millis(20);
        let refused = store.commit(&[Write::Fact(&fact(1))]).await.unwrap_err();
        assert!(matches!(refused, StoreError::Unavailable { operation: "commit", .. }), "{refused:?}");
        store.writer.commit_max = COMMIT_MAX;
        let recorded = store.commit(&[Write::Fact(&fact(1))]).await.unwrap();
        assert_eq!(recorded[0].sequence, 1);
    }

    #[tokio::test]
    async fn a_closed_store_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(DateTime::UNIX_EPOCH);
        let store = SqliteStore::open(&directory.path().join("db"), Migrate::Yes, &clock).await.unwrap();
        store.close().await;
        for _ in 0..2 {
            assert!(store.commit(&[Write::Fact(&fact(1))]).await.is_err());
            assert!(store.last_sequence().await.is_err());
        }
        assert!(!directory.path().join("db-wal").exists(), "all is in the one file");
    }
}
