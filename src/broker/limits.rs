//! What is held of a target, counted before one more grant is opened. One claim at a time for each target that has limits,
//! from the count to the commit: two that counted the same would both be let in.

use chrono::{DateTime, Utc};
use tokio::sync::OwnedMutexGuard;

use super::{Broker, Error};
use crate::{
    access::{
        grant::{Grant, State},
        limits::{Held, Limits},
        policy::Scope,
        request::Ask,
        target::Target,
    },
    store::{GrantFilter, Slice},
};

/// The states in which a grant's credential may work.
const OPEN: [&str; 3] = ["ISSUING", "ACTIVE", "REVOKING"];
/// How many of a person's last grants are looked at for when the last one ended: they end in another order than they were
/// claimed in.
const LATEST: u32 = 50;

impl Broker {
    /// Refuses where the target's limits are reached. While the answer is kept, nobody else is counted there.
    pub(super) async fn within_limits(
        &self,
        ask: &Ask,
        target: Option<&Target>,
        now: DateTime<Utc>,
    ) -> Result<Option<OwnedMutexGuard<()>>, Error> {
        let Some(target) = target.filter(|target| !target.limits.is_none()) else { return Ok(None) };
        let counting = self.counting.lock(target.name.as_str()).await;
        let held = self.held(ask, &target.limits).await?;
        match target.limits.allow(held, now) {
            Ok(()) => Ok(Some(counting)),
            Err(refusal) => Err(Error::Refused { name: format!("targets/{}", target.name), refusal }),
        }
    }

    async fn held(&self, ask: &Ask, limits: &Limits) -> Result<Held, Error> {
        let of_target = GrantFilter { target: Some(ask.target.clone()), ..GrantFilter::default() };
        let of_person = GrantFilter { holder: Some(ask.requester.subject.clone()), ..of_target.clone() };
        let open = |filter: &GrantFilter| GrantFilter { states: OPEN.to_vec(), ..filter.clone() };
        let mut held = Held::default();
        if let Some(max) = limits.per_person_max {
            held.by_person = self.latest(&open(&of_person), max.get()).await?.len();
        }
        if let Some(max) = limits.grants_max {
            held.in_all = self.latest(&open(&of_target), max.get()).await?.len();
        }
        if limits.pause.is_some() {
            let ended = GrantFilter { states: vec!["REVOKED"], ..of_person };
            let ends = self.latest(&ended, LATEST).await?.into_iter().filter_map(|grant| match grant.state {
                State::Revoked { revoked_at, .. } => Some(revoked_at),
                _ => None,
            });
            held.last_ended_at = ends.max();
        }
        Ok(held)
    }

    async fn latest(&self, filter: &GrantFilter, limit: u32) -> Result<Vec<Grant>, Error> {
        Ok(self.store.grants(&Scope::All, filter, Slice { after: None, limit }).await?)
    }
}
