//! The database that a configuration names, whichever it is.

use std::{path::Path, sync::Arc};

use serde_json::Value;

use crate::{
    access::id::DaemonId,
    clock::Clock,
    config::{Database, Shared},
    doctor,
    fsck::{self, FsckError},
    ledger::note::VerifierKey,
    store::{
        Migrate, OpenError, Snapshot, Store,
        postgres::{
            self, Joining, PostgresStore, Server,
            copy::{self, Counts},
        },
        sqlite::{self, SqliteStore, holder},
    },
    verify::Report,
};

/// Why a store wasn't copied.
#[derive(Debug, thiserror::Error)]
pub enum StoreCopyError {
    /// Nothing was copied.
    #[error(transparent)]
    Copy(#[from] copy::CopyError),
    /// What arrived can't be verified.
    #[error("cannot verify what arrived")]
    Verify(#[from] FsckError),
    /// What arrived is another log.
    #[error("what arrived is another log than was sent; don't use it")]
    OtherLog,
}

/// A store that is open.
#[derive(Clone, Debug)]
pub(super) enum Opened {
    Sqlite(Arc<SqliteStore>),
    Postgres(Arc<PostgresStore>),
}

impl Opened {
    pub(super) async fn open(
        database: &Database,
        migrate: Migrate,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        Ok(match database {
            Database::File(file) => Self::Sqlite(Arc::new(SqliteStore::open(file, migrate, &*clock).await?)),
            Database::Server { shared, .. } => {
                let store = PostgresStore::open(&server(database)?, migrate, &*clock).await?;
                store.join(joining(shared, &*clock), clock).await?;
                Self::Postgres(Arc::new(store))
            }
        })
    }

    pub(super) fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(store) => store.clone(),
            Self::Postgres(store) => store.clone(),
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(store) => store.close().await,
            Self::Postgres(store) => store.close().await,
        }
    }
}

/// Who this is among those that share the database. The id is new each time: whoever is started again isn't who he was.
fn joining(shared: &Shared, clock: &dyn Clock) -> Joining {
    let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    Joining {
        id: DaemonId::new(clock.now(), clock.random()).to_string(),
        name: shared.name.clone().unwrap_or_else(host),
        takeover_after: shared.takeover_after,
        clock_max: shared.clock_max,
    }
}

/// Where a database that is on a server is.
fn server(database: &Database) -> Result<Server, OpenError> {
    match database {
        Database::Server { address, password_file, .. } => {
            Server::new(address.clone(), password_file.as_deref())
        }
        Database::File(file) => Err(OpenError::Missing { file: file.clone() }),
    }
}

/// Brings a database to this version's schema, and answers with the versions that were applied.
pub(super) async fn migrate(database: &Database, clock: &dyn Clock) -> Result<Vec<i64>, OpenError> {
    match database {
        Database::File(file) => SqliteStore::migrate(file, clock).await,
        Database::Server { .. } => PostgresStore::migrate(&server(database)?, clock).await,
    }
}

/// The place of the last event of a kind, with its detail; none if there is no such event. A daemon may have the database.
pub(super) async fn last_fact(database: &Database, kind: &str) -> Result<Option<(i64, Value)>, OpenError> {
    match database {
        Database::File(file) => holder::last_fact(file, kind).await,
        Database::Server { .. } => postgres::last_fact(&server(database)?, kind).await,
    }
}

/// Verifies all of it.
pub(super) async fn fsck(database: &Database, log_keys: Vec<VerifierKey>) -> Result<Report, FsckError> {
    let mut snapshot: Box<dyn Snapshot> = match database {
        Database::File(file) => return fsck_file(file, log_keys).await,
        Database::Server { .. } => Box::new(postgres::snapshot::Moment::open(&server(database)?).await?),
    };
    fsck::check(&mut *snapshot, &database.to_string(), None, log_keys).await
}

/// Verifies a database file.
pub(super) async fn fsck_file(file: &Path, log_keys: Vec<VerifierKey>) -> Result<Report, FsckError> {
    let mut snapshot = sqlite::snapshot::Moment::open(file).await?;
    fsck::check(&mut snapshot, &file.display().to_string(), None, log_keys).await
}

/// Copies a database file to the server that the configuration names, and verifies what arrived. `tell` hears what goes on.
pub(super) async fn copy(
    from: &Path,
    database: &Database,
    tell: impl Fn(&str),
) -> Result<(Counts, Report), StoreCopyError> {
    let counts = copy::copy(from, &server(database).map_err(copy::CopyError::Open)?, &tell).await?;
    tell("verifying what arrived");
    let (there, here) = (fsck(database, Vec::new()).await?, fsck_file(from, Vec::new()).await?);
    if (there.tree, there.counts) == (here.tree, here.counts) {
        Ok((counts, there))
    } else {
        Err(StoreCopyError::OtherLog)
    }
}

/// Looks at it for `hallpassd doctor`.
pub(super) async fn inspect(database: &Database, clock: &dyn Clock) -> doctor::Database {
    match database {
        Database::File(file) => {
            doctor::Database::File(file.clone(), sqlite::inspect::inspect(file, clock).await)
        }
        Database::Server { address, .. } => {
            let seen = match server(database) {
                Ok(server) => postgres::inspect::inspect(&server, clock).await,
                Err(error) => Err(error),
            };
            doctor::Database::Server(address.clone(), Box::new(seen))
        }
    }
}
