//! What ending a grant asks of Vault. Every call can be repeated, so a crash repeats a step at worst, and what hangs is
//! asked again beside the call that hangs.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::{Broker, Tried, claim::FIRST_TTL};
use crate::{
    access::{
        grant::{Ending, Grant, Issued, Leased},
        handle::{Accessor, LeaseId},
        id::GrantId,
        revocation::{Confirmation, Step},
    },
    failpoint::{Point, reach},
    store::Duty,
    vault::VaultError,
};

/// How long Vault works on one request at most, by default (`default_max_request_duration`).
const VAULT_REQUEST_MAX: Duration = Duration::from_secs(90);
/// How long a read of a grant's token can be under way after the ending began. The token was on record then, can be used
/// until its first TTL is over, and its last read takes one request's time. Counted from there and not from the intent,
/// because nothing bounds what lies between: a login, other people's reads, a Vault that is slow to make the token.
const READ_MAX: Duration = FIRST_TTL.saturating_add(VAULT_REQUEST_MAX);
/// How far Vault's clock and ours may be apart when a lease is told by its time of issue.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(30);
/// How long a try may be silent before another is begun beside it. A call that hangs for a reason which is gone (a path
/// that was cut, a Vault that was stopped) would otherwise keep the next one waiting until its time-out.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(2500);
/// How many tries of one ending are under way at once.
const TRIES_MAX: usize = 4;

/// How much is done about a lease that is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// It is left to Vault for a moment. Its window just closed, so Vault's own clock is at it, and doing the same twice
    /// would take the database's time from those that wait.
    Look,
    /// It is revoked.
    Revoke,
}

/// What stopped an ending, and at which step.
#[derive(Debug)]
pub(super) struct Stopped {
    pub(super) step: Step,
    pub(super) error: String,
    /// What the try comes to: something failed, or only time has to pass.
    pub(super) tried: Tried,
}

impl Stopped {
    fn at(step: Step) -> impl Fn(VaultError) -> Self {
        move |error| Self::new(step, error.to_string())
    }

    fn new(step: Step, error: impl Into<String>) -> Self {
        Self { step, error: error.into(), tried: Tried::Failed }
    }
}

impl Broker {
    /// Ends in Vault what was issued, and has Vault confirm it.
    pub(super) async fn undo(
        &self,
        grant: &Grant,
        ending: &Ending,
        manner: Manner,
    ) -> Result<Confirmation, Stopped> {
        let mut tries = FuturesUnordered::new();
        tries.push(self.undo_once(grant, ending, manner));
        loop {
            let silent = self.clock.sleep_until(self.clock.now() + ASK_AGAIN_AFTER);
            tokio::select! {
                biased;
                Some(done) = tries.next() => return done,
                () = silent, if tries.len() < TRIES_MAX => tries.push(self.undo_once(grant, ending, manner)),
            }
        }
    }

    async fn undo_once(
        &self,
        grant: &Grant,
        ending: &Ending,
        manner: Manner,
    ) -> Result<Confirmation, Stopped> {
        match &ending.issued {
            Issued::Nothing => Ok(Confirmation::NothingIssued),
            Issued::Token(token) => self.undo_unknown(grant, ending, token).await,
            Issued::Lease(leased) => self.undo_lease(grant, ending, leased, manner).await,
        }
    }

    /// Tries every step, also after one that failed: a wrapping token that resists must not keep the account alive. A
    /// lease that Vault says is gone is gone, whatever its revocation ran into: Vault may have been faster, or the account
    /// had vanished.
    async fn undo_lease(
        &self,
        grant: &Grant,
        ending: &Ending,
        leased: &Leased,
        manner: Manner,
    ) -> Result<Confirmation, Stopped> {
        let looked = match manner {
            Manner::Look => self.issuer.lease_gone(&leased.lease).await.ok(),
            Manner::Revoke => None,
        };
        if looked == Some(false) {
            return Err(Stopped { tried: Tried::Again, ..still_there() });
        }
        let seen_gone = looked.is_some();
        let wrapping = async {
            if !(seen_gone && self.wrapping_is_over(ending)) {
                return self.undo_wrapping(&leased.wrapping).await;
            }
            reach(Point::WrappingRevoked);
            Ok(())
        };
        let ended = async { seen_gone || self.ended_by_itself(grant, leased).await };
        let (wrapping, token, ended) = tokio::join!(wrapping, self.undo_token(&leased.token), ended);
        let gone = if ended {
            reach(Point::LeaseRevoked);
            Ok(())
        } else {
            self.end_lease(&leased.lease).await
        };
        wrapping.and(token).and(gone)?;
        reach(Point::LeaseGone);
        Ok(Confirmation::LeaseGone)
    }

    /// Whether nobody can open the wrapping any more: it was made before the grant was held, and expired by itself. In a
    /// burst of ends that is one call less for each.
    fn wrapping_is_over(&self, ending: &Ending) -> bool {
        let over_at = ending.activated_at.map(|at| at + self.wrap_ttl + CLOCK_SKEW_MAX);
        over_at.is_some_and(|over_at| over_at <= self.clock.now())
    }

    /// Whether Vault, whose own clock ends the lease with the window, has done so: then that is one question, and it waits
    /// for no other revocation of the same database. What it doesn't answer is found out by the next steps.
    async fn ended_by_itself(&self, grant: &Grant, leased: &Leased) -> bool {
        grant.window.is_closed(self.clock.now())
            && self.issuer.lease_gone(&leased.lease).await.unwrap_or(false)
    }

    async fn end_lease(&self, lease: &LeaseId) -> Result<(), Stopped> {
        let revoked = self.issuer.revoke_lease(lease).await.map_err(Stopped::at(Step::Lease));
        reach(Point::LeaseRevoked);
        match (revoked, self.must_be_gone(lease).await) {
            (_, Ok(())) => Ok(()),
            (Err(stopped), _) | (Ok(()), Err(stopped)) => Err(stopped),
        }
    }

    async fn undo_wrapping(&self, wrapping: &Accessor) -> Result<(), Stopped> {
        let done = self.issuer.revoke_wrapping(wrapping).await;
        reach(Point::WrappingRevoked);
        done.map_err(Stopped::at(Step::Wrapping))
    }

    async fn undo_token(&self, token: &Accessor) -> Result<(), Stopped> {
        let done = self.issuer.revoke_token(token).await;
        reach(Point::TokenRevoked);
        done.map_err(Stopped::at(Step::Token))
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
        self.undo_token(token).await?;
        // A store that can't be asked keeps nothing from being ended: at worst, another daemon's lease that isn't recorded yet ends.
        let path = &grant.credential_path;
        let _alone = self.alone(&self.paths, path, Duty::Path(path.clone())).await.ok();
        // Asked before the list is: what a read makes after the list was made isn't on it.
        let left = READ_MAX.saturating_sub(self.read_waited_for(grant.id));
        let is_settled = self.issuing.is_settled(grant.id) || left.is_zero();
        for lease in self.unrecorded_leases(grant, ending).await? {
            self.issuer.revoke_lease(&lease).await.map_err(Stopped::at(Step::Lease))?;
            self.must_be_gone(&lease).await?;
        }
        if is_settled {
            return Ok(Confirmation::NoLeaseLeft);
        }
        let until = self.clock.now() + left;
        let error = format!("nothing found so far, but Vault may be at work on a read until {until}");
        Err(Stopped { tried: Tried::NotYet, ..Stopped::new(Step::Confirmation, error) })
    }

    /// How long a read without an answer has been waited for, by time that passes and not by a clock that can be set
    /// forward. It begins with the ending, or with this process.
    pub(super) fn read_waited_for(&self, id: GrantId) -> Duration {
        self.issuing.waited(id, self.clock.elapsed())
    }

    async fn unrecorded_leases(&self, grant: &Grant, ending: &Ending) -> Result<Vec<LeaseId>, Stopped> {
        let known = self.store.known_leases(&grant.credential_path).await;
        let known = known.map_err(|error| Stopped::new(Step::Lease, error.to_string()))?;
        let seen = self.issuer.leases(&grant.credential_path).await.map_err(Stopped::at(Step::Lease))?;
        let from = grant.opened_at - CLOCK_SKEW_MAX;
        let until = ending.begun_at + READ_MAX + CLOCK_SKEW_MAX;
        let could_be_ours = |issued_at: DateTime<Utc>| from <= issued_at && issued_at <= until;
        let unrecorded =
            seen.into_iter().filter(|lease| could_be_ours(lease.issued_at) && !known.contains(&lease.id));
        Ok(unrecorded.map(|lease| lease.id).collect())
    }

    async fn must_be_gone(&self, lease: &LeaseId) -> Result<(), Stopped> {
        match self.issuer.lease_gone(lease).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(still_there()),
            Err(error) => Err(Stopped::at(Step::Confirmation)(error)),
        }
    }
}

fn still_there() -> Stopped {
    Stopped::new(Step::Confirmation, "Vault still has the lease, although its revocation was answered")
}
