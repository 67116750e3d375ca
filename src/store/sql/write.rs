//! A change on its way into its table. It is stored only over the very state and revision that it started from: of two
//! that started from the same, the second finds the first's revision and is a conflict.

use std::{collections::BTreeSet, time::Duration};

use super::{
    DbConnection, Done,
    grant_row::Columns,
    request_row::{SignedColumns, Times},
    rows::{failed, millis},
};
use crate::{
    access::{
        approval::Decision,
        change::Change,
        grant::Grant,
        request::{Request, State},
        text::{IdempotencyKey, Prose, Ticket},
    },
    store::StoreError,
};

const INSERT_REQUEST: &str = "\
    INSERT INTO requests (id, target, credential_path, requester_subject, requester_name, duration_seconds, reason, \
                          ticket, approvals_required, submitted_at, idempotency_key, state, revision, lapses_at, \
                          not_before, groups) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";

const STORED_REQUEST: &str = "\
    SELECT state, revision, (SELECT count(*) FROM decisions WHERE request_id = requests.id) FROM requests WHERE id = $1";

const UPDATE_REQUEST: &str = "\
    UPDATE requests SET state = $1, revision = $2, lapses_at = $3, approved_at = $4, withdrawn_at = $5, lapsed_at = $6, \
                        claimed_at = $7 \
     WHERE id = $8 AND state = $9 AND revision = $10";

const INSERT_DECISION: &str = "\
    INSERT INTO decisions (request_id, position, verdict, approver_subject, approver_name, statement, digest, \
                           decided_at, groups, duration_seconds, not_before, not_after, signed_text, signature, \
                           signed_with, user_present) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";

const INSERT_GRANT: &str = "\
    INSERT INTO grants (id, request_id, target, credential_path, holder_subject, holder_name, opens_at, closes_at, \
                        opened_at, state, revision) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

const UPDATE_GRANT: &str = "\
    UPDATE grants SET state = $1, revision = $2, token_accessor = $3, wrapping_accessor = $4, lease_id = $5, \
                      activated_at = $6, cause = $7, begun_at = $8, step = $9, error = $10, revoked_at = $11, failed_at = $12, \
                      alarms = $13 \
     WHERE id = $14 AND state = $15 AND revision = $16";

/// Stores a request's change in the transaction that is under way.
pub(in crate::store) async fn request(
    connection: &mut DbConnection,
    change: &Change<Request>,
) -> Result<(), StoreError> {
    let operation = "record a request";
    let after = change.after();
    let Some(from) = change.from() else {
        return insert_request(connection, after).await.map(|_| ()).map_err(refused(operation));
    };
    let before = after.revision - 1;
    let stored: Option<(String, i64, i64)> = sqlx::query_as(STORED_REQUEST)
        .bind(after.id.to_string())
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed(operation))?;
    let decided = match stored {
        Some((state, revision, decided)) if state == from && revision == before => decided,
        _ => return Err(StoreError::Conflict { operation }),
    };
    // Before the request itself, because the database refuses an APPROVED or DENIED that rests on nothing.
    insert_decisions(connection, after, decided).await.map_err(refused(operation))?;
    let done = update_request(connection, after, from, before).await.map_err(refused(operation))?;
    exactly_one(operation, &done)
}

async fn insert_request(connection: &mut DbConnection, request: &Request) -> Result<Done, sqlx::Error> {
    let ask = &request.ask;
    sqlx::query(INSERT_REQUEST)
        .bind(request.id.to_string())
        .bind(ask.target.as_str())
        .bind(ask.credential_path.as_str())
        .bind(ask.requester.subject.as_str())
        .bind(ask.requester.name.as_str())
        .bind(seconds(ask.duration)?)
        .bind(ask.reason.kept().map(Prose::as_str))
        .bind(ask.ticket.as_ref().map(Ticket::as_str))
        .bind(i64::from(ask.approvals_required))
        .bind(millis(ask.submitted_at))
        .bind(ask.key.as_ref().map(IdempotencyKey::as_str))
        .bind(request.state.name())
        .bind(request.revision)
        .bind(request.state.lapses_at().map(millis))
        .bind(ask.not_before.map(millis))
        .bind(groups(&ask.groups)?)
        .execute(connection)
        .await
}

async fn update_request(
    connection: &mut DbConnection,
    after: &Request,
    from: &str,
    before: i64,
) -> Result<Done, sqlx::Error> {
    let times = Times::of(&after.state);
    sqlx::query(UPDATE_REQUEST)
        .bind(after.state.name())
        .bind(after.revision)
        .bind(times.lapses_at)
        .bind(times.approved_at)
        .bind(times.withdrawn_at)
        .bind(times.lapsed_at)
        .bind(times.claimed_at)
        .bind(after.id.to_string())
        .bind(from)
        .bind(before)
        .execute(connection)
        .await
}

/// Stores the decisions that come after the stored ones, which are as many as `decided`. A stored one never changes.
async fn insert_decisions(
    connection: &mut DbConnection,
    after: &Request,
    decided: i64,
) -> Result<(), sqlx::Error> {
    for (position, verdict, decision) in numbered_decisions(after) {
        if position > decided {
            insert_decision(connection, after, position, (verdict, decision)).await?;
        }
    }
    Ok(())
}

/// A request's decisions with their positions and verdicts, in the order they came: a denial ends it all.
pub(in crate::store) fn numbered_decisions(
    request: &Request,
) -> impl Iterator<Item = (i64, &'static str, &Decision)> {
    let approvals = request.approvals.iter().map(|approval| ("APPROVED", approval.decision()));
    let denial = match &request.state {
        State::Denied { denial } => Some(("DENIED", denial.decision())),
        _ => None,
    };
    let numbered = approvals.chain(denial).zip(1_i64..);
    numbered.map(|((verdict, decision), position)| (position, verdict, decision))
}

async fn insert_decision(
    connection: &mut DbConnection,
    request: &Request,
    position: i64,
    (verdict, decision): (&'static str, &Decision),
) -> Result<Done, sqlx::Error> {
    let (signed, terms) = (SignedColumns::of(decision), decision.terms);
    sqlx::query(INSERT_DECISION)
        .bind(request.id.to_string())
        .bind(position)
        .bind(verdict)
        .bind(decision.approver.subject.as_str())
        .bind(decision.approver.name.as_str())
        .bind(decision.statement.kept().map(Prose::as_str))
        .bind(decision.digest.to_string())
        .bind(millis(decision.decided_at))
        .bind(groups(&decision.groups)?)
        .bind(terms.duration.map(seconds).transpose()?)
        .bind(terms.not_before.map(millis))
        .bind(terms.not_after.map(millis))
        .bind(signed.signed_text)
        .bind(signed.signature)
        .bind(signed.signed_with)
        .bind(signed.user_present)
        .execute(connection)
        .await
}

/// Stores a grant's change in the transaction that is under way.
pub(in crate::store) async fn grant(
    connection: &mut DbConnection,
    change: &Change<Grant>,
) -> Result<(), StoreError> {
    let operation = "record a grant";
    let after = change.after();
    let done = match change.from() {
        None => insert_grant(connection, after).await,
        Some(from) => update_grant(connection, after, from).await,
    };
    exactly_one(operation, &done.map_err(refused(operation))?)
}

async fn insert_grant(connection: &mut DbConnection, grant: &Grant) -> Result<Done, sqlx::Error> {
    sqlx::query(INSERT_GRANT)
        .bind(grant.id.to_string())
        .bind(grant.request.to_string())
        .bind(grant.target.as_str())
        .bind(grant.credential_path.as_str())
        .bind(grant.holder.subject.as_str())
        .bind(grant.holder.name.as_str())
        .bind(millis(grant.window.opens_at()))
        .bind(millis(grant.window.closes_at()))
        .bind(millis(grant.opened_at))
        .bind(grant.state.name())
        .bind(grant.revision)
        .execute(connection)
        .await
}

async fn update_grant(connection: &mut DbConnection, after: &Grant, from: &str) -> Result<Done, sqlx::Error> {
    let columns = Columns::of(&after.state);
    sqlx::query(UPDATE_GRANT)
        .bind(after.state.name())
        .bind(after.revision)
        .bind(columns.token_accessor)
        .bind(columns.wrapping_accessor)
        .bind(columns.lease_id)
        .bind(columns.activated_at)
        .bind(columns.cause)
        .bind(columns.begun_at)
        .bind(columns.step)
        .bind(columns.error)
        .bind(columns.revoked_at)
        .bind(columns.failed_at)
        .bind(columns.alarms)
        .bind(after.id.to_string())
        .bind(from)
        .bind(after.revision - 1)
        .execute(connection)
        .await
}

pub(in crate::store) fn exactly_one(operation: &'static str, done: &Done) -> Result<(), StoreError> {
    if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Conflict { operation }) }
}

/// The triggers that refuse those who looked a moment too early.
const OVERTAKEN: [&str; 4] =
    ["grants_not_while_frozen", "grants_not_without_texts", "grants_only_replaced", "requests_texts_only_go"];

/// What may be unique only once is there already, or a freeze is: somebody was faster.
pub(in crate::store) fn refused(operation: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |error| match &error {
        sqlx::Error::Database(database)
            if database.is_unique_violation()
                || OVERTAKEN.iter().any(|trigger| database.message().starts_with(trigger)) =>
        {
            StoreError::Conflict { operation }
        }
        _ => failed(operation)(error),
    }
}

/// Groups as a JSON list.
fn groups(groups: &BTreeSet<String>) -> Result<String, sqlx::Error> {
    serde_json::to_string(groups).map_err(|error| sqlx::Error::Encode(error.into()))
}

fn seconds(duration: Duration) -> Result<i64, sqlx::Error> {
    i64::try_from(duration.as_secs()).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}
