//! What only SQLite does: the file, its lock and its settings, and what the schema refuses to whoever goes past the
//! store with a connection of his own.

use std::{
    error::Error,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use hallpass::{
    access::{actor::Actor, revocation::Cause},
    clock::{Clock, ManualClock},
    store::{Migrate, OpenError, Store, StoreError, Write, sqlite::SqliteStore},
};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use super::{
    Backend,
    values::{World, beginning, person, target},
};

/// A database file in a directory of its own.
pub struct Sqlite {
    directory: TempDir,
    store: Arc<dyn Store>,
}

impl Backend for Sqlite {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory.path().join("hallpass.db"), Migrate::Yes).await.unwrap();
        Self { directory, store: Arc::new(store) }
    }

    fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    async fn restart(self) -> Self {
        let Self { directory, store } = self;
        drop(store);
        let store = open(&directory.path().join("hallpass.db"), Migrate::No).await.unwrap();
        Self { directory, store: Arc::new(store) }
    }
}

impl Sqlite {
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("hallpass.db")
    }

    /// A connection past the store.
    pub async fn raw(&self) -> SqliteConnection {
        raw(&self.file()).await
    }
}

pub async fn open(file: &Path, migrate: Migrate) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(file, migrate, &ManualClock::new(beginning())).await
}

pub async fn raw(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

/// The versions of all migrations, from the names of their files.
fn migrations() -> Vec<i64> {
    let files = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut versions: Vec<i64> = names.map(|name| name[..4].parse().unwrap()).collect();
    versions.sort_unstable();
    versions
}

pub async fn run(raw: &mut SqliteConnection, statement: &'static str) -> Result<u64, String> {
    let done = sqlx::query(statement).execute(raw).await;
    done.map(|done| done.rows_affected()).map_err(|error| error.to_string())
}

fn whole(error: &dyn Error) -> String {
    let source = error.source().map(whole).unwrap_or_default();
    format!("{error} {error:?} {source}")
}

#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    let backend = Sqlite::start().await;
    World::new(&**backend.store()).submit(&target("orders", 1), "dev").await;
    let mut names = Vec::new();
    for entry in fs::read_dir(backend.directory.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["hallpass.db", "hallpass.db-shm", "hallpass.db-wal", "hallpass.db.lock"]);
}

#[tokio::test]
async fn a_second_daemon_is_refused() {
    let backend = Sqlite::start().await;
    for _ in 0..2 {
        let refused = open(&backend.file(), Migrate::Yes).await.unwrap_err();
        assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    }
    let file = backend.file();
    let Sqlite { directory, store } = backend;
    drop(store);
    open(&file, Migrate::No).await.unwrap();
    drop(directory);
}

#[tokio::test]
async fn what_can_not_be_used_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("db");
    let refused = open(&directory.path().join("none/db"), Migrate::Yes).await.unwrap_err();
    assert!(matches!(refused, OpenError::Directory { .. }), "{refused}");
    let refused = open(&file, Migrate::No).await.unwrap_err();
    assert!(matches!(refused, OpenError::Missing { .. }), "{refused}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "a typing error leaves no files");

    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = open(&file, Migrate::Yes).await.unwrap_err();
    assert!(refused.to_string().contains("0640"), "{refused}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let refused = open(&file, Migrate::No).await.unwrap_err();
    assert!(matches!(refused, OpenError::Pending { count } if count == migrations().len()), "{refused}");

    run(&mut raw(&file).await, "CREATE TABLE dashboards (id INTEGER) STRICT").await.unwrap();
    let refused = open(&file, Migrate::Yes).await.unwrap_err();
    assert!(matches!(refused, OpenError::Foreign), "{refused}");
    // Another file, because connections to the one before may still be closing, and write to it when they do.
    let file = directory.path().join("text");
    fs::write(&file, "no database at all, but long enough to be taken for something".repeat(20)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let refused = open(&file, Migrate::Yes).await.unwrap_err();
    assert!(matches!(refused, OpenError::Database { .. }), "{refused}");
}

#[tokio::test]
async fn migrating_says_what_it_did() {
    let directory = tempfile::tempdir().unwrap();
    let (file, clock) = (directory.path().join("db"), ManualClock::new(beginning()));
    assert_eq!(SqliteStore::migrate(&file, &clock).await.unwrap(), migrations());
    assert_eq!(SqliteStore::migrate(&file, &clock).await.unwrap(), [0_i64; 0]);
    let key = open(&file, Migrate::No).await.unwrap().digest_key().await.unwrap();
    clock.random();
    assert_eq!(open(&file, Migrate::Yes).await.unwrap().digest_key().await.unwrap(), key);

    let alter = "UPDATE _sqlx_migrations SET checksum = x'00'";
    run(&mut raw(&file).await, alter).await.unwrap();
    let refused = open(&file, Migrate::Yes).await.unwrap_err();
    assert!(matches!(refused, OpenError::Altered { version: 1 }), "{refused}");
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (0, 'later', TRUE, x'00', 0)";
    run(&mut raw(&file).await, newer).await.unwrap();
    let refused = open(&file, Migrate::No).await.unwrap_err();
    assert!(matches!(refused, OpenError::Newer { version: 0 }), "{refused}");
}

/// What nobody does to the log, and what keeps him from it.
const LOG_CHANGES: &[(&str, &str)] = &[
    ("UPDATE audit_events SET leaf = '{}'", "audit_events_never_change"),
    ("UPDATE audit_events SET hashes = zeroblob(32)", "audit_events_never_change"),
    ("UPDATE audit_events SET texts = '{}'", "audit_events_texts_only_go"),
    ("UPDATE OR REPLACE audit_events SET sequence = 2 WHERE sequence = 1", "audit_events_never_change"),
    ("DELETE FROM audit_events", "audit_events_never_go"),
    ("DELETE FROM audit_events WHERE sequence = (SELECT max(sequence) FROM audit_events)", "never_go"),
    (
        "INSERT OR REPLACE INTO audit_events (sequence, leaf, hashes) VALUES (1, '{\"sequence\":1}', zeroblob(32))",
        "audit_events_append",
    ),
    (
        "INSERT INTO audit_events (sequence, leaf, hashes) VALUES (1000, '{\"sequence\":1000}', zeroblob(32))",
        "audit_events_append",
    ),
    ("INSERT INTO audit_events (leaf, hashes) VALUES ('{}', zeroblob(32))", "audit_events_append"),
    (
        "INSERT INTO audit_events (sequence, leaf, hashes) \
         SELECT max(sequence) + 1, 'no JSON', zeroblob(32) FROM audit_events",
        "malformed JSON",
    ),
    (
        "INSERT INTO audit_events (sequence, leaf, hashes) \
         SELECT max(sequence) + 1, '{\"sequence\":1}', zeroblob(32) FROM audit_events",
        "audit_events_leaf_numbered",
    ),
    (
        "INSERT INTO audit_events (sequence, leaf, hashes) \
         SELECT max(sequence) + 1, json_object('sequence', max(sequence) + 1), zeroblob(31) FROM audit_events",
        "audit_events_hashes_whole",
    ),
    (
        "INSERT INTO checkpoints (size, root, note, signed_at) VALUES (1000, zeroblob(32), 'n', 0)",
        "checkpoints_append",
    ),
    ("UPDATE checkpoints SET note = 'x'", "checkpoints_never_change"),
    ("DELETE FROM checkpoints", "checkpoints_never_go"),
    ("UPDATE cosignatures SET cosigned_at = 0", "cosignatures_only_later"),
    ("DELETE FROM cosignatures", "cosignatures_never_go"),
];

/// I8: not even past the daemon.
#[tokio::test]
async fn nobody_changes_what_is_recorded() {
    let backend = Sqlite::start().await;
    let world = World::new(&**backend.store());
    let target = target("orders", 1);
    world.active(&target, "dev").await;
    let pending = world.submit(&target, "dev").await;
    world.store_request(world.denial(&pending, &target, "lead")).await;
    world.submit(&target, "dev").await;
    world.opened(&target, "dev").await;
    world.cosigned(2).await;
    let mut raw = backend.raw().await;
    let cases = [
        ("UPDATE decisions SET approver_name = 'x'", "decisions_never_change"),
        ("UPDATE decisions SET signature = NULL", "decisions_never_change"),
        ("DELETE FROM decisions", "decisions_never_go"),
        ("INSERT OR REPLACE INTO decisions SELECT * FROM decisions", "decisions_append"),
        ("DELETE FROM requests", "requests_never_go"),
        (
            "UPDATE requests SET ticket = 'other', revision = 2 WHERE state = 'PENDING'",
            "requests_ask_never_changes",
        ),
        ("UPDATE requests SET state = 'PENDING', revision = revision + 1", "requests_move"),
        ("UPDATE requests SET revision = revision + 2", "requests_move"),
        ("DELETE FROM grants", "grants_never_go"),
        (
            "UPDATE grants SET closes_at = closes_at + 1, revision = 2 WHERE state = 'ISSUING'",
            "grants_terms_never_change",
        ),
        ("UPDATE grants SET state = 'REVOKED', revision = revision + 1", "grants_move"),
        ("UPDATE settings SET value = zeroblob(32)", "settings_never_change"),
        ("DELETE FROM settings", "settings_never_go"),
    ];
    for (statement, refused_by) in LOG_CHANGES.iter().chain(&cases).copied() {
        let refused = run(&mut raw, statement).await.expect_err(statement);
        assert!(refused.contains(refused_by), "{statement}: {refused}");
    }
}

#[tokio::test]
async fn nothing_is_approved_without_approvals() {
    let backend = Sqlite::start().await;
    let world = World::new(&**backend.store());
    let two = target("payments", 2);
    let request = world.submit(&two, "dev").await;
    world.approve(&request, &two, "lead").await;
    let mut raw = backend.raw().await;
    let cases = [
        (
            "UPDATE requests SET state = 'APPROVED', approved_at = 1, revision = revision + 1",
            "requests_approved_by_enough",
        ),
        (
            "UPDATE requests SET state = 'DENIED', lapses_at = NULL, revision = revision + 1",
            "requests_denied_in_writing",
        ),
        (
            "UPDATE requests SET state = 'CLAIMED', lapses_at = NULL, claimed_at = 1, revision = revision + 1",
            "requests_move",
        ),
        (
            "INSERT INTO decisions (request_id, position, verdict, approver_subject, approver_name, statement, digest, \
                                    decided_at) \
             SELECT request_id, 2, verdict, approver_subject, approver_name, statement, digest, decided_at FROM decisions",
            "UNIQUE",
        ),
        (
            "INSERT INTO decisions (request_id, position, verdict, approver_subject, approver_name, statement, digest, \
                                    decided_at) \
             SELECT request_id, 3, verdict, 'x', 'x', statement, digest, decided_at FROM decisions",
            "decisions_append",
        ),
    ];
    for (statement, refused_by) in cases {
        let refused = run(&mut raw, statement).await.expect_err(statement);
        assert!(refused.contains(refused_by), "{statement}: {refused}");
    }
}

/// The event is refused at the very end of the transaction, when the change is made already (I4).
#[tokio::test]
async fn a_change_without_its_event_does_not_happen() {
    let backend = Sqlite::start().await;
    let world = World::new(&**backend.store());
    let target = target("orders", 1);
    let request = world.submit(&target, "dev").await;
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON audit_events WHEN NEW.kind = 'RequestApproved' \
                  BEGIN SELECT RAISE(ABORT, 'refused'); END";
    let mut raw = backend.raw().await;
    run(&mut raw, refuse).await.unwrap();
    let approval = world.approval(&request, &target, "lead");
    let refused = world.store.commit(&[Write::Request(&approval)]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable { .. }), "{refused:?}");
    world.is_stored(&request).await;
    assert_eq!(world.store.last_sequence().await.unwrap(), 1);
    run(&mut raw, "DROP TRIGGER refuse").await.unwrap();
    world.store_request(approval).await;
}

#[tokio::test]
async fn errors_show_no_handles() {
    let backend = Sqlite::start().await;
    let world = World::new(&**backend.store());
    let grant = world.active(&target("orders", 1), "dev").await;
    let mut raw = backend.raw().await;
    run(&mut raw, "CREATE TRIGGER refuse BEFORE UPDATE ON grants BEGIN SELECT RAISE(ABORT, 'refused'); END")
        .await
        .unwrap();
    let now = world.tick();
    let change = grant.clone().begin(Cause::Released, Actor::Daemon, None, now).unwrap();
    let refused = world.store.commit(&[Write::Grant(&change)]).await.unwrap_err();
    assert!(whole(&refused).contains("refused"));
    assert!(!whole(&refused).contains("secret-"), "{}", whole(&refused));
    // Nor does a row that can't be read.
    let spoil = "DROP TRIGGER refuse; DROP TRIGGER grants_move; PRAGMA ignore_check_constraints = ON; \
                 UPDATE grants SET wrapping_accessor = NULL";
    sqlx::raw_sql(spoil).execute(&mut raw).await.unwrap();
    let refused = world.store.grant(grant.id).await.unwrap_err();
    assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused}");
    assert!(!whole(&refused).contains("secret-"), "{}", whole(&refused));
}

/// Callers hang up whenever they like. Whatever a commit had done by then, it is all there or not at all, and the next
/// one works.
#[tokio::test]
async fn a_dropped_commit_leaves_the_store_usable() {
    let backend = Sqlite::start().await;
    let world = World::new(&**backend.store());
    let target = target("orders", 1);
    let (mut dropped, mut stored) = (0, 0);
    for polls in 0..60 {
        let request = world.submit(&target, "dev").await;
        let before = world.store.last_sequence().await.unwrap();
        let now = world.tick();
        let withdrawn = request.clone().withdraw(person("dev"), now).unwrap();
        let writes = [Write::Request(&withdrawn)];
        let mut commit = Box::pin(world.store.commit(&writes));
        for _ in 0..polls {
            let finished = std::future::poll_fn(|context| {
                std::task::Poll::Ready(commit.as_mut().poll(context).is_ready())
            });
            if finished.await {
                break;
            }
            // Gives the connection's thread the time to get somewhere.
            std::thread::yield_now();
            tokio::task::yield_now().await;
        }
        drop(commit);
        // Comes after whatever the dropped commit's connection still has to do.
        let next = world.submit(&target, "dev").await;
        let events = world.store.last_sequence().await.unwrap() - before - 1;
        if events == 1 {
            stored += 1;
            world.is_stored(withdrawn.after()).await;
        } else {
            dropped += 1;
            assert_eq!(events, 0);
            world.is_stored(&request).await;
        }
        world.is_stored(&next).await;
    }
    assert!(dropped > 0, "{stored} stored, {dropped} dropped");
}

/// Defect 20: a log whose file is deleted goes unnoticed, and everything after that is lost.
#[tokio::test]
async fn defect_20_a_database_whose_file_is_gone_takes_no_commit() {
    let sqlite = Sqlite::start().await;
    let (world, target) = (World::new(&**sqlite.store()), target("orders", 1));
    world.submit(&target, "dev").await;
    let (file, away) = (sqlite.file(), sqlite.directory.path().join("away"));
    fs::rename(&file, &away).unwrap();
    for replaced in [false, true] {
        if replaced {
            fs::copy(&away, &file).unwrap();
        }
        let change = world.submission(&target, world.ask(&target, "dev"));
        let refused = world.store.commit(&[Write::Request(&change)]).await.unwrap_err();
        assert!(matches!(refused, StoreError::Unavailable { .. }), "{refused:?}");
    }
    fs::rename(&away, &file).unwrap();
    world.submit(&target, "dev").await;
    assert_eq!(world.store.last_sequence().await.unwrap(), 2, "put back, it is used again");
}
