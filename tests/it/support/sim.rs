//! A broker on a real SQLite file, with a simulated Vault and a clock to turn: for what reality can't produce on demand,
//! that is crashes at chosen points, lost answers, and hours.

use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta};
use hallpass::{
    access::{
        actor::{Caller, Person},
        grant::{Grant, State},
        handle::LeaseId,
        id::{GrantId, RequestId},
        limits::Limits,
        policy::Policy,
        quorum::Quorum,
        signing::Signing,
        target::{EarlyRevocation, Target},
        terms::Leeway,
        text::Prose,
        writing::Writing,
    },
    broker::{Broker, Claimed, Error, Notary, Parts, RequestView, Submission, Tried, Written},
    clock::{Clock, ManualClock},
    ledger::note::{Kind, SigningKey},
    schedule::Schedule,
    signature::Signers,
    store::{Migrate, Store, sqlite::SqliteStore},
    sweep::{Chores, Schedules, Sweeper},
    vault::SimulatedIssuer,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::servers::Dir;

/// The log's name.
pub const ORIGIN: &str = "log.example";

/// The key of a witness whose cosignatures count.
pub fn witness_key() -> SigningKey {
    SigningKey::from_seed("witness.example", &[2; 32]).unwrap()
}

/// The longest window, and how long requests wait for decisions and claims.
pub const HOUR: Duration = Duration::from_hours(1);
/// The targets that there are; each has its own path.
pub const TARGETS: [&str; 2] = ["orders-ro", "payroll-ro"];

/// How long anything may take to come true, in real time.
const PATIENCE: Duration = Duration::from_mins(1);

/// A broker with its surroundings.
#[derive(Debug)]
pub struct Sim {
    pub clock: Arc<ManualClock>,
    pub vault: Arc<SimulatedIssuer>,
    pub store: Arc<SqliteStore>,
    pub broker: Arc<Broker>,
    pub stopping: CancellationToken,
    dir: Dir,
}

impl Sim {
    /// Moves the clock on, again and again, until `happened`: a task that begins to wait later than we think is met as
    /// well.
    pub async fn as_time_goes_by<T>(&self, step: TimeDelta, happened: impl Future<Output = T>) -> T {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        let moving = async {
            loop {
                look.tick().await;
                self.clock.advance(step);
            }
        };
        tokio::select! {
            happened = tokio::time::timeout(PATIENCE, happened) => happened.expect("it happens"),
            () = moving => unreachable!("time goes on"),
        }
    }

    pub async fn start() -> Self {
        let dir = Dir::new("sim");
        let clock = Arc::new(ManualClock::new(DateTime::from_timestamp_millis(1_790_000_000_123).unwrap()));
        let store = SqliteStore::open(&dir.join("hallpass.db"), Migrate::Yes, &*clock).await.unwrap();
        let (store, stopping) = (Arc::new(store), CancellationToken::new());
        let vault = Arc::new(SimulatedIssuer::new(clock.clone()));
        let broker = broker(&store, &vault, &clock, &stopping, policy(&TARGETS)).await;
        Self { clock, vault, store, broker, stopping, dir }
    }

    /// The database's file.
    pub fn database(&self) -> std::path::PathBuf {
        self.dir.join("hallpass.db")
    }

    /// What a crash and a new start leave: the store and Vault as they are, and nothing of the daemon's memory.
    pub async fn restart(&mut self) {
        self.restart_with(&TARGETS).await;
    }

    /// The same, with keys, and targets that demand signatures.
    pub async fn restart_signing(&mut self, signing: Signing, signers: Signers) {
        let mut policy = policy(&TARGETS);
        policy.targets.values_mut().for_each(|target| target.writing.signing = signing);
        self.broker =
            broker_with(&self.store, &self.vault, &self.clock, &self.stopping, (policy, signers, None)).await;
    }

    /// The same, with texts that are kept for so long.
    pub async fn restart_keeping(&mut self, texts_for: Duration) {
        let parts = (policy(&TARGETS), Signers::default(), Some(texts_for));
        self.broker = broker_with(&self.store, &self.vault, &self.clock, &self.stopping, parts).await;
    }

    /// The same, with other targets in the configuration.
    pub async fn restart_with(&mut self, targets: &[&str]) {
        self.configure(policy(targets)).await;
    }

    /// The same, with another policy.
    pub async fn configure(&mut self, policy: Policy) {
        self.broker = broker(&self.store, &self.vault, &self.clock, &self.stopping, policy).await;
    }

    pub async fn submit(&self, target: &str) -> RequestView {
        self.broker.submit(&alice(), submission(target, HOUR)).await.unwrap()
    }

    pub async fn approve(&self, request: &RequestView) -> Result<RequestView, Error> {
        self.broker.approve(&olivia(), request.request.id, written(request)).await
    }

    /// A request that was approved.
    pub async fn approved(&self, target: &str) -> RequestId {
        let request = self.submit(target).await;
        self.approve(&request).await.unwrap().request.id
    }

    pub async fn claim(&self, request: RequestId) -> Result<Claimed, Error> {
        self.broker.claim(&alice(), request, false).await
    }

    /// Does what the sweeper does, and lets as much time pass as retries need, until nothing is ending any more.
    pub async fn settle(&self) {
        for _ in 0..60 {
            self.broker.sweep().await.unwrap();
            self.broker.reconcile().await.unwrap();
            self.broker.let_lapse().await.unwrap();
            self.broker.rescan().await.unwrap();
            let (due, _) = self.broker.take_due(self.clock.now());
            let mut all_over = true;
            for (id, _, _) in due {
                all_over &= self.broker.pursue(id).await == Tried::Over;
            }
            if all_over {
                return;
            }
            self.clock.advance(TimeDelta::seconds(15));
        }
        panic!("something never ends");
    }

    pub async fn grants(&self, request: RequestId) -> Vec<Grant> {
        self.store.grants_of(&[request]).await.unwrap().remove(&request).unwrap_or_default()
    }

    pub async fn state(&self, id: GrantId) -> State {
        self.store.grant(id).await.unwrap().unwrap().state
    }

    /// The kinds of what is recorded of a request, in order.
    pub async fn kinds(&self, request: RequestId) -> Vec<String> {
        self.store.timeline(request).await.unwrap().into_iter().map(|event| event.kind).collect()
    }

    pub fn leases(&self) -> Vec<LeaseId> {
        self.vault.live_leases().into_iter().map(|lease| lease.id).collect()
    }
}

/// The sweeper at work, with all that recurs beside it, as in the daemon.
pub fn at_work(
    broker: &Arc<Broker>,
    clock: &Arc<dyn Clock>,
    stopping: &CancellationToken,
) -> tokio::task::JoinHandle<()> {
    let sweeper = Sweeper::new(Arc::clone(broker), Arc::clone(clock)).run(stopping.clone());
    let chores = Chores {
        broker: Arc::clone(broker),
        clock: Arc::clone(clock),
        reconcile: Arc::default(),
        stopping: stopping.clone(),
    };
    let minutely: Schedule = "0 * * * * *".parse().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(sweeper);
    for (_, chore) in chores.all(&Schedules::new(minutely.clone(), minutely.clone(), minutely)) {
        tasks.spawn(chore);
    }
    tokio::spawn(async move { while tasks.join_next().await.is_some() {} })
}

/// A person's ask.
pub fn submission(target: &str, duration: Duration) -> Submission {
    let reason = Prose::new("order 4711 is stuck").unwrap();
    Submission {
        target: target.parse().unwrap(),
        duration: Some(duration),
        reason,
        not_before: None,
        ticket: None,
        key: None,
        validate_only: false,
    }
}

/// A decision on what was read.
pub fn written(request: &RequestView) -> Written {
    Written { digest: request.request.digest(), statement: Prose::new("fine").unwrap() }
}

/// Who may do what with these targets.
pub fn policy(targets: &[&str]) -> Policy {
    let targets = targets.iter().map(|name| target(name)).map(|target| (target.name.clone(), target));
    let groups = |name: &str| [name.to_owned()].into();
    Policy {
        targets: targets.collect(),
        auditors: groups("auditors"),
        operators: groups("operators"),
        ..Policy::default()
    }
}

pub fn path(target: &str) -> String {
    format!("database/creds/hp-{target}")
}

pub fn alice() -> Caller {
    caller("alice", "developers")
}

pub fn olivia() -> Caller {
    caller("olivia", "operations-leads")
}

pub fn caller(name: &str, group: &str) -> Caller {
    let person = Person { subject: format!("test:id-of-{name}"), name: name.to_owned() };
    Caller { person, groups: [group.to_owned()].into() }
}

async fn broker(
    store: &Arc<SqliteStore>,
    vault: &Arc<SimulatedIssuer>,
    clock: &Arc<ManualClock>,
    stopping: &CancellationToken,
    policy: Policy,
) -> Arc<Broker> {
    broker_with(store, vault, clock, stopping, (policy, Signers::default(), None)).await
}

async fn broker_with(
    store: &Arc<SqliteStore>,
    vault: &Arc<SimulatedIssuer>,
    clock: &Arc<ManualClock>,
    stopping: &CancellationToken,
    (policy, signers, texts_for): (Policy, Signers, Option<Duration>),
) -> Arc<Broker> {
    let clock: Arc<dyn Clock> = clock.clone();
    Arc::new(Broker::new(Parts {
        policy,
        digest_key: store.digest_key().await.unwrap(),
        store: store.clone(),
        issuer: vault.clone(),
        clock,
        wrap_ttl: Duration::from_mins(5),
        alarm_after: Duration::from_mins(1),
        revoke_unknown: false,
        texts_for,
        signers,
        notary: Notary {
            origin: ORIGIN.to_owned(),
            witness_keys: vec![witness_key().verifier(Kind::Cosignature)],
            ..Notary::default()
        },
        stopping: stopping.clone(),
        tasks: TaskTracker::new(),
    }))
}

fn target(name: &str) -> Target {
    Target {
        name: name.parse().unwrap(),
        description: String::new(),
        credential_path: path(name),
        vault_policy: format!("cred-{name}"),
        window_max: HOUR,
        decide_within: HOUR,
        claim_within: HOUR,
        requesters: BTreeSet::from(["developers".to_owned()]).into(),
        approvers: BTreeSet::from(["operations-leads".to_owned()]).into(),
        approvals_required: NonZeroU32::MIN,
        quorum: Quorum::default(),
        leeway: Leeway { shorten: true, narrow: true },
        hours: None,
        early_revocation: EarlyRevocation::EndsSessions,
        window_default: None,
        writing: Writing::default(),
        limits: Limits::default(),
        cosigned_within: None,
    }
}
