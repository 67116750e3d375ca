//! What a filter says of a request, as conditions on one row `r` of `requests`. Values go in as parameters only.

use std::time::Duration;

use sqlx::QueryBuilder;

use super::{
    Db, dialect,
    read::{push_any, push_equal, push_person, push_scope},
    rows::millis,
};
use crate::{
    access::policy::Scope,
    store::{HeldGrant, RequestFilter},
};

/// All that the scope and the filter demand.
pub(in crate::store) fn push_conditions(query: &mut QueryBuilder<Db>, scope: &Scope, filter: &RequestFilter) {
    push_scope(query, scope, "r.requester_subject", "r.target");
    push_any(query, "r.state", &filter.states);
    push_equal(query, "r.target", filter.target.as_ref().map(ToString::to_string));
    push_person(query, "r.requester_subject", "r.requester_name", filter.requester.as_deref());
    push_equal(query, "r.ticket", filter.ticket.clone());
    if let Some(from) = filter.submitted_from {
        query.push(" AND r.submitted_at >= ").push_bind(millis(from));
    }
    if let Some(until) = filter.submitted_until {
        query.push(" AND r.submitted_at < ").push_bind(millis(until));
    }
    if let Some(group) = &filter.group {
        query.push(" AND EXISTS (SELECT 1 FROM request_groups WHERE request_id = r.id");
        query.push(" AND name = ").push_bind(group.clone()).push(")");
    }
    if filter.alarmed {
        query.push(
            " AND EXISTS (SELECT 1 FROM audit_events WHERE request_id = r.id \
                    AND kind IN ('RevocationOverdue', 'WrappingTokenOpened'))",
        );
    }
    push_decisions(query, filter);
    push_grant(query, &filter.grant);
    // What is dearest comes last.
    if let Some(text) = &filter.text {
        dialect::push_text(query, text);
    }
}

fn push_decisions(query: &mut QueryBuilder<Db>, filter: &RequestFilter) {
    if let Some(approver) = &filter.approver {
        query.push(" AND EXISTS (SELECT 1 FROM decisions d WHERE d.request_id = r.id");
        push_person(query, "d.approver_subject", "d.approver_name", Some(approver));
        query.push(")");
    }
    let Some(signed) = filter.signed else { return };
    if signed {
        query.push(" AND EXISTS (SELECT 1 FROM decisions WHERE request_id = r.id AND signature IS NOT NULL)");
        query.push(" AND NOT");
    } else {
        query.push(" AND");
    }
    query.push(
        " EXISTS (SELECT 1 FROM decisions WHERE request_id = r.id \
                AND signature IS NULL AND verdict = 'APPROVED')",
    );
}

fn push_grant(query: &mut QueryBuilder<Db>, grant: &HeldGrant) {
    if *grant == HeldGrant::default() {
        return;
    }
    query.push(" AND EXISTS (SELECT 1 FROM grants g WHERE g.request_id = r.id");
    push_any(query, "g.state", &grant.states);
    push_any(query, "g.cause", &grant.causes);
    push_person(query, "g.holder_subject", "g.holder_name", grant.holder.as_deref());
    if let Some(until) = grant.held_until {
        query.push(" AND coalesce(g.activated_at, g.opened_at) < ").push_bind(millis(until));
    }
    if let Some(from) = grant.held_from {
        let from = millis(from);
        query.push(" AND (coalesce(g.revoked_at, g.failed_at) IS NULL");
        query.push(" OR coalesce(g.revoked_at, g.failed_at) > ").push_bind(from).push(")");
    }
    if let Some(late_by) = grant.late_by {
        query.push(" AND g.revoked_at - g.closes_at >= ").push_bind(whole_millis(late_by));
        query.push(" AND g.revoked_at > g.closes_at");
    }
    if let Some(early_by) = grant.early_by {
        query.push(" AND g.closes_at - g.revoked_at >= ").push_bind(whole_millis(early_by));
        query.push(" AND g.revoked_at < g.closes_at");
    }
    query.push(")");
}

/// Beyond what can be stored, no grant is late or early by so much.
pub(in crate::store) fn whole_millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}
