//! Checkpoints, and what witnesses said of them. What was signed stays; a witness's later word on the same checkpoint takes
//! the place of his earlier one.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::{
    DbConnection,
    readers::Readers,
    rows::{Problem, corrupt, failed, instant, millis},
    write::exactly_one,
};
use crate::{
    ledger::tree::Hash,
    store::{Checkpoint, Cosignature, StoreError},
};

const INSERT: &str = "INSERT INTO checkpoints (size, root, note, signed_at) VALUES ($1, $2, $3, $4)";

const LAST: &str = "SELECT size, root, note, signed_at FROM checkpoints ORDER BY size DESC LIMIT 1";

const FIRST_OF: &str =
    "SELECT size, root, note, signed_at FROM checkpoints WHERE size >= $1 ORDER BY size LIMIT 1";

const COSIGN: &str = "\
    INSERT INTO cosignatures (size, witness, line, cosigned_at) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (size, witness) DO UPDATE SET line = excluded.line, cosigned_at = excluded.cosigned_at \
     WHERE excluded.cosigned_at >= cosignatures.cosigned_at";

const COSIGNATURES: &str =
    "SELECT size, witness, line, cosigned_at FROM cosignatures WHERE size = $1 ORDER BY witness";

/// Keeps a checkpoint in the transaction that is under way.
pub(in crate::store) async fn keep(
    connection: &mut DbConnection,
    checkpoint: &Checkpoint,
) -> Result<(), StoreError> {
    let operation = "keep a checkpoint";
    let query = sqlx::query(INSERT)
        .bind(size(checkpoint.size))
        .bind(checkpoint.root.0.to_vec())
        .bind(checkpoint.note.as_str())
        .bind(millis(checkpoint.signed_at));
    query.execute(connection).await.map(|_| ()).map_err(failed(operation))
}

/// Keeps a cosignature in the transaction that is under way. An earlier one than is kept is a conflict.
pub(in crate::store) async fn keep_cosignature(
    connection: &mut DbConnection,
    cosignature: &Cosignature,
) -> Result<(), StoreError> {
    let operation = "keep a cosignature";
    let query = sqlx::query(COSIGN)
        .bind(size(cosignature.size))
        .bind(cosignature.witness.as_str())
        .bind(cosignature.line.as_str())
        .bind(millis(cosignature.cosigned_at));
    exactly_one(operation, &query.execute(connection).await.map_err(failed(operation))?)
}

/// The last checkpoint.
pub(in crate::store) async fn last(readers: &Readers) -> Result<Option<Checkpoint>, StoreError> {
    one(readers, sqlx::query_as(LAST).fetch_optional(readers.pool())).await
}

/// The first checkpoint of this many events or more.
pub(in crate::store) async fn first_of(
    readers: &Readers,
    events: u64,
) -> Result<Option<Checkpoint>, StoreError> {
    one(readers, sqlx::query_as(FIRST_OF).bind(size(events)).fetch_optional(readers.pool())).await
}

/// What witnesses said of the checkpoint of this size.
pub(in crate::store) async fn cosignatures(
    readers: &Readers,
    events: u64,
) -> Result<Vec<Cosignature>, StoreError> {
    let operation = "read cosignatures";
    let read = sqlx::query_as(COSIGNATURES).bind(size(events)).fetch_all(readers.pool());
    let rows: Vec<CosignatureRow> = readers.answer(operation, read).await?;
    let read =
        |row: CosignatureRow| row.read().map_err(|problem| corrupt(operation, "a cosignature", problem));
    rows.into_iter().map(read).collect()
}

/// The latest time at which a witness signed anything.
pub(in crate::store) async fn last_cosigned_at(
    readers: &Readers,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let operation = "read when a witness signed last";
    let read = sqlx::query_scalar("SELECT max(cosigned_at) FROM cosignatures").fetch_one(readers.pool());
    let at: Option<i64> = readers.answer(operation, read).await?;
    at.map(instant).transpose().map_err(|problem| corrupt(operation, "a cosignature", problem))
}

async fn one(
    readers: &Readers,
    read: impl Future<Output = Result<Option<CheckpointRow>, sqlx::Error>>,
) -> Result<Option<Checkpoint>, StoreError> {
    let operation = "read a checkpoint";
    let row = readers.answer(operation, read).await?;
    row.map(CheckpointRow::read).transpose().map_err(|problem| corrupt(operation, "a checkpoint", problem))
}

/// No log has more than fits.
fn size(events: u64) -> i64 {
    i64::try_from(events).unwrap_or(i64::MAX)
}

#[derive(FromRow)]
pub(in crate::store) struct CheckpointRow {
    size: i64,
    root: Vec<u8>,
    note: String,
    signed_at: i64,
}

impl CheckpointRow {
    /// The checkpoint.
    pub(in crate::store) fn checkpoint(self) -> Result<Checkpoint, StoreError> {
        let what = format!("the checkpoint of {} events", self.size);
        self.read().map_err(|problem| corrupt("read a checkpoint", what, problem))
    }

    fn read(self) -> Result<Checkpoint, Problem> {
        Ok(Checkpoint {
            size: self.size.unsigned_abs(),
            root: Hash(self.root.try_into().map_err(|_| "its root doesn't have 32 bytes")?),
            note: self.note,
            signed_at: instant(self.signed_at)?,
        })
    }
}

#[derive(FromRow)]
struct CosignatureRow {
    size: i64,
    witness: String,
    line: String,
    cosigned_at: i64,
}

impl CosignatureRow {
    fn read(self) -> Result<Cosignature, Problem> {
        Ok(Cosignature {
            size: self.size.unsigned_abs(),
            witness: self.witness,
            line: self.line,
            cosigned_at: instant(self.cosigned_at)?,
        })
    }
}
