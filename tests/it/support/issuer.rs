//! An issuer of the tests' own, for what OpenBao's identity provider hasn't got: the device login (RFC 8628). It signs for
//! real, and whether somebody has typed the code is up to the test.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::form_urlencoded;

/// The client id that hallpass has there.
pub const CLIENT_ID: &str = "hallpass-cli";

/// The issuer.
#[derive(Clone, Debug)]
pub struct DeviceIssuer {
    /// What it calls itself.
    pub url: String,
    base: String,
    keys: Value,
    key: Arc<Vec<u8>>,
    /// What the token says of whoever has logged in; nobody has as long as it is null.
    person: Arc<Mutex<Value>>,
    questions: Arc<Mutex<u32>>,
}

impl DeviceIssuer {
    /// Starts it; it ends with the test's runtime.
    pub async fn start() -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.public_key_raw());
        let keys = json!({ "keys": [{ "kid": "k", "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "x": x }] });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let issuer = Self {
            url: format!("{base}/realms/staff"),
            base,
            keys,
            key: Arc::new(pair.serialize_pem().into_bytes()),
            person: Arc::default(),
            questions: Arc::default(),
        };
        let this = issuer.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let this = this.clone();
                let service = service_fn(move |request| {
                    let this = this.clone();
                    async move { Ok::<_, Infallible>(this.answer(request).await) }
                });
                tokio::spawn(async move {
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        issuer
    }

    /// Somebody logs in there and types the code.
    pub fn log_in(&self, claims: Value) {
        *self.person.lock().unwrap() = claims;
    }

    /// How often it was asked whether somebody has.
    pub fn questions(&self) -> u32 {
        *self.questions.lock().unwrap()
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<String> {
        let path = request.uri().path().to_owned();
        let form = form(request.into_body()).await;
        let (status, body) = match path.as_str() {
            "/realms/staff/.well-known/openid-configuration" => (200, self.document()),
            "/keys" => (200, self.keys.clone()),
            "/device" if form.get("client_id").map(String::as_str) == Some(CLIENT_ID) => {
                let offer = json!({
                    "device_code": "the-device-code", "user_code": "WDJB-MJHT", "interval": 1, "expires_in": 600,
                    "verification_uri": format!("{}/go", self.base),
                });
                (200, offer)
            }
            "/token" if form.get("device_code").map(String::as_str) == Some("the-device-code") => {
                self.token()
            }
            _ => (404, Value::Null),
        };
        Response::builder().status(status).body(body.to_string()).unwrap()
    }

    fn document(&self) -> Value {
        let base = &self.base;
        json!({
            "issuer": self.url, "jwks_uri": format!("{base}/keys"), "token_endpoint": format!("{base}/token"),
            "device_authorization_endpoint": format!("{base}/device"),
        })
    }

    fn token(&self) -> (u16, Value) {
        *self.questions.lock().unwrap() += 1;
        let mut claims = self.person.lock().unwrap().clone();
        let Some(fields) = claims.as_object_mut() else {
            return (400, json!({ "error": "authorization_pending" }));
        };
        let usual = json!({ "iss": self.url, "aud": CLIENT_ID, "exp": 4_000_000_000_u32 });
        fields.extend(usual.as_object().unwrap().clone());
        let header = Header { kid: Some("k".into()), ..Header::new(Algorithm::EdDSA) };
        let key = EncodingKey::from_ed_pem(&self.key).unwrap();
        (200, json!({ "id_token": encode(&header, &claims, &key).unwrap(), "token_type": "Bearer" }))
    }
}

async fn form(mut body: Incoming) -> BTreeMap<String, String> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        bytes.extend(frame.unwrap().into_data().unwrap_or_default());
    }
    form_urlencoded::parse(&bytes).into_owned().collect()
}
