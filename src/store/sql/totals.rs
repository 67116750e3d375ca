//! Many exceptions in numbers: one statement, so one moment, whose rows are counted as they come and kept nowhere.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use sqlx::{FromRow, QueryBuilder};

use super::{
    Db,
    condition::push_conditions,
    readers::Readers,
    rows::{corrupt, millis},
    stream::Stream,
};
use crate::{
    access::{
        policy::Scope,
        totals::{Counted, Totals},
    },
    store::{RequestFilter, StoreError},
};

const OPERATION: &str = "count exceptions";

/// What is counted of one request. A grant that never was ACTIVE was never held.
const COLUMNS: &str = "\
           r.id, r.target, r.groups, r.state, r.submitted_at, \
           (SELECT max(decided_at) FROM decisions WHERE request_id = r.id) AS decided_at, \
           (SELECT max(closes_at - opens_at) FROM grants \
             WHERE request_id = r.id AND activated_at IS NOT NULL) AS planned_ms";

#[derive(FromRow)]
struct Row {
    id: String,
    target: String,
    groups: String,
    state: String,
    submitted_at: i64,
    decided_at: Option<i64>,
    planned_ms: Option<i64>,
    held_ms: Option<i64>,
}

/// Counts all requests in the scope that match; what isn't over counts until `now`.
pub(in crate::store) async fn totals(
    readers: &Readers,
    scope: &Scope,
    filter: &RequestFilter,
    now: DateTime<Utc>,
) -> Result<Totals, StoreError> {
    let mut query = statement(scope, filter, now);
    let rows = query.build_query_as::<Row>().fetch(readers.pool());
    let counted = rows.try_fold((Totals::default(), None), |(mut totals, malformed), row| async move {
        let id = row.id.clone();
        match row.counted() {
            Some(one) => totals.add(&one),
            None => return Ok((totals, Some(id))),
        }
        Ok((totals, malformed))
    });
    match readers.answer(OPERATION, counted).await? {
        (totals, None) => Ok(totals),
        (_, Some(id)) => Err(corrupt(OPERATION, format!("request {id}"), "its groups are malformed")),
    }
}

/// The one statement: all of a stream, without a bound.
fn statement(scope: &Scope, filter: &RequestFilter, now: DateTime<Utc>) -> QueryBuilder<Db> {
    let stream = Stream::of(scope, filter);
    let mut query = QueryBuilder::new("WITH stream(key) AS NOT MATERIALIZED (");
    stream.push(&mut query, filter, None, None);
    query.push(") SELECT ").push(COLUMNS);
    query.push(concat!(", (SELECT CAST(sum(", greatest!(), "(coalesce(revoked_at, ")).push_bind(millis(now));
    query.push(
        ") - activated_at, 0)) AS BIGINT) FROM grants WHERE request_id = r.id AND activated_at IS NOT NULL) AS held_ms",
    );
    query
        .push(concat!(" FROM stream AS s", join_in_order!(), " requests AS r ON r."))
        .push(stream.key())
        .push(" = s.key WHERE TRUE");
    push_conditions(&mut query, scope, &stream.rest(filter));
    query
}

impl Row {
    /// What is counted; `None` if the groups can't be read.
    fn counted(self) -> Option<Counted> {
        let length = |millis: i64| Duration::from_millis(u64::try_from(millis).unwrap_or_default());
        let decided = self.decided_at.filter(|_| Counted::is_decided(&self.state));
        Some(Counted {
            target: self.target,
            groups: serde_json::from_str(&self.groups).ok()?,
            state: self.state,
            granted: self.planned_ms.zip(self.held_ms).map(|(planned, held)| (length(planned), length(held))),
            decided: decided.map(|at| length(at.saturating_sub(self.submitted_at))),
        })
    }
}
