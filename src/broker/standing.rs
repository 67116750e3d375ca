//! How the log stands, and what that means for claims: a log that isn't what was signed, or that a witness contradicts, is no
//! place to record a grant in. What ends access asks nothing here (I7).
//!
//! ```text
//! start --check the log, ask each witness once--> whole ----> claims go on
//!                          |                        |
//!                          '-- it was changed: broken, until a restart finds it whole
//!                          '-- a witness knows more, or another log: contradicted, until the log has another origin
//! ```

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch as channel;
use tracing::error;

use super::{Broker, Error, notary::Notary};
use crate::{
    access::{
        actor::Actor,
        event::{About, Event, Fact},
        refusal::Refusal,
        target::Target,
    },
    store::Write,
};

/// How long a claim waits for the look at the log that each start begins with: longer than a witness that hangs is waited
/// for.
const PATIENCE: Duration = Duration::from_secs(20);

/// How far a witness's clock may be ahead. What says a later time would count for longer than it is worth.
pub(super) const AHEAD_MAX: TimeDelta = TimeDelta::minutes(5);

/// How a witness contradicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contradiction {
    /// It knows a larger log: events are gone, as after a restore.
    Behind,
    /// It knows another log.
    Forked,
}

impl Contradiction {
    const fn name(self) -> &'static str {
        match self {
            Self::Behind => "BEHIND",
            Self::Forked => "FORKED",
        }
    }
}

/// What is known of the log.
#[derive(Debug)]
pub(super) struct Standing {
    known: Mutex<Known>,
    /// The size of the last checkpoint, for those who wait for the next.
    signed: channel::Sender<u64>,
    /// Whether the start's look at the log is over.
    begun: channel::Sender<bool>,
}

#[derive(Debug, Default)]
struct Known {
    is_checked: bool,
    /// What is wrong with the stored log.
    broken: Option<String>,
    /// The witnesses that weren't asked yet since the start.
    unasked: BTreeSet<String>,
    /// Which witnesses contradict, and how it is told.
    contradicted: Vec<(String, String)>,
    /// Whether Vault and the records have to be compared first.
    is_unreconciled: bool,
}

impl Standing {
    pub(super) fn new(notary: &Notary) -> Self {
        let mut known = Known {
            unasked: notary.witnesses.iter().map(|witness| witness.name().to_owned()).collect(),
            ..Known::default()
        };
        if let Some((sequence, detail)) = &notary.past.contradicted {
            let said =
                |field: &str| detail.get(field).and_then(serde_json::Value::as_str).unwrap_or_default();
            if said("origin") == notary.origin {
                let told =
                    format!("the witness {} contradicted it, and that wasn't acknowledged", said("witness"));
                known.contradicted.push((said("witness").to_owned(), told));
            }
            known.is_unreconciled = notary.past.reconciled.as_ref().is_none_or(|(reconciled, detail)| {
                let is_whole = detail.get("unanswered").and_then(serde_json::Value::as_array);
                reconciled < sequence || is_whole.is_none_or(|unanswered| !unanswered.is_empty())
            });
        }
        let begun = notary.signer.is_none();
        Self { known: Mutex::new(known), signed: channel::Sender::new(0), begun: channel::Sender::new(begun) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log was found to be whole.
    pub(super) fn is_whole(&self) {
        self.known().is_checked = true;
        self.tell_begun();
    }

    /// The log isn't what was signed. Only a restart forgets that.
    pub(super) fn is_broken(&self, problem: &str) {
        {
            let mut known = self.known();
            known.is_checked = true;
            known.broken.get_or_insert_with(|| problem.to_owned());
        }
        self.tell_begun();
    }

    pub(super) fn broken(&self) -> Option<String> {
        self.known().broken.clone()
    }

    /// A witness was asked, whatever it said.
    pub(super) fn asked(&self, witness: &str) {
        self.known().unasked.remove(witness);
        self.tell_begun();
    }

    /// A checkpoint of this size was stored.
    pub(super) fn signed(&self, size: u64) {
        self.signed.send_if_modified(|signed| std::mem::replace(signed, size) != size);
    }

    /// Vault and the records were compared, and Vault answered everything.
    pub(super) fn reconciled(&self) {
        self.known().is_unreconciled = false;
    }

    fn tell_begun(&self) {
        let is_begun = {
            let known = self.known();
            known.is_checked && known.unasked.is_empty()
        };
        if is_begun {
            self.begun.send_replace(true);
        }
    }

    /// Whether this is news of this witness.
    fn contradict(&self, witness: &str, told: &str) -> bool {
        let mut known = self.known();
        known.is_unreconciled = true;
        let is_new = !known.contradicted.iter().any(|(name, _)| name == witness);
        if is_new {
            known.contradicted.push((witness.to_owned(), told.to_owned()));
        }
        is_new
    }

    /// What stands in the way of any grant.
    pub(super) fn problem(&self) -> Option<String> {
        let known = self.known();
        if let Some(problem) = &known.broken {
            return Some(format!("the audit log was changed ({problem})"));
        }
        if let Some((_, told)) = known.contradicted.first() {
            return Some(format!("the audit log isn't the one that is witnessed: {told}"));
        }
        let unreconciled =
            "Vault and the records have to be compared first, because the audit log was contradicted";
        known.is_unreconciled.then(|| unreconciled.to_owned())
    }
}

impl Broker {
    /// Refuses where the log isn't one to record a grant in.
    pub(super) async fn must_be_provable(&self, target: &Target) -> Result<(), Error> {
        if self.notary.signer.is_none() {
            return Ok(());
        }
        let mut begun = self.standing.begun.subscribe();
        let is_begun = tokio::select! {
            biased;
            done = begun.wait_for(|begun| *begun) => done.is_ok(),
            () = self.clock.sleep(PATIENCE) => false,
        };
        let unchecked = || Some("the audit log is still being checked, as at each start".to_owned());
        let problem = self.standing.problem().or_else(|| if is_begun { None } else { unchecked() });
        if let Some(problem) = problem {
            return Err(Error::LedgerBlocked { name: format!("targets/{}", target.name), problem });
        }
        self.must_be_cosigned(target).await
    }

    /// Refuses if no witness has cosigned the log for longer than the target allows.
    async fn must_be_cosigned(&self, target: &Target) -> Result<(), Error> {
        let Some(within) = target.cosigned_within else { return Ok(()) };
        let last = self.store.ledger().last_cosigned_at().await?;
        let within_delta = TimeDelta::from_std(within).unwrap_or(TimeDelta::MAX);
        let is_fresh = |at: DateTime<Utc>| self.clock.now() - at <= within_delta;
        if last.is_some_and(is_fresh) {
            return Ok(());
        }
        let refusal = Refusal::NotCosigned { within, last };
        Err(Error::Refused { name: format!("targets/{}", target.name), refusal })
    }

    /// Tells of a witness that contradicts the log, once, and lets nothing more be granted.
    pub(super) async fn contradicted(
        &self,
        witness: &str,
        how: Contradiction,
        size: u64,
        known: Option<u64>,
    ) {
        let told = match (how, known) {
            (Contradiction::Behind, Some(known)) => {
                format!("the witness {witness} knows {known} events of it, and there are {size} here")
            }
            _ => format!("the witness {witness} knows another log of that name"),
        };
        if !self.standing.contradict(witness, &told) {
            return;
        }
        error!(
            "event.action" = "ledger-contradicted",
            "hallpass.witness.name" = witness,
            "hallpass.ledger.origin" = self.notary.origin,
            "hallpass.ledger.size" = size,
            "hallpass.witness.size" = known,
            "hallpass.problem" = how.name(),
            "a witness contradicts the audit log, so nothing more is granted: {told}"
        );
        let fact = Fact::LedgerContradicted {
            origin: self.notary.origin.clone(),
            witness: witness.to_owned(),
            problem: how.name(),
            size,
            witness_size: known,
        };
        let event = Event { at: self.clock.now(), actor: Actor::Daemon, about: About::default(), fact };
        if let Err(failure) = self.commit(&[Write::Fact(&event)]).await {
            let failure: &dyn std::error::Error = &failure;
            error!(
                "event.action" = "ledger-contradicted",
                error = failure,
                "that a witness contradicts the audit log can't be recorded"
            );
        }
        self.reconciliation_wanted.notify_one();
    }

    /// Returns when Vault and the records should be compared at once.
    pub async fn reconciliation_wanted(&self) {
        self.reconciliation_wanted.notified().await;
    }

    /// The size of the last checkpoint, and those to come.
    #[must_use]
    pub fn signed_sizes(&self) -> channel::Receiver<u64> {
        self.standing.signed.subscribe()
    }
}
