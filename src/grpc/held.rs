//! Bodies with something about them: an answer that holds a place for as long as it is sent, and a message that has to
//! arrive in time.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};

use super::status;
use crate::clock::Clock;

type Polled<B> = Poll<Option<Result<Frame<<B as HttpBody>::Data>, Status>>>;

/// An answer; what it holds is dropped with it.
struct Held<P> {
    body: Body,
    _place: P,
}

/// An answer that holds a place until it is sent or given up.
pub(super) fn held<P: Send + Unpin + 'static>(body: Body, place: P) -> Body {
    Body::new(Held { body, _place: place })
}

impl<P: Unpin> HttpBody for Held<P> {
    type Data = <Body as HttpBody>::Data;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled<Body> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A message, and when it has to be whole.
struct Timely {
    body: Body,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// A message that has to be whole after so long.
pub(super) fn timely(body: Body, within: Duration, clock: Arc<dyn Clock>) -> Body {
    Body::new(Timely { body, over: Box::pin(async move { clock.sleep(within).await }) })
}

impl HttpBody for Timely {
    type Data = <Body as HttpBody>::Data;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled<Body> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_pending() && self.over.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(status::slow())));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
