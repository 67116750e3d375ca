//! The record of an approval: its leaf, its hash and the hashes of the subtrees that it completes, in the transaction that is
//! written to the disk; beside the same transaction with all of that there already.

use chrono::DateTime;
use hallpass::{
    clock::ManualClock,
    ledger::{leaf::Leaf, tree::Frontier},
    store::sqlite::SqliteStore,
};
use serde_json::Value;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::{
    common::{percentile, timed},
    log::approval,
};

const COMMITS: u64 = 3000;

pub async fn measure() {
    let directory = tempfile::tempdir().unwrap();
    let begun = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
    let clock = ManualClock::new(begun);
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let mut files = Vec::new();
    for name in ["with", "without"] {
        let file = directory.path().join(name);
        SqliteStore::migrate(&file, &clock).await.unwrap();
        let options = SqliteConnectOptions::new().filename(&file).pragma("synchronous", "FULL");
        let options = options.pragma("journal_mode", "WAL");
        files.push((SqliteConnection::connect_with(&options).await.unwrap(), Frontier::default()));
    }
    let [(one, frontier), (other, ready)] = &mut files[..] else { unreachable!() };
    for sequence in 1..=COMMITS {
        let event = approval(sequence, begun);
        timed(&mut with, async {
            let (leaf, hashes) = made(&event, frontier);
            append(one, sequence, &leaf, hashes).await;
        })
        .await;
        let (leaf, hashes) = made(&event, ready);
        timed(&mut without, append(other, sequence, &leaf, hashes)).await;
    }
    let sorted = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times
    };
    let (with, without) = (sorted(with), sorted(without));
    println!("{COMMITS} approvals, each a transaction of its own, taken in turns");
    println!("{:<58}{:>12}{:>12}", "", "median ms", "p99 ms");
    for (what, times) in [("as it is", &with), ("with leaf and hashes made before", &without)] {
        println!("{what:<58}{:>12.3}{:>12.3}", percentile(times, 50), percentile(times, 99));
    }
    println!("{:<58}{:>12.3}\n", "times as long", percentile(&with, 50) / percentile(&without, 50));
}

fn made(event: &hallpass::access::event::Recorded, frontier: &mut Frontier) -> (Leaf, Vec<u8>) {
    let leaf = Leaf::of(event);
    let mut hashes = Vec::with_capacity(64);
    frontier.push(leaf.hash(), |hash| hashes.extend(hash.0));
    (leaf, hashes)
}

async fn append(connection: &mut SqliteConnection, sequence: u64, leaf: &Leaf, hashes: Vec<u8>) {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let insert = "INSERT INTO audit_events (sequence, leaf, hashes, texts) VALUES (?, ?, ?, ?)";
    let insert = sqlx::query(insert).bind(sequence.cast_signed()).bind(leaf.line.as_str()).bind(hashes);
    insert.bind(Value::from(leaf.texts.clone()).to_string()).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
}
