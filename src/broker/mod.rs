//! THE VERBS, one file per step, in the order of the story: `submit`, `decide`, `claim`, `end`; `query` and `watch` read.
//!
//! Each verb asks the policy, lets the rules decide, commits what they made, and only then acts. It knows the store and
//! Vault by their traits, and the time by the clock it was given.
//!
//! A [`Broker`] is a snapshot: what all of them have in common, and the configuration as it was when this one was taken.
//! So a verb sees one configuration from its beginning to its end, also while another one takes its place
//! (`configure`). Who keeps a broker for longer than a call takes a new one for each ([`Broker::renewed`]).

/// Does a read-decide-commit round again while it loses against others.
macro_rules! again_on_conflict {
    ($round:expr) => {{
        let mut attempts_left = $crate::broker::COMMIT_ATTEMPTS;
        loop {
            attempts_left -= 1;
            match $round.await {
                Err($crate::broker::Error::Conflict) if attempts_left > 0 => {}
                done => break done,
            }
        }
    }};
}

mod alarm;
mod announce;
mod armed;
mod blockers;
mod checkpoint;
mod claim;
mod configure;
mod decide;
mod duty;
mod end;
mod erase;
mod error;
mod freeze;
mod handles;
mod issuing;
mod journal;
mod ledger;
mod limits;
mod notary;
mod query;
mod reconcile;
mod recording;
mod refuse;
mod reissue;
mod signed;
mod standing;
mod status;
mod submit;
mod undo;
mod upkeep;
mod watch;
mod witness;

use std::{ops::Deref, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Notify, watch as channel};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    armed::Due,
    checkpoint::{Extent, Unsigned},
    claim::Claimed,
    configure::{Change as ConfigurationChange, NotChanged, Occasion, Removed, Settings},
    decide::{Approving, Written},
    end::Tried,
    erase::TextsErased,
    error::{BadField, Error},
    ledger::Witnessed,
    notary::{Notary, Past, SignError, Signer, Witness, WitnessError},
    query::{Exception, RequestView, TargetView},
    reconcile::Findings,
    signed::Signature,
    status::Status,
    submit::Submission,
    watch::{Seen, Watch},
    witness::Unseen,
};
pub use crate::store::{GrantFilter, HeldGrant, Member, Part, RequestFilter, Slice};

use crate::{access::policy::Policy, clock::Clock, signature::Signers, store::Store, vault::Issuer};

/// How often a verb reads, decides and commits anew when others changed the same record meanwhile. Each time somebody
/// else got on, so more than a few in a row is a fault.
const COMMIT_ATTEMPTS: u32 = 5;

/// What a broker is made of.
#[derive(Debug)]
pub struct Parts {
    /// Who may do what, and the targets.
    pub policy: Policy,
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// Who makes credentials and ends them.
    pub issuer: Arc<dyn Issuer>,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
    /// How long a wrapping token can be opened.
    pub wrap_ttl: Duration,
    /// How long an ending may take before an alarm is raised.
    pub alarm_after: Duration,
    /// Whether leases that no grant knows of are revoked when they are found.
    pub revoke_unknown: bool,
    /// For how long the texts of what is over are kept; for ever, if it isn't said.
    pub texts_for: Option<Duration>,
    /// Whose keys sign approvals.
    pub signers: Signers,
    /// The secret that Vault's handles are digested with in events.
    pub digest_key: [u8; 32],
    /// Who stands for the log.
    pub notary: Notary,
    /// Cancelled when the daemon stops: streams end, claims are refused.
    pub stopping: CancellationToken,
    /// Where verbs that change something go on when their caller is gone. Waited for when the daemon stops.
    pub tasks: TaskTracker,
}

/// Carries out what people and deadlines ask for, by the configuration as it was when this was taken.
#[derive(Clone, Debug)]
pub struct Broker {
    policy: Arc<Policy>,
    wrap_ttl: Duration,
    /// The shortest that was in force since the start: how long a wrapping certainly could be opened.
    wrap_ttl_min: Duration,
    alarm_after: TimeDelta,
    revoke_unknown: bool,
    texts_for: Option<TimeDelta>,
    signers: Arc<Signers>,
    shared: Arc<Shared>,
}

/// What all brokers of a process have in common.
#[derive(Debug)]
pub struct Shared {
    store: Arc<dyn Store>,
    issuer: Arc<dyn Issuer>,
    clock: Arc<dyn Clock>,
    in_force: configure::InForce,
    handles: handles::Digester,
    stopping: CancellationToken,
    tasks: TaskTracker,
    news: channel::Sender<i64>,
    work: Notify,
    rescan: Notify,
    /// When the first request may lapse that isn't looked for yet.
    lapses: channel::Sender<DateTime<Utc>>,
    unrecorded: Notify,
    passes: channel::Sender<()>,
    armed: armed::Armed,
    journal: journal::Journal,
    reported: reconcile::Reported,
    reconciling: tokio::sync::Mutex<()>,
    issuing: issuing::Issuing,
    /// By credential path, from a read until its lease is recorded: only so is a lease that appears below the path certainly
    /// the reader's, and a lease that nobody recorded certainly nobody's who is at work.
    paths: issuing::Locks,
    /// By target, from a count of what is held until one more grant is committed.
    counting: issuing::Locks,
    blockers: blockers::Blockers,
    refusals: refuse::Limiter,
    homeless: upkeep::Homeless,
    notary: Notary,
    standing: standing::Standing,
    reconciliation_wanted: Notify,
}

impl Deref for Broker {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Broker {
    /// Puts a broker together. Nothing is asked of anybody yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { policy, wrap_ttl, alarm_after, revoke_unknown, texts_for, signers, .. } = parts;
        let settings = Settings { policy, wrap_ttl, alarm_after, revoke_unknown, texts_for, signers };
        Self::of(Arc::new(Shared {
            store: parts.store,
            issuer: parts.issuer,
            clock: parts.clock,
            in_force: configure::InForce::new(settings),
            handles: handles::Digester::new(&parts.digest_key),
            stopping: parts.stopping,
            tasks: parts.tasks,
            news: channel::Sender::new(0),
            work: Notify::new(),
            rescan: Notify::new(),
            lapses: channel::Sender::new(DateTime::<Utc>::MAX_UTC),
            unrecorded: Notify::new(),
            passes: channel::Sender::new(()),
            armed: armed::Armed::default(),
            journal: journal::Journal::default(),
            reported: reconcile::Reported::default(),
            reconciling: tokio::sync::Mutex::default(),
            issuing: issuing::Issuing::default(),
            paths: issuing::Locks::default(),
            counting: issuing::Locks::default(),
            blockers: blockers::Blockers::default(),
            refusals: refuse::Limiter::default(),
            homeless: upkeep::Homeless::default(),
            standing: standing::Standing::new(&parts.notary),
            notary: parts.notary,
            reconciliation_wanted: Notify::new(),
        }))
    }

    /// Carries a verb to its end, also when the caller hangs up meanwhile: a commit that nobody waits for is made all
    /// the same, and the sweeper and those who watch must hear of it. Waited for when the daemon stops.
    async fn to_its_end<T: Send + 'static>(
        &self,
        verb: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        match self.tasks.spawn(verb).await {
            Ok(done) => done,
            // A panic goes on to whoever counts those of calls; what it says is nobody else's.
            Err(failure) => match failure.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Error::Stopping),
            },
        }
    }
}
