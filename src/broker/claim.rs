//! Step 3: the requester claims, the window opens, and a credential is made.
//!
//! The recipe is safe against a crash after any line: the intent is committed before anything is asked of Vault (I1), the
//! token's accessor before the token is used, the lease before the credential can reach anybody. Whatever goes wrong, the
//! grant begins to end, and ending finds what may exist. Nothing here is retried: a second try is a second claim.

use std::{sync::Arc, time::Duration};

use secrecy::SecretString;
use tracing::warn;

use super::{Broker, Error, duty::Working};
use crate::{
    access::{
        actor::{Actor, Caller},
        event::About,
        grant::{self, Grant, Issued, Leased, OutOfOrder},
        handle::Accessor,
        id::{GrantId, RequestId},
        policy::{Subject, Verb},
        refusal::Refusal,
        request::{Request, State},
        revocation::Cause,
        target::Target,
        window::Window,
    },
    failpoint::{Point, reach},
    store::{Duty, Write},
    vault::{GrantToken, Outcome, VaultError, Wrapped},
};

/// A grant token's first TTL: longer than issuing takes, and short enough that a token which a crash left behind is
/// harmless soon.
pub(super) const FIRST_TTL: Duration = Duration::from_mins(1);

/// How often the end is set while Vault is too slow for it. Each try allows for what the slowest one before took.
const SHORTEN_TRIES: u32 = 3;

/// A credential that was issued, wrapped.
#[derive(Debug)]
pub struct Claimed {
    /// The grant, ACTIVE.
    pub grant: Grant,
    /// The single-use token that opens it. It is kept nowhere.
    pub wrapping_token: SecretString,
    /// How long it can be opened.
    pub wrapping_ttl: Duration,
    /// The path that it was read from.
    pub creation_path: String,
    /// Whether somebody had opened the credential that this one replaces. If it wasn't the holder, it was stolen.
    pub earlier_opened: bool,
}

/// Why making a credential stopped half way.
#[derive(Debug, thiserror::Error)]
enum Halt {
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("recording it: {0}")]
    Record(#[from] Error),
    #[error("{0}; somebody ended it meanwhile")]
    Ended(#[from] OutOfOrder),
    #[error("Vault takes too long to set the credential's end, which so would lie after the window's")]
    Slow,
}

impl Halt {
    /// What the holder is told: at which step it stopped. What Vault or a database said of it may quote a statement or an
    /// address; that is for the log.
    fn told(&self) -> String {
        match self {
            Self::Vault(error) => format!("Vault: {}", error.operation),
            other => other.to_string(),
        }
    }
}

impl Broker {
    /// Claims an approved request, or claims again. Goes on to its end when the caller hangs up: then nobody has the
    /// wrapping token, and the holder claims again.
    ///
    /// # Errors
    ///
    /// If the request doesn't exist, isn't the caller's, isn't approved as it stands, or was claimed before and `reissue`
    /// isn't asked for; if nothing can be issued now; or if issuing fails.
    pub async fn claim(
        self: &Arc<Self>,
        caller: &Caller,
        id: RequestId,
        reissue: bool,
    ) -> Result<Claimed, Error> {
        if self.stopping.is_cancelled() {
            return Err(Error::Stopping);
        }
        let (broker, caller) = (Arc::clone(self), caller.clone());
        self.to_its_end(async move {
            let earlier_opened = broker.end_earlier(&caller, id, reissue).await?;
            let (grant, target, at_work) = again_on_conflict!(broker.intend(&caller, id, reissue))?;
            let claimed = broker.issue(grant, &target, at_work).await?;
            Ok(Claimed { earlier_opened, ..claimed })
        })
        .await
    }

    /// Commits the intent: the request CLAIMED and the grant ISSUING, in one. Who is at work on it is known before it is
    /// committed, because a sweep takes a grant ISSUING that nobody is at work on for what a crash left.
    ///
    /// If the configuration was changed since the caller was let in, nothing is committed (`commit_allowed`): so no grant is
    /// opened on a target that was taken out meanwhile.
    async fn intend(
        &self,
        caller: &Caller,
        id: RequestId,
        reissue: bool,
    ) -> Result<(Grant, Target, Working<'_>), Error> {
        let (request, about, name) = self.load(id).await?;
        let subject = Subject::Owned(&request.ask.target, &request.ask.requester);
        self.allow(Verb::ClaimGrant, caller, subject, about, &name).await?;
        let target = self.policy.targets.get(&request.ask.target);
        self.must_be_approved(&request, target)?;
        self.must_still_be_signed(&request, target).await?;
        self.must_not_be_frozen(&request.ask.target).await?;
        reach(Point::ClaimAllowed);
        let (grant, at_work) = if matches!(request.state, State::Claimed { .. }) {
            self.intend_again(caller, &request, target, reissue).await?
        } else {
            self.intend_first(request, target).await?
        };
        // The rules refused a target that isn't configured before.
        let gone = Error::Refused { name, refusal: Refusal::TargetChanged };
        target.cloned().map(|target| (grant, target, at_work)).ok_or(gone)
    }

    /// Whether enough people have approved who may do so, by what is known of people now. Everything else about the
    /// approvals is the request's own rule, also that there must be a target.
    pub(super) fn must_be_approved(&self, request: &Request, target: Option<&Target>) -> Result<(), Error> {
        let claimable = matches!(request.state, State::Approved { .. } | State::Claimed { .. });
        if claimable && target.is_some_and(|target| !self.policy.is_approved(request, target)) {
            let (name, refusal) = (format!("requests/{}", request.id), Refusal::ApprovalInvalid);
            return Err(Error::Refused { name, refusal });
        }
        Ok(())
    }

    async fn intend_first(
        &self,
        request: Request,
        target: Option<&Target>,
    ) -> Result<(Grant, Working<'_>), Error> {
        let now = self.clock.now();
        let name = format!("requests/{}", request.id);
        let (claimed, warrant) =
            request.claim(now, target).map_err(|refusal| Error::Refused { name, refusal })?;
        self.must_be_issuable(target).await?;
        let rule = |target: &Target, held| target.limits.allow(held, now);
        let _counting = self.within_limits(claimed.after(), target, rule).await?;
        let id = GrantId::new(now, self.clock.random());
        let at_work = self.at_work(id).await?;
        let opened = Grant::open(id, warrant, now);
        self.commit_allowed(&[Write::Request(&claimed), Write::Grant(&opened)]).await?;
        Ok((opened.into_after(), at_work))
    }

    /// Opens another grant in the window of the one before, which begins to end unless it does so already: it was being
    /// made, so nobody has its credential.
    async fn intend_again(
        &self,
        caller: &Caller,
        request: &Request,
        target: Option<&Target>,
        reissue: bool,
    ) -> Result<(Grant, Working<'_>), Error> {
        let name = format!("requests/{}", request.id);
        let Some(before) = self.grants_of(request.id).await?.into_iter().next() else {
            return Err(Error::NotFound { name });
        };
        let now = self.clock.now();
        let warrant = request
            .claim_again(now, target, &before, reissue)
            .map_err(|refusal| Error::Refused { name, refusal })?;
        self.must_be_issuable(target).await?;
        let rule = |target: &Target, held| target.limits.allow_again(held);
        let _counting = self.within_limits(request, target, rule).await?;
        // The order of the ids says which grant of a request is the latest.
        let id = GrantId::after(before.id, now, self.clock.random());
        let at_work = self.at_work(id).await?;
        let opened = Grant::open(id, warrant, now);
        match before.begin(Cause::Reissued, Actor::Person(caller.person.clone()), None, now) {
            Some(begun) => self.commit_allowed(&[Write::Grant(&begun), Write::Grant(&opened)]).await?,
            None => self.commit_allowed(&[Write::Grant(&opened)]).await?,
        }
        Ok((opened.into_after(), at_work))
    }

    async fn issue(&self, grant: Grant, target: &Target, at_work: Working<'_>) -> Result<Claimed, Error> {
        reach(Point::IntentRecorded);
        let (id, about) = (grant.id, about(&grant));
        let made = self.make(grant, target).await;
        drop(at_work);
        match made {
            Ok(claimed) => Ok(claimed),
            Err(halt) => {
                let reason = halt.to_string();
                warn!(
                    "event.action" = "issue-failed",
                    "hallpass.request.id" = about.request.map(|id| id.to_string()),
                    "hallpass.grant.id" = %id,
                    "hallpass.target.name" = %target.name,
                    "error.message" = reason,
                    "issuing failed; whatever may exist is being revoked",
                );
                // If even this can't be recorded, the sweep finds a grant ISSUING that nobody is at work on.
                let _ = self.begin_ending(id, Cause::IssueFailed, Actor::Daemon, None).await;
                Err(Error::IssueFailed { grant: id, reason: halt.told() })
            }
        }
    }

    async fn make(&self, grant: Grant, target: &Target) -> Result<Claimed, Halt> {
        let minted = self.issuer.mint(grant.id, &target.vault_policy, FIRST_TTL).await?;
        reach(Point::TokenMinted);
        let token = minted.accessor.clone();
        let grant = self.record_token(grant, &token).await?;
        reach(Point::TokenRecorded);
        let (grant, wrapped, wrap_ttl) = self.read(grant, minted).await?;
        let leased = match &grant.state {
            grant::State::Issuing { issued: Issued::Lease(leased) } => leased,
            other => return Err(OutOfOrder { state: other.name(), action: "shortened" }.into()),
        };
        self.shorten(leased, grant.window).await?;
        reach(Point::Shortened);
        let active = grant.activate(self.clock.now())?;
        self.commit_on_duty(&active, &[]).await?;
        reach(Point::Activated);
        Ok(Claimed {
            grant: active.into_after(),
            wrapping_token: wrapped.token,
            wrapping_ttl: wrap_ttl,
            creation_path: wrapped.creation_path,
            earlier_opened: false,
        })
    }

    /// Sets the end of token and lease to the window's. Vault counts from when it does it, not from when it was asked, so
    /// an answer that took long may mean a later end; then it is asked again, for as much less as it took.
    async fn shorten(&self, leased: &Leased, window: Window) -> Result<(), Halt> {
        let mut allowance = Duration::ZERO;
        for _ in 0..SHORTEN_TRIES {
            let asked_at = self.clock.now();
            let left = window.left(asked_at).saturating_sub(allowance);
            self.issuer.shorten(&leased.token, &leased.lease, left).await?;
            let now = self.clock.now();
            if now + Duration::from_secs(left.as_secs()) <= window.closes_at() {
                return Ok(());
            }
            allowance = allowance.max((now - asked_at).to_std().unwrap_or_default());
        }
        Err(Halt::Slow)
    }

    async fn record_token(&self, grant: Grant, accessor: &Accessor) -> Result<Grant, Halt> {
        let digest = self.handles.digest(accessor.expose());
        let recorded = async {
            let change = grant.minted(accessor.clone(), digest, self.clock.now())?;
            self.commit_on_duty(&change, &[]).await?;
            Ok(change.into_after())
        };
        let recorded = recorded.await;
        if recorded.is_err() {
            // Nobody will know this token, and it has read nothing: it dies by itself, or now.
            let _ = self.issuer.revoke_token(accessor).await;
        }
        recorded
    }

    /// Reads the credential and records its lease, alone at its path. Answers with how long it can be opened as well.
    async fn read(&self, grant: Grant, token: GrantToken) -> Result<(Grant, Wrapped, Duration), Halt> {
        let path = grant.credential_path.clone();
        let on_path = Duty::Path(path.clone());
        let _alone = self.alone(&self.paths, &path, on_path.clone()).await?;
        // Asked for only now, since waiting for the path took of the window.
        let wrap_ttl = self.wrap_ttl.min(grant.window.left(self.clock.now()));
        let wrapped = match self.issuer.read_wrapped(token, &path, wrap_ttl).await {
            Ok(wrapped) => wrapped,
            Err(error) => {
                if error.outcome == Outcome::Refused {
                    self.issuing.settle(grant.id);
                }
                return Err(error.into());
            }
        };
        self.issuing.settle(grant.id);
        reach(Point::LeaseFound);
        let recorded = self.record_lease(grant, &wrapped, &on_path).await;
        reach(Point::LeaseRecorded);
        if recorded.is_err() {
            // Ending finds this lease below the path as well; this only is sooner.
            let _ = self.issuer.revoke_wrapping(&wrapped.accessor).await;
            let _ = self.issuer.revoke_lease(&wrapped.lease).await;
        }
        Ok((recorded?, wrapped, wrap_ttl))
    }

    async fn record_lease(&self, grant: Grant, wrapped: &Wrapped, on_path: &Duty) -> Result<Grant, Halt> {
        let digests =
            (self.handles.digest(wrapped.lease.expose()), self.handles.digest(wrapped.accessor.expose()));
        let now = self.clock.now();
        let change = grant.leased(wrapped.lease.clone(), wrapped.accessor.clone(), digests, now)?;
        self.commit_on_duty(&change, &[Write::Fenced(on_path)]).await?;
        Ok(change.into_after())
    }
}

/// What events about a grant name.
pub(super) fn about(grant: &Grant) -> About {
    About { request: Some(grant.request), grant: Some(grant.id), target: Some(grant.target.clone()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::Outcome;

    #[test]
    fn the_holder_is_not_told_what_a_database_said() {
        let reason = "500: pq: syntax error at or near \"PASWORD\" in CREATE ROLE …; dial tcp 10.1.2.3:5432"
            .to_owned();
        let error = VaultError { operation: "read the credential", reason, outcome: Outcome::Unknown };
        assert_eq!(Halt::from(error).told(), "Vault: read the credential");
    }
}
