//! The same histories on SQLite and in memory: they tell the same story, and leave the same rows and the same log.

use std::sync::Arc;

use hallpass::{
    access::{event::Recorded, grant::Grant, policy::Scope, request::Request},
    clock::ManualClock,
    store::{Migrate, Store, sqlite::SqliteStore},
};

use super::history::{History, Setting, Violation};

/// How many histories are played twice. Each of their commits is a durable one.
const SEEDS: u64 = 200;

/// All that a history leaves.
#[derive(Debug, PartialEq)]
struct Left {
    ended: Result<(), Violation>,
    story: String,
    requests: Vec<Request>,
    grants: Vec<Grant>,
    events: Vec<Recorded>,
    length: i64,
}

fn play(seed: u64, store: Option<Arc<dyn Store>>) -> Left {
    let mut history = History::new(seed, &Setting { store, is_told: true, ..Setting::default() });
    let ended = history.play();
    let plain = Arc::clone(&history.plain);
    let events = history.life.block_on(plain.events_after(&Scope::All, None, 0, u32::MAX)).unwrap();
    let length = history.life.block_on(plain.last_sequence()).unwrap();
    let (requests, grants) = (history.all_requests(), history.all_grants());
    Left { ended, story: history.story(), requests, grants, events, length }
}

fn play_share(share: u64, shares: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for seed in (share..SEEDS).step_by(usize::try_from(shares).unwrap()) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("hallpass.db");
        let clock = ManualClock::new(chrono::DateTime::UNIX_EPOCH);
        let store = runtime.block_on(SqliteStore::open(&file, Migrate::Yes, &clock)).unwrap();
        let (on_sqlite, in_memory) = (play(seed, Some(Arc::new(store))), play(seed, None));
        let (mut one, mut other) = (on_sqlite.story.lines(), in_memory.story.lines());
        while let (Some(one), Some(other)) = (one.next(), other.next()) {
            assert_eq!(one, other, "seed {seed}: on SQLite, and in memory");
        }
        assert_eq!(on_sqlite, in_memory, "seed {seed}");
    }
}

#[test]
fn sqlite_and_memory_tell_the_same_story_1_of_2() {
    play_share(0, 2);
}

#[test]
fn sqlite_and_memory_tell_the_same_story_2_of_2() {
    play_share(1, 2);
}
