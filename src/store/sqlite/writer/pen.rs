//! What it takes to write: the connection, and the right edge of the log's tree as that connection has left it.
//!
//! Both are given up together after a transaction that failed, so that the edge never is another than the stored one.

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::super::{OpenError, connect, events};
use crate::ledger::tree::Frontier;

/// The one connection that writes.
#[derive(Debug)]
pub(in crate::store::sqlite) struct Pen {
    pub(super) connection: SqliteConnection,
    pub(super) frontier: Frontier,
}

impl Pen {
    /// Reads where the log ends.
    pub(in crate::store::sqlite) async fn of(mut connection: SqliteConnection) -> Result<Self, OpenError> {
        let frontier = events::frontier(&mut connection).await.map_err(OpenError::Unreadable)?;
        Ok(Self { connection, frontier })
    }

    /// Opens another one.
    pub(super) async fn open(options: &SqliteConnectOptions) -> Result<Self, OpenError> {
        Self::of(connect::writer(options).await?).await
    }
}
