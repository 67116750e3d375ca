//! Making a credential without seeing it: the grant's token, the wrapped read, and setting the end.
//!
//! Nothing here is tried twice. What Vault answers is checked before it is used, and whatever was made but can't be
//! vouched for is revoked at once, as well as that goes; the caller, who has the handles on record, does so for good.

use std::{collections::BTreeSet, collections::HashMap, error::Error, sync::Arc, time::Duration};

use secrecy::ExposeSecret;
use serde::de::IgnoredAny;
use vaultrs::api::token::requests::{CreateRoleTokenRequest, RenewTokenAccessorRequest};

use super::{
    GrantToken, Outcome, VaultError, Wrapped,
    client::Carried,
    end::{REVOKE_TOKEN, REVOKE_WRAPPING},
    endpoints::{Answer, Auth, ReadPath, RenewLease, WrapInfo},
    error::{Failure, Operation},
    lane::Lane,
    leases::only_one,
};
use crate::{
    access::{
        handle::{Accessor, LeaseId},
        id::GrantId,
    },
    failpoint::{Point, reach},
};

/// How much longer than asked an expiry may come back, in seconds: Vault rounds.
const ROUNDING: u64 = 1;

/// How long cleaning up after a failed read may hold up its error.
const DISCARD_MAX: Duration = Duration::from_secs(5);

const RENEW_TOKEN: Operation = Operation::new("set the token's end", "auth/token/renew-accessor", "update");
const RENEW_LEASE: Operation = Operation::new("set the lease's end", "sys/leases/renew", "update");

fn making(token_role: &str) -> Operation {
    let path = format!("auth/token/create/{token_role}").into();
    Operation { name: "make the grant's token", path, capability: "update" }
}

/// The grant's token reads, not the daemon's: an error names the grant's policy.
fn reading(path: &str) -> Operation {
    let capability = "read (in the policy of the grant's token, with a min_wrapping_ttl)";
    Operation { name: "read the credential", path: path.to_owned().into(), capability }
}

impl Lane {
    /// Makes the grant's token by the token role, and takes it only if it is what was asked for. What isn't is revoked
    /// through `endings`.
    pub(super) async fn mint(
        &self,
        grant: GrantId,
        policy: &str,
        ttl: Duration,
        endings: &Self,
    ) -> Result<GrantToken, VaultError> {
        let making = making(&self.token_role);
        let asked = self.ask_once(creation(&self.token_role, grant, policy, ttl)).await;
        let answer = asked.map_err(|f| making.error(&f, &[]))?;
        let auth = answer.auth.ok_or_else(|| making.error(&Failure::Unreadable, &[]))?;
        let flaw = flaw(&auth, policy, ttl);
        let token = GrantToken { token: auth.client_token.into(), accessor: Accessor::new(auth.accessor) };
        let Some(flaw) = flaw else { return Ok(token) };
        // Revoked, it is as if it had never been made; otherwise it lives until its first TTL is over.
        let revoked = endings.revoke_accessor(&REVOKE_TOKEN, &token.accessor).await;
        let outcome = if revoked.is_ok() { Outcome::Refused } else { Outcome::Unknown };
        Err(making.refuse(outcome, format!("{flaw}; correct the token role {}", self.token_role)))
    }

    /// Reads, wrapped, and finds the lease. On an error what may have been made is revoked as well as it goes,
    /// through `endings`.
    pub(super) async fn read_wrapped(
        self: &Arc<Self>,
        token: GrantToken,
        path: &str,
        wrap_ttl: Duration,
        endings: &Self,
    ) -> Result<Wrapped, VaultError> {
        let mut wrapping = None;
        let result = self.read_and_find(&token, path, wrap_ttl, &mut wrapping).await;
        if result.is_err() {
            tokio::select! {
                () = endings.discard(&token.accessor, wrapping.as_ref()) => {}
                () = self.clock.sleep(DISCARD_MAX) => {}
            }
        }
        result
    }

    async fn read_and_find(
        self: &Arc<Self>,
        token: &GrantToken,
        path: &str,
        wrap_ttl: Duration,
        wrapping: &mut Option<Accessor>,
    ) -> Result<Wrapped, VaultError> {
        check_read(path, wrap_ttl).map_err(|why| reading(path).refuse(Outcome::Refused, why))?;
        // Nothing is read yet, so whatever happened to the list, no lease was made.
        let before = self.lease_ids(path).await.map_err(|e| VaultError { outcome: Outcome::Refused, ..e })?;
        let info = self.read(token, path, wrap_ttl, &before, wrapping).await?;
        reach(Point::CredentialRead);
        let lease = self.new_lease(path, &before, &info).await;
        let lease = lease.map_err(|e| VaultError { outcome: Outcome::Unknown, ..e })?;
        Ok(Wrapped {
            token: info.token.into(),
            accessor: Accessor::new(info.accessor),
            creation_path: info.creation_path,
            lease,
        })
    }

    async fn read(
        &self,
        token: &GrantToken,
        path: &str,
        wrap_ttl: Duration,
        before: &BTreeSet<String>,
        wrapping: &mut Option<Accessor>,
    ) -> Result<WrapInfo, VaultError> {
        let carried = Carried { token: Some(&token.token), wrap: Some(wrap_ttl) };
        let answer = match self.client.send(carried, ReadPath { path: path.to_owned() }).await {
            Ok(answer) => answer,
            Err(failure) => return Err(self.unread(token, path, before, &failure).await),
        };
        if let Some(info) = &answer.wrap_info {
            *wrapping = Some(Accessor::new(info.accessor.clone()));
        }
        let unwrapped_lease = Some(answer.lease_id.clone()).filter(|id| !id.is_empty());
        match wrapped(answer, path, self.namespace.as_deref()) {
            Ok(info) => Ok(info),
            Err(why) => {
                if let Some(lease) = unwrapped_lease {
                    self.revoke_lease(&LeaseId::new(lease)).await.ok();
                }
                Err(reading(path).refuse(Outcome::Unknown, why))
            }
        }
    }

    /// What a failed read did. A refusal is certain if nothing was sent or Vault turned it away at the door; after any
    /// other the list must show nothing new, because an answer can fail when the lease is made already.
    async fn unread(
        &self,
        token: &GrantToken,
        path: &str,
        before: &BTreeSet<String>,
        failure: &Failure,
    ) -> VaultError {
        let hide = [token.token.expose_secret(), token.accessor.expose()];
        let error = reading(path).error(failure, &hide);
        let at_the_door = [403, 404, 429, 503].into_iter().any(|status| failure.is(status));
        let unsent = !matches!(failure, Failure::Said { .. });
        if error.outcome == Outcome::Unknown || unsent || at_the_door {
            return error;
        }
        match self.lease_ids(path).await {
            Ok(after) if after.is_subset(before) => error,
            _ => VaultError { outcome: Outcome::Unknown, ..error },
        }
    }

    /// The lease that wasn't there before. Looking it up also guards against a wrong id, for which "gone" would be said
    /// for ever after.
    async fn new_lease(
        self: &Arc<Self>,
        path: &str,
        before: &BTreeSet<String>,
        info: &WrapInfo,
    ) -> Result<LeaseId, VaultError> {
        let after = self.lease_ids(path).await?;
        let seen = self.look_up_all(after.difference(before).cloned()).await?;
        only_one(seen, info.creation_time).map_err(|why| reading(path).refuse(Outcome::Unknown, why))
    }

    /// Revokes what a failed read may have made; the lease goes with its token, sooner or later.
    async fn discard(&self, token: &Accessor, wrapping: Option<&Accessor>) {
        if let Some(wrapping) = wrapping
            && let Err(error) = self.revoke_accessor(&REVOKE_WRAPPING, wrapping).await
        {
            let error: &dyn Error = &error;
            tracing::warn!(
                event.action = "issue-not-undone",
                error,
                "a credential of a failed read is still wrapped"
            );
        }
        if let Err(error) = self.revoke_accessor(&REVOKE_TOKEN, token).await {
            let error: &dyn Error = &error;
            tracing::warn!(
                event.action = "issue-not-undone",
                error,
                "the token of a failed read is still alive"
            );
        }
    }

    /// Sets the end of token and lease, both at once, and checks what was set.
    pub(super) async fn shorten(
        &self,
        token: &Accessor,
        lease: &LeaseId,
        left: Duration,
    ) -> Result<(), VaultError> {
        let seconds = left.as_secs();
        if seconds == 0 {
            // Vault takes an increment of 0 for "as long as usual".
            return Err(RENEW_TOKEN.refuse(Outcome::Refused, "less than a second is left"));
        }
        let (token, lease) = tokio::join!(self.renew_token(token, seconds), self.renew_lease(lease, seconds));
        match (token, lease) {
            (Ok(()), Ok(())) => Ok(()),
            (Err(error), Ok(())) | (Ok(()), Err(error)) => {
                Err(VaultError { outcome: Outcome::Unknown, ..error })
            }
            (Err(token), Err(lease)) if token.outcome == Outcome::Refused => Err(lease),
            (Err(token), Err(_)) => Err(token),
        }
    }

    async fn renew_token(&self, token: &Accessor, seconds: u64) -> Result<(), VaultError> {
        let asked = self.ask(|| RenewTokenAccessorRequest {
            accessor: token.expose().to_owned(),
            increment: Some(format!("{seconds}s")),
        });
        let answer = asked.await.map_err(|f| RENEW_TOKEN.error(&f, &[token.expose()]))?;
        reach(Point::TokenShortened);
        within(&RENEW_TOKEN, answer.auth.map(|auth| auth.lease_duration), seconds)
    }

    async fn renew_lease(&self, lease: &LeaseId, seconds: u64) -> Result<(), VaultError> {
        let asked = self.ask(|| RenewLease { lease_id: lease.expose().to_owned(), increment: seconds });
        let answer = asked.await.map_err(|f| RENEW_LEASE.error(&f, &[lease.expose()]))?;
        let named = answer.lease_id == lease.expose();
        within(&RENEW_LEASE, named.then_some(answer.lease_duration), seconds)
    }
}

fn creation(token_role: &str, grant: GrantId, policy: &str, ttl: Duration) -> CreateRoleTokenRequest {
    CreateRoleTokenRequest {
        role_name: token_role.to_owned(),
        display_name: Some(grant.to_string()),
        meta: Some(HashMap::from([("grant".to_owned(), grant.to_string())])),
        policies: Some(vec![policy.to_owned()]),
        ttl: Some(format!("{}s", ttl.as_secs())),
        no_default_policy: Some(true),
        renewable: Some(true),
        token_type: Some("service".to_owned()),
        ..CreateRoleTokenRequest::default()
    }
}

/// What is wrong with a token that was made, by the first thing that is.
fn flaw(auth: &Auth, policy: &str, ttl: Duration) -> Option<&'static str> {
    // Vault turns policy names into lower case.
    let only_policy = matches!(auth.policies.as_slice(), [one] if one.eq_ignore_ascii_case(policy));
    [
        (!auth.client_token.is_empty(), "Vault made no token"),
        (!auth.accessor.is_empty(), "the token has no accessor, so that it can't be revoked"),
        (auth.token_type == "service", "the token is no service token"),
        (auth.orphan, "the token is no orphan, so that it would end with the daemon's login"),
        (auth.renewable, "the token can't be renewed, so that its end can't be set"),
        (only_policy, "the token has other policies than the one that was asked for"),
        (
            (1..=ttl.as_secs() + ROUNDING).contains(&auth.lease_duration),
            "the token lasts longer than was asked for",
        ),
    ]
    .into_iter()
    .find_map(|(holds, flaw)| (!holds).then_some(flaw))
}

/// The path goes into a URL and a policy; what is no plain path could be read as another one there.
fn check_read(path: &str, wrap_ttl: Duration) -> Result<(), &'static str> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-_.@:+=".contains(&c);
    let segment = |s: &str| !matches!(s, "" | "." | "..") && s.bytes().all(plain);
    if !path.split('/').all(segment) {
        return Err("the credential path is no plain Vault path; correct the target");
    }
    // A wrap TTL of 0 asks for no wrapping.
    if wrap_ttl.as_secs() == 0 { Err("the wrapping TTL is below a second") } else { Ok(()) }
}

/// Takes a wrapped answer only. What else came is dropped here, unseen.
fn wrapped(
    answer: Answer<IgnoredAny>,
    path: &str,
    namespace: Option<&str>,
) -> Result<WrapInfo, &'static str> {
    if answer.data.is_some() || answer.auth.is_some() || !answer.lease_id.is_empty() {
        return Err(
            "the credential came unwrapped and was dropped; set min_wrapping_ttl in the grant's policy",
        );
    }
    let info = answer.wrap_info.ok_or("neither a credential nor a wrapping came back")?;
    let local =
        namespace.and_then(|ns| info.creation_path.strip_prefix(ns.trim_matches('/'))?.strip_prefix('/'));
    if info.creation_path != path && local != Some(path) {
        return Err("the wrapping is of another path");
    }
    if info.token.is_empty() || info.accessor.is_empty() {
        return Err("the wrapping has no token or no accessor");
    }
    Ok(info)
}

/// Shorter than asked is fine, since a max TTL may cap it; longer is not.
fn within(operation: &Operation, seconds: Option<u64>, asked: u64) -> Result<(), VaultError> {
    match seconds {
        Some(seconds) if seconds <= asked + ROUNDING => Ok(()),
        Some(_) => Err(operation.refuse(
            Outcome::Unknown,
            "Vault set a later end than was asked for; take any period from the role",
        )),
        None => Err(operation.error(&Failure::Unreadable, &[])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn auth(change: &serde_json::Value) -> Auth {
        let mut auth = json!({
            "client_token": "s.t", "accessor": "a", "policies": ["cred-x"], "lease_duration": 60,
            "renewable": true, "orphan": true, "token_type": "service",
        });
        for (key, value) in change.as_object().unwrap() {
            auth[key] = value.clone();
        }
        serde_json::from_value(auth).unwrap()
    }

    fn flaw_of(change: &serde_json::Value) -> Option<&'static str> {
        flaw(&auth(change), "cred-X", Duration::from_mins(1))
    }

    #[test]
    fn a_token_as_asked_has_no_flaw() {
        assert_eq!(flaw_of(&json!({})), None);
    }

    #[test]
    fn each_flaw_is_found() {
        for change in [
            json!({"client_token": ""}),
            json!({"accessor": ""}),
            json!({"token_type": "batch"}),
            json!({"orphan": false}),
            json!({"renewable": false}),
            json!({"policies": ["cred-x", "default"]}),
            json!({"policies": []}),
            json!({"policies": ["cred-y"]}),
            json!({"lease_duration": 3600}),
            json!({"lease_duration": 0}),
        ] {
            assert!(flaw_of(&change).is_some(), "{change}");
        }
    }

    fn answer(of: serde_json::Value) -> Answer<IgnoredAny> {
        serde_json::from_value(of).unwrap()
    }

    fn wrap_info(path: &str) -> serde_json::Value {
        json!({"token": "s.w", "accessor": "a", "ttl": 60, "creation_time": "2026-11-23T15:21:33.2Z", "creation_path": path})
    }

    #[test]
    fn only_a_wrapped_answer_is_taken() {
        let take = |of| wrapped(answer(of), "db/creds/x", Some("team/")).map(|info| info.token);
        assert!(take(json!({"data": null, "wrap_info": wrap_info("db/creds/x")})).is_ok());
        assert!(take(json!({"data": null, "wrap_info": wrap_info("team/db/creds/x")})).is_ok());
        assert!(take(json!({"data": null, "wrap_info": wrap_info("db/creds/y")})).is_err());
        assert!(take(json!({"data": null, "wrap_info": wrap_info("teamdb/creds/x")})).is_err());
        assert!(take(json!({"data": {"password": "p"}, "wrap_info": null})).is_err());
        assert!(
            take(json!({"data": null, "lease_id": "db/creds/x/1", "wrap_info": wrap_info("db/creds/x")}))
                .is_err()
        );
        assert!(take(json!({"data": null, "wrap_info": null})).is_err());
    }

    #[test]
    fn only_plain_paths_are_read() {
        let read = |path| check_read(path, Duration::from_secs(1)).is_ok();
        assert!(read("database/creds/hp-orders-ro"));
        for path in ["", "/", "a/", "/a", "a//b", "a/../b", "a/./b", "a?b", "a#b", "a b", "a%2fb", "ä"] {
            assert!(!read(path), "{path}");
        }
        assert!(check_read("a/b", Duration::from_millis(999)).is_err());
    }

    #[test]
    fn a_later_end_than_asked_is_an_error() {
        assert!(within(&RENEW_LEASE, Some(60), 60).is_ok());
        assert!(within(&RENEW_LEASE, Some(10), 60).is_ok());
        assert!(within(&RENEW_LEASE, Some(62), 60).is_err());
        assert!(within(&RENEW_LEASE, None, 60).is_err());
    }
}
