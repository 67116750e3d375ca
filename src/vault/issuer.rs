//! Vault as the issuer: the way from each of the trait's verbs to its file, and the lane that it takes.
//!
//! | lane | verbs | bound |
//! |---|---|---|
//! | people's | `mint`, `read_wrapped`, `shorten`, `wrapping_unopened`, `missing` | [`PEOPLE_MAX`], then in line |
//! | of endings | `revoke_*`, `lease_gone`, `leases`, `gave_up`, `time`, `public_keys`, `sign` | the caller's own |
//!
//! It can be set up while Vault is down, and takes nothing from the environment.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::{
    GrantToken, Issuer, LeaseSeen, MissingCapability, Outcome, VaultError, Wrapped,
    client::Client,
    end::{REVOKE_TOKEN, REVOKE_WRAPPING},
    inspect::{self, Asked, Inspection},
    lane::Lane,
    login::{AppRole, LOGIN_TIMEOUT, Login},
    settings::{Settings, SetupError, check},
    transit::TransitKey,
};
use crate::{
    access::{
        handle::{Accessor, LeaseId},
        id::GrantId,
    },
    clock::Clock,
    http,
};

/// How many of the people's calls are under way at once. More would make Vault and its databases slower for everybody,
/// revocations included.
const PEOPLE_MAX: usize = 32;

/// Issues through a Vault server. Cheap to clone: clones share the connections and the login.
#[derive(Clone)]
pub struct VaultIssuer(Arc<Shared>);

struct Shared {
    people: Arc<Lane>,
    endings: Arc<Lane>,
    /// For the people's calls.
    places: Semaphore,
    /// How long a call waits for a place: as long as it may take.
    patience: Duration,
}

impl std::fmt::Debug for VaultIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("VaultIssuer").field(&self.0.endings.client).finish()
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
        let patience = settings.timeout;
        let client = |timeout| -> Result<Client, SetupError> {
            let http = http::client(settings.ca_file.as_deref(), timeout)?;
            Ok(Client::new(http, &settings.address, settings.namespace.clone(), timeout))
        };
        let (people, endings) = (client(patience)?, client(patience)?);
        let to_log_in = client(patience.min(LOGIN_TIMEOUT))?;
        let Settings { approle_mount: mount, role_id, secret_id_file, token_role, namespace, .. } = settings;
        let app_role = AppRole { mount, role_id, secret_id_file };
        let login = Arc::new(Login::new(app_role, to_log_in, Arc::clone(&clock)));
        let lane = move |client| {
            let (login, clock) = (Arc::clone(&login), Arc::clone(&clock));
            Arc::new(Lane {
                client,
                login,
                clock,
                token_role: token_role.clone(),
                namespace: namespace.clone(),
            })
        };
        let (people, endings) = (lane(people), lane(endings));
        Ok(Self(Arc::new(Shared { people, endings, places: Semaphore::new(PEOPLE_MAX), patience })))
    }

    /// Logs in and keeps the login until `stop`. Failures are logged and tried again, at most 30 seconds later.
    pub async fn keep_login(&self, stop: CancellationToken) {
        self.0.endings.login.keep(stop).await;
    }

    /// Whether there is a login that hasn't expired. It may have been revoked; the next call finds out.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.0.endings.login.live().is_some()
    }

    /// Reads how Vault is set up, with a login that ends with this call's: for `hallpassd doctor`.
    ///
    /// # Errors
    ///
    /// If Vault can't be reached or refuses the login. Whatever else goes wrong is part of the answer.
    pub async fn inspect(&self, asked: &Asked) -> Result<Inspection, VaultError> {
        inspect::inspect(&self.0.endings, asked).await
    }

    /// The public halves of a transit key, by version.
    ///
    /// # Errors
    ///
    /// If Vault doesn't answer, or the key isn't a plain Ed25519 one.
    pub async fn public_keys(&self, key: &TransitKey) -> Result<BTreeMap<u32, [u8; 32]>, VaultError> {
        self.0.endings.public_keys(key).await
    }

    /// Signs bytes by a transit key. Answers with the key's version and the signature's 64 bytes. There is one caller, who
    /// signs one thing at a time, so that no flood of claims can keep the log from being signed.
    ///
    /// # Errors
    ///
    /// If Vault doesn't.
    pub async fn sign(&self, key: &TransitKey, bytes: &[u8]) -> Result<(u32, [u8; 64]), VaultError> {
        self.0.endings.sign(key, bytes).await
    }

    /// A place among the people's calls. Who comes first is served first, and who waits too long is refused, before
    /// anything was sent.
    async fn place(&self) -> Result<SemaphorePermit<'_>, VaultError> {
        let clock = &self.0.people.clock;
        let place = tokio::select! {
            biased;
            place = self.0.places.acquire() => place.ok(),
            () = clock.sleep(self.0.patience) => None,
        };
        place.ok_or_else(|| VaultError {
            operation: "wait for other calls",
            reason: format!("{PEOPLE_MAX} calls are under way and none has ended; try again"),
            outcome: Outcome::Refused,
        })
    }
}

#[async_trait]
impl Issuer for VaultIssuer {
    async fn mint(&self, grant: GrantId, policy: &str, ttl: Duration) -> Result<GrantToken, VaultError> {
        let _place = self.place().await?;
        self.0.people.mint(grant, policy, ttl, &self.0.endings).await
    }

    async fn read_wrapped(
        &self,
        token: GrantToken,
        path: &str,
        wrap_ttl: Duration,
    ) -> Result<Wrapped, VaultError> {
        let _place = self.place().await?;
        self.0.people.read_wrapped(token, path, wrap_ttl, &self.0.endings).await
    }

    async fn shorten(&self, token: &Accessor, lease: &LeaseId, left: Duration) -> Result<(), VaultError> {
        let _place = self.place().await?;
        self.0.people.shorten(token, lease, left).await
    }

    async fn revoke_wrapping(&self, wrapping: &Accessor) -> Result<(), VaultError> {
        self.0.endings.revoke_accessor(&REVOKE_WRAPPING, wrapping).await
    }

    async fn revoke_token(&self, token: &Accessor) -> Result<(), VaultError> {
        self.0.endings.revoke_accessor(&REVOKE_TOKEN, token).await
    }

    async fn revoke_lease(&self, lease: &LeaseId) -> Result<(), VaultError> {
        self.0.endings.revoke_lease(lease).await
    }

    async fn lease_gone(&self, lease: &LeaseId) -> Result<bool, VaultError> {
        Ok(self.0.endings.look_up(lease.expose()).await?.is_none())
    }

    async fn lease_ids(&self, path: &str) -> Result<BTreeSet<LeaseId>, VaultError> {
        Ok(self.0.endings.lease_ids(path).await?.into_iter().map(LeaseId::new).collect())
    }

    async fn leases(&self, path: &str) -> Result<Vec<LeaseSeen>, VaultError> {
        let ids = self.0.endings.lease_ids(path).await?;
        self.0.endings.look_up_all(ids).await
    }

    async fn wrapping_unopened(&self, wrapping: &Accessor) -> Result<bool, VaultError> {
        let _place = self.place().await?;
        self.0.people.wrapping_unopened(wrapping).await
    }

    async fn gave_up(&self) -> Result<BTreeMap<String, u64>, VaultError> {
        self.0.endings.gave_up().await
    }

    async fn time(&self) -> Result<DateTime<Utc>, VaultError> {
        self.0.endings.time().await
    }

    async fn missing(&self, paths: &[&str]) -> Result<Vec<MissingCapability>, VaultError> {
        let _place = self.place().await?;
        self.0.people.missing(paths).await
    }
}
