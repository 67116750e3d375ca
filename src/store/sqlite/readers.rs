//! The connections that read, in three sets: people's, the one for reports, and the daemon's own. However much people
//! list, what has to end is read without waiting for them, and however long a report takes, lists don't wait for it. No
//! set lends another a connection, and no read is waited for without an end.

use std::{path::Path, time::Duration};

use sqlx::sqlite::SqlitePool;
use tokio::time::timeout;

use super::{OpenError, connect, rows::failed};
use crate::store::StoreError;

/// How many of people's reads are under way at once: more would make no disk faster, and each is a thread.
const FOR_PEOPLE: u32 = 4;

/// How long one of people's reads takes at most, the wait for those before it included: a listing through a long history
/// may, but whoever waited this long has a stuck disk before him, and is told rather than kept.
const FOR_PEOPLE_MAX: Duration = Duration::from_secs(10);

/// How much of the file each of people's connections keeps in memory: SQLite's own default. Eight times as much makes no page
/// of a long list quicker.
const FOR_PEOPLE_KIB: u32 = 2000;

/// How many reports are under way at once: each goes through all that matches, and keeps a processor busy.
const FOR_REPORTS: u32 = 1;

/// How long a report takes at most, the wait for the one before included: a million exceptions take some twenty seconds.
/// Shorter than a call may take, so that who waits is told why.
const FOR_REPORTS_MAX: Duration = Duration::from_mins(1);

/// How many of the daemon's own reads are under way at once: one that looks for what is due, and one beside it for the
/// grants that are being ended. Each takes a fraction of a millisecond.
const FOR_DAEMON: u32 = 2;

/// How much of the file each of the daemon's own connections keeps in memory: little, because a sweep reads every open
/// grant once and nothing twice, and however many those are, it must not grow with them.
const FOR_DAEMON_KIB: u32 = 256;

/// Connections of one kind of reader.
#[derive(Debug)]
pub(super) struct Readers {
    pool: SqlitePool,
    answer_max: Duration,
}

impl Readers {
    /// Opens those that people's reads share.
    pub(super) async fn for_people(file: &Path) -> Result<Self, OpenError> {
        Self::open(file, FOR_PEOPLE, FOR_PEOPLE_MAX, FOR_PEOPLE_KIB).await
    }

    /// Opens the one that reports take turns at.
    pub(super) async fn for_reports(file: &Path) -> Result<Self, OpenError> {
        Self::open(file, FOR_REPORTS, FOR_REPORTS_MAX, FOR_PEOPLE_KIB).await
    }

    /// Opens the daemon's own.
    pub(super) async fn for_daemon(file: &Path) -> Result<Self, OpenError> {
        Self::open(file, FOR_DAEMON, super::ANSWER_MAX, FOR_DAEMON_KIB).await
    }

    async fn open(file: &Path, count: u32, answer_max: Duration, cache_kib: u32) -> Result<Self, OpenError> {
        Ok(Self { pool: connect::readers(file, count, answer_max, cache_kib).await?, answer_max })
    }

    /// What a read is run on. Only [`Self::answer`] waits for it.
    pub(super) const fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// Waits for a read, which names its operation in whatever goes wrong. One that is given up keeps its connection
    /// until the disk answers, so what hangs is never more than there are connections.
    pub(super) async fn answer<T>(
        &self,
        operation: &'static str,
        read: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        match timeout(self.answer_max, read).await {
            Ok(done) => done.map_err(failed(operation)),
            Err(late) => Err(StoreError::Unavailable { operation, source: Box::new(late) }),
        }
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use tempfile::TempDir;

    use super::*;
    use crate::{
        access::id::GrantId,
        clock::ManualClock,
        store::{
            Store,
            sqlite::{Migrate, SqliteStore},
        },
    };

    async fn store() -> (TempDir, SqliteStore) {
        let directory = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(DateTime::UNIX_EPOCH);
        let store = SqliteStore::open(&directory.path().join("db"), Migrate::Yes, &clock).await.unwrap();
        (directory, store)
    }

    /// However many people list.
    #[tokio::test]
    async fn listings_that_hang_delay_none_of_the_daemons_reads() {
        let (_directory, store) = store().await;
        let mut held = Vec::new();
        for _ in 0..FOR_PEOPLE {
            held.push(store.people.pool().acquire().await.unwrap());
        }
        let (at, id) = (DateTime::UNIX_EPOCH, GrantId::new(DateTime::UNIX_EPOCH, 1));
        store.due(at).await.unwrap();
        store.next_deadline(at).await.unwrap();
        store.grant_to_end(id).await.unwrap();
        store.closing(at, 1).await.unwrap();
        store.open_grants(None, 1).await.unwrap();
        store.endings(None, 1).await.unwrap();
        store.known_leases("database/creds/x").await.unwrap();
        store.last_sequence().await.unwrap();
    }

    #[tokio::test]
    async fn a_read_that_hangs_fails_and_the_next_does_not() {
        let (_directory, mut store) = store().await;
        store.people.answer_max = Duration::ZERO;
        // Stands for the disk: counts for a while, on every connection there is.
        let slow = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 300000) SELECT count(*) FROM n";
        for _ in 0..=FOR_PEOPLE {
            let read = sqlx::query_scalar::<_, i64>(slow).fetch_one(store.people.pool());
            let refused = store.people.answer("count", read).await.unwrap_err();
            assert!(matches!(refused, StoreError::Unavailable { operation: "count", .. }), "{refused:?}");
        }
        store.people.answer_max = FOR_PEOPLE_MAX;
        let id = GrantId::new(DateTime::UNIX_EPOCH, 1);
        assert_eq!(store.grant(id).await.unwrap(), None);
    }
}
