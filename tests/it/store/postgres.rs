//! A database of a PostgreSQL server: made for one test, on the server that all tests share.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use hallpass::{
    clock::ManualClock,
    store::{
        Migrate, OpenError, Store,
        postgres::{Address, PostgresStore, Server},
    },
};
use tempfile::TempDir;

use super::{Backend, Sql, values::beginning};
use crate::support::servers::postgres;

/// A database that nobody else has.
pub struct Database {
    directory: TempDir,
    /// Its name.
    pub name: String,
}

impl Database {
    pub async fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("store_{}", MADE.fetch_add(1, Ordering::Relaxed));
        let superuser = postgres().connect_as_superuser("postgres").await;
        superuser.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let password = directory.path().join("password");
        fs::write(&password, postgres().password).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        Self { directory, name }
    }

    /// As whom to log in there, and the password's file.
    pub fn server(&self) -> Server {
        self.server_of(&self.name)
    }

    /// The same for another database.
    pub fn server_of(&self, name: &str) -> Server {
        self.server_as(postgres().superuser, name)
    }

    /// The same for somebody else, who has the same password.
    pub fn server_as(&self, user: &str, name: &str) -> Server {
        let url = format!("postgres://{user}@127.0.0.1:{}/{name}", postgres().port);
        Server::new(Address::parse(&url).unwrap(), Some(&self.password_file())).unwrap()
    }

    fn password_file(&self) -> std::path::PathBuf {
        Path::new(self.directory.path()).join("password")
    }

    pub async fn open(&self, migrate: Migrate) -> Result<PostgresStore, OpenError> {
        PostgresStore::open(&self.server(), migrate, &ManualClock::new(beginning())).await
    }
}

/// A store in a database of its own.
pub struct Postgres {
    pub database: Database,
    store: Arc<dyn Store>,
}

impl Backend for Postgres {
    async fn start() -> Self {
        let database = Database::new().await;
        let store = database.open(Migrate::Yes).await.unwrap();
        Self { database, store: Arc::new(store) }
    }

    fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    async fn restart(self) -> Self {
        let Self { database, store } = self;
        drop(store);
        let store = database.open(Migrate::No).await.unwrap();
        Self { database, store: Arc::new(store) }
    }
}

impl Sql for Postgres {
    async fn run(&self, statement: &'static str) -> Result<u64, String> {
        let raw = postgres().connect_as_superuser(&self.database.name).await;
        let done = raw.execute(&spelt(statement), &[]).await;
        done.map_err(|error| error.as_db_error().unwrap().to_string())
    }

    async fn refuse_approvals(&self) {
        let refuse =
            "ALTER TABLE audit_events ADD CONSTRAINT refuse CHECK (kind <> 'RequestApproved') NOT VALID";
        self.run(refuse).await.unwrap();
    }

    async fn allow_approvals(&self) {
        self.run("ALTER TABLE audit_events DROP CONSTRAINT refuse").await.unwrap();
    }
}

/// A statement of SQLite's as PostgreSQL spells it.
fn spelt(statement: &str) -> String {
    let spellings = [
        ("hex(zeroblob(32))", "repeat('0', 64)"),
        ("zeroblob(32)", "decode(repeat('00', 32), 'hex')"),
        ("zeroblob(31)", "decode(repeat('00', 31), 'hex')"),
        ("INSERT OR REPLACE", "INSERT"),
        ("UPDATE OR REPLACE", "UPDATE"),
        ("json_object('sequence', max(sequence) + 1)", "'{\"sequence\":' || max(sequence) + 1 || '}'"),
    ];
    spellings.iter().fold(statement.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
}
