//! Who calls, before anything else happens: a layer around all services.
//!
//! A method that isn't in the table reaches nothing. One that is, and isn't open, needs exactly one
//! `authorization: Bearer <JWT>`, which has to hold. The token goes no further than this: the header is taken off the
//! call, and what the services see is who calls, and the broker of the configuration by which he was let in. What the caller may do is not decided here.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

use super::{
    accept::Peer,
    front::{Front, Fronts},
    status,
    table::{Access, find},
};
use crate::{broker::Broker, clock::Clock, identity::IdentityError};

/// How many calls of verified callers run at once. Streams count until they begin.
const CALLS_MAX: usize = 256;

/// How long a call may take; a stream, until it begins. Longer than all that a claim waits for, each with its own bound;
/// and a claim whose call is cut goes on by itself.
const CALL_MAX: Duration = Duration::from_mins(2);

/// The layer.
#[derive(Clone, Debug)]
pub(super) struct Gate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    fronts: Arc<Fronts>,
    clock: Arc<dyn Clock>,
    calls: Semaphore,
}

impl Gate {
    pub(super) fn new(fronts: Arc<Fronts>, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared { fronts, clock, calls: Semaphore::new(CALLS_MAX) }))
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

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The one that was polled ready is the one to call; a clone takes its place.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            match shared.admit(&mut request).await {
                Err(refusal) => Ok(refusal.into_http()),
                Ok(Pass::Open) => inner.call(request).await,
                Ok(Pass::Known { who, _call }) => {
                    in_time(&*shared.clock, inner.call(request)).await.map(|answer| who.finished(answer))
                }
            }
        })
    }
}

/// The way in.
enum Pass<'a> {
    Open,
    Known { who: Who, _call: SemaphorePermit<'a> },
}

/// What is logged of a call.
struct Who {
    method: &'static str,
    client: Option<String>,
    user: String,
}

/// What the headers hold.
enum Bearer {
    Token(String),
    Missing,
    Bad(&'static str),
}

impl Shared {
    async fn admit(&self, request: &mut Request<Body>) -> Result<Pass<'_>, Status> {
        let (method, access) = find(request.uri().path()).ok_or_else(status::unknown_method)?;
        if access == Access::Open {
            return Ok(Pass::Open);
        }
        let Front { broker, verifier } = self.fronts.now();
        let client = request.extensions().get::<Peer>().map(|peer| peer.0.ip().to_string());
        let verified = match bearer(request.headers_mut()) {
            Bearer::Missing => return Err(status::token_invalid("this method needs a bearer token")),
            Bearer::Bad(problem) => return Err(refuse(&broker, method, client, problem).await),
            Bearer::Token(token) => match verifier.verify(&token).await {
                Ok(verified) => verified,
                // Nothing is known of the token, so nobody tried anything.
                Err(error @ IdentityError::KeysUnavailable) => return Err(status::identity(&error)),
                Err(error) => return Err(refuse(&broker, method, client, &error.to_string()).await),
            },
        };
        let call = self.calls.try_acquire().map_err(|_| status::too_many("calls"))?;
        let who = Who { method, client, user: verified.caller.person.name.clone() };
        request.extensions_mut().insert(verified);
        request.extensions_mut().insert(broker);
        Ok(Pass::Known { who, _call: call })
    }
}

async fn refuse(broker: &Broker, method: &'static str, client: Option<String>, problem: &str) -> Status {
    broker.identity_refused(method, client, problem).await;
    status::token_invalid(problem)
}

/// Answers in time, one way or the other.
async fn in_time<E>(
    clock: &dyn Clock,
    call: impl Future<Output = Result<Response<Body>, E>>,
) -> Result<Response<Body>, E> {
    tokio::select! {
        biased;
        answer = call => answer,
        () = clock.sleep(CALL_MAX) => Ok(status::timed_out().into_http()),
    }
}

/// Takes the token off the headers.
fn bearer(headers: &mut HeaderMap) -> Bearer {
    if headers.get_all(AUTHORIZATION).iter().count() > 1 {
        return Bearer::Bad("there is more than one authorization header");
    }
    let Some(value) = headers.remove(AUTHORIZATION) else { return Bearer::Missing };
    let Ok(text) = value.to_str() else { return Bearer::Bad("the authorization header isn't plain text") };
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Bearer::Token(token.trim().to_owned())
        }
        // Other schemes carry no token of ours, so there is none.
        _ => Bearer::Missing,
    }
}

impl Who {
    /// Says how the call ended, and puts into our terms what the transport library answered by itself.
    fn finished(&self, answer: Response<Body>) -> Response<Body> {
        // The transport library leaves each status that it answers with here, its source included.
        let failed = answer.extensions().get::<Status>().cloned();
        if let Some(status) = &failed {
            status::log(status, self.method, self.client.as_deref(), &self.user);
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
    use http::HeaderValue;
    use tonic_types::StatusExt as _;

    use super::*;
    use crate::clock::ManualClock;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn one_bearer_token_is_taken_off_the_call() {
        for good in ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c "] {
            let mut headers = headers(&[good]);
            assert!(matches!(bearer(&mut headers), Bearer::Token(token) if token == "a.b.c"), "{good}");
            assert!(headers.is_empty());
        }
    }

    #[test]
    fn no_token_is_no_token() {
        for missing in [&[][..], &["Basic dXNlcjpwYXNz"], &["a.b.c"], &[""]] {
            assert!(matches!(bearer(&mut headers(missing)), Bearer::Missing), "{missing:?}");
        }
    }

    #[tokio::test]
    async fn a_call_that_hangs_is_answered_all_the_same() {
        let clock = ManualClock::new(DateTime::UNIX_EPOCH);
        let hanging = in_time(&clock, pending::<Result<_, Infallible>>());
        let (answer, ()) =
            tokio::join!(hanging, async { clock.advance(TimeDelta::from_std(CALL_MAX).unwrap()) });
        let status = Status::from_header_map(answer.unwrap().headers()).unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(status.get_details_error_info().unwrap().reason, "TIMED_OUT");
    }

    #[test]
    fn two_tokens_are_one_too_many() {
        assert!(matches!(bearer(&mut headers(&["Bearer a", "Bearer b"])), Bearer::Bad(_)));
        assert!(matches!(bearer(&mut headers(&["Basic a", "Bearer b"])), Bearer::Bad(_)));
    }
}
