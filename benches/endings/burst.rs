//! A thousand windows that end in the same second, with real accounts in PostgreSQL, beside Vault's own expiry of as many
//! equal leases under tokens of the same lifetime. All credentials were opened, and the wrappings' lifetime is over by
//! then, as it is in windows longer than a few minutes.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Connection as _, SqliteConnection};

use crate::{
    common::{direct::Direct, pause, print},
    support::world::{Wishes, World},
};

const WINDOWS: usize = 1000;
/// How long after the beginning all end: longer than making them takes.
const MADE_IN: TimeDelta = TimeDelta::seconds(90);
/// How often it is looked whether Vault alone is done.
const LOOK_EVERY: Duration = Duration::from_millis(5);

pub async fn measure() {
    let world = World::with(Wishes { wrap_ttl: "10s", ..Wishes::default() }).await;
    let ours = ours(&world).await;
    world.stop_daemon("TERM").await;
    let theirs = theirs(&world).await;
    let (ours, last) = ours;
    println!("{:<58}{:>6}{:>12}{:>12}", "windows that end in the same second", "N", "median", "p99");
    print("from each window's end to the confirmed end", ours);
    println!("from the last window's end to the last confirmed end: {last:.0}");
    println!("Vault alone, from the last lease's end to the last account's: {theirs:.0}");
    println!("ratio: {:.2}; milliseconds\n", last / theirs);
}

/// From each window's end to its confirmed end, and from the last window's end to the last confirmed end.
async fn ours(world: &World) -> (Vec<f64>, f64) {
    let (mut alice, mut olivia) = (world.person("alice").await, world.person("olivia").await);
    let end = now() + MADE_IN;
    for _ in 0..WINDOWS {
        let length = whole_seconds(end - now());
        let request = alice.submit(length, "order 4711 is stuck").await.unwrap();
        let request = olivia.approve(&request, "as discussed").await.unwrap();
        let claimed = alice.claim(&request).await.unwrap();
        alice.unwrap(&claimed).await;
    }
    println!("{WINDOWS} windows open, {} s before their end", (end - now()).num_seconds());
    pause((end - now()).to_std().unwrap()).await;
    let database = format!("sqlite://{}?mode=ro", world.database_file().display());
    let mut database = SqliteConnection::connect(&database).await.unwrap();
    let left = "SELECT count(*) FROM grants WHERE state <> 'REVOKED'";
    while sqlx::query_scalar::<_, i64>(left).fetch_one(&mut database).await.unwrap() > 0 {
        pause(LOOK_EVERY).await;
    }
    let select =
        "SELECT revoked_at - (SELECT max(closes_at) FROM grants), revoked_at - closes_at FROM grants";
    let rows: Vec<(i64, i64)> = sqlx::query_as(select).fetch_all(&mut database).await.unwrap();
    assert_eq!(rows.len(), WINDOWS);
    let last = rows.iter().map(|(last, _)| *last).max().unwrap();
    (rows.iter().map(|(_, own)| millis(*own)).collect(), millis(last))
}

/// From the end of the last lease to the end of the last account.
async fn theirs(world: &World) -> f64 {
    let direct = Direct::log_in(world).await;
    let end = now() + MADE_IN;
    let mut last_end = now();
    for _ in 0..WINDOWS {
        let length = whole_seconds(end - now());
        let issued = direct.issue(length).await;
        direct.open(&issued).await;
        last_end = last_end.max(now() + TimeDelta::from_std(length).unwrap());
    }
    let client = world.postgres.connect_as_superuser("postgres").await;
    let left = "SELECT count(*) FROM pg_auth_members JOIN pg_roles r ON r.oid = roleid WHERE r.rolname = $1";
    while client.query_one(left, &[&world.database()]).await.unwrap().get::<_, i64>(0) > 0 {
        pause(LOOK_EVERY).await;
    }
    (now() - last_end).num_milliseconds().to_string().parse().unwrap()
}

fn whole_seconds(left: TimeDelta) -> Duration {
    let left = left.to_std().expect("making them took longer than was allowed for");
    Duration::from_secs(left.as_secs())
}

fn millis(whole: i64) -> f64 {
    i32::try_from(whole).map(f64::from).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> DateTime<Utc> {
    Utc::now()
}
