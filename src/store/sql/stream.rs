//! Which index a list is read from: one that gives requests in their order, and few of them.
//!
//! Who sees only a part of all is given a stream of that part, so that not even the place where a search ended is one of a
//! request that isn't his to see. Whoever sees all gets the stream of what is likely to be rarest in his filter. Which one
//! it is follows from scope and filter alone, so that all pages of a list go through the same.

use std::time::Duration;

use chrono::TimeDelta;
use sqlx::QueryBuilder;

use super::{
    Db,
    condition::whole_millis,
    dialect::{self, TextStream},
};
use crate::{
    access::{id::RequestId, policy::Scope},
    store::RequestFilter,
};

/// The states that few are in at any time.
const OPEN_REQUESTS: [&str; 2] = ["PENDING", "APPROVED"];
const OPEN_GRANTS: [&str; 3] = ["ISSUING", "ACTIVE", "REVOKING"];

/// The rows that the indexes of alarms and of unsigned approvals have.
const ALARMED: &str = "audit_events WHERE kind IN ('RevocationOverdue', 'WrappingTokenOpened')";
const UNSIGNED: &str = "decisions WHERE signature IS NULL AND verdict = 'APPROVED'";

/// What the indexes of grants that ended late, or early, take for that at least.
const INDEXED_MS: i64 = 60_000;

/// How far the clock may have been set back between a request and its grant, for a search by the time of access to find it.
const CLOCK_SLACK: TimeDelta = TimeDelta::days(1);

/// One index, at one value of its first column.
pub(in crate::store) struct Branch {
    /// The column that has the request's id.
    id: &'static str,
    /// The table, and what rows of it must be like: all of it our own words.
    from: &'static str,
    /// The value, which goes behind them.
    value: Option<String>,
}

/// The indexes that give one list, merged.
pub(in crate::store) enum Stream {
    /// In the order of the ids.
    Ids(Vec<Branch>),
    /// What has a text in it, as the database's index of texts gives it.
    Texts(TextStream),
}

const fn branch(id: &'static str, from: &'static str) -> Branch {
    Branch { id, from, value: None }
}

fn at(id: &'static str, from: &'static str, value: impl Into<String>) -> Branch {
    Branch { id, from, value: Some(value.into()) }
}

fn each(id: &'static str, from: &'static str, values: &[&'static str]) -> Vec<Branch> {
    values.iter().map(|value| at(id, from, *value)).collect()
}

/// Whether there are values, and all are among the known.
fn are_among(values: &[&str], known: &[&str]) -> bool {
    !values.is_empty() && values.iter().all(|value| known.contains(value))
}

impl Stream {
    /// The stream for this scope and filter.
    pub(in crate::store) fn of(scope: &Scope, filter: &RequestFilter) -> Self {
        match scope {
            Scope::Some { owner, targets } => {
                let mut branches = vec![at("id", "requests WHERE requester_subject = ", owner)];
                let asked = |name: &&_| filter.target.as_ref().is_none_or(|target| target == *name);
                let targets = targets.iter().filter(asked);
                branches.extend(targets.map(|target| at("id", "requests WHERE target = ", target.as_str())));
                Self::Ids(branches)
            }
            Scope::All => Self::rare(filter)
                .or_else(|| filter.text.as_deref().map(|text| Self::Texts(TextStream::of(text))))
                .unwrap_or_else(|| Self::Ids(Self::frequent(filter))),
        }
    }

    /// What is a handful in any history: a ticket's, a person's, and what is open.
    fn rare(filter: &RequestFilter) -> Option<Self> {
        let (requests, grant) = ("id", &filter.grant);
        let branches = if let Some(ticket) = &filter.ticket {
            vec![at(requests, "requests WHERE ticket = ", ticket)]
        } else if are_among(&filter.states, &OPEN_REQUESTS) {
            each(requests, "requests WHERE state = ", &filter.states)
        } else if are_among(&grant.states, &OPEN_GRANTS) {
            each("request_id", "grants WHERE state = ", &grant.states)
        } else if let Some(requester) = &filter.requester {
            vec![
                at(requests, "requests WHERE requester_subject = ", requester),
                at(requests, "requests WHERE requester_name = ", requester),
            ]
        } else if let Some(holder) = &grant.holder {
            vec![
                at("request_id", "grants WHERE holder_subject = ", holder),
                at("request_id", "grants WHERE holder_name = ", holder),
            ]
        } else if let Some(approver) = &filter.approver {
            vec![
                at("request_id", "decisions WHERE approver_subject = ", approver),
                at("request_id", "decisions WHERE approver_name = ", approver),
            ]
        } else {
            return None;
        };
        Some(Self::Ids(branches))
    }

    /// What may be many, the rarest kind first.
    fn frequent(filter: &RequestFilter) -> Vec<Branch> {
        let grant = &filter.grant;
        let is_indexed = |by: Option<Duration>| by.is_some_and(|by| whole_millis(by) >= INDEXED_MS);
        if filter.alarmed {
            vec![branch("request_id", ALARMED)]
        } else if is_indexed(grant.late_by) {
            vec![branch("request_id", "grants WHERE revoked_at - closes_at >= 60000")]
        } else if is_indexed(grant.early_by) {
            vec![branch("request_id", "grants WHERE closes_at - revoked_at >= 60000")]
        } else if !grant.causes.is_empty() {
            each("request_id", "grants WHERE cause = ", &grant.causes)
        } else if let Some(group) = &filter.group {
            vec![at("request_id", "request_groups WHERE name = ", group)]
        } else if let Some(target) = &filter.target {
            vec![at("id", "requests WHERE target = ", target.as_str())]
        } else if filter.signed == Some(true) {
            vec![branch("request_id", "decisions WHERE signature IS NOT NULL")]
        } else if filter.signed == Some(false) {
            vec![branch("request_id", UNSIGNED)]
        } else if !grant.states.is_empty() {
            each("request_id", "grants WHERE state = ", &grant.states)
        } else if !filter.states.is_empty() {
            each("id", "requests WHERE state = ", &filter.states)
        } else {
            vec![branch("id", "requests WHERE TRUE")]
        }
    }
}

impl Stream {
    /// The column of `requests` that the keys are of.
    pub(in crate::store) const fn key(&self) -> &'static str {
        match self {
            Self::Ids(_) => "id",
            Self::Texts(_) => TextStream::KEY,
        }
    }

    /// What the filter says that the stream doesn't see to at any rate: asking an index of texts about each one is dear.
    pub(in crate::store) fn rest(&self, filter: &RequestFilter) -> RequestFilter {
        match self {
            Self::Ids(_) => filter.clone(),
            Self::Texts(_) => RequestFilter { text: None, ..filter.clone() },
        }
    }

    /// The keys after a place, at most so many; all of them if nothing is said.
    pub(in crate::store) fn push(
        &self,
        query: &mut QueryBuilder<Db>,
        filter: &RequestFilter,
        after: Option<RequestId>,
        limit: Option<u32>,
    ) {
        match self {
            Self::Ids(branches) => dialect::push_ids(query, branches, filter, after, limit),
            Self::Texts(texts) => texts.push(query, filter, after, limit),
        }
        if let Some(limit) = limit {
            query.push(" LIMIT ").push_bind(i64::from(limit));
        }
    }

    /// The id of the last one that was looked at, in a statement whose `stream` this is; NULL if the stream ended before.
    pub(in crate::store) fn push_resume(
        &self,
        query: &mut QueryBuilder<Db>,
        filter: &RequestFilter,
        after: Option<RequestId>,
        looked_at_max: u32,
    ) {
        match self {
            Self::Ids(_) => push_last(query, looked_at_max),
            Self::Texts(_) => TextStream::push_resume(query, filter, after, looked_at_max),
        }
    }
}

/// The last of the keys that were looked at, if they were so many.
pub(in crate::store) fn push_last(query: &mut QueryBuilder<Db>, looked_at_max: u32) {
    query.push("(SELECT key FROM stream LIMIT 1 OFFSET ");
    query.push_bind(i64::from(looked_at_max.saturating_sub(1))).push(")");
}

pub(in crate::store) const fn direction(filter: &RequestFilter) -> &'static str {
    if filter.oldest_first { "ASC" } else { "DESC" }
}

/// One branch, in no order.
pub(in crate::store) fn push_branch(
    query: &mut QueryBuilder<Db>,
    branch: &Branch,
    filter: &RequestFilter,
    after: Option<RequestId>,
) {
    query.push(format_args!("{} AS key FROM {}", branch.id, branch.from));
    if let Some(value) = &branch.value {
        query.push_bind(value.clone());
    }
    push_ids_bounds(query, branch.id, filter, after);
}

/// An id begins with the time of its making, which is the time of submission: so bounds of time are bounds of ids.
pub(in crate::store) fn push_ids_bounds(
    query: &mut QueryBuilder<Db>,
    id: &'static str,
    filter: &RequestFilter,
    after: Option<RequestId>,
) {
    let bound = |at| RequestId::new(at, 0).to_string();
    // Nobody holds what he hasn't asked for yet.
    let held_until = filter.grant.held_until.and_then(|until| until.checked_add_signed(CLOCK_SLACK));
    let bounds = [
        (if filter.oldest_first { " > " } else { " < " }, after.map(|after| after.to_string())),
        (" >= ", filter.submitted_from.map(bound)),
        (" < ", filter.submitted_until.map(bound)),
        (" < ", held_until.map(bound)),
    ];
    for (operator, value) in bounds {
        if let Some(value) = value {
            query.push(" AND ").push(id).push(operator).push_bind(value);
        }
    }
}
