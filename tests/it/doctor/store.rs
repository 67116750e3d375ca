//! What doctor finds about the database, beside a running daemon and without one, and that it leaves no trace there.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt},
    path::PathBuf,
    time::SystemTime,
};

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{Diagnosis, defect, fails, is_well, warns};
use crate::support::world::World;

/// The database's files, with what a change would change.
fn files(world: &World) -> BTreeMap<PathBuf, (u64, SystemTime, Vec<u8>)> {
    let directory = world.database_file().parent().unwrap().to_owned();
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    // A daemon that was killed leaves its socket, which nobody can read.
    let ours = entries.filter(|path| path.is_file() && path.to_str().unwrap().contains("hallpass.db"));
    ours.map(|path| {
        let metadata = fs::metadata(&path).unwrap();
        let contents = fs::read(&path).unwrap();
        (path, (metadata.ino(), metadata.modified().unwrap(), contents))
    })
    .collect()
}

fn about(world: &World) -> String {
    format!("store {}", world.database_file().display())
}

async fn connect(world: &World) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(world.database_file()).create_if_missing(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

#[tokio::test]
async fn a_database_at_rest_is_read_without_a_trace() {
    let world = World::start().await;
    is_well(&world);
    world.stop_daemon("TERM").await;
    let before = files(&world);
    assert!(!before.keys().any(|path| path.to_str().unwrap().ends_with("-wal")), "{:?}", before.keys());
    is_well(&world);
    assert!(files(&world) == before, "doctor changed {:?} into {:?}", before.keys(), files(&world).keys());
}

#[tokio::test]
async fn a_database_of_a_killed_daemon_is_read_with_what_is_in_its_log() {
    let world = World::start().await;
    let mut alice = world.person("alice").await;
    alice.submit(std::time::Duration::from_mins(1), "order 4711 is stuck").await.unwrap();
    world.stop_daemon("KILL").await;
    let names = || files(&world).into_keys().collect::<Vec<_>>();
    let before = names();
    is_well(&world);
    assert_eq!(names(), before);
    assert_eq!(world.audit("RequestSubmitted").await.len(), 1);
    fs::remove_file(world.dir.join("hallpass.db-shm")).unwrap();
    let before = files(&world);
    warns(&world, &defect(about(&world), "was not looked at", "start hallpassd"));
    assert!(files(&world) == before);
}

#[tokio::test]
async fn a_database_that_is_not_there_is_not_made() {
    let world = World::start().await;
    world.stop_daemon("TERM").await;
    fs::remove_file(world.database_file()).unwrap();
    fails(&world, &defect(about(&world), "there is no database", "hallpassd migrate"));
    assert!(!world.database_file().exists());
    let config = world.dir.join("elsewhere.toml");
    let (right, wrong) = (world.dir.join("hallpass.db"), world.dir.join("no/such/hallpass.db"));
    let text = fs::read_to_string(world.config_file()).unwrap();
    fs::write(&config, text.replace(right.to_str().unwrap(), wrong.to_str().unwrap())).unwrap();
    let diagnosis = Diagnosis::of(&config);
    let said = diagnosis.with("fail").iter().map(|finding| finding["said"].to_string()).collect::<String>();
    assert_eq!(diagnosis.code, Some(1));
    assert!(said.contains("no database at") && said.contains("can't be looked at"), "{said}");
}

#[tokio::test]
async fn a_database_that_others_can_use() {
    let world = World::start().await;
    let set = |file: PathBuf, mode| fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
    set(world.database_file(), 0o640);
    let command = format!("chmod 0600 {}", world.database_file().display());
    fails(&world, &defect(about(&world), "its mode is 0640", &command));
    set(world.database_file(), 0o600);
    set(world.dir.join(""), 0o777);
    fails(&world, &defect(about(&world), "others may put another database", "chmod go-w"));
    set(world.dir.join(""), 0o755);
    is_well(&world);
    set(world.dir.join("vault-secret-id"), 0o640);
    warns(&world, &defect("secret id", "is open to a group", "chmod 0600"));
}

#[tokio::test]
async fn a_schema_of_another_version_or_program() {
    let world = World::start().await;
    world.stop_daemon("TERM").await;
    let mut connection = connect(&world).await;
    sqlx::query("UPDATE _sqlx_migrations SET version = 4711 WHERE version = (SELECT max(version) FROM _sqlx_migrations)")
        .execute(&mut connection)
        .await
        .unwrap();
    fails(&world, &defect(about(&world), "the schema has migration 4711", "run the version that made it"));
    sqlx::query("DELETE FROM _sqlx_migrations").execute(&mut connection).await.unwrap();
    fails(&world, &defect(about(&world), "the schema lacks", "hallpassd migrate"));
    sqlx::query("DROP TABLE _sqlx_migrations").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    fails(&world, &defect(about(&world), "not hallpass's", "correct the path"));
}

#[tokio::test]
async fn a_damaged_page_is_found() {
    let world = World::start().await;
    world.stop_daemon("TERM").await;
    let mut connection = connect(&world).await;
    let root: i64 =
        sqlx::query_scalar("SELECT rootpage FROM sqlite_schema WHERE type = 'table' AND name = 'requests'")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    let size: i64 = sqlx::query_scalar("PRAGMA page_size").fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let file = fs::OpenOptions::new().write(true).open(world.database_file()).unwrap();
    file.write_all_at(&[0xff; 64], u64::try_from((root - 1) * size).unwrap()).unwrap();
    fails(&world, &defect(about(&world), "damaged", "backup"));
}
