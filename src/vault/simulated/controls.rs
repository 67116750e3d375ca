//! What a test does to the simulated Vault, and what it can see there that the daemon can't.

use std::sync::PoisonError;

use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};

use super::{
    LEASE_TTL, SimulatedIssuer,
    chance::{Chance, Chaos},
    state::{
        ACCOUNT_SLACK, Account, Call, Condition, Effect, Fault, LATE, Lease, LiveLease, Operation, Wrapping,
    },
    worker::Worker,
};
use crate::{
    access::{
        handle::{Accessor, LeaseId},
        id::GrantId,
    },
    vault::{MissingCapability, Outcome},
};

/// Faults, and what happens around.
impl SimulatedIssuer {
    /// Lets the next call of this kind fail with this outcome. Several wait in line.
    pub fn fail_next(&self, operation: Operation, outcome: Outcome, effect: Effect) {
        self.fault(operation, Some(outcome), effect);
    }

    /// Lets the next call of this kind never return, as a crash would find it.
    pub fn stall_next(&self, operation: Operation, effect: Effect) {
        self.fault(operation, None, effect);
    }

    fn fault(&self, operation: Operation, outcome: Option<Outcome>, effect: Effect) {
        let fault = Fault { outcome, effect, late: LATE };
        self.state().faults.entry(operation).or_default().push(fault);
    }

    /// Lets this share of all further calls fail, in one of the ways that [`Effect`] lists; the same calls in the same
    /// way for the same seed. 0 ends it. What [`SimulatedIssuer::fail_next`] says comes first.
    pub fn set_chaos(&self, seed: u64, per_mille: u16) {
        self.state().chaos = Chaos { chance: Chance(seed), per_mille };
    }

    /// Sets how long Vault's own worker takes at most until it comes to what is queued for revocation; chance says how
    /// long each time, and how long the pauses between tries are. Until this is called
    /// it comes a millisecond later.
    pub fn worker_delay(&self, seed: u64, max: TimeDelta) {
        self.state().worker = Worker { chance: Chance(seed), delay_max: max };
    }

    /// Takes Vault down, or up again. Down, it answers nobody, and nothing ends or is revoked. Up again, it does what
    /// has come due meanwhile.
    pub fn down(&self, down: bool) {
        self.become_(if down { Condition::Down } else { Condition::Up });
    }

    /// Seals Vault, or unseals it. Sealed, it refuses everything, and otherwise it is as if it were down.
    pub fn seal(&self, sealed: bool) {
        self.become_(if sealed { Condition::Sealed } else { Condition::Up });
    }

    fn become_(&self, condition: Condition) {
        let now = self.clock.now();
        let mut state = self.state();
        if state.condition == condition {
            return;
        }
        state.condition = condition;
        match condition {
            Condition::Up => state.come_up(now),
            // What was under way is lost.
            Condition::Down | Condition::Sealed => state.late.clear(),
        }
    }

    /// Takes the target behind a credential path down, or up again.
    pub fn target_down(&self, path: &str, down: bool) {
        let mut state = self.state();
        if down {
            state.targets_down.insert(path.into())
        } else {
            state.targets_down.remove(path)
        };
    }

    /// Makes a lease below a credential path, as another program does that reads it too.
    pub fn foreign_lease(&self, path: &str) -> LeaseId {
        let (id, now) = (LeaseId::new(self.fresh(&format!("{path}/"))), self.clock.now());
        let expires_at = now + LEASE_TTL;
        let lease = LiveLease {
            id: id.clone(),
            path: path.to_owned(),
            grant: None,
            issued_at: now,
            expires_at,
            ending: false,
            given_up: false,
        };
        self.state().leases.insert(id.expose().to_owned(), Lease::held(lease, String::new()));
        id
    }

    /// Revokes a lease behind the daemon's back. False if it isn't there, or if that can't be done now.
    pub fn revoke_outside(&self, lease: &LeaseId) -> bool {
        let mut state = self.state();
        let path = state.leases.get(lease.expose()).map(|lease| lease.live.path.clone());
        let can = path.is_some_and(|path| !state.targets_down.contains(&path));
        let can = can && state.condition == Condition::Up;
        can && state.leases.remove(lease.expose()).is_some()
    }

    /// What the holder does with the wrapping token, or whoever else got it: works once. Says the lease of the
    /// credential.
    #[must_use]
    pub fn unwrap(&self, token: &SecretString) -> Option<LeaseId> {
        let mut state = self.state();
        if state.condition != Condition::Up {
            return None;
        }
        let is_it = |wrapping: &Wrapping| wrapping.secret == token.expose_secret();
        let accessor =
            state.wrappings.iter().find(|(_, w)| is_it(w)).map(|(accessor, _)| accessor.clone())?;
        state.wrappings.remove(&accessor).map(|wrapping| wrapping.lease)
    }

    /// Sets what [`Issuer::missing`](crate::vault::Issuer::missing) answers.
    pub fn set_missing(&self, missing: Vec<MissingCapability>) {
        self.state().missing = missing;
    }

    /// Sets how far Vault's clock is ahead of the daemon's; behind, if negative. Only
    /// [`Issuer::time`](crate::vault::Issuer::time) tells: expiry goes by the daemon's clock.
    pub fn clock_ahead(&self, by: TimeDelta) {
        self.state().ahead = by;
    }

    /// Has each call shown to `watcher` before anything is done.
    pub fn on_call(&self, watcher: impl Fn(&Call) + Send + Sync + 'static) {
        *self.watcher.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(watcher));
    }
}

/// What is really there.
impl SimulatedIssuer {
    /// The calls so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// The leases that exist, queued for revocation or not.
    #[must_use]
    pub fn live_leases(&self) -> Vec<LiveLease> {
        self.state().leases.values().map(Lease::seen).collect()
    }

    /// The accounts that exist at the targets, whether or not anybody has opened their credentials.
    #[must_use]
    pub fn accounts(&self) -> Vec<Account> {
        let account = |lease: LiveLease| Account {
            usable_until: lease.expires_at + ACCOUNT_SLACK,
            lease: lease.id,
            path: lease.path,
            grant: lease.grant,
        };
        self.live_leases().into_iter().map(account).collect()
    }

    /// The grants' tokens that live, with the grant that each was made for.
    #[must_use]
    pub fn live_tokens(&self) -> Vec<(Accessor, GrantId)> {
        let state = self.state();
        state.tokens.iter().map(|(accessor, token)| (Accessor::new(accessor), token.grant)).collect()
    }

    /// How many wrapped credentials nobody opened yet.
    #[must_use]
    pub fn live_wrappings(&self) -> usize {
        self.state().wrappings.len()
    }
}
