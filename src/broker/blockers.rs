//! What stands in the way of issuing: rights that the daemon lacks in Vault. They are asked for at the start and at each
//! sweep, because a daemon that can't revoke must not issue, and must not learn that when it has to revoke. The other thing
//! is a log that can't be proved ([`standing`](super::standing)).

use std::{
    collections::BTreeSet,
    sync::{PoisonError, RwLock},
};

use tracing::{error, warn};

use super::{Broker, Error, error::blockers};
use crate::{access::target::Target, vault::MissingCapability};

/// The rights that are missing, once Vault was asked.
#[derive(Debug, Default)]
pub(super) struct Blockers(RwLock<Known>);

/// What Vault said, and of which credential paths: a target that a change of configuration brought wasn't asked for.
#[derive(Debug, Default)]
struct Known {
    asked: BTreeSet<String>,
    missing: Vec<MissingCapability>,
}

impl Blockers {
    /// What is missing for a target; `None` if Vault wasn't asked about it yet.
    fn of(&self, target: &Target) -> Option<Vec<MissingCapability>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let concerns = |lack: &&MissingCapability| concerns(lack, target);
        let is_known = known.asked.contains(&target.credential_path);
        is_known.then(|| known.missing.iter().filter(concerns).cloned().collect())
    }

    fn set(&self, asked: &[&str], missing: Vec<MissingCapability>) {
        let asked = asked.iter().map(|path| (*path).to_owned()).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Known { asked, missing };
    }
}

/// Rights on leases below a path concern the targets there; every other right concerns all.
fn concerns(lack: &MissingCapability, target: &Target) -> bool {
    lack.path
        .strip_prefix("sys/leases/lookup/")
        .is_none_or(|path| path.trim_end_matches('/') == target.credential_path)
}

impl Broker {
    /// Asks Vault anew which rights are missing.
    pub async fn refresh_blockers(&self) {
        let paths: Vec<&str> =
            self.policy.targets.values().map(|target| target.credential_path.as_str()).collect();
        match self.issuer.missing(&paths).await {
            Ok(missing) => {
                if !missing.is_empty() {
                    let missing = blockers(&missing);
                    error!(
                        "event.action" = "issue-blocked",
                        "error.message" = missing,
                        "rights in Vault are missing"
                    );
                }
                self.blockers.set(&paths, missing);
            }
            Err(failure) => {
                let failure: &dyn std::error::Error = &failure;
                warn!(
                    "event.action" = "rights-unknown",
                    error = failure,
                    "can't ask Vault which rights the daemon has"
                );
            }
        }
    }

    /// Refuses where a right is missing, where none is known and Vault doesn't answer, or where the log is no place to
    /// record a grant in.
    pub(super) async fn must_be_issuable(&self, target: Option<&Target>) -> Result<(), Error> {
        let Some(target) = target else { return Ok(()) };
        if self.blockers.of(target).is_none() {
            self.refresh_blockers().await;
        }
        match self.blockers.of(target) {
            Some(missing) if missing.is_empty() => {
                self.must_be_on_duty(target)?;
                self.must_be_provable(target).await
            }
            missing => Err(Error::IssueBlocked {
                name: format!("targets/{}", target.name),
                missing: missing.unwrap_or_default(),
            }),
        }
    }

    /// What stands in the way for a target, for people to read.
    pub(super) fn blockers_of(&self, target: &Target) -> Vec<String> {
        let rights = match self.blockers.of(target) {
            Some(missing) => missing.iter().map(|lack| blockers(std::slice::from_ref(lack))).collect(),
            None => vec![blockers(&[])],
        };
        rights.into_iter().chain(self.standing.problem()).collect()
    }
}
