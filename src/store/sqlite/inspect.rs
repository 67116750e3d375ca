//! Looking at the database for `hallpassd doctor`, also while a daemon has it: nothing is made, changed or locked.
//!
//! SQLite makes the `-wal` and `-shm` files even for a reader, so a database at rest, which has neither, is read as if
//! nobody could write it, and once more the usual way if somebody began to meanwhile.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnection};

use super::{connect, files, sql::migrations};
use crate::{
    clock::Clock,
    store::{Migrate, OpenError},
};

/// How long the pages are looked at: a database that is larger than what a disk reads in this time is looked at by hand.
const CHECK_MAX: Duration = Duration::from_mins(1);

/// How many faults are told. Any is one too many.
const FAULTS_MAX: u32 = 5;

/// `SQLITE_CORRUPT`.
const CORRUPT: &str = "11";

/// What was found.
#[derive(Debug)]
pub struct Inspection {
    /// The database's directory.
    pub directory: PathBuf,
    /// What its file system has; or why that can't be known.
    pub space: io::Result<Space>,
    /// Its permission bits, if it is there.
    pub directory_mode: Option<u32>,
    /// The permission bits of each of the database's files that is there.
    pub file_modes: Vec<(u32, PathBuf)>,
    /// The database's own faults; or why it can't be used. An old schema is among the reasons.
    pub faults: Result<Faults, OpenError>,
}

/// A file system's room, as far as it isn't kept for root.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// Free bytes.
    pub bytes: u64,
    /// Free places for files; none if the file system doesn't count them.
    pub files: Option<u64>,
}

/// What the database's own check said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Faults {
    /// The schema is this version's, and each page is as it should be, except for these.
    Found(Vec<String>),
    /// The schema is this version's; the check took too long.
    TooLong,
    /// The `-wal` file is there without its `-shm`: to read it would mean to make that.
    Unsettled,
}

/// Looks at a database and where it is.
pub async fn inspect(file: &Path, clock: &dyn Clock) -> Inspection {
    let directory = files::directory(file);
    let of_the_database = ["", "-wal", "-shm", ".lock"].map(|ending| beside(file, ending));
    Inspection {
        space: space(&directory),
        directory_mode: mode(&directory),
        file_modes: of_the_database.into_iter().filter_map(|path| Some((mode(&path)?, path))).collect(),
        faults: faults(file, clock).await,
        directory,
    }
}

async fn faults(file: &Path, clock: &dyn Clock) -> Result<Faults, OpenError> {
    let (wal, shm) = (beside(file, "-wal"), beside(file, "-shm"));
    if !file.exists() {
        return Err(OpenError::Missing { file: file.to_owned() });
    }
    connect::check_version().await?;
    if !wal.exists() {
        let at_rest = check(file, true, clock).await;
        if !wal.exists() {
            return at_rest;
        }
    }
    if shm.exists() { check(file, false, clock).await } else { Ok(Faults::Unsettled) }
}

async fn check(file: &Path, at_rest: bool, clock: &dyn Clock) -> Result<Faults, OpenError> {
    let options = connect::looking(file).immutable(at_rest);
    let mut connection = options.connect().await.map_err(OpenError::database("open the database"))?;
    migrations::run(&mut connection, Migrate::No).await?;
    tokio::select! {
        faults = pages(&mut connection) => {
            let faults = faults?;
            connection.close().await.map_err(OpenError::database("close the database"))?;
            Ok(faults)
        }
        () = clock.sleep(CHECK_MAX) => Ok(Faults::TooLong),
    }
}

async fn pages(connection: &mut SqliteConnection) -> Result<Faults, OpenError> {
    let check = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("PRAGMA quick_check({FAULTS_MAX})")));
    let said: Vec<String> = match check.fetch_all(connection).await {
        // So damaged that the check itself can't go on.
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(CORRUPT) => {
            vec![error.message().to_owned()]
        }
        other => other.map_err(OpenError::database("check the database"))?,
    };
    Ok(Faults::Found(said.into_iter().filter(|fault| fault != "ok").collect()))
}

/// One of the files that belong to the database.
pub(super) fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(ending);
    PathBuf::from(name)
}

fn mode(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|metadata| metadata.permissions().mode() & 0o7777)
}

fn space(directory: &Path) -> io::Result<Space> {
    let stat = rustix::fs::statvfs(directory)?;
    let files = (stat.f_files > 0).then_some(stat.f_favail);
    Ok(Space { bytes: stat.f_bavail.saturating_mul(stat.f_frsize), files })
}
