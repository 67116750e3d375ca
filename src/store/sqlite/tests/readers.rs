//! Reads that hang.

use std::time::Duration;

use chrono::DateTime;
use tempfile::TempDir;

use crate::{
    access::id::GrantId,
    clock::ManualClock,
    store::{Migrate, Store, StoreError, reads::FOR_PEOPLE, sqlite::SqliteStore},
};

async fn store() -> (TempDir, SqliteStore) {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(DateTime::UNIX_EPOCH);
    let store = SqliteStore::open(&directory.path().join("db"), Migrate::Yes, &clock).await.unwrap();
    (directory, store)
}

/// However many people list.
#[tokio::test]
async fn listings_that_hang_delay_none_of_the_daemons_reads() {
    let (_directory, store) = store().await;
    let mut held = Vec::new();
    for _ in 0..FOR_PEOPLE.count {
        held.push(store.people.pool().acquire().await.unwrap());
    }
    let (at, id) = (DateTime::UNIX_EPOCH, GrantId::new(DateTime::UNIX_EPOCH, 1));
    store.due(at).await.unwrap();
    store.next_deadline(at).await.unwrap();
    store.grant_to_end(id).await.unwrap();
    store.closing(at, 1).await.unwrap();
    store.open_grants(None, 1).await.unwrap();
    store.endings(None, 1).await.unwrap();
    store.known_leases("database/creds/x").await.unwrap();
    store.last_sequence().await.unwrap();
}

#[tokio::test]
async fn a_read_that_hangs_fails_and_the_next_does_not() {
    let (_directory, mut store) = store().await;
    store.people.answer_max = Duration::ZERO;
    // Stands for the disk: counts for a while, on every connection there is.
    let slow =
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 300000) SELECT count(*) FROM n";
    for _ in 0..=FOR_PEOPLE.count {
        let read = sqlx::query_scalar::<_, i64>(slow).fetch_one(store.people.pool());
        let refused = store.people.answer("count", read).await.unwrap_err();
        assert!(matches!(refused, StoreError::Unavailable { operation: "count", .. }), "{refused:?}");
    }
    store.people.answer_max = FOR_PEOPLE.answer_max;
    let id = GrantId::new(DateTime::UNIX_EPOCH, 1);
    assert_eq!(store.grant(id).await.unwrap(), None);
}
