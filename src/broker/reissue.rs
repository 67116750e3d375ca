//! Claiming again: the credential that the holder may have is ended before another one is made, and it is noticed if
//! somebody had opened it.

use chrono::TimeDelta;

use super::{Broker, Error, claim::about, end::Tried};
use crate::{
    access::{
        actor::{Actor, Caller},
        event::{Event, Fact},
        grant::{Grant, Leased, State},
        id::RequestId,
        policy::{Subject, Verb},
        request::State as RequestState,
        revocation::Cause,
    },
    failpoint::{Point, reach},
    store::Write,
};

impl Broker {
    /// Ends what an earlier claim of this request delivered, if the caller may claim again and asks for it. True if
    /// somebody had opened it, which is recorded as an alarm.
    ///
    /// # Errors
    ///
    /// If the rules refuse the claim, or if the earlier credential isn't gone yet.
    pub(super) async fn end_earlier(
        &self,
        caller: &Caller,
        id: RequestId,
        reissue: bool,
    ) -> Result<bool, Error> {
        let (request, subject_of, name) = self.load(id).await?;
        let subject = Subject::Owned(&request.ask.target, &request.ask.requester);
        self.allow(Verb::ClaimGrant, caller, subject, subject_of, &name).await?;
        if !matches!(request.state, RequestState::Claimed { .. }) {
            return Ok(false);
        }
        let Some(earlier) = self.grants_of(id).await?.into_iter().next() else { return Ok(false) };
        let target = self.policy.targets.get(&request.ask.target);
        request
            .claim_again(self.clock.now(), target, &earlier, reissue)
            .map_err(|refusal| Error::Refused { name, refusal })?;
        self.must_be_approved(&request, target)?;
        self.must_still_be_signed(&request, target).await?;
        self.must_not_be_frozen(&request.ask.target).await?;
        self.must_be_issuable(target).await?;
        let opened = match &earlier.state {
            State::Active { leased, .. } => self.was_opened(&earlier, leased).await,
            State::Revoking(ending) if ending.activated_at.is_some() => false,
            // It is over, or was never delivered to anybody.
            _ => return Ok(false),
        };
        let actor = Actor::Person(caller.person.clone());
        if opened {
            self.tell_opened(&earlier, &actor).await?;
        }
        if !self.is_in_force() {
            return Err(Error::Reconfigured);
        }
        let grant = earlier.id;
        self.begin_ending(grant, Cause::Reissued, actor, None).await?;
        match self.pursue(grant).await {
            Tried::Over => {
                reach(Point::EarlierEnded);
                Ok(opened)
            }
            Tried::Failed | Tried::NotYet | Tried::Again => Err(Error::EarlierRemains { grant }),
        }
    }

    /// Whether the wrapped credential was opened by anybody. Only while its wrapping token can't have expired yet does its
    /// absence say so; and what Vault doesn't say isn't taken for an alarm, since it ends in any case.
    async fn was_opened(&self, grant: &Grant, leased: &Leased) -> bool {
        let left = grant.window.closes_at() - grant.opened_at;
        let expires_at =
            grant.opened_at + left.min(TimeDelta::from_std(self.wrap_ttl_min).unwrap_or(TimeDelta::MAX));
        let unopened = self.issuer.wrapping_unopened(&leased.wrapping).await;
        self.clock.now() < expires_at && matches!(unopened, Ok(false))
    }

    async fn tell_opened(&self, grant: &Grant, actor: &Actor) -> Result<(), Error> {
        let fact = Fact::WrappingTokenOpened { noticed_by: "CLAIM" };
        let event = Event { at: self.clock.now(), actor: actor.clone(), about: about(grant), fact };
        self.commit(&[Write::Fact(&event)]).await
    }
}
