//! Databases for tests, past the store.

use sqlx::{Connection, Row, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::{clock::ManualClock, store::sqlite::SqliteStore};

/// The steps in which SQLite would run this statement.
pub(in crate::store) async fn plan(statement: &str) -> Vec<String> {
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
pub(in crate::store) async fn one_of_each() -> (TempDir, SqliteConnection) {
    let (directory, mut raw) = migrated().await;
    let triggers: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
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
pub(in crate::store) async fn insert_one_of_each(raw: &mut SqliteConnection) {
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
