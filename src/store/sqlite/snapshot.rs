//! One moment of the file: nothing is made, changed or locked. While it is read, the `-wal` file can only grow.

use std::path::{Path, PathBuf};

use sqlx::{ConnectOptions, sqlite::SqliteConnection};

use super::{connect, inspect::beside, sql::migrations};
use crate::store::{Migrate, OpenError};

/// How many faults of the file itself are told.
const FAULTS_MAX: u32 = 20;

/// See the module.
#[derive(Debug)]
pub struct Moment {
    pub(in crate::store) connection: SqliteConnection,
    wal: PathBuf,
    /// Nobody had it open when it was opened.
    at_rest: bool,
}

impl Moment {
    /// Opens a database.
    ///
    /// # Errors
    ///
    /// If it isn't there, isn't of this version's schema, or can't be read without changing something.
    pub async fn open(file: &Path) -> Result<Self, OpenError> {
        if !file.exists() {
            return Err(OpenError::Missing { file: file.to_owned() });
        }
        connect::check_version().await?;
        let (wal, shm) = (beside(file, "-wal"), beside(file, "-shm"));
        let at_rest = !wal.exists();
        if !at_rest && !shm.exists() {
            return Err(OpenError::Unsettled { wal });
        }
        let failed = OpenError::database("open the database");
        let mut connection = connect::looking(file).immutable(at_rest).connect().await.map_err(&failed)?;
        migrations::run(&mut connection, Migrate::No).await?;
        // The moment is that of the first read in it.
        sqlx::raw_sql("BEGIN").execute(&mut connection).await.map_err(&failed)?;
        let first = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM settings").fetch_one(&mut connection);
        first.await.map_err(failed)?;
        Ok(Self { connection, wal, at_rest })
    }

    /// Whether somebody began to write while it was read as if nobody could.
    pub(in crate::store) fn is_over(&self) -> bool {
        self.at_rest && self.wal.exists()
    }
}

/// What the index of the events of requests doesn't have that it should, or has that it should not.
const MISINDEXED: &str = "\
    WITH indexed AS (SELECT max(sequence) / 16 * 16 AS last FROM audit_events), \
         events AS (SELECT sequence, request_id FROM audit_events, indexed WHERE sequence <= last) \
    SELECT 'event ' || sequence || ' is missing in audit_events_by_request' FROM events e \
     WHERE request_id IS NOT NULL \
       AND NOT EXISTS (SELECT 1 FROM audit_events_by_request WHERE request_id = e.request_id AND sequence = e.sequence) \
    UNION ALL \
    SELECT 'event ' || sequence || ' has no such place in audit_events_by_request' FROM audit_events_by_request i \
     WHERE (SELECT request_id FROM events WHERE sequence = i.sequence) IS NOT i.request_id \
    LIMIT $1";

/// What SQLite finds wrong with the file: pages, indexes, constraints; and an index that triggers keep.
pub(in crate::store) async fn file_faults(
    connection: &mut SqliteConnection,
) -> Result<Vec<String>, sqlx::Error> {
    let check = sqlx::AssertSqlSafe(format!("PRAGMA integrity_check({FAULTS_MAX})"));
    let mut faults: Vec<String> = sqlx::query_scalar(check).fetch_all(&mut *connection).await?;
    faults.retain(|fault| fault != "ok");
    let misindexed = sqlx::query_scalar(MISINDEXED).bind(FAULTS_MAX).fetch_all(connection).await?;
    faults.extend::<Vec<String>>(misindexed);
    Ok(faults)
}
