//! `hallpassd backup`: one file that is whole, private and checked, or none.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use hallpass::{
    clock::{Clock as _, ManualClock},
    ledger::tree::Frontier,
    store::{Checkpoint, Migrate, Store as _, Write, sqlite::SqliteStore},
};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::support::{
    servers::Dir,
    sim::{HOUR, Sim},
    world::World,
};

/// A place for copies, and a configuration that says no more than where the database is.
struct Copies {
    dir: Dir,
}

impl Copies {
    fn of(database: &Path) -> Self {
        let dir = Dir::new("backup");
        fs::write(dir.join("hallpassd.toml"), format!("[store]\npath = \"{}\"\n", database.display()))
            .unwrap();
        Self { dir }
    }

    fn file(&self) -> PathBuf {
        self.dir.join("copy.db")
    }

    fn command(&self, to: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hallpassd"));
        command.args(["backup", "--config"]).arg(self.dir.join("hallpassd.toml")).arg(to);
        command
    }

    /// Makes a copy, and answers with what was said of it.
    fn made(&self) -> String {
        let output = self.command(&self.file()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Doesn't make one, and answers with why.
    fn refused(&self, to: &Path) -> String {
        refusal(&self.command(to).output().unwrap())
    }

    /// What there is beside the configuration.
    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir.join("")).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| name != "hallpassd.toml");
        names.sort();
        names
    }
}

fn refusal(output: &Output) -> String {
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

async fn raw(file: &Path) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(file)).await.unwrap()
}

/// A database with three events, and the store that has it.
async fn sim() -> Sim {
    let sim = Sim::start().await;
    sim.approved("orders-ro").await;
    sim.submit("payroll-ro").await;
    sim
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_daemons_database_is_copied_whole() {
    let world = World::start().await;
    let mut alice = world.person("alice").await;
    let request = alice.submit(HOUR, "order 4711 is stuck").await.unwrap();
    let copies = Copies::of(&world.database_file());
    let output = copies.command(&copies.file()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    for line in ["asking hallpassd to sign a checkpoint", "copying", "checking the copy"] {
        assert!(said.contains(line), "{said}");
    }
    assert_eq!(copies.names(), ["copy.db"], "one file, and nothing beside it");
    assert_eq!(fs::metadata(copies.file()).unwrap().permissions().mode() & 0o7777, 0o600);
    let clock = ManualClock::new(chrono::DateTime::UNIX_EPOCH);
    let copy = SqliteStore::open(&copies.file(), Migrate::No, &clock).await.unwrap();
    let id = request.name.strip_prefix("requests/").unwrap().parse().unwrap();
    assert!(copy.request(id).await.unwrap().is_some());
    let signed = copy.ledger().last_checkpoint().await.unwrap().unwrap();
    let submitted = copy.timeline(id).await.unwrap().pop().unwrap().sequence;
    assert!(signed.size >= submitted.unsigned_abs(), "it has a checkpoint of now");
    copy.close().await;
    alice.submit(HOUR, "the daemon goes on").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_at_rest_is_copied_and_left_as_it_was() {
    let sim = sim().await;
    sim.store.close().await;
    let beside = |ending: &str| PathBuf::from(format!("{}{ending}", sim.database().display())).exists();
    assert!(!beside("-wal"));
    let copies = Copies::of(&sim.database());
    let said = copies.made();
    let bytes = fs::metadata(copies.file()).unwrap().len();
    assert!(said.contains(&format!("copy.db: {bytes} bytes, 3 events, no checkpoint\n")), "{said}");
    assert!(!beside("-wal") && !beside("-shm"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_says_how_far_its_checkpoint_goes() {
    let sim = sim().await;
    let mut frontier = Frontier::default();
    let leaves = sim.store.ledger().leaves(0, 1).await.unwrap();
    frontier.push(leaves[0].hash(), |_| {});
    let checkpoint =
        Checkpoint { size: 1, root: frontier.root(), note: "note\n".to_owned(), signed_at: sim.clock.now() };
    sim.store.commit(&[Write::Checkpoint(&checkpoint)]).await.unwrap();
    let said = Copies::of(&sim.database()).made();
    assert!(said.ends_with("3 events, the last checkpoint is of 1, 2 are beyond it\n"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_over() {
    let sim = sim().await;
    let copies = Copies::of(&sim.database());
    fs::write(copies.file(), "mine").unwrap();
    assert!(copies.refused(&copies.file()).contains("is there already"));
    assert_eq!(fs::read_to_string(copies.file()).unwrap(), "mine");
    let link = copies.dir.join("link.db");
    symlink("nowhere", &link).unwrap();
    assert!(copies.refused(&link).contains("is there already"));
    fs::remove_file(copies.file()).unwrap();
    let partial = copies.dir.join("copy.db.partial");
    fs::write(&partial, "another's").unwrap();
    assert!(copies.refused(&copies.file()).contains("another backup is at work, or one was broken off"));
    assert_eq!(fs::read_to_string(&partial).unwrap(), "another's");
    assert_eq!(copies.names(), ["copy.db.partial", "link.db"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_directory_or_room_nothing_is_left() {
    let sim = sim().await;
    let copies = Copies::of(&sim.database());
    let said = copies.refused(&copies.dir.join("missing/copy.db"));
    assert!(said.contains("missing/copy.db; check that its directory is there"), "{said}");
    // 32 KiB, and the signal that would end it ignored, so that it is told of as by a file system.
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_hallpassd")]);
    limited.args(["backup", "--config"]).arg(copies.dir.join("hallpassd.toml")).arg(copies.file());
    let said = refusal(&limited.output().unwrap());
    assert!(said.contains("copy the database"), "{said}");
    assert_eq!(copies.names(), [""; 0]);
    copies.made();
}

/// A log that isn't the one that its tree has is no backup, however well SQLite likes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_tampered_with_is_no_backup() {
    let cases = [
        (
            "DROP TRIGGER audit_events_never_change; \
             UPDATE audit_events SET leaf = replace(leaf, 'orders-ro', 'orders-rw') WHERE sequence = 2",
            "audit event 2 isn't the one that the log's tree has",
        ),
        (
            "DROP TRIGGER audit_events_never_go; DELETE FROM audit_events WHERE sequence = 1",
            "audit event 1 is missing",
        ),
        (
            "INSERT INTO checkpoints (size, root, note, signed_at) VALUES (2, zeroblob(32), 'x', 1)",
            "the checkpoint of 2 events is of other events",
        ),
        (
            "INSERT INTO checkpoints (size, root, note, signed_at) VALUES (3, zeroblob(32), 'x', 1); \
             DROP TRIGGER audit_events_never_go; DELETE FROM audit_events WHERE sequence = 3",
            "the last checkpoint is of more events than there are",
        ),
    ];
    for (tampering, problem) in cases {
        let sim = sim().await;
        sqlx::raw_sql(tampering).execute(&mut raw(&sim.database()).await).await.unwrap();
        let copies = Copies::of(&sim.database());
        let said = copies.refused(&copies.file());
        assert!(said.contains("the copy isn't sound") && said.contains(problem), "{said}");
        assert_eq!(copies.names(), [""; 0]);
    }
}

/// Before an upgrade, the new version copies what it is going to bring up to date.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_an_earlier_version_is_copied_as_it_is() {
    let sim = sim().await;
    let earlier = "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
    sqlx::raw_sql(earlier).execute(&mut raw(&sim.database()).await).await.unwrap();
    let copies = Copies::of(&sim.database());
    let said = copies.made();
    assert!(
        said.ends_with("of an earlier version: 1 migrations are pending, and its log wasn't checked\n"),
        "{said}"
    );
    assert_eq!(copies.names(), ["copy.db"]);
}

#[test]
fn without_a_database_or_a_configuration_it_says_so() {
    let dir = Dir::new("backup");
    let copies = Copies::of(&dir.join("hallpass.db"));
    assert!(copies.refused(&copies.file()).contains("there is no database at"));
    fs::write(copies.dir.join("hallpassd.toml"), "[store]\n").unwrap();
    let output = copies.command(&copies.file()).output().unwrap();
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("store.path"));
    assert_eq!(copies.names(), [""; 0]);
}
