//! Peers that take their time, that come in numbers, and calls that go wrong inside.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use hallpass::{
    clock::{Clock, ManualClock},
    grpc::Limits,
    store::Store as _,
    vault::simulated::{Effect, Operation},
    wire::{ClaimGrantRequest, ListTargetsRequest, grant_service_client::GrantServiceClient},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::{Code, Request as Call};
use tonic_types::StatusExt as _;

use super::{
    attacked::{Attacked, Wishes, list_targets},
    frames::{HEADERS, PREFACE, SETTINGS, begun, call, frame},
};
use crate::support::{refusals::reason, servers::eventually, sim::Sim};

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn limits(change: impl FnOnce(&mut Limits)) -> Wishes {
    let mut limits = Limits::default();
    change(&mut limits);
    Wishes { limits, ..Wishes::default() }
}

/// Reads whatever comes until the server closes.
async fn closed(stream: &mut (impl tokio::io::AsyncRead + Unpin)) {
    let mut buffer = [0; 4096];
    let reading = async { while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {} };
    tokio::time::timeout(Duration::from_mins(1), reading).await.expect("the connection is closed");
}

#[tokio::test]
async fn handshakes_that_take_too_long_are_cut() {
    let attacked = Attacked::with_tls().await;
    let began = attacked.now();
    let mut silent = attacked.connect().await;
    let mut slow = attacked.connect().await;
    // The beginning of a handshake's first record, and no more.
    slow.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await.unwrap();
    let mut prefaceless = attacked.handshake(None).await.unwrap();
    prefaceless.write_all(&PREFACE[..20]).await.unwrap();
    let all = async {
        closed(&mut silent).await;
        closed(&mut slow).await;
        closed(&mut prefaceless).await;
    };
    attacked.sim.as_time_goes_by(TimeDelta::seconds(1), all).await;
    assert!(attacked.now() - began >= TimeDelta::seconds(10));
    attacked.still_serves().await;
}

/// The preface opens nothing by itself: a call has to follow.
#[tokio::test]
async fn who_never_calls_is_let_go() {
    let attacked = Attacked::start().await;
    let began = attacked.now();
    let mut silent = begun(&attacked).await;
    let mut endless = begun(&attacked).await;
    let headers = call("/grpc.health.v1.Health/Check", &[]);
    endless.write_all(&frame(HEADERS, 0, 1, &headers)).await.unwrap();
    // A client of the library's answers every ping, and makes no call.
    let (polite, connection) = h2::client::handshake(attacked.connect().await).await.unwrap();
    let all = async {
        closed(&mut silent).await;
        closed(&mut endless).await;
        let _ = connection.await;
    };
    attacked.sim.as_time_goes_by(TimeDelta::seconds(1), all).await;
    assert!(attacked.now() - began >= TimeDelta::seconds(30));
    drop(polite);
    attacked.still_serves().await;
}

/// Who has called stays, for as long as he answers.
#[tokio::test]
async fn who_has_called_is_not_let_go() {
    let attacked = Attacked::start().await;
    let (mut client, connection) = h2::client::handshake(attacked.connect().await).await.unwrap();
    let connection = tokio::spawn(connection);
    let asked = || {
        http::Request::post("http://localhost/grpc.health.v1.Health/Check")
            .header("content-type", "application/grpc")
            .body(())
            .unwrap()
    };
    for _ in 0..3 {
        let (answer, mut body) = client.send_request(asked(), false).unwrap();
        body.send_data(bytes::Bytes::from_static(&[0; 5]), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
        attacked.sim.clock.advance(TimeDelta::minutes(10));
        tokio::task::yield_now().await;
        client = client.ready().await.unwrap();
    }
    assert!(!connection.is_finished());
}

#[tokio::test]
async fn a_message_that_does_not_come_ends_its_call_and_gives_its_place_back() {
    let attacked = Attacked::start().await;
    // So that the issuer's keys are known before many ask at once.
    attacked.still_serves().await;
    let (mut client, connection) = h2::client::handshake(attacked.connect().await).await.unwrap();
    tokio::spawn(connection);
    let bearer = format!("Bearer {}", attacked.token("alice", "developers"));
    // As many as one person may have at once.
    let mut slow = Vec::new();
    for _ in 0..16 {
        let request = http::Request::post("http://localhost/hallpass.v1.TargetService/ListTargets")
            .header("content-type", "application/grpc")
            .header("authorization", &bearer);
        client = client.ready().await.unwrap();
        let (answer, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data(bytes::Bytes::from_static(&[0, 0]), false).unwrap();
        slow.push((answer, body));
    }
    let channel = attacked.channel();
    let mut refusal = None;
    eventually("alice has no place left", async || {
        refusal = list_targets(channel.clone(), attacked.alice(ListTargetsRequest::default())).await.err();
        refusal.is_some()
    })
    .await;
    assert_eq!(reason(&refusal.unwrap()), (Code::ResourceExhausted, "TOO_MANY".to_owned()));
    attacked.still_serves().await;
    let began = attacked.now();
    let all = async {
        for (answer, _body) in &mut slow {
            let answer = answer.await.unwrap();
            assert_eq!(answer.headers()["grpc-status"], "4", "DEADLINE_EXCEEDED");
        }
    };
    attacked.sim.as_time_goes_by(TimeDelta::seconds(1), all).await;
    assert!(attacked.now() - began < TimeDelta::minutes(2), "before the call's own limit");
    list_targets(channel, attacked.alice(ListTargetsRequest::default()))
        .await
        .expect("alice has her places back");
}

#[tokio::test]
async fn a_callers_own_limit_counts_and_ours_above_it() {
    let attacked = Attacked::start().await;
    for (asked, seconds) in [(Some("7S"), 7), (Some("99999999H"), 120), (None, 120)] {
        let request = attacked.sim.approved("orders-ro").await;
        // Vault never answers.
        attacked.sim.vault.stall_next(Operation::Mint, Effect::DidNot);
        let message = ClaimGrantRequest { request: format!("requests/{request}"), reissue: false };
        let mut call = attacked.alice(message);
        if let Some(asked) = asked {
            call.metadata_mut().insert("grpc-timeout", asked.parse().unwrap());
        }
        let began = attacked.now();
        let mut grants = GrantServiceClient::new(attacked.channel());
        let claiming = grants.claim_grant(call);
        let error = attacked.sim.as_time_goes_by(TimeDelta::milliseconds(500), claiming).await.unwrap_err();
        assert_eq!(reason(&error), (Code::DeadlineExceeded, "TIMED_OUT".to_owned()), "{asked:?}");
        let took = attacked.now() - began;
        let limit = TimeDelta::seconds(seconds);
        assert!(
            took >= limit - TimeDelta::seconds(1) && took < limit + TimeDelta::seconds(60),
            "{asked:?}: {took}"
        );
    }
}

#[tokio::test]
async fn one_peer_does_not_take_all_places_and_the_socket_has_its_own() {
    let wishes = limits(|limits| {
        limits.connections_max = number(6);
        limits.connections_per_peer_max = number(4);
    });
    let attacked = Attacked::with(wishes).await;
    let mut mine = Vec::new();
    for _ in 0..4 {
        mine.push(begun(&attacked).await);
    }
    let mut fifth = attacked.connect().await;
    closed(&mut fifth).await;
    let elsewhere = attacked.channel_from("127.0.0.2");
    let call = attacked.alice(ListTargetsRequest::default());
    assert_eq!(list_targets(elsewhere, call).await.unwrap(), 2, "another peer is let in");
    // Nobody is, over the network, once all places are taken.
    let mut last = attacked.connect_from("127.0.0.3").await;
    last.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    last.read_exact(&mut [0; 9]).await.unwrap();
    let socket = attacked.channel_of_socket();
    let call = || Call::new(ListTargetsRequest::default());
    assert_eq!(list_targets(socket.clone(), call()).await.unwrap(), 2, "who is at the machine gets in");
    // A place is given back with its connection.
    mine.pop();
    attacked.still_serves().await;
}

/// A person has one rate, whichever way he comes in.
#[tokio::test]
async fn calls_are_counted_by_the_person() {
    let person = Some(("alice", vec!["test:id-of-alice".to_owned(), "socket:alice".to_owned()]));
    let wishes = Wishes { person, ..limits(|limits| limits.calls_per_minute_max = number(12)) };
    let attacked = Attacked::with(wishes).await;
    let (network, socket) = (attacked.channel(), attacked.channel_of_socket());
    for _ in 0..6 {
        list_targets(network.clone(), attacked.alice(ListTargetsRequest::default())).await.unwrap();
        list_targets(socket.clone(), Call::new(ListTargetsRequest::default())).await.unwrap();
    }
    for error in [
        list_targets(network.clone(), attacked.alice(ListTargetsRequest::default())).await.unwrap_err(),
        list_targets(socket.clone(), Call::new(ListTargetsRequest::default())).await.unwrap_err(),
    ] {
        assert_eq!(reason(&error), (Code::ResourceExhausted, "TOO_MANY".to_owned()));
        let wait = error.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert!(wait >= Duration::from_secs(5) && wait <= Duration::from_secs(6), "{wait:?}");
    }
    attacked.still_serves().await;
    attacked.sim.clock.advance(TimeDelta::seconds(5));
    list_targets(network.clone(), attacked.alice(ListTargetsRequest::default())).await.unwrap();
    list_targets(socket, Call::new(ListTargetsRequest::default())).await.unwrap_err();
}

/// Panics once, when it is told to.
#[derive(Debug)]
struct Mine {
    clock: Arc<ManualClock>,
    armed: AtomicBool,
}

#[async_trait]
impl Clock for Mine {
    fn now(&self) -> DateTime<Utc> {
        assert!(!self.armed.swap(false, Ordering::SeqCst), "/etc/shadow SELECT secret");
        self.clock.now()
    }

    async fn sleep(&self, length: Duration) {
        self.clock.sleep(length).await;
    }

    async fn sleep_until(&self, at: DateTime<Utc>) {
        self.clock.sleep_until(at).await;
    }

    async fn meet(&self, at: DateTime<Utc>) {
        self.clock.meet(at).await;
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    fn random(&self) -> u128 {
        self.clock.random()
    }
}

#[tokio::test]
async fn a_call_that_panics_is_answered_and_the_daemon_goes_on() {
    let sim = Sim::start().await;
    let mine = Arc::new(Mine { clock: sim.clock.clone(), armed: AtomicBool::new(false) });
    let attacked = Attacked::with_clock(Wishes::default(), sim, mine.clone()).await;
    let channel = attacked.channel();
    let submit = || {
        let ask = hallpass::wire::SubmitRequestRequest {
            target: "targets/orders-ro".into(),
            duration: Some(Duration::from_mins(30).try_into().unwrap()),
            reason: "order 4711 is stuck".into(),
            ..hallpass::wire::SubmitRequestRequest::default()
        };
        attacked.alice(ask)
    };
    let before = hallpass::grpc::panicked();
    for _ in 0..3 {
        mine.armed.store(true, Ordering::SeqCst);
        let error = super::attacked::requests(&channel).submit_request(submit()).await.unwrap_err();
        assert_eq!(reason(&error), (Code::Internal, "INTERNAL".to_owned()));
        assert_eq!(error.message(), "an internal error; the daemon's log has the details");
        let sent = format!("{error:?} {}", String::from_utf8_lossy(error.details()));
        assert!(!sent.contains("shadow") && !sent.contains("SELECT") && !sent.contains(".rs"), "{sent}");
    }
    assert!(
        hallpass::grpc::panicked() >= before + 3,
        "each is counted, also where the verb has a task of its own"
    );
    assert_eq!(attacked.sim.store.last_sequence().await.unwrap(), 0, "nothing is half done");
    super::attacked::requests(&channel).submit_request(submit()).await.expect("on the same connection");
    attacked.still_serves().await;
}

/// The open methods cost nobody a name, so there are few of them.
#[tokio::test]
async fn a_peer_has_few_open_streams() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let attacked = Attacked::start().await;
    let (mut open, mut refused) = (Vec::new(), 0);
    let channels: Vec<_> = (0..4).map(|_| attacked.channel()).collect();
    for number in 0..100 {
        let mut health = HealthClient::new(channels[number % 4].clone());
        match health.watch(HealthCheckRequest::default()).await {
            Ok(stream) => open.push(stream),
            Err(error) => {
                assert_eq!(reason(&error), (Code::ResourceExhausted, "TOO_MANY".to_owned()));
                refused += 1;
            }
        }
    }
    assert_eq!((open.len(), refused), (32, 68));
    let mut elsewhere = HealthClient::new(attacked.channel_from("127.0.0.2"));
    elsewhere.check(HealthCheckRequest::default()).await.expect("another peer has its own");
    attacked.still_serves().await;
    open.clear();
    eventually("the places are free again", async || {
        HealthClient::new(channels[0].clone()).check(HealthCheckRequest::default()).await.is_ok()
    })
    .await;
}
