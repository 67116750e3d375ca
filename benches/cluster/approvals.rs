//! Durable approvals a second with 64 clients, beside the single-row commits a second that the database syncs for one client.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hallpass::wire::Request;
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use tokio::task::JoinSet;

use crate::{
    common::now,
    daemons::Cluster,
    slow,
    store::{self, Rates},
    support::{
        people::Person,
        servers::Postgres,
        world::{Wishes, World},
    },
};

/// How many calls one person may have under way at once.
const EACH: usize = 16;
const DEVELOPERS: [&str; 2] = ["alice", "bob"];
const LEADS: [&str; 4] = ["olivia", "oscar", "otto", "opal"];
pub const CLIENTS: usize = LEADS.len() * EACH;
pub const APPROVALS: usize = 8000;
/// How long the database alone commits.
pub const ALONE: Duration = Duration::from_secs(3);

pub async fn measure() {
    if !slow::is_here() {
        println!(
            "\nApprovals a second, {APPROVALS} by {CLIENTS} clients: over gRPC, and at the store itself. Beside them synced \
             commits a second\nof one client: of one event by the store, and of one row by the database.\n"
        );
    }
    println!(
        "{:<24}{:>10}{:>10}{:>12}{:>12}{:>12}{:>12}",
        "", "one row", "one event", "at store", "/ event", "over gRPC", "/ event"
    );
    on_sqlite().await;
    for daemons in 1..=3 {
        on_postgres(daemons).await;
    }
}

async fn on_sqlite() {
    let world = World::with(Wishes { leads: &LEADS, ..Wishes::default() }).await;
    let row = sqlite_alone(&world).await;
    let store = store::sqlite(&world.dir.join("store.db")).await;
    let (mut developers, mut leads) = (Vec::new(), Vec::new());
    for name in DEVELOPERS {
        developers.push(world.person(name).await);
    }
    for name in LEADS {
        leads.push(world.person(name).await);
    }
    tell("SQLite", row, &store, approvals(&developers, &leads).await);
}

async fn on_postgres(daemons: usize) {
    let wishes = Wishes {
        shared: Some(""),
        database: Some(Postgres::start_durable),
        leads: &LEADS,
        ..Wishes::default()
    };
    let cluster = Cluster::with(daemons, wishes).await;
    let row = postgres_alone(&cluster.world).await;
    let password = cluster.world.dir.join("password");
    let store = store::postgres(&cluster.world.postgres, &password).await;
    let (mut developers, mut leads) = (Vec::new(), Vec::new());
    for name in DEVELOPERS {
        for daemon in 0..daemons {
            developers.push(cluster.person(name, daemon).await);
        }
    }
    for name in LEADS {
        for daemon in 0..daemons {
            leads.push(cluster.person(name, daemon).await);
        }
    }
    tell(&format!("PostgreSQL, {daemons} daemons"), row, &store, approvals(&developers, &leads).await);
}

fn tell(what: &str, row: f64, store: &Rates, approvals: f64) {
    let Rates { commits, approvals: at_store } = *store;
    println!(
        "{what:<24}{row:>10.0}{commits:>10.0}{at_store:>12.0}{:>12.2}{approvals:>12.0}{:>12.2}",
        at_store / commits,
        approvals / commits
    );
}

/// Approvals a second. What is approved was submitted before, and comes in the order of submission, as it waits.
async fn approvals(developers: &[Person], leads: &[Person]) -> f64 {
    let mut requests = all_at_once(DEVELOPERS.len() * EACH, developers, async |mut alice: Person, number| {
        alice.submit(Duration::from_mins(10), &format!("order {number} is stuck")).await.unwrap()
    })
    .await;
    requests.sort_by(|one, other| one.name.cmp(&other.name));
    let requests = Arc::new(requests);
    let begun = now();
    all_at_once(LEADS.len() * EACH, leads, {
        let requests = Arc::clone(&requests);
        move |mut olivia: Person, number: usize| {
            let request: Request = requests[number].clone();
            async move { olivia.approve(&request, "read only, as discussed").await.unwrap() }
        }
    })
    .await;
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let count = APPROVALS as f64;
    count / begun.elapsed().as_secs_f64()
}

/// Lets so many clients do as much as is to be done, each by the next of the ways that there are.
pub async fn all_at_once<C, F, T>(
    count: usize,
    ways: &[C],
    work: impl Fn(C, usize) -> F + Clone + Send + 'static,
) -> Vec<T>
where
    C: Clone + Send + 'static,
    F: Future<Output = T> + Send,
    T: Send + 'static,
{
    let (next, mut clients) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    for client in 0..count {
        let (way, next, work) = (ways[client % ways.len()].clone(), Arc::clone(&next), work.clone());
        clients.spawn(async move {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= APPROVALS {
                    return done;
                }
                done.push(work(way.clone(), number).await);
            }
        });
    }
    clients.join_all().await.into_iter().flatten().collect()
}

/// What SQLite commits, on the same disk, as durably as the store does.
async fn sqlite_alone(world: &World) -> f64 {
    let options = SqliteConnectOptions::new()
        .filename(world.dir.join("alone.db"))
        .create_if_missing(true)
        .pragma("journal_mode", "WAL")
        .pragma("synchronous", "FULL");
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql("CREATE TABLE one (id INTEGER PRIMARY KEY, text TEXT) STRICT")
        .execute(&mut connection)
        .await
        .unwrap();
    let (begun, mut count) = (now(), 0.0);
    while begun.elapsed() < ALONE {
        sqlx::query("INSERT INTO one (text) VALUES ('row')").execute(&mut connection).await.unwrap();
        count += 1.0;
    }
    count / begun.elapsed().as_secs_f64()
}

/// What the same server commits.
async fn postgres_alone(world: &World) -> f64 {
    let client = world.postgres.connect_as_superuser("postgres").await;
    client
        .batch_execute("CREATE TABLE IF NOT EXISTS one (id bigserial PRIMARY KEY, text text)")
        .await
        .unwrap();
    let insert = client.prepare("INSERT INTO one (text) VALUES ('row')").await.unwrap();
    let (begun, mut count) = (now(), 0.0);
    while begun.elapsed() < ALONE {
        client.execute(&insert, &[]).await.unwrap();
        count += 1.0;
    }
    count / begun.elapsed().as_secs_f64()
}
