//! A hallpassd and a Vault in the test's own process: they answer what they are told to, and note what they were asked.
//! Neither has any rules.

use std::{
    io::{self, Write},
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex},
};

use secrecy::SecretString;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_stream::Stream;
use tonic::{Request as Call, Response, Status, transport::server::TcpIncoming};

use super::{App, args::Cli, error::Failure, output::Output, session};
use crate::{
    clock::SystemClock,
    wire::{
        ApproveRequestRequest, ClaimGrantRequest, ClaimGrantResponse, DenyRequestRequest, GetGrantRequest,
        GetRequestRequest, Grant, ListGrantsRequest, ListGrantsResponse, ListRequestsRequest,
        ListRequestsResponse, ReleaseGrantRequest, Request, RevokeGrantRequest, SubmitRequestRequest,
        WatchRequestsRequest, WatchRequestsResponse, WithdrawRequestRequest,
        grant_service_server::{GrantService, GrantServiceServer},
        request_service_server::{RequestService, RequestServiceServer},
    },
};

/// What one call of `WatchRequests` streams.
pub type Script = Vec<Result<WatchRequestsResponse, Status>>;

/// What the fake answers, and what it was asked.
#[derive(Default)]
pub struct State {
    /// Answers of `SubmitRequest`, the first one first.
    pub submit: Vec<Result<Request, Status>>,
    /// What each call of `WatchRequests` streams; a call without a script streams nothing and goes on.
    pub watch: Vec<Script>,
    /// Answers of `ClaimGrant`.
    pub claim: Vec<Result<ClaimGrantResponse, Status>>,
    /// Answers of `GetRequest`.
    pub request: Vec<Result<Request, Status>>,
    /// Answers of `ReleaseGrant` and `GetGrant`.
    pub grant: Vec<Result<Grant, Status>>,
    /// The tokens, keys, `after_sequence`s and names that came, in order.
    pub seen: Vec<String>,
}

/// The fake hallpassd.
#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<State>>);

impl Fake {
    /// Changes or reads the state.
    pub fn with<T>(&self, what: impl FnOnce(&mut State) -> T) -> T {
        what(&mut self.0.lock().unwrap())
    }

    fn note<T>(&self, call: &Call<T>, what: String) {
        let token = call.metadata().get("authorization").map(|token| token.to_str().unwrap().to_owned());
        assert_eq!(token.as_deref(), Some("Bearer the-jwt"));
        self.with(|state| state.seen.push(what));
    }
}

fn first<T>(answers: &mut Vec<Result<T, Status>>) -> Result<Response<T>, Status> {
    if answers.is_empty() {
        return Err(Status::unimplemented("not scripted"));
    }
    answers.remove(0).map(Response::new)
}

#[tonic::async_trait]
impl RequestService for Fake {
    async fn submit_request(&self, call: Call<SubmitRequestRequest>) -> Result<Response<Request>, Status> {
        self.note(&call, call.get_ref().idempotency_key.clone());
        self.with(|state| first(&mut state.submit))
    }

    async fn get_request(&self, call: Call<GetRequestRequest>) -> Result<Response<Request>, Status> {
        self.note(&call, call.get_ref().name.clone());
        self.with(|state| first(&mut state.request))
    }

    async fn list_requests(
        &self,
        _: Call<ListRequestsRequest>,
    ) -> Result<Response<ListRequestsResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn withdraw_request(&self, _: Call<WithdrawRequestRequest>) -> Result<Response<Request>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn approve_request(&self, call: Call<ApproveRequestRequest>) -> Result<Response<Request>, Status> {
        let ApproveRequestRequest { digest, statement, .. } = call.get_ref();
        self.note(&call, format!("{digest} {statement}"));
        self.with(|state| first(&mut state.request))
    }

    async fn deny_request(&self, _: Call<DenyRequestRequest>) -> Result<Response<Request>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    type WatchRequestsStream = Pin<Box<dyn Stream<Item = Result<WatchRequestsResponse, Status>> + Send>>;

    async fn watch_requests(
        &self,
        call: Call<WatchRequestsRequest>,
    ) -> Result<Response<Self::WatchRequestsStream>, Status> {
        self.note(&call, format!("after {:?}", call.get_ref().after_sequence));
        let script =
            self.with(|state| if state.watch.is_empty() { Vec::new() } else { state.watch.remove(0) });
        if script.is_empty() {
            return Ok(Response::new(Box::pin(tokio_stream::pending())));
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(script))))
    }
}

#[tonic::async_trait]
impl GrantService for Fake {
    async fn claim_grant(
        &self,
        call: Call<ClaimGrantRequest>,
    ) -> Result<Response<ClaimGrantResponse>, Status> {
        self.note(&call, format!("{} {}", call.get_ref().request, call.get_ref().reissue));
        self.with(|state| first(&mut state.claim))
    }

    async fn release_grant(&self, call: Call<ReleaseGrantRequest>) -> Result<Response<Grant>, Status> {
        self.note(&call, format!("release {}", call.get_ref().name));
        self.with(|state| first(&mut state.grant))
    }

    async fn revoke_grant(&self, _: Call<RevokeGrantRequest>) -> Result<Response<Grant>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn get_grant(&self, call: Call<GetGrantRequest>) -> Result<Response<Grant>, Status> {
        self.note(&call, format!("get {}", call.get_ref().name));
        self.with(|state| first(&mut state.grant))
    }

    async fn list_grants(&self, _: Call<ListGrantsRequest>) -> Result<Response<ListGrantsResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }
}

/// Standard output, for looking at.
#[derive(Clone, Default)]
pub struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    /// What was written.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// What was written, as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text()).unwrap()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A client, its servers and its home.
pub struct World {
    /// The fake hallpassd.
    pub fake: Fake,
    server: String,
    vault: String,
    home: TempDir,
}

impl World {
    /// Starts a hallpassd, and a Vault that gives these answers by path.
    pub async fn new(vault: &[(&'static str, u16, Value)]) -> Self {
        let fake = Fake::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let service = tonic::transport::Server::builder()
            .add_service(RequestServiceServer::new(fake.clone()))
            .add_service(GrantServiceServer::new(fake.clone()));
        tokio::spawn(service.serve_with_incoming(TcpIncoming::from(listener)));
        let home = tempfile::tempdir().unwrap();
        let world = Self { fake, server, vault: serve_vault(vault.to_vec()).await, home };
        session::write(&world.token_file(), &SecretString::from("the-jwt")).unwrap();
        world
    }

    fn token_file(&self) -> PathBuf {
        self.home.path().join("token")
    }

    /// Runs the client with these words, without a terminal.
    pub async fn run(&self, words: &[&str]) -> (Result<(), Failure>, Paper) {
        let token_file = self.token_file();
        let mut words = [&["hallpass"], words].concat();
        words.extend(["--vault-addr", &self.vault, "--token-file", token_file.to_str().unwrap()]);
        if !words.contains(&"--server") {
            words.extend(["--server", &self.server]);
        }
        let Cli { options, verb } = <Cli as clap::Parser>::try_parse_from(words).unwrap();
        let paper = Paper::default();
        let out = Output::to(options.output, Box::new(paper.clone()), Box::new(Paper::default()));
        let app = App { options, out, clock: Arc::new(SystemClock), interactive: false };
        (super::dispatch(&app, verb).await, paper)
    }
}

/// As much of HTTP/1.1 as the client's own small requests need.
async fn serve_vault(answers: Vec<(&'static str, u16, Value)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut bytes = vec![0; 16 * 1024];
            let read = connection.read(&mut bytes).await.unwrap();
            let head = String::from_utf8_lossy(&bytes[..read]).into_owned();
            let answer = answers.iter().find(|(path, ..)| head.contains(&format!(" /v1/{path} ")));
            let (code, body) = answer.map_or((404, "{}".into()), |(_, code, body)| (*code, body.to_string()));
            let length = body.len();
            let text =
                format!("HTTP/1.1 {code} X\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
            connection.write_all(text.as_bytes()).await.unwrap();
        }
    });
    address
}
