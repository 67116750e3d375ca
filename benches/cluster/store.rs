//! What the store bears without daemons: commits of one caller, one after the other, and approvals of many callers at once.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hallpass::{
    access::{change::Change, request::Request, target::Target},
    clock::ManualClock,
    store::{
        Migrate, Store, Write,
        postgres::{Address, PostgresStore, Server},
        sqlite::SqliteStore,
    },
};
use tokio::task::JoinSet;

use crate::{
    common::now,
    support::servers::Postgres,
    values::{World, beginning, target},
};

/// How long one caller commits.
const ALONE: Duration = Duration::from_secs(3);

/// A second's commits of one event each by one caller, and a second's approvals by so many callers.
pub struct Rates {
    pub commits: f64,
    pub approvals: f64,
}

pub async fn sqlite(file: &Path, callers: usize, approvals: usize) -> Rates {
    let store = SqliteStore::open(file, Migrate::Yes, &ManualClock::new(beginning())).await.unwrap();
    rates(Arc::new(store), callers, approvals).await
}

pub async fn postgres(postgres: &Postgres, password: &Path, callers: usize, approvals: usize) -> Rates {
    let superuser = postgres.connect_as_superuser("postgres").await;
    superuser.batch_execute("CREATE DATABASE alone").await.unwrap();
    std::fs::write(password, postgres.password).unwrap();
    let url = format!("postgres://{}@127.0.0.1:{}/alone", postgres.superuser, postgres.port);
    let server = Server::new(Address::parse(&url).unwrap(), Some(password)).unwrap();
    let store = PostgresStore::open(&server, Migrate::Yes, &ManualClock::new(beginning())).await.unwrap();
    rates(Arc::new(store), callers, approvals).await
}

async fn rates(store: Arc<dyn Store>, callers: usize, approvals: usize) -> Rates {
    let (world, orders) = (World::new(&*store), target("orders", 1));
    let request = world.submit(&orders, "dev").await;
    let fact = world.approval(&request, &orders, "lead").event().clone();
    let (begun, mut count) = (now(), 0.0);
    while begun.elapsed() < ALONE {
        store.commit(&[Write::Fact(&fact)]).await.unwrap();
        count += 1.0;
    }
    let commits = count / begun.elapsed().as_secs_f64();
    let approved = to_approve(&store, &world, &orders, callers, approvals).await;
    let begun = now();
    all(&store, callers, approved).await;
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let count = approvals as f64;
    Rates { commits, approvals: count / begun.elapsed().as_secs_f64() }
}

/// Approvals of requests that are stored.
async fn to_approve(
    store: &Arc<dyn Store>,
    world: &World<'_>,
    orders: &Target,
    callers: usize,
    count: usize,
) -> Vec<Change<Request>> {
    let submitted: Vec<Change<Request>> =
        (0..count).map(|_| world.submission(orders, world.ask(orders, "dev"))).collect();
    all(store, callers, submitted.clone()).await;
    submitted.into_iter().map(|change| world.approval(&change.into_after(), orders, "lead")).collect()
}

/// Lets all callers commit what is to be committed.
async fn all(store: &Arc<dyn Store>, callers: usize, changes: Vec<Change<Request>>) {
    let (next, mut tasks) = (Arc::new(Mutex::new(changes)), JoinSet::new());
    for _ in 0..callers {
        let (store, next) = (Arc::clone(store), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let change = next.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let Some(change) = change else { return };
                store.commit(&[Write::Request(&change)]).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
}
