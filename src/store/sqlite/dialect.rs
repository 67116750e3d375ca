//! SQLite's part of what [`sql`](super::sql) needs.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{
    Connection as _, QueryBuilder, Row as _, Sqlite, Transaction,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteConnection},
};

pub(in crate::store) use super::{
    SqliteStore as This,
    connect::{prepare, readers},
    snapshot::{Moment, file_faults},
    texts::{TextStream, push_text},
};
use super::{
    connect,
    files::{self, Identity},
    sql::{
        pen::Pen,
        stream::{Branch, direction, push_branch},
    },
};
use crate::{
    access::id::RequestId,
    ledger::tree::Frontier,
    store::{
        Duties, Duty, OpenError, RequestFilter, StoreError,
        rows::failed,
        waiting::job::{Failure, Fence},
    },
};

pub(in crate::store) type Db = Sqlite;

/// What readers connect to.
pub(in crate::store) type Place = Path;

pub(in crate::store) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// How many tables there are, and whether one of them tells of migrations.
pub(in crate::store) const TABLES: &str =
    "SELECT count(*), coalesce(sum(name = '_sqlx_migrations'), 0) FROM sqlite_schema WHERE type = 'table'";

/// Whoever has the file has its lock.
#[expect(clippy::unused_async, reason = "a server has to be asked")]
pub(in crate::store) async fn lock_migrations(_: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    Ok(())
}

/// See [`lock_migrations`].
#[expect(clippy::unused_async, reason = "a server has to be asked")]
pub(in crate::store) async fn unlock_migrations(_: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    Ok(())
}

/// Whether a daemon that knows the migrations up to this one may use a schema with later ones: nobody shares a file with a
/// later version.
#[expect(clippy::unused_async, reason = "a server has to be asked")]
pub(in crate::store) async fn is_usable(_: &mut SqliteConnection, _: i64) -> Result<bool, OpenError> {
    Ok(false)
}

/// A request's decisions in one column.
pub(in crate::store) const DECISIONS: &str = "\
    (SELECT json_group_array(json_object('verdict', d.verdict, 'approver_subject', d.approver_subject, \
                'approver_name', d.approver_name, 'statement', d.statement, 'digest', d.digest, \
                'decided_at', d.decided_at, 'groups', json(d.groups), \
                'duration_seconds', d.duration_seconds, 'not_before', d.not_before, \
                'not_after', d.not_after, 'signed_text', d.signed_text, 'signature', d.signature, \
                'signed_with', d.signed_with, 'user_present', d.user_present, \
                'texts_erased_at', d.texts_erased_at) ORDER BY d.position) \
       FROM decisions d WHERE d.request_id = r.id)";

/// However long a transaction takes, another one can do nothing as long as it has the lock.
pub(in crate::store) const TURN_MAX: Option<Duration> = None;

/// A connection to a file isn't lost; what keeps a transaction from beginning keeps the next one from it, too.
pub(in crate::store) const CONNECTIONS_ARE_LOST: bool = false;

/// How long the file is waited for to be moved into the database: not at all, because commits would wait as well. Who reads
/// now is done in a moment.
const SCRUB_BUSY_MAX: Duration = Duration::ZERO;

/// The index that a table is read along, because SQLite would rather look rows up by their state and sort what it found.
macro_rules! indexed_by {
    ($index:literal) => {
        concat!(" INDEXED BY ", $index)
    };
}

/// A join whose sides aren't turned around: the left one's order is what is wanted.
macro_rules! join_in_order {
    () => {
        " CROSS JOIN"
    };
}

/// A column that rows are looked at for, and not looked up by.
macro_rules! looked_at {
    ($column:literal) => {
        concat!("+", $column)
    };
}

/// The greatest of its arguments.
macro_rules! greatest {
    () => {
        "max"
    };
}

/// What the leaf of an event `e` says at a path.
macro_rules! in_leaf {
    ($first:literal $(, $more:literal)*) => {
        concat!("(e.leaf ->> '$.", $first, $(".", $more,)* "')")
    };
}

/// The texts in a column that is a list of them as JSON, as a table whose column is `value`.
macro_rules! each_text {
    ($column:literal) => {
        concat!("json_each(", $column, ")")
    };
}

/// The numbers in a parameter that is a list of them as JSON.
macro_rules! each_number {
    ($parameter:literal) => {
        concat!("SELECT value FROM json_each(", $parameter, ")")
    };
}

/// The rows in a parameter that is a list of objects as JSON, as a table `n` whose column is `value`. `json_each` would write each
/// of them down anew wherever it is named, and an offset keeps SQLite from naming it more than once (restriction 14 of
/// <https://www.sqlite.org/optoverview.html#subquery_flattening>).
macro_rules! each_row {
    ($parameter:literal) => {
        concat!("(SELECT value FROM json_each(", $parameter, ") LIMIT -1 OFFSET 0) AS n")
    };
}

/// The bytes of a text in hex.
macro_rules! from_hex {
    ($text:literal) => {
        concat!("unhex(", $text, ")")
    };
}

/// How many branches one compound SELECT has at most: below SQLite's own limit of 500.
const BRANCHES_MAX: usize = 400;

/// Each branch comes in order from its index, and SQLite merges them as they are read, so it needs no limit. What is in several
/// comes once.
pub(in crate::store) fn push_ids(
    query: &mut QueryBuilder<Sqlite>,
    branches: &[Branch],
    filter: &RequestFilter,
    after: Option<RequestId>,
    _: Option<u32>,
) {
    if branches.len() > BRANCHES_MAX {
        for (number, some) in branches.chunks(BRANCHES_MAX).enumerate() {
            query.push(if number == 0 { "SELECT key FROM (" } else { " UNION SELECT key FROM (" });
            push_ids(query, some, filter, after, None);
            query.push(")");
        }
    } else {
        for (number, one) in branches.iter().enumerate() {
            query.push(if number == 0 { "SELECT DISTINCT " } else { " UNION SELECT " });
            push_branch(query, one, filter, after);
        }
    }
    query.push(format_args!(" ORDER BY 1 {}", direction(filter)));
}

/// The order of a join with the stream `s`, where the join doesn't see to it.
pub(in crate::store) const fn push_stream_order(_: &mut QueryBuilder<Sqlite>, _: &str) {}

/// A query for these texts: one parameter, so that SQLite's limit on parameters can't be met.
pub(in crate::store) fn push_each(query: &mut QueryBuilder<Sqlite>, texts: Vec<String>) {
    query
        .push("SELECT value FROM json_each(")
        .push_bind(serde_json::Value::from(texts).to_string())
        .push(")");
}

/// Where the writer's connections come from.
#[derive(Debug)]
pub(in crate::store) struct Origin {
    file: PathBuf,
    identity: Identity,
    options: SqliteConnectOptions,
}

impl Origin {
    /// The file, which must be the one that is connected to.
    pub(in crate::store) fn new(file: &Path, options: SqliteConnectOptions) -> io::Result<Self> {
        Ok(Self { identity: files::identity(file)?, file: file.to_owned(), options })
    }

    /// A file that was removed can be written to for as long as it is open, and everything is lost at the end.
    pub(in crate::store) async fn check(&self) -> Result<(), Failure> {
        let file = self.file.clone();
        // On a thread of its own: a file system that hangs may hang here as well, and must not keep others from running.
        let found = tokio::task::spawn_blocking(move || files::identity(&file)).await;
        match found.map_err(io::Error::from).flatten() {
            Ok(identity) if identity == self.identity => Ok(()),
            Ok(_) => {
                let replaced = "another file has taken the database's place; stop hallpassd and put it back";
                Err(Failure::from(Box::<dyn Error + Send + Sync>::from(replaced)))
            }
            Err(error) => Err(Arc::new(error)),
        }
    }

    /// Opens another connection.
    pub(in crate::store) async fn pen(&self) -> Result<Pen, OpenError> {
        Pen::of(connect::writer(&self.options).await?).await
    }
}

/// IMMEDIATE takes the write lock at once, so that what is read in it stays true until the end. Nobody else writes, so the
/// tree's edge is the one that is known.
pub(in crate::store) async fn begin<'c>(
    connection: &'c mut SqliteConnection,
    _: &mut Frontier,
) -> Result<Transaction<'c, Sqlite>, Failure> {
    connection.begin_with("BEGIN IMMEDIATE").await.map_err(|error| Arc::new(error) as Failure)
}

/// Nobody else has this database, so every duty is this daemon's.
pub(in crate::store) const fn duties(_: &This) -> Option<&dyn Duties> {
    None
}

/// See [`duties`].
pub(in crate::store) const fn fence(_: &This, _: &Duty) -> Option<Fence> {
    None
}

/// See [`duties`].
#[expect(clippy::unused_async, reason = "a server has to be asked")]
pub(in crate::store) async fn hold(_: &mut SqliteConnection, _: &[&Fence]) -> Result<(), StoreError> {
    Ok(())
}

/// Moves the `-wal` file into the database and empties it: it may have the pages as they were. False if somebody reads.
pub(in crate::store) async fn scrub(store: &This) -> Result<bool, StoreError> {
    let operation = "empty the write-ahead log";
    let unavailable = |error| StoreError::Unavailable { operation, source: Box::new(error) };
    let options = store.options.clone().busy_timeout(SCRUB_BUSY_MAX);
    let mut connection = connect::writer(&options).await.map_err(unavailable)?;
    let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut connection).await;
    let is_busy: i64 = row.and_then(|row| row.try_get(0)).map_err(failed(operation))?;
    connection.close().await.map_err(failed(operation))?;
    Ok(is_busy == 0)
}
