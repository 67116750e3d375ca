//! Changes of requests, with the decisions that they rest on. A change is stored only over the very state and revision that it
//! started from: of two that started from the same, the second finds the first's revision and is a conflict.

use std::{collections::BTreeSet, time::Duration};

use serde::Serialize;
use serde_json::Value;

use super::{super::DbConnection, execute, execute_all};
use crate::{
    access::{
        approval::Decision,
        change::Change,
        request::{Request, State},
        text::{IdempotencyKey, Prose, Ticket},
    },
    store::{
        StoreError,
        request_row::{SignedColumns, Times},
        rows::millis,
    },
};

const OPERATION: &str = "record a request";

const INSERT: &str = concat!(
    "INSERT INTO requests (id, target, credential_path, requester_subject, requester_name, duration_seconds, reason, \
                           ticket, approvals_required, submitted_at, idempotency_key, state, revision, lapses_at, \
                           not_before, groups) \
     SELECT n.value ->> 'id', n.value ->> 'target', n.value ->> 'credential_path', n.value ->> 'requester_subject', \
            n.value ->> 'requester_name', CAST(n.value ->> 'duration_seconds' AS BIGINT), n.value ->> 'reason', \
            n.value ->> 'ticket', CAST(n.value ->> 'approvals_required' AS BIGINT), \
            CAST(n.value ->> 'submitted_at' AS BIGINT), n.value ->> 'idempotency_key', n.value ->> 'state', \
            CAST(n.value ->> 'revision' AS BIGINT), CAST(n.value ->> 'lapses_at' AS BIGINT), \
            CAST(n.value ->> 'not_before' AS BIGINT), n.value ->> 'groups' \
       FROM ",
    each_row!("$1")
);

/// Those that aren't stored, on requests that are as they were read. A stored one never changes.
const INSERT_DECISIONS: &str = concat!(
    "INSERT INTO decisions (request_id, position, verdict, approver_subject, approver_name, statement, digest, \
                            decided_at, groups, duration_seconds, not_before, not_after, signed_text, signature, \
                            signed_with, user_present) \
     SELECT r.id, CAST(n.value ->> 'position' AS BIGINT), n.value ->> 'verdict', n.value ->> 'approver_subject', \
            n.value ->> 'approver_name', n.value ->> 'statement', n.value ->> 'digest', \
            CAST(n.value ->> 'decided_at' AS BIGINT), n.value ->> 'groups', \
            CAST(n.value ->> 'duration_seconds' AS BIGINT), CAST(n.value ->> 'not_before' AS BIGINT), \
            CAST(n.value ->> 'not_after' AS BIGINT), n.value ->> 'signed_text', n.value ->> 'signature', \
            n.value ->> 'signed_with', CAST(n.value ->> 'user_present' AS BIGINT) \
       FROM ",
    each_row!("$1"),
    " JOIN requests r ON r.id = n.value ->> 'request_id' AND r.state = n.value ->> 'from' \
                     AND r.revision = CAST(n.value ->> 'revision' AS BIGINT) - 1 \
      WHERE NOT EXISTS (SELECT 1 FROM decisions d \
                         WHERE d.request_id = r.id AND d.position = CAST(n.value ->> 'position' AS BIGINT)) \
      ORDER BY r.id, CAST(n.value ->> 'position' AS BIGINT)"
);

const UPDATE: &str = concat!(
    "UPDATE requests SET state = n.value ->> 'state', revision = CAST(n.value ->> 'revision' AS BIGINT), \
                         lapses_at = CAST(n.value ->> 'lapses_at' AS BIGINT), \
                         approved_at = CAST(n.value ->> 'approved_at' AS BIGINT), \
                         withdrawn_at = CAST(n.value ->> 'withdrawn_at' AS BIGINT), \
                         lapsed_at = CAST(n.value ->> 'lapsed_at' AS BIGINT), \
                         claimed_at = CAST(n.value ->> 'claimed_at' AS BIGINT) \
       FROM ",
    each_row!("$1"),
    " WHERE requests.id = n.value ->> 'id' AND requests.state = n.value ->> 'from' \
        AND requests.revision = CAST(n.value ->> 'revision' AS BIGINT) - 1"
);

/// Stores changes of different requests in the transaction that is under way.
pub(super) async fn write(
    connection: &mut DbConnection,
    changes: &[&Change<Request>],
) -> Result<(), StoreError> {
    let (mut new, mut decisions, mut next) = (Vec::new(), Vec::new(), Vec::new());
    for change in changes {
        let after = change.after();
        let Some(from) = change.from() else {
            new.push(NewRow::of(after));
            continue;
        };
        if matches!(after.state, State::Pending { .. } | State::Approved { .. } | State::Denied { .. }) {
            decisions.extend(numbered_decisions(after).map(|decided| DecisionRow::of(after, from, decided)));
        }
        next.push(NextRow::of(after, from));
    }
    execute_all(connection, OPERATION, INSERT, &new).await?;
    // Before the requests themselves, because the database refuses an APPROVED or DENIED that rests on nothing.
    execute(connection, OPERATION, INSERT_DECISIONS, &decisions).await?;
    execute_all(connection, OPERATION, UPDATE, &next).await
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

#[derive(Serialize)]
struct NewRow<'r> {
    id: String,
    target: &'r str,
    credential_path: &'r str,
    requester_subject: &'r str,
    requester_name: &'r str,
    duration_seconds: u64,
    reason: Option<&'r str>,
    ticket: Option<&'r str>,
    approvals_required: u32,
    submitted_at: i64,
    idempotency_key: Option<&'r str>,
    state: &'static str,
    revision: i64,
    lapses_at: Option<i64>,
    not_before: Option<i64>,
    groups: String,
}

impl<'r> NewRow<'r> {
    fn of(request: &'r Request) -> Self {
        let ask = &request.ask;
        Self {
            id: request.id.to_string(),
            target: ask.target.as_str(),
            credential_path: ask.credential_path.as_str(),
            requester_subject: ask.requester.subject.as_str(),
            requester_name: ask.requester.name.as_str(),
            duration_seconds: ask.duration.as_secs(),
            reason: ask.reason.kept().map(Prose::as_str),
            ticket: ask.ticket.as_ref().map(Ticket::as_str),
            approvals_required: ask.approvals_required,
            submitted_at: millis(ask.submitted_at),
            idempotency_key: ask.key.as_ref().map(IdempotencyKey::as_str),
            state: request.state.name(),
            revision: request.revision,
            lapses_at: request.state.lapses_at().map(millis),
            not_before: ask.not_before.map(millis),
            groups: groups(&ask.groups),
        }
    }
}

/// With what the request must still be like.
#[derive(Serialize)]
struct NextRow<'r> {
    id: String,
    from: &'r str,
    state: &'static str,
    revision: i64,
    #[serde(flatten)]
    times: Times,
}

impl<'r> NextRow<'r> {
    fn of(after: &Request, from: &'r str) -> Self {
        let (id, revision) = (after.id.to_string(), after.revision);
        Self { id, from, state: after.state.name(), revision, times: Times::of(&after.state) }
    }
}

/// With the request's next revision, and what the request must still be like.
#[derive(Serialize)]
struct DecisionRow<'r> {
    request_id: String,
    from: &'r str,
    revision: i64,
    position: i64,
    verdict: &'static str,
    approver_subject: &'r str,
    approver_name: &'r str,
    statement: Option<&'r str>,
    digest: String,
    decided_at: i64,
    groups: String,
    duration_seconds: Option<u64>,
    not_before: Option<i64>,
    not_after: Option<i64>,
    #[serde(flatten)]
    signed: SignedColumns,
}

impl<'r> DecisionRow<'r> {
    fn of(
        after: &Request,
        from: &'r str,
        (position, verdict, decision): (i64, &'static str, &'r Decision),
    ) -> Self {
        let terms = decision.terms;
        Self {
            request_id: after.id.to_string(),
            from,
            revision: after.revision,
            position,
            verdict,
            approver_subject: decision.approver.subject.as_str(),
            approver_name: decision.approver.name.as_str(),
            statement: decision.statement.kept().map(Prose::as_str),
            digest: decision.digest.to_string(),
            decided_at: millis(decision.decided_at),
            groups: groups(&decision.groups),
            duration_seconds: terms.duration.as_ref().map(Duration::as_secs),
            not_before: terms.not_before.map(millis),
            not_after: terms.not_after.map(millis),
            signed: SignedColumns::of(decision),
        }
    }
}

/// Groups as the text of a JSON list.
fn groups(groups: &BTreeSet<String>) -> String {
    groups.iter().map(String::as_str).collect::<Value>().to_string()
}
