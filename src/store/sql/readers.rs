//! The connections that read, in three sets: people's, the one for reports, and the daemon's own. However much people
//! list, what has to end is read without waiting for them, and however long a report takes, lists don't wait for it. No
//! set lends another a connection, and no read is waited for without an end.

use std::time::Duration;

use sqlx::Pool;
use tokio::time::timeout;

use super::{
    Db,
    dialect::{self, Place},
    rows::failed,
};
use crate::store::{
    OpenError, StoreError,
    reads::{FOR_DAEMON, FOR_PEOPLE, FOR_REPORTS, Kind},
};

/// Connections of one kind of reader.
#[derive(Debug)]
pub(in crate::store) struct Readers {
    pool: Pool<Db>,
    pub(in crate::store) answer_max: Duration,
}

impl Readers {
    /// Opens those that people's reads share.
    pub(in crate::store) async fn for_people(place: &Place) -> Result<Self, OpenError> {
        Self::open(place, FOR_PEOPLE).await
    }

    /// Opens the one that reports take turns at.
    pub(in crate::store) async fn for_reports(place: &Place) -> Result<Self, OpenError> {
        Self::open(place, FOR_REPORTS).await
    }

    /// Opens the daemon's own.
    pub(in crate::store) async fn for_daemon(place: &Place) -> Result<Self, OpenError> {
        Self::open(place, FOR_DAEMON).await
    }

    async fn open(place: &Place, kind: Kind) -> Result<Self, OpenError> {
        Ok(Self { pool: dialect::readers(place, kind).await?, answer_max: kind.answer_max })
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
