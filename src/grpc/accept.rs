//! From listeners to connections that speak HTTP/2. Nothing gets further that hasn't shown TLS (where it is on) and the
//! HTTP/2 preface within a short time, and nothing stays that makes no call within a while: so silent peers cost a place for
//! seconds only, and from there on the HTTP/2 keepalive finds the dead. One peer has a bounded part of the places, and the
//! Unix socket has its own, so that a flood from the network keeps nobody out who is at the machine.
//!
//! A connection that can't be accepted never ends the loop, and never makes it spin.

use std::{convert::Infallible, error::Error, io, num::NonZeroU32, sync::Arc, time::Duration};

use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream, UnixStream},
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::{
    bounds::{Limits, Places, Rates},
    connection::{Connection, Io, Taken},
    door::SocketDoor,
    peer::{Counted, Origin, Peer},
    tls::Tls,
};
use crate::{clock::Clock, identity::ClientChain};

/// How many connections the Unix socket has, for all its users: some for each who works on the machine.
const SOCKET_CONNECTIONS_MAX: usize = 256;

/// How long a peer may take for TLS and the preface: some round trips over a bad line.
const SETUP_MAX: Duration = Duration::from_secs(10);

/// How many lines a minute strangers can cause in the log here: what floods it takes others' lines along.
const TOLD_A_MINUTE: NonZeroU32 = NonZeroU32::new(60).unwrap();

/// How long to wait after a failed accept: out of file descriptors, for example, stays so for a while.
const PAUSE: Duration = Duration::from_millis(200);

/// What every HTTP/2 client sends first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The connections that come in. Dropping the stream closes the listeners and whatever is still being set up.
pub(super) type Incoming = ReceiverStream<Result<Connection, Infallible>>;

/// Where connections come in.
enum Door {
    Network { listener: TcpListener, tls: Option<Tls> },
    Socket(SocketDoor),
}

/// A stream as it was accepted.
enum Raw {
    Tcp(TcpStream, Option<Tls>),
    Unix(UnixStream),
}

pub(super) fn incoming(
    listener: TcpListener,
    tls: Option<Tls>,
    socket: Option<SocketDoor>,
    limits: &Limits,
    clock: &Arc<dyn Clock>,
) -> Incoming {
    // One waits at most: the server takes them as they come.
    let (sender, receiver) = mpsc::channel(1);
    let number = |number: NonZeroU32| usize::try_from(number.get()).unwrap_or(usize::MAX);
    let each_max = number(limits.connections_per_peer_max);
    let network = (Door::Network { listener, tls }, number(limits.connections_max));
    let socket = socket.map(|socket| (Door::Socket(socket), SOCKET_CONNECTIONS_MAX));
    let told = Arc::new(Rates::new(TOLD_A_MINUTE, Arc::clone(clock)));
    for (door, max) in [network].into_iter().chain(socket) {
        let (sender, clock, told) = (sender.clone(), Arc::clone(clock), Arc::clone(&told));
        tokio::spawn(async move {
            let peers = Places::new(usize::MAX, each_max);
            let accepting = Accepting { door, max, peers, clock, told, sender: sender.clone() };
            tokio::select! {
                () = sender.closed() => {}
                () = accepting.run() => {}
            }
        });
    }
    ReceiverStream::new(receiver)
}

struct Accepting {
    door: Door,
    max: usize,
    peers: Places<Counted>,
    clock: Arc<dyn Clock>,
    told: Arc<Rates<()>>,
    sender: mpsc::Sender<Result<Connection, Infallible>>,
}

impl Accepting {
    async fn run(self) {
        let places = Arc::new(Semaphore::new(self.max));
        let mut setups = JoinSet::new();
        // The semaphore is never closed, so this goes on until it is dropped. Who finds no place waits in the kernel's queue.
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            match self.door.accept().await {
                Ok((raw, origin)) => {
                    // Whoever has as many as one may have is let go at once: waiting would keep others out.
                    let Some(own) = self.peers.take(&origin.counted()) else {
                        self.too_many(origin);
                        continue;
                    };
                    let (clock, sender) = (Arc::clone(&self.clock), self.sender.clone());
                    let told = Arc::clone(&self.told);
                    setups.spawn(async move {
                        if let Some(connection) = set_up(raw, origin, clock, &told, (place, own)).await {
                            // If nobody takes it, the daemon is stopping.
                            let _ = sender.send(Ok(connection)).await;
                        }
                    });
                }
                Err(error) => self.pause(&error).await,
            }
            while setups.try_join_next().is_some() {}
        }
    }

    fn too_many(&self, origin: Origin) {
        if self.told.take(&()).is_ok() {
            tracing::warn!(
                event.action = "connection-accepted",
                event.outcome = "failure",
                client.address = %origin,
                "a peer has too many connections; this one is closed"
            );
        }
    }

    async fn pause(&self, error: &io::Error) {
        tracing::warn!(
            event.action = "connection-accepted",
            event.outcome = "failure",
            error = error as &dyn Error,
            "a connection can't be accepted; going on"
        );
        self.clock.sleep(PAUSE).await;
    }
}

impl Door {
    async fn accept(&self) -> io::Result<(Raw, Origin)> {
        match self {
            Self::Network { listener, tls } => {
                let (stream, address) = listener.accept().await?;
                // Small messages to and fro; an error here means that the peer is gone already, which the next read tells.
                let _ = stream.set_nodelay(true);
                Ok((Raw::Tcp(stream, tls.clone()), Origin::Address(address.ip().to_canonical())))
            }
            Self::Socket(door) => {
                let (stream, _) = door.listener.accept().await?;
                // Of the process that connected, at the time when it did (SO_PEERCRED); it can't say anything else.
                let user = stream.peer_cred()?.uid();
                Ok((Raw::Unix(stream), Origin::User(user)))
            }
        }
    }
}

async fn set_up(
    raw: Raw,
    origin: Origin,
    clock: Arc<dyn Clock>,
    told: &Rates<()>,
    places: Taken,
) -> Option<Connection> {
    let prefaced = tokio::select! {
        prefaced = prefaced(raw) => prefaced,
        () = clock.sleep(SETUP_MAX) => Err(io::ErrorKind::TimedOut.into()),
    };
    match prefaced {
        Ok((io, chain)) => {
            let peer = Peer { origin, chain, called: CancellationToken::new() };
            Some(Connection::new(io, peer, clock, places))
        }
        Err(error) => {
            failed(origin, &error, told);
            None
        }
    }
}

fn failed(origin: Origin, error: &io::Error, told: &Rates<()>) {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    // General is what a certificate ends with while the authorities can't be read.
    let refused = matches!(
        tls,
        Some(
            rustls::Error::InvalidCertificate(_)
                | rustls::Error::InvalidCertRevocationList(_)
                | rustls::Error::General(_)
        )
    );
    if refused && told.take(&()).is_ok() {
        // Somebody who should have been let in, or somebody who tries.
        tracing::warn!(
            event.action = "certificate-refused",
            event.outcome = "failure",
            client.address = %origin,
            error = error as &dyn Error,
            "a client's certificate was refused"
        );
        return;
    }
    // Port scanners and health probes do this all day long.
    tracing::debug!(
        event.action = "connection-set-up",
        event.outcome = "failure",
        client.address = %origin,
        error = error as &dyn Error,
        "a connection was closed before it spoke HTTP/2"
    );
}

async fn prefaced(raw: Raw) -> io::Result<(Box<dyn Io>, Option<ClientChain>)> {
    match raw {
        Raw::Unix(stream) => Ok((with_preface(stream).await?, None)),
        Raw::Tcp(stream, None) => Ok((with_preface(stream).await?, None)),
        Raw::Tcp(stream, Some(tls)) => {
            let stream = tls.acceptor().accept(stream).await?;
            let chain = stream.get_ref().1.peer_certificates().and_then(ClientChain::new);
            Ok((with_preface(stream).await?, chain))
        }
    }
}

/// Reads the preface, and gives it back to whoever reads next.
async fn with_preface(mut io: impl Io + 'static) -> io::Result<Box<dyn Io>> {
    let mut preface = [0; PREFACE.len()];
    io.read_exact(&mut preface).await?;
    if preface != *PREFACE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the peer doesn't speak HTTP/2"));
    }
    let (reader, writer) = tokio::io::split(io);
    Ok(Box::new(tokio::io::join(PREFACE.chain(reader), writer)))
}
