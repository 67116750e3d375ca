//! What only SQLite does when texts are erased: nothing of them is left in the files, and nobody past the store makes
//! anything else of a text than its digest, in its time.

use std::fs;

use hallpass::{access::target::Target, store::Write};

use super::{
    Backend,
    retention::{batch, later, over},
    sqlite::{Sqlite, run},
    values::{World, target},
};

/// What people wrote in these tests.
const WORDS: [&str; 3] = ["the queue is stuck", "go ahead, or don't", "{\"reason\":\"enough\"}"];

/// Whether some file of the database has it.
fn is_on_disk(backend: &Sqlite, words: &str) -> bool {
    let directory = backend.file().parent().unwrap().to_owned();
    let files = fs::read_dir(directory).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    files.into_iter().any(|bytes| bytes.windows(words.len()).any(|window| window == words.as_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_an_erased_text_is_left_in_the_files() {
    let backend = Sqlite::start().await;
    let world = World::new(&**backend.store());
    over(&world, &target("orders", 1)).await;
    // So that it is in both files.
    assert!(world.store.retention().scrub().await.unwrap());
    assert!(WORDS.iter().all(|words| is_on_disk(&backend, words)));
    let erasure = batch(&world, later(&world), 10).await.unwrap();
    world.store.commit(&[Write::Erasure(&erasure)]).await.unwrap();
    assert!(WORDS.iter().any(|words| is_on_disk(&backend, words)), "or nothing would have to be scrubbed");
    assert!(world.store.retention().scrub().await.unwrap());
    assert_eq!(WORDS.map(|words| is_on_disk(&backend, words)), [false; 3]);
    world.submit(&target("orders", 1), "dev").await;
    assert!(is_on_disk(&backend, WORDS[0]), "it is looked for where it would be");
}

/// Whoever reads has the pages as they were; he is waited for by trying again.
#[tokio::test(flavor = "multi_thread")]
async fn who_reads_is_not_disturbed() {
    let backend = Sqlite::start().await;
    let world = World::new(&**backend.store());
    let mut reader = backend.raw().await;
    sqlx::raw_sql("BEGIN; SELECT * FROM requests").execute(&mut reader).await.unwrap();
    world.submit(&target("orders", 1), "dev").await;
    assert!(!world.store.retention().scrub().await.unwrap());
    sqlx::raw_sql("COMMIT").execute(&mut reader).await.unwrap();
    assert!(world.store.retention().scrub().await.unwrap());
}

/// One that was held, one that was denied, and one that is held.
async fn one_of_each(world: &World<'_>, orders: &Target) {
    over(world, orders).await;
    let denied = world.submit(orders, "dev").await;
    world.store_request(world.denial(&denied, orders, "lead")).await;
    world.active(orders, "dev").await;
}

#[tokio::test]
async fn texts_go_in_their_time_and_nothing_else_does() {
    let backend = Sqlite::start().await;
    let world = World::new(&**backend.store());
    let orders = target("orders", 1);
    one_of_each(&world, &orders).await;
    let erasure = batch(&world, later(&world), 10).await.unwrap();
    let mut raw = backend.raw().await;
    let before = [
        // What isn't over, or only the request that isn't.
        ("UPDATE audit_events SET texts = NULL WHERE texts IS NOT NULL", "audit_events_texts_go_with_others"),
        ("UPDATE decisions SET statement = 'yes'", "decisions_texts_only_go"),
        ("UPDATE requests SET reason = 'other', revision = revision + 1", "requests_move"),
        (
            "UPDATE requests SET reason = 'sha256:' || hex(zeroblob(32)), digest = 'sha256:' || hex(zeroblob(32)), \
                                 texts_erased_at = 1, revision = revision + 1 \
              WHERE id IN (SELECT request_id FROM grants WHERE state = 'ACTIVE')",
            "requests_texts_only_go",
        ),
        (
            "UPDATE requests SET reason = 'x', digest = 'sha256:' || hex(zeroblob(32)), texts_erased_at = 1, \
                                 revision = revision + 1 \
              WHERE id NOT IN (SELECT request_id FROM grants WHERE state = 'ACTIVE')",
            "requests_texts_erased_when_settled",
        ),
        (
            "UPDATE requests SET reason = 'sha256:' || hex(zeroblob(32)), texts_erased_at = 1, revision = revision + 1 \
              WHERE id NOT IN (SELECT request_id FROM grants WHERE state = 'ACTIVE')",
            "requests_digest_without_reason",
        ),
        (
            "UPDATE requests SET reason = 'sha256:' || hex(zeroblob(32)), digest = 'sha256:' || hex(zeroblob(32)), \
                                 texts_erased_at = 1, claimed_at = 7, revision = revision + 1 \
              WHERE id NOT IN (SELECT request_id FROM grants WHERE state = 'ACTIVE')",
            "requests_move",
        ),
    ];
    for (statement, refused_by) in before {
        let refused = run(&mut raw, statement).await.expect_err(statement);
        assert!(refused.contains(refused_by), "{statement}: {refused}");
    }
    world.store.commit(&[Write::Erasure(&erasure)]).await.unwrap();
    let after = [
        (
            "UPDATE requests SET reason = 'back', digest = NULL, texts_erased_at = NULL, revision = revision + 1 \
              WHERE texts_erased_at IS NOT NULL",
            "requests_texts_only_go",
        ),
        (
            "UPDATE decisions SET statement = 'back', texts_erased_at = NULL WHERE texts_erased_at IS NOT NULL",
            "decisions_texts_only_go",
        ),
        ("UPDATE audit_events SET texts = '{}' WHERE texts IS NULL", "audit_events_texts_only_go"),
        ("UPDATE audit_events SET texts = NULL WHERE texts IS NOT NULL", "audit_events_texts_go_with_others"),
        (
            "INSERT INTO grants (id, request_id, target, credential_path, holder_subject, holder_name, opens_at, closes_at, \
                                 opened_at, state, revision) \
             SELECT '01jdz5m2k3n4p5q6r7s8t9v0w9', id, target, 'p', 's', 'n', 0, 1, 0, 'ISSUING', 1 \
               FROM requests WHERE texts_erased_at IS NOT NULL AND state = 'DENIED'",
            "grants_not_without_texts",
        ),
        (
            "INSERT INTO decisions (request_id, position, verdict, approver_subject, approver_name, statement, digest, \
                                    decided_at, texts_erased_at) \
             SELECT request_id, 2, verdict, 'x', 'x', statement, digest, decided_at, 1 FROM decisions",
            "decisions_",
        ),
    ];
    for (statement, refused_by) in after {
        let refused = run(&mut raw, statement).await.expect_err(statement);
        assert!(refused.contains(refused_by), "{statement}: {refused}");
    }
}

/// Neither by what was asked nor by what was decided.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_erased_is_not_found_by_its_words() {
    let backend = Sqlite::start().await;
    let world = World::new(&**backend.store());
    over(&world, &target("orders", 1)).await;
    let mut raw = backend.raw().await;
    let counts = "SELECT (SELECT count(*) FROM reason_index WHERE reason_index MATCH '\"queue\"'), \
                         (SELECT count(*) FROM statement_index WHERE statement_index MATCH '\"go ahead\"')";
    let before: (i64, i64) = sqlx::query_as(counts).fetch_one(&mut raw).await.unwrap();
    assert!(before.0 > 0 && before.1 > 0, "{before:?}");
    let erasure = batch(&world, later(&world), 10).await.unwrap();
    world.store.commit(&[Write::Erasure(&erasure)]).await.unwrap();
    let after: (i64, i64) = sqlx::query_as(counts).fetch_one(&mut raw).await.unwrap();
    assert_eq!(after, (0, 0));
    for index in ["reason_index", "statement_index"] {
        let check = format!("INSERT INTO {index} ({index}) VALUES ('integrity-check')");
        sqlx::raw_sql(sqlx::AssertSqlSafe(check)).execute(&mut raw).await.unwrap();
    }
}
