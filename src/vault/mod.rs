//! What the daemon asks of Vault, and nothing else knows how.
//!
//! The trait speaks of grants and handles; paths, headers and error texts stay inside. HashiCorp Vault and OpenBao are
//! both meant by "Vault", and only what they have in common is relied on. Tokens and ids are opaque.

mod capabilities;
mod client;
mod end;
mod endpoints;
mod error;
pub mod inspect;
mod issue;
mod issuer;
mod lane;
mod leases;
mod login;
mod observe;
mod settings;
pub mod simulated;
mod transit;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::SecretString;

use crate::access::{
    handle::{Accessor, LeaseId},
    id::GrantId,
};

pub use self::{
    issuer::VaultIssuer,
    settings::{Settings, SetupError},
    simulated::SimulatedIssuer,
    transit::TransitKey,
};

/// A fresh token that can read one credential path, and dies within its first TTL unless it is renewed.
#[derive(Debug)]
pub struct GrantToken {
    /// The token itself; used for one read and forgotten.
    pub token: SecretString,
    /// Its handle, for renewing and revoking.
    pub accessor: Accessor,
}

/// A credential that was read but that nobody saw: Vault holds it under a single-use token.
#[derive(Debug)]
pub struct Wrapped {
    /// The single-use token. It goes to the holder and is never stored.
    pub token: SecretString,
    /// Its handle, for destroying it.
    pub accessor: Accessor,
    /// The path that it was read from, as Vault names it: with a namespace that may have a part more in front.
    pub creation_path: String,
    /// The credential's lease.
    pub lease: LeaseId,
}

/// A lease as Vault's lookup shows it.
#[derive(Debug)]
pub struct LeaseSeen {
    /// Its id.
    pub id: LeaseId,
    /// When it was issued, by Vault's clock.
    pub issued_at: DateTime<Utc>,
    /// Whether Vault gave up on revoking it after several tries, and tries it only once a day. Not every version of
    /// Vault tells; one that doesn't shows in [`Issuer::gave_up`] only.
    pub given_up: bool,
}

/// A right that the daemon needs in Vault and lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingCapability {
    /// The path, as a policy would name it.
    pub path: String,
    /// The capability: `update`, `list`, `sudo`, `read`.
    pub capability: &'static str,
}

/// What a call to Vault ran into.
///
/// `Display` says the operation and what to do; it holds no token, accessor or lease id, whatever Vault answered.
#[derive(Debug, thiserror::Error)]
#[error("Vault: {operation}: {reason}")]
pub struct VaultError {
    /// What was tried, for example `revoke the lease`.
    pub operation: &'static str,
    /// What came back, without handles and secrets, and what to do.
    pub reason: String,
    /// Whether Vault certainly did nothing.
    pub outcome: Outcome,
}

/// What a failed call may have done. Calls that may be repeated are sent again if their connection is cut, and this is of
/// the last try; those that make something, [`Issuer::mint`] and [`Issuer::read_wrapped`], are sent once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Vault answered that it did not do it, or nothing was sent to it.
    Refused,
    /// No answer, or one that doesn't tell: it may have been done, or may yet be.
    Unknown,
}

/// Makes credentials and ends them. No method retries a call that may have made something.
#[async_trait]
pub trait Issuer: Debug + Send + Sync {
    /// Makes the grant's token: orphan, with the one policy, the grant's id as metadata `grant` and as display name, and
    /// `ttl` as its first TTL.
    async fn mint(&self, grant: GrantId, policy: &str, ttl: Duration) -> Result<GrantToken, VaultError>;

    /// Reads the credential path with the grant's token, wrapped for `wrap_ttl`, and finds the lease. The caller makes
    /// sure that nobody else reads the same path meanwhile.
    ///
    /// On an error the token must not be used again. [`Outcome::Refused`] says that no lease was made.
    async fn read_wrapped(
        &self,
        token: GrantToken,
        path: &str,
        wrap_ttl: Duration,
    ) -> Result<Wrapped, VaultError>;

    /// Sets the expiry of token and lease to `left` from now, rounded down to whole seconds.
    async fn shorten(&self, token: &Accessor, lease: &LeaseId, left: Duration) -> Result<(), VaultError>;

    /// Destroys the wrapped credential, if nobody opened it. One that is gone already is no error.
    async fn revoke_wrapping(&self, wrapping: &Accessor) -> Result<(), VaultError>;

    /// Revokes the grant's token. One that is gone already is no error.
    async fn revoke_token(&self, token: &Accessor) -> Result<(), VaultError>;

    /// Revokes the lease and waits until Vault did it. One that is gone already is no error.
    async fn revoke_lease(&self, lease: &LeaseId) -> Result<(), VaultError>;

    /// Whether the lease is gone: true only if Vault's lookup said so.
    async fn lease_gone(&self, lease: &LeaseId) -> Result<bool, VaultError>;

    /// The ids of the credential leases below a credential path, in one call; wrapping tokens' own leases are left out.
    async fn lease_ids(&self, path: &str) -> Result<BTreeSet<LeaseId>, VaultError>;

    /// The credential leases that exist below a credential path, each looked up.
    async fn leases(&self, path: &str) -> Result<Vec<LeaseSeen>, VaultError>;

    /// Whether nobody opened the wrapped credential yet. One that was opened, that expired or that was destroyed by
    /// [`Issuer::revoke_wrapping`] can't be told apart afterwards: false.
    async fn wrapping_unopened(&self, wrapping: &Accessor) -> Result<bool, VaultError>;

    /// How many leases Vault gave up on, of all its users: it failed to revoke them several times and tries them only
    /// once a day, while their accounts may work. By the path of their mount, which ends in a slash, or by the mount's
    /// accessor where the daemon's policy doesn't let it see the path. Mounts without any are left out.
    async fn gave_up(&self) -> Result<BTreeMap<String, u64>, VaultError>;

    /// Vault's present, by its own clock and as exact as it tells (nanoseconds). It lies between the call and its
    /// return.
    async fn time(&self) -> Result<DateTime<Utc>, VaultError>;

    /// The rights that are missing for issuing from these credential paths and for ending what was issued.
    async fn missing(&self, paths: &[&str]) -> Result<Vec<MissingCapability>, VaultError>;
}
