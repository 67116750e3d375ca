//! A token: the input as it stands, and, if it has two lines, a header and claims that are signed here first, so that
//! what is behind the signature is reached.
//!
//! Ed25519 has one signature for a key and a text, so that "not made by us" can be told to the byte.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::DateTime;
use hallpass::{
    access::{actor::Persons, text::line},
    clock::ManualClock,
    identity::{
        Algorithm, ClaimPath, ClaimPaths, IdentityError, KeySource, Settings, TOKEN_MAX_BYTES, Verified,
        Verifier,
    },
};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

/// The time of the daemon's clock, which stands.
const NOW: i64 = 1_800_000_000;
/// How far another's clock may be ahead.
const LEEWAY: i64 = 30;
const AUDIENCE: &str = "hallpass";
/// The groups that the second issuer's word counts for.
const VOUCHED: [&str; 2] = ["developers", "dba"];

/// An issuer: the name here, its own name, its key's id, and where its tokens say who somebody is.
struct Issuer {
    name: &'static str,
    iss: &'static str,
    kid: &'static str,
    pair: Ed25519KeyPair,
    subject: &'static str,
    groups: &'static str,
}

struct World {
    issuers: [Issuer; 2],
    verifier: Verifier,
    runtime: Runtime,
}

static WORLD: LazyLock<World> = LazyLock::new(World::new);

pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    WORLD.check(text);
    let Some((header, claims)) = text.split_once('\n') else { return };
    let head = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    for issuer in &WORLD.issuers {
        let token = format!("{head}.{}", issuer.signature(&head));
        if WORLD.check(&token) {
            let tampered = tampered(&token);
            assert!(WORLD.verify(&tampered).is_err(), "one character is another");
            assert!(WORLD.verify(&format!("{head}.")).is_err(), "without its signature");
        }
    }
}

/// The token with one character changed; which one is the input's choice.
fn tampered(token: &str) -> String {
    let at = token.bytes().fold(0, |sum, byte| sum * 31 % 65_521 + usize::from(byte)) % token.len();
    let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
    format!("{}{other}{}", &token[..at], &token[at + 1..])
}

impl Issuer {
    fn new(name: &'static str, seed: u8, subject: &'static str, groups: &'static str) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let (iss, kid) = match name {
            "vault" => ("https://vault.test", "k1"),
            _ => ("https://corp.test", "k2"),
        };
        Self { name, iss, kid, pair, subject, groups }
    }

    fn signature(&self, head: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.sign(head.as_bytes()))
    }

    fn settings(&self, directory: &std::path::Path) -> Settings {
        let file = directory.join(self.name);
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref());
        let own =
            json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": x, "use": "sig", "alg": "EdDSA" });
        // A key of another kind beside it (RFC 7515, appendix A.3), which nobody here signs with.
        let other = json!({
            "kty": "EC", "crv": "P-256", "kid": "k3",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHwRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        });
        std::fs::write(&file, json!({ "keys": [own, other] }).to_string()).unwrap();
        let path = |path: &str| ClaimPath::new(path.split('.').map(str::to_owned).collect()).unwrap();
        let is_first = self.name == "vault";
        Settings {
            name: self.name.to_owned(),
            issuer: self.iss.to_owned(),
            audience: AUDIENCE.to_owned(),
            algorithms: vec![Algorithm::EdDsa, Algorithm::Es256],
            keys: KeySource::File(file),
            ca_file: None,
            claims: ClaimPaths { subject: path(self.subject), name: path("name"), groups: path(self.groups) },
            groups: (!is_first).then(|| VOUCHED.map(str::to_owned).into()),
        }
    }

    /// What this issuer's claims have to have been, now that a token of theirs holds.
    fn said(&self, claims: &Value, verified: &Verified) {
        let at = |path: &str| path.split('.').fold(claims, |value, name| &value[name]);
        assert_eq!(claims["iss"], self.iss);
        assert!(claims["aud"] == AUDIENCE || claims["aud"] == json!([AUDIENCE]));
        let person = &verified.caller.person;
        assert_eq!(person.subject, format!("{}:{}", self.name, at(self.subject).as_str().unwrap()));
        assert_eq!(person.name, at("name").as_str().unwrap());
        for text in [&person.subject, &person.name].into_iter().chain(&verified.caller.groups) {
            assert_eq!(line(text), Ok(text.as_str()), "empty, too long or obeyed by a terminal");
        }
        let listed = at(self.groups).as_array().unwrap();
        assert!(listed.len() <= 256);
        let counts = |group: &str| self.name == "vault" || VOUCHED.contains(&group);
        let expected =
            listed.iter().map(|group| group.as_str().unwrap().to_owned()).filter(|group| counts(group));
        assert_eq!(verified.caller.groups, expected.collect());
        let expires_at = verified.expires_at.timestamp();
        assert!(expires_at > NOW);
        let exp = claims["exp"].as_f64().unwrap();
        #[expect(
            clippy::cast_precision_loss,
            reason = "what is more than exact in a float isn't compared exactly"
        )]
        let granted = expires_at as f64;
        assert!(granted <= exp && exp < granted + 1.0, "{granted} of {exp}");
        for claim in ["nbf", "iat"] {
            #[expect(clippy::cast_precision_loss, reason = "it is exact")]
            let latest = (NOW + LEEWAY + 1) as f64;
            assert!(claims[claim].is_null() || claims[claim].as_f64().unwrap() < latest);
        }
    }
}

impl World {
    fn new() -> Self {
        let issuers =
            [Issuer::new("vault", 1, "sub", "groups"), Issuer::new("corp", 2, "oid", "realm_access.roles")];
        let directory = tempfile::tempdir().unwrap();
        let settings = issuers.iter().map(|issuer| issuer.settings(directory.path())).collect();
        let clock = Arc::new(ManualClock::new(DateTime::from_timestamp(NOW, 0).unwrap()));
        let verifier = Verifier::new(settings, Persons::default(), clock).unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let world = Self { issuers, verifier, runtime };
        // The keys are read now and known from here on, since the clock stands; the files are gone.
        for issuer in &world.issuers {
            let claims = json!({
                "iss": issuer.iss, "aud": AUDIENCE, "exp": NOW + 600, "name": "dana",
                "sub": "s", "groups": [], "oid": "o", "realm_access": { "roles": [] },
            });
            let header = json!({ "alg": "EdDSA", "kid": issuer.kid }).to_string();
            let head = [header, claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
            assert!(world.check(&format!("{head}.{}", issuer.signature(&head))), "a good token holds");
        }
        world
    }

    fn verify(&self, token: &str) -> Result<Verified, IdentityError> {
        self.runtime.block_on(self.verifier.verify(token))
    }

    /// Whether a token holds; if so, all that this says must be so.
    fn check(&self, token: &str) -> bool {
        let verified = match self.verify(token) {
            Ok(verified) => verified,
            Err(error) => {
                let shown = format!("{error} {error:?}");
                assert!(!matches!(error, IdentityError::KeysUnavailable), "the keys are there: {shown}");
                return false;
            }
        };
        assert!(token.len() <= TOKEN_MAX_BYTES);
        let (head, signature) = token.rsplit_once('.').unwrap();
        let (header, claims) = head.split_once('.').unwrap();
        let json =
            |part: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
        let (header, claims) = (json(header), json(claims));
        let subject = &verified.caller.person.subject;
        let is_of = |issuer: &&Issuer| subject.split_once(':').is_some_and(|(name, _)| name == issuer.name);
        let issuer = self.issuers.iter().find(is_of).expect("a subject begins with its issuer's name");
        assert_eq!(signature, issuer.signature(head), "nobody signed this");
        assert_eq!((&header["alg"], &header["kid"]), (&json!("EdDSA"), &json!(issuer.kid)));
        assert!(header["crit"].is_null());
        issuer.said(&claims, &verified);
        true
    }
}
