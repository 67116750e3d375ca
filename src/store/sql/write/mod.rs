//! Changes on their way into their tables: those of many commits with one statement for each table, which gets them as one list
//! of JSON, because what a change costs isn't its row but the way to the database.

mod batch;
mod grants;
mod requests;

use serde::Serialize;

pub(in crate::store) use self::{batch::write, requests::numbered_decisions};
use super::{Db, DbConnection, Done, rows::failed};
use crate::store::StoreError;

/// A statement with its list of rows; not made at all if there are none. Answers how many rows it concerned.
async fn execute<R: Serialize + Sync>(
    connection: &mut DbConnection,
    operation: &'static str,
    statement: &'static str,
    rows: &[R],
) -> Result<u64, StoreError> {
    if rows.is_empty() {
        return Ok(0);
    }
    let rows =
        serde_json::to_string(rows).map_err(|error| failed(operation)(sqlx::Error::Encode(error.into())))?;
    let done = sqlx::query::<Db>(statement).bind(rows).execute(connection).await;
    Ok(done.map_err(refused(operation))?.rows_affected())
}

/// The same for rows of which each must be there as it was read.
pub(in crate::store) async fn execute_all<R: Serialize + Sync>(
    connection: &mut DbConnection,
    operation: &'static str,
    statement: &'static str,
    rows: &[R],
) -> Result<(), StoreError> {
    let done = execute(connection, operation, statement, rows).await?;
    if usize::try_from(done) == Ok(rows.len()) { Ok(()) } else { Err(StoreError::Conflict { operation }) }
}

/// A row that must be there as it was read.
pub(in crate::store) fn exactly_one(operation: &'static str, done: &Done) -> Result<(), StoreError> {
    if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Conflict { operation }) }
}

/// The triggers that refuse those who looked a moment too early.
const OVERTAKEN: [&str; 4] =
    ["grants_not_while_frozen", "grants_not_without_texts", "grants_only_replaced", "requests_texts_only_go"];

/// What may be unique only once is there already, or a freeze is: somebody was faster.
pub(in crate::store) fn refused(operation: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |error| match &error {
        sqlx::Error::Database(database)
            if database.is_unique_violation()
                || OVERTAKEN.iter().any(|trigger| database.message().starts_with(trigger)) =>
        {
            StoreError::Conflict { operation }
        }
        _ => failed(operation)(error),
    }
}
