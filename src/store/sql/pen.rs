//! What it takes to write: the connection, and the right edge of the log's tree as that connection has left it.
//!
//! Both are given up together after a transaction that failed, so that the edge never is another than the stored one.

use super::{DbConnection, dialect, events};
use crate::{ledger::tree::Frontier, store::OpenError};

/// The connection that writes.
#[derive(Debug)]
pub(in crate::store) struct Pen {
    pub(in crate::store) connection: DbConnection,
    pub(in crate::store) frontier: Frontier,
}

impl Pen {
    /// Gives the connection what it makes commits with, and reads where the log ends.
    pub(in crate::store) async fn of(mut connection: DbConnection) -> Result<Self, OpenError> {
        dialect::prepare(&mut connection).await?;
        let frontier = events::frontier(&mut connection).await.map_err(OpenError::Unreadable)?;
        Ok(Self { connection, frontier })
    }
}
