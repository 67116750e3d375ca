//! Logins at an issuer that says what it is told to: what is sent, what is shown, what is kept, and what is refused.

mod browser;
mod device;
mod discovery;
mod issuer;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::issuer::FakeIssuer;
use super::super::{App, args::Cli, error::Failure, fake::Paper, output::Output, session};
use crate::clock::{Clock, ManualClock};

/// A clock that doesn't keep anybody waiting: a pause is over at once, and the time has passed. It notes the pauses.
#[derive(Debug)]
struct Leaping {
    clock: ManualClock,
    pauses: Mutex<Vec<u64>>,
}

#[async_trait]
impl Clock for Leaping {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    async fn sleep(&self, length: Duration) {
        // Who is sent somewhere else meanwhile gets there first.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        self.pauses.lock().unwrap().push(length.as_secs());
        self.clock.advance(TimeDelta::from_std(length).unwrap());
    }

    async fn sleep_until(&self, at: DateTime<Utc>) {
        self.sleep((at - self.now()).to_std().unwrap_or_default()).await;
    }

    async fn meet(&self, at: DateTime<Utc>) {
        self.sleep_until(at).await;
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    fn random(&self) -> u128 {
        self.clock.random()
    }
}

/// Somebody who logs in: his home, and what his terminal shows.
struct Person {
    issuer: FakeIssuer,
    clock: Arc<dyn Clock>,
    leaping: Arc<Leaping>,
    notes: Paper,
    home: TempDir,
}

impl Person {
    /// Somebody for whom time passes in leaps.
    async fn new() -> Self {
        let noon = "2026-01-01T12:00:00Z".parse().unwrap();
        let leaping = Arc::new(Leaping { clock: ManualClock::new(noon), pauses: Mutex::default() });
        let clock: Arc<dyn Clock> = Arc::<Leaping>::clone(&leaping);
        Self {
            issuer: FakeIssuer::start().await,
            clock,
            leaping,
            notes: Paper::default(),
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn token_file(&self) -> PathBuf {
        self.home.path().join("token")
    }

    /// Runs `hallpass login` with these words more, for a program that reads JSON.
    async fn log_in(&self, words: &[&str]) -> Result<Value, Failure> {
        self.log_in_as(&[&["--output", "json"], words].concat()).await.map(|paper| paper.json())
    }

    async fn log_in_as(&self, words: &[&str]) -> Result<Paper, Failure> {
        let token_file = self.token_file();
        let mut all = vec!["hallpass", "login", "--no-browser"];
        let usual = [
            ("--token-file", token_file.to_str().unwrap()),
            ("--issuer", &self.issuer.url),
            ("--client-id", "hallpass"),
        ];
        for (name, value) in usual.into_iter().filter(|(name, _)| !words.contains(name)) {
            all.extend([name, value]);
        }
        all.extend(words);
        let Cli { options, verb } = <Cli as clap::Parser>::try_parse_from(all).unwrap();
        let paper = Paper::default();
        let out = Output::to(options.output, Box::new(paper.clone()), Box::new(self.notes.clone()));
        let app = App { options, out, clock: Arc::clone(&self.clock), interactive: false };
        super::super::dispatch(&app, verb).await.map(|()| paper)
    }

    /// Claims of a token that holds, with some changed.
    fn claims(&self, change: &Value) -> Value {
        let mut claims = json!({
            "iss": self.issuer.url, "aud": "hallpass", "sub": "4711", "preferred_username": "alice",
            "exp": 4_000_000_000_u32,
        });
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        claims
    }

    /// What is kept after this.
    fn kept(&self) -> Option<String> {
        use secrecy::ExposeSecret;
        session::read(&self.token_file()).ok().map(|token| token.expose_secret().to_owned())
    }
}

/// An answer with an ID token, and with what isn't to be kept.
fn tokens(claims: &Value) -> (u16, String) {
    use secrecy::ExposeSecret;
    let token = session::tests::token(claims);
    let answer = json!({
        "id_token": token.expose_secret(), "access_token": "secret-access", "refresh_token": "secret-refresh",
        "token_type": "Bearer",
    });
    (200, answer.to_string())
}

fn refusal(code: &str) -> (u16, String) {
    (400, json!({ "error": code }).to_string())
}

#[test]
fn who_has_no_browser_here_types_a_code_elsewhere() {
    use super::{args::Method, is_by_device};
    for (wanted, has_browser, is_offered, expected) in [
        (None, true, true, false),
        (None, true, false, false),
        (None, false, true, true),
        (None, false, false, false),
        (Some(Method::Device), true, false, true),
        (Some(Method::Browser), false, true, false),
    ] {
        assert_eq!(
            is_by_device(wanted, has_browser, is_offered),
            expected,
            "{wanted:?} {has_browser} {is_offered}"
        );
    }
}

#[test]
fn a_way_through_vault_is_one_whatever_issuer_is_set() {
    use super::args::Method;
    use clap::Parser;
    let way = |words: &[&str]| {
        let words = [&["hallpass", "login"], words].concat();
        let super::super::args::Verb::Login(args) = Cli::try_parse_from(words).unwrap().verb else {
            panic!()
        };
        args.vault_method()
    };
    let issuer = ["--issuer", "https://login.example"];
    assert_eq!(way(&[]), Some(Method::Userpass));
    assert_eq!(way(&["--issuer", ""]), Some(Method::Userpass));
    assert_eq!(way(&issuer), None);
    assert_eq!(way(&[&issuer[..], &["--method", "oidc"]].concat()), Some(Method::Oidc));
    assert_eq!(way(&["--method", "device"]), None);
}
