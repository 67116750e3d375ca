//! What the daemon made for itself, once, and must find again. Nothing here is ever changed or shown.

use super::{DbConnection, readers::Readers, rows::corrupt};
use crate::{clock::Clock, store::StoreError};

/// Makes the key that handles are digested with, unless there is one: events rest on the one that was made first.
pub(in crate::store) async fn make(
    connection: &mut DbConnection,
    clock: &dyn Clock,
) -> Result<(), sqlx::Error> {
    let key = [clock.random().to_le_bytes(), clock.random().to_le_bytes()].concat();
    let insert = "INSERT INTO settings (name, value) VALUES ('digest_key', $1) ON CONFLICT (name) DO NOTHING";
    sqlx::query(insert).bind(key).execute(connection).await.map(|_| ())
}

/// The key that handles are digested with.
pub(in crate::store) async fn digest_key(readers: &Readers) -> Result<[u8; 32], StoreError> {
    let operation = "read the digest key";
    let select = "SELECT value FROM settings WHERE name = 'digest_key'";
    let read = sqlx::query_scalar(select).fetch_optional(readers.pool());
    let key: Option<Vec<u8>> = readers.answer(operation, read).await?;
    let key = key.ok_or_else(|| corrupt(operation, "the digest key", "it is missing"))?;
    key.try_into().map_err(|_| corrupt(operation, "the digest key", "it doesn't have 32 bytes"))
}
