//! `hallpassd doctor`: is everything around the daemon as it has to be, and if not, what is to be done.
//!
//! ```text
//! Vault's settings (vault::inspect) --.
//! the database (store) ---------------+--> checks, one file each --> findings --> lines for people, or JSON
//! the configuration ------------------'
//! ```
//!
//! The checks are plain functions of what was read: they ask nobody, and change nothing. Only what stops hallpass from
//! keeping its promises fails; what merely couldn't be looked at, for want of a right that only this check needs, is a
//! warning.

mod duration;
mod finding;
mod ledger;
mod login;
mod policy;
mod rights;
mod seen;
mod statements;
mod store;
mod target;
#[cfg(test)]
mod tests;
mod token_role;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, Utc};

pub use self::finding::{Finding, Report, Status};
use crate::{
    access::target::{Target, Targets},
    store::{
        OpenError,
        postgres::{Address, inspect as server},
        sqlite::inspect as file,
    },
    vault::{
        TransitKey, VaultError,
        inspect::{Asked, Inspection},
    },
};

/// What the configuration says that is checked.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// Vault's address.
    pub vault: &'a str,
    /// Where the `AppRole` method is mounted, without `auth/`.
    pub approle_mount: &'a str,
    /// The token role of the grants' tokens.
    pub token_role: &'a str,
    /// How long a credential stays wrapped.
    pub wrap_ttl: Duration,
    /// The file with the secret id.
    pub secret_id_file: &'a Path,
    /// The targets.
    pub targets: &'a Targets,
    /// The key in Vault that signs the log, unless a file has it.
    pub ledger_key: Option<&'a TransitKey>,
}

impl Setup<'_> {
    /// What to look at in Vault, each thing once.
    #[must_use]
    pub fn asked(&self) -> Asked {
        let each = |of: fn(&Target) -> &String| {
            let different: BTreeSet<&String> = self.targets.values().map(of).collect();
            different.into_iter().cloned().collect()
        };
        Asked {
            paths: each(|target| &target.credential_path),
            policies: each(|target| &target.vault_policy),
            ledger_key: self.ledger_key.cloned(),
        }
    }

    /// The longest window of all targets.
    fn longest(&self) -> Duration {
        self.targets.values().map(|target| target.window_max).max().unwrap_or_default()
    }
}

/// A database, and what was found there.
#[derive(Debug)]
pub enum Database {
    /// One in a file.
    File(PathBuf, file::Inspection),
    /// One on a server, of this address; or why it can't be used.
    Server(Address, Box<Result<server::Inspection, OpenError>>),
}

/// What was read.
#[derive(Debug)]
pub struct Facts {
    /// When.
    pub now: DateTime<Utc>,
    /// From Vault; or why it can't be reached.
    pub vault: Result<Inspection, VaultError>,
    /// The permission bits of the file with the secret id.
    pub secret_id_mode: Option<u32>,
    /// From the database.
    pub database: Database,
}

/// Judges what was read, in the order in which one would mend it.
#[must_use]
pub fn examine(setup: &Setup<'_>, facts: &Facts) -> Report {
    let mut found = Vec::new();
    found.extend(login::file(setup.secret_id_file, facts.secret_id_mode));
    match &facts.vault {
        Err(error) => found.push(login::unreached(setup, error)),
        Ok(seen) => found.extend(in_vault(setup, seen, facts.now)),
    }
    found.extend(store::findings(&facts.database));
    Report::new(found)
}

fn in_vault(setup: &Setup<'_>, seen: &Inspection, now: DateTime<Utc>) -> Vec<Finding> {
    let mut found = login::findings(setup, seen, now);
    found.extend(rights::findings(seen));
    found.extend(token_role::findings(setup, seen));
    found.extend(target::mounts(setup, seen));
    for target in setup.targets.values() {
        found.extend(target::findings(target, seen));
        found.extend(policy::findings(target, setup.wrap_ttl, seen));
    }
    found.extend(ledger::findings(setup, seen));
    found.extend(login::ended(seen));
    found
}
