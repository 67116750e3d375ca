//! What the rows of all tables have in common: instants, ids and names, and the errors of reading them.
//!
//! A column is either what hallpass writes or the row is corrupt; nothing is guessed, and nothing that a column holds
//! gets into an error.

use std::str::FromStr;

use chrono::{DateTime, Utc};

use crate::{
    access::{actor::Person, target::TargetName},
    store::StoreError,
};

/// What is wrong with a row.
pub(in crate::store) type Problem = &'static str;

/// Names the operation in what the database answered. The statements carry values only as parameters, which neither
/// SQLite nor sqlx puts into an error.
pub(in crate::store) fn failed(operation: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| StoreError::Unavailable { operation, source: Box::new(source) }
}

/// Names the row that can't be read.
pub(in crate::store) fn corrupt(
    operation: &'static str,
    what: impl Into<String>,
    problem: Problem,
) -> StoreError {
    StoreError::Corrupt { operation, what: what.into(), problem }
}

/// An instant as it is stored.
pub(in crate::store) const fn millis(at: DateTime<Utc>) -> i64 {
    at.timestamp_millis()
}

/// An instant as it was stored.
pub(in crate::store) fn instant(millis: i64) -> Result<DateTime<Utc>, Problem> {
    DateTime::from_timestamp_millis(millis).ok_or("an instant is out of range")
}

/// Reads an id.
pub(in crate::store) fn id<Id: FromStr>(text: &str) -> Result<Id, Problem> {
    text.parse().map_err(|_| "an id is malformed")
}

/// Reads a target's name.
pub(in crate::store) fn target(text: &str) -> Result<TargetName, Problem> {
    text.parse().map_err(|_| "the target's name is malformed")
}

/// Puts a person together.
pub(in crate::store) const fn person(subject: String, name: String) -> Person {
    Person { subject, name }
}
