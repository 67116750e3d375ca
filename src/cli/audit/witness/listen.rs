//! A witness that logs come to: `POST …/add-checkpoint` of [C2SP's tlog-witness](https://c2sp.org/tlog-witness), for the one
//! log whose key is pinned. Anybody may call; what isn't signed by the log changes nothing.

use std::{convert::Infallible, future::poll_fn, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body as _, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, Semaphore},
};

use super::{
    Watch,
    round::{self, Unseen},
    state::Kept,
};
use crate::cli::{App, error::Failure};
use crate::ledger::witness::{AddCheckpoint, REQUEST_MAX_BYTES, Refusal, judge};

/// How many connections are looked after at once; more wait. One log needs one.
const CONNECTIONS_MAX: usize = 32;
/// How long one may take: a request, and a write to a disk.
const CONNECTION_MAX: Duration = Duration::from_secs(30);
/// The longest head of a request.
const HEAD_MAX_BYTES: usize = 16 * 1024;

/// Serves until the process ends.
///
/// # Errors
///
/// If the address can't be had.
pub async fn serve(app: &App, watch: Watch, address: SocketAddr) -> Result<(), Failure> {
    let failed = |error| Failure::local(format!("cannot listen on {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    app.out.json_line(&json!({ "event": "listening", "address": address.to_string() }))?;
    let (watch, places) = (Mutex::new(watch), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    let mut visits = futures_util::stream::FuturesUnordered::new();
    loop {
        let accept = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        tokio::select! {
            (accepted, place) = accept => match accepted {
                Ok((stream, _)) => visits.push(visit(app, &watch, stream, place.ok())),
                // It was there and is gone again, or there is no file descriptor left: others go on.
                Err(error) => app.out.note(&format!("a connection was lost: {error}")),
            },
            Some(()) = futures_util::StreamExt::next(&mut visits), if !visits.is_empty() => {}
        }
    }
}

/// Answers the requests of one connection.
async fn visit(
    app: &App,
    watch: &Mutex<Watch>,
    stream: TcpStream,
    _place: Option<tokio::sync::OwnedSemaphorePermit>,
) {
    let service = service_fn(|request: Request<Incoming>| async move {
        Ok::<_, Infallible>(answer(app, watch, request).await)
    });
    let mut server = http1::Builder::new();
    server.keep_alive(false).header_read_timeout(None).max_buf_size(HEAD_MAX_BYTES);
    tokio::select! {
        _ = server.serve_connection(TokioIo::new(stream), service) => {}
        () = app.clock.sleep(CONNECTION_MAX) => {}
    }
}

async fn answer(app: &App, watch: &Mutex<Watch>, request: Request<Incoming>) -> Response<String> {
    if !request.uri().path().ends_with("/add-checkpoint") {
        return response(StatusCode::NOT_FOUND, None, "there is nothing here\n".to_owned());
    }
    if request.method() != Method::POST {
        return response(StatusCode::METHOD_NOT_ALLOWED, None, "it takes POST\n".to_owned());
    }
    let Some(body) = whole(request.into_body()).await else {
        return response(StatusCode::PAYLOAD_TOO_LARGE, None, "it is too long, or broke off\n".to_owned());
    };
    // One after the other: between the look at what is kept and the writing nothing else may be kept.
    let mut watch = watch.lock().await;
    match add(app, &mut watch, &body) {
        Ok(line) => response(StatusCode::OK, None, line),
        Err(Refused::Not(refusal)) => {
            let (kind, text) = refusal.body();
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
            response(status, Some(kind), text)
        }
        Err(Refused::Failed(failure)) => {
            app.out.fail(&failure);
            response(StatusCode::SERVICE_UNAVAILABLE, None, "what was seen can't be kept\n".to_owned())
        }
    }
}

enum Refused {
    Not(Refusal),
    Failed(Failure),
}

fn add(app: &App, watch: &mut Watch, body: &[u8]) -> Result<String, Refused> {
    let request = AddCheckpoint::parse(body).map_err(|bad| Refused::Not(bad.into()))?;
    let kept = watch.state.kept.as_ref().and_then(Kept::checkpoint);
    let kept_size = watch.state.kept.as_ref().map_or(0, Kept::size);
    match judge(&request, std::slice::from_ref(&watch.log), kept.as_ref()) {
        Ok(accepted) => {
            let (seen, line) = round::take(app, watch, &accepted).map_err(Refused::Failed)?;
            app.out.json_line(&seen.json(&watch.log)).map_err(Refused::Failed)?;
            Ok(format!("{line}\n"))
        }
        Err(refusal) => {
            alarm(app, watch, &request, &refusal, kept_size).map_err(Refused::Failed)?;
            Err(Refused::Not(refusal))
        }
    }
}

/// Tells of what the log itself signed and can't be true. What others send is no news of the log.
fn alarm(
    app: &App,
    watch: &Watch,
    request: &AddCheckpoint,
    refusal: &Refusal,
    kept: u64,
) -> Result<(), Failure> {
    let now = request.signed().checkpoint().size();
    if request.signed().verify(&watch.log, &[]).is_err() {
        return Ok(());
    }
    // A log that asks from where it was is told where to begin; one that is smaller was put back.
    let refusal = match refusal {
        Refusal::OtherSize(kept) if now < *kept => Refusal::Shrinking,
        other => other.clone(),
    };
    if let Unseen::Alarm(alarm) = round::refused(refusal, now, kept) {
        app.out.fail(&super::raise(app, watch, &alarm)?);
    }
    Ok(())
}

/// A body, if it isn't too long.
async fn whole(mut body: Incoming) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        if bytes.len() + data.len() > REQUEST_MAX_BYTES {
            return None;
        }
        bytes.extend_from_slice(&data);
    }
    Some(bytes)
}

fn response(status: StatusCode, kind: Option<&'static str>, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let kind = kind.unwrap_or("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
