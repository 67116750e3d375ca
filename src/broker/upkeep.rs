//! What the daemon does by itself: deadlines, and finishing what a crash, an outage or a change of configuration left.
//! Without input and idempotent: running it once more than needed does no harm.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tracing::warn;

use super::{Broker, Error};
use crate::{
    access::{
        actor::Actor,
        grant::{Grant, Leased, State},
        id::{GrantId, RequestId},
        revocation::Cause,
        target::TargetName,
    },
    store::{Due, Write},
};

/// Vault counts in whole seconds, so a lease may be gone a second before its window closes. In a window's last moments
/// that is no news: the deadline is about to be met.
const LAST_MOMENTS: Duration = Duration::from_secs(2);

/// How many open grants are held in memory at once while they are looked at.
const SWEEP_PAGE: u32 = 500;

impl Broker {
    /// What is due: the requests that have to lapse, and the grants whose window is over or that are ending, with their
    /// targets.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub async fn due(
        &self,
        now: DateTime<Utc>,
    ) -> Result<(Vec<RequestId>, Vec<(GrantId, TargetName)>), Error> {
        let Due { lapsing, mut closing, revoking } = self.store.due(now).await?;
        closing.extend(revoking);
        Ok((lapsing, closing))
    }

    /// Lets requests lapse.
    ///
    /// # Errors
    ///
    /// With the first failure to record a lapse, which doesn't keep the others from being recorded.
    pub async fn let_lapse(&self, requests: Vec<RequestId>) -> Result<(), Error> {
        let mut recorded = Ok(());
        for id in requests {
            recorded = recorded.and(self.lapse(id).await);
        }
        recorded
    }

    /// When the next request lapses or the next window closes, later than `now`.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub async fn next_deadline(&self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, Error> {
        Ok(self.store.next_deadline(now).await?)
    }

    async fn lapse(&self, id: RequestId) -> Result<(), Error> {
        let request = self.store.request(id).await?;
        let lapsed = request.and_then(|request| request.lapse(self.clock.now()));
        let Some(change) = lapsed else { return Ok(()) };
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
    /// If the store fails; a failure to record one grant's end doesn't keep the others from being looked at. What Vault
    /// doesn't answer is left for the next time.
    pub async fn sweep(&self) -> Result<(), Error> {
        let (mut vault_answers, mut recorded) = (true, Ok(()));
        let mut after = None;
        loop {
            let page = self.store.open_grants(after, SWEEP_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            for grant in page {
                let cause = match &grant.state {
                    State::Issuing { .. } => {
                        (!self.issuing.is_at_work(grant.id)).then_some(Cause::IssueFailed)
                    }
                    _ if !self.policy.targets.contains_key(&grant.target) => Some(Cause::TargetRemoved),
                    State::Active { leased, .. } if vault_answers => {
                        let gone = self.looked_up(&grant, leased).await;
                        vault_answers = gone.is_some();
                        let early = grant.window.left(self.clock.now()) > LAST_MOMENTS;
                        (gone == Some(true) && early).then_some(Cause::EndedOutside)
                    }
                    _ => None,
                };
                let Some(cause) = cause else { continue };
                match self.begin_as_read(grant, cause, &Actor::Daemon, None).await {
                    // It moved on while others were looked at, so what was found needn't hold any more: a grant that was
                    // being made may be held by now.
                    Ok(_) | Err(Error::Conflict) => {}
                    Err(failure) => recorded = recorded.and(Err(failure)),
                }
            }
        }
        // Whatever a timer missed is due now.
        self.work.notify_one();
        recorded
    }

    /// Whether the lease is gone; `None` if Vault doesn't say.
    async fn looked_up(&self, grant: &Grant, leased: &Leased) -> Option<bool> {
        let answer = self.issuer.lease_gone(&leased.lease).await;
        if let Err(failure) = &answer {
            let failure: &dyn std::error::Error = failure;
            warn!(
                "event.action" = "lease-unknown",
                "hallpass.grant.id" = %grant.id,
                error = failure,
                "can't look at the lease of an open grant"
            );
        }
        answer.ok()
    }

    /// Whether the store answers: the sign of life that the process's supervisor asks for.
    pub async fn is_healthy(&self) -> bool {
        self.store.last_sequence().await.is_ok()
    }
}
