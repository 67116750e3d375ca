//! An issuer that lies in one way, and passes everything else on.

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
    vault::{GrantToken, Issuer, LeaseSeen, MissingCapability, VaultError, Wrapped},
};

use super::Mutant;

/// See the module.
#[derive(Debug)]
pub struct LyingIssuer {
    inner: Arc<dyn Issuer>,
    mutant: Mutant,
}

impl LyingIssuer {
    pub const fn new(inner: Arc<dyn Issuer>, mutant: Mutant) -> Self {
        Self { inner, mutant }
    }
}

#[async_trait]
impl Issuer for LyingIssuer {
    async fn mint(&self, grant: GrantId, policy: &str, ttl: Duration) -> Result<GrantToken, VaultError> {
        let lives = self.mutant == Mutant::TokensLive;
        self.inner.mint(grant, policy, if lives { Duration::from_hours(1) } else { ttl }).await
    }

    async fn read_wrapped(
        &self,
        token: GrantToken,
        path: &str,
        wrap_ttl: Duration,
    ) -> Result<Wrapped, VaultError> {
        self.inner.read_wrapped(token, path, wrap_ttl).await
    }

    async fn shorten(&self, token: &Accessor, lease: &LeaseId, left: Duration) -> Result<(), VaultError> {
        if self.mutant == Mutant::NeverShortens {
            Ok(())
        } else {
            self.inner.shorten(token, lease, left).await
        }
    }

    async fn revoke_wrapping(&self, wrapping: &Accessor) -> Result<(), VaultError> {
        self.inner.revoke_wrapping(wrapping).await
    }

    async fn revoke_token(&self, token: &Accessor) -> Result<(), VaultError> {
        self.inner.revoke_token(token).await
    }

    async fn revoke_lease(&self, lease: &LeaseId) -> Result<(), VaultError> {
        match self.mutant {
            // It is queued since the token was revoked.
            Mutant::AnswerIsTheEnd => Ok(()),
            Mutant::RefusalIsTheEnd => self.inner.revoke_lease(lease).await.or(Ok(())),
            _ => self.inner.revoke_lease(lease).await,
        }
    }

    async fn lease_gone(&self, lease: &LeaseId) -> Result<bool, VaultError> {
        match self.mutant {
            Mutant::AnswerIsTheEnd | Mutant::RefusalIsTheEnd => Ok(true),
            _ => self.inner.lease_gone(lease).await,
        }
    }

    async fn lease_ids(&self, path: &str) -> Result<BTreeSet<LeaseId>, VaultError> {
        let ids = self.inner.lease_ids(path).await;
        if self.mutant == Mutant::ListsNothing { Ok(BTreeSet::new()) } else { ids }
    }

    async fn leases(&self, path: &str) -> Result<Vec<LeaseSeen>, VaultError> {
        let leases = self.inner.leases(path).await;
        if self.mutant == Mutant::ListsNothing { Ok(Vec::new()) } else { leases }
    }

    async fn wrapping_unopened(&self, wrapping: &Accessor) -> Result<bool, VaultError> {
        self.inner.wrapping_unopened(wrapping).await
    }

    async fn gave_up(&self) -> Result<BTreeMap<String, u64>, VaultError> {
        self.inner.gave_up().await
    }

    async fn time(&self) -> Result<DateTime<Utc>, VaultError> {
        self.inner.time().await
    }

    async fn missing(&self, paths: &[&str]) -> Result<Vec<MissingCapability>, VaultError> {
        self.inner.missing(paths).await
    }
}
