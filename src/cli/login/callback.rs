//! The small server that the browser comes back to (RFC 8252, section 7.3). It listens on this machine only, takes one
//! answer, and is gone.
//!
//! Anybody on this machine, and any page in the browser, can call it: so whatever doesn't carry the state of this login is
//! refused and changes nothing. It never repeats what it was sent.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io::ErrorKind,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper::{Method, Request, Response, StatusCode, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use secrecy::SecretString;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use url::form_urlencoded;

use super::{
    super::{answer::quote, error::Failure},
    args::CallbackHost,
};
use crate::clock::Clock;

/// How many connections are looked after at once; more wait. Browsers open some in advance.
const VISITS_MAX: usize = 64;
/// How long one may take. It is on this machine, so whoever needs longer is silent on purpose.
const VISIT_MAX: Duration = Duration::from_secs(5);
/// The longest request: a code and a state have some hundred bytes, and cookies for `localhost` come on top.
const REQUEST_MAX_BYTES: usize = 64 * 1024;

/// The pages carry nothing that anybody sent, load nothing, and are kept nowhere.
const HEADERS: [(&str, &str); 6] = [
    ("content-type", "text/html; charset=utf-8"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("connection", "close"),
];
const TAKEN: &str = "<!doctype html><title>hallpass</title><p>hallpass has its answer: go on in the terminal. \
    This page can be closed.";
const NOT_TAKEN: &str = "<!doctype html><title>hallpass</title><p>This is not what hallpass waits for. \
    Open the page that it names in the terminal.";

/// What the browser brought.
#[derive(Debug)]
pub struct Answer {
    /// The code. It works once.
    pub code: SecretString,
    /// Who gave it, if it says so (RFC 9207).
    pub issuer: Option<String>,
}

/// What came with the right state: the answer, or why there is none.
type Outcome = Result<Answer, Failure>;

/// The server, bound and not yet answering.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    redirect_uri: String,
    path: &'static str,
}

impl Listener {
    /// Binds to a port of this machine; 0 lets the system choose.
    ///
    /// # Errors
    ///
    /// If somebody else has the port.
    pub async fn bind(host: CallbackHost, port: u16, path: &'static str) -> Result<Self, Failure> {
        let failed = |error| {
            Failure::local(format!("cannot listen on 127.0.0.1:{port} for the browser's answer: {error}"))
                .hint("choose another port with `--callback-port`, which has to be allowed at the identity provider")
        };
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(failed)?;
        let port = socket.local_addr().map_err(failed)?.port();
        Ok(Self { socket, redirect_uri: format!("http://{}:{port}{path}", host.text()), path })
    }

    /// Where the browser is to be sent.
    #[must_use]
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// Waits for the answer that carries this state, however much else comes.
    ///
    /// # Errors
    ///
    /// If the answer is a refusal.
    pub async fn answer(&self, state: &str, clock: &Arc<dyn Clock>) -> Outcome {
        let expected: Arc<(&'static str, String)> = Arc::new((self.path, state.to_owned()));
        let mut visits = JoinSet::new();
        loop {
            tokio::select! {
                Some(done) = visits.join_next() => {
                    if let Ok(Some(outcome)) = done {
                        return outcome;
                    }
                }
                accepted = self.socket.accept(), if visits.len() < VISITS_MAX => match accepted {
                    Ok((stream, _)) => {
                        visits.spawn(visit(stream, Arc::clone(&expected), Arc::clone(clock)));
                    }
                    // It was there and is gone again.
                    Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        return Err(Failure::local(format!("cannot wait for the browser's answer: {error}")));
                    }
                },
            }
        }
    }
}

/// Answers one request.
async fn visit(
    stream: TcpStream,
    expected: Arc<(&'static str, String)>,
    clock: Arc<dyn Clock>,
) -> Option<Outcome> {
    let found = Arc::new(Mutex::new(None));
    let service = service_fn(|request: Request<_>| {
        let (path, state) = &*expected;
        let (status, outcome) = read(&request, path, state);
        let page = if outcome.is_some() { TAKEN } else { NOT_TAKEN };
        *found.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
        async move { Ok::<_, Infallible>(response(status, page)) }
    });
    let mut server = http1::Builder::new();
    server.keep_alive(false).header_read_timeout(None).max_buf_size(REQUEST_MAX_BYTES);
    // What is found counts even if the page about it isn't read.
    tokio::select! {
        _ = server.serve_connection(TokioIo::new(stream), service) => {}
        () = clock.sleep(VISIT_MAX) => {}
    }
    found.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn response(status: StatusCode, page: &'static str) -> Response<String> {
    let mut response = Response::new(page.to_owned());
    *response.status_mut() = status;
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, hyper::header::HeaderValue::from_static(value));
    }
    response
}

/// Whether this is the answer. A parameter that comes twice could mean two things (RFC 6749, section 3.1), so it means
/// nothing.
fn read<B>(request: &Request<B>, path: &str, state: &str) -> (StatusCode, Option<Outcome>) {
    if request.uri().path() != path {
        return (StatusCode::NOT_FOUND, None);
    }
    if request.method() != Method::GET {
        return (StatusCode::METHOD_NOT_ALLOWED, None);
    }
    let mut said = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
        if said.insert(name, value).is_some() {
            return (StatusCode::BAD_REQUEST, None);
        }
    }
    let text = |name: &str| said.get(name).map(AsRef::as_ref).filter(|text: &&str| !text.is_empty());
    if text("state") != Some(state) {
        return (StatusCode::BAD_REQUEST, None);
    }
    match (text("error"), text("code")) {
        (Some(error), _) => {
            let description = text("error_description").unwrap_or_default();
            (StatusCode::OK, Some(Err(refused(error, description))))
        }
        (None, Some(code)) => {
            let issuer = text("iss").map(str::to_owned);
            (StatusCode::OK, Some(Ok(Answer { code: SecretString::from(code), issuer })))
        }
        (None, None) => (StatusCode::BAD_REQUEST, None),
    }
}

fn refused(error: &str, description: &str) -> Failure {
    let failure = Failure::local(format!("the identity provider refused the login: {}", quote(error)));
    if description.is_empty() { failure } else { failure.detail(quote(description)) }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use secrecy::ExposeSecret;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::clock::ManualClock;

    fn ask(method: &str, uri: &str) -> (u16, Option<Outcome>) {
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        let (status, outcome) = read(&request, "/callback", "st");
        (status.as_u16(), outcome)
    }

    #[test]
    fn only_what_carries_the_state_once_counts() {
        let (status, outcome) = ask("GET", "/callback?code=c%2F1&state=st&iss=https%3A%2F%2Fi");
        let answer = outcome.unwrap().unwrap();
        assert_eq!(
            (status, answer.code.expose_secret(), answer.issuer.as_deref()),
            (200, "c/1", Some("https://i"))
        );
        for (uri, expected) in [
            ("/callback?code=c&state=other", 400),
            ("/callback?code=c&state=ST", 400),
            ("/callback?code=c&state=", 400),
            ("/callback?code=c", 400),
            ("/callback?error=access_denied", 400),
            ("/callback?error=access_denied&state=other", 400),
            ("/callback?state=st", 400),
            ("/callback?code=&state=st", 400),
            ("/callback?code=a&code=b&state=st", 400),
            ("/callback?code=a&state=st&state=st", 400),
            ("/callback", 400),
            ("/callback/?code=c&state=st", 404),
            ("/?code=c&state=st", 404),
            ("/favicon.ico", 404),
        ] {
            let (status, outcome) = ask("GET", uri);
            assert_eq!((status, outcome.is_none()), (expected, true), "{uri}");
        }
        assert_eq!(ask("POST", "/callback?code=c&state=st").0, 405);
    }

    /// They fill all places, and are thrown out in time.
    #[tokio::test]
    async fn silent_connections_keep_nobody_out_for_long() {
        let manual = Arc::new(ManualClock::new("2026-01-01T12:00:00Z".parse().unwrap()));
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&manual);
        let listener = Listener::bind(CallbackHost::Address, 0, "/callback").await.unwrap();
        let address = listener.socket.local_addr().unwrap();
        let browse = async {
            let mut silent = Vec::new();
            for _ in 0..2 * VISITS_MAX {
                silent.push(TcpStream::connect(address).await.unwrap());
            }
            let mut browser = TcpStream::connect(address).await.unwrap();
            browser.write_all(b"GET /callback?code=c&state=st HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            // Slowly enough that whoever says something is heard long before his time is over.
            let pass = async {
                loop {
                    for _ in 0..100 {
                        tokio::task::yield_now().await;
                    }
                    manual.advance(TimeDelta::seconds(1));
                }
            };
            let mut answer = String::new();
            tokio::select! {
                read = browser.read_to_string(&mut answer) => { read.unwrap(); }
                () = pass => {}
            }
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        };
        let (outcome, ()) = tokio::join!(listener.answer("st", &clock), browse);
        assert_eq!(outcome.unwrap().code.expose_secret(), "c");
    }

    #[test]
    fn a_refusal_is_quoted_safely() {
        let (_, outcome) = ask(
            "GET",
            "/callback?error=access_denied%1b%5b2J&error_description=no%0ahint%3a%20x&state=st&code=c",
        );
        let failure = outcome.unwrap().unwrap_err();
        assert_eq!(failure.message, "the identity provider refused the login: access_denied\\u{1b}[2J");
        assert_eq!(failure.details, ["no hint: x"]);
    }
}
