//! Who calls, before anything else happens: a layer around all services.
//!
//! ```text
//! table     an unlisted method reaches nothing; an open one needs nobody, and has few places
//! identity  exactly one: a token, or else what the connection shows (a certificate, the socket's user)
//! bounds    of refused identities each peer's, of calls each person's
//! service   in time, and without letting a panic out
//! ```
//!
//! A token comes as `authorization: Bearer <JWT>`, once. It goes no further than this: the header is taken off the call, and
//! what the services see is who calls, and the broker of the configuration by which he was let in. A call that says twice who
//! calls is refused, because either could be meant. What the caller may do is not decided here.

use std::{
    future::Future,
    mem,
    num::NonZeroU32,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::FutureExt as _;
use http::{Request, Response};
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

use super::{
    bounds::{Limits, Place, Places, Rates},
    deadline,
    front::{Front, Fronts},
    held::{held, timely},
    identify::{Refusal, identify},
    panics,
    peer::{Counted, Peer},
    status,
    table::{Access, find},
    watch::Standing,
};
use crate::clock::Clock;

/// How many calls of verified callers run at once, and how many of one person's. Streams count until they begin.
const CALLS_MAX: usize = 256;
const CALLS_PER_PERSON_MAX: usize = 16;

/// How many open calls there are at once, streams (watches of the health, reflection) included, and how many of one peer's:
/// they cost nobody a name, so there are few.
const OPEN_CALLS_MAX: usize = 512;
const OPEN_CALLS_PER_PEER_MAX: usize = 32;

/// How many identities of one peer may be refused a minute before they aren't looked at any more: each look costs a signature,
/// and a line in the log. What comes with an expired token stays far below.
const REFUSALS_PER_PEER_A_MINUTE: NonZeroU32 = NonZeroU32::new(300).unwrap();

/// How long a message may take to arrive: 64 KiB over a bad line.
const MESSAGE_TIME_MAX: Duration = Duration::from_secs(15);

/// The layer.
#[derive(Clone, Debug)]
pub(super) struct Gate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    fronts: Arc<Fronts>,
    clock: Arc<dyn Clock>,
    calls: Places<String>,
    open_calls: Places<Counted>,
    checks: Places<Counted>,
    rates: Rates<String>,
    refusals: Rates<Counted>,
}

impl Gate {
    pub(super) fn new(fronts: Arc<Fronts>, limits: &Limits, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared {
            fronts,
            calls: Places::new(CALLS_MAX, CALLS_PER_PERSON_MAX),
            open_calls: Places::new(OPEN_CALLS_MAX, OPEN_CALLS_PER_PEER_MAX),
            checks: Places::new(OPEN_CALLS_MAX, OPEN_CALLS_PER_PEER_MAX),
            rates: Rates::new(limits.calls_per_minute_max, Arc::clone(&clock)),
            refusals: Rates::new(REFUSALS_PER_PEER_A_MINUTE, Arc::clone(&clock)),
            clock,
        }))
    }
}

impl<S> Layer<S> for Gate {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, shared: Arc::clone(&self.0) }
    }
}

/// All services, behind the gate.
#[derive(Clone, Debug)]
pub(super) struct Guarded<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Future: Send> + Clone + Send + 'static,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The one that was polled ready is the one to call; a clone takes its place.
        let clone = self.inner.clone();
        let inner = mem::replace(&mut self.inner, clone);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let method = find(request.uri().path()).map_or("", |(method, _)| method);
            // A call shares nothing with others but what is behind locks, and those are taken over from whoever panicked.
            let answer = AssertUnwindSafe(shared.answer(inner, request)).catch_unwind().await;
            answer.unwrap_or_else(|_| Ok(panics::caught(method).into_http()))
        })
    }
}

/// The way in.
enum Pass {
    Open { place: Place<Counted> },
    Known { who: Who, _place: Place<String> },
}

/// What is logged of a call.
struct Who {
    method: &'static str,
    client: String,
    user: String,
}

impl Shared {
    async fn answer<S>(&self, mut inner: S, mut request: Request<Body>) -> Result<Response<Body>, S::Error>
    where
        S: Service<Request<Body>, Response = Response<Body>>,
    {
        let within = deadline::limit(request.headers());
        match self.admit(&mut request).await {
            Err(refusal) => Ok(refusal.into_http()),
            Ok(Pass::Open { place }) => {
                let answer = in_time(&*self.clock, within, inner.call(request)).await;
                answer.map(|answer| answer.map(|body| held(body, place)))
            }
            Ok(Pass::Known { who, _place }) => {
                let request = request.map(|body| timely(body, MESSAGE_TIME_MAX, Arc::clone(&self.clock)));
                let answer = in_time(&*self.clock, within, inner.call(request)).await;
                answer.map(|answer| who.finished(answer))
            }
        }
    }

    async fn admit(&self, request: &mut Request<Body>) -> Result<Pass, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let peer = peer.ok_or_else(|| status::defect("a call came from nowhere"))?;
        peer.called.cancel();
        let (method, access) = find(request.uri().path()).ok_or_else(status::unknown_method)?;
        let counted = peer.origin.counted();
        if access == Access::Open {
            // Whoever asks whether the daemon is well is answered also if others hold all the streams.
            let places = if method.ends_with("/Check") { &self.checks } else { &self.open_calls };
            let place = places.take(&counted).ok_or_else(|| status::too_many("calls"))?;
            return Ok(Pass::Open { place });
        }
        let Front { broker, verifier } = self.fronts.now();
        self.refusals.look(&counted).map_err(|after| status::too_often("refused identities", after))?;
        let (verified, evidence) = match identify(&verifier, &peer, request.headers_mut()).await {
            Ok(identified) => identified,
            // Nothing is known of it, so nobody tried anything.
            Err(refusal) if refusal.is_unavailable() => return Err(refusal.status()),
            Err(Refusal::Nobody) => return Err(status::token_invalid("this method needs a bearer token")),
            Err(refusal) => {
                // Looked at before, but many may come at once.
                self.refusals
                    .take(&counted)
                    .map_err(|after| status::too_often("refused identities", after))?;
                let client = Some(peer.origin.to_string());
                broker.identity_refused(method, client, &refusal.to_string()).await;
                return Err(refusal.status());
            }
        };
        let person = &verified.caller.person;
        self.rates.take(&person.subject).map_err(|after| status::too_often("calls", after))?;
        let place = self.calls.take(&person.subject).ok_or_else(|| status::too_many("calls"))?;
        let who = Who { method, client: peer.origin.to_string(), user: person.name.clone() };
        request.extensions_mut().insert(verified);
        request.extensions_mut().insert(broker);
        if let Some(evidence) = evidence {
            request.extensions_mut().insert(Standing { evidence, verifier });
        }
        Ok(Pass::Known { who, _place: place })
    }
}

/// Answers in time, one way or the other.
async fn in_time<E>(
    clock: &dyn Clock,
    within: Duration,
    call: impl Future<Output = Result<Response<Body>, E>>,
) -> Result<Response<Body>, E> {
    tokio::select! {
        biased;
        answer = call => answer,
        () = clock.sleep(within) => Ok(status::timed_out().into_http()),
    }
}

impl Who {
    /// Says how the call ended, and puts into our terms what the transport library answered by itself.
    fn finished(&self, answer: Response<Body>) -> Response<Body> {
        // The transport library leaves each status that it answers with here, its source included.
        let failed = answer.extensions().get::<Status>().cloned();
        if let Some(status) = &failed {
            status::log(status, self.method, Some(&self.client), &self.user);
        }
        let code = failed.as_ref().map_or(Code::Ok, Status::code);
        tracing::debug!(
            event.action = "call-finished",
            url.path = self.method,
            client.address = self.client,
            user.name = self.user,
            event.outcome = if code == Code::Ok { "success" } else { "failure" },
            hallpass.grpc.code = i32::from(code),
            "a call was answered"
        );
        // Ours have details; the library's have none.
        let foreign = failed.filter(|status| status.details().is_empty());
        foreign.and_then(|status| status::unreadable(&status)).map_or(answer, Status::into_http)
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::pending};

    use chrono::{DateTime, TimeDelta};
    use tonic_types::StatusExt as _;

    use super::*;
    use crate::clock::ManualClock;

    #[tokio::test]
    async fn a_call_that_hangs_is_answered_all_the_same() {
        let clock = ManualClock::new(DateTime::UNIX_EPOCH);
        let within = deadline::CALL_MAX;
        let hanging = in_time(&clock, within, pending::<Result<_, Infallible>>());
        let (answer, ()) =
            tokio::join!(hanging, async { clock.advance(TimeDelta::from_std(within).unwrap()) });
        let status = Status::from_header_map(answer.unwrap().headers()).unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(status.get_details_error_info().unwrap().reason, "TIMED_OUT");
    }
}
