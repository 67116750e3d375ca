//! An HTTP server that says what it is told to, for what no real Vault does when it is well.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use hallpass::{
    clock::SystemClock,
    vault::{Settings, VaultIssuer},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Method, path below `/v1/`, status, further headers, and body.
pub type Reply = (&'static str, &'static str, u16, &'static str, &'static str);

/// A login that is not asked for much.
pub const LOGIN: Reply = (
    "POST",
    "auth/approle/login",
    200,
    "",
    r#"{"auth":{"client_token":"s.daemon","accessor":"a","lease_duration":1200,"renewable":true}}"#,
);

/// The login still holds.
pub const ALIVE: Reply = ("GET", "auth/token/lookup-self", 200, "", r#"{"data":{}}"#);

/// What happens to a request instead of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is reset with part of the request unread.
    ResetUnread,
    /// The connection is reset once the request was read.
    Reset,
    /// The connection stays open and silent.
    Hang,
    /// The reply has half of its body, and the connection ends.
    Cut,
    /// The reply has half of its body, and the connection stays open and silent.
    Stall,
    /// The reply is the last: nobody can connect any more.
    Last,
}

pub struct Canned {
    pub address: String,
    seen: Arc<Mutex<Vec<(usize, String)>>>,
}

impl Canned {
    /// Answers as told, and anything else not at all.
    pub async fn start(replies: &'static [Reply]) -> Self {
        Self::faulty(replies.to_vec(), "nothing", Fault::Hang).await
    }

    /// The same, with a fault for the requests that begin so.
    pub async fn faulty(replies: Vec<Reply>, begin: &'static str, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<_>>>::default();
        let (close, mut closed) = watch::channel(false);
        let script = Arc::new(Script { replies, begin, fault, seen: Arc::clone(&seen), close });
        tokio::spawn(async move {
            for number in 0.. {
                let connection = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap().0,
                    _ = closed.wait_for(|closed| *closed) => break,
                };
                tokio::spawn(Arc::clone(&script).serve(connection, number));
            }
            drop(listener);
            script.close.send_replace(false);
        });
        Self { address, seen }
    }

    /// The requests so far, heads and bodies.
    pub fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(_, request)| request.clone()).collect()
    }

    /// Whether there was a request that begins so.
    pub fn got(&self, begin: &str) -> bool {
        self.count(begin) > 0
    }

    /// How many requests begin so.
    pub fn count(&self, begin: &str) -> usize {
        self.connections(begin).len()
    }

    /// The numbers of the connections that requests came by that begin so.
    pub fn connections(&self, begin: &str) -> Vec<usize> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(_, request)| request.starts_with(begin)).map(|(number, _)| *number).collect()
    }
}

struct Script {
    replies: Vec<Reply>,
    begin: &'static str,
    fault: Fault,
    seen: Arc<Mutex<Vec<(usize, String)>>>,
    /// Set to close the listener, and reset when it is closed.
    close: watch::Sender<bool>,
}

impl Script {
    async fn serve(self: Arc<Self>, mut connection: TcpStream, number: usize) {
        while let Some(request) = self.read(&mut connection).await {
            self.seen.lock().unwrap().push((number, request.clone()));
            let fault = Some(self.fault).filter(|_| request.starts_with(self.begin));
            if self.answer(&mut connection, &request, fault).await.is_none() {
                return;
            }
        }
    }

    /// Answers; none if the connection is over.
    async fn answer(&self, connection: &mut TcpStream, request: &str, fault: Option<Fault>) -> Option<()> {
        let fits = |reply: &&Reply| request.starts_with(&format!("{} /v1/{} ", reply.0, reply.1));
        let reply = self.replies.iter().find(fits);
        match (reply, fault) {
            (_, Some(Fault::ResetUnread | Fault::Reset)) => connection.set_zero_linger().unwrap(),
            (_, Some(Fault::Hang)) | (None, _) => std::future::pending().await,
            (Some(reply), None) => {
                say(connection, reply, reply.4).await;
                return Some(());
            }
            (Some(reply), Some(Fault::Cut)) => say(connection, reply, &reply.4[..reply.4.len() / 2]).await,
            (Some(reply), Some(Fault::Stall)) => {
                say(connection, reply, &reply.4[..reply.4.len() / 2]).await;
                std::future::pending::<()>().await;
            }
            (Some(reply), Some(Fault::Last)) => {
                self.close.send_replace(true);
                self.close.subscribe().wait_for(|closing| !closing).await.unwrap();
                let (method, path, status, _, body) = *reply;
                say(connection, &(method, path, status, "Connection: close\r\n", body), body).await;
            }
        }
        None
    }

    /// Reads a request; none if there is no further.
    async fn read(&self, connection: &mut TcpStream) -> Option<String> {
        let (mut request, mut part) = (String::new(), [0; 4096]);
        loop {
            let count = connection.read(&mut part).await.ok().filter(|count| *count > 0)?;
            request.push_str(std::str::from_utf8(&part[..count]).unwrap());
            if self.fault == Fault::ResetUnread && request.starts_with(self.begin) {
                return Some(request);
            }
            let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
            let length =
                head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(request);
            }
        }
    }
}

/// Says a reply with this much of its body, and the length of the whole.
async fn say(connection: &mut TcpStream, reply: &Reply, body: &str) {
    let (_, _, status, headers, whole) = reply;
    let head = format!("HTTP/1.1 {status} x\r\n{headers}Content-Length: {}\r\n\r\n", whole.len());
    // Whoever has gone away needs no answer.
    connection.write_all(format!("{head}{body}").as_bytes()).await.ok();
}

/// A daemon of some Vault that isn't one.
pub fn issuer(address: &str, timeout: Duration) -> (VaultIssuer, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret-id"), "secret-id").unwrap();
    let settings = Settings {
        address: address.parse().unwrap(),
        ca_file: None,
        namespace: None,
        approle_mount: "approle".into(),
        role_id: "role-id".into(),
        secret_id_file: dir.path().join("secret-id"),
        token_role: "grant".into(),
        timeout,
    };
    (VaultIssuer::new(settings, Arc::new(SystemClock)).unwrap(), dir)
}
