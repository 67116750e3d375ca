//! The simulated Vault with gates before and behind it: on the network, calls and answers wait, fail, and get lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use hallpass::{
    access::{
        handle::{Accessor, LeaseId},
        id::GrantId,
    },
    vault::{
        GrantToken, Issuer, LeaseSeen, MissingCapability, Outcome, SimulatedIssuer, VaultError, Wrapped,
        simulated::Operation,
    },
};

use super::gates::{Gates, Point, Verdict};

/// See the module.
#[derive(Debug)]
pub struct GatedVault {
    vault: Arc<SimulatedIssuer>,
    gates: Arc<Gates>,
}

impl GatedVault {
    pub const fn new(vault: Arc<SimulatedIssuer>, gates: Arc<Gates>) -> Self {
        Self { vault, gates }
    }

    async fn call<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T, VaultError>> + Send,
    ) -> Result<T, VaultError> {
        let hold = match self.gates.wait(Point::Call(operation)).await {
            Verdict::Pass { hold } => hold,
            Verdict::Fail(outcome, effect) => {
                self.vault.fail_next(operation, outcome, effect);
                false
            }
            Verdict::Refuse | Verdict::Lose => return Err(lost()),
        };
        let at_work = self.gates.work();
        let answer = call.await;
        drop(at_work);
        if hold && self.gates.wait(Point::Answer(operation)).await == Verdict::Lose {
            return Err(lost());
        }
        answer
    }
}

fn lost() -> VaultError {
    VaultError { operation: "simulated call", reason: "no answer".to_owned(), outcome: Outcome::Unknown }
}

#[async_trait]
impl Issuer for GatedVault {
    async fn mint(&self, grant: GrantId, policy: &str, ttl: Duration) -> Result<GrantToken, VaultError> {
        self.call(Operation::Mint, self.vault.mint(grant, policy, ttl)).await
    }

    async fn read_wrapped(
        &self,
        token: GrantToken,
        path: &str,
        wrap_ttl: Duration,
    ) -> Result<Wrapped, VaultError> {
        self.call(Operation::ReadWrapped, self.vault.read_wrapped(token, path, wrap_ttl)).await
    }

    async fn shorten(&self, token: &Accessor, lease: &LeaseId, left: Duration) -> Result<(), VaultError> {
        self.call(Operation::Shorten, self.vault.shorten(token, lease, left)).await
    }

    async fn revoke_wrapping(&self, wrapping: &Accessor) -> Result<(), VaultError> {
        self.call(Operation::RevokeWrapping, self.vault.revoke_wrapping(wrapping)).await
    }

    async fn revoke_token(&self, token: &Accessor) -> Result<(), VaultError> {
        self.call(Operation::RevokeToken, self.vault.revoke_token(token)).await
    }

    async fn revoke_lease(&self, lease: &LeaseId) -> Result<(), VaultError> {
        self.call(Operation::RevokeLease, self.vault.revoke_lease(lease)).await
    }

    async fn lease_gone(&self, lease: &LeaseId) -> Result<bool, VaultError> {
        self.call(Operation::LeaseGone, self.vault.lease_gone(lease)).await
    }

    async fn lease_ids(&self, path: &str) -> Result<BTreeSet<LeaseId>, VaultError> {
        self.call(Operation::Leases, self.vault.lease_ids(path)).await
    }

    async fn leases(&self, path: &str) -> Result<Vec<LeaseSeen>, VaultError> {
        self.call(Operation::Leases, self.vault.leases(path)).await
    }

    async fn wrapping_unopened(&self, wrapping: &Accessor) -> Result<bool, VaultError> {
        self.call(Operation::WrappingUnopened, self.vault.wrapping_unopened(wrapping)).await
    }

    async fn gave_up(&self) -> Result<BTreeMap<String, u64>, VaultError> {
        self.call(Operation::GaveUp, self.vault.gave_up()).await
    }

    async fn time(&self) -> Result<DateTime<Utc>, VaultError> {
        self.call(Operation::Time, self.vault.time()).await
    }

    async fn missing(&self, paths: &[&str]) -> Result<Vec<MissingCapability>, VaultError> {
        self.call(Operation::Missing, self.vault.missing(paths)).await
    }
}
