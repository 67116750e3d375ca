//! Step 4: the grant ends: because its window closed, because somebody said so, or because something failed. There is
//! one path that ends access, and this is it.
//!
//! Beginning is a commit; everything after it is idempotent, so a crash repeats a step at worst. A grant is over only
//! when Vault said that its lease is gone (I3); until then it says REVOKING, and how far it got. A window's end is on
//! record since the grant was opened, so when it comes, Vault is asked at once, beside the commit.

use std::sync::Arc;

use tracing::error;

use super::{
    Broker, Error,
    claim::about,
    journal::{Begun, Unrecorded},
    undo::{Manner, Stopped},
};
use crate::{
    access::{
        actor::{Actor, Caller},
        event::{Event, Fact},
        grant::{Ending, Grant, Issued, State},
        id::GrantId,
        policy::{Subject, Verb},
        revocation::{Cause, Confirmation},
        text::Prose,
    },
    failpoint::{Point, reach},
    store::{Duty, Write},
};

/// How a try to bring an ending to its end went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// The grant is over, or needn't end. If that couldn't be recorded, it is kept and will be.
    Over,
    /// Something didn't work.
    Failed,
    /// Nothing failed, but it can't be over yet.
    NotYet,
    /// Nothing failed, and Vault is at it: to be tried again as soon as those were that haven't been yet.
    Again,
}

impl Broker {
    /// Ends the caller's own grant. `wrapping_opened` says that somebody else had opened the wrapped credential, which is
    /// recorded as an alarm.
    ///
    /// # Errors
    ///
    /// If it doesn't exist or isn't the caller's, or if the store fails.
    pub async fn release(
        self: &Arc<Self>,
        caller: &Caller,
        id: GrantId,
        wrapping_opened: bool,
    ) -> Result<Grant, Error> {
        let notice = wrapping_opened.then_some(Fact::WrappingTokenOpened { noticed_by: "HOLDER" });
        self.end(Verb::ReleaseGrant, caller, id, Cause::Released, None, notice).await
    }

    /// Ends anybody's grant.
    ///
    /// # Errors
    ///
    /// If it doesn't exist or the caller doesn't operate, or if the store fails.
    pub async fn revoke(
        self: &Arc<Self>,
        caller: &Caller,
        id: GrantId,
        reason: Prose,
    ) -> Result<Grant, Error> {
        self.end(Verb::RevokeGrant, caller, id, Cause::RevokedByOperator, Some(reason), None).await
    }

    async fn end(
        self: &Arc<Self>,
        verb: Verb,
        caller: &Caller,
        id: GrantId,
        cause: Cause,
        reason: Option<Prose>,
        notice: Option<Fact>,
    ) -> Result<Grant, Error> {
        let name = format!("grants/{id}");
        // Not by the way that lists go: who ends access waits for nobody.
        let Some(grant) = self.store.grant_to_end(id).await? else { return Err(Error::NotFound { name }) };
        let (subject, about) = (Subject::Owned(&grant.target, &grant.holder), about(&grant));
        self.allow(verb, caller, subject, about.clone(), &name).await?;
        let (broker, actor) = (Arc::clone(self), Actor::Person(caller.person.clone()));
        self.to_its_end(async move {
            if let Some(fact) = notice {
                let event = Event { at: broker.clock.now(), actor: actor.clone(), about, fact };
                broker.commit(&[Write::Fact(&event)]).await.or_else(unless_unavailable)?;
            }
            broker.begin_ending(id, cause, actor, reason.as_ref()).await
        })
        .await
    }

    /// Commits that a grant begins to end, unless it does already. The sweeper does the rest. If the store fails, what
    /// can be ended is ended all the same (I7), and recorded when the store is back.
    pub(super) async fn begin_ending(
        &self,
        id: GrantId,
        cause: Cause,
        actor: Actor,
        reason: Option<&Prose>,
    ) -> Result<Grant, Error> {
        again_on_conflict!(self.begin_once(id, cause, &actor, reason))
    }

    async fn begin_once(
        &self,
        id: GrantId,
        cause: Cause,
        actor: &Actor,
        reason: Option<&Prose>,
    ) -> Result<Grant, Error> {
        let found = self.store.grant_to_end(id).await?;
        let grant = found.ok_or_else(|| Error::NotFound { name: format!("grants/{id}") })?;
        self.begin_as_read(grant, cause, actor, reason).await
    }

    /// Like [`Self::begin_ending`], but only if the grant still is what was read, and a conflict otherwise.
    pub(super) async fn begin_as_read(
        &self,
        grant: Grant,
        cause: Cause,
        actor: &Actor,
        reason: Option<&Prose>,
    ) -> Result<Grant, Error> {
        let (id, at) = (grant.id, self.clock.now());
        let Some(change) = grant.clone().begin(cause, actor.clone(), reason, at) else { return Ok(grant) };
        reach(Point::EndingDue);
        let recorded = self.commit(&[Write::Grant(&change)]).await;
        let after = change.into_after();
        if let Err(Error::StoreUnavailable(_)) = &recorded {
            let begun = Begun { cause, actor: actor.clone(), reason: reason.cloned(), at };
            self.end_unrecorded(&after, begun).await;
        }
        reach(Point::EndingRecorded);
        if matches!(&after.state, State::Revoking(Ending { issued: Issued::Token(_), .. })) {
            self.read_waited_for(id);
        }
        recorded.map(|()| after)
    }

    async fn end_unrecorded(&self, grant: &Grant, begun: Begun) {
        let State::Revoking(ending) = &grant.state else { return };
        let done = self.undo(grant, ending, Manner::Revoke).await;
        if self.keep(grant, Some(begun), &done) != Tried::Over {
            // The sweeper hears of what is committed, and of this only here.
            self.armed.want(grant, ending);
            self.work.notify_one();
        }
    }

    /// Tries once to bring a grant to its end, if its window is over or if it is ending.
    pub async fn pursue(&self, id: GrantId) -> Tried {
        // A store that can't be asked keeps nothing from being ended: at worst it is ended twice.
        if !self.takes(&Duty::Grant(id)).await.unwrap_or(true) {
            self.armed.forget(id);
            return Tried::Over;
        }
        let tried = self.try_to_end(id).await.unwrap_or_else(|failure| {
            self.armed.forget(id);
            if matches!(failure, Error::OffDuty { .. }) {
                return Tried::Over;
            }
            let failure: &dyn std::error::Error = &failure;
            error!(
                "event.action" = "ending-not-recorded",
                "hallpass.grant.id" = %id,
                error = failure,
                "an ending could not be read or recorded"
            );
            Tried::Failed
        });
        if tried == Tried::Over {
            self.gives_back(Duty::Grant(id));
        }
        tried
    }

    async fn try_to_end(&self, id: GrantId) -> Result<Tried, Error> {
        if let Some(unrecorded) = self.journal.get(id) {
            return Ok(self.try_unrecorded(unrecorded).await);
        }
        let grant = match self.armed.ending(id) {
            Some(grant) => grant,
            None => match self.store.grant_to_end(id).await? {
                Some(grant) => grant,
                None => return Ok(Tried::Over),
            },
        };
        match &grant.state {
            State::Active { .. } if grant.window.is_closed(self.clock.now()) => self.close(grant).await,
            State::Issuing { .. } if grant.window.is_closed(self.clock.now()) => {
                // What exists is known only once nobody can add to it: the claim that is at work loses against this,
                // and cleans up after itself.
                let begun = self.begin_ending(id, Cause::WindowClosed, Actor::Daemon, None).await?;
                self.finish(begun).await
            }
            _ => self.finish(grant).await,
        }
    }

    /// Ends a held grant whose window is over: in Vault and on record at the same time. The lease, which Vault's own clock
    /// ends as well, is looked at first, so that a burst of such ends costs its database nothing twice.
    async fn close(&self, grant: Grant) -> Result<Tried, Error> {
        let (id, at) = (grant.id, self.clock.now());
        let Some(change) = grant.begin(Cause::WindowClosed, Actor::Daemon, None, at) else {
            return Ok(Tried::Over);
        };
        let State::Revoking(ending) = &change.after().state else { return Ok(Tried::Over) };
        reach(Point::EndingDue);
        let writes = [Write::Grant(&change)];
        let (done, recorded) =
            tokio::join!(self.undo(change.after(), ending, Manner::Look), self.commit(&writes));
        reach(Point::EndingRecorded);
        match recorded {
            Ok(()) => self.record_try(change.into_after(), done).await,
            Err(Error::Conflict) => {
                // It moved on while it was held in memory. What was done in Vault counts all the same.
                self.armed.forget(id);
                match self.store.grant_to_end(id).await? {
                    Some(grant) => self.record_try(grant, done).await,
                    None => Ok(Tried::Over),
                }
            }
            Err(Error::StoreUnavailable(_)) => {
                let (cause, actor) = (Cause::WindowClosed, Actor::Daemon);
                // What isn't on record may find no place in the journal either, so it is ended now.
                let done = match done {
                    Err(Stopped { tried: Tried::Again, .. }) => {
                        self.undo(change.after(), ending, Manner::Revoke).await
                    }
                    done => done,
                };
                Ok(self.keep(change.after(), Some(Begun { cause, actor, reason: None, at }), &done))
            }
            Err(failure) => Err(failure),
        }
    }

    async fn finish(&self, grant: Grant) -> Result<Tried, Error> {
        let State::Revoking(ending) = &grant.state else { return Ok(Tried::Over) };
        let done = self.undo(&grant, ending, Manner::Revoke).await;
        self.record_try(grant, done).await
    }

    /// Records how a try went. Somebody else may have recorded something meanwhile (an alarm, another try), so the grant is
    /// read again and again.
    async fn record_try(
        &self,
        mut grant: Grant,
        done: Result<Confirmation, Stopped>,
    ) -> Result<Tried, Error> {
        let id = grant.id;
        for _ in 0..super::COMMIT_ATTEMPTS {
            match self.record_once(grant.clone(), &done).await {
                Err(Error::Conflict) => {
                    self.armed.forget(id);
                    let Some(found) = self.store.grant_to_end(id).await? else { return Ok(Tried::Over) };
                    grant = found;
                }
                Err(Error::StoreUnavailable(_)) => return Ok(self.keep(&grant, None, &done)),
                recorded => return recorded,
            }
        }
        Err(Error::Conflict)
    }

    async fn record_once(&self, grant: Grant, done: &Result<Confirmation, Stopped>) -> Result<Tried, Error> {
        let State::Revoking(ending) = &grant.state else { return Ok(Tried::Over) };
        match done {
            Ok(confirmation) => {
                let lease = self.lease_digest(ending);
                let confirmed = grant.confirm(*confirmation, lease, self.clock.now());
                let change = confirmed.map_err(|failure| Error::Internal(Box::new(failure)))?;
                self.commit_on_duty(&change, &[]).await?;
                reach(Point::EndRecorded);
                self.issuing.forget(change.after().id);
                Ok(Tried::Over)
            }
            Err(Stopped { tried: Tried::Again, .. }) => Ok(Tried::Again),
            Err(stopped) => {
                if let Some(change) = grant.retry(stopped.step, &stopped.error, self.clock.now()) {
                    self.commit_on_duty(&change, &[]).await?;
                }
                Ok(stopped.tried)
            }
        }
    }

    /// Tries again to end what can't be recorded now.
    async fn try_unrecorded(&self, unrecorded: Unrecorded) -> Tried {
        let Unrecorded { grant, confirmed, .. } = unrecorded;
        match &grant.state {
            State::Revoking(ending) if confirmed.is_none() => {
                let done = self.undo(&grant, ending, Manner::Revoke).await;
                self.keep(&grant, None, &done)
            }
            _ => Tried::Over,
        }
    }

    /// Keeps what can't be recorded now.
    fn keep(&self, grant: &Grant, begun: Option<Begun>, done: &Result<Confirmation, Stopped>) -> Tried {
        let now = self.clock.now();
        let confirmed = done.as_ref().ok().map(|confirmation| (*confirmation, now));
        self.journal.keep(Unrecorded { grant: grant.clone(), begun, confirmed }, now);
        self.unrecorded.notify_one();
        error!(
            "event.action" = "grant-ended-unrecorded",
            "hallpass.grant.id" = %grant.id,
            "hallpass.ended" = confirmed.is_some(),
            "error.message" = done.as_ref().err().map(|stopped| stopped.error.as_str()),
            "the end of a grant can't be recorded; ended it in Vault as far as possible",
        );
        done.as_ref().map_or_else(|stopped| stopped.tried, |_| Tried::Over)
    }

    /// What names the lease in the event of the end.
    pub(super) fn lease_digest(&self, ending: &Ending) -> Option<crate::access::event::HandleDigest> {
        match &ending.issued {
            Issued::Lease(leased) => Some(self.handles.digest(leased.lease.expose())),
            Issued::Nothing | Issued::Token(_) => None,
        }
    }
}

/// What can't be recorded keeps nothing from being ended.
fn unless_unavailable(failure: Error) -> Result<(), Error> {
    if matches!(failure, Error::StoreUnavailable(_)) { Ok(()) } else { Err(failure) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;

    #[test]
    fn only_a_record_that_cannot_be_written_is_done_without() {
        let unavailable = StoreError::Unavailable { operation: "commit", source: "the disk is full".into() };
        assert!(unless_unavailable(unavailable.into()).is_ok());
        for failure in [Error::Conflict, Error::Stopping] {
            assert!(unless_unavailable(failure).is_err());
        }
    }
}
