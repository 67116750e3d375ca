//! Why a database can't be used as it is, whichever it is, and what to do about it.

use std::{error::Error, io, path::PathBuf};

use super::StoreError;

/// Whether opening the database may change its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migrate {
    /// Make the database if there is none, and bring its schema up to date.
    Yes,
    /// Refuse a database that isn't there or isn't up to date.
    No,
}

/// Why the database can't be used as it is.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory isn't there.
    #[error("the directory {} can't be used; create it, owned by the user that hallpassd runs as", .directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file can't be made or read.
    #[error("{} can't be opened; check that it belongs to the user that hallpassd runs as", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has the database.
    #[error("another hallpassd uses this database ({} is locked); stop it first", .lock.display())]
    InUse {
        /// The lock file.
        lock: PathBuf,
    },
    /// There is no database.
    #[error("there is no database at {}; create it with `hallpassd migrate`, or correct the path", .file.display())]
    Missing {
        /// Where it should be.
        file: PathBuf,
    },
    /// The database was left in the middle of something, and to read it would mean to change it.
    #[error(
        "{} is there and its -shm file isn't; start hallpassd once, which settles it, and try again", .wal.display()
    )]
    Unsettled {
        /// The `-wal` file.
        wal: PathBuf,
    },
    /// Others than the owner may read or write the file.
    #[error("others may use {} (its mode is {mode:04o}); make it 0600", .file.display())]
    Exposed {
        /// The file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// SQLite could corrupt the database.
    #[error(
        "SQLite {found} can corrupt a WAL; hallpass needs 3.51.3 or later, so build it with the bundled SQLite"
    )]
    SqliteTooOld {
        /// The version of the SQLite that this program was built with.
        found: String,
    },
    /// A connection doesn't have a setting that was asked for.
    #[error(
        "SQLite keeps {name} = {found} where {expected} was set; put the database on a local file system that \
         supports shared memory and locks, writable for the user that hallpassd runs as"
    )]
    Setting {
        /// The pragma.
        name: &'static str,
        /// What was set.
        expected: &'static str,
        /// What was read.
        found: String,
    },
    /// The file with the server's password can't be read.
    #[error("the password of the database can't be read from {}; it must be there, and this user's to read", .file.display())]
    Password {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// PostgreSQL is of before the first version that is supported.
    #[error("the server is PostgreSQL {found}; hallpass needs 14 or later")]
    PostgresTooOld {
        /// The server's version.
        found: String,
    },
    /// A session with the server doesn't have a setting that was asked for.
    #[error(
        "the server keeps {name} = {found} where {expected} was asked for; connect to it directly, without a pooler that \
         drops what a session is started with, and use a database whose encoding is UTF8"
    )]
    Session {
        /// The setting.
        name: &'static str,
        /// What was asked for.
        expected: &'static str,
        /// What was read.
        found: String,
    },
    /// The database is another program's.
    #[error("there is a database, but not hallpass's; correct the path or the URL")]
    Foreign,
    /// A later version of hallpass wrote the schema.
    #[error(
        "the schema has migration {version}, which this hallpassd doesn't know; run the version that made it"
    )]
    Newer {
        /// The unknown migration.
        version: i64,
    },
    /// A migration isn't the one that was applied.
    #[error("migration {version} isn't the one that was applied; run a released version of hallpassd")]
    Altered {
        /// The migration.
        version: i64,
    },
    /// The schema is old.
    #[error("the schema lacks {count} migration(s); back the database up, then run `hallpassd migrate`")]
    Pending {
        /// How many.
        count: usize,
    },
    /// What is stored can't be read.
    #[error(transparent)]
    Unreadable(StoreError),
    /// The database failed.
    #[error(
        "{operation}: the database failed; check its file and disk, or its server and the way there, and the permissions"
    )]
    Database {
        /// What was tried.
        operation: &'static str,
        /// What the database said.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl OpenError {
    /// Names the operation in what the database answered.
    pub(in crate::store) fn database(operation: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| Self::Database { operation, source: Box::new(source) }
    }
}
