//! Finding the lease behind a credential that nobody saw.
//!
//! A wrapped answer doesn't name its lease, so the lease is found by what is new in the path's list, and by its time of
//! issue. What isn't certain is an error: ending somebody else's lease, or losing ours, would be worse.

use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::JoinSet;

use super::{
    LeaseSeen, VaultError,
    endpoints::{Lease, ListLeases, LookUpLease},
    error::{Failure, Operation},
    lane::Lane,
};
use crate::access::handle::LeaseId;

/// How many lookups run at a time.
const LOOKUPS_MAX: usize = 8;

/// How far the lease's time of issue may be from the wrapping's. Both are Vault's own and made in one request; the
/// measured difference is below a millisecond.
const ISSUE_TOLERANCE: TimeDelta = TimeDelta::seconds(1);

pub(super) const LOOK_UP: Operation = Operation::new("look the lease up", "sys/leases/lookup", "update");

/// Listing the leases of a path, as an error names it.
pub(super) fn listing(path: &str) -> Operation {
    let path = format!("sys/leases/lookup/{path}/").into();
    Operation { name: "list the leases", path, capability: "list and sudo" }
}

impl Lane {
    /// The ids of the credential leases below a path. Entries that lead further down belong to other paths.
    pub(super) async fn lease_ids(&self, path: &str) -> Result<BTreeSet<String>, VaultError> {
        let answer = match self.ask(|| ListLeases { path: path.to_owned() }).await {
            Err(failure) if is_empty_list(&failure) => return Ok(BTreeSet::new()),
            other => other.map_err(|f| listing(path).error(&f, &[]))?,
        };
        let data = answer.data.ok_or_else(|| listing(path).error(&Failure::Unreadable, &[]))?;
        let ours = data.keys.into_iter().filter(|key| !key.ends_with('/') && !is_wrapping_token(key));
        Ok(ours.map(|key| format!("{path}/{key}")).collect())
    }

    /// Looks a lease up; none if Vault says that it is gone.
    pub(super) async fn look_up(&self, id: &str) -> Result<Option<Lease>, VaultError> {
        match self.ask(|| LookUpLease { lease_id: id.to_owned() }).await {
            Ok(answer) => match answer.data {
                Some(lease) => Ok(Some(lease)),
                None => Err(LOOK_UP.error(&Failure::Unreadable, &[])),
            },
            Err(failure) if says_gone(&failure) => Ok(None),
            Err(failure) => Err(LOOK_UP.error(&failure, &[id])),
        }
    }

    /// Looks many leases up, a few at a time. One that is gone meanwhile is left out.
    pub(super) async fn look_up_all(
        self: &Arc<Self>,
        ids: impl IntoIterator<Item = String>,
    ) -> Result<Vec<LeaseSeen>, VaultError> {
        let (mut ids, mut running, mut seen) = (ids.into_iter(), JoinSet::new(), Vec::new());
        loop {
            for id in ids.by_ref().take(LOOKUPS_MAX - running.len()) {
                let lane = Arc::clone(self);
                running.spawn(async move { (lane.look_up(&id).await, id) });
            }
            let Some(done) = running.join_next().await else { return Ok(seen) };
            let (found, id) =
                done.map_err(|_| LOOK_UP.error(&Failure::Cut("the lookup was given up".into()), &[]))?;
            seen.extend(found?.map(|lease| lease.seen(id)));
        }
    }
}

impl Lease {
    fn seen(self, id: String) -> LeaseSeen {
        LeaseSeen { id: LeaseId::new(id), issued_at: self.issue_time, given_up: self.revoke_error.is_some() }
    }
}

/// A list without entries is a 404 without a word. With words it is another 404, about a namespace or a path that Vault
/// doesn't know, say, and nothing is known of the leases.
fn is_empty_list(failure: &Failure) -> bool {
    matches!(failure, Failure::Said { status: 404, errors } if errors.is_empty())
}

/// The only proof that a lease is gone.
pub(super) fn says_gone(failure: &Failure) -> bool {
    failure.said(400, "invalid lease")
}

/// A wrapping token is listed below the path that it wraps, as `h` and 64 hex digits (and its namespace's id). By its
/// lookup it can't be told from a credential: it was issued at the same time.
fn is_wrapping_token(key: &str) -> bool {
    let name = key.split('.').next().unwrap_or(key);
    name.strip_prefix('h').is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The one lease that was issued when the answer was wrapped.
pub(super) fn only_one(seen: Vec<LeaseSeen>, wrapped_at: DateTime<Utc>) -> Result<LeaseId, &'static str> {
    let near = |seen: &LeaseSeen| (seen.issued_at - wrapped_at).abs() <= ISSUE_TOLERANCE;
    let mut ours = seen.into_iter().filter(near);
    match (ours.next(), ours.next()) {
        (Some(lease), None) => Ok(lease.id),
        (None, _) => Err("no lease appeared below the path; an engine without leases can't be used here"),
        (Some(_), Some(_)) => Err("several leases appeared below the path at once; nobody else may read it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, text: &str) -> Failure {
        Failure::Said { status, errors: vec![text.into()] }
    }

    #[test]
    fn only_invalid_lease_says_gone() {
        assert!(says_gone(&said(400, "invalid lease")));
        for other in [
            said(400, "lease not found"),
            said(400, "failed to revoke entry: invalid lease"),
            said(403, "invalid lease"),
            said(404, "invalid lease"),
            said(503, "Vault is sealed"),
            Failure::Said { status: 400, errors: Vec::new() },
            Failure::Foreign { status: 400 },
            Failure::Unreadable,
        ] {
            assert!(!says_gone(&other));
        }
    }

    #[test]
    fn only_a_404_without_words_is_an_empty_list() {
        assert!(is_empty_list(&Failure::Said { status: 404, errors: Vec::new() }));
        for other in [
            said(404, "no handler for route \"sys/leases/lookup/database\". route entry not found."),
            said(404, "namespace not found"),
            Failure::Said { status: 400, errors: Vec::new() },
            Failure::Foreign { status: 404 },
        ] {
            assert!(!is_empty_list(&other));
        }
    }

    #[test]
    fn wrapping_tokens_are_told_by_their_form() {
        let hash = "a5ff8e229aeae2019f946045b874bdc4ee7164c2979e5d48766fa779982657b0";
        assert!(is_wrapping_token(&format!("h{hash}")));
        assert!(is_wrapping_token(&format!("h{hash}.mCsXd")));
        assert!(!is_wrapping_token("tr46VGDTiQ5qteYP87BbVMKz"));
        assert!(!is_wrapping_token(hash));
    }

    fn seen(id: &str, millis: i64) -> LeaseSeen {
        let issued_at = DateTime::UNIX_EPOCH + TimeDelta::milliseconds(millis);
        LeaseSeen { id: LeaseId::new(id), issued_at, given_up: false }
    }

    #[test]
    fn the_lease_is_the_one_of_that_time() {
        let found = only_one(vec![seen("old", -5000), seen("ours", 1)], DateTime::UNIX_EPOCH);
        assert_eq!(found, Ok(LeaseId::new("ours")));
    }

    #[test]
    fn none_or_two_are_no_answer() {
        assert!(only_one(vec![seen("late", 5000)], DateTime::UNIX_EPOCH).is_err());
        assert!(only_one(vec![seen("one", 1), seen("two", 2)], DateTime::UNIX_EPOCH).is_err());
    }
}
