//! The store in a PostgreSQL database, which several daemons may share: whoever writes has the log's lock, so that the log is
//! one, and everybody else sees a commit as a whole or not at all.
//!
//! PostgreSQL 14 and later. Transactions are READ COMMITTED: what is written is written under the lock, one transaction after
//! the other, and each read is one statement, which sees one moment.

mod connect;
pub mod copy;
#[macro_use]
mod dialect;
mod duties;
pub mod inspect;
mod open;
pub mod snapshot;
#[path = "../sql/mod.rs"]
mod sql;
mod texts;

use std::sync::{Arc, OnceLock};

use serde_json::Value;
use tokio::time::timeout;

use self::sql::{CLOSE_MAX, readers::Readers, writer::Writer};
pub use self::{
    connect::{Address, Server},
    duties::Joining,
};
use super::{Migrate, OpenError};
use crate::clock::Clock;

/// A database on a server.
#[derive(Debug)]
pub struct PostgresStore {
    /// For what people ask.
    people: Readers,
    /// For what goes through the whole history, so that it delays no other read.
    reports: Readers,
    /// For what the daemon does by itself, so that people's reads can't delay it.
    daemon: Readers,
    writer: Writer,
    server: Server,
    /// What the daemons that share the database share out among them, if this is one of them.
    shared: OnceLock<duties::Shared>,
}

impl PostgresStore {
    /// Connects, having checked that the database may be relied on. Chance is for the key that a new database gets.
    ///
    /// # Errors
    ///
    /// If the database can't be used as it is; the error says what to do.
    pub async fn open(server: &Server, migrate: Migrate, clock: &dyn Clock) -> Result<Self, OpenError> {
        open::open(server, migrate, clock).await.map(|(store, _)| store)
    }

    /// Brings the schema up to date, and answers with the migrations that were applied: none, if it was up to date.
    ///
    /// # Errors
    ///
    /// Like [`Self::open`].
    pub async fn migrate(server: &Server, clock: &dyn Clock) -> Result<Vec<i64>, OpenError> {
        let (store, applied) = open::open(server, Migrate::Yes, clock).await?;
        store.close().await;
        Ok(applied)
    }

    /// Joins the daemons that share the database. Once.
    ///
    /// # Errors
    ///
    /// If the database can't be asked.
    pub async fn join(&self, joining: Joining, clock: Arc<dyn Clock>) -> Result<(), OpenError> {
        let shared = duties::Shared::join(&self.server, joining, clock).await?;
        // Who joined already stays who he is.
        drop(self.shared.set(shared));
        Ok(())
    }

    /// Closes the connections. Calls that come later fail. Dropping the store instead loses nothing.
    pub async fn close(&self) {
        self.writer.close().await;
        if let Some(shared) = self.shared.get() {
            shared.leave().await;
        }
        let readers = async { tokio::join!(self.people.close(), self.reports.close(), self.daemon.close()) };
        drop(timeout(CLOSE_MAX, readers).await);
    }
}

/// The place of the last event of a kind, with its detail; none if there is no such event.
///
/// # Errors
///
/// If the database can't be read.
pub async fn last_fact(server: &Server, kind: &str) -> Result<Option<(i64, Value)>, OpenError> {
    let mut connection = server.connect().await?;
    let last = sql::events::last_of(&mut connection, kind).await;
    last.map_err(OpenError::database("read the audit log"))
}
