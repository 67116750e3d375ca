//! A start with 100,000 held grants among a million: from the start of the process to "deadlines armed, and serving",
//! beside a bare read of the same rows; and what a held grant costs in memory. The windows close one after another over
//! seven hours, from two minutes on, so that some are due within what is held in memory and none while it is measured.

use std::{
    fs,
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use hallpass::{
    clock::SystemClock,
    store::{Migrate, sqlite::SqliteStore},
};
use sqlx::{Connection as _, Row as _, SqliteConnection};

use crate::{
    common::{millis, now, pause},
    support::world::World,
};

const ALL: u32 = 1_000_000;
const HELD: u32 = 100_000;
/// How long the daemon is left alone before its memory is looked at: it has swept by then.
const SETTLE: Duration = Duration::from_secs(20);

pub async fn measure() {
    let world = World::start().await;
    world.stop_daemon("TERM").await;
    // Without Vault: nothing of these grants is there, and finding that out isn't what is measured.
    let config = fs::read_to_string(world.config_file()).unwrap();
    let config = config.replace(&world.bao.address, "http://127.0.0.1:9");
    fs::write(world.config_file(), config).unwrap();
    fs::remove_file(world.database_file()).unwrap();
    let (_, empty) = start(&world).await;
    fs::remove_file(world.database_file()).unwrap();
    fill(&world).await;
    let read = bare_read(&world).await;
    let (serving, full) = start(&world).await;
    println!("{HELD} held grants among {ALL}");
    println!("a bare read of their rows: {read:.0} ms");
    println!("from the process's start to armed and serving: {serving:.0} ms; ratio {:.2}", serving / read);
    let each = (full - empty) * 1024.0 / f64::from(HELD);
    println!(
        "memory after the first sweep: {full:.0} KiB, without grants {empty:.0} KiB: {each:.1} bytes for each\n"
    );
}

/// Starts the daemon; answers with the milliseconds until it serves, and with its memory in KiB a while later.
async fn start(world: &World) -> (f64, f64) {
    let begun = now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpassd"));
    command.args(["serve", "--config"]).arg(world.config_file());
    let mut daemon = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let address = world.address.strip_prefix("http://").unwrap();
    while TcpStream::connect(address).is_err() {
        assert!(daemon.try_wait().unwrap().is_none(), "it ended");
        pause(Duration::from_millis(1)).await;
    }
    let serving = millis(begun.elapsed());
    pause(SETTLE).await;
    let memory = memory(&daemon);
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    (serving, memory)
}

fn memory(daemon: &Child) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

async fn bare_read(world: &World) -> f64 {
    let mut database = connect(world).await;
    let begun = now();
    let select = "SELECT * FROM grants WHERE state IN ('ISSUING', 'ACTIVE')";
    let rows = sqlx::query(select).fetch_all(&mut database).await.unwrap();
    let bytes: usize = rows.iter().map(|row| row.get::<String, _>("id").len()).sum();
    assert_eq!(bytes, 26 * usize::try_from(HELD).unwrap());
    millis(begun.elapsed())
}

/// Writes the history as the database would have it, past the triggers that let a row only grow into its state.
async fn fill(world: &World) {
    SqliteStore::open(&world.database_file(), Migrate::Yes, &SystemClock).await.unwrap().close().await;
    let mut database = connect(world).await;
    let triggers = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND name LIKE '%_begin_%'";
    let triggers: Vec<(String, String)> = sqlx::query_as(triggers).fetch_all(&mut database).await.unwrap();
    for (name, _) in &triggers {
        run(&mut database, &format!("DROP TRIGGER {name}")).await;
    }
    let now = "CAST(1000 * unixepoch('subsec') AS INTEGER)";
    let numbers = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ALL})");
    run(
        &mut database,
        &format!(
            "{numbers} INSERT INTO requests (id, target, credential_path, requester_subject, requester_name, \
         duration_seconds, reason, approvals_required, submitted_at, state, revision, claimed_at) \
         SELECT printf('0%025d', i), 'orders-ro', '{path}', 'sub-' || i % 500, 'dev-' || i % 500, 28800, \
         'order 4711 is stuck', 1, {now}, 'CLAIMED', 3, {now} FROM n",
            path = world.credential_path(),
        ),
    )
    .await;
    let held = format!("i % {} = 0", ALL / HELD);
    run(&mut database, &format!(
        "{numbers} INSERT INTO grants (id, request_id, target, credential_path, holder_subject, holder_name, \
         opens_at, closes_at, opened_at, state, revision, token_accessor, wrapping_accessor, lease_id, activated_at, \
         cause, begun_at, revoked_at) \
         SELECT printf('1%025d', i), printf('0%025d', i), 'orders-ro', '{path}', 'sub-' || i % 500, 'dev-' || i % 500, \
         {now}, {now} + 120000 + i * 25, {now}, iif({held}, 'ACTIVE', 'REVOKED'), 5, \
         iif({held}, printf('t%023d', i), NULL), iif({held}, printf('w%023d', i), NULL), \
         iif({held}, '{path}/' || printf('l%023d', i), NULL), {now}, \
         iif({held}, NULL, 'WINDOW_CLOSED'), iif({held}, NULL, {now}), iif({held}, NULL, {now}) FROM n",
        path = world.credential_path(),
    )).await;
    for (_, sql) in &triggers {
        run(&mut database, sql).await;
    }
    run(&mut database, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    database.close().await.unwrap();
}

async fn connect(world: &World) -> SqliteConnection {
    let database = format!("sqlite://{}", world.database_file().display());
    SqliteConnection::connect(&database).await.unwrap()
}

async fn run(database: &mut SqliteConnection, sql: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(database).await.unwrap();
}
