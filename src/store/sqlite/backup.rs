//! A copy of the database in one file, while a daemon has it or not: consistent, checked, and there as a whole or not at
//! all.
//!
//! ```text
//! FILE.partial, made anew, 0600 --VACUUM INTO--> whole, synced --checked--> linked as FILE, which isn't there yet
//!       '--- whatever goes wrong: removed ------------------------'
//! ```
//!
//! `VACUUM INTO` is one read of one moment, which neither waits for the daemon's commits nor makes them wait, and it leaves
//! behind what was deleted. SQLite's backup functions do as well, but begin anew whenever somebody writes, and can't be
//! called from Rust without unsafe code.

use std::{
    ffi::OsString,
    fmt,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use sqlx::{ConnectOptions as _, Connection as _, FromRow, SqliteConnection};

use super::{adopt, connect, files, sql::migrations};
use crate::{
    ledger::tree::{Frontier, Hash},
    store::{Migrate, OpenError},
};

/// Only the owner reads and writes.
const MODE: u32 = 0o600;

/// How many leaves are read at a time.
const PAGE: i64 = 1000;

/// How many faults are told. Any is one too many.
const FAULTS_MAX: u32 = 5;

/// `SQLITE_FULL`.
const FULL: &str = "13";

/// What the copy is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Its size in bytes.
    pub bytes: u64,
    /// The log in it.
    pub log: Log,
}

/// What was found out about a copy's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Log {
    /// It is the tree that it says it is.
    Whole {
        /// How many events it has.
        events: u64,
        /// How many of them the last checkpoint is about, if there is one.
        checkpoint: Option<u64>,
    },
    /// The database is one of an earlier version, which has to be brought up to date first.
    Earlier {
        /// How many migrations it lacks.
        pending: usize,
    },
}

/// For people.
impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole { events, checkpoint: None } => write!(f, "{events} events, no checkpoint"),
            Self::Whole { events, checkpoint: Some(size) } => {
                write!(
                    f,
                    "{events} events, the last checkpoint is of {size}, {} are beyond it",
                    events - size
                )
            }
            Self::Earlier { pending } => {
                write!(
                    f,
                    "of an earlier version: {pending} migrations are pending, and its log wasn't checked"
                )
            }
        }
    }
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The caller is somebody else.
    #[error("{} belongs to user {owner}; run this as that user, or as root", .database.display())]
    NotOwner {
        /// The database.
        database: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// There is something already.
    #[error("{} is there already, and nothing is written over; name another file", .file.display())]
    Exists {
        /// The file.
        file: PathBuf,
    },
    /// Another backup is under way, or was broken off.
    #[error("{} is there: another backup is at work, or one was broken off; if none is, remove it", .file.display())]
    Partial {
        /// The file that is written to.
        file: PathBuf,
    },
    /// The path isn't one that SQLite takes.
    #[error("{} isn't UTF-8, which SQLite needs; name another file", .file.display())]
    Unnameable {
        /// The path.
        file: PathBuf,
    },
    /// A file or its directory can't be used.
    #[error("{operation} {}; check that its directory is there, and that you may write to it", .file.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no room.
    #[error("there is no room for {}; nothing of it was kept; make room, or name a file elsewhere", .file.display())]
    Full {
        /// The file.
        file: PathBuf,
    },
    /// The database can't be read.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The copy has faults, so the database has them.
    #[error(
        "the copy isn't sound, so neither is the database ({problem}); nothing was kept; \
         docs/store.md says how to restore an earlier one"
    )]
    Unsound {
        /// What is wrong.
        problem: String,
    },
}

/// Copies the database. `checking` is called when the copy is made and is about to be checked.
///
/// # Errors
///
/// If anything goes wrong. Then there is no copy, not even a part of one.
pub async fn copy(database: &Path, to: &Path, checking: impl FnOnce()) -> Result<Copy, BackupError> {
    check_owner(database, rustix::process::geteuid().as_raw())?;
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists { file: to.to_owned() });
    }
    connect::check_version().await?;
    let partial = Partial::create(to)?;
    fill(database, &partial.path).await?;
    partial.file.sync_all().map_err(failed("cannot write", to))?;
    checking();
    let log = check(&partial.path).await?;
    let bytes = partial.file.metadata().map_err(failed("cannot read", to))?.len();
    partial.keep_as(to)?;
    Ok(Copy { bytes, log })
}

fn failed(operation: &'static str, file: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let file = file.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            BackupError::Full { file }
        }
        _ => BackupError::File { operation, file, source },
    }
}

/// Whoever else it was, SQLite would make files beside the database that the daemon can't use; for root it sees to that.
fn check_owner(database: &Path, caller: u32) -> Result<(), BackupError> {
    let owner = match fs::metadata(database) {
        Ok(found) => found.uid(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(OpenError::Missing { file: database.to_owned() }.into());
        }
        Err(source) => return Err(OpenError::File { file: database.to_owned(), source }.into()),
    };
    let may = caller == 0 || caller == owner;
    if may { Ok(()) } else { Err(BackupError::NotOwner { database: database.to_owned(), owner }) }
}

/// A file that is removed unless it is kept.
#[derive(Debug)]
struct Partial {
    path: PathBuf,
    file: File,
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Also when it was kept, under its other name.
        let _ = fs::remove_file(&self.path);
    }
}

impl Partial {
    fn create(to: &Path) -> Result<Self, BackupError> {
        let mut name = OsString::from(to);
        name.push(".partial");
        let path = PathBuf::from(name);
        let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(MODE).open(&path);
        match opened {
            Ok(file) => Ok(Self { path, file }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(BackupError::Partial { file: path })
            }
            Err(error) => Err(failed("cannot create", to)(error)),
        }
    }

    /// Gives it its name, unless another file has it by now, and has both reach the disk.
    fn keep_as(self, to: &Path) -> Result<(), BackupError> {
        match fs::hard_link(&self.path, to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(BackupError::Exists { file: to.to_owned() });
            }
            done => done.map_err(failed("cannot name", to))?,
        }
        drop(self);
        let directory = File::open(files::directory(to)).and_then(|directory| directory.sync_all());
        directory.map_err(failed("cannot sync the directory of", to))
    }
}

/// Has SQLite write the copy. The connection could write the database, and doesn't: one that only reads would leave files
/// beside a database at rest.
async fn fill(database: &Path, partial: &Path) -> Result<(), BackupError> {
    let Some(to) = partial.to_str() else {
        return Err(BackupError::Unnameable { file: partial.to_owned() });
    };
    let mut connection = connect::writer(&connect::writing(database)).await?;
    let done = sqlx::query("VACUUM INTO ?").bind(to).execute(&mut connection).await;
    done.map_err(|error| match &error {
        sqlx::Error::Database(said) if said.code().is_some_and(|code| code == FULL) => {
            BackupError::Full { file: partial.with_extension("") }
        }
        _ => OpenError::database("copy the database")(error).into(),
    })?;
    connection.close().await.map_err(|error| OpenError::database("close the database")(error).into())
}

/// Looks at the copy as it is on the disk: every page, and every leaf of the log.
async fn check(copy: &Path) -> Result<Log, BackupError> {
    let failed = OpenError::database("check the copy");
    let options = connect::looking(copy).immutable(true);
    let mut connection = options.connect().await.map_err(&failed)?;
    let check = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("PRAGMA integrity_check({FAULTS_MAX})")));
    let said: Vec<String> = check.fetch_all(&mut connection).await.map_err(&failed)?;
    let faults: Vec<String> = said.into_iter().filter(|fault| fault != "ok").collect();
    if !faults.is_empty() {
        return Err(unsound(faults.join("; ")));
    }
    let log = match is_current(&mut connection).await {
        Ok(()) => check_log(&mut connection).await?,
        Err(OpenError::Pending { count }) => Log::Earlier { pending: count },
        Err(other) => return Err(other.into()),
    };
    connection.close().await.map_err(failed)?;
    Ok(log)
}

/// Whether the schema is this version's, and all events are leaves.
async fn is_current(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    migrations::run(connection, Migrate::No).await?;
    adopt::run(connection, Migrate::No).await
}

fn unsound(problem: impl Into<String>) -> BackupError {
    BackupError::Unsound { problem: problem.into() }
}

#[derive(FromRow)]
struct LeafRow {
    sequence: i64,
    leaf: String,
    hashes: Vec<u8>,
}

/// Computes the tree anew from its leaves, and compares it with what is stored of it and what was signed of it last.
async fn check_log(connection: &mut SqliteConnection) -> Result<Log, BackupError> {
    let failed = OpenError::database("read the copy's log");
    let select = "SELECT size, root FROM checkpoints ORDER BY size DESC LIMIT 1";
    let signed: Option<(i64, Vec<u8>)> =
        sqlx::query_as(select).fetch_optional(&mut *connection).await.map_err(&failed)?;
    let signed = signed.map(|(size, root)| (size.unsigned_abs(), root));
    let mut frontier = Frontier::default();
    let select =
        "SELECT sequence, leaf, hashes FROM audit_events WHERE sequence > ? ORDER BY sequence LIMIT ?";
    loop {
        let last = i64::try_from(frontier.size()).unwrap_or(i64::MAX);
        let page = sqlx::query_as(select).bind(last).bind(PAGE).fetch_all(&mut *connection).await;
        let page: Vec<LeafRow> = page.map_err(&failed)?;
        if page.is_empty() {
            break;
        }
        for row in page {
            push(&mut frontier, &row)?;
            if signed
                .as_ref()
                .is_some_and(|(size, root)| *size == frontier.size() && *root != frontier.root().0)
            {
                return Err(unsound(format!(
                    "the checkpoint of {} events is of other events",
                    frontier.size()
                )));
            }
        }
    }
    let checkpoint = signed.map(|(size, _)| size);
    if checkpoint.is_some_and(|size| size > frontier.size()) {
        return Err(unsound("the last checkpoint is of more events than there are"));
    }
    Ok(Log::Whole { events: frontier.size(), checkpoint })
}

fn push(frontier: &mut Frontier, row: &LeafRow) -> Result<(), BackupError> {
    let expected = frontier.size() + 1;
    if row.sequence.unsigned_abs() != expected {
        return Err(unsound(format!("audit event {expected} is missing")));
    }
    let mut hashes = Vec::with_capacity(row.hashes.len());
    frontier.push(Hash::of_leaf(row.leaf.as_bytes()), |hash| hashes.extend(hash.0));
    if hashes == row.hashes {
        Ok(())
    } else {
        Err(unsound(format!("audit event {expected} isn't the one that the log's tree has")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_owner_and_root_copy_a_database() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let owner = file.as_file().metadata().unwrap().uid();
        check_owner(file.path(), owner).unwrap();
        check_owner(file.path(), 0).unwrap();
        let refused = check_owner(file.path(), owner + 1).unwrap_err().to_string();
        assert!(refused.contains(&format!("belongs to user {owner}; run this as that user")), "{refused}");
        let missing = check_owner(Path::new("/nowhere/hallpass.db"), owner).unwrap_err();
        assert!(missing.to_string().contains("there is no database at /nowhere/hallpass.db"), "{missing}");
    }

    #[test]
    fn an_earlier_version_says_so() {
        let said = Log::Earlier { pending: 2 }.to_string();
        assert!(said.contains("2 migrations are pending"), "{said}");
    }
}
