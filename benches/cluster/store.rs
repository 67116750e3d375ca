//! What the store bears without daemons: commits of one caller, one after the other, and approvals of many callers at once.

use std::{path::Path, sync::Arc};

use hallpass::{
    access::{change::Change, request::Request},
    clock::ManualClock,
    store::{
        Migrate, Store, Write,
        postgres::{Address, PostgresStore, Server},
        sqlite::SqliteStore,
    },
};

use crate::{
    approvals::{ALONE, APPROVALS, CLIENTS, all_at_once},
    common::now,
    support::servers::Postgres,
    values::{World, beginning, target},
};

/// A second's commits of one event each by one caller, and a second's approvals by as many callers as there are clients.
pub struct Rates {
    pub commits: f64,
    pub approvals: f64,
}

pub async fn sqlite(file: &Path) -> Rates {
    let store = SqliteStore::open(file, Migrate::Yes, &ManualClock::new(beginning())).await.unwrap();
    rates(Arc::new(store)).await
}

pub async fn postgres(postgres: &Postgres, password: &Path) -> Rates {
    let superuser = postgres.connect_as_superuser("postgres").await;
    superuser.batch_execute("CREATE DATABASE alone").await.unwrap();
    std::fs::write(password, postgres.password).unwrap();
    let url = format!("postgres://{}@127.0.0.1:{}/alone", postgres.superuser, postgres.port);
    let server = Server::new(Address::parse(&url).unwrap(), Some(password)).unwrap();
    let store = PostgresStore::open(&server, Migrate::Yes, &ManualClock::new(beginning())).await.unwrap();
    rates(Arc::new(store)).await
}

async fn rates(store: Arc<dyn Store>) -> Rates {
    let (world, orders) = (World::new(&*store), target("orders", 1));
    let request = world.submit(&orders, "dev").await;
    let fact = world.approval(&request, &orders, "lead").event().clone();
    let (begun, mut count) = (now(), 0.0);
    while begun.elapsed() < ALONE {
        store.commit(&[Write::Fact(&fact)]).await.unwrap();
        count += 1.0;
    }
    let commits = count / begun.elapsed().as_secs_f64();
    let submissions: Vec<Change<Request>> =
        (0..APPROVALS).map(|_| world.submission(&orders, world.ask(&orders, "dev"))).collect();
    commit_all(&store, &submissions).await;
    let approve = |change: Change<Request>| world.approval(&change.into_after(), &orders, "lead");
    let approvals: Vec<Change<Request>> = submissions.into_iter().map(approve).collect();
    let begun = now();
    commit_all(&store, &approvals).await;
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let count = APPROVALS as f64;
    Rates { commits, approvals: count / begun.elapsed().as_secs_f64() }
}

async fn commit_all(store: &Arc<dyn Store>, changes: &[Change<Request>]) {
    let changes: Arc<[Change<Request>]> = changes.into();
    all_at_once(CLIENTS, std::slice::from_ref(store), move |store: Arc<dyn Store>, number: usize| {
        let changes = Arc::clone(&changes);
        async move { store.commit(&[Write::Request(&changes[number])]).await.unwrap() }
    })
    .await;
}
