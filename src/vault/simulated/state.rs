//! What the simulated Vault holds, and how it fails when told to.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    chance::Chaos,
    worker::{Fate, Worker},
};
use crate::{
    access::{handle::LeaseId, id::GrantId},
    vault::{MissingCapability, Outcome, VaultError},
};

/// How late the effect of a call comes that was told to be late: before Vault itself would give the call up.
pub const LATE: TimeDelta = TimeDelta::seconds(60);

/// How much longer than its lease an account lets its holder in, where the target itself looks at the clock.
pub const ACCOUNT_SLACK: TimeDelta = TimeDelta::seconds(5);

/// The verbs of [`Issuer`](crate::vault::Issuer).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the method of the same name")]
pub enum Operation {
    Mint,
    ReadWrapped,
    Shorten,
    RevokeWrapping,
    RevokeToken,
    RevokeLease,
    LeaseGone,
    Leases,
    WrappingUnopened,
    GaveUp,
    Time,
    Missing,
}

/// Whether a call that fails did its work all the same. What goes together:
///
/// | outcome | effect | as in |
/// |---|---|---|
/// | refused | did not | no connection; denied; sealed; the rate limit |
/// | unknown | did not | reset on the way there; a proxy's error |
/// | unknown | happened | the answer was lost |
/// | unknown | later | a time-out: Vault goes on working on it |
///
/// A refusal with any other effect would be a lie that Vault doesn't tell; don't ask for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It did, and only the answer was lost.
    Happened,
    /// It did not.
    DidNot,
    /// It will, after [`LATE`], even if the token that it went with has ended meanwhile: that was looked at first. Not if
    /// Vault goes down or is sealed before.
    Later,
}

/// One call, in the order of arrival, whatever became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// What was called.
    pub operation: Operation,
    /// The grant that it was about, if the call or its handle tells.
    pub grant: Option<GrantId>,
    /// When.
    pub at: DateTime<Utc>,
}

/// A lease that exists: somebody may be using the account behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveLease {
    /// Its id.
    pub id: LeaseId,
    /// The credential path.
    pub path: String,
    /// The grant whose token made it; none if another program did.
    pub grant: Option<GrantId>,
    /// When Vault issued it.
    pub issued_at: DateTime<Utc>,
    /// When it expires unless its token does so before.
    pub expires_at: DateTime<Utc>,
    /// Whether Vault has ended it, so that it isn't held any more but waits to be revoked.
    pub ending: bool,
    /// Whether Vault gave up on revoking it and tries only once a day.
    pub given_up: bool,
}

/// An account at a target, which is there as long as its lease is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The lease that it hangs on.
    pub lease: LeaseId,
    /// The credential path.
    pub path: String,
    /// The grant that it was made for; none if another program's.
    pub grant: Option<GrantId>,
    /// Until when the target lets its holder in, whatever becomes of the lease.
    pub usable_until: DateTime<Utc>,
}

/// What a call runs into; without an outcome it never returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) outcome: Option<Outcome>,
    pub(super) effect: Effect,
    pub(super) late: TimeDelta,
}

/// Whether Vault works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Condition {
    #[default]
    Up,
    /// Nobody answers.
    Down,
    /// Everything is refused.
    Sealed,
}

/// What a call does to the state, at a time.
pub(super) type Act = Box<dyn FnOnce(&mut State, DateTime<Utc>) + Send>;

#[derive(Default)]
pub(super) struct State {
    /// By accessor.
    pub(super) tokens: BTreeMap<String, Token>,
    /// By id.
    pub(super) leases: BTreeMap<String, Lease>,
    /// By accessor.
    pub(super) wrappings: BTreeMap<String, Wrapping>,
    /// Whose handle it is or was.
    pub(super) owners: BTreeMap<String, GrantId>,
    pub(super) calls: Vec<Call>,
    /// What the next calls of a kind run into.
    pub(super) faults: BTreeMap<Operation, Vec<Fault>>,
    pub(super) chaos: Chaos,
    /// Effects that are still to come, by their time and a number.
    pub(super) late: BTreeMap<(DateTime<Utc>, usize), Act>,
    pub(super) condition: Condition,
    /// Since when it works, if it ever didn't.
    pub(super) up_since: Option<DateTime<Utc>>,
    pub(super) worker: Worker,
    pub(super) targets_down: BTreeSet<String>,
    pub(super) missing: Vec<MissingCapability>,
    /// How far Vault's clock is ahead.
    pub(super) ahead: TimeDelta,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

pub(super) struct Token {
    pub(super) secret: String,
    pub(super) grant: GrantId,
    pub(super) expires_at: DateTime<Utc>,
}

pub(super) struct Lease {
    pub(super) live: LiveLease,
    /// The accessor of the token that made it.
    pub(super) token: String,
    pub(super) fate: Fate,
}

impl Lease {
    pub(super) fn held(live: LiveLease, token: String) -> Self {
        Self { live, token, fate: Fate::Held }
    }

    pub(super) fn seen(&self) -> LiveLease {
        let (ending, given_up) = (self.fate != Fate::Held, matches!(self.fate, Fate::GivenUp { .. }));
        LiveLease { ending, given_up, ..self.live.clone() }
    }
}

pub(super) struct Wrapping {
    pub(super) secret: String,
    pub(super) lease: LeaseId,
    pub(super) expires_at: DateTime<Utc>,
}

impl State {
    /// Does the call if Vault is there and lets it in; none if it never returns.
    pub(super) fn call<T: 'static>(
        &mut self,
        call: Call,
        admit: impl FnOnce(&Self) -> Result<(), VaultError>,
        act: impl FnOnce(&mut Self, DateTime<Utc>) -> Result<T, VaultError> + Send + 'static,
    ) -> Option<Result<T, VaultError>> {
        self.calls.push(call);
        match self.condition {
            Condition::Up => {}
            Condition::Down => return Some(Err(error("Vault is down", Outcome::Unknown))),
            Condition::Sealed => return Some(Err(error("Vault is sealed", Outcome::Refused))),
        }
        let told = self.faults.get_mut(&call.operation).and_then(next);
        let fault = told.or_else(|| self.chaos.strike());
        let admitted = admit(self);
        let Some(fault) = fault else { return Some(admitted.and_then(|()| act(self, call.at))) };
        match (admitted, fault.effect) {
            (Err(_), _) | (_, Effect::DidNot) => {}
            (Ok(()), Effect::Happened) => {
                act(self, call.at).ok();
            }
            (Ok(()), Effect::Later) => {
                let key = (call.at + fault.late, self.calls.len());
                self.late.insert(key, Box::new(move |state, at| drop(act(state, at))));
            }
        }
        fault.outcome.map(|outcome| Err(error("told to fail", outcome)))
    }
}

fn next<T>(queue: &mut Vec<T>) -> Option<T> {
    (!queue.is_empty()).then(|| queue.remove(0))
}

pub(super) fn error(reason: &str, outcome: Outcome) -> VaultError {
    VaultError { operation: "simulated call", reason: reason.to_owned(), outcome }
}
