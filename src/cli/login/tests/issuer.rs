//! An issuer and a Vault in the test's own process: they say what they are told to, and note what they were asked. Neither
//! has any rules.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use url::form_urlencoded;

/// What it says, and what it was asked.
#[derive(Default)]
pub struct Script {
    /// Its document.
    pub document: Value,
    /// What it says to whoever wants a device login.
    pub device: Value,
    /// What it says to whoever wants tokens, the first one first: a status and a body. When there is no more, the login
    /// is pending for ever.
    pub tokens: Vec<(u16, String)>,
    /// The forms that came, with the path under `path` and the credentials of the client under `basic`.
    pub seen: Vec<BTreeMap<String, String>>,
}

/// The issuer.
#[derive(Clone)]
pub struct FakeIssuer {
    /// What it calls itself.
    pub url: String,
    script: Arc<Mutex<Script>>,
}

impl FakeIssuer {
    /// Starts it.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let url = format!("{base}/realms/staff");
        let document = json!({
            "issuer": url,
            "authorization_endpoint": format!("{base}/authorize?kept=yes"),
            "token_endpoint": format!("{base}/token"),
            "device_authorization_endpoint": format!("{base}/device"),
        });
        let device = json!({
            "device_code": "the-device-code", "user_code": "WDJB-MJHT", "verification_uri": format!("{base}/go"),
            "expires_in": 600,
        });
        let script = Script { document, device, ..Script::default() };
        let issuer = Self { url, script: Arc::new(Mutex::new(script)) };
        let this = issuer.clone();
        tokio::spawn(async move {
            loop {
                let (mut connection, _) = listener.accept().await.unwrap();
                if let Some((path, form)) = request(&mut connection).await {
                    let (status, body) = this.answer(&path, form);
                    let head = format!(
                        "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    );
                    // Whoever has had enough of a long answer goes.
                    let _ = connection.write_all(format!("{head}{body}").as_bytes()).await;
                }
            }
        });
        issuer
    }

    /// Changes or reads the script.
    pub fn with<T>(&self, what: impl FnOnce(&mut Script) -> T) -> T {
        what(&mut self.script.lock().unwrap())
    }

    fn answer(&self, path: &str, mut form: BTreeMap<String, String>) -> (u16, String) {
        self.with(|script| {
            form.insert("path".into(), path.into());
            let answer = match path {
                "/realms/staff/.well-known/openid-configuration" => {
                    return (200, script.document.to_string());
                }
                "/device" => (200, script.device.to_string()),
                "/token" if script.tokens.is_empty() => (400, r#"{"error":"authorization_pending"}"#.into()),
                "/token" => script.tokens.remove(0),
                _ => (404, String::new()),
            };
            script.seen.push(form);
            answer
        })
    }
}

/// As much of HTTP/1.1 as the client's own small requests need.
async fn request(connection: &mut TcpStream) -> Option<(String, BTreeMap<String, String>)> {
    let mut bytes = Vec::new();
    let (head, length) = loop {
        if connection.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_owned();
        let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        break (head.clone(), head.len() + 4 + length);
    };
    while bytes.len() < length {
        connection.read_buf(&mut bytes).await.ok()?;
    }
    let path = head.split(' ').nth(1)?.to_owned();
    let mut form: BTreeMap<_, _> = form_urlencoded::parse(&bytes[head.len() + 4..]).into_owned().collect();
    if let Some(basic) = header(&head, "authorization") {
        form.insert("basic".into(), basic);
    }
    Some((path, form))
}

fn header(head: &str, name: &str) -> Option<String> {
    let line = head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}: ")))?;
    Some(line.split_once(": ")?.1.to_owned())
}
