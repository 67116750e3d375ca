//! Tokens that are signed here with real keys, and an issuer that is a small real server.

mod issuers;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta};
use jsonwebtoken::{EncodingKey, Header, encode, jwk::Jwk};
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use url::Url;

use super::*;
use crate::clock::ManualClock;

const ISSUER: &str = "https://vault.test/v1/identity/oidc";
const AUDIENCE: &str = "hallpass";

/// A key pair with its public half as the issuer publishes it.
struct Signer {
    kid: &'static str,
    algorithm: Algorithm,
    private: EncodingKey,
    public: Value,
}

impl Signer {
    fn new(kid: &'static str, algorithm: Algorithm) -> Self {
        let pair = match algorithm {
            Algorithm::EdDsa => KeyPair::generate_for(&rcgen::PKCS_ED25519),
            Algorithm::Es256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Algorithm::Rs256 => KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256),
        }
        .unwrap();
        let pem = pair.serialize_pem();
        let raw = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let public = pair.public_key_raw();
        let (private, mut jwk) = match algorithm {
            Algorithm::EdDsa => (
                EncodingKey::from_ed_pem(pem.as_bytes()).unwrap(),
                json!({ "kty": "OKP", "crv": "Ed25519", "x": raw(public) }),
            ),
            Algorithm::Es256 => (
                EncodingKey::from_ec_pem(pem.as_bytes()).unwrap(),
                json!({ "kty": "EC", "crv": "P-256", "x": raw(&public[1..33]), "y": raw(&public[33..]) }),
            ),
            Algorithm::Rs256 => {
                let private = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
                let jwk = Jwk::from_encoding_key(&private, jsonwebtoken::Algorithm::RS256).unwrap();
                (private, serde_json::to_value(jwk).unwrap())
            }
        };
        jwk["kid"] = kid.into();
        jwk["use"] = "sig".into();
        jwk["alg"] = algorithm.name().into();
        Self { kid, algorithm, private, public: jwk }
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.kid.into()), ..Header::new(self.algorithm.library()) };
        encode(&header, claims, &self.private).unwrap()
    }
}

/// A server that publishes keys, counts who asks, and can be broken.
struct Issuer {
    keys_url: Url,
    asked: Arc<AtomicUsize>,
    answer: Arc<Mutex<(u16, String)>>,
}

impl Issuer {
    async fn start(signers: &[&Signer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let keys_url = format!("http://{}/keys", listener.local_addr().unwrap()).parse().unwrap();
        let issuer = Self { keys_url, asked: Arc::default(), answer: Arc::default() };
        issuer.publish(signers);
        let (asked, answer) = (Arc::clone(&issuer.asked), Arc::clone(&issuer.answer));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await;
                asked.fetch_add(1, Ordering::SeqCst);
                let (status, body) = answer.lock().unwrap().clone();
                let head = format!(
                    "HTTP/1.1 {status} x\r\nlocation: /elsewhere\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all((head + &body).as_bytes()).await;
            }
        });
        issuer
    }

    fn publish(&self, signers: &[&Signer]) {
        let keys: Vec<&Value> = signers.iter().map(|signer| &signer.public).collect();
        self.answers(200, &json!({ "keys": keys }).to_string());
    }

    fn answers(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = (status, body.to_owned());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn settings(algorithm: Algorithm, keys: KeySource) -> Settings {
    Settings {
        name: "vault".into(),
        issuer: ISSUER.into(),
        audience: AUDIENCE.into(),
        algorithms: vec![algorithm],
        keys,
        ca_file: None,
        claims: ClaimPaths::default(),
        groups: None,
    }
}

fn verifier(issuers: Vec<Settings>, clock: &Arc<ManualClock>) -> Verifier {
    Verifier::new(issuers, Persons::default(), Arc::clone(clock) as Arc<dyn Clock>).unwrap()
}

struct Setup {
    issuer: Issuer,
    signer: Signer,
    clock: Arc<ManualClock>,
    verifier: Verifier,
}

impl Setup {
    async fn new() -> Self {
        Self::with(Algorithm::EdDsa).await
    }

    async fn with(algorithm: Algorithm) -> Self {
        let signer = Signer::new("k1", algorithm);
        let issuer = Issuer::start(&[&signer]).await;
        let clock = Arc::new(ManualClock::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap()));
        let settings = settings(algorithm, KeySource::Url(issuer.keys_url.clone()));
        let verifier = verifier(vec![settings], &clock);
        Self { issuer, signer, clock, verifier }
    }

    fn now(&self) -> i64 {
        self.clock.now().timestamp()
    }

    fn claims(&self) -> Value {
        json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "entity-1", "name": "dana", "groups": ["dev", "ops"],
            "iat": self.now(), "nbf": self.now(), "exp": self.now() + 600,
        })
    }

    /// The claims with one of them replaced; `null` takes it away.
    fn claims_but(&self, claim: &str, value: Value) -> Value {
        let mut claims = self.claims();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(claim);
        } else {
            claims[claim] = value;
        }
        claims
    }

    async fn verify(&self, claims: &Value) -> Result<Verified, IdentityError> {
        self.verifier.verify(&self.signer.sign(claims)).await
    }

    async fn refused(&self, claim: &str, value: Value) -> IdentityError {
        self.verify(&self.claims_but(claim, value)).await.unwrap_err()
    }
}

#[tokio::test]
async fn each_algorithm_works_and_says_who_calls_until_when() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256] {
        let setup = Setup::with(algorithm).await;
        let verified = setup.verify(&setup.claims()).await.unwrap();
        assert_eq!(verified.caller.person.subject, "vault:entity-1", "{algorithm}");
        assert_eq!(verified.caller.person.name, "dana");
        assert_eq!(verified.caller.groups, ["dev", "ops"].map(String::from).into());
        assert_eq!(verified.expires_at, setup.clock.now() + TimeDelta::seconds(600));
    }
}

#[tokio::test]
async fn a_token_lives_until_its_expiry_and_not_a_millisecond_longer() {
    let setup = Setup::new().await;
    let token = setup.signer.sign(&setup.claims());
    setup.clock.advance(TimeDelta::milliseconds(599_999));
    assert!(setup.verifier.verify(&token).await.is_ok());
    setup.clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(setup.verifier.verify(&token).await, Err(IdentityError::Expired));
}

#[tokio::test]
async fn a_clock_that_is_a_little_ahead_is_forgiven_at_the_beginning_only() {
    let setup = Setup::new().await;
    for claim in ["nbf", "iat"] {
        let at = |seconds| setup.claims_but(claim, json!(setup.now() + seconds));
        assert!(setup.verify(&at(30)).await.is_ok());
        assert_eq!(setup.verify(&at(31)).await, Err(IdentityError::NotYetValid), "{claim}");
        assert!(setup.verify(&setup.claims_but(claim, Value::Null)).await.is_ok(), "{claim} is optional");
    }
}

#[tokio::test]
async fn another_issuer_is_refused() {
    let setup = Setup::new().await;
    for issuer in [json!("https://elsewhere.test"), json!([ISSUER]), json!(null), json!(""), json!(1)] {
        assert_eq!(setup.refused("iss", issuer.clone()).await, IdentityError::Issuer, "{issuer}");
    }
}

#[tokio::test]
async fn a_token_has_to_be_for_this_daemon_alone() {
    let setup = Setup::new().await;
    assert!(setup.verify(&setup.claims_but("aud", json!([AUDIENCE]))).await.is_ok());
    for audience in
        [json!("other"), json!(["other", AUDIENCE]), json!([]), json!(null), json!({}), json!([[AUDIENCE]])]
    {
        assert_eq!(setup.refused("aud", audience.clone()).await, IdentityError::Audience, "{audience}");
    }
}

#[tokio::test]
async fn claims_that_are_missing_or_strange_are_refused() {
    let setup = Setup::new().await;
    let many: Vec<String> = (0..257).map(|number| number.to_string()).collect();
    let cases = [
        ("exp", json!(null)),
        ("exp", json!("soon")),
        ("exp", json!(1e300)),
        ("nbf", json!("now")),
        ("iat", json!(true)),
        ("sub", json!(null)),
        ("sub", json!("")),
        ("sub", json!(" ")),
        ("sub", json!(7)),
        ("sub", json!("x".repeat(257))),
        ("name", json!(null)),
        ("name", json!("")),
        ("name", json!(" dana")),
        ("name", json!("da\nna")),
        ("name", json!("\u{202e}anad")),
        ("groups", json!(null)),
        ("groups", json!("dev")),
        ("groups", json!({ "dev": true })),
        ("groups", json!(["dev", 1])),
        ("groups", json!([""])),
        ("groups", json!(many)),
    ];
    for (claim, value) in cases {
        let error = setup.refused(claim, value.clone()).await;
        assert!(
            matches!(&error, IdentityError::Claims(text) if text.contains(claim)),
            "{claim} {value}: {error}"
        );
    }
}

#[tokio::test]
async fn no_groups_are_groups_too() {
    let setup = Setup::new().await;
    let verified = setup.verify(&setup.claims_but("groups", json!([]))).await.unwrap();
    assert!(verified.caller.groups.is_empty());
}

#[tokio::test]
async fn a_forged_signature_is_refused() {
    let setup = Setup::new().await;
    let other_signer = Signer::new("k1", Algorithm::EdDsa);
    let forged = other_signer.sign(&setup.claims());
    assert_eq!(setup.verifier.verify(&forged).await, Err(IdentityError::Signature));
    // The right signature under other claims.
    let good = setup.signer.sign(&setup.claims());
    let other = other_signer.sign(&setup.claims_but("name", json!("root")));
    let spliced =
        [other.split('.').next(), other.split('.').nth(1), good.split('.').nth(2)].map(Option::unwrap);
    assert_eq!(setup.verifier.verify(&spliced.join(".")).await, Err(IdentityError::Signature));
    for signature in ["", "AAAA", "!!"] {
        let cut = format!("{}.{signature}", good.rsplit_once('.').unwrap().0);
        assert_eq!(setup.verifier.verify(&cut).await, Err(IdentityError::Signature), "{signature:?}");
    }
}

#[tokio::test]
async fn the_token_does_not_choose_the_algorithm() {
    let setup = Setup::new().await;
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = part(&setup.claims());
    for algorithm in ["none", "None", "HS256", "RS256", "ES256", "eddsa", ""] {
        let header = part(&json!({ "alg": algorithm, "kid": "k1" }));
        let error = setup.verifier.verify(&format!("{header}.{claims}.AAAA")).await.unwrap_err();
        assert_eq!(error, IdentityError::Algorithm, "{algorithm}");
    }
    // The published key taken as the secret of an HMAC, the classic confusion.
    let secret = EncodingKey::from_secret(setup.signer.public["x"].as_str().unwrap().as_bytes());
    let header = Header { kid: Some("k1".into()), ..Header::new(jsonwebtoken::Algorithm::HS256) };
    let token = encode(&header, &setup.claims(), &secret).unwrap();
    assert!(matches!(setup.verifier.verify(&token).await, Err(IdentityError::Algorithm)));
    // Another algorithm's key, properly signed and published, is still not the pinned algorithm.
    let other = Signer::new("k2", Algorithm::Es256);
    setup.issuer.publish(&[&setup.signer, &other]);
    let token = other.sign(&setup.claims());
    assert!(matches!(setup.verifier.verify(&token).await, Err(IdentityError::Algorithm)));
    assert_eq!(setup.issuer.asked(), 0, "nothing of this is worth a fetch");
}

#[tokio::test]
async fn what_is_no_token_is_malformed_and_is_never_shown() {
    let setup = Setup::new().await;
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let long = format!("{}.x.y", "x".repeat(TOKEN_MAX_BYTES));
    let no_kid = format!("{}.e30.AAAA", part(json!({ "alg": "EdDSA" })));
    let critical = format!("{}.e30.AAAA", part(json!({ "alg": "EdDSA", "kid": "k1", "crit": ["b64"] })));
    let twice = format!("{}.e30.AAAA", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","alg":"EdDSA","kid":"k1"}"#));
    for text in ["", "secret", "secret.secret", "a.b.c.d", "s.VAULTTOKEN", &long, &no_kid, &critical, &twice]
    {
        let error = setup.verifier.verify(text).await.unwrap_err();
        assert!(matches!(error, IdentityError::Malformed(_)), "{text}: {error}");
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}

#[tokio::test]
async fn an_unknown_key_is_looked_for_at_a_bounded_rate() {
    let setup = Setup::new().await;
    let stranger = Signer::new("k9", Algorithm::EdDsa).sign(&setup.claims());
    for _ in 0..5 {
        assert_eq!(setup.verifier.verify(&stranger).await, Err(IdentityError::UnknownKey));
    }
    assert_eq!(setup.issuer.asked(), 1);
    setup.clock.advance(TimeDelta::seconds(10));
    assert_eq!(setup.verifier.verify(&stranger).await, Err(IdentityError::UnknownKey));
    assert_eq!(setup.issuer.asked(), 2);
    assert!(setup.verify(&setup.claims()).await.is_ok());
    assert_eq!(setup.issuer.asked(), 2);
}

#[tokio::test]
async fn a_new_key_is_found_and_many_who_wait_share_one_fetch() {
    let setup = Setup::new().await;
    assert!(setup.verify(&setup.claims()).await.is_ok());
    let next = Signer::new("k2", Algorithm::EdDsa);
    setup.issuer.publish(&[&setup.signer, &next]);
    setup.clock.advance(TimeDelta::seconds(10));
    let token = next.sign(&setup.claims());
    let (a, b, c) = tokio::join!(
        setup.verifier.verify(&token),
        setup.verifier.verify(&token),
        setup.verifier.verify(&token)
    );
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(setup.issuer.asked(), 2);
}

#[tokio::test]
async fn a_withdrawn_key_dies_with_the_next_refresh() {
    let setup = Setup::new().await;
    let claims = setup.claims_but("exp", json!(setup.now() + 86_400));
    assert!(setup.verify(&claims).await.is_ok());
    setup.issuer.publish(&[&Signer::new("k2", Algorithm::EdDsa)]);
    setup.clock.advance(TimeDelta::minutes(10) - TimeDelta::milliseconds(1));
    assert!(setup.verify(&claims).await.is_ok());
    setup.clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(setup.verify(&claims).await, Err(IdentityError::UnknownKey));
}

#[tokio::test]
async fn known_keys_outlive_the_issuer_for_an_hour() {
    let setup = Setup::new().await;
    let claims = setup.claims_but("exp", json!(setup.now() + 86_400));
    assert!(setup.verify(&claims).await.is_ok());
    setup.issuer.answers(503, "sealed");
    setup.clock.advance(TimeDelta::minutes(60) - TimeDelta::milliseconds(1));
    assert!(setup.verify(&claims).await.is_ok());
    let stranger = Signer::new("k9", Algorithm::EdDsa).sign(&claims);
    assert_eq!(setup.verifier.verify(&stranger).await, Err(IdentityError::KeysUnavailable));
    setup.clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(setup.verify(&claims).await, Err(IdentityError::KeysUnavailable));
    setup.issuer.publish(&[&setup.signer]);
    setup.clock.advance(TimeDelta::seconds(10));
    assert!(setup.verify(&claims).await.is_ok());
}

#[tokio::test]
async fn answers_that_are_no_key_set_are_no_keys() {
    let long = format!(r#"{{"keys":[],"filler":"{}"}}"#, "x".repeat(256 * 1024));
    for (status, body) in
        [(200, "<html>"), (200, long.as_str()), (404, "{}"), (302, r#"{"keys":[]}"#), (200, "")]
    {
        let setup = Setup::new().await;
        setup.issuer.answers(status, body);
        assert_eq!(setup.verify(&setup.claims()).await, Err(IdentityError::KeysUnavailable), "{status}");
        assert_eq!(setup.issuer.asked(), 1);
    }
}

#[tokio::test]
async fn a_caller_who_hangs_up_does_not_stop_the_fetch() {
    let setup = Setup::new().await;
    let token = setup.signer.sign(&setup.claims());
    {
        let verify = setup.verifier.verify(&token);
        tokio::pin!(verify);
        // Polled once, so that the fetch has begun, then dropped.
        tokio::select! { biased; _ = &mut verify => {}, () = std::future::ready(()) => {} }
    }
    assert!(setup.verifier.verify(&token).await.is_ok());
    assert_eq!(setup.issuer.asked(), 1);
}
