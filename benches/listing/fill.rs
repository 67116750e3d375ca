//! A history of any length: three years, twenty people, as many approvers, five targets, ten groups.

use std::time::UNIX_EPOCH;

use sqlx::{Connection as _, SqliteConnection};

use crate::support::world::World;

/// Three years, in milliseconds.
const YEARS_MS: i64 = 3 * 365 * 86_400_000;

/// When the exception `i` was submitted, and its id: a ULID, whose first ten digits are that time.
const NUMBERED: &str = "
    n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < COUNT),
    t(i, at) AS (SELECT i, NOW - YEARS + i * (YEARS / COUNT) FROM n),
    e(i, at, id) AS (SELECT i, at, DIGITS || printf('%016d', i) FROM t)";

/// Writes the history as the daemon would have left it, past the triggers that let a row only grow into its state. Answers how
/// many bytes it takes.
pub async fn fill(world: &World, count: u32) -> u64 {
    let database = format!("sqlite://{}", world.database_file().display());
    let mut database = SqliteConnection::connect(&database).await.unwrap();
    let triggers: Vec<(String, String)> =
        sqlx::query_as("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
            .fetch_all(&mut database)
            .await
            .unwrap();
    run(&mut database, "BEGIN").await;
    for (name, _) in &triggers {
        run(&mut database, &format!("DROP TRIGGER {name}")).await;
    }
    let digit =
        |place: u32| format!("substr('0123456789abcdefghjkmnpqrstvwxyz', (at >> {}) % 32 + 1, 1)", 5 * place);
    let digits: Vec<String> = (0..10).rev().map(digit).collect();
    let numbered = NUMBERED
        .replace("COUNT", &count.to_string())
        .replace("NOW", &UNIX_EPOCH.elapsed().unwrap().as_millis().to_string())
        .replace("YEARS", &YEARS_MS.to_string())
        .replace("DIGITS", &digits.join(" || "));
    for statement in rows(&world.credential_path()) {
        run(&mut database, &statement.replace("NUMBERED", &format!("WITH RECURSIVE {numbered}"))).await;
    }
    for (_, sql) in &triggers {
        run(&mut database, sql).await;
    }
    run(&mut database, "COMMIT").await;
    run(&mut database, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    database.close().await.unwrap();
    std::fs::metadata(world.database_file()).unwrap().len()
}

/// The same in PostgreSQL, made by the server.
pub async fn fill_shared(world: &World, count: u32) -> u64 {
    let client = world.postgres.connect_as_superuser(&world.shared_store()).await;
    let now = UNIX_EPOCH.elapsed().unwrap().as_millis();
    let digit = |place: u32| {
        format!("substr('0123456789abcdefghjkmnpqrstvwxyz', ((at >> {}) % 32 + 1)::int, 1)", 5 * place)
    };
    let digits: Vec<String> = (0..10).rev().map(digit).collect();
    let numbered = format!(
        "CREATE TEMPORARY TABLE e AS SELECT i, at, {} || lpad(i::text, 16, '0') AS id
           FROM (SELECT i, {now} - {YEARS_MS} + i * ({YEARS_MS} / {count}) AS at
                   FROM generate_series(1, {count}::bigint) i) n",
        digits.join(" || ")
    );
    // Without triggers, and without looking whether what is referred to is there.
    client.batch_execute("SET session_replication_role = replica").await.unwrap();
    client.batch_execute(&numbered).await.unwrap();
    client.batch_execute(&shared_rows(&world.credential_path())).await.unwrap();
    client.batch_execute("VACUUM ANALYZE").await.unwrap();
    let size = client.query_one("SELECT pg_database_size(current_database())", &[]).await.unwrap();
    size.get::<_, i64>(0).unsigned_abs()
}

fn shared_rows(path: &str) -> String {
    format!(
        "INSERT INTO requests (id, target, credential_path, requester_subject, requester_name, groups,
             duration_seconds, reason, ticket, approvals_required, submitted_at, state, revision, claimed_at)
         SELECT id, 'target-' || (i % 5), '{path}', 'corp:00u' || (i % 20), 'dev-' || (i % 20),
                json_build_array('team-' || (i % 10))::text, 3600, 'order ' || i || ' is stuck in the ' ||
                CASE WHEN i % 10 = 0 THEN 'queue' ELSE 'warehouse' END || ' and nobody knows why', 'OPS-' || i, 1, at,
                CASE WHEN i % 10 = 8 THEN 'DENIED' ELSE 'CLAIMED' END, 3,
                CASE WHEN i % 10 <> 8 THEN at + 120000 END FROM e;
         INSERT INTO request_groups (name, request_id) SELECT groups::json ->> 0, id FROM requests;
         INSERT INTO decisions (request_id, position, verdict, approver_subject, approver_name, statement, digest,
             decided_at)
         SELECT id, 1, CASE WHEN i % 10 = 8 THEN 'DENIED' ELSE 'APPROVED' END, 'corp:00a' || (i % 20),
                'lead-' || (i % 20), 'read only, as discussed in the morning', 'sha256:' || lpad(i::text, 64, '0'),
                at + 60000 FROM e;
         INSERT INTO grants (id, request_id, target, credential_path, holder_subject, holder_name, opens_at,
             closes_at, opened_at, state, revision, activated_at, cause, begun_at, revoked_at)
         SELECT id, id, 'target-' || (i % 5), '{path}', 'corp:00u' || (i % 20), 'dev-' || (i % 20), at + 120000,
                at + 3720000, at + 120000, 'REVOKED', 5, at + 120500,
                CASE WHEN i % 10 = 4 THEN 'RELEASED' ELSE 'WINDOW_CLOSED' END, at + 1400000,
                at + CASE i % 10 WHEN 4 THEN 1500000 WHEN 6 THEN 4200000 ELSE 3720400 END FROM e WHERE i % 10 <> 8"
    )
}

/// Most were approved and held until their window closed; some were released, ended late, denied, or are held now.
fn rows(path: &str) -> [String; 6] {
    let ended = "iif(i % 10 = 4, at + 1500000, iif(i % 10 = 6, at + 4200000, at + 3720400))";
    [
        format!(
            "NUMBERED INSERT INTO requests (id, target, credential_path, requester_subject, requester_name, groups,
                 duration_seconds, reason, ticket, approvals_required, submitted_at, state, revision, claimed_at)
             SELECT id, 'target-' || (i % 5), '{path}', 'corp:00u' || (i % 20), 'dev-' || (i % 20),
                    json_array('team-' || (i % 10)), 3600, 'order ' || i || ' is stuck in the ' ||
                    iif(i % 10 = 0, 'queue', 'warehouse') || ' and nobody knows why', 'OPS-' || i, 1, at,
                    iif(i % 10 = 8, 'DENIED', 'CLAIMED'), 3, iif(i % 10 = 8, NULL, at + 120000) FROM e"
        ),
        "INSERT INTO request_groups (name, request_id)
         SELECT json_extract(groups, '$[0]') AS name, id FROM requests ORDER BY name, id"
            .to_owned(),
        "NUMBERED INSERT INTO decisions (request_id, position, verdict, approver_subject, approver_name, statement,
                 digest, decided_at)
             SELECT id, 1, iif(i % 10 = 8, 'DENIED', 'APPROVED'), 'corp:00a' || (i % 20), 'lead-' || (i % 20),
                    'read only, as discussed in the morning', 'sha256:' || printf('%064d', i), at + 60000 FROM e"
            .to_owned(),
        format!(
            "NUMBERED INSERT INTO grants (id, request_id, target, credential_path, holder_subject, holder_name, opens_at,
                 closes_at, opened_at, state, revision, activated_at, cause, begun_at, revoked_at)
             SELECT id, id, 'target-' || (i % 5), '{path}', 'corp:00u' || (i % 20), 'dev-' || (i % 20), at + 120000,
                    at + 3720000, at + 120000, 'REVOKED', 5, at + 120500,
                    iif(i % 10 = 4, 'RELEASED', 'WINDOW_CLOSED'), at + 1400000, {ended} FROM e WHERE i % 10 <> 8"
        ),
        "INSERT INTO reason_index (rowid, reason) SELECT rowid, reason FROM requests".to_owned(),
        "INSERT INTO statement_index (rowid, statements)
         SELECT r.rowid, d.statement FROM requests r JOIN decisions d ON d.request_id = r.id ORDER BY r.rowid"
            .to_owned(),
    ]
}

async fn run(database: &mut SqliteConnection, sql: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(database).await.unwrap();
}
