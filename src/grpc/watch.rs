//! Streams of events. Each ends by itself: with its caller, with the caller's token, or with the daemon.
//!
//! A task of its own reads what happens and writes to the call, no more than a few messages ahead. The last message's
//! place is kept free from the beginning, so that a client who doesn't read can't keep a stream from ending.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::{
    OwnedSemaphorePermit, Semaphore,
    mpsc::{self, OwnedPermit, Sender},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{status, to_proto};
use crate::{
    broker::Watch,
    clock::Clock,
    identity::{IdentityError, Verified},
    wire::WatchRequestsResponse,
};

/// The one method that streams, as logs name it.
const METHOD: &str = "/hallpass.v1.RequestService/WatchRequests";

/// How many streams the daemon serves at once. Each holds a task and a few messages.
const STREAMS_MAX: usize = 256;

/// How many messages may wait for a client to read them.
const AHEAD_MAX: usize = 8;

/// What a call is answered with.
pub(super) type Events = ReceiverStream<Message>;
type Message = Result<WatchRequestsResponse, Status>;

/// The streams of the daemon.
#[derive(Clone, Debug)]
pub(super) struct Watches {
    places: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
    stopping: CancellationToken,
}

impl Watches {
    pub(super) fn new(clock: Arc<dyn Clock>, stopping: CancellationToken) -> Self {
        Self { places: Arc::new(Semaphore::new(STREAMS_MAX)), clock, stopping }
    }

    /// A place for one stream.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| status::too_many("watches"))
    }

    /// Streams what is seen, as long as the token holds.
    pub(super) fn stream(&self, mut watch: Watch, place: OwnedSemaphorePermit, verified: Verified) -> Events {
        let (sender, receiver) = mpsc::channel(AHEAD_MAX + 1);
        let (clock, stopping) = (Arc::clone(&self.clock), self.stopping.clone());
        // The channel is new, so there is a place for the last message.
        if let Ok(last) = sender.clone().try_reserve_owned() {
            tokio::spawn(async move {
                let Verified { caller, expires_at } = verified;
                let ending = end(&*clock, &stopping, expires_at);
                if let Some(status) = run(&sender, last, ending, forward(&mut watch, &sender)).await {
                    status::log(&status, METHOD, None, &caller.person.name);
                }
                drop(place);
            });
        }
        ReceiverStream::new(receiver)
    }
}

/// Waits for what ends every stream, and says it.
async fn end(clock: &dyn Clock, stopping: &CancellationToken, expires_at: DateTime<Utc>) -> Status {
    tokio::select! {
        () = stopping.cancelled() => status::stopping(),
        () = clock.sleep_until(expires_at) => status::identity(&IdentityError::Expired),
    }
}

/// Sends what is seen until nothing more can come, and says why.
async fn forward(watch: &mut Watch, sender: &Sender<Message>) -> Status {
    loop {
        match watch.next().await {
            // A client who is gone is noticed by the sender's other user.
            Ok(seen) => drop(sender.send(Ok(to_proto::seen(seen))).await),
            Err(error) => return error.into(),
        }
    }
}

/// Lets `forward` send until the client hangs up, or either of the two says how the stream ends, which is sent last.
async fn run(
    sender: &Sender<Message>,
    last: OwnedPermit<Message>,
    ending: impl Future<Output = Status>,
    forward: impl Future<Output = Status>,
) -> Option<Status> {
    let status = tokio::select! {
        () = sender.closed() => return None,
        status = ending => status,
        status = forward => status,
    };
    last.send(Err(status.clone()));
    Some(status)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use chrono::TimeDelta;
    use tokio_stream::StreamExt as _;
    use tonic::Code;

    use super::*;
    use crate::clock::ManualClock;

    fn message(sequence: i64) -> WatchRequestsResponse {
        WatchRequestsResponse { sequence, ..WatchRequestsResponse::default() }
    }

    struct Running {
        clock: Arc<ManualClock>,
        stopping: CancellationToken,
        events: Events,
        task: tokio::task::JoinHandle<()>,
    }

    /// A stream of numbers up to a bound, then silence; the token holds for a minute.
    fn running(bound: i64) -> Running {
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
        let stopping = CancellationToken::new();
        let (sender, receiver) = mpsc::channel(AHEAD_MAX + 1);
        let last = sender.clone().try_reserve_owned().unwrap();
        let (clock_too, stopping_too) = (Arc::clone(&clock), stopping.clone());
        let expires_at = clock.now() + TimeDelta::minutes(1);
        let task = tokio::spawn(async move {
            let forward = async {
                for sequence in 1..=bound {
                    let _ = sender.send(Ok(message(sequence))).await;
                }
                pending().await
            };
            let ending = end(&*clock_too, &stopping_too, expires_at);
            drop(run(&sender, last, ending, forward).await);
        });
        Running { clock, stopping, events: ReceiverStream::new(receiver), task }
    }

    async fn codes(events: Events) -> (usize, Option<Status>) {
        let all: Vec<_> = events.collect().await;
        let sent = all.iter().filter(|message| message.is_ok()).count();
        (sent, all.into_iter().find_map(Result::err))
    }

    #[tokio::test]
    async fn it_ends_with_the_token() {
        let mut running = running(1);
        assert_eq!(running.events.next().await.unwrap().unwrap(), message(1));
        running.clock.advance(TimeDelta::minutes(1));
        let (_, status) = codes(running.events).await;
        assert_eq!(status.unwrap().code(), Code::Unauthenticated);
    }

    #[tokio::test]
    async fn it_ends_with_the_daemon() {
        let running = running(0);
        running.stopping.cancel();
        let (sent, status) = codes(running.events).await;
        assert_eq!((sent, status.unwrap().code()), (0, Code::Unavailable));
    }

    #[tokio::test]
    async fn it_ends_although_nobody_reads() {
        let running = running(i64::MAX);
        tokio::task::yield_now().await;
        running.stopping.cancel();
        running.task.await.unwrap();
        let (sent, status) = codes(running.events).await;
        assert_eq!((sent, status.unwrap().code()), (AHEAD_MAX, Code::Unavailable));
    }

    #[tokio::test]
    async fn it_ends_when_the_client_hangs_up() {
        let running = running(0);
        drop(running.events);
        running.task.await.unwrap();
    }

    #[tokio::test]
    async fn places_are_bounded_and_come_back() {
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
        let watches = Watches::new(clock, CancellationToken::new());
        let mut places: Vec<_> = (0..STREAMS_MAX).map(|_| watches.place().unwrap()).collect();
        assert_eq!(watches.place().unwrap_err().code(), Code::ResourceExhausted);
        places.pop();
        assert!(watches.place().is_ok());
    }
}
