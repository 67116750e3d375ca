//! The one way to write: all changes and their events in one transaction, which either commits or leaves no trace (I4).
//!
//! Commits queue for the one connection. Nothing is written outside of a commit.

use std::{mem, time::Duration};

use sqlx::{
    Connection,
    sqlite::{SqliteConnectOptions, SqliteConnection},
};
use tokio::{sync::Mutex, time::timeout};

use super::{connect, events, rows::failed, write};
use crate::{
    access::event::Recorded,
    store::{StoreError, Write},
};

/// How long a commit waits for those before it. A commit takes milliseconds; whoever waited this long has a stuck disk
/// before him, and his caller is told rather than kept.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// The only connection that writes, and the queue before it.
#[derive(Debug)]
pub(super) struct Writer {
    options: SqliteConnectOptions,
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
    pub(super) fn new(options: SqliteConnectOptions, connection: SqliteConnection) -> Self {
        Self { options, slot: Mutex::new(Slot::Ready(connection)) }
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
        let (outcome, is_clean) = transaction(&mut connection, writes).await;
        if is_clean {
            *slot = Slot::Ready(connection);
        }
        outcome
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
