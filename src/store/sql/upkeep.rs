//! The grants that the daemon has to end one day, in pages and in the order in which it has to. Each page is read along
//! an index of its own, so it reads no more rows than it answers with, however many there are.

use chrono::{DateTime, Utc};
use sqlx::QueryBuilder;

use super::{Db, grant_row, read::all_grants, readers::Readers, rows::millis};
use crate::{
    access::{grant::Grant, id::GrantId},
    store::StoreError,
};

/// A place in the order of time: an instant, and the id that tells apart what happens in the same millisecond.
pub(in crate::store) type Place = (DateTime<Utc>, GrantId);

/// The grants that are held or being made and whose window closes by then, the earliest first.
pub(in crate::store) async fn closing(
    readers: &Readers,
    until: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<Grant>, StoreError> {
    all_grants(readers, select_closing(until, limit), "read the closing windows").await
}

/// The grants that are held or being made, in the order of their ids.
pub(in crate::store) async fn open_grants(
    readers: &Readers,
    after: Option<GrantId>,
    limit: u32,
) -> Result<Vec<Grant>, StoreError> {
    all_grants(readers, select_open(after, limit), "read the open grants").await
}

/// The grants that are ending, the longest-ending first.
pub(in crate::store) async fn endings(
    readers: &Readers,
    after: Option<Place>,
    limit: u32,
) -> Result<Vec<Grant>, StoreError> {
    all_grants(readers, select_endings(after, limit), "read the endings").await
}

pub(in crate::store) fn select_closing(until: DateTime<Utc>, limit: u32) -> QueryBuilder<Db> {
    let mut query = QueryBuilder::new(grant_row::SELECT);
    query.push(indexed_by!("grants_closing")).push(" WHERE g.state IN ('ISSUING', 'ACTIVE')");
    query.push(" AND g.closes_at <= ").push_bind(millis(until));
    query.push(" ORDER BY g.closes_at, g.id LIMIT ").push_bind(i64::from(limit));
    query
}

pub(in crate::store) fn select_open(after: Option<GrantId>, limit: u32) -> QueryBuilder<Db> {
    let mut query = QueryBuilder::new(grant_row::SELECT);
    query.push(indexed_by!("grants_open")).push(" WHERE g.state IN ('ISSUING', 'ACTIVE')");
    if let Some(after) = after {
        query.push(" AND g.id > ").push_bind(after.to_string());
    }
    query.push(" ORDER BY g.id LIMIT ").push_bind(i64::from(limit));
    query
}

pub(in crate::store) fn select_endings(after: Option<Place>, limit: u32) -> QueryBuilder<Db> {
    let mut query = QueryBuilder::new(grant_row::SELECT);
    query.push(indexed_by!("grants_longest_revoking")).push(" WHERE g.state = 'REVOKING'");
    if let Some((begun_at, id)) = after {
        query.push(" AND (g.begun_at, g.id) > (").push_bind(millis(begun_at));
        query.push(", ").push_bind(id.to_string()).push(")");
    }
    query.push(" ORDER BY g.begun_at, g.id LIMIT ").push_bind(i64::from(limit));
    query
}
