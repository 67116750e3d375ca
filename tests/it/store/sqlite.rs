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
    Backend, Sql,
    values::{World, beginning, target},
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

impl Sql for Sqlite {
    async fn run(&self, statement: &'static str) -> Result<u64, String> {
        run(&mut self.raw().await, statement).await
    }

    async fn refuse_approvals(&self) {
        let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON audit_events WHEN NEW.kind = 'RequestApproved' \
                      BEGIN SELECT RAISE(ABORT, 'refused'); END";
        self.run(refuse).await.unwrap();
    }

    async fn allow_approvals(&self) {
        self.run("DROP TRIGGER refuse").await.unwrap();
    }
}

impl Sqlite {
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("hallpass.db")
    }

    /// Lets go of it, as a daemon does that stops. The directory goes with the answer.
    pub fn stop(self) -> TempDir {
        self.directory
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
pub fn migrations() -> Vec<i64> {
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
