//! The process that has a database, and what it records: for commands that ask a running daemon to do something and wait
//! for the record of it. They only read.

use std::{fs, path::Path};

use serde_json::Value;
use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};

use super::{files, sql::events};
use crate::store::OpenError;

/// The id of the process that has the database, if one does.
#[must_use]
pub fn pid(file: &Path) -> Option<i32> {
    let text = fs::read_to_string(files::lock_path(file)).ok()?;
    let is_held = matches!(files::lock(file), Err(OpenError::InUse { .. }));
    text.trim().parse().ok().filter(|_| is_held)
}

/// The place of the last event of a kind, with its detail; none if there is no such event.
///
/// # Errors
///
/// If the database can't be read.
pub async fn last_fact(file: &Path, kind: &str) -> Result<Option<(i64, Value)>, OpenError> {
    let failed = OpenError::database("read the audit log");
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut connection = options.connect().await.map_err(&failed)?;
    events::last_of(&mut connection, kind).await.map_err(failed)
}
