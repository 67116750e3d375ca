//! The server: all services behind the gate, with a bound on everything that a peer can make it hold, and an end that
//! lets calls in flight finish.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status, transport::server::Router};
use tonic_reflection::server::Builder as Reflection;
use tower::layer::util::{Identity, Stack};

use super::{
    accept::incoming, auth::Gate, bounds::Limits, door::SocketDoor, front::Fronts, health::Health, status,
    tls::Tls, watch::Watches,
};
use crate::{
    access::actor::Caller,
    broker::Broker,
    clock::Clock,
    identity::Verified,
    wire::{
        DESCRIPTORS, daemon_service_server::DaemonServiceServer,
        exception_service_server::ExceptionServiceServer, freeze_service_server::FreezeServiceServer,
        grant_service_server::GrantServiceServer, ledger_service_server::LedgerServiceServer,
        request_service_server::RequestServiceServer, target_service_server::TargetServiceServer,
    },
};

/// The longest message that is taken: a statement of 8 KiB, eight times over.
const MESSAGE_MAX_BYTES: usize = 64 * 1024;
/// The longest headers that are taken: a token, and as much again.
const HEADERS_MAX_BYTES: u32 = 16 * 1024;
/// How many calls one connection may have open at once; a client's further ones wait there.
const STREAMS_PER_CONNECTION_MAX: u32 = 64;
/// How much of a message is taken before it is read: as long as the longest, and for a connection's calls together four of
/// them. It bounds what a thousand connections can have us hold.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// How often a silent peer is asked whether it is there, and how long it may take to answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// After how long a connection is asked to go, so that none is held for ever. Open calls go on for a while,
/// and clients reconnect.
const CONNECTION_AGE_MAX: Duration = Duration::from_hours(1);
/// How long after that its open calls, streams included, are cut.
const CONNECTION_GRACE: Duration = Duration::from_mins(5);
/// How long a stop waits for calls in flight. A little less than the process waits for its tasks
/// ([`DRAIN`](crate::lifecycle::DRAIN)), so that a peer who won't go doesn't make a clean stop look like a stuck one.
const DRAIN_MAX: Duration = Duration::from_secs(25);

/// Why the server can't serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Plaintext was asked for where others could read it.
    #[error(
        "plaintext is for loopback addresses only, and {address} isn't one; configure a certificate and a key"
    )]
    PlaintextOffHost {
        /// The address.
        address: SocketAddr,
    },
    /// The listener doesn't say where it listens.
    #[error("cannot ask the listener for its address")]
    Address(#[source] io::Error),
    /// The built-in descriptors are broken.
    #[error("cannot set up the reflection service")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport gave up.
    #[error("the server ended")]
    Transport(#[from] tonic::transport::Error),
}

/// Where callers come in, and how much they may ask for.
#[derive(Debug)]
pub struct Doors {
    /// The network's.
    pub listener: TcpListener,
    /// How its connections are protected; without, only on a loopback address.
    pub tls: Option<Tls>,
    /// The Unix socket, if there is one.
    pub socket: Option<SocketDoor>,
    /// The bounds that differ between installations.
    pub limits: Limits,
}

/// What all services share.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) watches: Watches,
}

impl Api {
    /// Who calls. The gate has put it there; a call without it has come another way, and goes nowhere.
    pub(super) fn verified<T>(call: &Request<T>) -> Result<&Verified, Status> {
        let defect = || status::defect("a call reached a service without an identity");
        call.extensions().get::<Verified>().ok_or_else(defect)
    }

    /// Who is there for this call, who calls, and with what.
    pub(super) fn open<T>(call: Request<T>) -> Result<(Arc<Broker>, Caller, T), Status> {
        let caller = Self::verified(&call)?.caller.clone();
        let defect = || status::defect("a call reached a service without a broker");
        let broker = call.extensions().get::<Arc<Broker>>().cloned().ok_or_else(defect)?;
        Ok((broker, caller, call.into_inner()))
    }
}

/// Serves until it is stopped, and then until the calls in flight are done, or for so long that they must be stuck.
/// Without TLS it serves on loopback addresses only.
///
/// # Errors
///
/// If it can't begin, or the transport gives up.
pub async fn serve(
    doors: Doors,
    fronts: Arc<Fronts>,
    clock: Arc<dyn Clock>,
    stopping: CancellationToken,
) -> Result<(), ServeError> {
    let Doors { listener, tls, socket, limits } = doors;
    let address = listener.local_addr().map_err(ServeError::Address)?;
    if tls.is_none() && !address.ip().is_loopback() {
        return Err(ServeError::PlaintextOffHost { address });
    }
    let health = Health::new();
    let gate = Gate::new(fronts, &limits, Arc::clone(&clock));
    let each_max = usize::try_from(limits.watches_per_person_max.get()).unwrap_or(usize::MAX);
    let watches = Watches::new(each_max, Arc::clone(&clock), stopping.clone());
    let router = router(gate, Api { watches }, &health)?;
    let incoming = incoming(listener, tls.clone(), socket, &limits, &clock);
    health.serving();
    let stop = async {
        stopping.cancelled().await;
        health.stopping();
    };
    tokio::select! {
        served = router.serve_with_incoming_shutdown(incoming, stop) => Ok(served?),
        () = drained_too_long(&*clock, &stopping) => Ok(()),
        () = keep(tls, &*clock) => Ok(()),
    }
}

/// Keeps the certificates as the files have them, for as long as there is anything to protect.
async fn keep(tls: Option<Tls>, clock: &dyn Clock) {
    match tls {
        Some(tls) => tls.keep(clock).await,
        None => std::future::pending().await,
    }
}

async fn drained_too_long(clock: &dyn Clock, stopping: &CancellationToken) {
    stopping.cancelled().await;
    clock.sleep(DRAIN_MAX).await;
    tracing::warn!(
        event.action = "server-stopped",
        event.outcome = "failure",
        "connections are still open {} seconds after the stop; they are cut",
        DRAIN_MAX.as_secs()
    );
}

fn router(gate: Gate, api: Api, health: &Health) -> Result<Router<Stack<Gate, Identity>>, ServeError> {
    let (api, bound) = (Arc::new(api), MESSAGE_MAX_BYTES);
    let targets = TargetServiceServer::from_arc(Arc::clone(&api)).max_decoding_message_size(bound);
    let requests = RequestServiceServer::from_arc(Arc::clone(&api)).max_decoding_message_size(bound);
    let grants = GrantServiceServer::from_arc(Arc::clone(&api)).max_decoding_message_size(bound);
    let freezes = FreezeServiceServer::from_arc(Arc::clone(&api)).max_decoding_message_size(bound);
    let ledger = LedgerServiceServer::from_arc(Arc::clone(&api)).max_decoding_message_size(bound);
    let daemons = DaemonServiceServer::from_arc(Arc::clone(&api)).max_decoding_message_size(bound);
    let exceptions = ExceptionServiceServer::from_arc(api).max_decoding_message_size(bound);
    Ok(bounded()
        .layer(gate)
        .add_service(health.service().max_decoding_message_size(bound))
        .add_service(reflection().build_v1()?.max_decoding_message_size(bound))
        .add_service(reflection().build_v1alpha()?.max_decoding_message_size(bound))
        .add_service(targets)
        .add_service(requests)
        .add_service(grants)
        .add_service(freezes)
        .add_service(exceptions)
        .add_service(ledger)
        .add_service(daemons))
}

/// The transport's limits. How long a call may take is the gate's matter, which can say so in our terms.
fn bounded() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_header_list_size(HEADERS_MAX_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_connection_age(CONNECTION_AGE_MAX)
        .max_connection_age_grace(CONNECTION_GRACE)
}

fn reflection() -> Reflection<'static> {
    Reflection::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::DRAIN;

    #[test]
    fn the_server_is_done_before_the_process_gives_up() {
        assert!(DRAIN_MAX < DRAIN);
    }
}
