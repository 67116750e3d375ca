//! Alarms about endings that take longer than they may.

use chrono::{DateTime, Utc};
use tracing::error;

use super::{Broker, Error};
use crate::{
    access::grant::{Grant, State},
    store::Write,
};

/// How many endings are read at a time.
const PAGE: u32 = 500;

impl Broker {
    /// Raises the alarms that are due by now, and answers with when to look again.
    ///
    /// # Errors
    ///
    /// If the store can't be read; a failure to record one alarm doesn't keep the others from being raised.
    pub async fn raise_alarms(&self) -> Result<DateTime<Utc>, Error> {
        let now = self.clock.now();
        // What begins to end from now on is due then, at the earliest.
        let mut next = now + self.alarm_after;
        let (mut after, mut recorded) = (None, Ok(()));
        loop {
            let page = self.store.endings(after, PAGE).await?;
            let is_last = page.len() < PAGE as usize;
            for grant in page {
                let State::Revoking(ending) = &grant.state else { continue };
                after = Some((ending.begun_at, grant.id));
                let at = ending.alarm_at(self.alarm_after);
                if at > now {
                    next = next.min(at);
                } else {
                    recorded = recorded.and(self.raise(grant, now).await);
                }
            }
            if is_last {
                return recorded.map(|()| next);
            }
        }
    }

    async fn raise(&self, grant: Grant, now: DateTime<Utc>) -> Result<(), Error> {
        let (id, target) = (grant.id, grant.target.clone());
        let Some(change) = grant.alarm(self.alarm_after, now) else { return Ok(()) };
        match self.commit(&[Write::Grant(&change)]).await {
            // It was tried just now; if it still is overdue, the next look finds it.
            Err(Error::Conflict) => Ok(()),
            Ok(()) => {
                error!(
                    "event.action" = "revocation-overdue",
                    "hallpass.grant.id" = %id,
                    "hallpass.target.name" = %target,
                    "a grant can't be ended; its credential may still work",
                );
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }
}
