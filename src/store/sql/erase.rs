//! Texts that go: finding what is over, replacing its texts by their digests, and seeing that nothing of them is left in
//! the files.
//!
//! The request's row goes first. The triggers let a text of a decision or an event go only if that row says so.

use chrono::{DateTime, Utc};
use sqlx::QueryBuilder;

use super::{
    Db, DbConnection, events, freezes, read,
    readers::Readers,
    rows::{failed, millis},
    write::{exactly_one, numbered_decisions, refused},
};
use crate::{
    access::{
        approval::{Decision, Digest},
        freeze::Freeze,
        id::RequestId,
        kept::{Erased, Reason},
        request::Request,
        retention::{Erasure, Past, PastFreeze},
    },
    store::StoreError,
};

const ERASE_REQUEST: &str = "\
    UPDATE requests SET reason = $1, digest = $2, texts_erased_at = $3, revision = $4 WHERE id = $5 AND revision = $6";

const ERASE_DECISION: &str = "\
    UPDATE decisions SET statement = $1, signed_text = $2, texts_erased_at = $3 WHERE request_id = $4 AND position = $5";

const ERASE_FREEZE: &str = "\
    UPDATE freezes SET reason = $1, texts_erased_at = $2, revision = revision + 1 WHERE id = $3 AND revision = $4";

/// One parameter however many they are.
const ERASE_EVENTS: &str = concat!(
    "UPDATE audit_events SET texts = NULL WHERE texts IS NOT NULL AND sequence IN (",
    each_number!("$1"),
    ")"
);

/// Erases in the transaction that is under way. Whatever isn't as it was when it was found to be over is a conflict.
pub(in crate::store) async fn write(
    connection: &mut DbConnection,
    erasure: &Erasure,
) -> Result<(), StoreError> {
    for request in erasure.requests() {
        erase_request(connection, request).await?;
    }
    for freeze in erasure.freezes() {
        erase_freeze(connection, freeze, erasure.event().at).await?;
    }
    let operation = "erase the texts of events";
    let sequences = serde_json::Value::from(erasure.sequences()).to_string();
    let done =
        sqlx::query(ERASE_EVENTS).bind(sequences).execute(connection).await.map_err(failed(operation))?;
    let is_all = usize::try_from(done.rows_affected()) == Ok(erasure.sequences().len());
    if is_all { Ok(()) } else { Err(StoreError::Conflict { operation }) }
}

async fn erase_request(connection: &mut DbConnection, request: &Request) -> Result<(), StoreError> {
    let operation = "erase the texts of a request";
    let Reason::Erased { text: Erased { digest, erased_at }, request: whole } = request.ask.reason else {
        return Err(StoreError::Conflict { operation });
    };
    let query = sqlx::query(ERASE_REQUEST)
        .bind(digest.to_string())
        .bind(whole.to_string())
        .bind(millis(erased_at))
        .bind(request.revision)
        .bind(request.id.to_string())
        .bind(request.revision - 1);
    exactly_one(operation, &query.execute(&mut *connection).await.map_err(refused(operation))?)?;
    for (position, _, decision) in numbered_decisions(request) {
        erase_decision(connection, request.id, position, decision).await?;
    }
    Ok(())
}

async fn erase_decision(
    connection: &mut DbConnection,
    request: RequestId,
    position: i64,
    decision: &Decision,
) -> Result<(), StoreError> {
    let operation = "erase the texts of a decision";
    let left = |erased: Option<Erased>| erased.map(|erased| erased.digest.to_string());
    let query = sqlx::query(ERASE_DECISION)
        .bind(left(decision.statement.erased()))
        .bind(left(decision.signed.as_ref().and_then(|signed| signed.text.erased())))
        .bind(decision.statement.erased().map(|erased| millis(erased.erased_at)))
        .bind(request.to_string())
        .bind(position);
    exactly_one(operation, &query.execute(connection).await.map_err(failed(operation))?)
}

async fn erase_freeze(
    connection: &mut DbConnection,
    freeze: &Freeze,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let operation = "erase the text of a freeze";
    let query = sqlx::query(ERASE_FREEZE)
        .bind(Digest::of_text(freeze.reason.as_str()).to_string())
        .bind(millis(now))
        .bind(freeze.id.to_string())
        .bind(freeze.revision);
    exactly_one(operation, &query.execute(connection).await.map_err(failed(operation))?)
}

/// Exceptions that have their texts and were over before then, the oldest first.
pub(in crate::store) async fn past(
    readers: &Readers,
    until: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<Past>, StoreError> {
    let requests = read::all_requests(readers, select_past(until, limit), "read what is long over").await?;
    let ids: Vec<RequestId> = requests.iter().map(|request| request.id).collect();
    let mut grants = read::grants_of(readers, &ids).await?;
    let mut past = Vec::with_capacity(requests.len());
    for request in requests {
        let timeline = events::timeline(readers, request.id).await?;
        let grants = grants.remove(&request.id).unwrap_or_default();
        past.push(Past { request, grants, timeline });
    }
    Ok(past)
}

/// The same that the rule says, so that what isn't over takes no place in the answer. A request is older than its events,
/// so only those are looked at that were submitted before then.
pub(in crate::store) fn select_past(until: DateTime<Utc>, limit: u32) -> QueryBuilder<Db> {
    let mut query = read::requests_query();
    query.push(indexed_by!("requests_with_texts")).push(" WHERE r.texts_erased_at IS NULL");
    query.push(" AND r.state IN ('DENIED', 'WITHDRAWN', 'LAPSED', 'CLAIMED')");
    query.push(" AND r.id < ").push_bind(RequestId::new(until, 0).to_string());
    query.push(" AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.request_id = r.id");
    query.push(" AND (g.closes_at > ").push_bind(millis(until));
    query.push(" OR coalesce(g.revoked_at, g.failed_at) IS NULL");
    query.push(" OR coalesce(g.revoked_at, g.failed_at) >= ").push_bind(millis(until)).push("))");
    query.push(" AND EXISTS (SELECT 1 FROM request_events e WHERE e.request_id = r.id)");
    query.push(" AND NOT EXISTS (SELECT 1 FROM request_events e WHERE e.request_id = r.id");
    query.push(concat!(" AND ", in_leaf!("at"), " >= ")).push_bind(events::as_in_leaves(until)).push(")");
    query.push(" ORDER BY r.id LIMIT ").push_bind(i64::from(limit));
    query
}

/// Freezes that have their texts and were thawed before then, the oldest thaw first.
pub(in crate::store) async fn past_freezes(
    readers: &Readers,
    until: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<PastFreeze>, StoreError> {
    let mut past = Vec::new();
    for freeze in freezes::thawed_with_texts(readers, until, limit).await? {
        let timeline = events::of_freeze(readers, &freeze).await?;
        past.push(PastFreeze { freeze, timeline });
    }
    Ok(past)
}
