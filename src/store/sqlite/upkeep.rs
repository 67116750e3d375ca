//! The grants that the daemon has to end one day, in pages and in the order in which it has to. Each page is read along
//! an index of its own, so it reads no more rows than it answers with, however many there are.

use chrono::{DateTime, Utc};
use sqlx::{QueryBuilder, Sqlite};

use super::{grant_row, read::all_grants, readers::Readers, rows::millis};
use crate::{
    access::{grant::Grant, id::GrantId},
    store::StoreError,
};

/// A place in the order of time: an instant, and the id that tells apart what happens in the same millisecond.
pub(super) type Place = (DateTime<Utc>, GrantId);

/// The grants that are held or being made and whose window closes by then, the earliest first.
pub(super) async fn closing(
    readers: &Readers,
    until: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<Grant>, StoreError> {
    all_grants(readers, select_closing(until, limit), "read the closing windows").await
}

/// The grants that are held or being made, in the order of their ids.
pub(super) async fn open_grants(
    readers: &Readers,
    after: Option<GrantId>,
    limit: u32,
) -> Result<Vec<Grant>, StoreError> {
    all_grants(readers, select_open(after, limit), "read the open grants").await
}

/// The grants that are ending, the longest-ending first.
pub(super) async fn endings(
    readers: &Readers,
    after: Option<Place>,
    limit: u32,
) -> Result<Vec<Grant>, StoreError> {
    all_grants(readers, select_endings(after, limit), "read the endings").await
}

// The indexes are named, because SQLite would rather look grants up by their state and sort what it found.

fn select_closing(until: DateTime<Utc>, limit: u32) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(grant_row::SELECT);
    query.push(" INDEXED BY grants_closing WHERE g.state IN ('ISSUING', 'ACTIVE')");
    query.push(" AND g.closes_at <= ").push_bind(millis(until));
    query.push(" ORDER BY g.closes_at, g.id LIMIT ").push_bind(i64::from(limit));
    query
}

fn select_open(after: Option<GrantId>, limit: u32) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(grant_row::SELECT);
    query.push(" INDEXED BY grants_open WHERE g.state IN ('ISSUING', 'ACTIVE')");
    if let Some(after) = after {
        query.push(" AND g.id > ").push_bind(after.to_string());
    }
    query.push(" ORDER BY g.id LIMIT ").push_bind(i64::from(limit));
    query
}

fn select_endings(after: Option<Place>, limit: u32) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(grant_row::SELECT);
    query.push(" INDEXED BY grants_longest_revoking WHERE g.state = 'REVOKING'");
    if let Some((begun_at, id)) = after {
        query.push(" AND (g.begun_at, g.id) > (").push_bind(millis(begun_at));
        query.push(", ").push_bind(id.to_string()).push(")");
    }
    query.push(" ORDER BY g.begun_at, g.id LIMIT ").push_bind(i64::from(limit));
    query
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::rows::tests::plan;

    #[tokio::test]
    async fn a_page_reads_no_more_than_it_shows() {
        let (at, id) = (DateTime::UNIX_EPOCH, GrantId::new(DateTime::UNIX_EPOCH, 1));
        let cases = [
            (select_closing(at, 1), "SEARCH g USING INDEX grants_closing (closes_at<?)"),
            (select_open(None, 1), "SCAN g USING INDEX grants_open"),
            (select_open(Some(id), 1), "SEARCH g USING INDEX grants_open (id>?)"),
            (select_endings(None, 1), "SCAN g USING INDEX grants_longest_revoking"),
            (
                select_endings(Some((at, id)), 1),
                "SEARCH g USING INDEX grants_longest_revoking ((begun_at,id)>(?,?))",
            ),
        ];
        for (query, expected) in cases {
            // Nothing is sorted, or that would be a second step.
            assert_eq!(plan(query.sql().as_str()).await, [expected]);
        }
    }
}
