//! What daemons that share a PostgreSQL share out: a duty has one of them at a time, who was stopped for too long commits nothing of
//! what another has taken, and whose clock is off takes nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use chrono::TimeDelta;
use futures_util::FutureExt as _;
use hallpass::{
    access::{
        actor::Actor,
        id::{DaemonId, GrantId},
        revocation::Cause,
    },
    clock::{Clock, ManualClock, SystemClock},
    store::{
        Duties, Duty, Migrate, OpenError, Store, StoreError, Write,
        postgres::{Address, Joining, PostgresStore, Server},
    },
};

use tokio::task::JoinSet;

use super::{
    postgres::Database,
    sqlite,
    values::{World, beginning, target},
};
use crate::support::servers::{eventually, postgres};

const LONG: Duration = Duration::from_mins(10);

async fn joined(
    database: &Database,
    name: &str,
    takeover_after: Duration,
    clock: Arc<dyn Clock>,
) -> PostgresStore {
    let store = database.open(Migrate::Yes).await.unwrap();
    let id = DaemonId::new(SystemClock.now(), SystemClock.random()).to_string();
    let joining = Joining { id, name: name.to_owned(), takeover_after, clock_max: Duration::from_secs(1) };
    store.join(joining, clock).await.unwrap();
    store
}

pub async fn daemon(database: &Database, name: &str) -> PostgresStore {
    joined(database, name, LONG, Arc::new(SystemClock)).await
}

fn duties(store: &PostgresStore) -> &dyn Duties {
    store.duties().unwrap()
}

fn grant(number: u128) -> Duty {
    Duty::Grant(GrantId::new(SystemClock.now(), number))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duty_has_one_daemon_at_a_time() {
    let database = Database::new().await;
    let (one, other) = (daemon(&database, "one").await, daemon(&database, "other").await);
    let all: Vec<Duty> = (0..200).map(grant).collect();
    let take = async |store: &PostgresStore| {
        let tries = all.iter().map(|duty| duties(store).take(duty));
        futures_util::future::join_all(tries).await.into_iter().map(Result::unwrap).collect::<Vec<bool>>()
    };
    let (by_one, by_other) = tokio::join!(take(&one), take(&other));
    let exactly_one = by_one.iter().zip(&by_other).all(|(one, other)| one != other);
    assert!(exactly_one, "{by_one:?} {by_other:?}");
    assert_eq!(take(&one).await, by_one, "what is one's own stays");
    for duty in &all {
        duties(&one).give_back(duty.clone());
    }
    eventually("what was given back is anybody's", async || {
        take(&other).await.into_iter().all(|taken| taken)
    })
    .await;
    let members = duties(&one).members().await.unwrap();
    let seen: Vec<_> =
        members.iter().map(|one| (one.name.as_str(), one.duties, one.is_here, one.is_gone)).collect();
    assert_eq!(seen, [("one", 0, true, false), ("other", 200, false, false)]);
}

/// The second daemon never beats again, like one that stands still; what it had is taken over, and then it commits nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_too_late_commits_nothing() {
    let database = Database::new().await;
    let one = daemon(&database, "one").await;
    // Its beat waits for a clock that nobody moves.
    let still = Arc::new(ManualClock::new(SystemClock.now()));
    let other = joined(&database, "other", Duration::from_secs(2), still).await;
    let (world, duty) = (World::new(&other), grant(1));
    let mut gone = duties(&one).gone();
    let orders = target("orders", 1);
    assert!(duties(&other).take(&duty).await.unwrap());
    let change = world.submission(&orders, world.ask(&orders, "dev"));
    other.commit(&[Write::Fenced(&duty), Write::Request(&change)]).await.unwrap();
    assert!(!duties(&one).take(&duty).await.unwrap(), "not before the time is over");
    gone.changed().await.unwrap();
    assert!(duties(&one).take(&duty).await.unwrap());
    let change = world.submission(&orders, world.ask(&orders, "dev"));
    let refused = other.commit(&[Write::Fenced(&duty), Write::Request(&change)]).await.unwrap_err();
    assert!(matches!(refused, StoreError::OffDuty { .. }), "{refused:?}");
    assert!(!duties(&other).take(&grant(2)).await.unwrap(), "who isn't heard of takes nothing");
    one.commit(&[Write::Fenced(&duty), Write::Request(&change)]).await.unwrap();
    assert_eq!(one.last_sequence().await.unwrap(), 2, "only what was committed in one's own time");
}

/// Of two commits that wait for whoever writes and are then made together, the one from before the duty was given back isn't made.
#[tokio::test(flavor = "multi_thread")]
async fn a_duty_that_was_taken_again_is_another_one() {
    let database = Database::new().await;
    let one = daemon(&database, "one").await;
    let (world, duty, orders) = (World::new(&one), grant(1), target("orders", 1));
    let changes = [(); 2].map(|()| world.submission(&orders, world.ask(&orders, "dev")));
    let [stale, fresh] = changes.each_ref().map(|change| [Write::Fenced(&duty), Write::Request(change)]);
    assert!(duties(&one).take(&duty).await.unwrap());
    let mut log = postgres().connect_as_superuser(&database.name).await;
    let held = log.transaction().await.unwrap();
    held.batch_execute("SELECT pg_advisory_xact_lock(7521983763905770867)").await.unwrap();
    let mut before = one.commit(&stale);
    assert!((&mut before).now_or_never().is_none());
    duties(&one).give_back(duty.clone());
    // It is given back beside this, and nobody gets what is just being taken away.
    eventually("it is taken again", async || duties(&one).take(&duty).await.unwrap()).await;
    let mut after = one.commit(&fresh);
    assert!((&mut after).now_or_never().is_none());
    held.commit().await.unwrap();
    let refused = before.await.unwrap_err();
    assert!(matches!(refused, StoreError::OffDuty { .. }), "{refused:?}");
    assert_eq!(after.await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_takes_nothing() {
    let database = Database::new().await;
    for off in [TimeDelta::seconds(3), TimeDelta::seconds(-3)] {
        let clock = Arc::new(ManualClock::new(SystemClock.now() + off));
        let store = joined(&database, "off", LONG, clock).await;
        let problem = duties(&store).problem().unwrap();
        assert!(problem.contains("takes no work"), "{problem}");
        assert!(!duties(&store).take(&grant(1)).await.unwrap());
    }
    let right = daemon(&database, "right").await;
    assert_eq!(duties(&right).problem(), None);
    assert!(duties(&right).take(&grant(1)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_leaves_nothing_behind() {
    let database = Database::new().await;
    let (one, other) = (daemon(&database, "one").await, daemon(&database, "other").await);
    assert!(duties(&one).take(&grant(1)).await.unwrap());
    one.close().await;
    assert!(duties(&other).take(&grant(1)).await.unwrap());
    let members = duties(&other).members().await.unwrap();
    let seen: Vec<_> = members.iter().map(|one| (one.name.as_str(), one.duties, one.is_gone)).collect();
    assert_eq!(seen, [("one", 0, true), ("other", 1, false)]);
}

/// A watcher hears of it, whichever daemon recorded it.
#[tokio::test(flavor = "multi_thread")]
async fn each_hears_of_what_the_others_record() {
    let database = Database::new().await;
    let (one, other) = (daemon(&database, "one").await, daemon(&database, "other").await);
    let mut grown = duties(&other).grown();
    let (world, orders) = (World::new(&one), target("orders", 1));
    for sequence in 1..=3 {
        world.submit(&orders, "dev").await;
        grown.wait_for(|last| *last == sequence).await.unwrap();
    }
}

/// A notification is a hint: without any, the others look.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_record_is_heard_of_without_a_notification() {
    let database = Database::new().await;
    let (one, other) = (daemon(&database, "one").await, daemon(&database, "other").await);
    let superuser = postgres().connect_as_superuser(&database.name).await;
    superuser.batch_execute("DROP TRIGGER audit_events_told ON audit_events").await.unwrap();
    let grown = duties(&other).grown();
    let (world, orders) = (World::new(&one), target("orders", 1));
    world.submit(&orders, "dev").await;
    eventually("it is heard of", async || *grown.borrow() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_migrate_one_does() {
    let database = Database::new().await;
    let (server, clock) = (database.server(), ManualClock::new(beginning()));
    let (one, other) =
        tokio::join!(PostgresStore::migrate(&server, &clock), PostgresStore::migrate(&server, &clock));
    let (mut applied, other) = (one.unwrap(), other.unwrap());
    applied.extend(&other);
    assert!(other.is_empty() || other == applied, "one does all of it: {other:?}");
    assert_eq!(applied, sqlite::migrations(), "the same files for both databases");
}

/// A version that is being replaced goes on beside the new one, as long as that only added something.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_with_more_is_used_and_one_with_less_is_not() {
    let database = Database::new().await;
    database.open(Migrate::Yes).await.unwrap().close().await;
    let raw = postgres().connect_as_superuser(&database.name).await;
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'later', TRUE, decode('00', 'hex'), 0)";
    raw.batch_execute(later).await.unwrap();
    for migrate in [Migrate::No, Migrate::Yes] {
        database.open(migrate).await.unwrap().close().await;
    }
    raw.batch_execute("UPDATE schema_needs SET migration = 9999").await.unwrap();
    for migrate in [Migrate::No, Migrate::Yes] {
        let refused = database.open(migrate).await.unwrap_err();
        assert!(matches!(refused, OpenError::Newer { version: 9999 }), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_used_is_refused_with_what_to_do() {
    let database = Database::new().await;
    let refused = database.open(Migrate::No).await.unwrap_err();
    assert!(matches!(refused, OpenError::Pending { .. }), "{refused}");
    let raw = postgres().connect_as_superuser(&database.name).await;
    raw.batch_execute("CREATE TABLE dashboards (id int)").await.unwrap();
    let refused = database.open(Migrate::Yes).await.unwrap_err();
    assert!(matches!(refused, OpenError::Foreign), "{refused}");
    raw.batch_execute("DROP TABLE dashboards").await.unwrap();
    database.open(Migrate::Yes).await.unwrap().close().await;
    raw.batch_execute("UPDATE _sqlx_migrations SET checksum = decode('00', 'hex') WHERE version = 1")
        .await
        .unwrap();
    let refused = database.open(Migrate::No).await.unwrap_err();
    assert!(matches!(refused, OpenError::Altered { version: 1 }), "{refused}");
    let nobody = format!("postgres://nobody@127.0.0.1:{}/{}", postgres().port, database.name);
    let nobody = Server::new(Address::parse(&nobody).unwrap(), None).unwrap();
    let refused =
        PostgresStore::open(&nobody, Migrate::No, &ManualClock::new(beginning())).await.unwrap_err();
    assert!(matches!(refused, OpenError::Database { .. }), "{refused}");
}

/// What takes no writes says so, and takes them again when it does.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_only_reads_refuses_and_the_next_commit_is_made() {
    let database = Database::new().await;
    let store = database.open(Migrate::Yes).await.unwrap();
    let (world, orders) = (World::new(&store), target("orders", 1));
    let request = world.submit(&orders, "dev").await;
    let superuser = postgres().connect_as_superuser("postgres").await;
    let (only_reads, cut) = (
        format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name),
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'", database.name),
    );
    superuser.batch_execute(&only_reads).await.unwrap();
    superuser.batch_execute(&cut).await.unwrap();
    let change = world.submission(&orders, world.ask(&orders, "dev"));
    for _ in 0..3 {
        let refused = store.commit(&[Write::Request(&change)]).await.unwrap_err();
        assert!(matches!(refused, StoreError::Unavailable { .. }), "{refused:?}");
    }
    eventually("it can be read", async || store.request(request.id).await.is_ok_and(|found| found.is_some()))
        .await;
    let writes = only_reads.replace("= on", "= off");
    superuser.batch_execute(&writes).await.unwrap();
    superuser.batch_execute(&cut).await.unwrap();
    eventually("it is written again", async || store.commit(&[Write::Request(&change)]).await.is_ok()).await;
    assert_eq!(store.last_sequence().await.unwrap(), 2);
}

/// Commits wait for each other, so none fails to serialize, whatever the server would have by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_makes_everything_serializable_refuses_nothing() {
    let database = Database::new().await;
    let superuser = postgres().connect_as_superuser("postgres").await;
    let serializable =
        format!("ALTER DATABASE {} SET default_transaction_isolation = 'serializable'", database.name);
    superuser.batch_execute(&serializable).await.unwrap();
    let (one, other) = (daemon(&database, "one").await, daemon(&database, "other").await);
    let (world, orders) = (World::new(&one), target("orders", 1));
    // One after the other in each, because several together are tried again.
    let commit_all = async |store: &PostgresStore| {
        for _ in 0..50 {
            let change = world.submission(&orders, world.ask(&orders, "dev"));
            store.commit(&[Write::Request(&change)]).await.unwrap();
        }
    };
    tokio::join!(commit_all(&one), commit_all(&other));
    assert_eq!(one.last_sequence().await.unwrap(), 100);
}

/// Superusers are let in however many there are, so the store is somebody else here.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lets_nobody_in_any_more_refuses_and_the_next_commit_is_made() {
    let database = Database::new().await;
    let (name, user) = (&database.name, format!("owner_of_{}", database.name));
    let superuser = postgres().connect_as_superuser("postgres").await;
    let password = postgres().password;
    let owner =
        format!("CREATE ROLE {user} LOGIN PASSWORD '{password}'; ALTER DATABASE {name} OWNER TO {user}");
    superuser.batch_execute(&owner).await.unwrap();
    let server = database.server_as(&user, name);
    let store = PostgresStore::open(&server, Migrate::Yes, &ManualClock::new(beginning())).await.unwrap();
    let (world, orders) = (World::new(&store), target("orders", 1));
    let request = world.submit(&orders, "dev").await;
    let is_full = format!(
        "ALTER ROLE {user} CONNECTION LIMIT 0; \
         SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'"
    );
    superuser.batch_execute(&is_full).await.unwrap();
    let change = world.submission(&orders, world.ask(&orders, "dev"));
    for _ in 0..3 {
        let refused = store.commit(&[Write::Request(&change)]).await.unwrap_err();
        assert!(matches!(refused, StoreError::Unavailable { .. }), "{refused:?}");
        let why = std::iter::successors(Some(&refused as &dyn std::error::Error), |error| error.source());
        let why: Vec<String> = why.map(ToString::to_string).collect();
        assert!(why.iter().any(|cause| cause.contains("too many connections for role")), "{why:?}");
    }
    assert!(store.request(request.id).await.is_err(), "nobody reads either");
    superuser.batch_execute(&format!("ALTER ROLE {user} CONNECTION LIMIT -1")).await.unwrap();
    store.commit(&[Write::Request(&change)]).await.unwrap();
    assert!(store.request(request.id).await.unwrap().is_some());
    assert_eq!(store.last_sequence().await.unwrap(), 2);
}

/// However many people wait for what they asked for, the daemon reads and commits.
#[tokio::test(flavor = "multi_thread")]
async fn when_all_connections_for_people_are_taken_the_daemon_has_its_own() {
    let database = Database::new().await;
    let store = Arc::new(database.open(Migrate::Yes).await.unwrap());
    let (world, orders) = (World::new(&*store), target("orders", 1));
    let grant = world.active(&orders, "dev").await;
    let (mut holder, superuser) = (
        postgres().connect_as_superuser(&database.name).await,
        postgres().connect_as_superuser("postgres").await,
    );
    let hold = holder.transaction().await.unwrap();
    hold.batch_execute("LOCK TABLE decisions IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let mut people = JoinSet::new();
    for _ in 0..20 {
        let (store, request) = (Arc::clone(&store), grant.request);
        people.spawn(async move { store.request(request).await });
    }
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'";
    eventually("all of them are taken", async || {
        let row = superuser.query_one(waiting, &[&database.name]).await.unwrap();
        row.get::<_, i64>(0) == 4
    })
    .await;
    let at = grant.window.closes_at();
    assert_eq!(store.open_grants(None, 10).await.unwrap().len(), 1);
    assert_eq!(store.next_deadline(beginning()).await.unwrap(), Some(at));
    let begun = grant.begin(Cause::WindowClosed, Actor::Daemon, None, at).unwrap();
    store.commit(&[Write::Grant(&begun)]).await.unwrap();
    assert_eq!(store.endings(None, 10).await.unwrap().len(), 1);
    hold.rollback().await.unwrap();
    while let Some(read) = people.join_next().await {
        // Whoever waited for too long is told so.
        let read = read.unwrap();
        assert!(matches!(read, Ok(Some(_)) | Err(StoreError::Unavailable { .. })), "{read:?}");
    }
}

/// A password that others may read, or a session that a pooler has made of something else, isn't taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_not_as_it_was_asked_for_is_refused() {
    let database = Database::new().await;
    let superuser = postgres().connect_as_superuser("postgres").await;
    superuser
        .batch_execute(
            "CREATE DATABASE latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
        )
        .await
        .unwrap();
    let other = database.server_of("latin1");
    let refused =
        PostgresStore::open(&other, Migrate::Yes, &ManualClock::new(beginning())).await.unwrap_err();
    assert!(matches!(refused, OpenError::Session { name: "server_encoding", .. }), "{refused}");
}

/// What is given back late isn't what was taken again since.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_let_in_while_somebody_is_there() {
    let database = Database::new().await;
    let daemons = [daemon(&database, "one").await, daemon(&database, "other").await];
    let (duty, inside) = (Duty::Path("database/creds/orders".into()), AtomicU32::new(0));
    let turns = async |store: &PostgresStore| {
        for _ in 0..100 {
            while !duties(store).take(&duty).await.unwrap() {
                tokio::task::yield_now().await;
            }
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "somebody else is there");
            tokio::task::yield_now().await;
            inside.fetch_sub(1, Ordering::SeqCst);
            duties(store).give_back(duty.clone());
        }
    };
    tokio::join!(turns(&daemons[0]), turns(&daemons[1]));
}

/// Whoever comes first after a failover notices nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_lost_is_made_anew_for_the_next_commit() {
    let database = Database::new().await;
    let store = database.open(Migrate::Yes).await.unwrap();
    let (world, orders) = (World::new(&store), target("orders", 1));
    let superuser = postgres().connect_as_superuser("postgres").await;
    let cut = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = $1";
    for _ in 0..3 {
        world.submit(&orders, "dev").await;
        superuser.execute(cut, &[&database.name]).await.unwrap();
    }
}
