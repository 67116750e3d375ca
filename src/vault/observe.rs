//! Looking at Vault without changing anything: whether a wrapped credential was opened, what Vault gave up on, and what
//! time it has.
//!
//! Vault's time isn't read from an HTTP header, which has whole seconds only and may be a proxy's.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};

use super::{
    VaultError,
    endpoints::{CountLeases, ListMounts, LookUpAccessor, LookUpSelf},
    error::{Failure, Operation},
    lane::Lane,
};
use crate::access::handle::Accessor;

/// How long the answer stays wrapped that tells the time: the shortest that there is. Nobody opens it.
const TIME_WRAP_TTL: Duration = Duration::from_secs(1);

const LOOK_AT_WRAPPING: Operation =
    Operation::new("look the wrapped credential up", "auth/token/lookup-accessor", "update");
const COUNT: Operation = Operation::new("count the leases that Vault gave up on", "sys/leases/count", "read");
const TELL_TIME: Operation = Operation::new("ask for the time", "auth/token/lookup-self", "read");

impl Lane {
    /// Whether the wrapping token lives. Being denied is no answer: it can as well be a missing right.
    pub(super) async fn wrapping_unopened(&self, wrapping: &Accessor) -> Result<bool, VaultError> {
        match self.ask(|| LookUpAccessor { accessor: wrapping.expose().to_owned() }).await {
            Ok(answer) if answer.data.is_some() => Ok(true),
            Ok(_) => Err(LOOK_AT_WRAPPING.error(&Failure::Unreadable, &[])),
            Err(failure) if says_no_token(&failure) => Ok(false),
            Err(failure) => Err(LOOK_AT_WRAPPING.error(&failure, &[wrapping.expose()])),
        }
    }

    /// How many leases Vault tries only once a day, by mount.
    pub(super) async fn gave_up(&self) -> Result<BTreeMap<String, u64>, VaultError> {
        let asked = self.ask(|| CountLeases { r#type: "irrevocable".into() }).await;
        let answer = asked.map_err(|f| COUNT.error(&f, &[]))?;
        let counted = answer.data.ok_or_else(|| COUNT.error(&Failure::Unreadable, &[]))?.counts;
        if counted.is_empty() {
            return Ok(counted);
        }
        let paths = self.mount_paths().await;
        let path = |accessor: String| paths.get(&accessor).cloned().unwrap_or(accessor);
        Ok(counted.into_iter().map(|(accessor, count)| (path(accessor), count)).collect())
    }

    /// The paths of the mounts that the daemon's policy lets it see, by accessor. They are for people to read, and the
    /// count is worth telling without them, so that not getting them is no error.
    async fn mount_paths(&self) -> BTreeMap<String, String> {
        let mounts = self.ask(|| ListMounts {}).await.ok().and_then(|answer| answer.data);
        let named = mounts.into_iter().flat_map(|mounts| mounts.secret);
        named.map(|(path, mount)| (mount.accessor, path)).collect()
    }

    /// Vault stamps each wrapping with its own time, to the nanosecond.
    pub(super) async fn time(&self) -> Result<DateTime<Utc>, VaultError> {
        let asked = self.ask_wrapped(Some(TIME_WRAP_TTL), || LookUpSelf {}).await;
        let answer = asked.map_err(|f| TELL_TIME.error(&f, &[]))?;
        let info = answer.wrap_info.ok_or_else(|| TELL_TIME.error(&Failure::Unreadable, &[]))?;
        Ok(info.creation_time)
    }
}

/// The wrapping token is used up or has expired, or that is happening at this very moment.
fn says_no_token(failure: &Failure) -> bool {
    failure.said(400, "invalid accessor") || failure.said(403, "bad token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_answers_mean_that_the_wrapping_token_is_gone() {
        let said = |status, text: &str| says_no_token(&Failure::Said { status, errors: vec![text.into()] });
        assert!(said(400, "1 error occurred:\n\t* invalid accessor\n\n"));
        assert!(said(403, "bad token"));
        assert!(!said(403, "permission denied"));
        assert!(!said(403, "invalid accessor"));
        assert!(!said(400, "missing accessor"));
        assert!(!said(500, "bad token"));
        assert!(!says_no_token(&Failure::Foreign { status: 400 }));
    }
}
