//! Waiting: for what happens to requests, through breaks of the connection, and for the end of a grant.
//!
//! An interrupted stream goes on after the last event that arrived, so nothing is missed and nothing comes twice. Only
//! what a little time can heal is tried again; a refusal is final.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tonic::{Status, Streaming};

use super::{
    App,
    connect::Server,
    error::{Exit, Failure},
    status,
};
use crate::wire::{GetGrantRequest, Grant, GrantState, WatchRequestsRequest, WatchRequestsResponse};

/// The pause after the first break; it doubles with each further one.
const FIRST_PAUSE_MILLIS: u32 = 500;
/// The longest pause between two tries.
const LONGEST_PAUSE_MILLIS: u32 = 30_000;
/// How often a grant that is ending is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A stream of events that survives breaks of the connection.
pub struct Events<'a> {
    app: &'a App,
    server: &'a Server,
    request: WatchRequestsRequest,
    stream: Option<Streaming<WatchRequestsResponse>>,
    /// Tries since the last message.
    failures: u32,
    /// Whether the server was ever reached. Before that, an error is more likely a wrong address than a break.
    reached: bool,
}

impl<'a> Events<'a> {
    /// Events of `name`, or of everything if it is empty, after `after`, or from the present on. `reached` says whether
    /// the server answered already.
    #[must_use]
    pub fn new(app: &'a App, server: &'a Server, name: &str, after: Option<i64>, reached: bool) -> Self {
        let request = WatchRequestsRequest { name: name.to_owned(), after_sequence: after };
        Self { app, server, request, stream: None, failures: 0, reached }
    }

    /// The next message, however long it takes.
    ///
    /// # Errors
    ///
    /// If the server refuses, or can't be reached in the first place.
    pub async fn next(&mut self) -> Result<WatchRequestsResponse, Failure> {
        loop {
            match self.try_next().await {
                Ok(Some(message)) => {
                    self.failures = 0;
                    // The first message about one request may come before any event: there is nothing to go on from.
                    if message.sequence > 0 {
                        self.request.after_sequence = Some(message.sequence);
                    }
                    return Ok(message);
                }
                Ok(None) => self.pause("the server ended the stream").await,
                Err(status) if self.reached && status::is_transient(&status) => {
                    self.pause(status.message()).await;
                }
                Err(status) => return Err(self.server.failure(&status)),
            }
        }
    }

    async fn try_next(&mut self) -> Result<Option<WatchRequestsResponse>, Status> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.open().await?,
        };
        let message = stream.message().await?;
        self.stream = message.is_some().then_some(stream);
        Ok(message)
    }

    async fn open(&mut self) -> Result<Streaming<WatchRequestsResponse>, Status> {
        let mut client = self.server.requests();
        let call = client.watch_requests(self.server.stream(self.request.clone()));
        let stream = self.server.try_answer(call).await?;
        self.reached = true;
        Ok(stream)
    }

    async fn pause(&mut self, why: &str) {
        let pause = backoff(self.failures, self.app.clock.random());
        self.failures = self.failures.saturating_add(1);
        let seconds = pause.as_secs_f32();
        self.app.out.note(&format!("connection lost ({why}); trying again in {seconds:.1}s"));
        self.app.clock.sleep(pause).await;
    }
}

/// When waiting is over.
///
/// # Errors
///
/// If the time is beyond what a calendar has.
pub fn deadline(now: DateTime<Utc>, wait: Duration) -> Result<DateTime<Utc>, Failure> {
    let deadline = TimeDelta::from_std(wait).ok().and_then(|wait| now.checked_add_signed(wait));
    deadline.ok_or_else(|| Failure::usage("that is too long to wait"))
}

/// Waits until a grant has ended: REVOKED, or FAILED with nothing left. `grant` is kept up to date, for whoever gives up.
///
/// # Errors
///
/// If the time is over first; the error says how far the revocation got.
pub async fn for_end(app: &App, server: &Server, grant: &mut Grant, wait: Duration) -> Result<(), Failure> {
    let until = deadline(app.clock.now(), wait)?;
    let mut failures = 0;
    while !has_ended(grant) {
        let left = (until - app.clock.now()).to_std().unwrap_or_default();
        if left.is_zero() {
            return Err(still_ending(grant));
        }
        let pause = if failures == 0 { LOOK_AGAIN } else { backoff(failures, app.clock.random()) };
        app.clock.sleep(pause.min(left)).await;
        let mut client = server.grants();
        let call = client.get_grant(server.call(GetGrantRequest { name: grant.name.clone() }));
        match server.try_answer(call).await {
            Ok(present) => (*grant, failures) = (present, 0),
            Err(status) if status::is_transient(&status) => failures += 1,
            Err(status) => return Err(server.failure(&status)),
        }
    }
    Ok(())
}

/// Whether the credential is gone for certain.
#[must_use]
pub fn has_ended(grant: &Grant) -> bool {
    matches!(grant.state(), GrantState::Revoked | GrantState::Failed)
}

fn still_ending(grant: &Grant) -> Failure {
    let step = super::view::step(grant.revocation_step());
    let message =
        format!("{} is still {}: the credential may still work", grant.name, super::view::grant_state(grant));
    let mut failure = Failure::new(Exit::TimedOut, message);
    if !step.is_empty() {
        failure = failure.detail(format!("next step: {step}"));
    }
    if !grant.revocation_error.is_empty() {
        failure = failure.detail(format!("last try: {}", grant.revocation_error));
    }
    failure
        .hint(format!("hallpassd goes on trying by itself; look again with `hallpass show {}`", grant.name))
}

/// Between half of the full pause and all of it, so that many clients don't come back at the same moment.
fn backoff(failures: u32, random: u128) -> Duration {
    let full = FIRST_PAUSE_MILLIS.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE_MILLIS);
    let half = full / 2;
    let extra = u32::try_from(random % u128::from(half + 1)).unwrap_or_default();
    Duration::from_millis(u64::from(half + extra))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::RevocationStep;

    #[test]
    fn pauses_grow_and_have_a_bound() {
        for random in [0, 1, 7_777, u128::MAX] {
            assert!(backoff(0, random) <= Duration::from_millis(500));
            assert!(backoff(0, random) >= Duration::from_millis(250));
            assert!(backoff(u32::MAX, random) <= Duration::from_secs(30));
            assert!(backoff(u32::MAX, random) >= Duration::from_secs(15));
        }
    }

    #[test]
    fn only_what_vault_confirmed_has_ended() {
        let in_state = |state: GrantState| has_ended(&Grant { state: state.into(), ..Grant::default() });
        assert!(in_state(GrantState::Revoked) && in_state(GrantState::Failed));
        for state in [GrantState::Unspecified, GrantState::Issuing, GrantState::Active, GrantState::Revoking]
        {
            assert!(!in_state(state), "{state:?}");
        }
    }

    #[test]
    fn a_grant_that_is_still_ending_is_not_called_ended() {
        let grant = Grant {
            name: "grants/g".into(),
            state: GrantState::Revoking.into(),
            revocation_step: RevocationStep::Lease.into(),
            revocation_error: "connection refused".into(),
            ..Grant::default()
        };
        let failure = still_ending(&grant);
        assert_eq!(failure.exit, Exit::TimedOut);
        assert!(failure.text().contains("REVOKING: the credential may still work"), "{}", failure.text());
        assert!(failure.text().contains("last try: connection refused"));
    }
}
