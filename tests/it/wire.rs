//! The server as its clients see it, over real connections: what it takes, what it refuses, how it ends. The clock is
//! one to turn, so that expiries and time limits don't have to be waited for.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use hallpass::{
    access::{actor::Persons, policy::Scope},
    clock::Clock,
    grpc::{self, Doors, Front, Fronts, Limits, ServeError, Tls},
    identity::{Algorithm, ClaimPaths, KeySource, Settings, Verifier},
    store::Store as _,
    wire::{
        ApproveRequestRequest, ClaimGrantRequest, GetExceptionRequest, GetTargetRequest, ListGrantsRequest,
        ListRequestsRequest, ListTargetsRequest, Request, RequestState, SubmitRequestRequest, Target,
        WatchRequestsRequest, exception_service_client::ExceptionServiceClient,
        grant_service_client::GrantServiceClient, request_service_client::RequestServiceClient,
        target_service_client::TargetServiceClient,
    },
};
use jsonwebtoken::{EncodingKey, Header, encode};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_stream::StreamExt as _;
use tonic::{
    Code, Request as Call, Status,
    metadata::{MetadataValue, errors::InvalidMetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::{v1, v1alpha};
use tonic_types::StatusExt as _;

use crate::support::{
    refusals::{bad_fields, reason},
    servers::eventually,
    sim::Sim,
};

const ISSUER: &str = "https://vault.test/v1/identity/oidc";

/// Trusts one issuer, whose keys are there.
fn verifier(keys_url: &str, clock: &Arc<dyn Clock>) -> Arc<Verifier> {
    let issuer = Settings {
        name: "test".into(),
        issuer: ISSUER.into(),
        audience: "hallpass".into(),
        algorithms: vec![Algorithm::EdDsa],
        keys: KeySource::Url(keys_url.parse().unwrap()),
        ca_file: None,
        claims: ClaimPaths::default(),
        groups: None,
    };
    Arc::new(Verifier::new(vec![issuer], Persons::default(), Arc::clone(clock)).unwrap())
}

/// How long anything may take to come true, in real time.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server, and the issuer of its callers' tokens.
pub struct Served {
    pub sim: Sim,
    address: String,
    channel: Channel,
    key: EncodingKey,
    server: JoinHandle<Result<(), ServeError>>,
}

impl Served {
    async fn start() -> Self {
        Self::with(None).await
    }

    /// With a certificate: the daemon's files, and what clients trust.
    async fn with(tls: Option<(Tls, Certificate)>) -> Self {
        Self::over(Sim::start().await, tls).await
    }

    /// Over this broker.
    pub async fn over(sim: Sim, tls: Option<(Tls, Certificate)>) -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let key = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).unwrap();
        let clock: Arc<dyn Clock> = sim.clock.clone();
        let verifier = verifier(&publish(pair.public_key_raw()).await, &clock);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (tls, trusted) = tls.unzip();
        let doors = Doors { listener, tls: tls.clone(), socket: None, limits: Limits::default() };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (broker, stopping) = (Arc::clone(&sim.broker), sim.stopping.clone());
        let fronts = Arc::new(Fronts::new(Front { verifier, broker }));
        let server = tokio::spawn(grpc::serve(doors, fronts, clock, stopping));
        let endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).unwrap();
        let endpoint = match trusted {
            Some(trusted) => {
                let tls = ClientTlsConfig::new().ca_certificate(trusted).domain_name("localhost");
                endpoint.tls_config(tls).unwrap()
            }
            None => endpoint,
        };
        let channel = endpoint.connect_lazy();
        Self { sim, address, channel, key, server }
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// A message of somebody in these groups.
    pub fn call<T>(&self, name: &str, groups: &[&str], message: T) -> Call<T> {
        with_token(message, &self.token_of(name, groups))
    }

    fn token(&self, name: &str, group: &str) -> String {
        self.token_of(name, &[group])
    }

    /// A token that holds for ten minutes.
    pub fn token_of(&self, name: &str, groups: &[&str]) -> String {
        let now = self.sim.clock.now().timestamp();
        let claims = json!({
            "iss": ISSUER, "aud": "hallpass", "sub": format!("id-of-{name}"), "name": name,
            "groups": groups, "iat": now, "exp": now + 600,
        });
        let header = Header { kid: Some("k".into()), ..Header::new(jsonwebtoken::Algorithm::EdDSA) };
        encode(&header, &claims, &self.key).unwrap()
    }

    fn alice<T>(&self, message: T) -> Call<T> {
        with_token(message, &self.token("alice", "developers"))
    }

    fn olivia<T>(&self, message: T) -> Call<T> {
        with_token(message, &self.token("olivia", "operations-leads"))
    }

    pub fn targets(&self) -> TargetServiceClient<Channel> {
        TargetServiceClient::new(self.channel.clone())
    }

    pub fn requests(&self) -> RequestServiceClient<Channel> {
        RequestServiceClient::new(self.channel.clone())
    }

    async fn list_targets(&self, token: &str) -> Result<usize, Status> {
        let call = with_token(ListTargetsRequest::default(), token);
        self.targets().list_targets(call).await.map(|page| page.into_inner().targets.len())
    }

    async fn submit(&self, reason: &str) -> Request {
        let ask = SubmitRequestRequest {
            target: "targets/orders-ro".into(),
            duration: Some(Duration::from_mins(30).try_into().unwrap()),
            reason: reason.into(),
            ..SubmitRequestRequest::default()
        };
        self.requests().submit_request(self.alice(ask)).await.unwrap().into_inner()
    }

    /// The kinds of all that is recorded.
    async fn recorded(&self) -> Vec<String> {
        let events = self.sim.store.events_after(&Scope::All, None, 0, 1000).await.unwrap();
        events.into_iter().map(|event| event.kind).collect()
    }

    async fn refusals_recorded(&self) -> usize {
        // Events about no request are no part of anybody's scope, so they are counted as gaps in the others' sequence.
        let last = usize::try_from(self.sim.store.last_sequence().await.unwrap()).unwrap();
        last - self.recorded().await.iter().filter(|kind| *kind != "IdentityRefused").count()
    }

    /// How the server ended, within real seconds.
    async fn ended(self) -> Result<(), ServeError> {
        tokio::time::timeout(PATIENCE, self.server).await.expect("it ends").unwrap()
    }
}

/// Publishes one Ed25519 key, and answers with where.
async fn publish(public: &[u8]) -> String {
    let key = json!({ "kid": "k", "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(public) });
    let body = json!({ "keys": [key] }).to_string();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
    });
    url
}

fn with_token<T>(message: T, token: &str) -> Call<T> {
    let mut call = Call::new(message);
    call.metadata_mut().insert("authorization", bearer(token).unwrap());
    call
}

fn bearer(token: &str) -> Result<MetadataValue<tonic::metadata::Ascii>, InvalidMetadataValue> {
    format!("Bearer {token}").parse()
}

#[tokio::test]
async fn a_story_over_the_wire() {
    let served = Served::start().await;
    let request = served.submit("order 4711 is stuck").await;
    assert_eq!(request.state(), RequestState::Pending);
    let approval = ApproveRequestRequest {
        name: request.name.clone(),
        digest: request.digest.clone(),
        statement: "go ahead".into(),
        ..ApproveRequestRequest::default()
    };
    let approved = served.requests().approve_request(served.olivia(approval)).await.unwrap().into_inner();
    assert_eq!(approved.state(), RequestState::Approved);
    let mut grants = GrantServiceClient::new(served.channel.clone());
    let claim = ClaimGrantRequest { request: request.name.clone(), reissue: false };
    let claimed = grants.claim_grant(served.alice(claim)).await.unwrap().into_inner();
    assert!(!claimed.wrapping_token.is_empty());
    let mine = grants.list_grants(served.alice(ListGrantsRequest::default())).await.unwrap().into_inner();
    assert_eq!(mine.grants, [claimed.grant.unwrap()]);
    let name = request.name.replace("requests", "exceptions");
    let mut exceptions = ExceptionServiceClient::new(served.channel.clone());
    let call = served.olivia(GetExceptionRequest { name: name.clone() });
    let exception = exceptions.get_exception(call).await.unwrap().into_inner();
    assert_eq!((exception.name, exception.grants), (name, mine.grants));
    let kinds: Vec<_> = exception.timeline.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds[..3], ["RequestSubmitted", "RequestApproved", "RequestClaimed"]);
}

#[tokio::test]
async fn pages_stay_valid_while_requests_come_in() {
    let served = Served::start().await;
    let mut names = Vec::new();
    for number in 0..5 {
        names.push(served.submit(&format!("number {number}")).await.name);
        served.sim.clock.advance(TimeDelta::seconds(1));
    }
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let message = ListRequestsRequest { page_size: 2, page_token, filter: None };
        let page = served.requests().list_requests(served.alice(message)).await.unwrap().into_inner();
        seen.extend(page.requests.into_iter().map(|request| request.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
        served.submit("another").await;
    }
    names.reverse();
    assert_eq!(seen, names);
    for (size, token, field) in [(-1, "", "page_size"), (0, "nonsense", "page_token")] {
        let message = ListRequestsRequest { page_size: size, page_token: token.into(), filter: None };
        let error = served.requests().list_requests(served.alice(message)).await.unwrap_err();
        assert_eq!(bad_fields(&error), [field]);
    }
}

#[tokio::test]
async fn nobody_gets_in_without_a_token_that_holds() {
    let served = Served::start().await;
    let invalid = (Code::Unauthenticated, "TOKEN_INVALID".to_owned());
    let good = served.token("alice", "developers");
    assert_eq!(served.list_targets(&good).await.unwrap(), 2);

    let error = served.targets().list_targets(ListTargetsRequest::default()).await.unwrap_err();
    assert_eq!(reason(&error), invalid);
    assert_eq!(served.refusals_recorded().await, 0, "whoever forgot to log in tried nothing");

    let error = served.list_targets(&format!("{good}x")).await.unwrap_err();
    assert_eq!(reason(&error), invalid);
    let mut twice = with_token(ListTargetsRequest::default(), &good);
    twice.metadata_mut().append("authorization", bearer(&good).unwrap());
    assert_eq!(reason(&served.targets().list_targets(twice).await.unwrap_err()), invalid);
    served.sim.clock.advance(TimeDelta::seconds(600));
    assert_eq!(reason(&served.list_targets(&good).await.unwrap_err()), invalid);
    assert_eq!(served.refusals_recorded().await, 3);
}

/// I9: methods.
#[tokio::test]
async fn what_is_not_listed_is_not_there() {
    let served = Served::start().await;
    let token = served.token("alice", "developers");
    for path in ["/hallpass.v1.GrantService/Nothing", "/hallpass.v1.Nothing/ClaimGrant", "/"] {
        let error = raw::<_, Target>(&served, path, with_token(ListTargetsRequest::default(), &token)).await;
        assert_eq!(error.unwrap_err().code(), Code::Unimplemented, "{path}");
    }
}

/// Calls any path with any message.
async fn raw<In, Out>(served: &Served, path: &'static str, call: Call<In>) -> Result<Out, Status>
where
    In: prost::Message + 'static,
    Out: prost::Message + Default + 'static,
{
    let mut client = tonic::client::Grpc::new(served.channel.clone());
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<In, Out>::default();
    client.unary(call, path.parse().unwrap(), codec).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_a_bad_field() {
    let served = Served::start().await;
    // A number where a name belongs.
    let number = served.alice(ListTargetsRequest { page_size: 7, page_token: String::new() });
    let error = raw::<_, Target>(&served, "/hallpass.v1.TargetService/GetTarget", number).await.unwrap_err();
    assert_eq!(bad_fields(&error), ["message"]);
    let long = served.alice(GetTargetRequest { name: "x".repeat(65 * 1024) });
    assert_eq!(bad_fields(&served.targets().get_target(long).await.unwrap_err()), ["message"]);
    assert_eq!(served.list_targets(&served.token("alice", "developers")).await.unwrap(), 2, "it goes on");
}

#[tokio::test]
async fn health_and_reflection_need_no_token() {
    let served = Served::start().await;
    let mut health = HealthClient::new(served.channel.clone());
    let answer = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);

    let ask = v1::ServerReflectionRequest {
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
        ..v1::ServerReflectionRequest::default()
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(served.channel.clone());
    let mut answers = client.server_reflection_info(tokio_stream::once(ask)).await.unwrap().into_inner();
    let answer = format!("{:?}", answers.next().await.unwrap().unwrap());
    for service in ["TargetService", "RequestService", "GrantService", "ExceptionService", "Health"] {
        assert!(answer.contains(service), "{service}: {answer}");
    }

    let message = v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
        "hallpass.v1.GrantService".into(),
    );
    let ask = v1alpha::ServerReflectionRequest {
        message_request: Some(message),
        ..v1alpha::ServerReflectionRequest::default()
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(served.channel.clone());
    let mut answers = client.server_reflection_info(tokio_stream::once(ask)).await.unwrap().into_inner();
    assert!(format!("{:?}", answers.next().await.unwrap().unwrap()).contains("FileDescriptorResponse"));
}

#[tokio::test]
async fn a_watch_tells_what_happens_and_ends_with_the_token() {
    let served = Served::start().await;
    let request = served.submit("order 4711 is stuck").await;
    let watch = WatchRequestsRequest { name: request.name.clone(), after_sequence: None };
    let mut seen = served.requests().watch_requests(served.alice(watch)).await.unwrap().into_inner();
    let present = seen.next().await.unwrap().unwrap();
    assert_eq!((present.event, present.request), (None, Some(request.clone())));
    let approval = ApproveRequestRequest {
        name: request.name,
        digest: request.digest,
        statement: "go".into(),
        ..ApproveRequestRequest::default()
    };
    served.requests().approve_request(served.olivia(approval)).await.unwrap();
    let next = seen.next().await.unwrap().unwrap();
    assert_eq!(next.event.unwrap().kind, "RequestApproved");
    assert_eq!(next.request.unwrap().state(), RequestState::Approved);
    served.sim.clock.advance(TimeDelta::seconds(600));
    let end = seen.next().await.unwrap().unwrap_err();
    assert_eq!(reason(&end), (Code::Unauthenticated, "TOKEN_INVALID".to_owned()));
}

#[tokio::test]
async fn a_stop_ends_streams_and_then_the_server() {
    let served = Served::start().await;
    let call = served.alice(WatchRequestsRequest::default());
    let mut watch = served.requests().watch_requests(call).await.unwrap().into_inner();
    let mut health = HealthClient::new(served.channel.clone());
    let mut states = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(states.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    served.sim.stopping.cancel();
    let end = watch.next().await.unwrap().unwrap_err();
    assert_eq!(reason(&end), (Code::Unavailable, "STOPPING".to_owned()));
    assert_eq!(states.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert!(states.next().await.is_none());
    let address = served.address.clone();
    served.ended().await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

/// Of what was only checked there is nothing that could be read, approved or claimed.
#[tokio::test]
async fn a_submission_that_is_only_checked_has_no_name_and_no_digest() {
    let served = Served::start().await;
    let ask = SubmitRequestRequest {
        target: "targets/orders-ro".into(),
        duration: Some(Duration::from_mins(30).try_into().unwrap()),
        reason: "order 4711 is stuck".into(),
        validate_only: true,
        ..SubmitRequestRequest::default()
    };
    let checked = served.requests().submit_request(served.alice(ask)).await.unwrap().into_inner();
    assert_eq!((checked.name.as_str(), checked.digest.as_str()), ("", ""));
    assert_eq!((checked.state(), checked.reason.as_str()), (RequestState::Pending, "order 4711 is stuck"));
    assert!(served.recorded().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_calls_in_flight_finish() {
    let served = Served::start().await;
    let request = served.sim.approved("orders-ro").await;
    let (reached, mut at_vault) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, held) = std::sync::mpsc::channel();
    let held = Mutex::new(Some(held));
    served.sim.vault.on_call(move |_| {
        // The first call to Vault waits; the others go through.
        if let Some(held) = held.lock().unwrap().take() {
            reached.send(()).unwrap();
            held.recv().unwrap();
        }
    });
    let claim = served.alice(ClaimGrantRequest { request: format!("requests/{request}"), reissue: false });
    let mut grants = GrantServiceClient::new(served.channel.clone());
    let mut claiming = tokio::spawn(async move { grants.claim_grant(claim).await });
    tokio::select! {
        reached = at_vault.recv() => reached.unwrap(),
        done = &mut claiming => panic!("it never came to Vault: {done:?}"),
    }
    served.sim.stopping.cancel();
    eventually("nobody is let in any more", async || TcpStream::connect(&served.address).await.is_err())
        .await;
    assert!(!served.server.is_finished(), "it waits for the claim");
    go_on.send(()).unwrap();
    let claimed = claiming.await.unwrap().unwrap().into_inner();
    assert!(!claimed.wrapping_token.is_empty());
    served.ended().await.unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let served = Served::start().await;
    // A reflection stream that its client never closes.
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(served.channel.clone());
    let open = client.server_reflection_info(tokio_stream::pending()).await.unwrap();
    served.sim.stopping.cancel();
    let stopped_at = served.sim.clock.now();
    let finished = eventually("the server ends", async || served.server.is_finished());
    served.sim.as_time_goes_by(TimeDelta::seconds(1), finished).await;
    assert!(served.sim.clock.now() - stopped_at >= TimeDelta::seconds(25), "it waited for the stream");
    served.ended().await.unwrap();
    drop(open);
}

#[tokio::test]
async fn silent_and_strange_peers_are_let_go() {
    let served = Served::start().await;
    let mut silent = TcpStream::connect(&served.address).await.unwrap();
    let mut strange = TcpStream::connect(&served.address).await.unwrap();
    strange.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let _ = strange.read_to_end(&mut Vec::new()).await;
    let closed = async { silent.read(&mut [0; 1]).await.unwrap() };
    assert_eq!(served.sim.as_time_goes_by(TimeDelta::seconds(1), closed).await, 0);
    assert_eq!(served.list_targets(&served.token("alice", "developers")).await.unwrap(), 2, "it goes on");
}

#[tokio::test]
async fn plaintext_stays_on_this_host() {
    let sim = Sim::start().await;
    let clock: Arc<dyn Clock> = sim.clock.clone();
    let verifier = verifier("http://127.0.0.1:9/keys", &clock);
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let fronts = Arc::new(Fronts::new(Front { verifier, broker: Arc::clone(&sim.broker) }));
    let doors = Doors { listener, tls: None, socket: None, limits: Limits::default() };
    let served = grpc::serve(doors, fronts, clock, sim.stopping.clone()).await;
    assert!(matches!(served, Err(ServeError::PlaintextOffHost { .. })));
}

/// A server's certificate with its key, loaded, and what clients trust.
fn certificate() -> (Tls, Certificate) {
    let directory = tempfile::tempdir().unwrap();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    std::fs::write(&certificate, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    (Tls::load(&certificate, &key, None).unwrap(), Certificate::from_pem(cert.pem()))
}

#[tokio::test]
async fn over_tls_it_is_the_same() {
    let served = Served::with(Some(certificate())).await;
    assert_eq!(served.list_targets(&served.token("alice", "developers")).await.unwrap(), 2);
    // A peer that doesn't begin its handshake keeps nobody waiting.
    let _silent = TcpStream::connect(&served.address).await.unwrap();
    let error = served.list_targets("").await.unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn older_tls_and_plaintext_are_refused() {
    let (tls, trusted) = certificate();
    let served = Served::with(Some((tls, trusted.clone()))).await;
    for (versions, works) in [(&[&rustls::version::TLS13], true), (&[&rustls::version::TLS12], false)] {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(trusted.as_ref()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(&served.address).await.unwrap();
        let name = "localhost".try_into().unwrap();
        let connected = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        assert_eq!(connected.is_ok(), works, "{versions:?}");
    }
    let plain = Endpoint::from_shared(format!("http://{}", served.address)).unwrap().connect_lazy();
    let call = served.alice(ListTargetsRequest::default());
    let error = TargetServiceClient::new(plain).list_targets(call).await.unwrap_err();
    assert!(error.get_details_error_info().is_none(), "nobody answered: {error:?}");
}
