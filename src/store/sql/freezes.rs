//! Freezes: the few that stand, those that are over, and their changes.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::{
    DbConnection, Done,
    readers::Readers,
    rows::{Problem, corrupt, failed, id, instant, millis, person},
    write::{exactly_one, refused},
};
use crate::{
    access::{
        change::Change,
        freeze::{Freeze, State},
        text::Prose,
    },
    store::StoreError,
};

const READ: &str = "read the freezes";

const SELECT: &str = "\
    SELECT id, extent, by_subject, by_name, reason, frozen_at, ends_grants, thawed_at, revision \
      FROM freezes WHERE thawed_at IS NULL ORDER BY extent";

const SELECT_THAWED: &str = "\
    SELECT id, extent, by_subject, by_name, reason, frozen_at, ends_grants, thawed_at, revision FROM freezes \
     WHERE texts_erased_at IS NULL AND thawed_at < $1 ORDER BY thawed_at, id LIMIT $2";

const INSERT: &str = "\
    INSERT INTO freezes (id, extent, by_subject, by_name, reason, frozen_at, ends_grants, revision) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

const UPDATE: &str = "\
    UPDATE freezes SET by_subject = $1, by_name = $2, reason = $3, ends_grants = (ends_grants OR $4), thawed_at = $5, \
                       revision = $6 \
     WHERE id = $7 AND revision = $8 AND thawed_at IS NULL";

/// A freeze as one row, also one that is over.
#[derive(FromRow)]
pub(in crate::store) struct Row {
    id: String,
    extent: String,
    by_subject: String,
    by_name: String,
    reason: String,
    frozen_at: i64,
    ends_grants: bool,
    thawed_at: Option<i64>,
    revision: i64,
}

/// The freezes that stand, in the order of what they cover.
pub(in crate::store) async fn standing(readers: &Readers) -> Result<Vec<Freeze>, StoreError> {
    all(readers, sqlx::query_as(SELECT).fetch_all(readers.pool())).await
}

/// Those that were thawed before then and have their texts, the oldest thaw first.
pub(in crate::store) async fn thawed_with_texts(
    readers: &Readers,
    until: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<Freeze>, StoreError> {
    let query = sqlx::query_as(SELECT_THAWED).bind(millis(until)).bind(i64::from(limit));
    all(readers, query.fetch_all(readers.pool())).await
}

async fn all(
    readers: &Readers,
    rows: impl Future<Output = Result<Vec<Row>, sqlx::Error>>,
) -> Result<Vec<Freeze>, StoreError> {
    let rows = readers.answer(READ, rows).await?;
    rows.into_iter().map(Row::freeze).collect()
}

impl Row {
    /// The freeze.
    pub(in crate::store) fn freeze(self) -> Result<Freeze, StoreError> {
        let what = format!("freeze {}", self.id);
        self.read().map_err(|problem| corrupt(READ, what, problem))
    }

    fn read(self) -> Result<Freeze, Problem> {
        Ok(Freeze {
            id: id(&self.id)?,
            extent: self.extent.parse().map_err(|_| "its extent is no target's name")?,
            by: person(self.by_subject, self.by_name),
            reason: Prose::recorded(&self.reason).ok_or("its reason breaks the rules for texts")?,
            frozen_at: instant(self.frozen_at)?,
            state: match self.thawed_at.map(instant).transpose()? {
                Some(thawed_at) => State::Thawed { thawed_at },
                None => State::Frozen { ends_grants: self.ends_grants },
            },
            revision: self.revision,
        })
    }
}

/// Stores a freeze's change in the transaction that is under way.
pub(in crate::store) async fn write(
    connection: &mut DbConnection,
    change: &Change<Freeze>,
) -> Result<(), StoreError> {
    let operation = "record a freeze";
    let after = change.after();
    if change.from().is_none() {
        return insert(connection, after).await.map(|_| ()).map_err(refused(operation));
    }
    let done = update(connection, after).await.map_err(failed(operation))?;
    exactly_one(operation, &done)
}

async fn insert(connection: &mut DbConnection, freeze: &Freeze) -> Result<Done, sqlx::Error> {
    sqlx::query(INSERT)
        .bind(freeze.id.to_string())
        .bind(freeze.extent.to_string())
        .bind(freeze.by.subject.as_str())
        .bind(freeze.by.name.as_str())
        .bind(freeze.reason.as_str())
        .bind(millis(freeze.frozen_at))
        .bind(ends_grants(freeze))
        .bind(freeze.revision)
        .execute(connection)
        .await
}

async fn update(connection: &mut DbConnection, freeze: &Freeze) -> Result<Done, sqlx::Error> {
    let thawed_at = match freeze.state {
        State::Thawed { thawed_at } => Some(millis(thawed_at)),
        State::Frozen { .. } => None,
    };
    sqlx::query(UPDATE)
        .bind(freeze.by.subject.as_str())
        .bind(freeze.by.name.as_str())
        .bind(freeze.reason.as_str())
        .bind(ends_grants(freeze))
        .bind(thawed_at)
        .bind(freeze.revision)
        .bind(freeze.id.to_string())
        .bind(freeze.revision - 1)
        .execute(connection)
        .await
}

const fn ends_grants(freeze: &Freeze) -> bool {
    matches!(freeze.state, State::Frozen { ends_grants: true })
}
