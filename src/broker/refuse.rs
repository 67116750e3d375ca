//! Asking the policy, and recording who tried what he may not do.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use tracing::{error, warn};

use super::{Broker, Error};
use crate::{
    access::{
        actor::{Actor, Caller},
        event::{About, Event, Fact},
        policy::{Subject, Verb},
        refusal::Refusal,
    },
    store::Write,
};

/// How many refused identities are recorded a minute. Anybody who reaches the port can cause one, and each costs a
/// durable write; what is over the bound is logged and counted in the next event.
const RECORDED_A_MINUTE: u32 = 10;

/// Bounds the events that strangers can cause.
#[derive(Debug, Default)]
pub(super) struct Limiter(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    began_at: DateTime<Utc>,
    recorded: u32,
    unrecorded: u64,
}

impl Limiter {
    /// Takes a place; with it comes the number of those that got none since the last.
    fn take(&self, now: DateTime<Utc>) -> Option<u64> {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now < minute.began_at || now - minute.began_at >= TimeDelta::minutes(1) {
            (minute.began_at, minute.recorded) = (now, 0);
        }
        if minute.recorded >= RECORDED_A_MINUTE {
            minute.unrecorded += 1;
            return None;
        }
        minute.recorded += 1;
        Some(std::mem::take(&mut minute.unrecorded))
    }
}

impl Broker {
    /// Lets the caller do it, or records that he tried. `name` is the resource that the answer speaks of: what he may not
    /// even see answers as if it didn't exist.
    pub(super) async fn allow(
        &self,
        verb: Verb,
        caller: &Caller,
        subject: Subject<'_>,
        about: About,
        name: &str,
    ) -> Result<(), Error> {
        let Err(refusal) = self.policy.allow(verb, caller, subject) else { return Ok(()) };
        let error = self.refused(verb, caller, about, name, refusal).await;
        if self.policy.sees(caller, subject) {
            Err(error)
        } else {
            Err(Error::NotFound { name: name.to_owned() })
        }
    }

    /// Turns a refusal into an error, and records it if it was an attempt at something forbidden.
    pub(super) async fn refused(
        &self,
        verb: Verb,
        caller: &Caller,
        about: About,
        name: &str,
        refusal: Refusal,
    ) -> Error {
        if refusal.is_forbidden() {
            let problem = match &refusal {
                Refusal::SignatureInvalid { problem } => Some(problem.name().to_owned()),
                _ => None,
            };
            let fact = Fact::AttemptRefused { verb: verb.name(), reason: refusal.reason(), problem };
            self.record(Actor::Person(caller.person.clone()), about, fact).await;
        }
        Error::Refused { name: name.to_owned(), refusal }
    }

    /// Records that a call came with an identity that isn't to be trusted, and from which address. It is refused whether or
    /// not this succeeds.
    pub async fn identity_refused(&self, method: &str, client: Option<String>, error: &str) {
        warn!(
            "event.action" = "identity-refused",
            "event.outcome" = "failure",
            "url.path" = method,
            "client.address" = client,
            "error.message" = error,
            "an identity was refused"
        );
        if let Some(unrecorded) = self.refusals.take(self.clock.now()) {
            let (method, error) = (method.to_owned(), error.to_owned());
            let fact = Fact::IdentityRefused { method, client_address: client, error, unrecorded };
            self.record(Actor::Daemon, About::default(), fact).await;
        }
    }

    /// Records a fact that changes nothing. What it is about was refused already, so a failure here is only logged.
    async fn record(&self, actor: Actor, about: About, fact: Fact) {
        let event = Event { at: self.clock.now(), actor, about, fact };
        if let Err(failure) = self.commit(&[Write::Fact(&event)]).await {
            let failure: &dyn std::error::Error = &failure;
            error!(
                "event.action" = "refusal-not-recorded",
                error = failure,
                "a refused attempt could not be recorded"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cannot_fill_the_log() {
        let limiter = Limiter::default();
        let now = DateTime::from_timestamp_millis(1_000_000_000).unwrap();
        let taken = (0..25).filter_map(|_| limiter.take(now)).count();
        assert_eq!(taken, RECORDED_A_MINUTE as usize);
        assert_eq!(limiter.take(now + TimeDelta::minutes(1)), Some(15), "the next event counts the others");
        assert_eq!(limiter.take(now + TimeDelta::minutes(1)), Some(0));
    }

    #[test]
    fn a_minute_is_over_when_it_is_or_when_the_clock_was_set_back() {
        let limiter = Limiter::default();
        let now = DateTime::from_timestamp_millis(1_000_000_000).unwrap();
        let full = |at| (0..20).filter_map(|_| limiter.take(at)).count() == RECORDED_A_MINUTE as usize;
        assert!(full(now));
        assert_eq!(limiter.take(now + TimeDelta::milliseconds(59_999)), None);
        assert!(full(now - TimeDelta::hours(1)), "or nothing would be recorded for an hour");
    }
}
