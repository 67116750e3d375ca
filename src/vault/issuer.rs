//! Vault as the issuer: what it is set up with, and the way from each of the trait's verbs to its file.
//!
//! It can be set up while Vault is down, and takes nothing from the environment.

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use rustify::endpoint::Endpoint;
use tokio_util::sync::CancellationToken;
use url::{Host, Url};

use super::{
    GrantToken, Issuer, LeaseSeen, MissingCapability, VaultError, Wrapped,
    client::{Carried, Client, fits_header},
    end::{REVOKE_TOKEN, REVOKE_WRAPPING},
    endpoints::{Answer, LookUpSelf},
    error::Failure,
    inspect::{self, Asked, Inspection},
    login::{AppRole, Login, Session},
};
use crate::{
    access::{
        handle::{Accessor, LeaseId},
        id::GrantId,
    },
    clock::Clock,
    http::{self, HttpError},
};

/// Where Vault is and how the daemon logs in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Vault's address, for example `https://vault.example.net:8200`: no path, and HTTPS unless it is this machine.
    pub address: Url,
    /// The certificate authorities to trust instead of the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// The namespace, if there is one.
    pub namespace: Option<String>,
    /// Where the `AppRole` method is mounted, below `auth/`; usually `approle`.
    pub approle_mount: String,
    /// The `AppRole`'s role id.
    pub role_id: String,
    /// The file with the `AppRole`'s secret id. It is read at each login.
    pub secret_id_file: PathBuf,
    /// The token role that the grants' tokens are made by.
    pub token_role: String,
    /// The time limit of each call as a whole. A lease's revocation takes as long as its database does.
    pub timeout: Duration,
}

/// Why Vault can't be called with these settings.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The address has a part that it can't have.
    #[error("Vault's address takes a scheme, a host and a port, and nothing more")]
    Address,
    /// Tokens would cross the network in the clear.
    #[error("Vault's address must begin with https:// unless it is this machine's own")]
    Plain,
    /// The named setting isn't a plain name.
    #[error("{0} for Vault must be a plain name or path: letters, digits and -_./")]
    Name(&'static str),
    /// The HTTP client can't be set up.
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// Issues through a Vault server. Cheap to clone: clones share the connections and the login.
#[derive(Clone)]
pub struct VaultIssuer(Arc<Shared>);

/// What the calls share.
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) token_role: String,
    pub(super) namespace: Option<String>,
    pub(super) login: Login,
}

impl std::fmt::Debug for VaultIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("VaultIssuer").field(&self.0.client).finish()
    }
}

impl VaultIssuer {
    /// Sets it up, without a call: Vault may be down.
    ///
    /// # Errors
    ///
    /// If a setting can't be right, or the authorities' file can't be read.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, SetupError> {
        check(&settings)?;
        let http = http::client(settings.ca_file.as_deref(), settings.timeout)?;
        let client = Client::new(http, &settings.address, settings.namespace.clone(), settings.timeout);
        let Settings { approle_mount: mount, role_id, secret_id_file, token_role, namespace, .. } = settings;
        let login = Login::new(AppRole { mount, role_id, secret_id_file }, clock.clone());
        Ok(Self(Arc::new(Shared { client, clock, token_role, namespace, login })))
    }

    /// Logs in and keeps the login until `stop`. Failures are logged and tried again, at most 30 seconds later.
    pub async fn keep_login(&self, stop: CancellationToken) {
        self.0.login.keep(&self.0.client, stop).await;
    }

    /// Whether there is a login that hasn't expired. It may have been revoked; the next call finds out.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.0.login.live().is_some()
    }

    /// How many leases Vault failed to revoke so often that it tries them only once a day, of all its users.
    ///
    /// # Errors
    ///
    /// If Vault doesn't say.
    pub async fn irrevocable_leases(&self) -> Result<u64, VaultError> {
        self.0.irrevocable().await
    }

    /// Reads how Vault is set up, with a login that ends with this call's: for `hallpassd doctor`.
    ///
    /// # Errors
    ///
    /// If Vault can't be reached or refuses the login. Whatever else goes wrong is part of the answer.
    pub async fn inspect(&self, asked: &Asked) -> Result<Inspection, VaultError> {
        inspect::inspect(&self.0, asked).await
    }
}

impl Shared {
    /// Sends what may be sent twice: again if the connection was cut, and with a new login if that had ended.
    pub(super) async fn ask<E: Endpoint>(
        &self,
        request: impl Fn() -> E + Send + Sync,
    ) -> Result<Answer<E::Response>, Failure> {
        let session = self.login.session(&self.client).await?;
        let failure = match self.send_twice(&session, &request).await {
            Err(failure) if failure.is(403) => failure,
            other => return other,
        };
        match self.login.instead_of(&self.client, &session).await {
            Some(newer) => self.send_twice(&newer, &request).await,
            None => Err(failure),
        }
    }

    /// A kept connection is found dead only by using it, after every restart of Vault.
    async fn send_twice<E: Endpoint>(
        &self,
        session: &Session,
        request: &(impl Fn() -> E + Send + Sync),
    ) -> Result<Answer<E::Response>, Failure> {
        let carried = Carried { token: Some(&session.token), wrap: None };
        match self.client.send(carried, request()).await {
            Err(Failure::Cut(_)) => self.client.send(carried, request()).await,
            other => other,
        }
    }

    /// Sends what must not be sent twice. A question that may be goes ahead and finds out about a dead connection or an
    /// ended login; if it gets no answer, nothing more is sent.
    pub(super) async fn ask_once<E: Endpoint>(&self, request: E) -> Result<Answer<E::Response>, Failure> {
        match self.ask(|| LookUpSelf {}).await {
            Err(Failure::Silent) => return Err(Failure::Unsent("no answer within the time limit".into())),
            Err(Failure::Cut(why)) => return Err(Failure::Unsent(format!("no answer ({why})"))),
            Err(failure @ (Failure::Unreached(_) | Failure::Unsent(_))) => return Err(failure),
            // Any other answer is one: the request gets its own.
            _ => {}
        }
        let session = self.login.session(&self.client).await?;
        self.client.send(Carried { token: Some(&session.token), wrap: None }, request).await
    }
}

#[async_trait]
impl Issuer for VaultIssuer {
    async fn mint(&self, grant: GrantId, policy: &str, ttl: Duration) -> Result<GrantToken, VaultError> {
        self.0.mint(grant, policy, ttl).await
    }

    async fn read_wrapped(
        &self,
        token: GrantToken,
        path: &str,
        wrap_ttl: Duration,
    ) -> Result<Wrapped, VaultError> {
        self.0.read_wrapped(token, path, wrap_ttl).await
    }

    async fn shorten(&self, token: &Accessor, lease: &LeaseId, left: Duration) -> Result<(), VaultError> {
        self.0.shorten(token, lease, left).await
    }

    async fn revoke_wrapping(&self, wrapping: &Accessor) -> Result<(), VaultError> {
        self.0.revoke_accessor(&REVOKE_WRAPPING, wrapping).await
    }

    async fn revoke_token(&self, token: &Accessor) -> Result<(), VaultError> {
        self.0.revoke_accessor(&REVOKE_TOKEN, token).await
    }

    async fn revoke_lease(&self, lease: &LeaseId) -> Result<(), VaultError> {
        self.0.revoke_lease(lease).await
    }

    async fn lease_gone(&self, lease: &LeaseId) -> Result<bool, VaultError> {
        Ok(self.0.look_up(lease.expose()).await?.is_none())
    }

    async fn leases(&self, path: &str) -> Result<Vec<LeaseSeen>, VaultError> {
        let ids = self.0.lease_ids(path).await?;
        self.0.look_up_all(ids).await
    }

    async fn missing(&self, paths: &[&str]) -> Result<Vec<MissingCapability>, VaultError> {
        self.0.missing(paths).await
    }
}

fn check(settings: &Settings) -> Result<(), SetupError> {
    check_address(&settings.address)?;
    let names = [("approle_mount", &settings.approle_mount), ("token_role", &settings.token_role)];
    let wrong = names.into_iter().find(|(_, name)| !is_plain(name));
    if let Some((setting, _)) = wrong {
        return Err(SetupError::Name(setting));
    }
    match &settings.namespace {
        Some(namespace) if !fits_header(namespace) || !is_plain(namespace.trim_end_matches('/')) => {
            Err(SetupError::Name("namespace"))
        }
        _ => Ok(()),
    }
}

/// A path before Vault's own `/v1` isn't possible with vaultrs' middleware, and a user name would end in errors.
fn check_address(address: &Url) -> Result<(), SetupError> {
    let bare = address.path() == "/" && address.query().is_none() && address.fragment().is_none();
    let nobody = address.username().is_empty() && address.password().is_none();
    match address.scheme() {
        "https" | "http" if !bare || !nobody => Err(SetupError::Address),
        "https" => Ok(()),
        "http" if is_this_machine(address) => Ok(()),
        "http" => Err(SetupError::Plain),
        _ => Err(SetupError::Address),
    }
}

fn is_this_machine(address: &Url) -> bool {
    match address.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
        None => false,
    }
}

fn is_plain(name: &str) -> bool {
    let segment = |s: &str| !matches!(s, "" | "." | "..");
    name.split('/').all(segment) && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_./".contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Result<(), SetupError> {
        check_address(&Url::parse(text).unwrap())
    }

    #[test]
    fn https_or_this_machine() {
        for good in [
            "https://vault.example.net:8200",
            "http://127.0.0.1:8200",
            "http://[::1]:8200",
            "http://localhost",
        ] {
            assert!(address(good).is_ok(), "{good}");
        }
        assert!(matches!(address("http://vault.example.net"), Err(SetupError::Plain)));
        assert!(matches!(address("http://127.0.0.1.example.net"), Err(SetupError::Plain)));
    }

    #[test]
    fn an_address_is_nothing_but_one() {
        for bad in
            ["https://v/vault", "https://u:p@v", "https://v/?a=b", "https://v/#a", "ftp://v", "unix:/run/v"]
        {
            assert!(matches!(address(bad), Err(SetupError::Address)), "{bad}");
        }
    }

    #[test]
    fn names_are_plain() {
        for (name, plain) in
            [("approle", true), ("team/approle", true), ("a/../b", false), ("", false), ("a?b", false)]
        {
            assert_eq!(is_plain(name), plain, "{name}");
        }
    }
}
