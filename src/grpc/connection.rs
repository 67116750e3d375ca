//! A connection that speaks HTTP/2, with the place that it takes: closed when no call comes for too long.

use std::{
    future::pending,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::{
    bounds::Place,
    peer::{Counted, Peer},
};
use crate::clock::Clock;

/// How long a peer may take from there to its first call. A client connects because it has one to make; the time is for its
/// headers, should they be long and the line bad.
const FIRST_CALL_MAX: Duration = Duration::from_secs(30);

/// A place among all, and one among the peer's own.
pub(super) type Taken = (OwnedSemaphorePermit, Place<Counted>);

pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection that has shown its preface. Its place is free again when it is dropped.
pub(super) struct Connection {
    io: Box<dyn Io>,
    peer: Peer,
    /// Over when it should have made a call and hasn't; `None` from then on.
    silent: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _places: Taken,
}

impl Connection {
    pub(super) fn new(io: Box<dyn Io>, peer: Peer, clock: Arc<dyn Clock>, places: Taken) -> Self {
        let silent = Some(Box::pin(silent(peer.called.clone(), clock)) as _);
        Self { io, peer, silent, _places: places }
    }
}

/// Over when no call has come for too long, and never once one came.
async fn silent(called: CancellationToken, clock: Arc<dyn Clock>) {
    tokio::select! {
        () = called.cancelled() => pending().await,
        () = clock.sleep(FIRST_CALL_MAX) => {}
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        if read.is_ready() {
            return read;
        }
        let over = self.silent.as_mut().is_none_or(|silent| silent.as_mut().poll(context).is_ready());
        if over {
            self.silent = None;
            // As if the peer had closed the connection.
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
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
