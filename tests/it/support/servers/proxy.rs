//! A way to Vault on which things go wrong as a test says: refused, reset, hanging, slow, answered by somebody else, cut.
//!
//! It knows as much HTTP as it takes to tell one request from the next: each comes on a connection of its own, because
//! each answer ends its connection. Everything that no rule names goes through untouched. It runs on the test's runtime
//! and ends with it; it keeps methods, paths and fingerprints of bodies, and never a header or a body, where the tokens are.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    time::sleep,
};

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 128;
/// What a request or a head may have in bytes: far more than the daemon sends, and a bound all the same.
const REQUEST_MAX: usize = 1 << 20;
/// A slow answer comes in so many pieces, with a pause between each two.
const PIECES: usize = 8;
const PIECE_PAUSE: Duration = Duration::from_millis(50);

/// Whether Vault has got the request when the fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// It never does.
    Before,
    /// It has answered, and the answer is lost.
    After,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is reset.
    Reset(When),
    /// The connection stays open and silent, until the caller gives up.
    Hang(When),
    /// Somebody answers with this status and body.
    Says(When, u16, &'static str),
    /// Half of the answer comes, and the connection ends.
    Cut,
    /// Half of the answer comes, and the connection stays open and silent.
    Stall,
    /// The answer comes bit by bit, for less than half a second in all.
    Slow,
    /// The answer comes, and nobody can connect any more until [`Proxy::lift`].
    Last,
}

/// A rule: which requests, and what happens to them.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    call: &'static str,
    fault: Fault,
    once: Option<&'static str>,
    times: usize,
}

impl Rule {
    /// For each request with `call` in its method and path, which read like `GET /v1/sys/health`.
    pub fn on(call: &'static str, fault: Fault) -> Self {
        Self { call, fault, once: None, times: usize::MAX }
    }

    /// Holds only once a request with `call` in its method and path has come, from now on.
    pub fn once(self, call: &'static str) -> Self {
        Self { once: Some(call), ..self }
    }

    /// Is over after so many.
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its method and path, like `GET /v1/sys/health`.
    pub what: String,
    /// Tells requests with different bodies apart, and nothing else about them.
    pub body: u64,
    /// What happened to it instead of its way to Vault and back.
    pub fault: Option<Fault>,
    /// How many of its path were under way when it came, itself included.
    pub at_once: usize,
    /// Whether it still is.
    under_way: bool,
}

/// The way.
#[derive(Debug)]
pub struct Proxy {
    /// Like Vault's, without a slash at its end.
    pub address: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    vault: String,
    /// Keeps the port while nobody listens there, so that connections are refused and nobody else gets it.
    place: TcpSocket,
    /// Whether connections are to be accepted, and whether they are.
    open: watch::Sender<bool>,
    listens: watch::Sender<bool>,
    traffic: Mutex<Traffic>,
}

#[derive(Debug, Default)]
struct Traffic {
    rules: Vec<Rule>,
    calls: BTreeMap<u64, Call>,
    number: u64,
}

impl Proxy {
    /// Opens a way to the Vault at `vault`, an address like `http://127.0.0.1:8200`.
    pub fn start(vault: &str) -> Self {
        let place = socket(0).unwrap();
        let port = place.local_addr().unwrap().port();
        let vault = vault.strip_prefix("http://").expect("plain HTTP").to_owned();
        let (open, listens, traffic) = (watch::Sender::new(true), watch::Sender::new(true), Mutex::default());
        let shared = Arc::new(Shared { vault, place, open, listens, traffic });
        tokio::spawn(Arc::clone(&shared).accept(shared.listen()));
        Self { address: format!("http://127.0.0.1:{port}"), shared }
    }

    /// Adds a rule. Of several that name a request the first decides.
    pub fn fault(&self, rule: Rule) {
        self.shared.traffic().rules.push(rule);
    }

    /// Refuses all connections from now on.
    pub async fn refuse(&self) {
        self.shared.refuse().await;
    }

    /// Takes all rules back, and lets everybody connect. What hangs goes on hanging, as it does after an outage.
    pub async fn lift(&self) {
        self.shared.traffic().rules.clear();
        self.shared.open.send_replace(true);
        self.shared.listens.subscribe().wait_for(|listens| *listens).await.unwrap();
    }

    /// The requests with `call` in their method and path, in the order in which they came.
    pub fn calls(&self, call: &str) -> Vec<Call> {
        let traffic = self.shared.traffic();
        traffic.calls.values().filter(|one| one.what.contains(call)).cloned().collect()
    }

    /// Whether something happened to one of the requests.
    pub fn has_faulted(&self) -> bool {
        self.shared.traffic().calls.values().any(|one| one.fault.is_some())
    }

    /// Forgets the requests so far, except that some may be under way.
    pub fn forget(&self) {
        let mut traffic = self.shared.traffic();
        traffic.calls.retain(|_, one| one.under_way);
        traffic.calls.values_mut().for_each(|one| one.fault = None);
    }
}

/// A request as it was read.
struct Request {
    what: String,
    head: String,
    body: Vec<u8>,
}

impl Shared {
    /// Serves while it is open, and begins anew when it is opened again.
    async fn accept(self: Arc<Self>, first: TcpListener) {
        let (mut open, mut listener) = (self.open.subscribe(), Some(first));
        loop {
            let Some(listening) = &listener else {
                if open.wait_for(|open| *open).await.is_err() {
                    return;
                }
                listener = Some(self.listen());
                self.listens.send_replace(true);
                continue;
            };
            tokio::select! {
                biased;
                _ = open.wait_for(|open| !*open) => {
                    listener = None;
                    self.listens.send_replace(false);
                }
                Ok((connection, _)) = listening.accept() => {
                    tokio::spawn(Arc::clone(&self).serve(connection));
                }
            }
        }
    }

    fn listen(&self) -> TcpListener {
        let port = self.place.local_addr().unwrap().port();
        socket(port).and_then(|socket| socket.listen(BACKLOG)).unwrap()
    }

    /// One request and what becomes of it. Whatever fails here is a connection that somebody gave up.
    async fn serve(self: Arc<Self>, mut caller: TcpStream) {
        let Ok(Some(request)) = read(&mut caller).await else { return };
        let (number, fault) = self.traffic().note(&request);
        let _ = self.answer(&mut caller, &request, fault).await;
        if let Some(call) = self.traffic().calls.get_mut(&number) {
            call.under_way = false;
        }
    }

    async fn answer(
        &self,
        caller: &mut TcpStream,
        request: &Request,
        fault: Option<Fault>,
    ) -> io::Result<()> {
        let before = matches!(
            fault,
            Some(Fault::Reset(When::Before) | Fault::Hang(When::Before) | Fault::Says(When::Before, ..))
        );
        let answer = if before { Vec::new() } else { self.forward(request).await? };
        match fault {
            None => caller.write_all(&answer).await,
            Some(Fault::Reset(_)) => caller.set_zero_linger(),
            Some(Fault::Hang(_)) => silence(caller).await,
            Some(Fault::Says(_, status, body)) => caller.write_all(said(status, body).as_bytes()).await,
            Some(Fault::Cut) => caller.write_all(half(&answer)).await,
            Some(Fault::Stall) => {
                caller.write_all(half(&answer)).await?;
                silence(caller).await
            }
            Some(Fault::Slow) => trickle(caller, &answer).await,
            Some(Fault::Last) => {
                // Closed first: whoever has the answer is refused already.
                self.refuse().await;
                caller.write_all(&answer).await
            }
        }
    }

    /// Sends the request on and reads the answer to its end, which Vault is asked to mark by closing.
    async fn forward(&self, request: &Request) -> io::Result<Vec<u8>> {
        let mut vault = TcpStream::connect(&self.vault).await?;
        vault.write_all(request.head.as_bytes()).await?;
        vault.write_all(&request.body).await?;
        let mut answer = Vec::new();
        vault.read_to_end(&mut answer).await?;
        Ok(answer)
    }

    async fn refuse(&self) {
        self.open.send_replace(false);
        let mut listens = self.listens.subscribe();
        // It ends with the runtime, and nobody waits any more then.
        let _ = listens.wait_for(|listens| !*listens).await;
    }

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Traffic {
    /// Notes a request, and decides what happens to it.
    fn note(&mut self, request: &Request) -> (u64, Option<Fault>) {
        let at_once = 1 + self.calls.values().filter(|one| one.under_way && one.what == request.what).count();
        let fault = self.decide(&request.what);
        let mut body = DefaultHasher::new();
        request.body.hash(&mut body);
        let (what, body) = (request.what.clone(), body.finish());
        self.number += 1;
        self.calls.insert(self.number, Call { what, body, fault, at_once, under_way: true });
        (self.number, fault)
    }

    fn decide(&mut self, what: &str) -> Option<Fault> {
        let names = |rule: &&mut Rule| rule.once.is_none() && rule.times > 0 && what.contains(rule.call);
        let rule = self.rules.iter_mut().find(names);
        let fault = rule.map(|rule| {
            rule.times -= 1;
            rule.fault
        });
        for rule in &mut self.rules {
            rule.once = rule.once.filter(|once| !what.contains(once));
        }
        fault
    }
}

/// A socket that shares its port with others of this kind.
fn socket(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok(socket)
}

/// Reads a request; none if the caller went away before it was whole.
async fn read(caller: &mut TcpStream) -> io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    loop {
        if caller.read_buf(&mut bytes).await? == 0 || bytes.len() > REQUEST_MAX {
            return Ok(None);
        }
        if let Some(request) = parse(&bytes) {
            return Ok(Some(request));
        }
    }
}

/// The request, if all of it is there. Its head asks the next server to close when it has answered.
fn parse(bytes: &[u8]) -> Option<Request> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = (std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 4..]);
    let mut lines = head.split("\r\n");
    let first = lines.next()?;
    let what = first.rsplit_once(' ')?.0.to_owned();
    let named = |line: &str, name: &str| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    };
    let length = lines.clone().find_map(|line| named(line, "content-length"));
    if body.len() < length.map_or(0, |length| length.parse().unwrap_or(usize::MAX)) {
        return None;
    }
    let kept = lines.filter(|line| named(line, "connection").is_none());
    let head: Vec<&str> = [first].into_iter().chain(kept).chain(["Connection: close", "", ""]).collect();
    let head = head.join("\r\n");
    Some(Request { what, head, body: body.to_owned() })
}

/// An answer of somebody else's.
fn said(status: u16, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

/// So much that the head is whole and the body isn't; of an answer without a body, half of the head.
fn half(answer: &[u8]) -> &[u8] {
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n").map(|head| head + 4);
    match body.filter(|body| *body < answer.len()) {
        Some(body) => &answer[..usize::midpoint(body, answer.len())],
        None => &answer[..answer.len() / 2],
    }
}

#[expect(clippy::disallowed_methods, reason = "what is slow takes time")]
async fn trickle(caller: &mut TcpStream, answer: &[u8]) -> io::Result<()> {
    for piece in answer.chunks(answer.len().div_ceil(PIECES).max(1)) {
        caller.write_all(piece).await?;
        // What is slow takes time: nobody waits for anything here.
        sleep(PIECE_PAUSE).await;
    }
    Ok(())
}

/// Until the caller hangs up.
async fn silence(caller: &mut TcpStream) -> io::Result<()> {
    let mut ignored = [0; 64];
    while caller.read(&mut ignored).await? > 0 {}
    Ok(())
}
