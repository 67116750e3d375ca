//! A SQLite store that is moved to PostgreSQL: everything is there, and nothing is where something was.

use std::sync::Arc;

use hallpass::{
    access::policy::Scope,
    store::{
        Migrate, OpenError, RequestFilter, Store, Write,
        postgres::copy::{CopyError, copy},
    },
};

use super::{
    Backend,
    postgres::Database,
    retention::{batch, later, over},
    sharing::daemon,
    sqlite::Sqlite,
    values::{World, target},
};

use crate::support::servers::postgres;

/// Some of everything, and some of it erased.
async fn some_of_everything(store: &dyn Store) {
    let (world, orders) = (World::new(store), target("orders", 1));
    over(&world, &orders).await;
    let erasure = batch(&world, later(&world), 10).await.unwrap();
    world.store.commit(&[Write::Erasure(&erasure)]).await.unwrap();
    over(&world, &orders).await;
    world.active(&orders, "dev").await;
    let denied = world.submit(&orders, "other").await;
    world.store_request(world.denial(&denied, &orders, "lead")).await;
    world.cosigned(3).await;
    for number in 0..1200 {
        world.submit_with_key(&orders, "dev", &format!("key-{number}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_the_store_that_it_is_of() {
    let (from, database) = (Sqlite::start().await, Database::new().await);
    some_of_everything(&**from.store()).await;
    let (file, server) = (from.file(), database.server());
    let refused = copy(&file, &server, |_| {}).await.unwrap_err();
    assert!(matches!(refused, CopyError::Open(OpenError::InUse { .. })), "{refused}");
    let key = from.store().digest_key().await.unwrap();
    // The daemon has stopped.
    let before = rows(&**from.store()).await;
    let directory = from.stop();
    let counts = copy(&file, &server, |_| {}).await.unwrap();
    let count = |name: &str| counts.iter().find(|(table, _)| *table == name).unwrap().1;
    assert_eq!(count("requests"), before.0.len() as u64);
    assert_eq!(count("audit_events"), before.1.len() as u64);
    let there: Arc<dyn Store> = Arc::new(database.open(Migrate::No).await.unwrap());
    assert_eq!(rows(&*there).await, before);
    assert_eq!(there.digest_key().await.unwrap(), key);
    let raw = postgres().connect_as_superuser(&database.name).await;
    for table in
        ["requests", "decisions", "grants", "settings", "audit_events", "checkpoints", "cosignatures"]
    {
        let refused = raw.batch_execute(&format!("DELETE FROM {table}")).await.unwrap_err();
        let told = refused.as_db_error().unwrap().message().to_owned();
        assert!(told.contains("_never_go"), "the guards are back: {table}: {told}");
    }
    let refused = copy(&file, &server, |_| {}).await.unwrap_err();
    assert!(matches!(refused, CopyError::NotEmpty { .. }), "{refused}");
    drop(directory);
}

/// A daemon that is there knows a key that the copy would take away.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_copied_under_a_daemon() {
    let (from, database) = (Sqlite::start().await, Database::new().await);
    some_of_everything(&**from.store()).await;
    let file = from.file();
    let directory = from.stop();
    let there = daemon(&database, "one").await;
    let refused = copy(&file, &database.server(), |_| {}).await.unwrap_err();
    assert!(matches!(&refused, CopyError::InUse { daemon, .. } if daemon == "one"), "{refused}");
    there.close().await;
    copy(&file, &database.server(), |_| {}).await.unwrap();
    drop(directory);
}

type Rows = (Vec<hallpass::access::request::Request>, Vec<hallpass::ledger::leaf::Leaf>);

async fn rows(store: &dyn Store) -> Rows {
    let slice = hallpass::store::Slice { after: None, limit: 10_000 };
    let requests = store.requests(&Scope::All, &RequestFilter::default(), slice).await.unwrap().items;
    (requests, store.ledger().leaves(0, 100_000).await.unwrap())
}
