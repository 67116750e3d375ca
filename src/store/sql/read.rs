//! Reading requests and grants. Each read is one statement, so it sees one moment, and however many rows it answers with
//! it takes one round trip.
//!
//! Values go in as parameters only. Lists go by the id of the last row seen, so that a page stays what it is while rows
//! are added.

use std::collections::BTreeMap;

use chrono::DateTime;
use sqlx::QueryBuilder;

use super::{
    Db, dialect,
    grant_row::{self, GrantRow},
    readers::Readers,
    request_row::{self, RequestRow},
    rows::millis,
};
use crate::{
    access::{
        grant::Grant,
        handle::LeaseId,
        id::{GrantId, RequestId},
        limits::Held,
        policy::Scope,
        request::Request,
        target::TargetName,
        text::IdempotencyKey,
    },
    store::{GrantFilter, Slice, StoreError},
};

/// The beginning of a query that reads requests whole.
pub(in crate::store) fn requests_query() -> QueryBuilder<Db> {
    let mut query = QueryBuilder::new("SELECT ");
    push_request_columns(&mut query);
    query.push(" FROM requests AS r");
    query
}

/// A request as one row of `requests r`, in [`RequestRow`]'s columns. The decisions come as one of them, so that a single
/// statement, which sees a single moment, reads requests whole, however many they are.
pub(in crate::store) fn push_request_columns(query: &mut QueryBuilder<Db>) {
    query.push(request_row::COLUMNS).push(", ").push(dialect::DECISIONS).push(" AS decisions");
}

/// One request.
pub(in crate::store) async fn request(
    readers: &Readers,
    id: RequestId,
) -> Result<Option<Request>, StoreError> {
    let mut query = requests_query();
    query.push(" WHERE r.id = ").push_bind(id.to_string());
    Ok(all_requests(readers, query, "read a request").await?.pop())
}

/// The request that this person submitted with this key.
pub(in crate::store) async fn request_by_key(
    readers: &Readers,
    requester_subject: &str,
    key: &IdempotencyKey,
) -> Result<Option<Request>, StoreError> {
    let mut query = requests_query();
    query.push(" WHERE r.requester_subject = ").push_bind(requester_subject);
    query.push(" AND r.idempotency_key = ").push_bind(key.as_str());
    Ok(all_requests(readers, query, "read a request by its key").await?.pop())
}

/// One grant.
pub(in crate::store) async fn grant(readers: &Readers, id: GrantId) -> Result<Option<Grant>, StoreError> {
    let mut query = QueryBuilder::new(grant_row::SELECT);
    query.push(" WHERE g.id = ").push_bind(id.to_string());
    Ok(all_grants(readers, query, "read a grant").await?.pop())
}

/// A slice of the grants in the scope that match, the newest first.
pub(in crate::store) async fn grants(
    readers: &Readers,
    scope: &Scope,
    filter: &GrantFilter,
    slice: Slice<GrantId>,
) -> Result<Vec<Grant>, StoreError> {
    let mut query = QueryBuilder::new(grant_row::SELECT);
    query.push(" WHERE TRUE");
    push_scope(&mut query, scope, "g.holder_subject", "g.target");
    push_any(&mut query, "g.state", &filter.states);
    push_equal(&mut query, "g.target", filter.target.as_ref().map(ToString::to_string));
    push_person(&mut query, "g.holder_subject", "g.holder_name", filter.holder.as_deref());
    push_equal(&mut query, "g.request_id", filter.request.map(|id| id.to_string()));
    if let Some(overdue) = filter.overdue {
        query.push(" AND ((g.state = 'REVOKING' AND g.begun_at <= ").push_bind(millis(overdue.begun_by));
        query.push(") OR (g.state IN ('ISSUING', 'ACTIVE') AND g.closes_at <= ");
        query.push_bind(millis(overdue.closed_by)).push("))");
    }
    push_slice(&mut query, "g.id", slice.after.map(|id| id.to_string()), slice.limit);
    all_grants(readers, query, "list grants").await
}

/// The grants of each of these requests, the latest first.
pub(in crate::store) async fn grants_of(
    readers: &Readers,
    requests: &[RequestId],
) -> Result<BTreeMap<RequestId, Vec<Grant>>, StoreError> {
    let ids: Vec<_> = requests.iter().map(ToString::to_string).collect();
    let mut query = QueryBuilder::new(grant_row::SELECT);
    query.push(" WHERE g.request_id IN (");
    dialect::push_each(&mut query, ids);
    query.push(") ORDER BY g.id DESC");
    let mut grants: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for grant in all_grants(readers, query, "read the grants of requests").await? {
        grants.entry(grant.request).or_default().push(grant);
    }
    Ok(grants)
}

/// The recorded leases of a credential path. What is over has none, which the table's CHECKs see to.
pub(in crate::store) async fn known_leases(
    readers: &Readers,
    path: &str,
) -> Result<Vec<LeaseId>, StoreError> {
    let select = "SELECT lease_id FROM grants WHERE credential_path = $1 AND lease_id IS NOT NULL";
    let read = sqlx::query_scalar(select).bind(path).fetch_all(readers.pool());
    let leases: Vec<String> = readers.answer("read the known leases", read).await?;
    Ok(leases.into_iter().map(LeaseId::new).collect())
}

/// What there is of a target's grants but for those of one request. What is only looked at keeps a target's whole history from being
/// looked through: what is open is little, and so is what one person had.
pub(in crate::store) async fn held(
    readers: &Readers,
    target: &TargetName,
    holder_subject: &str,
    but_of: RequestId,
) -> Result<Held, StoreError> {
    let select = concat!(
        "SELECT count(*), count(*) FILTER (WHERE holder_subject = $1), \
                (SELECT max(revoked_at) FROM grants WHERE holder_subject = $1 AND ",
        looked_at!("target"),
        " = $2 AND ",
        looked_at!("request_id"),
        " <> $3) FROM grants WHERE state IN ('ISSUING', 'ACTIVE', 'REVOKING') AND ",
        looked_at!("target"),
        " = $2 AND ",
        looked_at!("request_id"),
        " <> $3"
    );
    let query = sqlx::query_as(select).bind(holder_subject).bind(target.as_str()).bind(but_of.to_string());
    let (in_all, by_person, last): (i64, i64, Option<i64>) =
        readers.answer("count grants", query.fetch_one(readers.pool())).await?;
    Ok(Held {
        by_person: by_person.unsigned_abs(),
        in_all: in_all.unsigned_abs(),
        last_ended_at: last.and_then(DateTime::from_timestamp_millis),
    })
}

/// Runs a query over [`request_row::COLUMNS`].
pub(in crate::store) async fn all_requests(
    readers: &Readers,
    mut query: QueryBuilder<Db>,
    operation: &'static str,
) -> Result<Vec<Request>, StoreError> {
    let read = query.build_query_as().fetch_all(readers.pool());
    let rows: Vec<RequestRow> = readers.answer(operation, read).await?;
    rows.into_iter().map(|row| row.read(operation)).collect()
}

/// Runs a query over [`grant_row::SELECT`].
pub(in crate::store) async fn all_grants(
    readers: &Readers,
    mut query: QueryBuilder<Db>,
    operation: &'static str,
) -> Result<Vec<Grant>, StoreError> {
    let read = query.build_query_as().fetch_all(readers.pool());
    let rows: Vec<GrantRow> = readers.answer(operation, read).await?;
    rows.into_iter().map(|row| row.read(operation)).collect()
}

/// Narrows to what the caller may see.
pub(in crate::store) fn push_scope(
    query: &mut QueryBuilder<Db>,
    scope: &Scope,
    owner_column: &'static str,
    target_column: &'static str,
) {
    let Scope::Some { owner, targets } = scope else { return };
    query.push(" AND (").push(owner_column).push(" = ").push_bind(owner.clone());
    if !targets.is_empty() {
        query.push(" OR ").push(target_column).push(" IN (");
        let mut list = query.separated(", ");
        for target in targets {
            list.push_bind(target.to_string());
        }
        query.push(")");
    }
    query.push(")");
}

pub(in crate::store) fn push_any(
    query: &mut QueryBuilder<Db>,
    column: &'static str,
    values: &[&'static str],
) {
    if values.is_empty() {
        return;
    }
    query.push(" AND ").push(column).push(" IN (");
    let mut list = query.separated(", ");
    for value in values {
        list.push_bind(*value);
    }
    query.push(")");
}

pub(in crate::store) fn push_equal(
    query: &mut QueryBuilder<Db>,
    column: &'static str,
    value: Option<String>,
) {
    if let Some(value) = value {
        query.push(" AND ").push(column).push(" = ").push_bind(value);
    }
}

pub(in crate::store) fn push_person(
    query: &mut QueryBuilder<Db>,
    subject_column: &'static str,
    name_column: &'static str,
    person: Option<&str>,
) {
    if let Some(person) = person {
        query.push(" AND (").push(subject_column).push(" = ").push_bind(person.to_owned());
        query.push(" OR ").push(name_column).push(" = ").push_bind(person.to_owned()).push(")");
    }
}

fn push_slice(query: &mut QueryBuilder<Db>, column: &'static str, after: Option<String>, limit: u32) {
    if let Some(after) = after {
        query.push(" AND ").push(column).push(" < ").push_bind(after);
    }
    query.push(" ORDER BY ").push(column).push(" DESC LIMIT ").push_bind(i64::from(limit));
}
