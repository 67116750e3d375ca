//! Streams of events. Each ends by itself: with its caller, with the caller's identity, or with the daemon.
//!
//! A task of its own reads what happens and writes to the call, no more than a few messages ahead. The last message's
//! place is kept free from the beginning, so that a client who doesn't read can't keep a stream from ending.

use std::{future::pending, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::sync::mpsc::{self, OwnedPermit, Sender};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    bounds::{Place, Places},
    panics, status, to_proto,
};
use crate::{
    access::actor::Caller,
    broker::Watch,
    clock::Clock,
    identity::{Evidence, IdentityError, Verified, Verifier},
    wire::WatchRequestsResponse,
};

/// The one method that streams, as logs name it.
const METHOD: &str = "/hallpass.v1.RequestService/WatchRequests";

/// How many streams the daemon serves at once. Each holds a task and a few messages.
const STREAMS_MAX: usize = 256;

/// How often it is looked whether a certificate is revoked, or a user has left a group, while its stream goes on.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// How many messages may wait for a client to read them.
const AHEAD_MAX: usize = 8;

/// What a call is answered with.
pub(super) type Events = ReceiverStream<Message>;
type Message = Result<WatchRequestsResponse, Status>;

/// The streams of the daemon.
#[derive(Clone, Debug)]
pub(super) struct Watches {
    places: Places<String>,
    clock: Arc<dyn Clock>,
    stopping: CancellationToken,
}

/// What an identity rests on that can stop to hold, and who says whether it does.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) evidence: Evidence,
    pub(super) verifier: Arc<Verifier>,
}

/// Who watches, and what that rests on.
#[derive(Clone, Debug)]
pub(super) struct Watcher {
    pub(super) verified: Verified,
    pub(super) standing: Option<Standing>,
}

impl Watches {
    pub(super) fn new(each_max: usize, clock: Arc<dyn Clock>, stopping: CancellationToken) -> Self {
        Self { places: Places::new(STREAMS_MAX, each_max), clock, stopping }
    }

    /// A place for one stream.
    pub(super) fn place(&self, caller: &Caller) -> Result<Place<String>, Status> {
        self.places.take(&caller.person.subject).ok_or_else(|| status::too_many("watches"))
    }

    /// Streams what is seen, as long as the identity holds.
    pub(super) fn stream(&self, mut watch: Watch, place: Place<String>, watcher: Watcher) -> Events {
        let (sender, receiver) = mpsc::channel(AHEAD_MAX + 1);
        let this = self.clone();
        // The channel is new, so there is a place for the last message.
        if let Ok(last) = sender.clone().try_reserve_owned() {
            tokio::spawn(async move {
                let forward = AssertUnwindSafe(forward(&mut watch, &sender)).catch_unwind();
                let forward = forward.map(|ended| ended.unwrap_or_else(|_| panics::caught(METHOD)));
                if let Some(status) = run(&sender, last, this.end(&watcher), forward).await {
                    status::log(&status, METHOD, None, &watcher.verified.caller.person.name);
                }
                drop(place);
            });
        }
        ReceiverStream::new(receiver)
    }

    /// Waits for what ends every stream, and says it.
    async fn end(&self, watcher: &Watcher) -> Status {
        tokio::select! {
            () = self.stopping.cancelled() => status::stopping(),
            () = self.clock.sleep_until(watcher.verified.expires_at) => status::identity(&match watcher.standing {
                Some(_) => IdentityError::Certificate("is expired"),
                None => IdentityError::Expired,
            }),
            lost = self.lost(watcher) => status::identity(&lost),
        }
    }

    /// Looks again and again whether what the identity rests on still holds, and says what doesn't.
    async fn lost(&self, watcher: &Watcher) -> IdentityError {
        // A token holds until it expires, whatever happens.
        let Some(Standing { evidence, verifier }) = &watcher.standing else { return pending().await };
        loop {
            self.clock.sleep(LOOK_AGAIN).await;
            match verifier.verify_evidence(evidence).await {
                Ok(now) if now.caller == watcher.verified.caller => {}
                Ok(_) => return IdentityError::Changed,
                Err(error) => return error,
            }
        }
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
    use std::collections::BTreeMap;

    use chrono::{DateTime, TimeDelta};
    use tokio_stream::StreamExt as _;
    use tonic::Code;

    use super::*;
    use crate::{
        access::actor::{Person, Persons},
        clock::ManualClock,
        identity::SocketSettings,
    };

    const EACH_MAX: usize = 4;

    fn watches(clock: Arc<ManualClock>, stopping: CancellationToken) -> Watches {
        Watches::new(EACH_MAX, clock, stopping)
    }

    /// Who knows one user of this machine.
    fn verifier() -> Arc<Verifier> {
        let people = [("0".to_owned(), "alice".to_owned())].into();
        let socket = SocketSettings { people, groups: BTreeMap::new() };
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
        let verifier = Verifier::new(vec![], Persons::default(), clock).unwrap();
        Arc::new(verifier.with_socket(Some(socket)))
    }

    fn caller(name: &str) -> Caller {
        let person = Person { subject: format!("socket:{name}"), name: name.to_owned() };
        Caller { person, groups: [].into() }
    }

    fn watcher(name: &str, expires_at: DateTime<chrono::Utc>, uid: Option<u32>) -> Watcher {
        let verified = Verified { caller: caller(name), expires_at };
        let standing = |uid| Standing { evidence: Evidence::User(uid), verifier: verifier() };
        Watcher { verified, standing: uid.map(standing) }
    }

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
        let soon = DateTime::UNIX_EPOCH + TimeDelta::minutes(1);
        running_for(bound, watcher("alice", soon, None))
    }

    fn running_for(bound: i64, who: Watcher) -> Running {
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
        let stopping = CancellationToken::new();
        let (sender, receiver) = mpsc::channel(AHEAD_MAX + 1);
        let last = sender.clone().try_reserve_owned().unwrap();
        let watches = watches(Arc::clone(&clock), stopping.clone());
        let task = tokio::spawn(async move {
            let forward = async {
                for sequence in 1..=bound {
                    let _ = sender.send(Ok(message(sequence))).await;
                }
                pending().await
            };
            drop(run(&sender, last, watches.end(&who), forward).await);
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
    async fn it_ends_when_the_user_is_somebody_else_by_now() {
        let never = DateTime::<chrono::Utc>::MAX_UTC;
        // Of the user 0 the verifier says that it is alice; of the others, nothing.
        for (name, uid, part) in [("bob", 0, "have changed"), ("alice", 1, "isn't listed")] {
            let mut running = running_for(1, watcher(name, never, Some(uid)));
            assert_eq!(running.events.next().await.unwrap().unwrap(), message(1));
            running.clock.advance(TimeDelta::minutes(1));
            let (_, status) = codes(running.events).await;
            let status = status.unwrap();
            assert_eq!(status.code(), Code::Unauthenticated);
            assert!(status.message().contains(part), "{status}");
        }
    }

    #[tokio::test]
    async fn it_goes_on_while_the_user_is_the_same() {
        let who = watcher("alice", DateTime::<chrono::Utc>::MAX_UTC, Some(0));
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
        let watches = watches(Arc::clone(&clock), CancellationToken::new());
        let again = verifier().verify_evidence(&Evidence::User(0)).await.unwrap();
        assert_eq!(again.caller, who.verified.caller, "which is what the loop goes on with");
        let mut lost = Box::pin(watches.lost(&who));
        assert!(lost.as_mut().now_or_never().is_none());
    }

    #[tokio::test]
    async fn places_are_bounded_in_all_and_each_and_come_back() {
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
        let watches = watches(clock, CancellationToken::new());
        let place = |number: usize| watches.place(&caller(&format!("p{}", number / EACH_MAX)));
        let mut places: Vec<_> = (0..EACH_MAX).map(|number| place(number).unwrap()).collect();
        assert_eq!(place(0).unwrap_err().code(), Code::ResourceExhausted, "nobody has more than his own");
        places.extend((EACH_MAX..STREAMS_MAX).map(|number| place(number).unwrap()));
        assert_eq!(place(STREAMS_MAX).unwrap_err().code(), Code::ResourceExhausted);
        places.pop();
        assert!(place(STREAMS_MAX).is_ok());
    }
}
