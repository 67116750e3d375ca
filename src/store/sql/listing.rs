//! Lists of requests, page by page, in time that doesn't grow with the history.
//!
//! A page is read from one *stream*: an index that gives the ids of some of the requests in their order (`stream.rs`).
//! What the filter says besides is asked of each that comes, and the search ends when the page is full, or when it has
//! looked at [`LOOKED_AT_MAX`], or at [`READ_MAX`] where it searches the texts of each; where it ended is part of the answer,
//! and the next page goes on there. All of it is one statement, so it sees one moment.

use sqlx::{FromRow as _, QueryBuilder, Row as _};

use super::{
    Db, DbRow,
    condition::push_conditions,
    dialect,
    read::push_request_columns,
    readers::Readers,
    request_row::RequestRow,
    rows::{failed, id},
    stream::Stream,
};
use crate::{
    access::{id::RequestId, policy::Scope, request::Request},
    store::{Part, RequestFilter, Slice, StoreError},
};

/// How many requests are looked at for one page at most: some ten milliseconds' work.
pub(in crate::store) const LOOKED_AT_MAX: u32 = 10_000;

/// How many are looked at for one page at most where each one's texts are searched: some milliseconds' work, or half a second's
/// in a history of a million if none of the texts are ASCII, since the indexes of texts are asked about those.
pub(in crate::store) const READ_MAX: u32 = 500;

const OPERATION: &str = "list requests";

/// A slice of the requests in the scope that match.
pub(in crate::store) async fn requests(
    readers: &Readers,
    scope: &Scope,
    filter: &RequestFilter,
    slice: Slice<RequestId>,
) -> Result<Part<Request>, StoreError> {
    part(readers, scope, filter, slice, looked_at_max(scope, filter)).await
}

pub(in crate::store) fn looked_at_max(scope: &Scope, filter: &RequestFilter) -> u32 {
    let searches_each = Stream::of(scope, filter).rest(filter).text.is_some();
    if searches_each { READ_MAX } else { LOOKED_AT_MAX }
}

pub(in crate::store) async fn part(
    readers: &Readers,
    scope: &Scope,
    filter: &RequestFilter,
    slice: Slice<RequestId>,
    looked_at_max: u32,
) -> Result<Part<Request>, StoreError> {
    let mut query = statement(scope, filter, slice, looked_at_max);
    let rows = readers.answer(OPERATION, query.build().fetch_all(readers.pool())).await?;
    let resume: Option<String> = match rows.first() {
        Some(row) => row.try_get("resume").map_err(failed(OPERATION))?,
        None => None,
    };
    let malformed = |problem| super::rows::corrupt(OPERATION, "a place in the list", problem);
    let resume = resume.map(|resume| id(&resume)).transpose().map_err(malformed)?;
    let items = rows.iter().filter_map(request).collect::<Result<Vec<_>, _>>()?;
    Ok(Part { items, resume })
}

/// The request in a row; none is in the one row of an empty page.
fn request(row: &DbRow) -> Option<Result<Request, StoreError>> {
    let is_there = |row: &DbRow| row.try_get::<Option<&str>, _>("id").map(|id| id.is_some());
    match is_there(row) {
        Ok(false) => None,
        Ok(true) => {
            Some(RequestRow::from_row(row).map_err(failed(OPERATION)).and_then(|row| row.read(OPERATION)))
        }
        Err(error) => Some(Err(failed(OPERATION)(error))),
    }
}

/// The one statement. The streams' own order is what the page is filled in: `CROSS JOIN` keeps SQLite from turning the
/// two around, and each stream is an index in order, which is read as far as it is needed.
pub(in crate::store) fn statement(
    scope: &Scope,
    filter: &RequestFilter,
    slice: Slice<RequestId>,
    looked_at_max: u32,
) -> QueryBuilder<Db> {
    let stream = Stream::of(scope, filter);
    let (key, direction) = (stream.key(), if filter.oldest_first { "ASC" } else { "DESC" });
    let mut query = QueryBuilder::new("WITH stream(key) AS NOT MATERIALIZED (");
    stream.push(&mut query, filter, slice.after, Some(looked_at_max));
    query.push("), page(id) AS MATERIALIZED (SELECT r.id FROM stream AS s");
    query.push(concat!(join_in_order!(), " requests AS r ON r."));
    query.push(key).push(" = s.key WHERE TRUE");
    push_conditions(&mut query, scope, &stream.rest(filter));
    dialect::push_stream_order(&mut query, direction);
    query.push(" LIMIT ").push_bind(i64::from(slice.limit));
    // In a CASE, so that the stream isn't read on for a page that is full.
    query.push(") SELECT CASE WHEN (SELECT count(*) FROM page) < ").push_bind(i64::from(slice.limit));
    query.push(" THEN ");
    stream.push_resume(&mut query, filter, slice.after, looked_at_max);
    query.push(" END");
    query.push(" AS resume, ");
    push_request_columns(&mut query);
    query
        .push(" FROM (SELECT 1) AS one LEFT JOIN requests AS r ON r.id IN (SELECT id FROM page) ORDER BY r.");
    query.push(key).push(" ").push(direction);
    query
}
