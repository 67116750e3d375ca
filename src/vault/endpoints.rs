//! The calls that vaultrs lacks, and the parts of Vault's answers that are looked at.
//!
//! Nothing here has `Debug`: requests hold handles, and answers hold tokens. Fields that a server may leave out have
//! defaults, and whoever reads one decides what its absence means.
//!
//! Source: <https://developer.hashicorp.com/vault/api-docs/system/leases>,
//! <https://developer.hashicorp.com/vault/api-docs/system/capabilities-self>.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use rustify_derive::Endpoint;
use serde::{Deserialize, de::IgnoredAny};

/// Every answer's outer form; `D` is what `data` holds.
#[derive(Deserialize)]
#[serde(bound = "D: serde::de::DeserializeOwned")]
pub(super) struct Answer<D> {
    /// The engine's or system's answer; null when it is wrapped.
    pub(super) data: Option<D>,
    /// The token that a login, a creation or a renewal is about.
    pub(super) auth: Option<Auth>,
    /// Where a wrapped answer waits.
    pub(super) wrap_info: Option<WrapInfo>,
    /// The lease of an answer that wasn't wrapped, or of a lease renewal.
    #[serde(default)]
    pub(super) lease_id: String,
    /// How long the lease lasts, in seconds.
    #[serde(default)]
    pub(super) lease_duration: u64,
}

impl<D> Answer<D> {
    /// The answer of a call that succeeds without words (204).
    pub(super) fn empty() -> Self {
        Self { data: None, auth: None, wrap_info: None, lease_id: String::new(), lease_duration: 0 }
    }
}

/// A token as its making or renewing shows it.
#[derive(Deserialize)]
pub(super) struct Auth {
    /// Empty in the answer to a renewal by accessor.
    #[serde(default)]
    pub(super) client_token: String,
    #[serde(default)]
    pub(super) accessor: String,
    /// All policies, those of the identity included.
    #[serde(default)]
    pub(super) policies: Vec<String>,
    /// How long the token lasts, in seconds.
    pub(super) lease_duration: u64,
    #[serde(default)]
    pub(super) renewable: bool,
    #[serde(default)]
    pub(super) orphan: bool,
    /// `service` or `batch`.
    #[serde(default)]
    pub(super) token_type: String,
}

/// Where a wrapped answer waits.
#[derive(Deserialize)]
pub(super) struct WrapInfo {
    pub(super) token: String,
    pub(super) accessor: String,
    pub(super) creation_time: DateTime<Utc>,
    pub(super) creation_path: String,
}

/// Looks a lease up: `POST sys/leases/lookup`.
#[derive(Endpoint)]
#[endpoint(path = "sys/leases/lookup", method = "POST", response = "Lease")]
pub(super) struct LookUpLease {
    pub(super) lease_id: String,
}

/// A lease as its lookup shows it.
#[derive(Deserialize)]
pub(super) struct Lease {
    pub(super) issue_time: DateTime<Utc>,
    /// Why Vault gave up on revoking it, if it did.
    pub(super) revoke_error: Option<IgnoredAny>,
}

/// Lists the leases below a credential path: `LIST sys/leases/lookup/<path>/`. An empty list is a 404.
#[derive(Endpoint)]
#[endpoint(path = "sys/leases/lookup/{self.path}/", method = "LIST", response = "Keys")]
pub(super) struct ListLeases {
    #[endpoint(skip)]
    pub(super) path: String,
}

/// The names in a list; those that end in a slash have more below them.
#[derive(Deserialize)]
pub(super) struct Keys {
    pub(super) keys: Vec<String>,
}

/// Sets a lease's expiry to now and `increment` seconds: `POST sys/leases/renew`.
#[derive(Endpoint)]
#[endpoint(path = "sys/leases/renew", method = "POST")]
pub(super) struct RenewLease {
    pub(super) lease_id: String,
    pub(super) increment: u64,
}

/// Revokes a lease: `POST sys/leases/revoke`. `sync` waits for the engine; without it the answer means nothing.
#[derive(Endpoint)]
#[endpoint(path = "sys/leases/revoke", method = "POST")]
pub(super) struct RevokeLease {
    pub(super) lease_id: String,
    pub(super) sync: bool,
}

/// Counts leases: `GET sys/leases/count?type=irrevocable`.
#[derive(Endpoint)]
#[endpoint(path = "sys/leases/count", method = "GET", response = "LeaseCount")]
pub(super) struct CountLeases {
    #[endpoint(query)]
    pub(super) r#type: String,
}

/// How many leases there are, by their mount's accessor.
#[derive(Deserialize)]
pub(super) struct LeaseCount {
    pub(super) counts: BTreeMap<String, u64>,
}

/// Lists the mounts that the caller's policies let it see: `GET sys/internal/ui/mounts`. It takes no right of its own.
#[derive(Endpoint)]
#[endpoint(path = "sys/internal/ui/mounts", method = "GET", response = "Mounts")]
pub(super) struct ListMounts {}

/// The mounts of secrets engines, by path.
#[derive(Deserialize)]
pub(super) struct Mounts {
    pub(super) secret: BTreeMap<String, Mount>,
}

/// One mount.
#[derive(Deserialize)]
pub(super) struct Mount {
    pub(super) accessor: String,
}

/// Looks a token up by its accessor: `POST auth/token/lookup-accessor`. Only whether it lives is of interest.
#[derive(Endpoint)]
#[endpoint(path = "auth/token/lookup-accessor", method = "POST", response = "IgnoredAny")]
pub(super) struct LookUpAccessor {
    pub(super) accessor: String,
}

/// Reads a credential path. What `data` holds is never looked at: it may be the credential.
#[derive(Endpoint)]
#[endpoint(path = "{self.path}", method = "GET", response = "IgnoredAny")]
pub(super) struct ReadPath {
    #[endpoint(skip)]
    pub(super) path: String,
}

/// Asks what the caller's own token may do: `POST sys/capabilities-self`.
#[derive(Endpoint)]
#[endpoint(path = "sys/capabilities-self", method = "POST", response = "HashMap<String, Vec<String>>")]
pub(super) struct AskCapabilities {
    pub(super) paths: Vec<String>,
}

/// Looks the caller's own token up: `GET auth/token/lookup-self`. Only whether it succeeds is of interest.
#[derive(Endpoint)]
#[endpoint(path = "auth/token/lookup-self", method = "GET", response = "IgnoredAny")]
pub(super) struct LookUpSelf {}

/// Renews the caller's own token: `POST auth/token/renew-self`. vaultrs has a tab in this path.
#[derive(Endpoint)]
#[endpoint(path = "auth/token/renew-self", method = "POST")]
pub(super) struct RenewSelf {}

/// Reads the public halves of a transit key: `GET <mount>/keys/<name>`.
///
/// Source: <https://developer.hashicorp.com/vault/api-docs/secret/transit#read-key>.
#[derive(Endpoint)]
#[endpoint(path = "{self.mount}/keys/{self.key}", method = "GET", response = "TransitKeys")]
pub(super) struct ReadTransitKeys {
    #[endpoint(skip)]
    pub(super) mount: String,
    #[endpoint(skip)]
    pub(super) key: String,
}

/// A transit key as Vault shows it.
#[derive(Deserialize)]
pub(super) struct TransitKeys {
    /// The kind: `ed25519`, …
    pub(super) r#type: String,
    /// Whether each use makes a key of its own out of a context, which isn't given here.
    #[serde(default)]
    pub(super) derived: bool,
    /// By version.
    #[serde(default)]
    pub(super) keys: HashMap<String, TransitKey>,
}

/// One version of a transit key.
#[derive(Deserialize)]
pub(super) struct TransitKey {
    /// In base64.
    #[serde(default)]
    pub(super) public_key: String,
}

/// Signs by a transit key: `POST <mount>/sign/<name>`.
///
/// Source: <https://developer.hashicorp.com/vault/api-docs/secret/transit#sign-data>.
#[derive(Endpoint)]
#[endpoint(path = "{self.mount}/sign/{self.key}", method = "POST", response = "TransitSigned")]
pub(super) struct SignByTransit {
    #[endpoint(skip)]
    pub(super) mount: String,
    #[endpoint(skip)]
    pub(super) key: String,
    /// What is signed, in base64.
    pub(super) input: String,
}

/// A signature.
#[derive(Deserialize)]
pub(super) struct TransitSigned {
    /// `vault:v<version>:` and base64.
    pub(super) signature: String,
}
