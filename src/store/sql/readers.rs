//! The connections that read, in three sets: people's, the one for reports, and the daemon's own. However much people
//! list, what has to end is read without waiting for them, and however long a report takes, lists don't wait for it. No
//! set lends another a connection, and no read is waited for without an end.

use std::time::Duration;

use sqlx::Pool;
use tokio::time::timeout;

use super::{
    ANSWER_MAX, Db,
    dialect::{self, Place},
    rows::failed,
};
use crate::store::{OpenError, StoreError};

/// How many of people's reads are under way at once: more would make no disk faster, and each is a thread.
pub(in crate::store) const FOR_PEOPLE: u32 = 4;

/// How long one of people's reads takes at most, the wait for those before it included: a listing through a long history
/// may, but whoever waited this long has a stuck disk before him, and is told rather than kept.
pub(in crate::store) const FOR_PEOPLE_MAX: Duration = Duration::from_secs(10);

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
pub(in crate::store) struct Readers {
    pool: Pool<Db>,
    pub(in crate::store) answer_max: Duration,
}

impl Readers {
    /// Opens those that people's reads share.
    pub(in crate::store) async fn for_people(place: &Place) -> Result<Self, OpenError> {
        Self::open(place, FOR_PEOPLE, FOR_PEOPLE_MAX, FOR_PEOPLE_KIB).await
    }

    /// Opens the one that reports take turns at.
    pub(in crate::store) async fn for_reports(place: &Place) -> Result<Self, OpenError> {
        Self::open(place, FOR_REPORTS, FOR_REPORTS_MAX, FOR_PEOPLE_KIB).await
    }

    /// Opens the daemon's own.
    pub(in crate::store) async fn for_daemon(place: &Place) -> Result<Self, OpenError> {
        Self::open(place, FOR_DAEMON, ANSWER_MAX, FOR_DAEMON_KIB).await
    }

    async fn open(
        place: &Place,
        count: u32,
        answer_max: Duration,
        cache_kib: u32,
    ) -> Result<Self, OpenError> {
        Ok(Self { pool: dialect::readers(place, count, answer_max, cache_kib).await?, answer_max })
    }

    /// What a read is run on. Only [`Self::answer`] waits for it.
    pub(in crate::store) const fn pool(&self) -> &Pool<Db> {
        &self.pool
    }

    /// Waits for a read, which names its operation in whatever goes wrong. One that is given up keeps its connection
    /// until the disk answers, so what hangs is never more than there are connections.
    pub(in crate::store) async fn answer<T>(
        &self,
        operation: &'static str,
        read: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        match timeout(self.answer_max, read).await {
            Ok(done) => done.map_err(failed(operation)),
            Err(late) => Err(StoreError::Unavailable { operation, source: Box::new(late) }),
        }
    }

    pub(in crate::store) async fn close(&self) {
        self.pool.close().await;
    }
}
