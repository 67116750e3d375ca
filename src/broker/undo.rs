//! What ending a grant asks of Vault. Every call can be repeated, so a crash repeats a step at worst, and what hangs is
//! asked again beside the call that hangs.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::{Broker, claim::FIRST_TTL};
use crate::{
    access::{
        grant::{Ending, Grant, Issued, Leased},
        handle::{Accessor, LeaseId},
        revocation::{Confirmation, Step},
    },
    failpoint::{Point, reach},
    vault::VaultError,
};

/// How long Vault works on one request at most, by default (`default_max_request_duration`).
const VAULT_REQUEST_MAX: Duration = Duration::from_secs(90);
/// How far Vault's clock and ours may be apart when a lease is told by its time of issue.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(30);
/// How long a try may be silent before another is begun beside it. A call that hangs for a reason which is gone (a path
/// that was cut, a Vault that was stopped) would otherwise keep the next one waiting until its time-out.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(2500);
/// How many tries of one ending are under way at once.
const TRIES_MAX: usize = 4;

/// What stopped an ending, and at which step.
#[derive(Debug)]
pub(super) struct Stopped {
    pub(super) step: Step,
    pub(super) error: String,
    /// Whether nothing failed, and only time has to pass.
    pub(super) is_only_early: bool,
}

impl Stopped {
    fn at(step: Step) -> impl Fn(VaultError) -> Self {
        move |error| Self::new(step, error.to_string())
    }

    fn new(step: Step, error: impl Into<String>) -> Self {
        Self { step, error: error.into(), is_only_early: false }
    }
}

impl Broker {
    /// Ends in Vault what was issued, and has Vault confirm it.
    pub(super) async fn undo(&self, grant: &Grant, ending: &Ending) -> Result<Confirmation, Stopped> {
        let mut tries = FuturesUnordered::new();
        tries.push(self.undo_once(grant, ending));
        loop {
            let silent = self.clock.sleep_until(self.clock.now() + ASK_AGAIN_AFTER);
            tokio::select! {
                biased;
                Some(done) = tries.next() => return done,
                () = silent, if tries.len() < TRIES_MAX => tries.push(self.undo_once(grant, ending)),
            }
        }
    }

    async fn undo_once(&self, grant: &Grant, ending: &Ending) -> Result<Confirmation, Stopped> {
        match &ending.issued {
            Issued::Nothing => Ok(Confirmation::NothingIssued),
            Issued::Token(token) => self.undo_unknown(grant, ending, token).await,
            Issued::Lease(leased) => self.undo_lease(leased).await,
        }
    }

    /// Tries every step, also after one that failed: a wrapping token that resists must not keep the account alive. A
    /// lease that Vault says is gone is gone, whatever its revocation ran into: Vault may have been faster, or the account
    /// had vanished.
    async fn undo_lease(&self, leased: &Leased) -> Result<Confirmation, Stopped> {
        let (wrapping, token) =
            tokio::join!(self.undo_wrapping(&leased.wrapping), self.undo_token(&leased.token));
        let lease = self.issuer.revoke_lease(&leased.lease).await.map_err(Stopped::at(Step::Lease));
        reach(Point::LeaseRevoked);
        let gone = self.issuer.lease_gone(&leased.lease).await.map_err(Stopped::at(Step::Confirmation));
        wrapping.and(token)?;
        match (lease, gone) {
            (_, Ok(true)) => {
                reach(Point::LeaseGone);
                Ok(Confirmation::LeaseGone)
            }
            (Err(stopped), _) | (Ok(()), Err(stopped)) => Err(stopped),
            (Ok(()), Ok(false)) => Err(still_there()),
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
        let _alone = self.paths.lock(&grant.credential_path).await;
        for lease in self.unrecorded_leases(grant, ending).await? {
            self.issuer.revoke_lease(&lease).await.map_err(Stopped::at(Step::Lease))?;
            self.must_be_gone(&lease).await?;
        }
        let settled_at = settled_at(ending);
        if !self.issuing.is_settled(grant.id) && self.clock.now() < settled_at {
            let error =
                format!("nothing found so far, but Vault may be at work on a read until {settled_at}");
            return Err(Stopped { is_only_early: true, ..Stopped::new(Step::Confirmation, error) });
        }
        Ok(Confirmation::NoLeaseLeft)
    }

    async fn unrecorded_leases(&self, grant: &Grant, ending: &Ending) -> Result<Vec<LeaseId>, Stopped> {
        let known = self.store.known_leases(&grant.credential_path).await;
        let known = known.map_err(|error| Stopped::new(Step::Lease, error.to_string()))?;
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
            Ok(false) => Err(still_there()),
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

fn still_there() -> Stopped {
    Stopped::new(Step::Confirmation, "Vault still has the lease, although its revocation was answered")
}
