//! Freezes: the few that stand, and their changes.

use sqlx::{
    FromRow,
    sqlite::{SqliteConnection, SqliteQueryResult},
};

use super::{
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

const SELECT: &str = "\
    SELECT id, extent, by_subject, by_name, reason, frozen_at, ends_grants, revision \
      FROM freezes WHERE thawed_at IS NULL ORDER BY extent";

const INSERT: &str = "\
    INSERT INTO freezes (id, extent, by_subject, by_name, reason, frozen_at, ends_grants, revision) \
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)";

const UPDATE: &str = "\
    UPDATE freezes SET by_subject = ?, by_name = ?, reason = ?, ends_grants = max(ends_grants, ?), thawed_at = ?, \
                       revision = ? \
     WHERE id = ? AND revision = ? AND thawed_at IS NULL";

/// A freeze as one row, also one that is over.
#[derive(FromRow)]
pub(super) struct FreezeRow {
    #[sqlx(flatten)]
    row: Row,
    thawed_at: Option<i64>,
}

impl FreezeRow {
    /// The freeze.
    pub(super) fn freeze(self) -> Result<Freeze, StoreError> {
        let what = format!("freeze {}", self.row.id);
        let read = || {
            let freeze = self.row.read()?;
            let Some(thawed_at) = self.thawed_at else { return Ok(freeze) };
            Ok(Freeze { state: State::Thawed { thawed_at: instant(thawed_at)? }, ..freeze })
        };
        read().map_err(|problem| corrupt("read the freezes", what, problem))
    }
}

#[derive(FromRow)]
struct Row {
    id: String,
    extent: String,
    by_subject: String,
    by_name: String,
    reason: String,
    frozen_at: i64,
    ends_grants: bool,
    revision: i64,
}

/// The freezes that stand, in the order of what they cover.
pub(super) async fn standing(readers: &Readers) -> Result<Vec<Freeze>, StoreError> {
    let operation = "read the freezes";
    let rows: Vec<Row> = readers.answer(operation, sqlx::query_as(SELECT).fetch_all(readers.pool())).await?;
    let read = |row: Row| {
        let what = format!("freeze {}", row.id);
        row.read().map_err(|problem| corrupt(operation, what, problem))
    };
    rows.into_iter().map(read).collect()
}

impl Row {
    fn read(self) -> Result<Freeze, Problem> {
        Ok(Freeze {
            id: id(&self.id)?,
            extent: self.extent.parse().map_err(|_| "its extent is no target's name")?,
            by: person(self.by_subject, self.by_name),
            reason: Prose::recorded(&self.reason).ok_or("its reason breaks the rules for texts")?,
            frozen_at: instant(self.frozen_at)?,
            state: State::Frozen { ends_grants: self.ends_grants },
            revision: self.revision,
        })
    }
}

/// Stores a freeze's change in the transaction that is under way.
pub(super) async fn write(
    connection: &mut SqliteConnection,
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

async fn insert(
    connection: &mut SqliteConnection,
    freeze: &Freeze,
) -> Result<SqliteQueryResult, sqlx::Error> {
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

async fn update(
    connection: &mut SqliteConnection,
    freeze: &Freeze,
) -> Result<SqliteQueryResult, sqlx::Error> {
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
