//! The daemon's own login: `AppRole`, renewed at two thirds of its life, made anew when that is refused.
//!
//! ```text
//!            log in                     2/3 of the TTL
//!   NONE ---------------> LOGGED IN ------------------> renew --> LOGGED IN
//!    ^  <-- failed: back off, at most 30 s                |
//!    '----------- refused, or cut short by the max TTL ---'
//! ```
//!
//! The secret id is read from its file at each login, so that it can be rotated, and is kept nowhere. Whoever finds
//! that the token has ended asks for a new one; of many who ask at once, one logs in. The token isn't revoked at the
//! daemon's end: revocations may still be under way, and it dies by itself.

use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use vaultrs::api::auth::approle::requests::LoginWithApproleRequest;

use super::{
    VaultError,
    client::{Carried, Client},
    endpoints::{Auth, LookUpSelf, RenewSelf},
    error::{Failure, Operation},
};
use crate::clock::Clock;

/// How long the pause after the first failed login is. It doubles with each further one.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// How long the pause grows: short enough that a Vault that comes back is soon of use.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// The longest life that is believed: Vault's own default maximum. A number that no clock reaches would be one that none
/// can be added to either.
const TTL_MAX: Duration = Duration::from_hours(24 * 32);

/// The time limit of each call that is about the login. It is shorter than that of others, because everybody waits for
/// it, revocations included, while nothing slow stands behind it.
pub(super) const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How large a secret id's file may be, in bytes. Vault's have 36; more is a wrong file.
const SECRET_ID_MAX: u64 = 4096;

const RENEW: Operation = Operation::new("renew the daemon's login", "auth/token/renew-self", "update");

/// Who logs in, and where.
#[derive(Debug)]
pub(super) struct AppRole {
    pub(super) mount: String,
    pub(super) role_id: String,
    pub(super) secret_id_file: PathBuf,
}

/// A login that was obtained. Its token shows in no `Debug`, because there is none.
pub(super) struct Session {
    pub(super) token: SecretString,
    number: u64,
    /// What it lasts when it is fresh.
    ttl: Duration,
    renewable: bool,
    renew_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

impl Session {
    fn new(auth: &Auth, number: u64, fresh: Option<Duration>, asked_at: DateTime<Utc>) -> Self {
        // A token without an end still gets looked after: nothing says that it stays.
        let seconds = if auth.lease_duration == 0 { 3600 } else { auth.lease_duration };
        let ttl = Duration::from_secs(seconds).min(TTL_MAX);
        Self {
            token: auth.client_token.clone().into(),
            number,
            ttl: fresh.unwrap_or(ttl),
            renewable: auth.renewable,
            renew_at: asked_at + ttl * 2 / 3,
            expires_at: asked_at + ttl,
        }
    }

    /// Whether the max TTL cuts it short: it would have to be renewed ever more often.
    fn is_cut_short(&self) -> bool {
        (self.expires_at - self.renew_at) * 6 < delta(self.ttl)
    }
}

fn delta(of: Duration) -> TimeDelta {
    TimeDelta::from_std(of).unwrap_or(TimeDelta::MAX)
}

/// The login and how it is kept.
pub(super) struct Login {
    app_role: AppRole,
    /// Connections that nobody else's calls can take up.
    client: Client,
    operation: Operation,
    clock: Arc<dyn Clock>,
    current: watch::Sender<Option<Arc<Session>>>,
    /// Held during a login or a renewal.
    flight: Mutex<()>,
    /// How many logins were tried, and how many of them are known to have failed. Only who holds the flight changes
    /// them, as well as the next.
    tried: AtomicU64,
    failed: AtomicU64,
    /// How many times it was looked whether a login still holds.
    examined: AtomicU64,
}

impl Login {
    pub(super) fn new(app_role: AppRole, client: Client, clock: Arc<dyn Clock>) -> Self {
        let path = format!("auth/{}/login", app_role.mount);
        let operation = Operation { name: "log in", path: path.into(), capability: "update" };
        let current = watch::Sender::new(None);
        let flight = Mutex::new(());
        let (tried, failed, examined) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { app_role, client, operation, clock, current, flight, tried, failed, examined }
    }

    /// The login, if there is one that hasn't expired.
    pub(super) fn live(&self) -> Option<Arc<Session>> {
        self.current.borrow().clone().filter(|session| self.clock.now() < session.expires_at)
    }

    /// The login; if there is none, one try to make it. Of one that is under way the outcome is taken, good or bad, so
    /// that nobody waits longer than a single try takes.
    pub(super) async fn session(&self) -> Result<Arc<Session>, Failure> {
        if let Some(session) = self.live() {
            return Ok(session);
        }
        let failed = self.failed.load(Ordering::Relaxed);
        let _flight = self.flight.lock().await;
        match self.live() {
            Some(session) => Ok(session),
            None if self.failed.load(Ordering::Relaxed) != failed => {
                Err(Failure::Unsent("not logged in to Vault".into()))
            }
            None => self.log_in().await.map_err(|e| Failure::Unsent(e.reason)),
        }
    }

    /// For who was denied with `denied`: another login, if that token has ended; none, if it was the policy that denied.
    ///
    /// Of many who were denied, one finds out for all that were denied before it looked.
    pub(super) async fn instead_of(&self, denied: &Session) -> Option<Arc<Session>> {
        let examined = self.examined.load(Ordering::Relaxed);
        let _flight = self.flight.lock().await;
        if let Some(newer) = self.live().filter(|session| session.number != denied.number) {
            return Some(newer);
        }
        if self.examined.load(Ordering::Relaxed) != examined {
            return None;
        }
        self.examined.fetch_add(1, Ordering::Relaxed);
        let carried = Carried { token: Some(&denied.token), wrap: None };
        match self.client.send(carried, LookUpSelf {}).await {
            Err(failure) if failure.is(403) => self.log_in().await.ok(),
            _ => None,
        }
    }

    /// Keeps the login until `stop`. Failures are logged and tried again.
    pub(super) async fn keep(&self, stop: CancellationToken) {
        let mut pause = BACKOFF_FIRST;
        let mut changed = self.current.subscribe();
        loop {
            let at = match self.tend().await {
                Ok(renew_at) => {
                    pause = BACKOFF_FIRST;
                    renew_at
                }
                Err(error) => {
                    tracing::warn!(
                        event.action = "vault-login",
                        event.outcome = "failure",
                        error = &error as &dyn Error,
                        "no login to Vault; trying again in {} seconds",
                        pause.as_secs()
                    );
                    let at = self.clock.now() + self.jittered(pause);
                    pause = (pause * 2).min(BACKOFF_MAX);
                    at
                }
            };
            changed.mark_unchanged();
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.clock.sleep_until(at) => {}
                // Somebody else logged in; its renewal is due at another time.
                _ = changed.changed() => {}
            }
        }
    }

    /// Does what is due, if anything, and says when to look again.
    async fn tend(&self) -> Result<DateTime<Utc>, VaultError> {
        let _flight = self.flight.lock().await;
        let session = match self.live() {
            None => self.log_in().await?,
            Some(session) if self.clock.now() < session.renew_at => session,
            Some(session) => match self.renew(&session).await {
                Some(renewed) => renewed,
                None => self.log_in().await?,
            },
        };
        Ok(session.renew_at)
    }

    /// Renews; none if it can't be, or if that gains too little.
    async fn renew(&self, session: &Session) -> Option<Arc<Session>> {
        if !session.renewable {
            return None;
        }
        let asked_at = self.clock.now();
        let carried = Carried { token: Some(&session.token), wrap: None };
        let auth = match self.client.send(carried, RenewSelf {}).await {
            Ok(answer) => answer.auth?,
            Err(failure) => {
                let error = RENEW.error(&failure, &[session.token.expose_secret()]);
                let error: &dyn Error = &error;
                tracing::info!(
                    event.action = "vault-login-renewed",
                    event.outcome = "failure",
                    error,
                    "the login to Vault was not renewed; logging in again"
                );
                return None;
            }
        };
        let renewed = Session::new(&auth, session.number, Some(session.ttl), asked_at);
        let usable = !auth.client_token.is_empty() && !renewed.is_cut_short();
        usable.then(|| self.set(renewed))
    }

    /// Logs in. The caller holds the flight.
    async fn log_in(&self) -> Result<Arc<Session>, VaultError> {
        self.tried.fetch_add(1, Ordering::Relaxed);
        let done = self.try_to_log_in().await;
        if done.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        done
    }

    async fn try_to_log_in(&self) -> Result<Arc<Session>, VaultError> {
        let secret_id = self.secret_id().await?;
        let asked_at = self.clock.now();
        let request = LoginWithApproleRequest {
            mount: self.app_role.mount.clone(),
            role_id: self.app_role.role_id.clone(),
            secret_id: secret_id.expose_secret().to_owned(),
        };
        let hide = [secret_id.expose_secret(), &self.app_role.role_id];
        let sent = self.client.send(Carried::default(), request).await;
        let answer = sent.map_err(|failure| self.operation.error(&failure, &hide))?;
        let auth = answer.auth.filter(|auth| !auth.client_token.is_empty());
        let auth = auth.ok_or_else(|| self.operation.error(&Failure::Unreadable, &[]))?;
        tracing::info!(
            event.action = "vault-login",
            event.outcome = "success",
            "logged in to Vault for {} seconds",
            auth.lease_duration
        );
        Ok(self.set(Session::new(&auth, self.tried(), None, asked_at)))
    }

    fn tried(&self) -> u64 {
        self.tried.load(Ordering::Relaxed)
    }

    fn set(&self, session: Session) -> Arc<Session> {
        let session = Arc::new(session);
        self.current.send_replace(Some(session.clone()));
        session
    }

    /// Where the method is mounted, below `auth/`.
    pub(super) fn mount(&self) -> &str {
        &self.app_role.mount
    }

    /// The secret id, read from its file now.
    pub(super) async fn secret_id(&self) -> Result<SecretString, VaultError> {
        let path = &self.app_role.secret_id_file;
        read_secret(path).await.map_err(|e| {
            let reason = format!("cannot read the secret id from {} ({e})", path.display());
            self.operation.error(&Failure::Unsent(reason), &[])
        })
    }

    /// Up to a tenth less, so that daemons that lost Vault together don't come back together.
    fn jittered(&self, pause: Duration) -> Duration {
        let thousandths = 900 + u32::try_from(self.clock.random() % 100).unwrap_or_default();
        pause * thousandths / 1000
    }
}

async fn read_secret(path: &Path) -> std::io::Result<SecretString> {
    let size = tokio::fs::metadata(path).await?.len();
    if size > SECRET_ID_MAX {
        return Err(std::io::Error::other("too large for a secret id"));
    }
    let text = tokio::fs::read_to_string(path).await?;
    match text.trim() {
        "" => Err(std::io::Error::other("the file is empty")),
        secret => Ok(secret.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(lease_duration: u64) -> Auth {
        serde_json::from_value(serde_json::json!({ "client_token": "t", "lease_duration": lease_duration }))
            .unwrap()
    }

    #[test]
    fn renewal_is_due_at_two_thirds() {
        let at = DateTime::UNIX_EPOCH;
        let session = Session::new(&auth(90), 1, None, at);
        assert_eq!(
            (session.renew_at - at, session.expires_at - at),
            (TimeDelta::seconds(60), TimeDelta::seconds(90))
        );
    }

    #[test]
    fn a_life_that_no_clock_can_count_is_cut() {
        let session = Session::new(&auth(u64::MAX), 1, None, DateTime::UNIX_EPOCH);
        assert_eq!(session.expires_at - DateTime::UNIX_EPOCH, delta(TTL_MAX));
        assert!(!session.is_cut_short());
    }

    #[test]
    fn a_renewal_that_gains_less_than_half_is_cut_short() {
        let cut =
            |gained| Session::new(&auth(gained), 1, Some(Duration::from_secs(90)), DateTime::UNIX_EPOCH);
        assert!(!cut(90).is_cut_short());
        assert!(!cut(46).is_cut_short());
        assert!(cut(40).is_cut_short());
    }
}
