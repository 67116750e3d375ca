//! What the daemon does by itself: deadlines, and finishing what a crash, an outage or a change of configuration left.
//! Without input and idempotent: running it once more than needed does no harm.

use chrono::{DateTime, Utc};
use tracing::warn;

use super::{Broker, Error};
use crate::{
    access::{
        actor::Actor,
        grant::{Grant, State},
        id::GrantId,
        request::Request,
        revocation::Cause,
    },
    store::Write,
};

impl Broker {
    /// Lets lapse and begins to end whatever is due, and answers with the grants that are ending.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn meet_deadlines(&self) -> Result<Vec<GrantId>, Error> {
        let due = self.store.due(self.clock.now()).await?;
        for request in due.lapsing {
            self.lapse(request).await?;
        }
        let mut ending = due.revoking;
        for grant in due.closing {
            // A claim that is at work when its window closes loses against this, and cleans up after itself.
            let grant = self.begin_ending(grant.id, Cause::WindowClosed, Actor::Daemon, None).await?;
            if matches!(grant.state, State::Revoking(_)) {
                ending.push(grant.id);
            }
        }
        Ok(ending)
    }

    /// When the next request lapses or the next window closes.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn next_deadline(&self) -> Result<Option<DateTime<Utc>>, Error> {
        Ok(self.store.next_deadline().await?)
    }

    async fn lapse(&self, request: Request) -> Result<(), Error> {
        let Some(change) = request.lapse(self.clock.now()) else { return Ok(()) };
        match self.commit(&[Write::Request(&change)]).await {
            // Somebody decided or withdrew it just now; if it still is due, the next pass finds it again.
            Err(Error::Conflict) => Ok(()),
            done => done,
        }
    }

    /// Looks at every open grant, for what no deadline tells: grants being made that nobody is at work on (after a
    /// crash), grants of targets that were taken out of the configuration, and leases that are gone although their window
    /// is open.
    ///
    /// # Errors
    ///
    /// If the store fails. What Vault doesn't answer is left for the next time.
    pub async fn sweep(&self) -> Result<(), Error> {
        for grant in self.store.open_grants().await? {
            if let Some(cause) = self.astray(&grant).await {
                self.begin_ending(grant.id, cause, Actor::Daemon, None).await?;
            }
        }
        Ok(())
    }

    /// Why an open grant has to end, if it has.
    async fn astray(&self, grant: &Grant) -> Option<Cause> {
        match &grant.state {
            State::Issuing { .. } => (!self.issuing.is_at_work(grant.id)).then_some(Cause::IssueFailed),
            State::Active { .. } if !self.policy.targets.contains_key(&grant.target) => {
                Some(Cause::TargetRemoved)
            }
            State::Active { leased, .. } => match self.issuer.lease_gone(&leased.lease).await {
                Ok(gone) => gone.then_some(Cause::EndedOutside),
                Err(failure) => {
                    let failure: &dyn std::error::Error = &failure;
                    warn!("hallpass.grant.id" = %grant.id, error = failure, "can't look at a grant's lease");
                    None
                }
            },
            State::Revoking(_) | State::Revoked { .. } | State::Failed { .. } => None,
        }
    }
}
