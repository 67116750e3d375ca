//! What only SQLite does when texts are erased: nothing of them is left in the files, and nobody past the store makes
//! anything else of a text than its digest, in its time.

use std::fs;

use hallpass::store::Write;

use super::{
    Backend,
    retention::{batch, later, over},
    sqlite::Sqlite,
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
