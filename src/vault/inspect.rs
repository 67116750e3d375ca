//! Reading how Vault is set up, for `hallpassd doctor`: settings only, never a credential, and nothing is changed.
//!
//! It logs in with the daemon's own `AppRole`, so that what it sees is what the daemon has to live with, and ends that
//! login. What is right and wrong is not decided here: every answer, a missing right included, is handed on as it is.
//! Once Vault has stopped answering it isn't asked again, so that the time limit is waited for only once.

mod answers;
mod forms;
mod places;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;

pub use self::answers::{
    Connection, DatabaseRole, Engine, Excess, Inspection, LedgerKey, Mount, OwnToken, Place, SecretId, Seen,
    TokenRole, Tuning,
};
use self::{
    answers::PolicyText,
    forms::{LookUpSecretId, ReadSettings},
};
use super::{
    MissingCapability, TransitKey, VaultError,
    capabilities::{Granted, grants, reads},
    endpoints::AskCapabilities,
    error::{Failure, Operation},
    lane::Lane,
};
use crate::access::handle::Accessor;

const LOG_IN: Operation = Operation::new("log in", "auth/<mount>/login", "update");
const LOG_OUT: Operation =
    Operation::new("end the login of this check", "auth/token/revoke-accessor", "update");
const ASK_TIME: Operation = Operation::new("ask for the time", "auth/token/lookup-self", "read");
const ASK: Operation = Operation::new("ask for the capabilities", "sys/capabilities-self", "update");

/// What ends more than one lease, or says that it ended what it didn't; with a credential path behind it.
const TOO_MUCH: [&str; 2] = ["sys/leases/revoke-force/", "sys/leases/revoke-prefix/"];

/// What to look at besides the daemon's own rights.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The credential paths.
    pub paths: Vec<String>,
    /// The policies of the grants' tokens.
    pub policies: Vec<String>,
    /// The key that signs the log, if it is in Vault.
    pub ledger_key: Option<TransitKey>,
}

/// Looks at everything, one call after the other: nobody waits for it but a person.
pub(super) async fn inspect(lane: &Lane, asked: &Asked) -> Result<Inspection, VaultError> {
    lane.login.session().await.map_err(|failure| LOG_IN.error(&failure, &[]))?;
    let mut look = Look { lane, silent: false };
    let own = look.own_token().await;
    let mut seen = Inspection {
        clock_ahead: look.clock_ahead().await,
        missing: look.missing(&asked.paths).await,
        excess: look.excess(&asked.paths).await,
        secret_id: look.secret_id(&own).await,
        token_role: look.settings(&format!("auth/token/roles/{}", lane.token_role)).await,
        token_tuning: look.settings("sys/mounts/auth/token/tune").await,
        mounts: look.settings("sys/mounts").await,
        tunings: BTreeMap::new(),
        places: BTreeMap::new(),
        policies: BTreeMap::new(),
        ledger_key: Seen::NotAsked,
        may_sign: Seen::NotAsked,
        logged_out: Ok(()),
        own,
    };
    look.places(&asked.paths, &mut seen).await;
    for name in &asked.policies {
        let policy: Seen<PolicyText> = look.settings(&format!("sys/policies/acl/{name}")).await;
        seen.policies.insert(name.clone(), policy.map(|found| found.policy));
    }
    if let Some(key) = &asked.ledger_key {
        seen.ledger_key = look.settings(&key.key_path()).await;
        seen.may_sign = look.may_sign(key).await;
    }
    seen.logged_out = look.log_out(&seen.own).await;
    Ok(seen)
}

/// The eye, which closes when Vault doesn't answer.
struct Look<'a> {
    lane: &'a Lane,
    silent: bool,
}

impl Look<'_> {
    /// Reads settings from a path.
    async fn settings<T: DeserializeOwned>(&mut self, path: &str) -> Seen<T> {
        if self.silent {
            return Seen::NotAsked;
        }
        let operation = Operation { name: "read settings", path: path.to_owned().into(), capability: "read" };
        match self.lane.ask(|| ReadSettings { path: path.to_owned() }).await {
            Ok(answer) => match answer.data.and_then(|data| serde_json::from_value(data).ok()) {
                Some(found) => Seen::There(found),
                None => Seen::Failed(operation.error(&Failure::Unreadable, &[])),
            },
            Err(failure) => self.unseen(&operation, &failure, &[]),
        }
    }

    /// What an answer without the settings says.
    fn unseen<T>(&mut self, operation: &Operation, failure: &Failure, hide: &[&str]) -> Seen<T> {
        self.silent |= matches!(failure, Failure::Unreached(_) | Failure::Cut(_) | Failure::Silent);
        let path = || operation.path.clone().into_owned();
        match failure {
            Failure::Said { status: 403, .. } => {
                Seen::Denied(MissingCapability { path: path(), capability: operation.capability })
            }
            Failure::Said { status: 404, .. } => Seen::Absent(path()),
            _ => Seen::Failed(operation.error(failure, hide)),
        }
    }

    /// An error, if asking would only mean to wait again.
    fn still_answers(&self, operation: &Operation) -> Result<(), VaultError> {
        let stopped = || operation.error(&Failure::Unsent("Vault stopped answering".into()), &[]);
        if self.silent { Err(stopped()) } else { Ok(()) }
    }

    async fn own_token(&mut self) -> Seen<OwnToken> {
        self.settings("auth/token/lookup-self").await
    }

    /// How far this machine's clock is ahead of Vault's, at least.
    async fn clock_ahead(&mut self) -> Result<TimeDelta, VaultError> {
        self.still_answers(&ASK_TIME)?;
        let before = self.lane.clock.now();
        let vaults = self.lane.time().await?;
        Ok(certainly_ahead(before, vaults, self.lane.clock.now()))
    }

    async fn missing(&mut self, paths: &[String]) -> Result<Vec<MissingCapability>, VaultError> {
        self.still_answers(&ASK)?;
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        self.lane.missing(&paths).await
    }

    /// The rights that the daemon has and shouldn't have.
    async fn excess(&mut self, paths: &[String]) -> Seen<Vec<Excess>> {
        if self.silent {
            return Seen::NotAsked;
        }
        let more = TOO_MUCH.iter().flat_map(|above| paths.iter().map(move |path| format!("{above}{path}")));
        let asked: Vec<String> = paths.iter().cloned().chain(more).collect();
        match self.lane.ask(|| AskCapabilities { paths: asked.clone() }).await {
            Ok(answer) => Seen::There(excess(&asked, &answer.data.unwrap_or_default())),
            Err(failure) => self.unseen(&ASK, &failure, &[]),
        }
    }

    /// Whether the daemon may sign by a key.
    async fn may_sign(&mut self, key: &TransitKey) -> Seen<bool> {
        if self.silent {
            return Seen::NotAsked;
        }
        let path = key.sign_path();
        match self.lane.ask(|| AskCapabilities { paths: vec![path.clone()] }).await {
            Ok(answer) => Seen::There(grants(&answer.data.unwrap_or_default(), &path, "update")),
            Err(failure) => self.unseen(&ASK, &failure, &[]),
        }
    }

    /// The secret id that the daemon logs in with, as Vault knows it.
    async fn secret_id(&mut self, own: &Seen<OwnToken>) -> Seen<SecretId> {
        let Seen::There(OwnToken { meta: Some(meta), .. }) = own else { return Seen::NotAsked };
        let Some(role) = meta.get("role_name").filter(|_| !self.silent) else { return Seen::NotAsked };
        let Ok(secret) = self.lane.login.secret_id().await else { return Seen::NotAsked };
        let (mount, role) = (self.lane.login.mount().to_owned(), role.clone());
        let path = format!("auth/{mount}/role/{role}/secret-id/lookup");
        let operation = Operation { name: "look the secret id up", path: path.into(), capability: "update" };
        let asked = self.lane.ask(|| LookUpSecretId {
            mount: mount.clone(),
            role: role.clone(),
            secret_id: secret.expose_secret().to_owned(),
        });
        match asked.await {
            Ok(answer) => answer.data.map_or(Seen::NotAsked, Seen::There),
            Err(failure) => self.unseen(&operation, &failure, &[secret.expose_secret()]),
        }
    }

    /// Ends this check's login, so that nothing of it is left.
    async fn log_out(&mut self, own: &Seen<OwnToken>) -> Result<(), VaultError> {
        match own {
            Seen::There(own) if !self.silent => {
                self.lane.revoke_accessor(&LOG_OUT, &Accessor::new(own.accessor.clone())).await
            }
            _ => Err(LOG_OUT.error(&Failure::Unsent("its accessor isn't known".into()), &[])),
        }
    }
}

/// Vault looked at its clock at some time during the call: what lies within tells nothing.
fn certainly_ahead(before: DateTime<Utc>, vaults: DateTime<Utc>, after: DateTime<Utc>) -> TimeDelta {
    match vaults {
        earlier if earlier < before => before - earlier,
        later if later > after => after - later,
        _ => TimeDelta::zero(),
    }
}

fn excess(asked: &[String], granted: &Granted) -> Vec<Excess> {
    let too_much = |path: &String| {
        let above = TOO_MUCH.iter().any(|above| path.starts_with(above));
        // Vault demands both for what is above.
        let both = grants(granted, path, "update") && grants(granted, path, "sudo");
        let (held, capability) = if above { (both, "sudo") } else { (reads(granted, path), "read") };
        held.then(|| Excess { path: path.clone(), capability })
    };
    asked.iter().filter_map(too_much).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_ahead_only_by_what_the_call_does_not_explain() {
        let at = |millis| DateTime::UNIX_EPOCH + TimeDelta::milliseconds(millis);
        let ahead = |vaults| certainly_ahead(at(100), at(vaults), at(200)).num_milliseconds();
        assert_eq!((ahead(40), ahead(100), ahead(200), ahead(260)), (60, 0, 0, -60));
    }

    #[test]
    fn reading_credentials_and_ending_many_leases_are_too_much() {
        let held = |path: &str, of: &[&str]| (path.to_owned(), of.iter().map(|c| (*c).to_owned()).collect());
        let (path, prefix) = ("db/creds/a", "sys/leases/revoke-prefix/db/creds/a");
        let asked = [path.to_owned(), prefix.to_owned()];
        let found = excess(&asked, &[held(path, &["read"]), held(prefix, &["update", "sudo"])].into());
        assert_eq!(found.iter().map(|excess| excess.path.as_str()).collect::<Vec<_>>(), [path, prefix]);
        let granted = [held(path, &["list"]), held(prefix, &["update"])].into();
        assert_eq!(excess(&asked, &granted), []);
    }
}
