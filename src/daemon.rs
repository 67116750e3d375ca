//! The wiring, from the configuration to a process that serves: the only file that names every concrete type. It reads
//! from top to bottom; the order in which things stop is [`lifecycle`](crate::lifecycle)'s.

mod database;

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::TimeDelta;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info};

use self::database::Opened;
pub use self::database::StoreCopyError;
use crate::{
    broker::{self, Broker, ConfigurationChange, Notary, Occasion, Parts, Past, Signer, Witness},
    clock::{Clock, SystemClock},
    config::{self, Config},
    control::{self, Answer, Outcome, Question},
    doctor,
    fsck::FsckError,
    grpc::{self, Front, Fronts},
    http::HttpError,
    identity::{self, Verifier},
    keyfile,
    ledger::note::{Kind, SigningKey, VerifierKey},
    lifecycle::{Ended, Lifecycle, Notifier, SystemSignals},
    notary::{Directory, Endpoint, FileSigner, TransitSigner},
    reload::{self, Reloader},
    report::Reports,
    store::{
        Migrate, OpenError, StoreError,
        postgres::copy::Counts,
        sqlite::{backup, holder},
    },
    sweep::{Chore, Chores, Schedules, Sweeper},
    vault::{self, SetupError, TransitKey, VaultIssuer},
    verify,
};

/// The kind of event that says what a reconciliation found.
const RECONCILED: &str = "ReconciliationDone";
/// The kind of event that says which configuration is in force.
const CONFIGURED: &str = "ConfigurationChanged";
/// The kind of event that says that a witness contradicts the log.
const CONTRADICTED: &str = "LedgerContradicted";
/// How long the daemon may take to compare Vault with the records: a Vault that is down takes a time-out for each path.
const RECONCILE_MAX: TimeDelta = TimeDelta::minutes(5);
/// How often the record of it is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Why the daemon doesn't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Signals can't be received.
    #[error("cannot listen to signals")]
    Signals(#[source] io::Error),
    /// The database can't be used.
    #[error("cannot open the store")]
    Store(#[source] OpenError),
    /// The database can't be read.
    #[error("cannot read the store")]
    Read(#[source] StoreError),
    /// Vault can't be called with this configuration.
    #[error("cannot set up the client of Vault")]
    Vault(#[source] SetupError),
    /// The identity provider can't be called with this configuration.
    #[error("cannot set up the client of the identity provider")]
    Identity(#[source] HttpError),
    /// What is trusted of clients' certificates can't be used.
    #[error("cannot set up the check of clients' certificates")]
    Certificates(#[source] identity::TrustError),
    /// The key that signs the log can't be used.
    #[error("cannot use the key that signs the log")]
    LedgerKey(#[source] keyfile::KeyFileError),
    /// The key in the file is another log's.
    #[error(
        "the key in {file} is called {name}, and the log is called {origin}; make one with hallpassd ledger new-key",
        file = .file.display()
    )]
    OtherLedgerKey {
        /// The file.
        file: PathBuf,
        /// The key's name.
        name: String,
        /// The log's.
        origin: String,
    },
    /// Vault doesn't show the key.
    #[error("cannot read the key that signs the log")]
    LedgerSigner(#[source] broker::SignError),
    /// A witness can't be called with this configuration.
    #[error("cannot set up the client of a witness")]
    Witness(#[source] HttpError),
    /// The Unix socket can't be had.
    #[error("cannot listen on the Unix socket")]
    Socket(#[source] grpc::SocketError),
    /// The certificate or the key can't be used.
    #[error("cannot set up TLS")]
    Tls(#[source] grpc::TlsError),
    /// Vault and the records can't be compared.
    #[error("cannot compare Vault with the records")]
    Reconcile(#[source] broker::Error),
    /// The daemon was told, and there is no record of it.
    #[error("the hallpassd at {control} was asked and has recorded nothing; its log says why", control = .control.display())]
    NotReconciled {
        /// Where it was asked.
        control: PathBuf,
    },
    /// The daemon can't be asked.
    #[error(
        "cannot ask the hallpassd at {control}; check that it runs, and run this as the same user, or as root",
        control = .control.display()
    )]
    Ask {
        /// Where it is asked.
        control: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The address can't be had.
    #[error(
        "cannot listen on {address}; check that nothing else does, and that the address is this machine's"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Serves until told to stop.
///
/// # Errors
///
/// If something that the daemon can't be without is missing at the start. Vault is not among that: without it nothing
/// is issued, and what has to end ends when it is back.
pub async fn run(config: Config) -> Result<Ended, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut signals = SystemSignals::install().map_err(StartError::Signals)?;
    let notifier = Notifier::from_env();
    let lifecycle = Lifecycle::new();
    let stopping = || lifecycle.stopping();

    let opened = Opened::open(&config.store.database, Migrate::Yes, Arc::clone(&clock))
        .await
        .map_err(StartError::Store)?;
    let store = opened.store();
    let issuer = VaultIssuer::new(vault_settings(config.vault.clone()), Arc::clone(&clock))
        .map_err(StartError::Vault)?;
    let (verifier, certificates) = verifier(&config.identity, &clock)?;
    let notary = notary(&config, &issuer).await?;
    let broker = Arc::new(Broker::new(Parts {
        policy: config.policy.clone(),
        digest_key: store.digest_key().await.map_err(StartError::Read)?,
        store,
        issuer: Arc::new(issuer.clone()),
        clock: Arc::clone(&clock),
        wrap_ttl: config.vault.wrap_ttl,
        alarm_after: config.alarm_after,
        revoke_unknown: config.reconcile.revoke_unknown,
        texts_for: config.retention.texts_for,
        signers: config.signers.clone(),
        notary,
        stopping: stopping(),
        tasks: lifecycle.tasks(),
    }));
    // Before anybody is served: what closes in the next minutes is known.
    broker.arm().await;
    tell_configuration(&broker, &config).await;
    let doors = doors(&config.server, certificates).await?;
    let (address, tls) = (doors.listener.local_addr().unwrap_or(config.server.listen), doors.tls.clone());

    let stop = stopping();
    lifecycle.supervise("vault login", async move { issuer.keep_login(stop).await });
    lifecycle.supervise("sweeper", Sweeper::new(Arc::clone(&broker), Arc::clone(&clock)).run(stopping()));
    let chores = Chores {
        broker: Arc::clone(&broker),
        clock: Arc::clone(&clock),
        reconcile: lifecycle.reconcile(),
        stopping: stopping(),
    };
    let schedules = schedules(&config);
    for (name, chore) in chores.all(&schedules).into_iter().chain(reports(&config.reports, &chores)) {
        lifecycle.supervise(name, chore);
    }
    let front = Front { verifier: Arc::new(verifier), broker: Arc::clone(&broker) };
    let fronts = Arc::new(Fronts::new(front));
    let control = listen_to_commands(&config.store.control);
    let reloader =
        Reloader::new(config, Arc::clone(&fronts), tls, schedules, notifier.clone(), Arc::clone(&clock));
    let asked = control::Asked { reload: lifecycle.reload(), reconcile: lifecycle.reconcile() };
    lifecycle.supervise("reload", control::serve(control, asked, reloader, Arc::clone(&clock), stopping()));
    let (watchdog, health, stop) = (notifier.clone(), broker, stopping());
    lifecycle.supervise("watchdog", async move { watchdog.watch(stop, || health.is_alive()).await });
    let serving = grpc::serve(doors, fronts, clock, stopping());
    lifecycle.supervise("server", async {
        if let Err(failure) = serving.await {
            let failure: &dyn std::error::Error = &failure;
            error!("event.action" = "server-failed", error = failure, "the server ended");
        }
    });

    info!("event.action" = "serving", "server.address" = %address, "serving on {address}");
    notifier.ready();
    notifier.status(&format!("serving on {address}"));
    let ended = lifecycle.run(&mut signals, &notifier).await;
    opened.close().await;
    Ok(ended)
}

/// When the daemon does by itself what has a schedule.
fn schedules(config: &Config) -> Schedules {
    let (sweep, reconcile) = (config.sweep.clone(), config.reconcile.schedule.clone());
    Schedules::new(sweep, reconcile, config.retention.schedule.clone())
}

/// Who writes the month's report, if it is to be written anywhere.
fn reports(reports: &config::Reports, chores: &Chores) -> Option<Chore> {
    let (directory, schedule) = (reports.directory.clone()?, reports.schedule.clone());
    Some(("reports", Box::pin(Reports { chores: chores.clone(), directory, schedule }.run())))
}

/// What signs the log, and whom that is shown to.
async fn notary(config: &Config, issuer: &VaultIssuer) -> Result<Notary, StartError> {
    let ledger = &config.ledger;
    let (origin, signer) = (ledger.origin.clone(), signer(ledger, issuer)?);
    let mut witnesses: Vec<Arc<dyn Witness>> = Vec::new();
    for witness in &ledger.witnesses {
        let name = witness.name.clone();
        match &witness.place {
            config::Place::Directory(path) => witnesses.push(Arc::new(Directory::new(name, path.clone()))),
            config::Place::Url { url, ca_file, key } => {
                let endpoint = Endpoint::new(name, url, ca_file.as_deref(), key.clone());
                witnesses.push(Arc::new(endpoint.map_err(StartError::Witness)?));
            }
            config::Place::Comes { .. } => {}
        }
    }
    let last =
        async |kind| database::last_fact(&config.store.database, kind).await.map_err(StartError::Store);
    let past = Past { contradicted: last(CONTRADICTED).await?, reconciled: last(RECONCILED).await? };
    let (interval, witness_keys) = (ledger.interval, ledger.witness_keys());
    Ok(Notary { origin, signer: Some(signer), interval, witnesses, witness_keys, past })
}

fn signer(ledger: &config::Ledger, issuer: &VaultIssuer) -> Result<Arc<dyn Signer>, StartError> {
    let origin = ledger.origin.clone();
    Ok(match &ledger.signer {
        config::Signer::Transit { mount, key } => {
            let key = TransitKey { mount: mount.clone(), name: key.clone() };
            Arc::new(TransitSigner::new(issuer.clone(), key, origin))
        }
        config::Signer::File(file) => Arc::new(FileSigner::new(ledger_key(file, &origin)?)),
    })
}

/// The key in a file, if it is this log's.
fn ledger_key(file: &Path, origin: &str) -> Result<SigningKey, StartError> {
    let key = keyfile::read(file).map_err(StartError::LedgerKey)?;
    let name = key.verifier(Kind::Plain).name().to_owned();
    if name == origin {
        return Ok(key);
    }
    let (file, origin) = (file.to_owned(), origin.to_owned());
    Err(StartError::OtherLedgerKey { file, name, origin })
}

/// Who says who calls, and what of that TLS asks clients for.
fn verifier(
    identity: &config::Identity,
    clock: &Arc<dyn Clock>,
) -> Result<(Verifier, Option<Arc<identity::Certificates>>), StartError> {
    let identity = identity.clone();
    let certificates =
        reload::certificates(identity.certificates, clock).map_err(StartError::Certificates)?;
    let verifier = Verifier::new(identity.issuers, identity.persons, Arc::clone(clock));
    let verifier = verifier.map_err(StartError::Identity)?;
    Ok((verifier.with_certificates(certificates.clone()).with_socket(identity.socket), certificates))
}

/// Compares Vault with the records now: through the daemon that has the database, or, if none does, by itself. Answers
/// with what the audit log says about it.
///
/// # Errors
///
/// If the database or Vault can't be used, or if the daemon doesn't do it in five minutes.
pub async fn reconcile(config: Config) -> Result<Value, StartError> {
    let before = database::last_fact(&config.store.database, RECONCILED).await;
    match control::ask(&config.store.control, &Question::Reconcile {}).await {
        Ok(_) => return reconciled_there(&config.store, before.map_err(StartError::Store)?).await,
        Err(source) if has_a_daemon(&config.store.database) => {
            return Err(StartError::Ask { control: config.store.control, source });
        }
        Err(_) => {}
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let database = config.store.database;
    let opened = Opened::open(&database, Migrate::No, Arc::clone(&clock)).await.map_err(StartError::Store)?;
    let store = opened.store();
    let issuer = VaultIssuer::new(vault_settings(config.vault.clone()), Arc::clone(&clock))
        .map_err(StartError::Vault)?;
    let broker = Broker::new(Parts {
        policy: config.policy,
        digest_key: store.digest_key().await.map_err(StartError::Read)?,
        store,
        issuer: Arc::new(issuer),
        clock,
        wrap_ttl: config.vault.wrap_ttl,
        alarm_after: config.alarm_after,
        revoke_unknown: config.reconcile.revoke_unknown,
        texts_for: config.retention.texts_for,
        signers: config.signers,
        // Nothing is granted here, and the next start looks at the log.
        notary: Notary::default(),
        stopping: CancellationToken::new(),
        tasks: TaskTracker::new(),
    });
    let done = broker.reconcile().await.map_err(StartError::Reconcile);
    opened.close().await;
    done?;
    let fact = database::last_fact(&database, RECONCILED).await.map_err(StartError::Store)?;
    Ok(fact.map(|(_, detail)| detail).unwrap_or_default())
}

/// Waits for the record of what the daemon was asked to look for.
async fn reconciled_there(store: &config::Store, before: Option<(i64, Value)>) -> Result<Value, StartError> {
    let before = before.map(|(sequence, _)| sequence);
    let (clock, begun_at) = (SystemClock, SystemClock.now());
    while clock.now() - begun_at < RECONCILE_MAX {
        let last = database::last_fact(&store.database, RECONCILED).await.map_err(StartError::Store)?;
        if let Some((sequence, detail)) = last
            && Some(sequence) > before
        {
            return Ok(detail);
        }
        clock.sleep(LOOK_AGAIN).await;
    }
    Err(StartError::NotReconciled { control: store.control.clone() })
}

/// Whether a daemon has the database for itself: then nothing is done beside it.
fn has_a_daemon(database: &config::Database) -> bool {
    matches!(database, config::Database::File(file) if holder::pid(file).is_some())
}

/// The keys that others know the log by, the present one first.
///
/// # Errors
///
/// If Vault, or the file with the key, can't be used.
pub async fn ledger_keys(config: Config) -> Result<Vec<VerifierKey>, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let issuer = VaultIssuer::new(vault_settings(config.vault.clone()), clock).map_err(StartError::Vault)?;
    signer(&config.ledger, &issuer)?.keys().await.map_err(StartError::LedgerSigner)
}

/// Asks the daemon to read its configuration again.
///
/// # Errors
///
/// If no daemon answers there.
pub async fn reload(control: &Path, question: &Question) -> Result<Answer, StartError> {
    let control = control.to_owned();
    control::ask(&control, question).await.map_err(|source| StartError::Ask { control, source })
}

/// Records which configuration is in force, unless it is the one that was before.
async fn tell_configuration(broker: &Broker, config: &Config) {
    let last = database::last_fact(&config.store.database, CONFIGURED).await.unwrap_or_else(|failure| {
        let failure: &dyn std::error::Error = &failure;
        error!(
            "event.action" = "configuration-unknown",
            error = failure,
            "the last configuration can't be read"
        );
        None
    });
    let digest = |(_, detail): (i64, Value)| detail.get("digest")?.as_str().map(str::to_owned);
    let former_digest = last.and_then(digest);
    let digest = config.origin.digest.clone();
    if former_digest.as_ref() != Some(&digest) {
        broker.started_with(ConfigurationChange::to(digest, former_digest, Occasion::Start)).await;
    }
}

/// Where `hallpassd reload` asks. Without it the daemon does everything else.
fn listen_to_commands(path: &Path) -> Option<control::Listener> {
    let listener = control::listen(path);
    let told = listener.inspect_err(|failure| {
        let failure: &dyn std::error::Error = failure;
        error!(
            "event.action" = "control-failed",
            error = failure,
            "can't listen on {}; hallpassd reload won't work, SIGHUP does",
            path.display()
        );
    });
    told.ok()
}

/// Brings the database to this version's schema, and answers with the versions that were applied.
///
/// # Errors
///
/// If the database can't be opened or changed.
pub async fn migrate(database: &config::Database) -> Result<Vec<i64>, OpenError> {
    database::migrate(database, &SystemClock).await
}

/// Copies the database to a file, with a checkpoint of now if a daemon runs that signs some. `tell` hears what goes on, a
/// line at a time.
///
/// # Errors
///
/// If there is no sound copy. Then nothing of one is left.
pub async fn backup(
    database: &Path,
    control: &Path,
    to: &Path,
    tell: impl Fn(&str),
) -> Result<backup::Copy, backup::BackupError> {
    if holder::pid(database).is_some() {
        tell("asking hallpassd to sign a checkpoint");
        match control::ask(control, &Question::Checkpoint {}).await {
            Ok(Answer { outcome: Outcome::Done, .. }) => {}
            Ok(Answer { text, .. }) => tell(&format!("there is no checkpoint of now: {}", text.trim_end())),
            Err(failure) => tell(&format!("hallpassd can't be asked for a checkpoint: {failure}")),
        }
    }
    tell(&format!("copying {}", database.display()));
    backup::copy(database, to, || tell("checking the copy")).await
}

/// Copies a database file to the server that the configuration names, and verifies what arrived.
///
/// # Errors
///
/// If anything goes wrong. Unless it is said otherwise, the server has nothing of it then.
pub async fn copy_store(
    from: &Path,
    to: &config::Database,
    tell: impl Fn(&str),
) -> Result<(Counts, verify::Report), StoreCopyError> {
    database::copy(from, to, tell).await
}

/// Looks at everything around the daemon, which may be running meanwhile, and changes nothing.
///
/// # Errors
///
/// If Vault can't be called with this configuration. Whatever else is wrong stands in the report.
pub async fn doctor(config: Config) -> Result<doctor::Report, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let vault = config.vault;
    let ledger_key = match config.ledger.signer {
        config::Signer::Transit { mount, key } => Some(TransitKey { mount, name: key }),
        config::Signer::File(_) => None,
    };
    let setup = doctor::Setup {
        vault: vault.address.as_str(),
        approle_mount: &vault.approle_mount,
        token_role: &vault.token_role,
        wrap_ttl: vault.wrap_ttl,
        secret_id_file: &vault.secret_id_file,
        targets: &config.policy.targets,
        ledger_key: ledger_key.as_ref(),
    };
    let issuer =
        VaultIssuer::new(vault_settings(vault.clone()), Arc::clone(&clock)).map_err(StartError::Vault)?;
    let facts = doctor::Facts {
        now: clock.now(),
        vault: issuer.inspect(&setup.asked()).await,
        secret_id_mode: fs::metadata(&vault.secret_id_file).ok().map(|found| found.permissions().mode()),
        database: database::inspect(&config.store.database, &*clock).await,
    };
    Ok(doctor::examine(&setup, &facts))
}

/// Verifies the whole database, or another one that this version wrote. The daemon may be running meanwhile.
///
/// Signatures of approvals are held against the keys that are on record: which of them counted then, the lists of now don't
/// say. Those of checkpoints are held against `log_keys`.
///
/// # Errors
///
/// If it can't be looked at. Whatever is wrong with it stands in the report.
pub async fn fsck(
    config: &Config,
    database: Option<&Path>,
    log_keys: Vec<VerifierKey>,
) -> Result<verify::Report, FsckError> {
    match database {
        Some(file) => database::fsck_file(file, log_keys).await,
        None => database::fsck(&config.store.database, log_keys).await,
    }
}

fn vault_settings(vault: config::Vault) -> vault::Settings {
    vault::Settings {
        address: vault.address,
        ca_file: vault.ca_file,
        namespace: vault.namespace,
        approle_mount: vault.approle_mount,
        role_id: vault.role_id,
        secret_id_file: vault.secret_id_file,
        token_role: vault.token_role,
        timeout: vault.timeout,
    }
}

/// Opens what callers come in by.
async fn doors(
    server: &config::Server,
    clients: Option<Arc<identity::Certificates>>,
) -> Result<grpc::Doors, StartError> {
    let tls = reload::tls(&server.tls, clients).map_err(StartError::Tls)?;
    let address = server.listen;
    let listener =
        TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })?;
    let socket =
        server.socket.as_ref().map(grpc::SocketDoor::open).transpose().map_err(StartError::Socket)?;
    Ok(grpc::Doors { listener, tls, socket, limits: server.limits })
}
