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

pub struct Canned {
    pub address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Canned {
    /// Answers as told, and anything else not at all.
    pub async fn start(replies: &'static [Reply]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(connection, replies, Arc::clone(&seen)));
            }
        });
        Self { address, requests }
    }

    /// The requests so far, heads and bodies.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Whether there was a request that begins so.
    pub fn got(&self, begin: &str) -> bool {
        self.requests().iter().any(|request| request.starts_with(begin))
    }
}

async fn answer(mut connection: TcpStream, replies: &[Reply], seen: Arc<Mutex<Vec<String>>>) {
    let request = read(&mut connection).await;
    seen.lock().unwrap().push(request.clone());
    let fits = |reply: &&Reply| request.starts_with(&format!("{} /v1/{} ", reply.0, reply.1));
    let Some((_, _, status, headers, body)) = replies.iter().find(fits) else {
        return std::future::pending().await;
    };
    let head = format!(
        "HTTP/1.1 {status} x\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
}

async fn read(connection: &mut TcpStream) -> String {
    let (mut request, mut part) = (String::new(), [0; 4096]);
    loop {
        let count = connection.read(&mut part).await.unwrap();
        request.push_str(std::str::from_utf8(&part[..count]).unwrap());
        let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if count == 0 || body.len() >= length.unwrap_or(0) {
            return request;
        }
    }
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
