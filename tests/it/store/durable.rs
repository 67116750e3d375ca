//! What is answered is on the disk: a copy of the files, made the moment that a commit is answered, has it. Such a copy is
//! what a process that is killed then leaves.

use std::{fs, path::Path, sync::Arc};

use hallpass::{
    access::policy::Scope,
    clock::ManualClock,
    store::{Migrate, Store, Write, sqlite::SqliteStore},
};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{
    Backend,
    sqlite::Sqlite,
    values::{World, beginning, target},
};

/// How many commit at once: more than fit in one transaction.
const COMMITTERS: u32 = 150;

/// Copies the database as it is now. In this order, because what is in the `-wal` file only comes to the other one by a
/// checkpoint, and there is none before a thousand pages.
fn copy(file: &Path) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal"] {
        let name = format!("{}{suffix}", file.file_name().unwrap().to_str().unwrap());
        fs::copy(file.with_file_name(&name), directory.path().join(&name)).unwrap();
    }
    directory
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_there_after_a_kill() {
    let backend = Sqlite::start().await;
    let (world, target) = (World::new(&**backend.store()), target("orders", 1));
    let mut tasks = JoinSet::new();
    for number in 0..COMMITTERS {
        let change = world.submission(&target, world.ask(&target, &format!("dev-{number}")));
        let (store, file) = (Arc::clone(backend.store()), backend.file());
        tasks.spawn(async move {
            let recorded = store.commit(&[Write::Request(&change)]).await.unwrap();
            // Some of them, because each copy takes longer than a commit.
            (recorded[0].clone(), (number % 10 == 0).then(|| copy(&file)))
        });
    }
    let mut answered = tasks.join_all().await;
    answered.sort_by_key(|(recorded, _)| recorded.sequence);
    let sequences = answered.iter().map(|(recorded, _)| recorded.sequence);
    assert!(sequences.eq(1..=i64::from(COMMITTERS)), "each has a place of its own");
    for (recorded, copied) in answered {
        let Some(directory) = copied else { continue };
        let file = directory.path().join(backend.file().file_name().unwrap());
        let clock = ManualClock::new(beginning());
        let copy = SqliteStore::open(&file, Migrate::No, &clock).await.unwrap();
        let events = copy.events_after(&Scope::All, None, recorded.sequence - 1, 1).await.unwrap();
        let id = recorded.about.request.unwrap();
        assert_eq!(events, [recorded]);
        assert!(copy.request(id).await.unwrap().is_some());
    }
}
