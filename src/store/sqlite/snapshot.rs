//! The whole database as of one moment, row by row, for `hallpassd fsck`: also while a daemon has it, and without making,
//! changing or locking anything. While it is read, the `-wal` file can only grow.
//!
//! What a row says is handed out as it stands, also where it isn't what hallpass writes: whoever looks for faults wants to
//! see them.

use std::path::{Path, PathBuf};

use sqlx::{ConnectOptions, FromRow, QueryBuilder, sqlite::SqliteConnection};

use super::{
    connect,
    inspect::beside,
    sql::{checkpoints::CheckpointRow, events, freezes, migrations, read::requests_query},
};
use crate::{
    access::{event::Recorded, freeze::Freeze, grant::Grant, id::RequestId, request::Request},
    store::{
        Checkpoint, Migrate, OpenError, StoreError,
        grant_row::{self, GrantRow},
        request_row::RequestRow,
        rows::failed,
    },
};

/// How many faults of the file itself are told.
const FAULTS_MAX: u32 = 20;

/// See the module.
#[derive(Debug)]
pub struct Snapshot {
    connection: SqliteConnection,
    wal: PathBuf,
    /// Nobody had it open when it was opened.
    at_rest: bool,
}

/// A row of the log, as it stands.
#[derive(Debug, FromRow)]
pub struct LogRow {
    /// Its place.
    pub sequence: i64,
    /// The leaf.
    pub leaf: String,
    /// The hashes of the subtrees that end with it.
    pub hashes: Vec<u8>,
    /// The texts beside it.
    pub texts: Option<String>,
}

impl Snapshot {
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
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.at_rest && self.wal.exists()
    }

    /// What SQLite finds wrong with the file: pages, indexes, constraints.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub async fn file_faults(&mut self) -> Result<Vec<String>, StoreError> {
        let check = sqlx::AssertSqlSafe(format!("PRAGMA integrity_check({FAULTS_MAX})"));
        let said: Vec<String> = sqlx::query_scalar(check)
            .fetch_all(&mut self.connection)
            .await
            .map_err(failed("check the database"))?;
        Ok(said.into_iter().filter(|fault| fault != "ok").collect())
    }

    /// The log's rows after a place, in order.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub async fn log(&mut self, after: i64, limit: u32) -> Result<Vec<LogRow>, StoreError> {
        let select = "SELECT sequence, leaf, hashes, texts FROM audit_events WHERE sequence > ? ORDER BY sequence LIMIT ?";
        let query = sqlx::query_as(select).bind(after).bind(limit);
        query.fetch_all(&mut self.connection).await.map_err(failed("read the log"))
    }

    /// The first checkpoint of more than so many events.
    ///
    /// # Errors
    ///
    /// If the database fails, or it can't be read.
    pub async fn checkpoint_after(&mut self, size: u64) -> Result<Option<Checkpoint>, StoreError> {
        let select =
            "SELECT size, root, note, signed_at FROM checkpoints WHERE size > ? ORDER BY size LIMIT 1";
        let query = sqlx::query_as(select).bind(i64::try_from(size).unwrap_or(i64::MAX));
        let row: Option<CheckpointRow> =
            query.fetch_optional(&mut self.connection).await.map_err(failed("read a checkpoint"))?;
        row.map(CheckpointRow::checkpoint).transpose()
    }

    /// The requests' ids after one, in order.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub async fn requests(&mut self, after: &str, limit: u32) -> Result<Vec<String>, StoreError> {
        let query = sqlx::query_scalar("SELECT id FROM requests WHERE id > ? ORDER BY id LIMIT ?");
        let query = query.bind(after).bind(limit);
        query.fetch_all(&mut self.connection).await.map_err(failed("list requests"))
    }

    /// One request, as its row and its decisions' rows say it.
    ///
    /// # Errors
    ///
    /// If the database fails, or the rows are none that hallpass writes.
    pub async fn request(&mut self, id: RequestId) -> Result<Request, StoreError> {
        let operation = "read a request";
        let mut query = requests_query();
        query.push(" WHERE r.id = ").push_bind(id.to_string());
        let row: RequestRow =
            query.build_query_as().fetch_one(&mut self.connection).await.map_err(failed(operation))?;
        row.read(operation)
    }

    /// The grants of a request, in the order of their ids.
    ///
    /// # Errors
    ///
    /// If the database fails, or a row is none that hallpass writes.
    pub async fn grants(&mut self, request: RequestId) -> Result<Vec<Grant>, StoreError> {
        let operation = "read the grants of a request";
        let mut query = QueryBuilder::new(grant_row::SELECT);
        query.push(" WHERE g.request_id = ").push_bind(request.to_string()).push(" ORDER BY g.id");
        let rows: Vec<GrantRow> =
            query.build_query_as().fetch_all(&mut self.connection).await.map_err(failed(operation))?;
        rows.into_iter().map(|row| row.read(operation)).collect()
    }

    /// The events of a request and its grants, in order.
    ///
    /// # Errors
    ///
    /// If the database fails, or one can't be read.
    pub async fn timeline(&mut self, request: RequestId) -> Result<Vec<Recorded>, StoreError> {
        events::timeline_of(&mut self.connection, request).await
    }

    /// Which requests events speak of that aren't there, and which grants are of no request: a few.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub async fn strays(&mut self) -> Result<Vec<String>, StoreError> {
        let select = "\
            SELECT DISTINCT 'request ' || request_id FROM audit_events e \
             WHERE request_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM requests WHERE id = e.request_id) \
            UNION ALL SELECT 'grant ' || id FROM grants g \
             WHERE NOT EXISTS (SELECT 1 FROM requests WHERE id = g.request_id) LIMIT 100";
        sqlx::query_scalar(select)
            .fetch_all(&mut self.connection)
            .await
            .map_err(failed("look for what is missing"))
    }

    /// The requests that are listed by other groups than their rows have: a few.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub async fn listed_wrongly(&mut self) -> Result<Vec<String>, StoreError> {
        let select = "\
            WITH listed AS (SELECT request_id AS id, name FROM request_groups), \
                 asked AS (SELECT r.id, j.value AS name FROM requests r, json_each(r.groups) j), \
                 more AS (SELECT * FROM listed EXCEPT SELECT * FROM asked), \
                 less AS (SELECT * FROM asked EXCEPT SELECT * FROM listed) \
            SELECT id FROM more UNION SELECT id FROM less LIMIT 100";
        sqlx::query_scalar(select)
            .fetch_all(&mut self.connection)
            .await
            .map_err(failed("compare the groups of requests"))
    }

    /// All freezes, also those that are over, in the order of their ids.
    ///
    /// # Errors
    ///
    /// If the database fails, or a row is none that hallpass writes.
    pub async fn freezes(&mut self) -> Result<Vec<Freeze>, StoreError> {
        let select = "\
            SELECT id, extent, by_subject, by_name, reason, frozen_at, ends_grants, thawed_at, revision \
              FROM freezes ORDER BY id";
        let rows: Vec<freezes::Row> = sqlx::query_as(select)
            .fetch_all(&mut self.connection)
            .await
            .map_err(failed("read the freezes"))?;
        rows.into_iter().map(freezes::Row::freeze).collect()
    }
}
