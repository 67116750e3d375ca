//! What the sweep has to do, and when it has to look next. Both are asked for again and again, so neither reads more of
//! a table than what is due.

use std::{collections::BTreeMap, str::FromStr};

use chrono::{DateTime, Utc};

use super::{
    readers::Readers,
    rows::{corrupt, id, instant, millis, target},
};
use crate::{
    access::{
        id::{GrantId, RequestId},
        target::TargetName,
    },
    store::{Due, StoreError},
};

/// How many of a kind one target may have in one answer: more than can be stuck on a target that isn't down as a whole,
/// and few enough that a target with a flood of them costs the others little.
const PER_TARGET_MAX: i64 = 1000;

/// Due requests, by `lapses_at`.
pub(in crate::store) const LAPSING: &str = "\
    SELECT id, target FROM (SELECT id, target, lapses_at, \
                                   row_number() OVER (PARTITION BY target ORDER BY lapses_at, id) AS place \
                              FROM requests WHERE lapses_at <= $1) AS due \
     WHERE place <= $2 ORDER BY lapses_at, id";

/// Due grants, by `closes_at`.
pub(in crate::store) const CLOSING: &str = concat!(
    "SELECT id, target FROM (SELECT id, target, closes_at, \
                                    row_number() OVER (PARTITION BY target ORDER BY closes_at, id) AS place \
                               FROM grants",
    indexed_by!("grants_closing"),
    " WHERE state IN ('ISSUING', 'ACTIVE') AND closes_at <= $1) AS due \
       WHERE place <= $2 ORDER BY closes_at, id"
);

/// Ending grants, in the order of the index, so that a flood of them need not be sorted.
pub(in crate::store) const REVOKING: &str = concat!(
    "SELECT id, target FROM (SELECT id, target, begun_at, \
                                    row_number() OVER (PARTITION BY target ORDER BY begun_at, id) AS place \
                               FROM grants",
    indexed_by!("grants_revoking"),
    " WHERE state = 'REVOKING') AS due WHERE place <= $1 ORDER BY begun_at, id"
);

pub(in crate::store) const NEXT_DEADLINE: &str = concat!(
    "SELECT min(at) FROM (SELECT min(lapses_at) AS at FROM requests WHERE lapses_at > $1 \
                          UNION ALL \
                          SELECT min(closes_at) FROM grants",
    indexed_by!("grants_closing"),
    " WHERE state IN ('ISSUING', 'ACTIVE') AND closes_at > $1) AS deadlines"
);

/// What is due at `now`.
pub(in crate::store) async fn due(readers: &Readers, now: DateTime<Utc>) -> Result<Due, StoreError> {
    let lapsing = sqlx::query_as(LAPSING).bind(millis(now)).bind(PER_TARGET_MAX);
    let closing = sqlx::query_as(CLOSING).bind(millis(now)).bind(PER_TARGET_MAX);
    let revoking = sqlx::query_as(REVOKING).bind(PER_TARGET_MAX);
    let pool = readers.pool();
    let reads = async {
        Ok((lapsing.fetch_all(pool).await?, closing.fetch_all(pool).await?, revoking.fetch_all(pool).await?))
    };
    let (lapsing, closing, revoking) = readers.answer("read what is due", reads).await?;
    let lapsing: Vec<(RequestId, TargetName)> = named(lapsing, "read the lapsing requests")?;
    let closing = named(closing, "read the closing grants")?;
    let revoking = named(revoking, "read the ending grants")?;
    let is_cut = is_cut(&closing) || is_cut(&revoking);
    Ok(Due { lapsing: lapsing.into_iter().map(|(id, _)| id).collect(), closing, revoking, is_cut })
}

/// Whether a target has as many as it may have in one answer.
fn is_cut(grants: &[(GrantId, TargetName)]) -> bool {
    let mut counts = BTreeMap::new();
    for (_, target) in grants {
        *counts.entry(target).or_insert(0_i64) += 1;
    }
    counts.values().any(|count| *count >= PER_TARGET_MAX)
}

fn named<Id: FromStr>(
    rows: Vec<(String, String)>,
    operation: &'static str,
) -> Result<Vec<(Id, TargetName)>, StoreError> {
    let read = |(row, name): (String, String)| Ok((id(&row)?, target(&name)?));
    let read = |row| read(row).map_err(|problem| corrupt(operation, "a row", problem));
    rows.into_iter().map(read).collect()
}

/// When the next request lapses or the next window closes, later than `now`.
pub(in crate::store) async fn next_deadline(
    readers: &Readers,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let operation = "read the next deadline";
    let read = sqlx::query_scalar(NEXT_DEADLINE).bind(millis(now)).fetch_one(readers.pool());
    let at: Option<i64> = readers.answer(operation, read).await?;
    at.map(instant).transpose().map_err(|problem| corrupt(operation, "a deadline", problem))
}
