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
pub(super) type Problem = &'static str;

/// Names the operation in what the database answered. The statements carry values only as parameters, which neither
/// SQLite nor sqlx puts into an error.
pub(super) fn failed(operation: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| StoreError::Unavailable { operation, source: Box::new(source) }
}

/// Names the row that can't be read.
pub(super) fn corrupt(operation: &'static str, what: impl Into<String>, problem: Problem) -> StoreError {
    StoreError::Corrupt { operation, what: what.into(), problem }
}

/// An instant as it is stored.
pub(super) const fn millis(at: DateTime<Utc>) -> i64 {
    at.timestamp_millis()
}

/// An instant as it was stored.
pub(super) fn instant(millis: i64) -> Result<DateTime<Utc>, Problem> {
    DateTime::from_timestamp_millis(millis).ok_or("an instant is out of range")
}

/// Reads an id.
pub(super) fn id<Id: FromStr>(text: &str) -> Result<Id, Problem> {
    text.parse().map_err(|_| "an id is malformed")
}

/// Reads a target's name.
pub(super) fn target(text: &str) -> Result<TargetName, Problem> {
    text.parse().map_err(|_| "the target's name is malformed")
}

/// Puts a person together.
pub(super) const fn person(subject: String, name: String) -> Person {
    Person { subject, name }
}

#[cfg(test)]
pub(super) mod tests {
    use sqlx::{Connection, Row, SqliteConnection, sqlite::SqliteConnectOptions};
    use tempfile::TempDir;

    use crate::{clock::ManualClock, store::sqlite::SqliteStore};

    /// The steps in which SQLite would run this statement.
    pub(in crate::store::sqlite) async fn plan(statement: &str) -> Vec<String> {
        let (_directory, mut raw) = migrated().await;
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let rows = sqlx::query(explain).fetch_all(&mut raw).await.unwrap();
        rows.iter().map(|row| row.get::<String, _>("detail")).collect()
    }

    async fn migrated() -> (TempDir, SqliteConnection) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("db");
        let clock = ManualClock::new(chrono::DateTime::UNIX_EPOCH);
        SqliteStore::migrate(&file, &clock).await.unwrap();
        let raw = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(file)).await.unwrap();
        (directory, raw)
    }

    /// A request and a grant in a database whose triggers are gone, in a transaction, so that trying many rows is fast.
    pub(in crate::store::sqlite) async fn one_of_each() -> (TempDir, SqliteConnection) {
        let (directory, mut raw) = migrated().await;
        let triggers: Vec<String> =
            sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
                .fetch_all(&mut raw)
                .await
                .unwrap();
        for trigger in triggers {
            let drop = sqlx::AssertSqlSafe(format!("DROP TRIGGER {trigger}"));
            sqlx::query(drop).execute(&mut raw).await.unwrap();
        }
        sqlx::raw_sql("BEGIN").execute(&mut raw).await.unwrap();
        insert_one_of_each(&mut raw).await;
        (directory, raw)
    }

    /// A request and a grant, both of them new.
    pub(in crate::store::sqlite) async fn insert_one_of_each(raw: &mut SqliteConnection) {
        let rows = "
            INSERT INTO requests (id, target, credential_path, requester_subject, requester_name, duration_seconds,
                                  reason, approvals_required, submitted_at, state, revision, lapses_at)
            VALUES ('00000000000000000000000000', 't', 'p', 's', 'n', 1, 'r', 1, 0, 'PENDING', 1, 1);
            INSERT INTO grants (id, request_id, target, credential_path, holder_subject, holder_name, opens_at,
                                closes_at, opened_at, state, revision)
            VALUES ('00000000000000000000000000', '00000000000000000000000000', 't', 'p', 's', 'n', 0, 1, 0,
                    'ISSUING', 1);";
        sqlx::raw_sql(rows).execute(raw).await.unwrap();
    }
}
