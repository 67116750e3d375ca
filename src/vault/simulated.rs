//! A Vault in memory, for tests and simulations: it keeps tokens, wrappings and leases by a [`Clock`] and can be told to
//! fail. It holds no secret that opens anything.
//!
//! It keeps the traps of the real one, and doesn't do what the real one only does sooner or later:
//!
//! - Revoking a token leaves its leases until each is revoked; a token that expires takes them with it.
//! - A wrapping is an orphan: it outlives the token that read it.
//! - A lease that never was looks like one that is gone.
//! - While a target is down its leases can be neither revoked nor expire; while Vault is down nothing happens at all.
//! - A lease first lasts as long as its role says, however short its token's TTL.

mod state;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};

pub use self::state::{Call, Effect, LiveLease, Operation};
use self::state::{State, Token, Wrapping, error};
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

    /// Lets the next call of this kind fail with this outcome. Several wait in line.
    pub fn fail_next(&self, operation: Operation, outcome: Outcome, effect: Effect) {
        self.state().faults.entry(operation).or_default().push((Some(outcome), effect));
    }

    /// Lets the next call of this kind never return, as a crash would find it.
    pub fn stall_next(&self, operation: Operation, effect: Effect) {
        self.state().faults.entry(operation).or_default().push((None, effect));
    }

    /// Takes Vault down, or up again.
    pub fn down(&self, down: bool) {
        self.state().down = down;
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

    /// Sets what [`Issuer::missing`] answers.
    pub fn set_missing(&self, missing: Vec<MissingCapability>) {
        self.state().missing = missing;
    }

    /// Sets how far Vault's clock is ahead of the daemon's; behind, if negative. Only [`Issuer::time`] tells: expiry
    /// goes by the daemon's clock.
    pub fn clock_ahead(&self, by: TimeDelta) {
        self.state().ahead = by;
    }

    /// Has each call shown to `watcher` before anything is done.
    pub fn on_call(&self, watcher: impl Fn(&Call) + Send + Sync + 'static) {
        *self.watcher.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(watcher));
    }

    /// The calls so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// The leases that exist, queued for revocation or not.
    #[must_use]
    pub fn live_leases(&self) -> Vec<LiveLease> {
        self.state().leases.values().map(|(lease, _)| lease.clone()).collect()
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

    /// What the holder does with the wrapping token: works once. Says the lease of the credential.
    #[must_use]
    pub fn unwrap(&self, token: &SecretString) -> Option<LeaseId> {
        let mut state = self.state();
        let is_it = |wrapping: &Wrapping| wrapping.secret == token.expose_secret();
        let accessor =
            state.wrappings.iter().find(|(_, w)| is_it(w)).map(|(accessor, _)| accessor.clone())?;
        state.wrappings.remove(&accessor).map(|wrapping| wrapping.lease)
    }

    /// The state as it is now: what expired is gone.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.expire(self.clock.now());
        state
    }

    fn fresh(&self, kind: &str) -> String {
        format!("{kind}{:032x}", self.clock.random())
    }

    async fn call<T: Send>(
        &self,
        operation: Operation,
        grant: Option<GrantId>,
        act: impl FnOnce(&mut State) -> Result<T, VaultError> + Send,
    ) -> Result<T, VaultError> {
        // As over a network, others get their turn.
        tokio::task::yield_now().await;
        let call = Call { operation, grant, at: self.clock.now() };
        if let Some(watcher) = &*self.watcher.lock().unwrap_or_else(PoisonError::into_inner) {
            watcher(&call);
        }
        let result = self.state().call(call, act);
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
        let expires_at = self.clock.now() + delta(ttl);
        self.call(Operation::Mint, Some(grant), |state| {
            state.owners.insert(accessor.clone(), grant);
            state.tokens.insert(accessor.clone(), Token { secret: secret.clone(), grant, expires_at });
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
        let accessor = token.accessor.expose().to_owned();
        let (secret, wrapping) = (self.fresh("wrapping-"), self.fresh("wrapping-accessor-"));
        let (id, now) = (self.fresh(&format!("{path}/")), self.clock.now());
        self.call(Operation::ReadWrapped, self.owner(&accessor), |state| {
            let live = state.tokens.get(&accessor).filter(|t| t.secret == token.token.expose_secret());
            let grant = live.ok_or_else(|| error("permission denied", Outcome::Refused))?.grant;
            if state.targets_down.contains(path) {
                return Err(error("the database is down", Outcome::Unknown));
            }
            let lease = LeaseId::new(&id);
            let (path, creation_path, expires_at) = (path.to_owned(), path.to_owned(), now + LEASE_TTL);
            let live = LiveLease { id: lease.clone(), path, grant, issued_at: now, expires_at };
            state.owners.extend([(id.clone(), grant), (wrapping.clone(), grant)]);
            state.leases.insert(id, (live, accessor));
            let kept =
                Wrapping { secret: secret.clone(), lease: lease.clone(), expires_at: now + delta(wrap_ttl) };
            state.wrappings.insert(wrapping.clone(), kept);
            Ok(Wrapped { token: secret.into(), accessor: Accessor::new(wrapping), creation_path, lease })
        })
        .await
    }

    async fn shorten(&self, token: &Accessor, lease: &LeaseId, left: Duration) -> Result<(), VaultError> {
        let end = self.clock.now() + delta(Duration::from_secs(left.as_secs()));
        self.call(Operation::Shorten, self.owner(token.expose()), |state| {
            let token = state.tokens.get_mut(token.expose());
            let lease = state.leases.get_mut(lease.expose());
            let (Some(token), Some((lease, _)), 1..) = (token, lease, left.as_secs()) else {
                return Err(error("gone, or no time left", Outcome::Refused));
            };
            (token.expires_at, lease.expires_at) = (end, end);
            Ok(())
        })
        .await
    }

    async fn revoke_wrapping(&self, wrapping: &Accessor) -> Result<(), VaultError> {
        self.call(Operation::RevokeWrapping, self.owner(wrapping.expose()), |state| {
            state.wrappings.remove(wrapping.expose());
            Ok(())
        })
        .await
    }

    async fn revoke_token(&self, token: &Accessor) -> Result<(), VaultError> {
        self.call(Operation::RevokeToken, self.owner(token.expose()), |state| {
            state.tokens.remove(token.expose());
            Ok(())
        })
        .await
    }

    async fn revoke_lease(&self, lease: &LeaseId) -> Result<(), VaultError> {
        self.call(Operation::RevokeLease, self.owner(lease.expose()), |state| {
            let path = state.leases.get(lease.expose()).map(|(lease, _)| &lease.path);
            if path.is_some_and(|path| state.targets_down.contains(path)) {
                return Err(error("the database is down", Outcome::Refused));
            }
            state.leases.remove(lease.expose());
            Ok(())
        })
        .await
    }

    async fn lease_gone(&self, lease: &LeaseId) -> Result<bool, VaultError> {
        let gone = |state: &mut State| Ok(!state.leases.contains_key(lease.expose()));
        self.call(Operation::LeaseGone, self.owner(lease.expose()), gone).await
    }

    async fn lease_ids(&self, path: &str) -> Result<BTreeSet<LeaseId>, VaultError> {
        self.call(Operation::Leases, None, |state| {
            let below = state.leases.values().filter(|(lease, _)| lease.path == path);
            Ok(below.map(|(lease, _)| lease.id.clone()).collect())
        })
        .await
    }

    async fn leases(&self, path: &str) -> Result<Vec<LeaseSeen>, VaultError> {
        self.call(Operation::Leases, None, |state| {
            let below = state.leases.values().filter(|(lease, _)| lease.path == path);
            let seen =
                |l: &LiveLease| LeaseSeen { id: l.id.clone(), issued_at: l.issued_at, given_up: false };
            Ok(below.map(|(lease, _)| seen(lease)).collect())
        })
        .await
    }

    async fn wrapping_unopened(&self, wrapping: &Accessor) -> Result<bool, VaultError> {
        let unopened = |state: &mut State| Ok(state.wrappings.contains_key(wrapping.expose()));
        self.call(Operation::WrappingUnopened, self.owner(wrapping.expose()), unopened).await
    }

    async fn gave_up(&self) -> Result<BTreeMap<String, u64>, VaultError> {
        self.call(Operation::GaveUp, None, |_| Ok(BTreeMap::new())).await
    }

    async fn time(&self) -> Result<DateTime<Utc>, VaultError> {
        let now = self.clock.now();
        self.call(Operation::Time, None, |state| Ok(now + state.ahead)).await
    }

    async fn missing(&self, _paths: &[&str]) -> Result<Vec<MissingCapability>, VaultError> {
        self.call(Operation::Missing, None, |state| Ok(state.missing.clone())).await
    }
}
