//! Duties in tables of the server's: each daemon says every few seconds that it is there, and takes what it wants in batches.
//!
//! ```text
//! beat     every third of the time that others wait for: here until then; the server's clock beside one's own
//! taking   all that is wanted at once: one statement, which passes over what somebody else is just taking or committing
//! looking  told by a notification, or after half a second: has the log grown, is somebody gone?
//! ```
//!
//! All times here are the server's.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use chrono::TimeDelta;
use sqlx::{FromRow, PgPool, postgres::PgListener};
use tokio::{
    sync::{mpsc, oneshot, watch as channel},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use super::{Server, connect, inspect::ahead};
use crate::{
    clock::Clock,
    store::{
        Duties, Duty, Member, OpenError, StoreError,
        reads::Kind,
        rows::{corrupt, failed, instant},
        waiting::{ANSWER_MAX, job::Fence},
    },
};

/// How many duties are taken with one statement at most.
const BATCH_MAX: usize = 256;
/// How often it is looked at the log if nobody tells that it has grown, and for daemons that are gone.
const POLL: Duration = Duration::from_millis(500);
/// For how long a daemon that is gone is remembered.
const REMEMBERED: TimeDelta = TimeDelta::days(1);

/// The server's time.
macro_rules! now {
    () => {
        "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
    };
}

const BEAT: &str = concat!(
    "INSERT INTO daemons AS d (id, name, version, started_at, seen_at, until, clock_ahead_ms) \
     SELECT $1, $2, $3, now, now, now + $4, $5 FROM (SELECT ",
    now!(),
    " AS now) AS clock \
     ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, until = excluded.until, \
                                    clock_ahead_ms = excluded.clock_ahead_ms \
     RETURNING seen_at"
);

/// How long the log is, and who isn't heard of.
const LOOK: &str = concat!(
    "SELECT (SELECT coalesce(max(sequence), 0) FROM audit_events), \
            ARRAY(SELECT id FROM daemons WHERE until <= ",
    now!(),
    ")"
);

/// Those that are gone for long, with what nobody has taken over.
const FORGET: &str = concat!(
    "WITH gone AS (SELECT id FROM daemons WHERE until < ",
    now!(),
    " - $1), left_over AS (DELETE FROM duties WHERE daemon IN (SELECT id FROM gone)) \
     DELETE FROM daemons WHERE id IN (SELECT id FROM gone)"
);

/// What is free or one's own, each with a new generation: so what is given back late isn't what was taken again since. Whoever
/// wasn't heard of for as long as others wait takes nothing.
const TAKE: &str = concat!(
    "WITH clock AS (SELECT ",
    now!(),
    " AS now), \
     me AS (SELECT d.id, clock.now FROM daemons d, clock WHERE d.id = $1 AND d.until > clock.now), \
     wanted AS (SELECT DISTINCT unnest($2::text[]) AS name), \
     mine AS (UPDATE duties d SET generation = nextval('duty_generations') FROM wanted w, me \
               WHERE d.name = w.name AND d.daemon = me.id RETURNING d.name, d.generation), \
     left_over AS (SELECT d.name FROM duties d JOIN wanted USING (name), me \
                    WHERE d.daemon <> me.id \
                      AND NOT EXISTS (SELECT 1 FROM daemons o WHERE o.id = d.daemon AND o.until > me.now) \
                    ORDER BY d.name FOR UPDATE OF d SKIP LOCKED), \
     taken_over AS (UPDATE duties d SET daemon = me.id, generation = nextval('duty_generations'), taken_at = me.now \
                      FROM left_over l, me WHERE d.name = l.name RETURNING d.name, d.generation), \
     made AS (INSERT INTO duties (name, daemon, generation, taken_at) \
              SELECT w.name, me.id, nextval('duty_generations'), me.now FROM wanted w, me \
               WHERE NOT EXISTS (SELECT 1 FROM duties d WHERE d.name = w.name) ORDER BY w.name \
              ON CONFLICT (name) DO NOTHING RETURNING name, generation) \
     SELECT name, generation FROM mine UNION ALL SELECT name, generation FROM taken_over \
     UNION ALL SELECT name, generation FROM made"
);

const GIVE_BACK: &str = "\
    DELETE FROM duties d USING unnest($2::text[], $3::bigint[]) AS given (name, generation) \
     WHERE d.name = given.name AND d.generation = given.generation AND d.daemon = $1";

const FORGET_THESE: &str = "DELETE FROM duties WHERE daemon = $1 AND name = ANY($2)";

const LEAVE: &str =
    "WITH given AS (DELETE FROM duties WHERE daemon = $1) UPDATE daemons SET until = 0 WHERE id = $1";

const MEMBERS: &str = concat!(
    "SELECT d.id, d.name, d.version, d.started_at, d.seen_at, d.until <= ",
    now!(),
    " AS is_gone, d.clock_ahead_ms, (SELECT count(*) FROM duties WHERE daemon = d.id) AS duties, \
     ARRAY(SELECT h.name FROM duties h WHERE h.daemon = d.id ORDER BY h.taken_at, h.name LIMIT 100) AS held \
     FROM daemons d ORDER BY d.name, d.id"
);

/// One for the beat, one for the taking, one for all else, and one that listens and is kept.
const FOR_DUTIES: Kind = Kind { count: 4, answer_max: ANSWER_MAX, cache_kib: 0, reads_all: false };

/// How a daemon joins the others.
#[derive(Clone, Debug)]
pub struct Joining {
    /// Its id, which nobody else has.
    pub id: String,
    /// What its operators call it.
    pub name: String,
    /// For how long what it is at stays its own when it isn't heard of.
    pub takeover_after: Duration,
    /// How far its clock may be from the server's.
    pub clock_max: Duration,
}

/// One duty that is wanted, and who wants to know.
#[derive(Debug)]
struct Wanted {
    name: String,
    answer: oneshot::Sender<bool>,
}

/// What the tasks here share.
#[derive(Debug)]
struct Inner {
    joining: Joining,
    pool: PgPool,
    /// The generation of each duty that is this daemon's.
    held: Mutex<HashMap<String, i64>>,
    problem: channel::Sender<Option<String>>,
    gone: channel::Sender<u64>,
    grown: channel::Sender<i64>,
}

/// See the module.
#[derive(Debug)]
pub(in crate::store) struct Shared {
    inner: Arc<Inner>,
    wanted: mpsc::UnboundedSender<Wanted>,
    given: mpsc::UnboundedSender<(String, i64)>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Shared {
    /// Joins the daemons that share the database, and stays among them until it leaves or is dropped.
    pub(super) async fn join(
        server: &Server,
        joining: Joining,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let pool = connect::readers(server, FOR_DUTIES).await?;
        let inner = Arc::new(Inner {
            joining,
            pool,
            held: Mutex::default(),
            problem: channel::Sender::new(None),
            gone: channel::Sender::new(0),
            grown: channel::Sender::new(0),
        });
        inner.beat(&*clock).await.map_err(OpenError::database("join the daemons of the database"))?;
        let (wanted, to_take) = mpsc::unbounded_channel();
        let (given, to_give) = mpsc::unbounded_channel();
        let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
        let stop = || stopping.clone();
        tasks.spawn(stop().run_until_cancelled_owned(beat(Arc::clone(&inner), Arc::clone(&clock))));
        tasks.spawn(stop().run_until_cancelled_owned(take(Arc::clone(&inner), to_take)));
        tasks.spawn(stop().run_until_cancelled_owned(give_back(Arc::clone(&inner), clock, to_give)));
        tasks.spawn(stop().run_until_cancelled_owned(follow(Arc::clone(&inner))));
        Ok(Self { inner, wanted, given, stopping, tasks })
    }

    /// What a commit names that depends on a duty. One that isn't this daemon's any more has no generation that fits.
    pub(super) fn fence(&self, duty: &Duty) -> Fence {
        let name = duty.to_string();
        let generation = self.inner.held().get(&name).copied().unwrap_or_default();
        Fence { name, daemon: self.inner.joining.id.clone(), generation }
    }

    /// Gives everything back, so that others needn't wait.
    pub(super) async fn leave(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let leave = sqlx::query(LEAVE).bind(&self.inner.joining.id).execute(&self.inner.pool);
        drop(timeout(ANSWER_MAX, leave).await);
        drop(timeout(ANSWER_MAX, self.inner.pool.close()).await);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

impl Inner {
    fn held(&self) -> MutexGuard<'_, HashMap<String, i64>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that this daemon is there, looks at the clocks, and notices who is gone.
    async fn beat(&self, clock: &dyn Clock) -> Result<(), sqlx::Error> {
        let Joining { id, name, takeover_after, clock_max } = &self.joining;
        let begun_at = clock.now();
        let server = sqlx::query_scalar::<_, i64>(concat!("SELECT ", now!())).fetch_one(&self.pool).await?;
        let now = clock.now();
        let ahead = -ahead(server, begun_at, now).num_milliseconds();
        let _: i64 = sqlx::query_scalar(BEAT)
            .bind(id)
            .bind(name)
            .bind(env!("CARGO_PKG_VERSION"))
            .bind(i64::try_from(takeover_after.as_millis()).unwrap_or(i64::MAX))
            .bind(ahead)
            .fetch_one(&self.pool)
            .await?;
        // The answer came some time in between: that much can't be told apart from a clock that is off.
        let off = ahead.unsigned_abs().saturating_sub((now - begun_at).num_milliseconds().unsigned_abs() / 2);
        self.judge((u128::from(off) > clock_max.as_millis()).then_some(ahead));
        sqlx::query(FORGET).bind(REMEMBERED.num_milliseconds()).execute(&self.pool).await.map(|_| ())
    }

    /// Takes note of a clock that is off by so many milliseconds, or isn't.
    fn judge(&self, off: Option<i64>) {
        let bound = self.joining.clock_max.as_millis();
        let problem = off.map(|ahead| {
            format!(
                "this daemon's clock is {ahead} ms ahead of the database's, and {bound} are allowed, so it takes no work"
            )
        });
        let was = self.problem.send_replace(problem.clone());
        match (was, problem) {
            (None, Some(problem)) => {
                error!("event.action" = "clock-off", "error.message" = problem, "{problem}");
            }
            (Some(_), None) => info!("event.action" = "clock-right", "the clock is right again"),
            _ => {}
        }
    }

    /// Gives back whatever of these is this daemon's without its knowing. False if the server can't be asked.
    async fn forgets(&self, names: &BTreeSet<String>) -> bool {
        let unknown: Vec<&String> = {
            let held = self.held();
            names.iter().filter(|name| !held.contains_key(*name)).collect()
        };
        let forget = sqlx::query(FORGET_THESE).bind(&self.joining.id).bind(unknown);
        matches!(timeout(ANSWER_MAX, forget.execute(&self.pool)).await, Ok(Ok(_)))
    }

    async fn take(&self, names: &[String]) -> Result<BTreeSet<String>, sqlx::Error> {
        let taken: Vec<(String, i64)> =
            sqlx::query_as(TAKE).bind(&self.joining.id).bind(names).fetch_all(&self.pool).await?;
        let mut held = self.held();
        for name in names {
            held.remove(name);
        }
        held.extend(taken.iter().cloned());
        Ok(taken.into_iter().map(|(name, _)| name).collect())
    }
}

/// Beats until it is cancelled.
async fn beat(inner: Arc<Inner>, clock: Arc<dyn Clock>) {
    let mut is_heard = true;
    loop {
        clock.sleep(inner.joining.takeover_after / 3).await;
        let beaten = timeout(inner.joining.takeover_after / 3, inner.beat(&*clock)).await;
        let failure = match beaten {
            Ok(Ok(())) => None,
            Ok(Err(failure)) => Some(failure.to_string()),
            Err(late) => Some(late.to_string()),
        };
        if is_heard && let Some(failure) = &failure {
            warn!(
                "event.action" = "not-heard",
                "error.message" = failure,
                "the other daemons can't be told that this one is there; what it is at they may take soon"
            );
        }
        is_heard = failure.is_none();
    }
}

/// Takes what is wanted, all that waits with one statement. What had no answer may have been taken all the same: it is given back
/// before anything else is taken, or soon, or nobody could take it as long as this daemon is there.
async fn take(inner: Arc<Inner>, mut wanted: mpsc::UnboundedReceiver<Wanted>) {
    let (mut batch, mut doubtful) = (Vec::new(), BTreeSet::new());
    loop {
        let more = wanted.recv_many(&mut batch, BATCH_MAX);
        let is_over = if doubtful.is_empty() { more.await == 0 } else { timeout(POLL, more).await == Ok(0) };
        if is_over {
            return;
        }
        if !doubtful.is_empty() && inner.forgets(&doubtful).await {
            doubtful.clear();
        }
        let names: Vec<String> = batch.iter().map(|wanted| wanted.name.clone()).collect();
        if names.is_empty() {
            continue;
        }
        // Whoever gets no answer is told so by that.
        match timeout(ANSWER_MAX, inner.take(&names)).await {
            Ok(Ok(taken)) => {
                for Wanted { name, answer } in batch.drain(..) {
                    let _ = answer.send(taken.contains(&name));
                }
            }
            Ok(Err(_)) | Err(_) => doubtful.extend(names),
        }
        batch.clear();
    }
}

/// Gives back what isn't needed any more.
async fn give_back(
    inner: Arc<Inner>,
    clock: Arc<dyn Clock>,
    mut given: mpsc::UnboundedReceiver<(String, i64)>,
) {
    let mut batch = Vec::new();
    while given.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let (names, generations): (Vec<String>, Vec<i64>) = batch.drain(..).unzip();
        // Until it is done: others wait for it, and nobody else can do it as long as this daemon is there.
        loop {
            let back = sqlx::query(GIVE_BACK).bind(&inner.joining.id).bind(&names).bind(&generations);
            if let Ok(Ok(_)) = timeout(ANSWER_MAX, back.execute(&inner.pool)).await {
                break;
            }
            clock.sleep(POLL).await;
        }
    }
}

/// Notices that the log has grown, and that a daemon is gone: notifications are a hint, and looking is the truth.
async fn follow(inner: Arc<Inner>) {
    let (mut listener, mut known) = (None, BTreeSet::new());
    loop {
        if listener.is_none() {
            listener = listen(&inner.pool).await;
        }
        let hint = async {
            match &mut listener {
                Some(listener) => listener.recv().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        if timeout(POLL, hint).await == Ok(false) {
            listener = None;
        }
        let look = sqlx::query_as::<_, (i64, Vec<String>)>(LOOK).fetch_one(&inner.pool);
        let Ok(Ok((last, gone))) = timeout(ANSWER_MAX, look).await else { continue };
        inner.grown.send_if_modified(|before| std::mem::replace(before, last) != last);
        if gone.iter().any(|id| !known.contains(id)) {
            inner.gone.send_modify(|times| *times += 1);
        }
        known = gone.into_iter().collect();
    }
}

async fn listen(pool: &PgPool) -> Option<PgListener> {
    let mut listener = PgListener::connect_with(pool).await.ok()?;
    listener.ignore_pool_close_event(true);
    listener.listen("hallpass_log").await.ok()?;
    Some(listener)
}

#[async_trait]
impl Duties for Shared {
    async fn take(&self, duty: &Duty) -> Result<bool, StoreError> {
        if self.problem().is_some() {
            return Ok(false);
        }
        let (answer, taken) = oneshot::channel();
        let operation = "take a duty";
        let lost =
            |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Unavailable { operation, source };
        self.wanted
            .send(Wanted { name: duty.to_string(), answer })
            .map_err(|gone| lost(gone.to_string().into()))?;
        match timeout(ANSWER_MAX, taken).await {
            Ok(Ok(taken)) => Ok(taken),
            Ok(Err(dropped)) => Err(lost(dropped.into())),
            Err(late) => Err(lost(late.into())),
        }
    }

    fn give_back(&self, duty: Duty) {
        let name = duty.to_string();
        if let Some(generation) = self.inner.held().remove(&name) {
            // Nobody is there to do it when this daemon leaves, which gives everything back.
            drop(self.given.send((name, generation)));
        }
    }

    fn problem(&self) -> Option<String> {
        self.inner.problem.borrow().clone()
    }

    fn gone(&self) -> channel::Receiver<u64> {
        self.inner.gone.subscribe()
    }

    fn grown(&self) -> channel::Receiver<i64> {
        self.inner.grown.subscribe()
    }

    async fn members(&self) -> Result<Vec<Member>, StoreError> {
        let operation = "list the daemons";
        let rows: Vec<MemberRow> =
            match timeout(ANSWER_MAX, sqlx::query_as(MEMBERS).fetch_all(&self.inner.pool)).await {
                Ok(rows) => rows.map_err(failed(operation))?,
                Err(late) => return Err(StoreError::Unavailable { operation, source: Box::new(late) }),
            };
        let member = |row: MemberRow| row.member(&self.inner.joining.id);
        rows.into_iter()
            .map(member)
            .collect::<Result<_, _>>()
            .map_err(|bad| corrupt(operation, "a daemon", bad))
    }
}

#[derive(FromRow)]
struct MemberRow {
    id: String,
    name: String,
    version: String,
    started_at: i64,
    seen_at: i64,
    is_gone: bool,
    clock_ahead_ms: i64,
    duties: i64,
    held: Vec<String>,
}

impl MemberRow {
    fn member(self, here: &str) -> Result<Member, &'static str> {
        Ok(Member {
            is_here: self.id == here,
            id: self.id,
            name: self.name,
            version: self.version,
            started_at: instant(self.started_at)?,
            seen_at: instant(self.seen_at)?,
            is_gone: self.is_gone,
            clock_ahead: TimeDelta::milliseconds(self.clock_ahead_ms),
            duties: self.duties.unsigned_abs(),
            held: self.held,
        })
    }
}
