//! Three minutes without PostgreSQL, across two hundred ends: from its return to the last confirmed end, beside Vault
//! alone, in the same outage.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Connection as _, SqliteConnection};

use crate::{
    common::{direct::Direct, pause},
    support::{
        servers::Postgres,
        world::{Wishes, World},
    },
};

const WINDOWS: u64 = 200;
const OUTAGE: Duration = Duration::from_mins(3);
/// How long after the beginning PostgreSQL stops: longer than making everything takes.
const STOPS_AFTER: Duration = Duration::from_mins(1);
/// How long Vault alone is waited for; after that it has given up, and "more than" is what can be said.
const WAIT_MAX: TimeDelta = TimeDelta::minutes(12);
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub async fn measure() {
    let world =
        World::with(Wishes { own_vault: true, database: Some(Postgres::start_private), ..Wishes::default() })
            .await;
    let (mut alice, mut olivia) = (world.person("alice").await, world.person("olivia").await);
    let direct = Direct::log_in(&world).await;
    let stops_at = now() + STOPS_AFTER;
    for number in 0..WINDOWS {
        // Spread over the outage, but for its first and last seconds.
        let spread = Duration::from_secs(5)
            + Duration::from_secs(170) * u32::try_from(number).unwrap() / u32::try_from(WINDOWS).unwrap();
        let length = (stops_at - now()).to_std().expect("making them took too long") + spread;
        let length = Duration::from_secs(length.as_secs());
        let request = alice.submit(length, "order 4711 is stuck").await.unwrap();
        let request = olivia.approve(&request, "as discussed").await.unwrap();
        let claimed = alice.claim(&request).await.unwrap();
        alice.unwrap(&claimed).await;
        let issued = direct.issue(length).await;
        direct.open(&issued).await;
    }
    pause((stops_at - now()).to_std().unwrap()).await;
    world.postgres.stop();
    pause(OUTAGE).await;
    world.postgres.start();
    let back_at = now();
    let ours = ours(&world, back_at).await;
    println!("{WINDOWS} ends in an outage of {} s", OUTAGE.as_secs());
    println!("from PostgreSQL's return to the last confirmed end: {ours} ms");
    match theirs(&world, back_at).await {
        Some(theirs) => {
            println!("Vault alone, to the last account's end: {theirs} ms; one {}th\n", theirs / ours.max(1));
        }
        None => println!("Vault alone isn't done after {} min\n", WAIT_MAX.num_minutes()),
    }
}

async fn ours(world: &World, back_at: DateTime<Utc>) -> i64 {
    let database = format!("sqlite://{}?mode=ro", world.database_file().display());
    let mut database = SqliteConnection::connect(&database).await.unwrap();
    let left = "SELECT count(*) FROM grants WHERE state <> 'REVOKED'";
    while sqlx::query_scalar::<_, i64>(left).fetch_one(&mut database).await.unwrap() > 0 {
        pause(LOOK_EVERY).await;
    }
    let select = "SELECT max(revoked_at) FROM grants";
    let last: i64 = sqlx::query_scalar(select).fetch_one(&mut database).await.unwrap();
    last - back_at.timestamp_millis()
}

async fn theirs(world: &World, back_at: DateTime<Utc>) -> Option<i64> {
    let client = world.postgres.connect_as_superuser("postgres").await;
    let left = "SELECT count(*) FROM pg_roles WHERE rolname LIKE '%direct%'";
    while client.query_one(left, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        if now() - back_at > WAIT_MAX {
            return None;
        }
        pause(LOOK_EVERY).await;
    }
    Some((now() - back_at).num_milliseconds())
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> DateTime<Utc> {
    Utc::now()
}
