//! The indexes of texts in SQLite: they follow what is written, they stay right in a copy, what was there before them is in
//! them, and what is erased of a text is in no page of theirs.

use sqlx::{AssertSqlSafe, Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{
    Backend,
    sqlite::Sqlite,
    values::World,
    words::{found, written},
};

async fn run(raw: &mut SqliteConnection, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(raw).await.unwrap();
}

async fn raw(file: &std::path::Path) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(file)).await.unwrap()
}

#[tokio::test]
async fn a_copy_finds_what_the_original_finds() {
    let backend = Sqlite::start().await;
    let world = World::new(&**backend.store());
    for number in 0..20 {
        written(&world, &format!("reason number {number:02}")).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy.db");
    run(&mut raw(&backend.file()).await, &format!("VACUUM INTO '{}'", copy.display())).await;
    let mut copied = raw(&copy).await;
    for number in 0..20 {
        let select = format!(
            "SELECT reason FROM requests WHERE rowid = \
             (SELECT rowid FROM reason_index WHERE reason_index MATCH '\"number {number:02}\"')"
        );
        let reason: String = sqlx::query_scalar(AssertSqlSafe(select)).fetch_one(&mut copied).await.unwrap();
        assert_eq!(reason, format!("reason number {number:02}"));
    }
    assert_eq!(found(world.store, "GO AHEAD, OR").await, 20);
}

#[tokio::test]
async fn what_is_erased_of_a_text_is_in_no_page() {
    let backend = Sqlite::start().await;
    let world = World::new(&**backend.store());
    for reason in ["an ordinary reason", "zqxjkv", "another reason"] {
        written(&world, reason).await;
    }
    let mut raw = raw(&backend.file()).await;
    let trigrams = ["zqx", "qxj", "xjk", "jkv"];
    let select = "SELECT count(*) FROM reason_index_data WHERE instr(block, CAST(? AS BLOB)) > 0";
    let mut pages = Vec::new();
    for trigram in trigrams {
        pages.push(sqlx::query_scalar::<_, i64>(select).bind(trigram).fetch_one(&mut raw).await.unwrap());
    }
    assert_eq!((found(world.store, "QXJ").await, pages), (1, vec![1; 4]));
    run(&mut raw, "INSERT INTO reason_index (reason_index, rowid, reason) VALUES ('delete', 2, 'zqxjkv')")
        .await;
    assert_eq!((found(world.store, "qxj").await, found(world.store, "reason").await), (0, 2));
    for trigram in trigrams {
        let pages: i64 = sqlx::query_scalar(select).bind(trigram).fetch_one(&mut raw).await.unwrap();
        assert_eq!(pages, 0, "{trigram}");
    }
}

#[tokio::test]
async fn what_was_there_before_the_indexes_is_in_them() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new().filename(directory.path().join("db")).create_if_missing(true);
    let mut raw = SqliteConnection::connect_with(&options).await.unwrap();
    let migrations = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite");
    let mut files: Vec<_> = std::fs::read_dir(migrations).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let listing = files.iter().position(|file| file.ends_with("0008_listing.sql")).unwrap();
    for file in &files[..listing] {
        run(&mut raw, &std::fs::read_to_string(file).unwrap()).await;
    }
    let rows = "
        INSERT INTO requests (id, target, credential_path, requester_subject, requester_name, duration_seconds, reason,
                              approvals_required, submitted_at, state, revision, lapses_at)
        VALUES ('00000000000000000000000001', 't', 'p', 's', 'n', 1, 'The Queue', 2, 0, 'PENDING', 1, 1),
               ('00000000000000000000000000', 't', 'p', 's', 'n', 1, 'a belt', 2, 0, 'PENDING', 1, 1);
        INSERT INTO decisions (request_id, position, verdict, approver_subject, approver_name, statement, digest,
                               decided_at)
        SELECT id, 1, 'APPROVED', 'a', 'a', 'Read only ' || id, 'sha256:' || printf('%064d', 0), 0 FROM requests;";
    run(&mut raw, rows).await;
    run(&mut raw, &std::fs::read_to_string(&files[listing]).unwrap()).await;
    // A second decision: both of them are one text from now on.
    run(
        &mut raw,
        "INSERT INTO decisions (request_id, position, verdict, approver_subject, approver_name, statement, digest,
                                decided_at)
         VALUES ('00000000000000000000000001', 2, 'APPROVED', 'b', 'b', 'and the second',
                 'sha256:' || printf('%064d', 0), 0)",
    )
    .await;
    let cases = [
        ("reason_index", "queue", vec!["00000000000000000000000001"]),
        ("reason_index", "belt", vec!["00000000000000000000000000"]),
        ("statement_index", "READ ONLY", vec!["00000000000000000000000000", "00000000000000000000000001"]),
        ("statement_index", "the second", vec!["00000000000000000000000001"]),
        ("statement_index", "1and", vec![]),
    ];
    for (index, text, expected) in cases {
        let select = format!(
            "SELECT id FROM requests WHERE rowid IN (SELECT rowid FROM {index} WHERE {index} MATCH '\"{text}\"') ORDER BY id"
        );
        let ids: Vec<String> = sqlx::query_scalar(AssertSqlSafe(select)).fetch_all(&mut raw).await.unwrap();
        assert_eq!(ids, expected, "{text}");
    }
    let groups: Vec<String> =
        sqlx::query_scalar("SELECT groups FROM requests").fetch_all(&mut raw).await.unwrap();
    assert_eq!(groups, ["[]", "[]"]);
}
