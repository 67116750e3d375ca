//! The issuer's keys, fetched when they are needed and kept for a while.
//!
//! ```text
//! known, fetched within REFRESH_AFTER   used as it is
//! known, older than that                one caller fetches, the others go on with what is known
//! unknown                               fetched, one fetch for all who wait, at most one each RETRY_AFTER
//! older than KEEP_AT_MOST               not used any more, whether or not the issuer answers
//! ```
//!
//! Callers without a valid token can make fetches happen, but no more than one each `RETRY_AFTER`, and they can't stop one
//! that runs: it goes on in its own task when its caller hangs up.

use std::{
    error::Error,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::DecodingKey;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use tokio::{
    fs::File,
    io::AsyncReadExt as _,
    sync::{Mutex as AsyncMutex, OwnedMutexGuard, Semaphore},
};
use url::Url;

use super::{
    Algorithm, KeySource, Settings,
    error::IdentityError,
    jwk::{KeySet, parse},
};
use crate::{clock::Clock, http::is_guarded};

/// After how long the keys are fetched anew: what the issuer withdrew dies within this time.
const REFRESH_AFTER: TimeDelta = TimeDelta::minutes(10);

/// How long keys are used while the issuer can't be asked. Long enough to restart or unseal Vault without locking out the
/// people who may have to end a grant; short enough that a stolen key which the issuer withdrew isn't good for a day.
const KEEP_AT_MOST: TimeDelta = TimeDelta::hours(1);

/// How long no further fetch is tried, whatever the last one brought.
const RETRY_AFTER: TimeDelta = TimeDelta::seconds(10);

/// The longest document, and so the bound of how many keys there are. Vault's has about 1 KiB for each RSA key and a quarter
/// of that for others; a server with many roles publishes the keys of all.
const DOCUMENT_MAX_BYTES: usize = 256 * 1024;

/// How many callers may wait for a fetch. More than that is an attack, or an outage that waiting doesn't mend.
const WAITING_MAX: usize = 64;

/// The keys.
#[derive(Debug)]
pub(super) struct Keys {
    http: Client,
    /// The issuer's name here.
    name: String,
    issuer: String,
    source: KeySource,
    algorithms: Vec<Algorithm>,
    clock: Arc<dyn Clock>,
    known: Arc<Mutex<Known>>,
    fetching: Arc<AsyncMutex<()>>,
    waiting: Semaphore,
}

#[derive(Debug, Default)]
struct Known {
    keys: KeySet,
    fetched_at: Option<DateTime<Utc>>,
    tried_at: Option<DateTime<Utc>>,
    failed: bool,
}

/// Why the keys can't be had.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("the request failed")]
    Request(#[from] reqwest::Error),
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error("the document has more than {DOCUMENT_MAX_BYTES} bytes")]
    TooLong,
    #[error("the file can't be read")]
    File(#[from] io::Error),
    #[error("the document isn't a key set, or doesn't say where one is")]
    Parse(#[from] serde_json::Error),
    #[error("the discovery document is another issuer's; write keys_url or keys_file if it can't be mended")]
    OtherIssuer,
    #[error("the discovery document names an address without TLS")]
    Unguarded,
}

/// What is read of a discovery document (`OpenID` Connect Discovery 1.0, section 3).
#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: Url,
}

impl Keys {
    /// Keys to be fetched, or those that are known from `before` and fetched on.
    pub(super) fn new(
        http: Client,
        settings: &Settings,
        clock: Arc<dyn Clock>,
        before: Option<&Self>,
    ) -> Self {
        Self {
            http,
            name: settings.name.clone(),
            issuer: settings.issuer.clone(),
            source: settings.keys.clone(),
            algorithms: settings.algorithms.clone(),
            clock,
            known: before.map(|before| Arc::clone(&before.known)).unwrap_or_default(),
            fetching: before.map(|before| Arc::clone(&before.fetching)).unwrap_or_default(),
            waiting: Semaphore::new(WAITING_MAX),
        }
    }

    /// The key of that id, if it is for that algorithm.
    pub(super) async fn get(
        self: &Arc<Self>,
        algorithm: Algorithm,
        kid: &str,
    ) -> Result<DecodingKey, IdentityError> {
        let (meant, key) = self.find(kid).await?;
        if meant == algorithm { Ok(key) } else { Err(IdentityError::UnknownKey) }
    }

    async fn find(self: &Arc<Self>, kid: &str) -> Result<Key, IdentityError> {
        // In a statement of its own, so that the lock ends with it.
        let found = self.known().find(kid, self.clock.now());
        match found {
            Found::Fresh(key) => return Ok(key),
            Found::Stale(key) => {
                // Somebody fetches already: no reason to wait for what is known.
                let Ok(turn) = Arc::clone(&self.fetching).try_lock_owned() else { return Ok(key) };
                self.refresh(turn).await;
            }
            Found::Nothing => {
                let _waiting = self.waiting.try_acquire().map_err(|_| IdentityError::KeysUnavailable)?;
                let turn = Arc::clone(&self.fetching).lock_owned().await;
                // Whoever had the turn before may have brought it.
                if !matches!(self.known().find(kid, self.clock.now()), Found::Fresh(_)) {
                    self.refresh(turn).await;
                }
            }
        }
        self.known().settle(kid, self.clock.now())
    }

    /// Fetches, unless it is too soon; the turn ends with the fetch, even if nobody waits for it any more.
    async fn refresh(self: &Arc<Self>, turn: OwnedMutexGuard<()>) {
        let now = self.clock.now();
        if !self.known().may_fetch(now) {
            return;
        }
        let this = Arc::clone(self);
        let fetch = tokio::spawn(async move {
            let fetched = this.fetch().await;
            this.learn(fetched, now);
            drop(turn);
        });
        // A fetch that panicked taught nothing, and that is how it is seen afterwards.
        let _ = fetch.await;
    }

    async fn fetch(&self) -> Result<KeySet, FetchError> {
        let document = match &self.source {
            KeySource::File(path) => read(path).await?,
            KeySource::Url(url) => self.download(url).await?,
            KeySource::Discovery(url) => self.download(&self.discover(url).await?).await?,
        };
        Ok(parse(&document, &self.algorithms)?)
    }

    /// Where the keys are. The document has to be this issuer's, or one could speak for another (section 4.3).
    async fn discover(&self, url: &Url) -> Result<Url, FetchError> {
        let found: Discovered = serde_json::from_slice(&self.download(url).await?)?;
        if found.issuer != self.issuer {
            return Err(FetchError::OtherIssuer);
        }
        if is_guarded(&found.jwks_uri) { Ok(found.jwks_uri) } else { Err(FetchError::Unguarded) }
    }

    async fn download(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        let mut answer = self.http.get(url.clone()).send().await?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        let mut document = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if document.len() + chunk.len() > DOCUMENT_MAX_BYTES {
                return Err(FetchError::TooLong);
            }
            document.extend_from_slice(&chunk);
        }
        Ok(document)
    }

    fn learn(&self, fetched: Result<KeySet, FetchError>, now: DateTime<Utc>) {
        let mut known = self.known();
        known.failed = fetched.is_err();
        match fetched {
            Ok(keys) => {
                if keys.is_empty() {
                    tracing::warn!(
                        event.action = "identity-keys-fetched",
                        event.outcome = "failure",
                        hallpass.identity.issuer = self.name,
                        "the identity provider publishes no key for an algorithm that is allowed to it"
                    );
                }
                (known.keys, known.fetched_at) = (keys, Some(now));
            }
            Err(error) => tracing::warn!(
                event.action = "identity-keys-fetched",
                event.outcome = "failure",
                hallpass.identity.issuer = self.name,
                error = &error as &dyn Error,
                "cannot fetch the identity provider's keys; known ones are used for at most an hour"
            ),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, FetchError> {
    let mut document = Vec::new();
    File::open(path).await?.take(DOCUMENT_MAX_BYTES as u64 + 1).read_to_end(&mut document).await?;
    if document.len() > DOCUMENT_MAX_BYTES { Err(FetchError::TooLong) } else { Ok(document) }
}

/// A key and what it is for.
type Key = (Algorithm, DecodingKey);

/// How a key stands before anything is fetched.
enum Found {
    Fresh(Key),
    Stale(Key),
    Nothing,
}

impl Known {
    fn find(&self, kid: &str, now: DateTime<Utc>) -> Found {
        match (self.keys.get(kid), self.age(now)) {
            (Some(key), Some(age)) if age < REFRESH_AFTER => Found::Fresh(key.clone()),
            (Some(key), Some(age)) if age < KEEP_AT_MOST => Found::Stale(key.clone()),
            _ => Found::Nothing,
        }
    }

    /// What is said once everything that could be done was done.
    fn settle(&self, kid: &str, now: DateTime<Utc>) -> Result<Key, IdentityError> {
        match self.find(kid, now) {
            Found::Fresh(key) | Found::Stale(key) => Ok(key),
            Found::Nothing if self.failed || self.age(now).is_none_or(|age| age >= KEEP_AT_MOST) => {
                Err(IdentityError::KeysUnavailable)
            }
            Found::Nothing => Err(IdentityError::UnknownKey),
        }
    }

    /// Whether a fetch isn't too soon; from now on it is.
    fn may_fetch(&mut self, now: DateTime<Utc>) -> bool {
        let may = self.tried_at.is_none_or(|tried_at| (now - tried_at).abs() >= RETRY_AFTER);
        if may {
            self.tried_at = Some(now);
            // Until it is known better: a fetch that never reports must not make a key look unpublished.
            self.failed = true;
        }
        may
    }

    /// How old the keys are. A clock that was set back makes them old rather than young for ever.
    fn age(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        self.fetched_at.map(|fetched_at| (now - fetched_at).abs())
    }
}
