//! I8: whoever kept one old checkpoint notices whatever is done to what it is about; and with the log's key alone, whatever
//! is done by somebody who hasn't the key.
//!
//! Each seed does one thing to a log: edits, deletes, swaps, cuts off, or writes the rest anew. `TAMPER_SEEDS=100000` does so
//! many times instead of 400; every so manieth is done in the database's file, the others to what an export has.

use std::{env, fmt::Write as _, sync::OnceLock};

use hallpass::{
    ledger::{
        checkpoint::{Checkpoint, Signed},
        leaf::Leaf,
        note::Kind,
        tree::{Frontier, Hash},
    },
    store::Store as _,
    verify::{Batch, Engine, Former, Trust},
};
use serde_json::Value;

use crate::{
    audit::key,
    fsck::{check, full, tampered},
    histories::chance::Chance,
    support::sim::Sim,
};

const SEEDS: u64 = 400;
/// One of so many is done in a database.
const IN_A_DATABASE: u64 = 20;

fn seeds() -> u64 {
    env::var("TAMPER_SEEDS").ok().map_or(SEEDS, |text| text.parse().unwrap())
}

fn signed(leaves: &[String]) -> Vec<u8> {
    let mut frontier = Frontier::default();
    for leaf in leaves {
        frontier.push(Hash::of_leaf(leaf.as_bytes()), |_| {});
    }
    let checkpoint = Checkpoint::new("hallpass", frontier.size(), frontier.root()).unwrap();
    Signed::sign(checkpoint, &key("hallpass")).unwrap().to_string().into_bytes()
}

/// What an auditor with the key, and perhaps an old checkpoint, says of a log with its checkpoint.
fn faults(leaves: &[String], checkpoint: &[u8], former: Option<&[u8]>) -> Vec<String> {
    let former = former.map(|bytes| Former { name: "old".into(), bytes: bytes.to_vec() });
    let log_keys = vec![key("hallpass").verifier(Kind::Plain)];
    let trust = Trust { log_keys, former: former.into_iter().collect(), ..Trust::default() };
    let mut engine = Engine::new(trust, Some(("checkpoint", checkpoint))).unwrap();
    let mut batch = Batch::default();
    for leaf in leaves {
        batch.push(leaf.as_bytes(), None);
    }
    engine.take(batch);
    let report = engine.finish("log").unwrap().report;
    report.faults.into_iter().map(|fault| format!("{} {}", fault.about, fault.problem)).collect()
}

/// A log with a place in it that was changed, and what was done there.
struct Done {
    leaves: Vec<String>,
    /// The first leaf that isn't what it was.
    place: usize,
    what: &'static str,
}

/// Numbers the leaves from a place on anew, as somebody does who wants nothing to be missed.
fn renumber(leaves: &mut [String], from: usize) {
    for (index, leaf) in leaves.iter_mut().enumerate().skip(from) {
        let (head, tail) = leaf.rsplit_once("\"sequence\":").unwrap();
        let rest = tail.trim_start_matches(|c: char| c.is_ascii_digit());
        *leaf = format!("{head}\"sequence\":{}{rest}", index + 1);
    }
}

fn tamper(chance: &mut Chance, log: &[String]) -> Done {
    let mut leaves = log.to_vec();
    let place = chance.below(leaves.len());
    let what = match chance.below(6) {
        0 => {
            edit(chance, &mut leaves[place]);
            "edited"
        }
        1 => {
            leaves.remove(place);
            if chance.percent(50) {
                renumber(&mut leaves, place);
            }
            "deleted"
        }
        2 if place + 1 < leaves.len() => {
            let other = place + 1 + chance.below(leaves.len() - place - 1);
            leaves.swap(place, other);
            if chance.percent(50) {
                renumber(&mut leaves, place);
            }
            "swapped"
        }
        3 => {
            leaves.truncate(place);
            "cut off"
        }
        4 => {
            let another = leaves[chance.below(leaves.len())].clone();
            leaves.insert(place, another);
            renumber(&mut leaves, place);
            "put in"
        }
        _ => {
            let times = 1 + chance.below(leaves.len() - place);
            leaves[place..].iter_mut().take(times).for_each(|leaf| edit(chance, leaf));
            "forked"
        }
    };
    let place = leaves.iter().zip(log).position(|(one, other)| one != other);
    let place = place.unwrap_or(leaves.len().min(log.len()));
    Done { leaves, place, what }
}

/// Another actor, another time, another cause, or any byte.
fn edit(chance: &mut Chance, leaf: &mut String) {
    let before = leaf.clone();
    match chance.below(4) {
        0 => *leaf = leaf.replace("alice", "mallory"),
        1 => *leaf = leaf.replacen(":00:", ":01:", 1),
        2 => *leaf = leaf.replace("orders-ro", "payroll-ro"),
        _ => {}
    }
    while *leaf == before {
        let mut bytes = before.clone().into_bytes();
        let at = chance.below(bytes.len());
        bytes[at] = b' ' + u8::try_from(chance.below(95)).unwrap();
        *leaf = String::from_utf8(bytes).unwrap();
    }
}

fn is_noticed(seed: u64, log: &[String]) {
    let mut chance = Chance::new(seed);
    let done = tamper(&mut chance, log);
    if done.leaves == log {
        return;
    }
    let context = format!("seed {seed}: {} at {}", done.what, done.place);
    // Who hasn't the key leaves the checkpoint as it is, or has an older one.
    let size = chance.below(2) * chance.below(log.len() + 1);
    let theirs = if size > done.place { signed(&log[..size]) } else { signed(log) };
    assert!(!faults(&done.leaves, &theirs, None).is_empty(), "{context}, by somebody without the key");
    // Who has the key signs what he made of it. An old checkpoint that reaches as far notices; behind its end a log may grow.
    if done.place == log.len() {
        return;
    }
    let kept = done.place + 1 + chance.below(log.len() - done.place);
    let found = faults(&done.leaves, &signed(&done.leaves), Some(&signed(&log[..kept])));
    assert!(
        found.iter().any(|fault| fault.starts_with("old ")),
        "{context}, by the daemon itself: {found:?}"
    );
}

async fn leaves(sim: &Sim) -> Vec<Leaf> {
    sim.store.ledger().leaves(0, 100_000).await.unwrap()
}

fn lines(leaves: &[Leaf]) -> Vec<String> {
    leaves.iter().map(|leaf| leaf.line.clone()).collect()
}

#[tokio::test]
async fn an_auditor_with_an_old_checkpoint_notices_whatever_is_done() {
    let sim = full().await;
    let log = lines(&leaves(&sim).await);
    assert!(
        faults(&log, &signed(&log), Some(&signed(&log[..log.len() / 2]))).is_empty(),
        "it was well before"
    );
    for seed in (0..seeds()).filter(|seed| seed % IN_A_DATABASE != 0) {
        is_noticed(seed, &log);
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Whoever rewrites the log rewrites its index as well.
const INDEXED: &str = "
    DELETE FROM audit_events_by_request;
    INSERT INTO audit_events_by_request
    SELECT request_id, sequence FROM audit_events
     WHERE request_id IS NOT NULL AND sequence <= (SELECT max(sequence) / 16 * 16 FROM audit_events);";

/// The statements that make the log's table another one, with or without its hashes.
fn rewritten(log: &[Leaf], done: &Done, with_hashes: bool) -> String {
    let mut statements = String::from("DELETE FROM audit_events;");
    let mut frontier = Frontier::default();
    for (index, leaf) in done.leaves.iter().enumerate() {
        let mut hashes = Vec::new();
        frontier.push(Hash::of_leaf(leaf.as_bytes()), |hash| hashes.extend(hash.0));
        if !with_hashes {
            hashes.truncate(32);
            hashes[0] ^= 1;
        }
        let texts = log.iter().find(|other| other.line == *leaf).filter(|other| !other.texts.is_empty());
        let texts =
            texts.map_or("NULL".to_owned(), |leaf| quoted(&Value::from(leaf.texts.clone()).to_string()));
        let hashes = hex::encode(hashes);
        writeln!(
            statements,
            "INSERT INTO audit_events (sequence, leaf, hashes, texts) VALUES ({}, {}, x'{hashes}', {texts});",
            index + 1,
            quoted(leaf)
        )
        .unwrap();
    }
    statements.push_str(INDEXED);
    statements
}

/// The same in the database's file, whose own check notices as well: the checkpoints in it are signed.
#[tokio::test]
async fn fsck_notices_whatever_is_done_to_the_log_in_the_file() {
    let sim = full().await;
    let log = leaves(&sim).await;
    let plain = lines(&log);
    sim.store.close().await;
    for seed in (0..seeds()).filter(|seed| seed % IN_A_DATABASE == 0) {
        let mut chance = Chance::new(seed);
        let done = tamper(&mut chance, &plain);
        // What isn't JSON SQLite itself refuses, for the columns that it reads out of the leaf.
        let is_json = |leaf: &String| serde_json::from_str::<Value>(leaf).is_ok();
        if done.leaves == plain || !done.leaves.iter().all(is_json) {
            continue;
        }
        let statements = rewritten(&log, &done, chance.percent(70));
        let (_dir, copy) = tampered(&sim.database(), "tampering", &statements).await;
        let report = check(&copy).await;
        assert!(!report.holds(), "seed {seed}: {} at {}", done.what, done.place);
    }
}

/// What was said once is said of the same log for ever.
#[tokio::test]
async fn a_seed_does_the_same_each_time() {
    static LOG: OnceLock<Vec<String>> = OnceLock::new();
    let log =
        LOG.get_or_init(|| (1..=50).map(|number| format!("{{\"sequence\":{number},\"v\":1}}")).collect());
    for seed in 0..200 {
        let [one, other] = [(), ()].map(|()| tamper(&mut Chance::new(seed), log));
        assert_eq!((one.leaves, one.what), (other.leaves, other.what));
    }
}
