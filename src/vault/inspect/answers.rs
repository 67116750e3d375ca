//! What an inspection of Vault found, as Vault says it. Nothing in here is a secret, and handles stay out of `Debug`.
//!
//! Lengths of time are in seconds, as Vault gives them; 0 is Vault's word for "not set". A field that a server leaves out
//! has that value too, or none.

use std::{collections::BTreeMap, fmt};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Deserializer};

use super::super::{MissingCapability, VaultError};

/// What Vault showed of one thing.
#[derive(Debug)]
pub enum Seen<T> {
    /// It is there.
    There(T),
    /// Vault says that there is nothing at this path.
    Absent(String),
    /// The daemon may not look, and lacks this right.
    Denied(MissingCapability),
    /// Vault answered something else.
    Failed(VaultError),
    /// It wasn't asked for, because an earlier answer didn't come.
    NotAsked,
}

impl<T> Seen<T> {
    /// The same with another thing that is there.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Seen<U> {
        match self {
            Self::There(found) => Seen::There(change(found)),
            Self::Absent(path) => Seen::Absent(path),
            Self::Denied(right) => Seen::Denied(right),
            Self::Failed(error) => Seen::Failed(error),
            Self::NotAsked => Seen::NotAsked,
        }
    }
}

/// Everything that was looked at.
#[derive(Debug)]
pub struct Inspection {
    /// The login's own token.
    pub own: Seen<OwnToken>,
    /// How far this machine's clock is certainly ahead of Vault's; negative if it is behind.
    pub clock_ahead: Result<TimeDelta, VaultError>,
    /// The rights that issuing and ending need and that are missing, those to end first.
    pub missing: Result<Vec<MissingCapability>, VaultError>,
    /// The rights that are too much.
    pub excess: Seen<Vec<Excess>>,
    /// The secret id that the login was made with.
    pub secret_id: Seen<SecretId>,
    /// The token role.
    pub token_role: Seen<TokenRole>,
    /// The bounds of the mount that makes tokens.
    pub token_tuning: Seen<Tuning>,
    /// Every mount, by its path with a slash at its end.
    pub mounts: Seen<BTreeMap<String, Mount>>,
    /// The bounds of the mounts that the credential paths are on.
    pub tunings: BTreeMap<String, Seen<Tuning>>,
    /// What makes the credentials, by credential path; without what is on no known mount.
    pub places: BTreeMap<String, Place>,
    /// The texts of the policies, by name.
    pub policies: BTreeMap<String, Seen<String>>,
    /// The key that signs the log.
    pub ledger_key: Seen<LedgerKey>,
    /// Whether the daemon may sign by it.
    pub may_sign: Seen<bool>,
    /// Whether the login was ended.
    pub logged_out: Result<(), VaultError>,
}

/// The login's own token.
#[derive(Deserialize)]
pub struct OwnToken {
    /// Its policies.
    #[serde(default, deserialize_with = "or_default")]
    pub policies: Vec<String>,
    /// What the login left on it.
    pub meta: Option<BTreeMap<String, String>>,
    pub(super) accessor: String,
}

#[cfg(test)]
impl OwnToken {
    /// One with these policies.
    #[must_use]
    pub fn of(policies: &[&str]) -> Self {
        let policies = policies.iter().map(|&policy| policy.to_owned()).collect();
        Self { policies, meta: None, accessor: String::new() }
    }
}

impl fmt::Debug for OwnToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnToken").field("policies", &self.policies).finish_non_exhaustive()
    }
}

/// A right that the daemon should not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excess {
    /// The path.
    pub path: String,
    /// The capability.
    pub capability: &'static str,
}

/// A secret id.
#[derive(Clone, Debug, Deserialize)]
pub struct SecretId {
    /// When it ends; the year 1 stands for never.
    pub expiration_time: Option<DateTime<Utc>>,
    /// How many more logins it is good for; 0 for any number.
    #[serde(default)]
    pub secret_id_num_uses: u64,
}

/// A token role.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TokenRole {
    /// Whether its tokens live on without the token that made them.
    pub orphan: bool,
    /// Whether its tokens can be renewed.
    pub renewable: bool,
    /// Whether its tokens don't get the default policy.
    pub token_no_default_policy: bool,
    /// The period, which makes tokens without an end.
    pub token_period: u64,
    /// The same by its older name.
    pub period: u64,
    /// The longest life of its tokens.
    pub token_explicit_max_ttl: u64,
    /// The same by its older name.
    pub explicit_max_ttl: u64,
    /// How often its tokens can be used.
    pub token_num_uses: u64,
    /// The kind: `service`, `batch`, `default-service` or `default-batch`.
    pub token_type: String,
    /// The policies that its tokens may have.
    #[serde(deserialize_with = "or_default")]
    pub allowed_policies: Vec<String>,
    /// The same as patterns.
    #[serde(deserialize_with = "or_default")]
    pub allowed_policies_glob: Vec<String>,
    /// The policies that its tokens may not have.
    #[serde(deserialize_with = "or_default")]
    pub disallowed_policies: Vec<String>,
    /// The same as patterns.
    #[serde(deserialize_with = "or_default")]
    pub disallowed_policies_glob: Vec<String>,
}

/// A key of a transit engine, without its public half.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "they are Vault's")]
pub struct LedgerKey {
    /// The kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether each use makes a key of its own.
    pub derived: bool,
    /// Whether it can be read.
    pub exportable: bool,
    /// Whether it can be read as a backup.
    pub allow_plaintext_backup: bool,
    /// Whether it can be deleted.
    pub deletion_allowed: bool,
}

/// A mount.
#[derive(Clone, Debug, Deserialize)]
pub struct Mount {
    /// The engine's kind.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A mount's bounds, with those of the system where it has none of its own.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Tuning {
    /// How long a lease lasts if its role doesn't say.
    pub default_lease_ttl: u64,
    /// The longest that a lease can last.
    pub max_lease_ttl: u64,
}

/// Where the credentials of one path come from.
#[derive(Debug)]
pub struct Place {
    /// The mount, with a slash at its end.
    pub mount: String,
    /// What is behind it.
    pub engine: Engine,
}

/// What is behind a credential path.
#[derive(Debug)]
pub enum Engine {
    /// A role of a database engine.
    Database {
        /// Where the role is configured.
        role_path: String,
        /// The role.
        role: Seen<DatabaseRole>,
        /// Where the role's connection is configured.
        connection_path: String,
        /// The connection.
        connection: Seen<Connection>,
    },
    /// Another path of a database engine: such have no lease.
    DatabaseOther,
    /// Another engine, by its kind.
    Other(String),
}

/// A role of a database engine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DatabaseRole {
    /// Its connection.
    pub db_name: String,
    /// How long a lease lasts at first.
    pub default_ttl: u64,
    /// The longest that a lease can last.
    pub max_ttl: u64,
    /// What makes an account.
    #[serde(deserialize_with = "or_default")]
    pub creation_statements: Vec<String>,
    /// What moves an account's own expiry; none stands for the plugin's own.
    #[serde(deserialize_with = "or_default")]
    pub renew_statements: Vec<String>,
    /// What ends an account; none stands for the plugin's own.
    #[serde(deserialize_with = "or_default")]
    pub revocation_statements: Vec<String>,
}

/// A connection of a database engine. What else Vault shows of it is not read: it may have keys in it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Connection {
    /// The plugin.
    pub plugin_name: String,
    /// The roles that may use it.
    #[serde(deserialize_with = "or_default")]
    pub allowed_roles: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct PolicyText {
    pub(super) policy: String,
}

/// Vault writes an empty list as `null`.
fn or_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
