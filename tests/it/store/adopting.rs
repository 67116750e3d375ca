//! Databases of earlier versions: events of before the log was a tree become leaves, all of them, in their order; and those of
//! before they were indexed by sixteens are found.

use std::path::Path;

use hallpass::{
    access::{
        actor::{Actor, Person},
        event::digest_of,
    },
    ledger::tree::Frontier,
    store::{Migrate, OpenError, Store, sqlite::SqliteStore},
};
use serde_json::json;
use sqlx::{SqliteConnection, migrate::Migrator};

use super::sqlite::{open, raw, run};

/// The last migration before.
const BEFORE: i64 = 6;
/// The last one with an index that each event was entered into at once.
const BEFORE_INDEX: i64 = 11;

const EVENTS: &str = "
    INSERT INTO audit_events (sequence, recorded_at, actor_kind, actor_subject, actor_name, kind, request_id, grant_id,
                              target, detail)
    VALUES (1, 1767225600123, 'PERSON', 'corp:1', 'Ann', 'RequestSubmitted', '01jdz5m2k3n4p5q6r7s8t9v0w1', NULL,
            'orders', '{\"reason\":\"why\\nnot\",\"digest\":\"d\"}'),
           (2, 1767225600124, 'DAEMON', NULL, NULL, 'RequestLapsed', '01jdz5m2k3n4p5q6r7s8t9v0w1', NULL, 'orders',
            '{\"while_in\":\"PENDING\"}'),
           (3, 1767225600125, 'PERSON', 'corp:1', 'Ann', 'AttemptRefused', NULL, NULL, NULL,
            '{\"verb\":\"x\",\"reason\":\"y\"}')";

/// A database as an earlier version left it.
async fn former(file: &Path, last: i64) -> SqliteConnection {
    SqliteStore::migrate(file, &hallpass::clock::ManualClock::new(chrono::DateTime::UNIX_EPOCH))
        .await
        .unwrap();
    std::fs::write(file, "").unwrap();
    let mut former = raw(file).await;
    let mut migrations: Migrator = sqlx::migrate!("migrations/sqlite");
    migrations.migrations.to_mut().retain(|migration| migration.version <= last);
    migrations.run(&mut former).await.unwrap();
    former
}

/// Up to the last sixteenth in the index, and the others behind it.
#[tokio::test]
async fn events_of_before_are_found_by_their_requests() {
    let insert = "
        WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 40)
        INSERT INTO audit_events (sequence, leaf, hashes)
        SELECT n, iif(n % 5, json_object('sequence', n, 'request', 'r' || (n % 3)), json_object('sequence', n)), zeroblob(32)
          FROM numbers";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("db");
    let mut raw = former(&file, BEFORE_INDEX).await;
    run(&mut raw, insert).await.unwrap();
    sqlx::migrate!("migrations/sqlite").run(&mut raw).await.unwrap();
    let found = "SELECT request_id, sequence FROM request_events ORDER BY sequence";
    let found: Vec<(String, i64)> = sqlx::query_as(found).fetch_all(&mut raw).await.unwrap();
    let all = (1..=40).filter(|n| n % 5 != 0).map(|n| (format!("r{}", n % 3), n));
    assert_eq!(found, all.collect::<Vec<_>>());
    let indexed = "SELECT max(sequence), count(*) FROM audit_events_by_request";
    let indexed: (i64, i64) = sqlx::query_as(indexed).fetch_one(&mut raw).await.unwrap();
    assert_eq!(indexed, (32, 26));
}

#[tokio::test]
async fn events_of_before_become_leaves() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("db");
    let mut former = former(&file, BEFORE).await;
    run(&mut former, EVENTS).await.unwrap();
    drop(former);

    let refused = open(&file, Migrate::No).await.unwrap_err();
    assert!(matches!(refused, OpenError::Pending { .. }), "{refused}");
    let store = open(&file, Migrate::Yes).await.unwrap();
    let leaves = store.ledger().leaves(0, 10).await.unwrap();
    let events: Vec<_> = leaves.iter().map(|leaf| leaf.event().unwrap()).collect();
    assert_eq!(events.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    let ann = Actor::Person(Person { subject: "corp:1".into(), name: "Ann".into() });
    assert_eq!([&events[0].actor, &events[1].actor], [&ann, &Actor::Daemon]);
    let expected = json!({ "reason": "why\nnot", "reason_digest": digest_of("why\nnot"), "digest": "d" });
    assert_eq!(events[0].detail, expected);
    assert_eq!(events[2].detail, json!({ "verb": "x", "reason": "y" }), "a reason's name is no text");
    assert_eq!(events[1].at.timestamp_millis(), 1_767_225_600_124);
    assert_eq!(store.timeline("01jdz5m2k3n4p5q6r7s8t9v0w1".parse().unwrap()).await.unwrap(), events[..2]);
    let mut frontier = Frontier::default();
    for leaf in &leaves {
        frontier.push(leaf.hash(), |_| {});
    }
    assert_eq!(super::log::root(&store, 3).await, frontier.root());
    drop(store);
    open(&file, Migrate::No).await.unwrap();
}
