//! Vault and the records, compared: what Vault has that no grant knows of, what grants have that Vault lost, what Vault
//! gave up on, and whether both clocks agree. The record of it is one event; so an auditor sees that it was done, too.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use chrono::TimeDelta;
use tracing::{error, warn};

use super::{Broker, Error};
use crate::{
    access::{
        actor::Actor,
        event::{About, Event, Fact},
        grant::{Grant, Issued, State},
        handle::LeaseId,
        id::GrantId,
        revocation::Cause,
    },
    store::{Duty, Write},
    vault::VaultError,
};

/// How many open grants are read at a time.
const PAGE: u32 = 500;
/// How many unknown leases are told of one by one in a run; more are a flood, which the count tells of.
const TOLD_MAX: u64 = 100;
/// How many are remembered as told of; after that they are told of again.
const REPORTED_MAX: usize = 10_000;
/// How far Vault's clock may be apart before that is told of.
const CLOCK_APART_MAX: TimeDelta = TimeDelta::seconds(1);
/// Vault counts in whole seconds, so a lease may be gone a second before its window closes. In a window's last moments
/// that is no news: the deadline is about to be met.
const LAST_MOMENTS: TimeDelta = TimeDelta::seconds(2);

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// How many leases Vault has below the credential paths.
    pub leases: u64,
    /// How many of them no grant knows of.
    pub unknown: u64,
    /// How many held grants had lost their lease.
    pub vanished: u64,
    /// How many leases Vault gave up revoking, in the mounts of the credential paths; none if Vault didn't say.
    pub gave_up: Option<u64>,
    /// What Vault's clock is ahead by; none if Vault didn't say.
    pub clock_ahead: Option<TimeDelta>,
    /// The credential paths that Vault gave no answer about.
    pub unanswered: Vec<String>,
}

/// The unknown leases that were told of already, by their digests.
#[derive(Debug, Default)]
pub(super) struct Reported(Mutex<BTreeSet<String>>);

impl Reported {
    /// Whether this is the first time.
    fn is_new(&self, digest: &str) -> bool {
        let mut reported = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.len() >= REPORTED_MAX {
            reported.clear();
        }
        reported.insert(digest.to_owned())
    }
}

impl Broker {
    /// Compares Vault with the records, ends what has to end, and records what was found. One at a time.
    ///
    /// # Errors
    ///
    /// If the store fails. What Vault doesn't answer is left for the next time, and told of.
    pub async fn reconcile(&self) -> Result<Findings, Error> {
        let _alone = self.reconciling.lock().await;
        let mut findings = Findings::default();
        let mut seen = BTreeSet::new();
        for path in self.paths_in_use().await? {
            match self.compare(&path, &mut findings).await? {
                Some(leases) => seen.extend(leases),
                None => findings.unanswered.push(path),
            }
        }
        findings.vanished = self.find_vanished(&seen, &findings.unanswered).await?;
        findings.gave_up = self.count_given_up().await;
        findings.clock_ahead = self.compare_clocks().await;
        let event = self.daemons(About::default(), told(&findings));
        self.commit(&[Write::Fact(&event)]).await?;
        if findings.unanswered.is_empty() {
            self.standing.reconciled();
        }
        Ok(findings)
    }

    /// The paths of the configured targets, and those of open grants from before a change of them.
    async fn paths_in_use(&self) -> Result<BTreeSet<String>, Error> {
        let configured = self.policy.targets.values().map(|target| target.credential_path.clone());
        let mut paths: BTreeSet<String> = configured.collect();
        let mut after = None;
        while let Some(page) = self.open_page(&mut after).await? {
            paths.extend(page.into_iter().map(|grant| grant.credential_path));
        }
        Ok(paths)
    }

    async fn open_page(&self, after: &mut Option<GrantId>) -> Result<Option<Vec<Grant>>, Error> {
        let page = self.store.open_grants(*after, PAGE).await?;
        *after = page.last().map(|grant| grant.id);
        Ok((!page.is_empty()).then_some(page))
    }

    /// The leases below a path; what is unknown among them is told of. None if Vault doesn't answer.
    async fn compare(&self, path: &str, findings: &mut Findings) -> Result<Option<BTreeSet<LeaseId>>, Error> {
        // While nobody reads from the path, each lease is either recorded or belongs to nobody who is at work.
        let alone = self.alone(&self.paths, path, Duty::Path(path.to_owned())).await?;
        // Read before the list is: what ends meanwhile is forgotten here and may still be on the list.
        let known: BTreeSet<LeaseId> = self.store.known_leases(path).await?.into_iter().collect();
        let seen = match self.issuer.lease_ids(path).await {
            Ok(seen) => seen,
            Err(failure) => {
                unanswered(&failure, "the leases below a path");
                return Ok(None);
            }
        };
        let may_be_ours = self.is_being_undone(path).await?;
        drop(alone);
        findings.leases += seen.len() as u64;
        if !may_be_ours {
            for lease in seen.difference(&known) {
                findings.unknown += 1;
                self.meet_unknown(path, lease, findings.unknown <= TOLD_MAX).await?;
            }
        }
        Ok(Some(seen))
    }

    /// Whether a grant may have a lease below this path that isn't recorded. Its ending finds it; until then no lease there
    /// is certainly nobody's.
    async fn is_being_undone(&self, path: &str) -> Result<bool, Error> {
        let mut after = None;
        loop {
            let page = self.store.endings(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(false) };
            let State::Revoking(ending) = &last.state else { return Ok(false) };
            after = Some((ending.begun_at, last.id));
            let unrecorded = |grant: &Grant| {
                grant.credential_path == path
                    && matches!(&grant.state, State::Revoking(ending) if matches!(ending.issued, Issued::Token(_)))
            };
            if page.iter().any(unrecorded) {
                return Ok(true);
            }
        }
    }

    /// Revokes an unknown lease, if the configuration says so, and tells of it: once, and again when it is gone.
    async fn meet_unknown(&self, path: &str, lease: &LeaseId, may_tell: bool) -> Result<(), Error> {
        let lease_digest = self.handles.digest(lease.expose());
        let is_new = may_tell && self.reported.is_new(&lease_digest.0);
        let revoked = self.revoke_unknown && self.revoke_nobodys(lease).await;
        if !is_new && !revoked {
            return Ok(());
        }
        warn!(
            "event.action" = "unknown-lease",
            "hallpass.vault.path" = path,
            "hallpass.lease.digest" = lease_digest.0,
            "hallpass.revoked" = revoked,
            "Vault has a lease that no grant knows of"
        );
        let fact = Fact::UnknownLeaseFound { credential_path: path.to_owned(), lease_digest, revoked };
        let target = self.policy.targets.values().find(|target| target.credential_path == path);
        let about = About { target: target.map(|target| target.name.clone()), ..About::default() };
        self.commit(&[Write::Fact(&self.daemons(about, fact))]).await
    }

    /// Revokes a lease that no grant knows of; true if Vault then says that it is gone.
    async fn revoke_nobodys(&self, lease: &LeaseId) -> bool {
        let revoked = async {
            self.issuer.revoke_lease(lease).await?;
            self.issuer.lease_gone(lease).await
        };
        revoked.await.unwrap_or_else(|failure| {
            unanswered(&failure, "the end of an unknown lease");
            false
        })
    }

    /// Ends held grants whose lease Vault doesn't have any more. The list only raises the suspicion; a lookup decides.
    async fn find_vanished(&self, seen: &BTreeSet<LeaseId>, unanswered: &[String]) -> Result<u64, Error> {
        let (mut vanished, mut after) = (0, None);
        while let Some(page) = self.open_page(&mut after).await? {
            for grant in page {
                let State::Active { leased, .. } = &grant.state else { continue };
                let early = grant.window.closes_at() - self.clock.now() > LAST_MOMENTS;
                if !early || seen.contains(&leased.lease) || unanswered.contains(&grant.credential_path) {
                    continue;
                }
                if !self.issuer.lease_gone(&leased.lease).await.unwrap_or(false) {
                    continue;
                }
                match self.begin_as_read(grant, Cause::EndedOutside, &Actor::Daemon, None).await {
                    Ok(_) => vanished += 1,
                    Err(Error::Conflict) => {}
                    Err(failure) => return Err(failure),
                }
            }
        }
        Ok(vanished)
    }

    /// How many leases Vault gave up revoking in the mounts that the targets' paths are in. Ours among them are ended all
    /// the same; any are access that lives on.
    async fn count_given_up(&self) -> Option<u64> {
        let by_mount = match self.issuer.gave_up().await {
            Ok(by_mount) => by_mount,
            Err(failure) => {
                unanswered(&failure, "how many leases it gave up on");
                return None;
            }
        };
        let targets = self.policy.targets.values();
        let paths: Vec<&str> = targets.map(|target| target.credential_path.as_str()).collect();
        let given_up = in_mounts_of(&paths, &by_mount);
        if given_up > 0 {
            error!(
                "event.action" = "vault-gave-up",
                "hallpass.leases" = given_up,
                "Vault has given up revoking leases in the targets' mounts; their accounts may still work"
            );
        }
        Some(given_up)
    }

    /// What Vault's clock is ahead by, as well as the time of the call lets it be known.
    async fn compare_clocks(&self) -> Option<TimeDelta> {
        let asked_at = self.clock.now();
        let theirs = match self.issuer.time().await {
            Ok(theirs) => theirs,
            Err(failure) => {
                unanswered(&failure, "its time");
                return None;
            }
        };
        let took = self.clock.now() - asked_at;
        let ahead = theirs - (asked_at + took / 2);
        if ahead.abs() > CLOCK_APART_MAX + took / 2 {
            error!(
                "event.action" = "clocks-apart",
                "hallpass.vault.clock_ahead_ms" = ahead.num_milliseconds(),
                "this machine's clock and Vault's differ; windows end by this one"
            );
        }
        Some(ahead)
    }

    fn daemons(&self, about: About, fact: Fact) -> Event {
        Event { at: self.clock.now(), actor: Actor::Daemon, about, fact }
    }
}

/// The count of the mounts that these paths are in. Of a mount that the daemon may not see Vault only says its accessor,
/// which is no path; it is counted, since it may be one of them.
fn in_mounts_of(paths: &[&str], by_mount: &BTreeMap<String, u64>) -> u64 {
    let may_be_ours = |mount: &str| !mount.ends_with('/') || paths.iter().any(|path| path.starts_with(mount));
    by_mount.iter().filter(|(mount, _)| may_be_ours(mount)).map(|(_, count)| count).sum()
}

fn told(findings: &Findings) -> Fact {
    Fact::ReconciliationDone {
        leases: findings.leases,
        unknown: findings.unknown,
        vanished: findings.vanished,
        gave_up: findings.gave_up,
        vault_clock_ahead_ms: findings.clock_ahead.map(|ahead| ahead.num_milliseconds()),
        unanswered: findings.unanswered.clone(),
    }
}

fn unanswered(failure: &VaultError, what: &'static str) {
    let failure: &dyn std::error::Error = failure;
    warn!("event.action" = "vault-unanswered", error = failure, "Vault doesn't say {what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_lease_is_told_of_once_for_as_long_as_it_is_remembered() {
        let reported = Reported::default();
        assert!(reported.is_new("0") && !reported.is_new("0"));
        assert!((1..REPORTED_MAX).all(|number| reported.is_new(&number.to_string())));
        assert!(reported.is_new("0"), "they are too many to remember, so it begins anew");
        assert!(!reported.is_new("0"));
    }

    #[test]
    fn what_vault_gave_up_on_counts_where_it_may_be_ours() {
        let paths = ["database/creds/hp-orders", "mq/creds/hp-jobs"];
        let counted = |by_mount: &[(&str, u64)]| {
            let by_mount = by_mount.iter().map(|(mount, count)| ((*mount).to_owned(), *count)).collect();
            in_mounts_of(&paths, &by_mount)
        };
        assert_eq!(counted(&[]), 0);
        assert_eq!(counted(&[("database/", 1), ("mq/", 2), ("data/", 4), ("other/", 8)]), 3);
        assert_eq!(
            counted(&[("database_0af31d2c", 16), ("other/", 8)]),
            16,
            "an accessor may be any mount's"
        );
    }
}
