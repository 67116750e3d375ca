//! What the simulated Vault holds, how it fails when told to, and what time does to it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    access::{handle::LeaseId, id::GrantId},
    vault::{MissingCapability, Outcome, VaultError},
};

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

/// Whether a call that fails did its work all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It did, and only the answer was lost.
    Happened,
    /// It did not.
    DidNot,
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
    /// The grant whose token made it.
    pub grant: GrantId,
    /// When Vault issued it.
    pub issued_at: DateTime<Utc>,
    /// When it expires unless its token does so before.
    pub expires_at: DateTime<Utc>,
}

#[derive(Default)]
pub(super) struct State {
    /// By accessor.
    pub(super) tokens: BTreeMap<String, Token>,
    /// By id, each with its token's accessor.
    pub(super) leases: BTreeMap<String, (LiveLease, String)>,
    /// By accessor.
    pub(super) wrappings: BTreeMap<String, Wrapping>,
    /// Whose handle it is or was.
    pub(super) owners: BTreeMap<String, GrantId>,
    pub(super) calls: Vec<Call>,
    /// What the next call of a kind runs into; without an outcome it never returns.
    pub(super) faults: BTreeMap<Operation, Vec<(Option<Outcome>, Effect)>>,
    pub(super) down: bool,
    pub(super) targets_down: BTreeSet<String>,
    pub(super) missing: Vec<MissingCapability>,
    /// How far Vault's clock is ahead.
    pub(super) ahead: TimeDelta,
}

pub(super) struct Token {
    pub(super) secret: String,
    pub(super) grant: GrantId,
    pub(super) expires_at: DateTime<Utc>,
}

pub(super) struct Wrapping {
    pub(super) secret: String,
    pub(super) lease: LeaseId,
    pub(super) expires_at: DateTime<Utc>,
}

impl State {
    pub(super) fn expire(&mut self, now: DateTime<Utc>) {
        if self.down {
            return;
        }
        self.wrappings.retain(|_, wrapping| now < wrapping.expires_at);
        let Self { tokens, leases, targets_down, .. } = self;
        for (lease, accessor) in leases.values_mut() {
            let token_ends_at = tokens.get(accessor).map_or(lease.expires_at, |token| token.expires_at);
            if token_ends_at <= now {
                lease.expires_at = lease.expires_at.min(token_ends_at);
            }
        }
        tokens.retain(|_, token| now < token.expires_at);
        leases.retain(|_, (lease, _)| now < lease.expires_at || targets_down.contains(&lease.path));
    }

    /// Does the call; none if it never returns.
    pub(super) fn call<T>(
        &mut self,
        call: Call,
        act: impl FnOnce(&mut Self) -> Result<T, VaultError>,
    ) -> Option<Result<T, VaultError>> {
        self.calls.push(call);
        if self.down {
            return Some(Err(error("Vault is down", Outcome::Unknown)));
        }
        let Some((outcome, effect)) = self.faults.get_mut(&call.operation).and_then(next) else {
            return Some(act(self));
        };
        if effect == Effect::Happened {
            act(self).ok();
        }
        outcome.map(|outcome| Err(error("told to fail", outcome)))
    }
}

fn next<T>(queue: &mut Vec<T>) -> Option<T> {
    (!queue.is_empty()).then(|| queue.remove(0))
}

pub(super) fn error(reason: &str, outcome: Outcome) -> VaultError {
    VaultError { operation: "simulated call", reason: reason.to_owned(), outcome }
}
