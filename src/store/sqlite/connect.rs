//! Connections that keep what they promise: each setting is read back before a connection is used, because SQLite
//! passes over what it can't do.

use std::{path::Path, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Row,
    sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePool, SqlitePoolOptions},
};

use crate::store::{OpenError, reads::Kind};

/// The first version in which a checkpoint at the wrong moment can't corrupt the WAL
/// (<https://www.sqlite.org/wal.html#walresetbug>).
const SQLITE_MIN: [u32; 3] = [3, 51, 3];

/// How long a connection waits for another one's lock. Only a tool that an operator runs can hold one this long.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// A pragma that a connection must have.
struct Setting {
    name: &'static str,
    value: &'static str,
    /// The statement that reads it.
    read: &'static str,
    /// What is read then.
    expected: &'static str,
}

macro_rules! setting {
    ($name:literal, $value:literal, $expected:literal) => {
        Setting { name: $name, value: $value, read: concat!("PRAGMA ", $name), expected: $expected }
    };
}

/// What every connection has.
const COMMON: &[Setting] = &[
    // A commit is on the disk before it is answered.
    setting!("synchronous", "FULL", "2"),
    setting!("foreign_keys", "ON", "1"),
    // Without it, REPLACE deletes rows and no trigger sees it.
    setting!("recursive_triggers", "ON", "1"),
    // A file that somebody prepared can't make SQLite call what he likes.
    setting!("trusted_schema", "OFF", "0"),
    // A damaged page is noticed when it is read.
    setting!("cell_size_check", "ON", "1"),
    // The handles of a grant that is over don't linger in free pages.
    setting!("secure_delete", "ON", "1"),
];

/// Readers don't block the writer, nor the writer readers. The writer sets it, and it stays with the file.
const WAL: Setting = setting!("journal_mode", "WAL", "wal");

/// What only readers have.
const QUERY_ONLY: Setting = setting!("query_only", "ON", "1");

/// What the connection that makes commits has, once its migrations are done (those may go through whole tables, which memory has
/// no room for). What a statement changed, and must undo should it fail, is kept in memory. Else it goes to a file of its own as
/// soon as it is more than 64 KiB, which is as much to write as the commit itself, and leaves a grant's handles elsewhere on the
/// disk (<https://www.sqlite.org/tempfiles.html>, "Statement Journal Files").
const UNDO_IN_MEMORY: Setting = setting!("temp_store", "MEMORY", "2");

/// Refuses a SQLite that could corrupt a database, before it has touched one.
pub(super) async fn check_version() -> Result<(), OpenError> {
    let failed = OpenError::database("ask for SQLite's version");
    let mut memory = SqliteConnectOptions::new().in_memory(true).connect().await.map_err(&failed)?;
    let version = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut memory).await;
    let found: String = version.map_err(&failed)?;
    if is_safe(&found) { Ok(()) } else { Err(OpenError::SqliteTooOld { found }) }
}

/// Whether a version is known to be safe; a text that is no version isn't.
fn is_safe(version: &str) -> bool {
    let numbers: Option<Vec<u32>> = version.split('.').map(|number| number.parse().ok()).collect();
    numbers.is_some_and(|numbers| numbers.len() == 3 && numbers.as_slice() >= SQLITE_MIN.as_slice())
}

/// What the connection that writes is opened with.
pub(super) fn writing(file: &Path) -> SqliteConnectOptions {
    let options = options(file);
    options.pragma(WAL.name, WAL.value)
}

/// Opens the connection that writes.
pub(super) async fn writer(options: &SqliteConnectOptions) -> Result<SqliteConnection, OpenError> {
    let mut connection = options.connect().await.map_err(OpenError::database("open the database"))?;
    check(&mut connection, &[WAL]).await?;
    Ok(connection)
}

/// Gives the connection that writes what it makes commits with.
pub(in crate::store) async fn prepare(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let Setting { name, value, .. } = UNDO_IN_MEMORY;
    let set =
        sqlx::raw_sql(AssertSqlSafe(format!("PRAGMA {name} = {value}"))).execute(&mut *connection).await;
    set.map_err(OpenError::database("change a setting"))?;
    check(connection, &[UNDO_IN_MEMORY]).await
}

/// Opens connections that read, all of them now: a disk that hangs later is not made to open more. Who waits for one for
/// longer than a read may take gets none.
pub(in crate::store) async fn readers(file: &Path, kind: Kind) -> Result<SqlitePool, OpenError> {
    let Kind { count, answer_max, cache_kib, .. } = kind;
    // A negative number is one of KiB (<https://www.sqlite.org/pragma.html#pragma_cache_size>).
    let options = looking(file).pragma("cache_size", format!("-{cache_kib}"));
    let failed = OpenError::database("open the database for reading");
    // Once by hand, because the pool would try again and again and not say what is wrong.
    let mut first = options.connect().await.map_err(&failed)?;
    check(&mut first, &[WAL, QUERY_ONLY]).await?;
    first.close().await.map_err(&failed)?;
    SqlitePoolOptions::new()
        .min_connections(count)
        .max_connections(count)
        .acquire_timeout(answer_max)
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(|connection, _| {
            Box::pin(async move {
                let checked = check(connection, &[WAL, QUERY_ONLY]).await;
                checked.map_err(|error| sqlx::Error::Configuration(Box::new(error)))
            })
        })
        .connect_with(options)
        .await
        .map_err(failed)
}

/// What a connection is opened with that only looks. Its settings aren't read back: whatever they are, they only make
/// it refuse to write.
pub(super) fn looking(file: &Path) -> SqliteConnectOptions {
    options(file).read_only(true).pragma(QUERY_ONLY.name, QUERY_ONLY.value)
}

fn options(file: &Path) -> SqliteConnectOptions {
    // Statements aren't logged: nobody should have to wonder what a log line may hold.
    let options =
        SqliteConnectOptions::new().filename(file).busy_timeout(BUSY_MAX).disable_statement_logging();
    COMMON.iter().fold(options, |options, setting| options.pragma(setting.name, setting.value))
}

/// Reads the settings back.
async fn check(connection: &mut SqliteConnection, more: &[Setting]) -> Result<(), OpenError> {
    for setting in COMMON.iter().chain(more) {
        let failed = OpenError::database("read a setting back");
        let row = sqlx::query(setting.read).fetch_one(&mut *connection).await.map_err(&failed)?;
        // Unchecked, because some answer with a number and some with a text; SQLite turns either into a text.
        let found: String = row.try_get_unchecked(0).map_err(&failed)?;
        if found != setting.expected {
            return Err(OpenError::Setting { name: setting.name, expected: setting.value, found });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_corrupt_are_refused() {
        for safe in ["3.51.3", "3.51.10", "3.52.0", "4.0.0"] {
            assert!(is_safe(safe), "{safe}");
        }
        for other in
            ["3.51.2", "3.50.9", "3.9.99", "2.99.99", "3.51", "3.51.3.1", "", "3.51.x", "-3.52.0", "new"]
        {
            assert!(!is_safe(other), "{other:?}");
        }
    }

    #[tokio::test]
    async fn the_built_in_version_is_safe() {
        check_version().await.unwrap();
    }

    #[tokio::test]
    async fn a_setting_that_did_not_take_is_found() {
        let mut memory = SqliteConnectOptions::new().in_memory(true).connect().await.unwrap();
        let refused = check(&mut memory, &[]).await.unwrap_err();
        assert!(matches!(refused, OpenError::Setting { name: "recursive_triggers", .. }), "{refused}");
        let directory = tempfile::tempdir().unwrap();
        let common = options(&directory.path().join("db")).create_if_missing(true);
        let mut without_wal = common.connect().await.unwrap();
        let refused = check(&mut without_wal, &[WAL]).await.unwrap_err();
        assert!(matches!(refused, OpenError::Setting { name: "journal_mode", .. }), "{refused}");
    }
}
