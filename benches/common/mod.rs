//! What the benchmarks have in common: time, tables, and Vault without hallpass.

pub mod direct;
pub mod slow;

use std::{
    env, fs, thread,
    time::{Duration, SystemTime},
};

use prost_types::Timestamp;
use serde_json::Value;
use sqlx::Connection as _;

use crate::support::world::World;

/// Which parts the command line names; all, if it names none.
pub fn chosen() -> impl Fn(&str) -> bool {
    let chosen: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    move |part| chosen.is_empty() || chosen.iter().any(|one| one == part)
}

/// Appends how long it took, in milliseconds.
pub async fn timed<T>(times: &mut Vec<f64>, work: impl Future<Output = T>) -> T {
    let begun = now();
    let done = work.await;
    times.push(millis(begun.elapsed()));
    done
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
pub fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// Lets time pass; what is measured goes on meanwhile.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
pub async fn pause(length: Duration) {
    tokio::time::sleep(length).await;
}

/// The milliseconds from one recorded instant to another that isn't earlier.
pub fn between(from: Option<Timestamp>, until: Option<Timestamp>) -> f64 {
    let instant = |at: Option<Timestamp>| SystemTime::try_from(at.unwrap()).unwrap();
    millis(instant(until).duration_since(instant(from)).expect("the later is not before the earlier"))
}

pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

pub fn print(what: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    let (median, p99) = (percentile(&times, 50), percentile(&times, 99));
    println!("{what:<58}{:>6}{median:>12.1}{p99:>12.1}", times.len());
}

/// The smallest value that so many in a hundred don't exceed.
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// What the numbers were measured on.
pub async fn surroundings(world: &World) -> String {
    let health = world.bao.read("sys/health").await;
    let client = world.postgres.connect_as_superuser("postgres").await;
    let postgres: String = client.query_one("SHOW server_version", &[]).await.unwrap().get(0);
    let mut memory = sqlx::SqliteConnection::connect("sqlite::memory:").await.unwrap();
    let sqlite: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut memory).await.unwrap();
    let cores = thread::available_parallelism().unwrap();
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    let load = load.split(' ').next().unwrap();
    let build = if cfg!(debug_assertions) { "NOT OPTIMISED" } else { "optimised" };
    format!(
        "hallpassd {} ({build}), OpenBao {} in memory, PostgreSQL {postgres} with fsync off,\n\
         SQLite {sqlite} with synchronous=FULL on {}; {cores} cores ({}), load {load} at the start",
        env!("CARGO_PKG_VERSION"),
        text(&health["version"]),
        file_system(world.database_file().to_str().unwrap()),
        processor(),
    )
}

/// The machine, where nothing else is asked.
pub fn machine() -> String {
    let cores = thread::available_parallelism().unwrap();
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    let load = load.split(' ').next().unwrap();
    let build = if cfg!(debug_assertions) { "NOT OPTIMISED" } else { "optimised" };
    format!("{cores} cores ({}), {build}, load {load} at the start", processor())
}

/// The kind of file system that a file is on, and where that is mounted.
fn file_system(file: &str) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let (point, kind) = mounts
        .filter(|(point, _)| {
            file.strip_prefix(point.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
        })
        .max_by_key(|(point, _)| point.len())
        .unwrap_or(("?", "?"));
    format!("{kind} ({point})")
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name"));
    model.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown processor").to_owned()
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
