//! Freezing: operators stop all new grants at once, of one target or of all, and may end what is held as well. What is
//! held ends by the sweep, which goes on with it after a crash.

use std::sync::Arc;

use super::{Broker, Error};
use crate::{
    access::{
        actor::{Actor, Caller},
        event::About,
        freeze::{Extent, Freeze},
        id::FreezeId,
        policy::{Subject, Verb},
        refusal::Refusal,
        revocation::Cause,
        target::TargetName,
        text::Prose,
    },
    store::Write,
};

/// How many grants are read at a time.
const PAGE: u32 = 500;

impl Broker {
    /// Freezes what the extent covers. If it is frozen already, that stands; unless what is held is to end, too, and
    /// didn't so far.
    ///
    /// # Errors
    ///
    /// If the caller doesn't operate, there is no such target, or the store fails. That not all ends could be recorded
    /// isn't one: the sweep goes on.
    pub async fn freeze(
        self: &Arc<Self>,
        caller: &Caller,
        extent: Extent,
        reason: Prose,
        end_grants: bool,
    ) -> Result<Freeze, Error> {
        self.may_freeze(Verb::FreezeTargets, caller, &extent).await?;
        self.must_be_configured(&extent)?;
        let (broker, caller) = (Arc::clone(self), caller.clone());
        self.to_its_end(async move {
            let frozen = again_on_conflict!(broker.freeze_once(&caller, &extent, &reason, end_grants));
            if end_grants && matches!(frozen, Err(Error::StoreUnavailable(_))) {
                broker.end_all(&caller, &extent, &reason).await;
            }
            let freeze = frozen?;
            if end_grants && let Err(failure) = broker.sweep().await {
                let failure: &dyn std::error::Error = &failure;
                tracing::error!(
                    "event.action" = "sweep-failed",
                    error = failure,
                    "not all grants of a freeze could be ended; going on"
                );
            }
            Ok(freeze)
        })
        .await
    }

    /// Ends what is held although the freeze can't be recorded (I7); the ends are recorded when the store is back. What
    /// can't be read isn't ended: the caller hears that the record failed, and tries again.
    async fn end_all(&self, caller: &Caller, extent: &Extent, reason: &Prose) {
        let (mut after, actor) = (None, Actor::Person(caller.person.clone()));
        while let Ok(page) = self.store.open_grants(after, PAGE).await
            && let Some(last) = page.last()
        {
            after = Some(last.id);
            for grant in page.into_iter().filter(|grant| extent.covers(&grant.target)) {
                // It fails like the freeze did, after it has ended what it could.
                let _ = self.begin_as_read(grant, Cause::Frozen, &actor, Some(reason)).await;
            }
        }
    }

    async fn freeze_once(
        &self,
        caller: &Caller,
        extent: &Extent,
        reason: &Prose,
        end_grants: bool,
    ) -> Result<Freeze, Error> {
        let (by, now) = (caller.person.clone(), self.clock.now());
        let change = match self.standing(extent).await? {
            None => {
                let id = FreezeId::new(now, self.clock.random());
                Freeze::begin(id, extent.clone(), by, reason.clone(), end_grants, now)
            }
            Some(freeze) => match end_grants.then(|| freeze.clone().end_grants(by, reason, now)).flatten() {
                Some(change) => change,
                None => return Ok(freeze),
            },
        };
        self.commit(&[Write::Freeze(&change)]).await?;
        Ok(change.into_after())
    }

    /// Ends the freeze of exactly this extent. Grants that it ended stay ended.
    ///
    /// # Errors
    ///
    /// If the caller doesn't operate, it isn't frozen, or the store fails.
    pub async fn thaw(
        self: &Arc<Self>,
        caller: &Caller,
        extent: Extent,
        reason: Prose,
    ) -> Result<Freeze, Error> {
        self.may_freeze(Verb::ThawTargets, caller, &extent).await?;
        let (broker, caller) = (Arc::clone(self), caller.clone());
        self.to_its_end(async move { again_on_conflict!(broker.thaw_once(&caller, &extent, &reason)) }).await
    }

    async fn thaw_once(&self, caller: &Caller, extent: &Extent, reason: &Prose) -> Result<Freeze, Error> {
        let name = || format!("freezes/{extent}");
        let freeze = self.standing(extent).await?.ok_or_else(|| Error::NotFound { name: name() })?;
        let thawed = freeze.thaw(caller.person.clone(), reason, self.clock.now());
        let change = thawed.ok_or_else(|| Error::NotFound { name: name() })?;
        self.commit_allowed(&[Write::Freeze(&change)]).await?;
        Ok(change.into_after())
    }

    /// The freezes that stand, as far as they cover what the caller may see; the one of everything first.
    ///
    /// # Errors
    ///
    /// If the caller has no role at all, or the store fails.
    pub async fn freezes(&self, caller: &Caller) -> Result<Vec<Freeze>, Error> {
        self.allow(Verb::ListFreezes, caller, Subject::Anything, About::default(), "freezes").await?;
        let sees = |freeze: &Freeze| match &freeze.extent {
            Extent::Everything => true,
            Extent::Target(name) => self.policy.allow(Verb::GetTarget, caller, Subject::Target(name)).is_ok(),
        };
        Ok(self.store.freezes().await?.into_iter().filter(sees).collect())
    }

    /// Whether a grant of this target may be opened. The store looks again when one is.
    pub(super) async fn must_not_be_frozen(&self, target: &TargetName) -> Result<(), Error> {
        let covering = self.store.freezes().await?.into_iter().find(|freeze| freeze.extent.covers(target));
        covering.map_or(Ok(()), |freeze| {
            let (name, reason) = (format!("targets/{target}"), freeze.reason.to_string());
            Err(Error::Refused { name, refusal: Refusal::Frozen { since: freeze.frozen_at, reason } })
        })
    }

    async fn standing(&self, extent: &Extent) -> Result<Option<Freeze>, Error> {
        Ok(self.store.freezes().await?.into_iter().find(|freeze| freeze.extent == *extent))
    }

    async fn may_freeze(&self, verb: Verb, caller: &Caller, extent: &Extent) -> Result<(), Error> {
        let target = match extent {
            Extent::Everything => None,
            Extent::Target(name) => Some(name.clone()),
        };
        let about = About { target, ..About::default() };
        self.allow(verb, caller, Subject::Anything, about, &format!("freezes/{extent}")).await
    }

    fn must_be_configured(&self, extent: &Extent) -> Result<(), Error> {
        match extent {
            Extent::Target(name) if !self.policy.targets.contains_key(name) => {
                Err(Error::NotFound { name: format!("targets/{name}") })
            }
            _ => Ok(()),
        }
    }
}
