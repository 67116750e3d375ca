//! `hallpassd fsck`: a database that hallpass wrote is whole, and each thing that is done to one is told of.

use std::path::{Path, PathBuf};

use hallpass::{
    ledger::note::{Kind, SigningKey},
    verify::Report,
};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::{
    audit::{key, sign},
    support::{
        fsck,
        servers::Dir,
        sim::{Sim, alice, caller},
    },
};

/// Some of everything: exceptions that ended in several ways, one that is held, freezes, checkpoints.
pub async fn full() -> Sim {
    use hallpass::{access::text::Prose, broker::Error};
    let sim = Sim::start().await;
    let why = || Prose::new("an incident").unwrap();
    let ended = sim.approved("orders-ro").await;
    let claimed = sim.claim(ended).await.unwrap();
    sim.broker.release(&alice(), claimed.grant.id, true).await.unwrap();
    sim.settle().await;
    let again = sim.approved("orders-ro").await;
    sim.claim(again).await.unwrap();
    sim.broker.claim(&alice(), again, true).await.unwrap();
    sign(&sim).await;
    let withdrawn = sim.submit("payroll-ro").await.request.id;
    sim.broker.withdraw(&alice(), withdrawn).await.unwrap();
    let denied = sim.submit("payroll-ro").await;
    let olivia = crate::support::sim::olivia();
    sim.broker.deny(&olivia, denied.request.id, crate::support::sim::written(&denied)).await.unwrap();
    let operator = caller("oscar", "operators");
    let all = || "*".parse().unwrap();
    sim.broker.freeze(&operator, all(), why(), false).await.unwrap();
    sim.broker.freeze(&operator, all(), why(), true).await.unwrap();
    sim.settle().await;
    let frozen = sim.approved("orders-ro").await;
    assert!(matches!(sim.claim(frozen).await, Err(Error::Refused { .. })));
    sim.broker.thaw(&operator, all(), why()).await.unwrap();
    sim.broker.freeze(&operator, "payroll-ro".parse().unwrap(), why(), false).await.unwrap();
    sim.claim(frozen).await.unwrap();
    sim.submit("orders-ro").await;
    sign(&sim).await;
    sim
}

pub async fn check(database: &Path) -> Report {
    fsck(database, None, Vec::new()).await
}

/// A copy of a database, with its guards off, and something done to it.
pub async fn tampered(database: &Path, name: &str, statements: &str) -> (Dir, PathBuf) {
    let dir = Dir::new(name);
    let copy = dir.join("copy.db");
    let reading = SqliteConnectOptions::new().filename(database).read_only(true);
    let mut original = SqliteConnection::connect_with(&reading).await.unwrap();
    sqlx::query("VACUUM INTO ?").bind(copy.to_str().unwrap()).execute(&mut original).await.unwrap();
    let options = SqliteConnectOptions::new().filename(&copy).foreign_keys(false);
    let options = options.pragma("ignore_check_constraints", "ON");
    let mut raw = SqliteConnection::connect_with(&options).await.unwrap();
    let triggers: Vec<(String, String)> =
        sqlx::query_as("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
            .fetch_all(&mut raw)
            .await
            .unwrap();
    for (trigger, _) in &triggers {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("DROP TRIGGER {trigger}")))
            .execute(&mut raw)
            .await
            .unwrap();
    }
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements.to_owned())).execute(&mut raw).await.unwrap();
    for (_, sql) in triggers {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut raw).await.unwrap();
    }
    sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE")
        .execute(&mut raw)
        .await
        .unwrap();
    raw.close().await.unwrap();
    (dir, copy)
}

#[tokio::test]
async fn what_hallpass_wrote_is_whole_while_it_runs_and_afterwards() {
    let sim = full().await;
    let report = check(&sim.database()).await;
    assert!(report.holds(), "{}", report.text());
    assert_eq!((report.counts.requests, report.counts.grants, report.counts.unknown), (6, 4, 0));
    sim.store.close().await;
    let report = check(&sim.database()).await;
    assert!(report.holds(), "{}", report.text());
}

/// A database doesn't say which keys are its log's: whoever wants to know that brings them.
#[tokio::test]
async fn each_checkpoint_is_signed_by_a_key_that_is_named() {
    let sim = full().await;
    let with = async |keys: &[&SigningKey]| {
        let keys = keys.iter().map(|key| key.verifier(Kind::Plain)).collect();
        fsck(&sim.database(), None, keys).await
    };
    let (ours, others) = (key("hallpass"), SigningKey::from_seed("hallpass", &[9; 32]).unwrap());
    for keys in [&[&ours][..], &[&others, &ours]] {
        let report = with(keys).await;
        assert!(report.holds() && report.notes.is_empty(), "{}", report.text());
    }
    let report = with(&[&others]).await;
    let of_checkpoints = report.faults.iter().filter(|fault| fault.about.starts_with("the checkpoint of "));
    assert_eq!((of_checkpoints.count(), report.faults_in_all), (2, 2), "{}", report.text());
    let report = with(&[]).await;
    assert!(report.holds() && report.text().contains("--log-key"), "{}", report.text());
}

/// What is done, and what is said of it.
const LIES: &[(&str, &str)] = &[
    ("UPDATE requests SET reason = 'another' WHERE state = 'WITHDRAWN'", "another reason in its row"),
    ("UPDATE requests SET duration_seconds = 60 WHERE state = 'WITHDRAWN'", "another duration in its row"),
    ("UPDATE requests SET requester_name = 'bob' WHERE state = 'WITHDRAWN'", "another requester in its row"),
    ("UPDATE requests SET target = 'orders-ro' WHERE state = 'WITHDRAWN'", "another target in its row"),
    (
        "UPDATE requests SET withdrawn_at = 7 WHERE state = 'WITHDRAWN'",
        "another time of its state in its row",
    ),
    ("UPDATE requests SET revision = 9 WHERE state = 'WITHDRAWN'", "another count of changes in its row"),
    (
        "UPDATE requests SET state = 'LAPSED', lapsed_at = withdrawn_at, withdrawn_at = NULL WHERE state = 'WITHDRAWN'",
        "another state in its row",
    ),
    ("DELETE FROM request_groups", "is listed by other groups than it has"),
    ("UPDATE request_groups SET name = 'nobodies'", "is listed by other groups than it has"),
    (
        "DELETE FROM audit_events_by_request WHERE sequence = 2",
        "event 2 is missing in audit_events_by_request",
    ),
    (
        "INSERT INTO audit_events_by_request SELECT request_id, 3 FROM audit_events \
          WHERE request_id IS NOT NULL ORDER BY sequence DESC LIMIT 1",
        "event 3 has no such place in audit_events_by_request",
    ),
    (
        "INSERT INTO audit_events_by_request SELECT request_id, sequence FROM audit_events \
          WHERE request_id IS NOT NULL ORDER BY sequence DESC LIMIT 1",
        "has no such place in audit_events_by_request",
    ),
    ("DELETE FROM requests WHERE state = 'WITHDRAWN'", "is spoken of, and its request isn't there"),
    ("UPDATE decisions SET statement = 'never' WHERE verdict = 'DENIED'", "another statement in its row"),
    ("UPDATE decisions SET approver_name = 'bob' WHERE verdict = 'APPROVED'", "another approver in its row"),
    (
        "UPDATE decisions SET groups = '[\"x\"]' WHERE verdict = 'APPROVED'",
        "another list of groups in its row",
    ),
    ("UPDATE decisions SET decided_at = 7 WHERE verdict = 'APPROVED'", "another time in its row"),
    ("DELETE FROM decisions WHERE verdict = 'APPROVED'", "another number of approvals in its row"),
    ("UPDATE grants SET closes_at = closes_at + 1 WHERE state = 'ACTIVE'", "another window in its row"),
    ("UPDATE grants SET holder_name = 'bob' WHERE state = 'ACTIVE'", "another holder in its row"),
    ("UPDATE grants SET activated_at = 7 WHERE state = 'ACTIVE'", "another time of activation in its row"),
    ("UPDATE grants SET cause = 'FROZEN' WHERE cause = 'RELEASED'", "another cause in its row"),
    ("UPDATE grants SET revoked_at = 7 WHERE cause = 'RELEASED'", "another end in its row"),
    (
        "UPDATE grants SET state = 'REVOKED', cause = 'RELEASED', begun_at = 1, revoked_at = 2, token_accessor = NULL, \
         wrapping_accessor = NULL, lease_id = NULL WHERE state = 'ACTIVE'",
        "another state in its row",
    ),
    ("DELETE FROM grants WHERE state = 'ACTIVE'", "has events, and no row"),
    ("UPDATE freezes SET ends_grants = 1 WHERE thawed_at IS NULL", "another word on what is held"),
    ("UPDATE freezes SET thawed_at = 7, revision = 2 WHERE thawed_at IS NULL", "another end in its row"),
    ("UPDATE freezes SET by_name = 'bob' WHERE thawed_at IS NULL", "another person in its row"),
    ("DELETE FROM freezes WHERE thawed_at IS NULL", "has events, and no row"),
    (
        "UPDATE audit_events SET texts = '{\"reason\":\"another\"}' WHERE sequence = 1",
        "isn't the one that was recorded",
    ),
    (
        "UPDATE audit_events SET leaf = replace(leaf, 'alice', 'Alice') WHERE sequence = 1",
        "other hashes in its row",
    ),
    (
        "UPDATE audit_events SET hashes = zeroblob(32) WHERE sequence = 3",
        "event 3 has other hashes in its row",
    ),
    ("DELETE FROM audit_events WHERE sequence = 3", "event 3 (request"),
    ("DELETE FROM audit_events WHERE sequence > 30", "is of more than the"),
    ("UPDATE checkpoints SET root = zeroblob(32)", "has another root than the log"),
    (
        "UPDATE checkpoints SET note = replace(note, char(10) || size || char(10), char(10) || 1 || char(10))",
        "has a note that says something else",
    ),
];

#[tokio::test]
async fn each_lie_in_the_database_is_told_of() {
    let sim = full().await;
    sim.store.close().await;
    for (lie, told) in LIES {
        let (_dir, copy) = tampered(&sim.database(), "lie", lie).await;
        let report = check(&copy).await;
        assert!(report.text().contains(told), "{lie}: {}", report.text());
    }
    let (_dir, copy) = tampered(&sim.database(), "texts", "UPDATE audit_events SET texts = NULL").await;
    let report = check(&copy).await;
    assert!(report.holds() && report.counts.texts_gone > 0, "texts may go: {}", report.text());
}

/// Each handle of the index leads to its row, or the file's own check says so.
#[tokio::test]
async fn a_damaged_file_is_told_of() {
    let sim = full().await;
    sim.store.close().await;
    let damage = "PRAGMA writable_schema = ON; \
                  UPDATE sqlite_schema SET sql = replace(sql, '(request_id, id)', '(target, id)') \
                   WHERE name = 'grants_by_request'";
    let (_dir, copy) = tampered(&sim.database(), "damage", damage).await;
    let report = check(&copy).await;
    assert!(report.text().contains("the file is damaged"), "{}", report.text());
}
