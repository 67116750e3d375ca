//! What goes wrong between the daemon and Vault, and that no error tells a handle.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use hallpass::{
    access::handle::{Accessor, LeaseId},
    vault::{GrantToken, Issuer, Outcome, VaultError},
};
use secrecy::ExposeSecret;

use super::{
    canned::{ALIVE, Canned, LOGIN, Reply, issuer},
    world::{MINUTE, World, leaked, new_grant},
};
use crate::support::servers::{Bao, Postgres, openbao, postgres};

fn assert_hides(error: &VaultError, handle: &str) {
    let told = format!("{error} {error:?}");
    let random = handle.rsplit('/').next().unwrap();
    assert!(!told.contains(handle) && !told.contains(random), "{told}");
}

#[tokio::test]
async fn errors_hold_no_handles_when_the_database_is_down() {
    let database = leaked(Postgres::start_private());
    let world = World::new("hidden", "", openbao(), database, super::clock()).await;
    let issued = world.issue().await;
    database.stop();
    let lease = issued.wrapped.lease.expose();
    assert_hides(&world.issuer.revoke_lease(&issued.wrapped.lease).await.unwrap_err(), lease);
    let shorten = world.issuer.shorten(&issued.token, &issued.wrapped.lease, MINUTE).await.unwrap_err();
    assert_hides(&shorten, lease);
    assert_hides(&shorten, issued.token.expose());
    assert_eq!(shorten.outcome, Outcome::Unknown, "the token's end may have been set");
}

#[tokio::test]
async fn a_sealed_vault_says_so_and_did_nothing() {
    let bao = leaked(Bao::start_private().await);
    let world = World::new("sealed", "", bao, postgres(), super::clock()).await;
    let issued = world.issue().await;
    bao.stop();
    bao.start_sealed();
    let error = world.issuer.revoke_lease(&issued.wrapped.lease).await.unwrap_err();
    assert!(error.reason.contains("sealed"), "{error}");
    assert_eq!(error.outcome, Outcome::Refused);
    assert!(world.issuer.lease_gone(&issued.wrapped.lease).await.is_err(), "no proof of anything");
    bao.unseal().await;
    assert!(!world.issuer.lease_gone(&issued.wrapped.lease).await.unwrap(), "leases survive");
}

#[tokio::test]
async fn a_vault_that_is_not_there_did_nothing() {
    let (issuer, _dir) = issuer("http://127.0.0.1:1", MINUTE);
    let error = issuer.mint(new_grant(), "cred-x", MINUTE).await.unwrap_err();
    assert!(error.reason.contains("cannot connect"), "{error}");
    assert_eq!(error.outcome, Outcome::Refused);
}

#[tokio::test]
async fn a_vault_that_does_not_answer_may_have_done_it() {
    let vault = Canned::start(&[LOGIN, ALIVE]).await;
    let (issuer, _dir) = issuer(&vault.address, Duration::from_millis(500));
    let error = issuer.mint(new_grant(), "cred-x", MINUTE).await.unwrap_err();
    assert!(error.reason.contains("time limit"), "{error}");
    assert_eq!(error.outcome, Outcome::Unknown);
    let creations = vault.requests().iter().filter(|r| r.starts_with("POST /v1/auth/token/create")).count();
    assert_eq!(creations, 1, "never tried twice");
}

#[tokio::test]
async fn nothing_is_made_by_a_vault_that_is_silent_from_the_start() {
    let vault = Canned::start(&[LOGIN]).await;
    let (issuer, _dir) = issuer(&vault.address, Duration::from_millis(500));
    let error = issuer.mint(new_grant(), "cred-x", MINUTE).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::Refused);
    assert!(!vault.got("POST /v1/auth/token/create"));
}

#[tokio::test]
async fn a_proxys_words_prove_nothing() {
    const GONE: Reply = ("POST", "sys/leases/lookup", 400, "", "<html>invalid lease</html>");
    const BAD_GATEWAY: Reply = ("POST", "sys/leases/revoke", 502, "", "<html>bad gateway</html>");
    let vault = Canned::start(&[LOGIN, GONE, BAD_GATEWAY]).await;
    let (issuer, _dir) = issuer(&vault.address, MINUTE);
    let lease = LeaseId::new("db/creds/x/abc");
    assert_eq!(issuer.lease_gone(&lease).await.unwrap_err().outcome, Outcome::Unknown);
    assert_eq!(issuer.revoke_lease(&lease).await.unwrap_err().outcome, Outcome::Unknown);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Canned::start(&[]).await;
    let location: &'static str =
        Box::leak(format!("Location: {}/v1/x\r\n", elsewhere.address).into_boxed_str());
    let replies: &'static [Reply] =
        Box::leak(Box::new([LOGIN, ("POST", "sys/leases/lookup", 307, location, "")]));
    let vault = Canned::start(replies).await;
    let (issuer, _dir) = issuer(&vault.address, MINUTE);
    let error = issuer.lease_gone(&LeaseId::new("db/creds/x/abc")).await.unwrap_err();
    assert!(error.reason.contains("redirect"), "{error}");
    assert_eq!(elsewhere.requests(), [""; 0], "no token went there");
}

#[tokio::test]
async fn an_unwrapped_answer_is_dropped_and_revoked() {
    const NO_LEASES: Reply = ("LIST", "sys/leases/lookup/db/creds/x/", 404, "", r#"{"errors":[]}"#);
    const CREDENTIAL: Reply = (
        "GET",
        "db/creds/x",
        200,
        "",
        r#"{"lease_id":"db/creds/x/abc","lease_duration":60,"data":{"password":"hunter2"}}"#,
    );
    const REVOKE_LEASE: Reply = ("POST", "sys/leases/revoke", 204, "", "");
    const REVOKE_TOKEN: Reply = ("POST", "auth/token/revoke-accessor", 204, "", "");
    let vault = Canned::start(&[LOGIN, NO_LEASES, CREDENTIAL, REVOKE_LEASE, REVOKE_TOKEN]).await;
    let (issuer, _dir) = issuer(&vault.address, MINUTE);
    let token = GrantToken { token: "s.grant".into(), accessor: Accessor::new("grant-accessor") };
    let error = issuer.read_wrapped(token, "db/creds/x", MINUTE).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::Unknown);
    assert!(error.reason.contains("min_wrapping_ttl"), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"));
    assert!(vault.got("POST /v1/sys/leases/revoke "));
    assert!(vault.got("POST /v1/auth/token/revoke-accessor "));
}

#[tokio::test]
async fn only_the_grants_token_goes_with_the_read_and_it_asks_for_wrapping() {
    const NO_LEASES: Reply = ("LIST", "sys/leases/lookup/db/creds/x/", 404, "", r#"{"errors":[]}"#);
    const DENIED: Reply = ("GET", "db/creds/x", 403, "", r#"{"errors":["permission denied"]}"#);
    let vault =
        Canned::start(&[LOGIN, NO_LEASES, DENIED, ("POST", "auth/token/revoke-accessor", 204, "", "")]).await;
    let (issuer, _dir) = issuer(&vault.address, MINUTE);
    let token = GrantToken { token: "s.grant".into(), accessor: Accessor::new("grant-accessor") };
    issuer.read_wrapped(token, "db/creds/x", MINUTE).await.unwrap_err();
    let reads: Vec<_> =
        vault.requests().into_iter().filter(|r| r.starts_with("GET ")).map(|r| r.to_lowercase()).collect();
    assert_eq!(reads.len(), 1, "never tried twice");
    assert!(reads[0].contains("x-vault-token: s.grant\r\n"), "{}", reads[0]);
    assert!(reads[0].contains("x-vault-wrap-ttl: 60s\r\n"), "{}", reads[0]);
    assert!(!vault.requests()[0].to_lowercase().contains("x-vault-token"), "the login goes without a token");
}

#[tokio::test]
async fn debug_shows_no_secret() {
    let world = super::world::world("debug").await;
    let issued = world.issue().await;
    let told = format!("{:?} {:?}", world.issuer, issued.wrapped);
    for secret in ["s.", issued.wrapped.lease.expose(), issued.wrapped.accessor.expose()] {
        assert!(!told.contains(secret), "{told}");
    }
}

/// Whatever is logged, at any level and by any library.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// I6.
#[tokio::test]
async fn no_log_of_any_level_holds_a_token_or_a_handle() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
    let subscriber = subscriber.with_writer(move || writer.clone()).finish();
    // With one subscriber only, whether a place logs is decided by the thread that comes there first, which may be
    // another test's; with two, both are asked.
    let _second = tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(io::sink).finish());
    let _guard = tracing::subscriber::set_default(subscriber);
    let database = leaked(Postgres::start_private());
    let world = World::new("logged", "", openbao(), database, super::clock()).await;
    let secret_id = world.rotate_secret_id().await;
    let (_, token) = world.mint().await;
    let (minted, accessor) = (token.token.expose_secret().to_owned(), token.accessor.clone());
    let wrapped = world.issuer.read_wrapped(token, &world.path, MINUTE).await.unwrap();
    world.issuer.shorten(&accessor, &wrapped.lease, MINUTE).await.unwrap();
    database.stop();
    world.issuer.revoke_lease(&wrapped.lease).await.unwrap_err();
    world.issuer.revoke_wrapping(&wrapped.accessor).await.unwrap();
    world.issuer.revoke_token(&accessor).await.unwrap();
    let told = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(told.contains("logged in to Vault") && told.contains("sys/leases/revoke"), "it is logged at all");
    let wrapping = wrapped.token.expose_secret();
    let handles = [wrapped.lease.expose(), wrapped.accessor.expose(), accessor.expose()];
    for secret in handles.into_iter().chain([minted.as_str(), wrapping, secret_id.as_str()]) {
        let random = secret.rsplit('/').next().unwrap();
        assert!(!told.contains(random), "{}", told.lines().find(|line| line.contains(random)).unwrap());
    }
}
