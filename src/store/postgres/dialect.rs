//! PostgreSQL's part of what [`sql`](super::sql) needs.

use std::{error::Error, time::Duration};

use sqlx::{Connection as _, Postgres, QueryBuilder, Transaction, migrate::Migrator, postgres::PgConnection};

pub(in crate::store) use super::{
    PostgresStore as This, Server as Place,
    connect::readers,
    snapshot::{Moment, file_faults},
    texts::{TextStream, push_text},
};
use super::{
    Server, connect,
    sql::{
        events,
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

pub(in crate::store) type Db = Postgres;

pub(in crate::store) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// How many tables there are, and whether one of them tells of migrations.
pub(in crate::store) const TABLES: &str = "SELECT count(*), coalesce(bool_or(tablename = '_sqlx_migrations'), false) FROM pg_tables \
      WHERE schemaname = current_schema()";

/// The advisory lock of whoever migrates: the one after that of whoever writes (see [`BEGIN`]).
macro_rules! migrations_lock {
    () => {
        "7521983763905770868"
    };
}

/// Waits, for as long as it takes, until nobody else migrates.
pub(in crate::store) async fn lock_migrations(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let lock = concat!(
        "SET lock_timeout = 0; SELECT pg_advisory_lock(",
        migrations_lock!(),
        "); SET lock_timeout = '4s'"
    );
    sqlx::raw_sql(lock).execute(connection).await.map(|_| ())
}

/// Lets the next one.
pub(in crate::store) async fn unlock_migrations(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(concat!("SELECT pg_advisory_unlock(", migrations_lock!(), ")"))
        .execute(connection)
        .await
        .map(|_| ())
}

/// Whether a daemon that knows the migrations up to this one may use a schema with later ones, which only added something.
pub(in crate::store) async fn is_usable(
    connection: &mut PgConnection,
    newest: i64,
) -> Result<bool, OpenError> {
    let needed: Result<Option<i64>, _> =
        sqlx::query_scalar("SELECT max(migration) FROM schema_needs").fetch_one(connection).await;
    let needed = needed.map_err(OpenError::database("read what the schema needs"))?;
    Ok(needed.is_some_and(|needed| needed <= newest))
}

/// A request's decisions in one column.
pub(in crate::store) const DECISIONS: &str = "\
    (SELECT coalesce(json_agg(json_build_object('verdict', d.verdict, 'approver_subject', d.approver_subject, \
                'approver_name', d.approver_name, 'statement', d.statement, 'digest', d.digest, \
                'decided_at', d.decided_at, 'groups', d.groups::json, \
                'duration_seconds', d.duration_seconds, 'not_before', d.not_before, \
                'not_after', d.not_after, 'signed_text', d.signed_text, 'signature', d.signature, \
                'signed_with', d.signed_with, 'user_present', d.user_present, \
                'texts_erased_at', d.texts_erased_at) ORDER BY d.position), '[]')::text \
       FROM decisions d WHERE d.request_id = r.id)";

/// How long a transaction may take, the wait for the lock included. A server that is gone without a word answers nothing.
pub(in crate::store) const TURN_MAX: Option<Duration> = Some(Duration::from_secs(5));

/// A server that was restarted, or another one that took its place, knows nothing of the connections of before.
pub(in crate::store) const CONNECTIONS_ARE_LOST: bool = true;

/// Whoever writes has this lock until the transaction's end: the bytes of `hallpass`.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock(7521983763905770867)";

/// The planner knows best.
macro_rules! indexed_by {
    ($index:literal) => {
        ""
    };
}

/// A join, whose order has to be said.
macro_rules! join_in_order {
    () => {
        " JOIN"
    };
}

/// A column that rows are looked at for.
macro_rules! looked_at {
    ($column:literal) => {
        $column
    };
}

/// The greatest of its arguments.
macro_rules! greatest {
    () => {
        "greatest"
    };
}

/// What the leaf of an event `e` says at a path.
macro_rules! in_leaf {
    ($first:literal $(, $more:literal)*) => {
        concat!("(e.leaf::json #>> '{", $first, $(",", $more,)* "}')")
    };
}

/// The texts in a column that is a list of them as JSON, as a table whose column is `value`.
macro_rules! each_text {
    ($column:literal) => {
        concat!("json_array_elements_text(", $column, "::json)")
    };
}

/// The numbers in a parameter that is a list of them as JSON.
macro_rules! each_number {
    ($parameter:literal) => {
        concat!("SELECT value::bigint FROM json_array_elements_text(", $parameter, "::json)")
    };
}

/// The rows in a parameter that is a list of objects as JSON, as a table `n` whose column is `value`.
macro_rules! each_row {
    ($parameter:literal) => {
        concat!("jsonb_array_elements(", $parameter, "::jsonb) AS n")
    };
}

/// The bytes of a text in hex.
macro_rules! from_hex {
    ($text:literal) => {
        concat!("decode(", $text, ", 'hex')")
    };
}

/// Each branch comes in order from its index, and those that say so with a limit are merged as they are read. What is in several
/// comes once; and so it does in each, or the limit would cut one off before the others.
pub(in crate::store) fn push_ids(
    query: &mut QueryBuilder<Postgres>,
    branches: &[Branch],
    filter: &RequestFilter,
    after: Option<RequestId>,
    limit: Option<u32>,
) {
    let order = direction(filter);
    query.push("SELECT DISTINCT key FROM (");
    for (number, one) in branches.iter().enumerate() {
        query.push(if number == 0 { "(SELECT DISTINCT " } else { " UNION ALL (SELECT DISTINCT " });
        push_branch(query, one, filter, after);
        if let Some(limit) = limit {
            query.push(format_args!(" ORDER BY 1 {order} LIMIT ")).push_bind(i64::from(limit));
        }
        query.push(")");
    }
    query.push(format_args!(") AS merged ORDER BY 1 {order}"));
}

/// The order of a join with the stream `s`, which is that of the stream.
pub(in crate::store) fn push_stream_order(query: &mut QueryBuilder<Postgres>, direction: &str) {
    query.push(" ORDER BY s.key ").push(direction);
}

/// A query for these texts.
pub(in crate::store) fn push_each(query: &mut QueryBuilder<Postgres>, texts: Vec<String>) {
    query.push("SELECT unnest(").push_bind(texts).push(")");
}

/// Where the writer's connections come from.
#[derive(Debug)]
pub(in crate::store) struct Origin {
    server: Server,
}

impl Origin {
    pub(in crate::store) const fn new(server: Server) -> Self {
        Self { server }
    }

    /// Nothing to look at before each turn: a connection that is lost says so.
    #[expect(clippy::unused_async, reason = "of a file it takes a look at the disk")]
    pub(in crate::store) async fn check(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// Opens another connection.
    pub(in crate::store) async fn pen(&self) -> Result<Pen, OpenError> {
        connect::pen(self.server.connect().await?).await
    }
}

/// Takes the lock at once, so that what is read in the transaction stays true until the end; and reads the tree's edge if
/// somebody else has written.
pub(in crate::store) async fn begin<'c>(
    connection: &'c mut PgConnection,
    frontier: &mut Frontier,
) -> Result<Transaction<'c, Postgres>, Failure> {
    let failure = |error: Box<dyn Error + Send + Sync>| Failure::from(error);
    let mut transaction = connection.begin_with(BEGIN).await.map_err(|error| failure(error.into()))?;
    let size: i64 = sqlx::query_scalar("SELECT coalesce(max(sequence), 0) FROM audit_events")
        .fetch_one(&mut *transaction)
        .await
        .map_err(|error| failure(error.into()))?;
    if size.unsigned_abs() != frontier.size() {
        *frontier = events::frontier(&mut transaction).await.map_err(|error| failure(error.into()))?;
    }
    Ok(transaction)
}

/// How the daemons share out what is to be done, if this is one of them.
pub(in crate::store) fn duties(store: &This) -> Option<&dyn Duties> {
    store.shared.get().map(|shared| -> &dyn Duties { shared })
}

/// Each session is told what it needs when it begins.
#[expect(clippy::unused_async, reason = "a file's connection has to be told")]
pub(in crate::store) async fn prepare(_: &mut PgConnection) -> Result<(), OpenError> {
    Ok(())
}

/// What a commit names that depends on a duty.
pub(in crate::store) fn fence(store: &This, duty: &Duty) -> Option<Fence> {
    store.shared.get().map(|shared| shared.fence(duty))
}

/// Sees that duties are still this daemon's, and that nobody takes them before the transaction's end.
pub(in crate::store) async fn hold(
    connection: &mut PgConnection,
    fences: &[&Fence],
) -> Result<(), StoreError> {
    if fences.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = fences.iter().map(|fence| fence.name.as_str()).collect();
    let daemons: Vec<&str> = fences.iter().map(|fence| fence.daemon.as_str()).collect();
    let generations: Vec<i64> = fences.iter().map(|fence| fence.generation).collect();
    let select = "SELECT d.name, d.generation FROM duties d \
                    JOIN unnest($1::text[], $2::text[], $3::bigint[]) AS u (name, daemon, generation) \
                   USING (name, daemon, generation) \
                   ORDER BY d.name FOR SHARE OF d";
    let held: Vec<(String, i64)> = sqlx::query_as(select)
        .bind(names)
        .bind(daemons)
        .bind(generations)
        .fetch_all(connection)
        .await
        .map_err(failed("see whose duties are"))?;
    let is_held = |fence: &Fence| {
        held.iter().any(|(name, generation)| (name, *generation) == (&fence.name, fence.generation))
    };
    match fences.iter().find(|fence| !is_held(fence)) {
        Some(lost) => Err(StoreError::OffDuty { duty: lost.name.clone() }),
        None => Ok(()),
    }
}

/// Takes what erased texts left behind out of the tables' files. What the server's own log and its backups have, it keeps as
/// long as it is told to.
pub(in crate::store) async fn scrub(store: &This) -> Result<bool, StoreError> {
    let operation = "vacuum the tables";
    let unavailable = |error| StoreError::Unavailable { operation, source: Box::new(error) };
    let mut connection = store.server.connect().await.map_err(unavailable)?;
    let vacuum = "VACUUM requests, decisions, freezes, audit_events";
    sqlx::raw_sql(vacuum).execute(&mut connection).await.map_err(failed(operation))?;
    connection.close().await.map_err(failed(operation))?;
    Ok(true)
}
