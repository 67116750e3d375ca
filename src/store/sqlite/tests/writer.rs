//! Commits that wait, hang, fail and are given up. Nothing here measures time: a writer whose task isn't started yet
//! stands for one that is busy, and limits are set so low or so high that they are or aren't reached.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::DateTime;
use tempfile::TempDir;
use tokio::sync::oneshot::Receiver;

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{
    super::{
        connect,
        dialect::Origin,
        sql::{
            pen::Pen,
            writer::{Writer, work},
        },
    },
    raw::insert_one_of_each,
};
use crate::{
    access::{
        actor::Actor,
        change,
        event::{About, Event, Fact},
        grant::Grant,
        id::GrantId,
        revocation::{Cause, Confirmation, Step},
    },
    clock::ManualClock,
    store::{
        Migrate, Store, StoreError, Write,
        sqlite::SqliteStore,
        waiting::{
            job::{Answer, Change},
            lanes::{GROUP_MAX, LANE_MAX, Lanes},
        },
    },
};

/// Longer than any test takes.
const FOR_EVER: Duration = Duration::from_hours(1);

/// Long enough that a commit is under way, and far shorter than [`SLOWLY`] takes.
const BRIEFLY: Duration = Duration::from_millis(20);

/// Stands for a disk that hangs: counts for a while before each event that says so. Only this connection has it.
const SLOWLY: &str = "
    CREATE TEMP VIEW slow AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 2000000)
        SELECT count(*) AS x FROM n;
    CREATE TEMP TRIGGER slowly BEFORE INSERT ON audit_events WHEN NEW.leaf LIKE '%slowly%'
        BEGIN SELECT x FROM slow; END;";

fn fact(error: &str) -> Event {
    let (method, error) = ("x".into(), error.into());
    let fact = Fact::IdentityRefused { method, client_address: None, error, unrecorded: 0 };
    Event { at: DateTime::UNIX_EPOCH, actor: Actor::Daemon, about: About::default(), fact }
}

/// A store whose writer has a connection that was made ready by these statements, and isn't at work yet.
struct Idle {
    directory: TempDir,
    store: SqliteStore,
    pen: Pen,
}

impl Idle {
    async fn new(statements: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (file, clock) = (directory.path().join("db"), ManualClock::new(DateTime::UNIX_EPOCH));
        let mut store = SqliteStore::open(&file, Migrate::Yes, &clock).await.unwrap();
        let mut connection = connect::writer(&connect::writing(&file)).await.unwrap();
        insert_one_of_each(&mut connection).await;
        let mut pen = Pen::of(connection).await.unwrap();
        sqlx::raw_sql(statements).execute(&mut pen.connection).await.unwrap();
        store.writer = Writer::idle(FOR_EVER);
        Self { directory, store, pen }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("db")
    }

    fn push(&self, change: Change) -> Result<Receiver<Answer>, StoreError> {
        self.store.writer.lanes.push(vec![change])
    }

    fn push_fact(&self, error: &str) -> Receiver<Answer> {
        self.push(Change::Fact(fact(error))).unwrap()
    }

    /// The change that begins the end of the only grant.
    async fn ending(&self) -> change::Change<Grant> {
        let id: GrantId = "00000000000000000000000000".parse().unwrap();
        let grant = self.store.grant(id).await.unwrap().unwrap();
        grant.begin(Cause::Released, Actor::Daemon, None, DateTime::UNIX_EPOCH).unwrap()
    }

    /// How many transactions are committed from now on.
    async fn counting(&mut self) -> Arc<AtomicUsize> {
        let transactions = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&transactions);
        self.pen.connection.lock_handle().await.unwrap().set_commit_hook(move || {
            count.fetch_add(1, Ordering::Relaxed);
            true
        });
        transactions
    }

    /// Lets the writer begin its work.
    fn start(self) -> (TempDir, SqliteStore) {
        let file = self.file();
        let origin = Origin::new(&file, connect::writing(&file)).unwrap();
        self.store.writer.start(origin, self.pen);
        (self.directory, self.store)
    }
}

async fn sequence(answer: Receiver<Answer>) -> i64 {
    answer.await.unwrap().unwrap()[0].sequence
}

fn is_unavailable(answer: &Answer) -> bool {
    matches!(answer, Err(StoreError::Unavailable { .. }))
}

#[tokio::test]
async fn what_ends_a_grant_overtakes_all_that_wait_and_they_share_transactions() {
    let mut idle = Idle::new("").await;
    let transactions = idle.counting().await;
    let ordinary: Vec<_> = (0..500).map(|number| idle.push_fact(&number.to_string())).collect();
    let urgent = idle.push(Change::Grant(idle.ending().await)).unwrap();
    let (_directory, _store) = idle.start();
    assert_eq!(sequence(urgent).await, 1);
    for (answer, expected) in ordinary.into_iter().zip(2..) {
        assert_eq!(sequence(answer).await, expected, "the others in the order in which they came");
    }
    assert_eq!(transactions.load(Ordering::Relaxed), 501_usize.div_ceil(GROUP_MAX));
}

/// One transaction is ahead of an urgent commit, and no more.
#[tokio::test]
async fn what_comes_while_a_group_is_under_way_leads_the_next() {
    let idle = Idle::new("").await;
    let _ordinary: Vec<_> = (0..2 * GROUP_MAX).map(|_| idle.push_fact("x")).collect();
    let lanes = &idle.store.writer.lanes;
    assert_eq!(lanes.group().len(), GROUP_MAX);
    let _urgent = idle.push(Change::Grant(idle.ending().await)).unwrap();
    let next: Vec<_> = lanes.group().iter().map(|job| job.changes[0].is_urgent()).collect();
    assert_eq!(next.iter().filter(|is_urgent| **is_urgent).count(), 1);
    assert!(next[0]);
}

#[tokio::test]
async fn a_commit_that_can_not_be_made_takes_no_other_along() {
    let refuse = "CREATE TEMP TRIGGER refuse BEFORE INSERT ON audit_events WHEN NEW.leaf LIKE '%poison%'
                  BEGIN SELECT RAISE(ABORT, 'refused'); END;";
    let idle = Idle::new(refuse).await;
    let (ending, late) = (idle.ending().await, idle.ending().await);
    let pushed = [
        idle.push(Change::Grant(ending)).unwrap(),
        idle.push(Change::Grant(late)).unwrap(),
        idle.push_fact("one"),
        idle.push_fact("poison"),
        idle.push_fact("two"),
    ];
    let (_directory, store) = idle.start();
    let mut told = Vec::new();
    for answer in pushed {
        told.push(match answer.await.unwrap() {
            Ok(recorded) => Ok(recorded[0].sequence),
            Err(StoreError::Conflict { .. }) => Err("conflict"),
            Err(_) => Err("failed"),
        });
    }
    assert_eq!(told, [Ok(1), Err("conflict"), Ok(2), Err("failed"), Ok(3)]);
    assert_eq!(store.last_sequence().await.unwrap(), 3);
}

/// One that builds on another of the same group, and one with two steps of the same grant: only in one transaction are they one
/// after the other, because a commit alone would be in order anyhow.
#[tokio::test]
async fn what_a_group_does_to_one_row_is_done_in_order() {
    let mut idle = Idle::new("").await;
    let transactions = idle.counting().await;
    let begun = idle.ending().await;
    let (at, after) = (DateTime::UNIX_EPOCH, begun.after().clone());
    let retried = after.retry(Step::Token, "unreachable", at).unwrap();
    let over = retried.after().clone().confirm(Confirmation::NothingIssued, None, at).unwrap();
    let (first, second) = (
        idle.store.writer.lanes.push(vec![Change::Grant(begun)]).unwrap(),
        idle.store.writer.lanes.push(vec![Change::Grant(retried), Change::Grant(over.clone())]).unwrap(),
    );
    let (_directory, store) = idle.start();
    let told =
        |answer: Answer| -> Vec<i64> { answer.unwrap().iter().map(|recorded| recorded.sequence).collect() };
    assert_eq!(told(first.await.unwrap()), [1]);
    assert_eq!(told(second.await.unwrap()), [2, 3]);
    assert_eq!(transactions.load(Ordering::Relaxed), 1);
    assert_eq!(store.grant(over.after().id).await.unwrap().as_ref(), Some(over.after()));
}

/// SQLite may roll back the whole transaction by itself, and then the savepoints of all are gone.
#[tokio::test]
async fn a_lost_transaction_is_told_to_all_and_the_next_is_made() {
    let lose = "CREATE TEMP TRIGGER lose BEFORE INSERT ON audit_events WHEN NEW.leaf LIKE '%poison%'
                BEGIN SELECT RAISE(ROLLBACK, 'lost'); END;";
    let idle = Idle::new(lose).await;
    let pushed = [idle.push_fact("one"), idle.push_fact("poison"), idle.push_fact("two")];
    let (_directory, store) = idle.start();
    for answer in pushed {
        assert!(is_unavailable(&answer.await.unwrap()));
    }
    assert_eq!(store.last_sequence().await.unwrap(), 0);
    // On another connection: this one doesn't have the trigger.
    let recorded = store.commit(&[Write::Fact(&fact("poison"))]).await.unwrap();
    assert_eq!(recorded[0].sequence, 1);
}

#[tokio::test]
async fn a_transaction_that_can_not_be_committed_is_told_to_all() {
    let mut idle = Idle::new("").await;
    // Stands for the disk: the commit becomes a rollback.
    idle.pen.connection.lock_handle().await.unwrap().set_commit_hook(|| false);
    let (ending, late) = (idle.ending().await, idle.ending().await);
    let pushed = [
        idle.push(Change::Grant(ending)).unwrap(),
        idle.push(Change::Grant(late)).unwrap(),
        idle.push_fact("one"),
    ];
    let (_directory, store) = idle.start();
    for answer in pushed {
        let answer = answer.await.unwrap();
        assert!(is_unavailable(&answer), "not even the conflict is one: {answer:?}");
    }
    let recorded = store.commit(&[Write::Fact(&fact("two"))]).await.unwrap();
    assert_eq!(recorded[0].sequence, 1);
}

#[tokio::test]
async fn a_full_lane_refuses_and_the_other_does_not() {
    let idle = Idle::new("").await;
    let _waiting: Vec<_> = (0..LANE_MAX).map(|_| idle.push_fact("x")).collect();
    let refused = idle.store.commit(&[Write::Fact(&fact("x"))]).await;
    assert!(is_unavailable(&refused), "{refused:?}");
    let ending = idle.ending().await;
    let urgent: Vec<_> = (0..LANE_MAX).map(|_| idle.push(Change::Grant(ending.clone())).unwrap()).collect();
    assert!(idle.push(Change::Grant(ending)).is_err());
    assert_eq!(idle.store.writer.lanes.len(), LANE_MAX + urgent.len());
}

#[tokio::test]
async fn what_nobody_waits_for_is_not_made() {
    let idle = Idle::new("").await;
    drop(idle.push_fact("given up"));
    let wanted = idle.push_fact("wanted");
    let (_directory, store) = idle.start();
    assert_eq!(sequence(wanted).await, 1);
    assert_eq!(store.last_sequence().await.unwrap(), 1);
}

/// Defect 20: an audit sink that hangs stops everything.
#[tokio::test]
async fn defect_20_a_commit_that_hangs_fails_and_the_next_does_not() {
    let (_directory, mut store) = Idle::new(SLOWLY).await.start();
    store.writer.answer_max = BRIEFLY;
    let refused = store.commit(&[Write::Fact(&fact("slowly"))]).await;
    assert!(is_unavailable(&refused), "{refused:?}");
    store.writer.answer_max = FOR_EVER;
    let recorded = store.commit(&[Write::Fact(&fact("x"))]).await.unwrap();
    assert_eq!(recorded[0].sequence, 1, "what its caller was told had failed was undone");
}

/// Whoever waits is told within the limit, whichever his lane, and not once the lock is free.
#[tokio::test]
async fn a_locked_database_refuses_in_time() {
    let idle = Idle::new("").await;
    let (file, ending) = (idle.file(), idle.ending().await);
    let (_directory, mut store) = idle.start();
    let mut other = SqliteConnectOptions::new().filename(file);
    other = other.busy_timeout(Duration::ZERO);
    let mut other = SqliteConnection::connect_with(&other).await.unwrap();
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    store.writer.answer_max = BRIEFLY;
    for write in [Write::Fact(&fact("x")), Write::Grant(&ending)] {
        let refused = store.commit(&[write]).await;
        assert!(is_unavailable(&refused), "{refused:?}");
    }
    lock.rollback().await.unwrap();
    store.writer.answer_max = FOR_EVER;
    let recorded = store.commit(&[Write::Grant(&ending)]).await.unwrap();
    assert_eq!(recorded[0].sequence, 1);
}

/// The second within which a claim is refused has to do for the way to the caller as well.
#[tokio::test]
async fn nobody_waits_for_a_second() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(DateTime::UNIX_EPOCH);
    let store = SqliteStore::open(&directory.path().join("db"), Migrate::Yes, &clock).await.unwrap();
    assert!(store.writer.answer_max < Duration::from_secs(1));
}

#[tokio::test]
async fn a_full_disk_stops_one_commit_and_not_the_next() {
    // Stands for the disk: no page more than there are. The connection that replaces this one has no such bound.
    let (_directory, store) = Idle::new("PRAGMA max_page_count = 1").await.start();
    let large = "y".repeat(100_000);
    let refused = store.commit(&[Write::Fact(&fact(&large))]).await;
    assert!(is_unavailable(&refused), "{refused:?}");
    assert_eq!(store.last_sequence().await.unwrap(), 0);
    let recorded = store.commit(&[Write::Fact(&fact(&large))]).await.unwrap();
    assert_eq!(recorded[0].sequence, 1);
}

#[tokio::test]
async fn a_turn_that_panics_is_told_to_its_callers_and_the_next_is_taken() {
    let lanes = Arc::<Lanes>::default();
    let first = lanes.push(vec![Change::Fact(fact("one"))]).unwrap();
    let turns = AtomicUsize::new(0);
    let turn = |lanes: Arc<Lanes>, connection: Option<()>| {
        let number = turns.fetch_add(1, Ordering::Relaxed);
        async move {
            assert_eq!(connection.is_some(), number != 1, "the connection went along");
            let group = lanes.group();
            assert!(number > 0, "the first turn panics");
            for job in group {
                job.answer(Ok(Vec::new()));
            }
            Some(())
        }
    };
    let callers = async {
        first.await.unwrap_err();
        for _ in 0..2 {
            let next = lanes.push(vec![Change::Fact(fact("two"))]).unwrap();
            assert_eq!(next.await.unwrap().unwrap(), []);
        }
        lanes.close();
    };
    let (left, ()) = tokio::join!(work(&lanes, Some(()), turn), callers);
    assert_eq!(left, Some(()));
}

#[tokio::test]
async fn a_lost_answer_is_a_failure() {
    let idle = Idle::new("").await;
    let commit = async { idle.store.commit(&[Write::Fact(&fact("x"))]).await };
    let lose = async {
        while idle.store.writer.lanes.len() == 0 {
            tokio::task::yield_now().await;
        }
        drop(idle.store.writer.lanes.group());
    };
    let (refused, ()) = tokio::join!(commit, lose);
    assert!(is_unavailable(&refused), "{refused:?}");
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let idle = Idle::new("").await;
    let before = idle.push_fact("before");
    let (directory, store) = idle.start();
    store.close().await;
    assert_eq!(sequence(before).await, 1, "who waited already is served");
    for _ in 0..2 {
        assert!(store.commit(&[Write::Fact(&fact("x"))]).await.is_err());
        assert!(store.last_sequence().await.is_err());
    }
    assert!(!directory.path().join("db-wal").exists(), "all is in the one file");
}

#[tokio::test]
async fn a_dropped_store_leaves_no_task() {
    let (_directory, store) = Idle::new("").await.start();
    let ended = store.writer.ended.clone();
    drop(store);
    ended.cancelled().await;
}

/// A group's statements change many pages, and what those were may name what a grant is held by.
#[tokio::test]
async fn what_a_statement_would_undo_goes_to_no_file() {
    let mut pen = Idle::new("").await.pen;
    let kept: i64 = sqlx::query_scalar("PRAGMA temp_store").fetch_one(&mut pen.connection).await.unwrap();
    assert_eq!(kept, 2, "in memory");
}
