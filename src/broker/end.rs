//! Step 4: the grant ends: because its window closed, because somebody said so, or because something failed. There is
//! one path that ends access, and this is it.
//!
//! Beginning is a commit; everything after it is idempotent, so a crash repeats a step at worst. A grant is over only
//! when Vault said that its lease is gone (I3); until then it says REVOKING, and how far it got.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tracing::error;

use super::{Broker, Error, claim::FIRST_TTL, claim::about};
use crate::{
    access::{
        actor::{Actor, Caller},
        grant::{Ending, Grant, Issued, Leased, State},
        handle::{Accessor, LeaseId},
        id::GrantId,
        policy::{Subject, Verb},
        revocation::{Cause, Confirmation, Step},
        text::Prose,
    },
    store::Write,
    vault::VaultError,
};

/// How long Vault works on one request at most, by default (`default_max_request_duration`).
const VAULT_REQUEST_MAX: Duration = Duration::from_secs(90);
/// How far Vault's clock and ours may be apart when a lease is told by its time of issue.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(30);

/// What stopped an ending, and at which step.
struct Stopped {
    step: Step,
    error: String,
}

impl Stopped {
    fn at(step: Step) -> impl Fn(VaultError) -> Self {
        move |error| Self { step, error: error.to_string() }
    }
}

impl Broker {
    /// Ends the caller's own grant.
    ///
    /// # Errors
    ///
    /// If it doesn't exist or isn't the caller's, or if the store fails.
    pub async fn release(self: &Arc<Self>, caller: &Caller, id: GrantId) -> Result<Grant, Error> {
        self.end(Verb::ReleaseGrant, caller, id, Cause::Released, None).await
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
        self.end(Verb::RevokeGrant, caller, id, Cause::RevokedByOperator, Some(reason)).await
    }

    async fn end(
        self: &Arc<Self>,
        verb: Verb,
        caller: &Caller,
        id: GrantId,
        cause: Cause,
        reason: Option<Prose>,
    ) -> Result<Grant, Error> {
        let name = format!("grants/{id}");
        let Some(grant) = self.store.grant(id).await? else { return Err(Error::NotFound { name }) };
        let subject = Subject::Owned(&grant.target, &grant.holder);
        self.allow(verb, caller, subject, about(&grant), &name).await?;
        let (broker, actor) = (Arc::clone(self), Actor::Person(caller.person.clone()));
        self.to_its_end(async move { broker.begin_ending(id, cause, actor, reason.as_ref()).await }).await
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
        let found = self.store.grant(id).await?;
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
        match grant.clone().begin(cause, actor.clone(), reason, self.clock.now()) {
            Some(change) => {
                let recorded = self.commit(&[Write::Grant(&change)]).await;
                let after = change.into_after();
                if let (Err(Error::StoreUnavailable(_)), State::Revoking(ending)) = (&recorded, &after.state)
                {
                    self.end_unrecorded(&after, ending).await;
                }
                recorded.map(|()| after)
            }
            None => Ok(grant),
        }
    }

    async fn end_unrecorded(&self, grant: &Grant, ending: &Ending) {
        let (ended, error) = match self.undo(grant, ending).await {
            Ok(_) => (true, None),
            Err(stopped) => (false, Some(stopped.error)),
        };
        error!(
            "event.action" = "grant-ended-unrecorded",
            "hallpass.grant.id" = %grant.id,
            "hallpass.ended" = ended,
            "error.message" = error,
            "the end of a grant can't be recorded; ended it in Vault as far as possible",
        );
    }

    /// Begins to end a grant whose window is over, and tries once to bring an ending to its end. True if the grant is
    /// over, or needn't end.
    ///
    /// # Errors
    ///
    /// If the store fails; what Vault did stays done, and the next try repeats it harmlessly.
    pub async fn pursue(&self, id: GrantId) -> Result<bool, Error> {
        let Some(mut grant) = self.store.grant(id).await? else { return Ok(true) };
        if grant.window.is_closed(self.clock.now()) {
            // A claim that is at work when its window closes loses against this, and cleans up after itself.
            grant = self.begin_ending(id, Cause::WindowClosed, Actor::Daemon, None).await?;
        }
        let State::Revoking(ending) = &grant.state else { return Ok(true) };
        match self.undo(&grant, ending).await {
            Ok(confirmation) => {
                let lease = match &ending.issued {
                    Issued::Lease(leased) => Some(self.handles.digest(leased.lease.expose())),
                    Issued::Nothing | Issued::Token(_) => None,
                };
                let confirmed = grant.confirm(confirmation, lease, self.clock.now());
                let change = confirmed.map_err(|failure| Error::Internal(Box::new(failure)))?;
                self.commit(&[Write::Grant(&change)]).await?;
                self.issuing.forget(id);
                Ok(true)
            }
            Err(Stopped { step, error }) => {
                if let Some(change) = grant.retry(step, error, self.clock.now()) {
                    self.commit(&[Write::Grant(&change)]).await?;
                }
                Ok(false)
            }
        }
    }

    async fn undo(&self, grant: &Grant, ending: &Ending) -> Result<Confirmation, Stopped> {
        match &ending.issued {
            Issued::Nothing => Ok(Confirmation::NothingIssued),
            Issued::Token(token) => self.undo_unknown(grant, ending, token).await,
            Issued::Lease(leased) => self.undo_lease(leased).await,
        }
    }

    /// Tries every step, also after one that failed: a wrapping token that resists must not keep the account alive.
    async fn undo_lease(&self, leased: &Leased) -> Result<Confirmation, Stopped> {
        let (wrapping, token) = tokio::join!(
            self.issuer.revoke_wrapping(&leased.wrapping),
            self.issuer.revoke_token(&leased.token)
        );
        let lease = self.issuer.revoke_lease(&leased.lease).await;
        wrapping.map_err(Stopped::at(Step::Wrapping))?;
        token.map_err(Stopped::at(Step::Token))?;
        lease.map_err(Stopped::at(Step::Lease))?;
        self.must_be_gone(&leased.lease).await?;
        Ok(Confirmation::LeaseGone)
    }

    /// Ends a grant whose token may have read a credential that nobody knows of. With the token revoked and the path to
    /// ourselves, a lease below it that no grant recorded, and that was issued while the token could read, is taken for
    /// ours. A read that had no answer may still be under way in Vault, so it isn't over before that is impossible.
    async fn undo_unknown(
        &self,
        grant: &Grant,
        ending: &Ending,
        token: &Accessor,
    ) -> Result<Confirmation, Stopped> {
        self.issuer.revoke_token(token).await.map_err(Stopped::at(Step::Token))?;
        let _alone = self.paths.lock(&grant.credential_path).await;
        for lease in self.unrecorded_leases(grant, ending).await? {
            self.issuer.revoke_lease(&lease).await.map_err(Stopped::at(Step::Lease))?;
            self.must_be_gone(&lease).await?;
        }
        let settled_at = settled_at(ending);
        if !self.issuing.is_settled(grant.id) && self.clock.now() < settled_at {
            let error =
                format!("nothing found so far, but Vault may be at work on a read until {settled_at}");
            return Err(Stopped { step: Step::Confirmation, error });
        }
        Ok(Confirmation::NoLeaseLeft)
    }

    async fn unrecorded_leases(&self, grant: &Grant, ending: &Ending) -> Result<Vec<LeaseId>, Stopped> {
        let known = self.store.known_leases(&grant.credential_path).await;
        let known = known.map_err(|error| Stopped { step: Step::Lease, error: error.to_string() })?;
        let seen = self.issuer.leases(&grant.credential_path).await.map_err(Stopped::at(Step::Lease))?;
        let from = grant.opened_at - CLOCK_SKEW_MAX;
        let until = settled_at(ending) + CLOCK_SKEW_MAX;
        let could_be_ours = |issued_at: DateTime<Utc>| from <= issued_at && issued_at <= until;
        let unrecorded =
            seen.into_iter().filter(|lease| could_be_ours(lease.issued_at) && !known.contains(&lease.id));
        Ok(unrecorded.map(|lease| lease.id).collect())
    }

    async fn must_be_gone(&self, lease: &LeaseId) -> Result<(), Stopped> {
        match self.issuer.lease_gone(lease).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Stopped {
                step: Step::Confirmation,
                error: "Vault still has the lease, although its revocation was answered".to_owned(),
            }),
            Err(error) => Err(Stopped::at(Step::Confirmation)(error)),
        }
    }
}

/// When no read of the grant's token can be under way any more. The token was on record when the ending began, can be
/// used until its first TTL is over, and its last read takes one request's time. Counted from there and not from the
/// intent, because nothing bounds what lies between: a login, other people's reads, a Vault that is slow to make the token.
fn settled_at(ending: &Ending) -> DateTime<Utc> {
    ending.begun_at + FIRST_TTL + VAULT_REQUEST_MAX
}
