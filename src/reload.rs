//! Reading the configuration again while the daemon runs: all of it takes effect, or nothing does and the answer says why.
//!
//! ```text
//! file --read, checked--> needs a restart? --> certificates, issuers --> broker: record and swap --> the rest
//!        '--- any problem: nothing is changed ---------'--- refused: nothing is changed ---'
//! ```
//!
//! Whatever can fail is done before the swap, and nothing after it can. What a file can't change under way (where the
//! daemon listens, where its records are, how it reaches Vault) refuses the reload as a whole.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::Mutex;
use tracing::{error, info, warn};

use crate::{
    access::grant::Grant,
    broker::{Broker, ConfigurationChange, NotChanged, Occasion, Removed, Settings},
    clock::Clock,
    config::{Config, Difference, Problems, Tls},
    grpc::{self, Front, Fronts, TlsError},
    http::HttpError,
    identity::{CertificateSettings, Certificates, TrustError, Verifier},
    lifecycle::Notifier,
    sweep::Schedules,
    telemetry,
};

/// How many keys of a kind are told of one by one: a whole file's are an event that nobody reads.
const TOLD_MAX: usize = 100;

/// What is wished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Who wishes it.
    pub occasion: Occasion,
    /// What becomes of the grants whose target is taken out.
    pub removed: Removed,
    /// Whether it is only looked at what would happen.
    pub check: bool,
}

/// What was done, or would be.
#[derive(Debug)]
pub struct Done {
    /// The digest of the file.
    pub digest: String,
    /// The digest of the one that was in force.
    pub former_digest: String,
    /// What differs.
    pub difference: Difference,
    /// The grants that are ending by it.
    pub ended: Vec<Grant>,
    check: bool,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The file is bad.
    #[error("{0}")]
    Problems(Problems),
    /// It changes what takes a restart.
    #[error("a reload can't change {}; restart hallpassd for that, or put them back", .0.join(", "))]
    NeedsRestart(Vec<String>),
    /// It takes targets out that grants are held of.
    #[error("it takes out targets of grants that aren't over: {}", grants(.0))]
    GrantsHeld(Vec<Grant>),
    /// The certificate or the key can't be used.
    #[error("cannot set up TLS")]
    Tls(#[source] TlsError),
    /// What is trusted of clients' certificates can't be used.
    #[error("cannot set up the trust in clients' certificates")]
    Certificates(#[source] TrustError),
    /// An issuer can't be called.
    #[error("cannot set up the client of the identity provider")]
    Identity(#[source] HttpError),
    /// It can't be recorded.
    #[error("the change can't be recorded")]
    Record(#[source] crate::broker::Error),
    /// Reading broke off.
    #[error("reading the file broke off")]
    Reading(#[source] tokio::task::JoinError),
}

/// Has everything that a reload changes.
#[derive(Debug)]
pub struct Reloader {
    broker: Arc<Broker>,
    fronts: Arc<Fronts>,
    tls: Option<grpc::Tls>,
    schedules: Schedules,
    notifier: Notifier,
    clock: Arc<dyn Clock>,
    /// What is in force. One reload at a time.
    in_force: Mutex<Config>,
}

impl Reloader {
    /// With this in force.
    #[must_use]
    pub fn new(
        config: Config,
        fronts: Arc<Fronts>,
        tls: Option<grpc::Tls>,
        schedules: Schedules,
        notifier: Notifier,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let broker = fronts.now().broker;
        Self { broker, fronts, tls, schedules, notifier, clock, in_force: Mutex::new(config) }
    }

    /// The broker, with what is in force now.
    #[must_use]
    pub fn broker(&self) -> Broker {
        self.broker.renewed()
    }

    /// Reads the file again, and puts it in force if all is well with it. The log and systemd are told.
    ///
    /// # Errors
    ///
    /// If anything isn't; then nothing was changed.
    pub async fn reload(&self, wish: Wish) -> Result<Done, Refused> {
        let mut in_force = self.in_force.lock().await;
        if !wish.check {
            self.notifier.reloading();
        }
        let done = self.reload_once(&mut in_force, wish).await;
        tell(wish, &done);
        if !wish.check {
            self.notifier.ready();
            self.notifier.status(match &done {
                Ok(_) => "serving, with a configuration that was reloaded",
                Err(_) => "serving; the last reload was refused, and the log says why",
            });
        }
        done
    }

    /// The file that the daemon reads, if it isn't this one.
    pub async fn other_file(&self, file: &Path) -> Option<PathBuf> {
        let ours = self.in_force.lock().await.origin.file.clone();
        let is_same = match (fs::canonicalize(&ours), fs::canonicalize(file)) {
            (Ok(ours), Ok(file)) => ours == file,
            _ => ours == file,
        };
        (!is_same).then_some(ours)
    }

    async fn reload_once(&self, in_force: &mut Config, wish: Wish) -> Result<Done, Refused> {
        let origin = in_force.origin.clone();
        let next = tokio::task::spawn_blocking(move || origin.load_again()).await;
        let next = next.map_err(Refused::Reading)?.map_err(Refused::Problems)?;
        let difference = in_force.origin.difference(&next.origin);
        if !difference.needs_restart.is_empty() {
            return Err(Refused::NeedsRestart(difference.needs_restart));
        }
        let certificates = certificates(next.identity.certificates.clone(), &self.clock);
        let certificates = certificates.map_err(Refused::Certificates)?;
        let tls = tls(&next.server.tls, certificates.clone()).map_err(Refused::Tls)?;
        let issuers = next.identity.issuers.clone();
        let verifier = self.fronts.now().verifier.renewed(issuers, next.identity.persons.clone());
        let verifier = verifier.map_err(Refused::Identity)?;
        let verifier = verifier.with_certificates(certificates).with_socket(next.identity.socket.clone());
        let (digest, former_digest) = (next.origin.digest.clone(), in_force.origin.digest.clone());
        let mut done = Done { digest, former_digest, difference, ended: Vec::new(), check: wish.check };
        let changed = if wish.check {
            self.broker.ends(&next.policy, wish.removed).await
        } else {
            self.broker.reconfigure(settings(&next), done.told(wish.occasion), wish.removed).await
        };
        done.ended = changed.map_err(|failure| match failure {
            NotChanged::GrantsHeld(grants) => Refused::GrantsHeld(grants),
            NotChanged::Failed(failure) => Refused::Record(failure),
        })?;
        if !wish.check {
            self.follow(&next, verifier, tls.as_ref());
            *in_force = next;
        }
        Ok(done)
    }

    /// All the rest, which can't fail: the broker's settings are in force already.
    fn follow(&self, next: &Config, verifier: Verifier, tls: Option<&grpc::Tls>) {
        let broker = Arc::new(self.broker.renewed());
        let front = Front { verifier: Arc::new(verifier), broker: Arc::clone(&broker) };
        self.fronts.replace(front);
        if let (Some(now), Some(tls)) = (&self.tls, tls) {
            now.replace(tls);
        }
        self.schedules.replace(
            next.sweep.clone(),
            next.reconcile.schedule.clone(),
            next.retention.schedule.clone(),
        );
        // What Vault lets the daemon do for targets that are new; a claim that is faster asks by itself.
        tokio::spawn(async move { broker.refresh_blockers().await });
    }
}

/// What a broker goes by, of a configuration.
#[must_use]
pub fn settings(config: &Config) -> Settings {
    Settings {
        policy: config.policy.clone(),
        wrap_ttl: config.vault.wrap_ttl,
        alarm_after: config.alarm_after,
        revoke_unknown: config.reconcile.revoke_unknown,
        texts_for: config.retention.texts_for,
        signers: config.signers.clone(),
    }
}

/// What is trusted of clients' certificates, as the files have it now.
///
/// # Errors
///
/// If a file can't be used.
pub fn certificates(
    settings: Option<CertificateSettings>,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Arc<Certificates>>, TrustError> {
    settings.map(|settings| Certificates::load(settings, Arc::clone(clock)).map(Arc::new)).transpose()
}

/// The certificate and the key, as the files have them now.
///
/// # Errors
///
/// If they can't be used.
pub fn tls(tls: &Tls, clients: Option<Arc<Certificates>>) -> Result<Option<grpc::Tls>, TlsError> {
    match tls {
        Tls::Files { cert, key } => grpc::Tls::load(cert, key, clients).map(Some),
        Tls::PlaintextOnLoopback => Ok(None),
    }
}

impl Done {
    /// What the audit log says; nothing if the file is the same to the letter.
    fn told(&self, occasion: Occasion) -> Option<ConfigurationChange> {
        (self.digest != self.former_digest).then(|| ConfigurationChange {
            occasion,
            digest: self.digest.clone(),
            former_digest: Some(self.former_digest.clone()),
            added: first(&self.difference.added),
            removed: first(&self.difference.removed),
            changed: first(&self.difference.changed),
        })
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { digest, former_digest, difference, ended, check } = self;
        let mut text = String::new();
        let is = if *check { "would be in force; nothing was changed" } else { "is in force" };
        let _ = writeln!(text, "{digest} {is}");
        if digest == former_digest {
            text.push_str("the file is the same as before\n");
        }
        let lists = [
            ("added", &difference.added),
            ("removed", &difference.removed),
            ("changed", &difference.changed),
        ];
        for (what, keys) in lists.into_iter().filter(|(_, keys)| !keys.is_empty()) {
            let _ = writeln!(text, "{what}: {}", first(keys).join(", "));
        }
        if !ended.is_empty() {
            let is = if *check { "would be ending" } else { "ending" };
            let _ = writeln!(text, "{is}: {}", grants(ended));
        }
        text
    }
}

impl Refused {
    /// For people: what is wrong, and that nothing was changed.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Problems(problems) => format!("{problems}; nothing was changed\n"),
            Self::GrantsHeld(held) => {
                let mut text =
                    "refused, because it takes out targets of grants that aren't over:\n".to_owned();
                for grant in held {
                    let _ = writeln!(text, "  {}", line(grant));
                }
                text + "put the targets back, wait for these, or end them by it with --end-removed; nothing was changed\n"
            }
            other => format!("refused: {}; nothing was changed\n", telemetry::chain(other)),
        }
    }
}

/// The first of them, and how many more there are.
fn first(keys: &[String]) -> Vec<String> {
    let more = keys.len().saturating_sub(TOLD_MAX);
    let rest = (more > 0).then(|| format!("and {more} more"));
    keys.iter().take(TOLD_MAX).cloned().chain(rest).collect()
}

fn grants(grants: &[Grant]) -> String {
    grants.iter().map(line).collect::<Vec<_>>().join("; ")
}

fn line(grant: &Grant) -> String {
    let closes_at = grant.window.closes_at().format("%Y-%m-%dT%H:%M:%SZ");
    let Grant { id, state, holder, target, .. } = grant;
    format!("grants/{id} {}, {target}, {}, until {closes_at}", state.name(), holder.name)
}

fn tell(wish: Wish, done: &Result<Done, Refused>) {
    match done {
        Ok(_) | Err(_) if wish.check => {}
        Ok(Done { digest, difference, ended, .. }) => info!(
            "event.action" = "configuration-reloaded",
            "hallpass.configuration.digest" = digest,
            "hallpass.configuration.added" = first(&difference.added).join(", "),
            "hallpass.configuration.removed" = first(&difference.removed).join(", "),
            "hallpass.configuration.changed" = first(&difference.changed).join(", "),
            "another configuration is in force; {} grants are ending by it",
            ended.len()
        ),
        Err(Refused::Problems(problems)) => {
            for problem in problems.lines() {
                error!("event.action" = "configuration-problem", "error.message" = problem, "{problem}");
            }
            warn!("event.action" = "reload-refused", "the configuration has problems; nothing was changed");
        }
        Err(refused) => warn!(
            "event.action" = "reload-refused",
            "error.message" = telemetry::chain(refused),
            "the configuration can't take effect by a reload; nothing was changed"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_keys_the_first_are_told() {
        let keys = |count: usize| (0..count).map(|number| format!("k{number}")).collect::<Vec<_>>();
        assert_eq!(first(&keys(TOLD_MAX)), keys(TOLD_MAX));
        let told = first(&keys(TOLD_MAX + 2));
        assert_eq!((told.len(), told.last().map(String::as_str)), (TOLD_MAX + 1, Some("and 2 more")));
    }
}
