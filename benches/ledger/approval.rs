//! What the log costs an approval: over gRPC, of a daemon as it is and of one whose database keeps no events, by turns in the
//! same rounds; and what the leaf and its hashes take, which the second one makes as well.

use std::time::Duration;

use chrono::DateTime;
use hallpass::{
    ledger::{leaf::Leaf, tree::Frontier},
    wire::WithdrawRequestRequest,
};
use sqlx::{Connection as _, SqliteConnection};

use crate::{
    common::{percentile, slow, surroundings, timed},
    log::approval,
    support::{people::Person, world::World},
};

/// How often both daemons are started anew: one may have it a percent better than the other for as long as it runs.
const STARTS: usize = 7;
const ROUNDS: usize = 1000;
/// Fewer where syncs take longer.
const ROUNDS_SLOW: usize = 100;
/// Rounds that come first and don't count.
const ROUNDS_BEFORE: usize = 50;
const LEAVES: u64 = 100_000;

/// The log as a table that forgets whatever is appended. In the file itself, so that the daemon needs nothing that other daemons
/// don't have.
const WITHOUT: &str = "
    ALTER TABLE audit_events RENAME TO audit_events_of_before;
    CREATE TABLE audit_events (sequence INTEGER PRIMARY KEY, leaf TEXT, hashes BLOB, texts TEXT, kind TEXT, request_id TEXT);
    CREATE TRIGGER audit_events_forget AFTER INSERT ON audit_events BEGIN DELETE FROM audit_events; END";

/// The log as it is, and such a table beside it: a row that comes and goes takes a page, too.
const WITH: &str = "
    CREATE TABLE audit_events_forgotten (sequence INTEGER PRIMARY KEY, leaf TEXT, hashes BLOB, texts TEXT);
    CREATE TRIGGER audit_events_forget AFTER INSERT ON audit_events BEGIN
        INSERT INTO audit_events_forgotten VALUES (NEW.sequence, NEW.leaf, NEW.hashes, NEW.texts);
        DELETE FROM audit_events_forgotten;
    END";

/// Two people at one daemon.
struct Pair {
    alice: Person,
    olivia: Person,
    times: Vec<f64>,
}

impl Pair {
    async fn of(world: &World) -> Self {
        let (alice, olivia) = (world.person("alice").await, world.person("olivia").await);
        Self { alice, olivia, times: Vec::new() }
    }

    /// One approval. What was approved is withdrawn, so that nothing piles up.
    async fn approve(&mut self) {
        let request = self.alice.submit(Duration::from_mins(10), "order 4711 is stuck").await.unwrap();
        let approve = self.olivia.approve(&request, "read only, as discussed");
        let approved = timed(&mut self.times, approve).await.unwrap();
        let withdraw = WithdrawRequestRequest { name: approved.name };
        self.alice.requests.withdraw_request(withdraw).await.unwrap();
    }

    fn took(mut self) -> Took {
        self.times.drain(..ROUNDS_BEFORE);
        self.times.sort_by(f64::total_cmp);
        // Without the slowest hundredth, which is whatever else the machine did.
        let most = &self.times[..self.times.len() * 99 / 100];
        let count = f64::from(u32::try_from(most.len()).unwrap());
        Took { median: percentile(&self.times, 50), mean: most.iter().sum::<f64>() / count }
    }
}

/// Milliseconds.
struct Took {
    median: f64,
    mean: f64,
}

pub async fn measure() {
    let rounds = if slow::is_here() { ROUNDS_SLOW } else { ROUNDS };
    let (mut with, mut without, mut ratios, mut of_means) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for start in 0..STARTS {
        let [as_it_is, bare] = side_by_side(rounds, start == 0).await;
        println!("{:<58}{:>12.3}{:>12.3}", "as it is, and without the log", as_it_is.median, bare.median);
        with.push(as_it_is.median);
        without.push(bare.median);
        ratios.push(as_it_is.median / bare.median);
        of_means.push(as_it_is.mean / bare.mean);
    }
    let middle = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        percentile(values, 50)
    };
    let (with, making) = (middle(&mut with), making().await);
    println!("{:<58}{with:>12.3}{:>12.3}", "the median of these", middle(&mut without));
    println!("{:<58}{making:>12.3}", "its leaf and hashes, which both make");
    println!("{:<58}{:>12.3}", "times as long, by the record of the event", middle(&mut ratios));
    println!(
        "{:<58}{:>12.3}",
        "times as long in the mean, with what comes now and then",
        middle(&mut of_means)
    );
    println!("{:<58}{:>12.3}\n", "times as long, by the event's leaf and hashes", with / (with - making));
}

/// What approvals take at two daemons that are started for it, one as it is and one without the log.
async fn side_by_side(rounds: usize, is_first: bool) -> [Took; 2] {
    let (with, without) = (World::start().await, World::start().await);
    for (world, change) in [(&with, WITH), (&without, WITHOUT)] {
        world.stop_daemon("TERM").await;
        change_log(world, change).await;
        world.start_daemon().await;
    }
    if is_first {
        println!("{}\n", surroundings(&with).await);
        println!("{STARTS} times {rounds} approvals over gRPC, each a transaction of its own, by turns");
        println!("{:<58}{:>12}{:>12}", "", "median ms", "median ms");
    }
    let mut pairs = [Pair::of(&with).await, Pair::of(&without).await];
    for round in 0..ROUNDS_BEFORE + rounds {
        // Each comes first as often as the other.
        for turn in 0..2 {
            pairs[(round + turn) % 2].approve().await;
        }
    }
    pairs.map(Pair::took)
}

async fn change_log(world: &World, change: &'static str) {
    let database = format!("sqlite://{}", world.database_file().display());
    let mut database = SqliteConnection::connect(&database).await.unwrap();
    sqlx::raw_sql("PRAGMA legacy_alter_table = ON").execute(&mut database).await.unwrap();
    sqlx::raw_sql(change).execute(&mut database).await.unwrap();
    database.close().await.unwrap();
}

/// The milliseconds that one leaf with its hashes takes.
async fn making() -> f64 {
    let (begun, mut frontier, mut times) =
        (DateTime::from_timestamp(1_790_000_000, 0).unwrap(), Frontier::default(), Vec::new());
    timed(&mut times, async {
        for sequence in 1..=LEAVES {
            let mut hashes = Vec::with_capacity(64);
            frontier.push(Leaf::of(&approval(sequence, begun)).hash(), |hash| hashes.extend(hash.0));
            std::hint::black_box(hashes);
        }
    })
    .await;
    times[0] / f64::from(u32::try_from(LEAVES).unwrap())
}
