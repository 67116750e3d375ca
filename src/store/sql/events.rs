//! The audit log: appending to it, and reading it in order. Nothing here changes or removes an event, and the table's
//! triggers refuse it.
//!
//! A row is a leaf of the log's tree, with the hashes of the subtrees that it completes. So an event and its place in the
//! tree are one statement of the transaction in which the change is that it tells of.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use sqlx::{FromRow, QueryBuilder};

use super::{
    Db, DbConnection,
    read::push_scope,
    readers::Readers,
    rows::{Problem, corrupt, failed},
    write,
};
use crate::{
    access::{
        event::{Event, Recorded},
        freeze::Freeze,
        id::RequestId,
        policy::Scope,
    },
    ledger::{
        leaf::Leaf,
        tree::{Frontier, Hash, Node, Plan},
    },
    store::StoreError,
};

const SELECT: &str = "SELECT e.sequence, e.leaf, e.texts FROM audit_events e";

/// A view of those that are of requests, which finds them by `request_id`.
const SELECT_OF_REQUESTS: &str = "SELECT e.sequence, e.leaf, e.texts FROM request_events e";

/// A trigger refuses any place but the next.
const APPEND: &str = concat!(
    "INSERT INTO audit_events (sequence, leaf, hashes, texts) \
     SELECT CAST(n.value ->> 'sequence' AS BIGINT), n.value ->> 'leaf', ",
    from_hex!("n.value ->> 'hashes'"),
    ", n.value ->> 'texts' FROM ",
    each_row!("$1"),
    " ORDER BY CAST(n.value ->> 'sequence' AS BIGINT)"
);

/// One parameter however many they are.
const SELECT_HASHES: &str = concat!(
    "SELECT e.sequence, e.hashes FROM audit_events e WHERE e.sequence IN (",
    each_number!("$1"),
    ") ORDER BY e.sequence"
);

/// Events in their places, on their way into the log.
pub(in crate::store) struct Placed {
    rows: Vec<AppendedRow>,
    recorded: Vec<Recorded>,
}

impl Placed {
    /// The next places in the tree. Nothing is written yet.
    pub(in crate::store) fn after(frontier: &mut Frontier, events: &[&Event]) -> Self {
        let first = frontier.size().cast_signed() + 1;
        let recorded: Vec<Recorded> =
            events.iter().zip(first..).map(|(event, sequence)| record(event, sequence)).collect();
        let rows = recorded.iter().map(|event| AppendedRow::of(Leaf::of(event), frontier)).collect();
        Self { rows, recorded }
    }

    /// Appends them in the transaction that is under way, and answers with them.
    pub(in crate::store) async fn append(
        self,
        connection: &mut DbConnection,
    ) -> Result<Vec<Recorded>, StoreError> {
        append(connection, &self.rows).await?;
        Ok(self.recorded)
    }
}

fn record(event: &Event, sequence: i64) -> Recorded {
    let Event { at, actor, about, fact } = event;
    let (kind, detail) = fact.parts();
    Recorded { sequence, at: *at, actor: actor.clone(), about: about.clone(), kind, detail }
}

/// Appends leaves at the places that they name.
pub(in crate::store) async fn append(
    connection: &mut DbConnection,
    rows: &[AppendedRow],
) -> Result<(), StoreError> {
    write::execute_all(connection, "append to the audit log", APPEND, rows).await
}

/// A leaf with what it completes of the tree.
#[derive(Serialize)]
pub(in crate::store) struct AppendedRow {
    sequence: u64,
    leaf: String,
    /// In hex, because JSON has no bytes.
    hashes: String,
    texts: Option<String>,
}

impl AppendedRow {
    /// Appends the leaf to the tree.
    pub(in crate::store) fn of(leaf: Leaf, frontier: &mut Frontier) -> Self {
        let mut hashes = String::with_capacity(2 * 64);
        frontier.push(leaf.hash(), |hash| hashes.push_str(&hex::encode(hash.0)));
        let texts = (!leaf.texts.is_empty()).then(|| serde_json::Value::from(leaf.texts).to_string());
        Self { sequence: frontier.size(), leaf: leaf.line, hashes, texts }
    }
}

/// The tree's right edge, as it is stored.
pub(in crate::store) async fn frontier(connection: &mut DbConnection) -> Result<Frontier, StoreError> {
    let operation = "read the log's tree";
    let size: i64 = sqlx::query_scalar("SELECT coalesce(max(sequence), 0) FROM audit_events")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed(operation))?;
    let plan = Plan::frontier(size.unsigned_abs());
    let nodes: Vec<Node> = plan.nodes().collect();
    let rows = sqlx::query_as(SELECT_HASHES).bind(places(&nodes)).fetch_all(connection).await;
    let peaks = pick(&rows.map_err(failed(operation))?, &nodes);
    let frontier = peaks.and_then(|peaks| Frontier::of(size.unsigned_abs(), peaks));
    frontier.ok_or_else(|| corrupt(operation, "the log's tree", "hashes are missing"))
}

/// The hashes of complete subtrees.
pub(in crate::store) async fn nodes(readers: &Readers, nodes: &[Node]) -> Result<Vec<Hash>, StoreError> {
    let operation = "read the log's tree";
    let read = sqlx::query_as(SELECT_HASHES).bind(places(nodes)).fetch_all(readers.pool());
    let rows: Vec<HashesRow> = readers.answer(operation, read).await?;
    pick(&rows, nodes).ok_or_else(|| corrupt(operation, "the log's tree", "hashes are missing"))
}

/// The places of the rows that have these nodes, as JSON.
fn places(nodes: &[Node]) -> String {
    let places: Vec<u64> = nodes.iter().map(|node| node.place().0 + 1).collect();
    serde_json::Value::from(places).to_string()
}

#[derive(FromRow)]
struct HashesRow {
    sequence: i64,
    hashes: Vec<u8>,
}

/// The nodes' hashes out of the rows, which are in order.
fn pick(rows: &[HashesRow], nodes: &[Node]) -> Option<Vec<Hash>> {
    let one = |node: &Node| {
        let (leaf, number) = node.place();
        let found = rows.binary_search_by_key(&(leaf + 1), |row| row.sequence.unsigned_abs()).ok()?;
        let (hashes, _) = rows.get(found)?.hashes.as_chunks();
        hashes.get(number).copied().map(Hash)
    };
    nodes.iter().map(one).collect()
}

/// Leaves after a place in the log, in order, with the texts that are kept.
pub(in crate::store) async fn leaves(
    readers: &Readers,
    after: i64,
    limit: u32,
) -> Result<Vec<Leaf>, StoreError> {
    let operation = "read the log";
    let mut query = QueryBuilder::new(SELECT);
    query.push(" WHERE e.sequence > ").push_bind(after);
    query.push(" ORDER BY e.sequence LIMIT ").push_bind(i64::from(limit));
    let read = query.build_query_as().fetch_all(readers.pool());
    let rows: Vec<EventRow> = readers.answer(operation, read).await?;
    rows.into_iter().map(|row| row.leaf().map_err(|problem| row.corrupt(operation, problem))).collect()
}

/// Everything that is recorded of one request and its grants, in order.
pub(in crate::store) async fn timeline(
    readers: &Readers,
    request: RequestId,
) -> Result<Vec<Recorded>, StoreError> {
    all(readers, select_timeline(request), "read a timeline").await
}

pub(in crate::store) fn select_timeline(request: RequestId) -> QueryBuilder<Db> {
    let mut query = QueryBuilder::new(SELECT_OF_REQUESTS);
    query.push(" WHERE e.request_id = ").push_bind(request.to_string()).push(" ORDER BY e.sequence");
    query
}

/// What is recorded of a freeze that is over: from its beginning to the next thaw of what it covers, since no two freezes
/// of the same stand at once.
pub(in crate::store) async fn of_freeze(
    readers: &Readers,
    freeze: &Freeze,
) -> Result<Vec<Recorded>, StoreError> {
    all(readers, select_of_freeze(freeze), "read a timeline").await
}

fn select_of_freeze(freeze: &Freeze) -> QueryBuilder<Db> {
    let of_extent = concat!(
        indexed_by!("audit_events_of_freezes"),
        " WHERE e.kind IN ('TargetsFrozen', 'TargetsThawed') AND ",
        in_leaf!("detail", "extent"),
        " = "
    );
    let (extent, at) = (freeze.extent.to_string(), as_in_leaves(freeze.frozen_at));
    let mut query =
        QueryBuilder::new("WITH beginning AS (SELECT min(e.sequence) AS begun FROM audit_events e");
    query.push(of_extent).push_bind(extent.clone());
    query.push(concat!(" AND e.kind = 'TargetsFrozen' AND e.texts IS NOT NULL AND ", in_leaf!("at"), " = "));
    query.push_bind(at).push(") ").push(SELECT).push(of_extent).push_bind(extent.clone());
    query.push(
        " AND e.sequence BETWEEN (SELECT begun FROM beginning) AND (SELECT min(e.sequence) FROM audit_events e",
    );
    query.push(of_extent).push_bind(extent);
    query.push(
        " AND e.kind = 'TargetsThawed' AND e.sequence > (SELECT begun FROM beginning)) ORDER BY e.sequence",
    );
    query
}

/// An instant as leaves spell it, so that later is greater.
pub(in crate::store) fn as_in_leaves(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The same, over a connection of one's own.
pub(in crate::store) async fn timeline_of(
    connection: &mut DbConnection,
    request: RequestId,
) -> Result<Vec<Recorded>, StoreError> {
    let operation = "read a timeline";
    let rows = select_timeline(request).build_query_as().fetch_all(connection).await;
    let rows: Vec<EventRow> = rows.map_err(failed(operation))?;
    rows.into_iter().map(|row| row.event().map_err(|problem| row.corrupt(operation, problem))).collect()
}

/// Events of requests in the scope after a place in the log, in order. Events of no request aren't among them.
pub(in crate::store) async fn after(
    readers: &Readers,
    scope: &Scope,
    request: Option<RequestId>,
    sequence: i64,
    limit: u32,
) -> Result<Vec<Recorded>, StoreError> {
    all(readers, select_after(scope, request, sequence, limit), "read events").await
}

pub(in crate::store) fn select_after(
    scope: &Scope,
    request: Option<RequestId>,
    sequence: i64,
    limit: u32,
) -> QueryBuilder<Db> {
    let mut query = QueryBuilder::new(if request.is_some() { SELECT_OF_REQUESTS } else { SELECT });
    query.push(" WHERE e.sequence > ").push_bind(sequence);
    match request {
        Some(request) => query.push(" AND e.request_id = ").push_bind(request.to_string()),
        None => query.push(" AND e.request_id IS NOT NULL"),
    };
    if *scope != Scope::All {
        query.push(" AND EXISTS (SELECT 1 FROM requests r WHERE r.id = e.request_id");
        push_scope(&mut query, scope, "r.requester_subject", "r.target");
        query.push(")");
    }
    query.push(" ORDER BY e.sequence LIMIT ").push_bind(i64::from(limit));
    query
}

/// The place of the last event of a kind, with its detail.
pub(in crate::store) async fn last_of(
    connection: &mut DbConnection,
    kind: &str,
) -> Result<Option<(i64, serde_json::Value)>, sqlx::Error> {
    let select = concat!(
        "SELECT e.sequence, ",
        in_leaf!("detail"),
        " FROM audit_events e WHERE e.kind = $1 ORDER BY e.sequence DESC LIMIT 1"
    );
    let row: Option<(i64, String)> = sqlx::query_as(select).bind(kind).fetch_optional(connection).await?;
    Ok(row.map(|(sequence, detail)| (sequence, serde_json::from_str(&detail).unwrap_or_default())))
}

/// The place of the last event; 0 if there is none.
pub(in crate::store) async fn last_sequence(readers: &Readers) -> Result<i64, StoreError> {
    let read =
        sqlx::query_scalar("SELECT coalesce(max(sequence), 0) FROM audit_events").fetch_one(readers.pool());
    readers.answer("read the log's length", read).await
}

async fn all(
    readers: &Readers,
    mut query: QueryBuilder<Db>,
    operation: &'static str,
) -> Result<Vec<Recorded>, StoreError> {
    let read = query.build_query_as().fetch_all(readers.pool());
    let rows: Vec<EventRow> = readers.answer(operation, read).await?;
    rows.into_iter().map(|row| row.event().map_err(|problem| row.corrupt(operation, problem))).collect()
}

#[derive(FromRow)]
struct EventRow {
    sequence: i64,
    leaf: String,
    texts: Option<String>,
}

impl EventRow {
    fn corrupt(&self, operation: &'static str, problem: Problem) -> StoreError {
        corrupt(operation, format!("audit event {}", self.sequence), problem)
    }

    fn leaf(&self) -> Result<Leaf, Problem> {
        let texts = self.texts.as_deref().map(serde_json::from_str).transpose();
        let texts = texts.map_err(|_| "its texts are malformed")?.unwrap_or_default();
        Ok(Leaf { line: self.leaf.clone(), texts })
    }

    fn event(&self) -> Result<Recorded, Problem> {
        let event = self.leaf()?.event().map_err(|_| "its leaf is malformed")?;
        if event.sequence == self.sequence { Ok(event) } else { Err("its leaf has another place") }
    }
}
