//! From a listener to connections that speak HTTP/2. Nothing gets further that hasn't shown TLS (where it is on) and the
//! HTTP/2 preface within a short time, so that silent peers cost a place for seconds only; from there on, the HTTP/2
//! keepalive finds the dead.
//!
//! A connection that can't be accepted never ends the loop, and never makes it spin.

use std::{
    convert::Infallible,
    error::Error,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use super::tls::Tls;
use crate::clock::Clock;

/// How many connections there are at most, those that are still being set up included. More wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1000;

/// How long a peer may take for TLS and the preface: some round trips over a bad line.
const SETUP_MAX: Duration = Duration::from_secs(10);

/// How long to wait after a failed accept: out of file descriptors, for example, stays so for a while.
const PAUSE: Duration = Duration::from_millis(200);

/// What every HTTP/2 client sends first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Who is at the other end; every call carries it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub SocketAddr);

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection that has shown its preface. Its place is free again when it is dropped.
pub(super) struct Connection {
    io: Box<dyn Io>,
    peer: Peer,
    _place: OwnedSemaphorePermit,
}

/// The connections that come in. Dropping the stream closes the listener and whatever is still being set up.
pub(super) type Incoming = ReceiverStream<Result<Connection, Infallible>>;

pub(super) fn incoming(listener: TcpListener, tls: Option<Tls>, clock: Arc<dyn Clock>) -> Incoming {
    // One waits at most: the server takes them as they come.
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let accepting = Accepting { listener, tls, clock, sender: sender.clone() };
        tokio::select! {
            () = sender.closed() => {}
            () = accepting.run() => {}
        }
    });
    ReceiverStream::new(receiver)
}

struct Accepting {
    listener: TcpListener,
    tls: Option<Tls>,
    clock: Arc<dyn Clock>,
    sender: mpsc::Sender<Result<Connection, Infallible>>,
}

impl Accepting {
    async fn run(self) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut setups = JoinSet::new();
        // The semaphore is never closed, so this goes on until it is dropped.
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    let (tls, clock) = (self.tls.clone(), Arc::clone(&self.clock));
                    let sender = self.sender.clone();
                    setups.spawn(async move {
                        if let Some(connection) = set_up(stream, Peer(address), tls, &*clock, place).await {
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

async fn set_up(
    stream: TcpStream,
    peer: Peer,
    tls: Option<Tls>,
    clock: &dyn Clock,
    place: OwnedSemaphorePermit,
) -> Option<Connection> {
    // Small messages to and fro; an error here means that the peer is gone already, which the next read tells.
    let _ = stream.set_nodelay(true);
    let io = tokio::select! {
        io = prefaced(stream, tls) => io,
        () = clock.sleep(SETUP_MAX) => Err(io::ErrorKind::TimedOut.into()),
    };
    match io {
        Ok(io) => Some(Connection { io, peer, _place: place }),
        Err(error) => {
            // Port scanners and health probes do this all day long.
            tracing::debug!(
                event.action = "connection-set-up",
                event.outcome = "failure",
                client.address = %peer.0.ip(),
                error = &error as &dyn Error,
                "a connection was closed before it spoke HTTP/2"
            );
            None
        }
    }
}

async fn prefaced(stream: TcpStream, tls: Option<Tls>) -> io::Result<Box<dyn Io>> {
    match tls {
        None => with_preface(stream).await,
        Some(tls) => with_preface(tls.acceptor().accept(stream).await?).await,
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

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
