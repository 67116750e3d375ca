//! A Vault in memory, for tests and simulations: it keeps tokens, wrappings and leases by a [`Clock`] and can be told to
//! fail. It holds no secret that opens anything, and the same calls at the same times come to the same end.
//!
//! It keeps the traps of the real one:
//!
//! - Revoking a token only queues its leases, and so does expiry: each stays listed, with its account alive, until
//!   Vault's worker comes to it, which is never at the same instant.
//! - While a target is down its leases can't be revoked. Vault tries six times over some minutes, gives up, and tries
//!   once a day. A revocation that is asked for works at any time.
//! - While Vault is down or sealed nothing ends at all.
//! - A wrapping is an orphan: it outlives the token that read it.
//! - A lease that never was looks like one that is gone.
//! - A lease first lasts as long as its role says, however short its token's TTL.
//! - A call that nobody waits for any more may still be done, even if its token has ended meanwhile.

mod chance;
mod controls;
mod state;
mod worker;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::ExposeSecret;

pub use self::state::{ACCOUNT_SLACK, Account, Call, Effect, LATE, LiveLease, Operation};
use self::state::{Lease, State, Token, Wrapping, error};
use super::{GrantToken, Issuer, LeaseSeen, MissingCapability, Outcome, VaultError, Wrapped};
use crate::{
    access::{
        handle::{Accessor, LeaseId},
        id::GrantId,
    },
    clock::Clock,
};

/// How long a lease lasts unless it is shortened: the role's default TTL.
pub const LEASE_TTL: TimeDelta = TimeDelta::hours(8);

type Watcher = Box<dyn Fn(&Call) + Send + Sync>;

/// A Vault in memory. Share it in an `Arc`.
pub struct SimulatedIssuer {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    watcher: Mutex<Option<Watcher>>,
}

impl fmt::Debug for SimulatedIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedIssuer").finish_non_exhaustive()
    }
}

impl SimulatedIssuer {
    /// An empty one.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default(), watcher: Mutex::default() }
    }

    /// The state as it is now: what was due is done.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.advance(self.clock.now());
        state
    }

    fn fresh(&self, kind: &str) -> String {
        format!("{kind}{:032x}", self.clock.random())
    }

    async fn call<T: Send + 'static>(
        &self,
        operation: Operation,
        grant: Option<GrantId>,
        act: impl FnOnce(&mut State, DateTime<Utc>) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, VaultError> {
        self.call_if(operation, grant, |_| Ok(()), act).await
    }

    /// Does a call that `admit` lets in when it arrives.
    async fn call_if<T: Send + 'static>(
        &self,
        operation: Operation,
        grant: Option<GrantId>,
        admit: impl FnOnce(&State) -> Result<(), VaultError> + Send,
        act: impl FnOnce(&mut State, DateTime<Utc>) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, VaultError> {
        // As over a network, others get their turn.
        tokio::task::yield_now().await;
        let call = Call { operation, grant, at: self.clock.now() };
        if let Some(watcher) = &*self.watcher.lock().unwrap_or_else(PoisonError::into_inner) {
            watcher(&call);
        }
        let result = self.state().call(call, admit, act);
        match result {
            Some(result) => result,
            None => std::future::pending().await,
        }
    }

    fn owner(&self, handle: &str) -> Option<GrantId> {
        self.state().owners.get(handle).copied()
    }
}

fn delta(of: Duration) -> TimeDelta {
    TimeDelta::from_std(of).unwrap_or(TimeDelta::MAX)
}

#[async_trait]
impl Issuer for SimulatedIssuer {
    async fn mint(&self, grant: GrantId, _policy: &str, ttl: Duration) -> Result<GrantToken, VaultError> {
        let (secret, accessor) = (self.fresh("token-"), self.fresh("accessor-"));
        self.call(Operation::Mint, Some(grant), move |state, at| {
            let token = Token { secret: secret.clone(), grant, expires_at: at + delta(ttl) };
            state.owners.insert(accessor.clone(), grant);
            state.tokens.insert(accessor.clone(), token);
            Ok(GrantToken { token: secret.into(), accessor: Accessor::new(accessor) })
        })
        .await
    }

    async fn read_wrapped(
        &self,
        token: GrantToken,
        path: &str,
        wrap_ttl: Duration,
    ) -> Result<Wrapped, VaultError> {
        let (accessor, path) = (token.accessor.expose().to_owned(), path.to_owned());
        let (secret, wrapping) = (self.fresh("wrapping-"), self.fresh("wrapping-accessor-"));
        let (id, owner) = (LeaseId::new(self.fresh(&format!("{path}/"))), self.owner(&accessor));
        let admit = |state: &State| {
            let live = state.tokens.get(token.accessor.expose());
            let live = live.filter(|live| live.secret == token.token.expose_secret());
            live.map(|_| ()).ok_or_else(|| error("permission denied", Outcome::Refused))
        };
        self.call_if(Operation::ReadWrapped, owner, admit, move |state, at| {
            if state.targets_down.contains(&path) {
                return Err(error("the database is down", Outcome::Unknown));
            }
            let live = LiveLease {
                id: id.clone(),
                path: path.clone(),
                grant: owner,
                issued_at: at,
                expires_at: at + LEASE_TTL,
                ending: false,
                given_up: false,
            };
            if let Some(grant) = owner {
                state.owners.extend([(id.expose().to_owned(), grant), (wrapping.clone(), grant)]);
            }
            state.leases.insert(id.expose().to_owned(), Lease::held(live, accessor));
            let kept =
                Wrapping { secret: secret.clone(), lease: id.clone(), expires_at: at + delta(wrap_ttl) };
            state.wrappings.insert(wrapping.clone(), kept);
            let accessor = Accessor::new(wrapping);
            Ok(Wrapped { token: secret.into(), accessor, creation_path: path, lease: id })
        })
        .await
    }

    async fn shorten(&self, token: &Accessor, lease: &LeaseId, left: Duration) -> Result<(), VaultError> {
        let (owner, left) = (self.owner(token.expose()), left.as_secs());
        let (token, lease) = (token.clone(), lease.clone());
        self.call(Operation::Shorten, owner, move |state, at| {
            let end = at + delta(Duration::from_secs(left));
            let token = state.tokens.get_mut(token.expose());
            let lease = state.leases.get_mut(lease.expose());
            let (Some(token), Some(lease), 1..) = (token, lease, left) else {
                return Err(error("gone, or no time left", Outcome::Refused));
            };
            (token.expires_at, lease.live.expires_at) = (end, end);
            Ok(())
        })
        .await
    }

    async fn revoke_wrapping(&self, wrapping: &Accessor) -> Result<(), VaultError> {
        let (owner, wrapping) = (self.owner(wrapping.expose()), wrapping.clone());
        self.call(Operation::RevokeWrapping, owner, move |state, _| {
            state.wrappings.remove(wrapping.expose());
            Ok(())
        })
        .await
    }

    async fn revoke_token(&self, token: &Accessor) -> Result<(), VaultError> {
        let (owner, token) = (self.owner(token.expose()), token.clone());
        self.call(Operation::RevokeToken, owner, move |state, at| {
            state.end_token(token.expose(), at);
            Ok(())
        })
        .await
    }

    async fn revoke_lease(&self, lease: &LeaseId) -> Result<(), VaultError> {
        let (owner, lease) = (self.owner(lease.expose()), lease.clone());
        self.call(Operation::RevokeLease, owner, move |state, _| {
            let path = state.leases.get(lease.expose()).map(|lease| &lease.live.path);
            if path.is_some_and(|path| state.targets_down.contains(path)) {
                return Err(error("the database is down", Outcome::Refused));
            }
            state.leases.remove(lease.expose());
            Ok(())
        })
        .await
    }

    async fn lease_gone(&self, lease: &LeaseId) -> Result<bool, VaultError> {
        let (owner, lease) = (self.owner(lease.expose()), lease.clone());
        let gone = move |state: &mut State, _| Ok(!state.leases.contains_key(lease.expose()));
        self.call(Operation::LeaseGone, owner, gone).await
    }

    async fn lease_ids(&self, path: &str) -> Result<BTreeSet<LeaseId>, VaultError> {
        let path = path.to_owned();
        self.call(Operation::Leases, None, move |state, _| {
            let below = state.leases.values().filter(|lease| lease.live.path == path);
            Ok(below.map(|lease| lease.live.id.clone()).collect())
        })
        .await
    }

    async fn leases(&self, path: &str) -> Result<Vec<LeaseSeen>, VaultError> {
        let path = path.to_owned();
        self.call(Operation::Leases, None, move |state, _| {
            let below = state.leases.values().map(Lease::seen).filter(|lease| lease.path == path);
            let seen = |l: LiveLease| LeaseSeen { id: l.id, issued_at: l.issued_at, given_up: l.given_up };
            Ok(below.map(seen).collect())
        })
        .await
    }

    async fn wrapping_unopened(&self, wrapping: &Accessor) -> Result<bool, VaultError> {
        let (owner, wrapping) = (self.owner(wrapping.expose()), wrapping.clone());
        let unopened = move |state: &mut State, _| Ok(state.wrappings.contains_key(wrapping.expose()));
        self.call(Operation::WrappingUnopened, owner, unopened).await
    }

    async fn gave_up(&self) -> Result<BTreeMap<String, u64>, VaultError> {
        self.call(Operation::GaveUp, None, |state, _| {
            let mut counts = BTreeMap::new();
            for lease in state.leases.values().map(Lease::seen).filter(|lease| lease.given_up) {
                // Engines are mounted at a path's first part here.
                let mount = lease.path.split_inclusive('/').next().unwrap_or_default();
                *counts.entry(mount.to_owned()).or_default() += 1;
            }
            Ok(counts)
        })
        .await
    }

    async fn time(&self) -> Result<DateTime<Utc>, VaultError> {
        self.call(Operation::Time, None, |state, at| Ok(at + state.ahead)).await
    }

    async fn missing(&self, _paths: &[&str]) -> Result<Vec<MissingCapability>, VaultError> {
        self.call(Operation::Missing, None, |state, _| Ok(state.missing.clone())).await
    }
}
