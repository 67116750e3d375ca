//! Looking without changing: whether a wrapped credential was opened, what Vault gave up on, what time it has.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use hallpass::{
    access::handle::Accessor,
    clock::{Clock, ManualClock, SystemClock},
    vault::{Issuer, Outcome, SimulatedIssuer},
};
use serde_json::json;

use super::{
    canned::{ALIVE, Canned, LOGIN, Reply, issuer},
    world::{MINUTE, World, new_grant, world},
};
use crate::support::servers::eventually;

/// Vault answers the unwrapping before it has put the token away, and while it does, it may refuse to look it up, as if a right
/// were missing. That is no answer, and soon there is one.
async fn is_opened(world: &World, wrapping: &Accessor) {
    eventually("it counts as opened", async || {
        matches!(world.issuer.wrapping_unopened(wrapping).await, Ok(false))
    })
    .await;
}

#[tokio::test]
async fn a_wrapped_credential_is_unopened_until_its_holder_opens_it() {
    let world = world("unopened").await;
    let issued = world.issue().await;
    let wrapping = &issued.wrapped.accessor;
    for _ in 0..2 {
        assert!(world.issuer.wrapping_unopened(wrapping).await.unwrap(), "looking opens nothing");
    }
    assert!(world.unwrap(&issued.wrapped.token).await.is_some());
    is_opened(&world, wrapping).await;
}

#[tokio::test]
async fn a_wrapped_credential_that_expired_or_was_destroyed_looks_opened() {
    let world = world("unwrapped-late").await;
    let (_, token) = world.mint().await;
    let wrapped = world.issuer.read_wrapped(token, &world.path, Duration::from_secs(1)).await.unwrap();
    is_opened(&world, &wrapped.accessor).await;
    assert!(world.unwrap(&wrapped.token).await.is_none());
    let destroyed = world.issue().await.wrapped.accessor;
    world.issuer.revoke_wrapping(&destroyed).await.unwrap();
    assert!(!world.issuer.wrapping_unopened(&destroyed).await.unwrap());
    assert!(!world.issuer.wrapping_unopened(&Accessor::new("never-was")).await.unwrap());
}

/// A missing right must not pass for an alarm.
#[tokio::test]
async fn being_denied_to_look_is_no_sign_that_somebody_opened_it() {
    let world = world("unlooked").await;
    let issued = world.issue().await;
    let login_only = "path \"auth/token/lookup-self\" { capabilities = [\"read\"] }";
    world.write_policy(&world.daemon_policy(), login_only).await;
    let error = world.issuer.wrapping_unopened(&issued.wrapped.accessor).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::Refused);
    assert!(error.reason.contains("grant update on auth/token/lookup-accessor"), "{error}");
}

#[tokio::test]
async fn a_token_that_is_being_used_up_counts_as_opened() {
    const USED_UP: Reply = ("POST", "auth/token/lookup-accessor", 403, "", r#"{"errors":["bad token"]}"#);
    let vault = Canned::start(&[LOGIN, ALIVE, USED_UP]).await;
    let (issuer, _dir) = issuer(&vault.address, MINUTE);
    assert!(!issuer.wrapping_unopened(&Accessor::new("abc")).await.unwrap());
}

#[tokio::test]
async fn a_vault_that_is_well_gave_up_on_nothing() {
    let world = world("count").await;
    world.issue().await;
    assert_eq!(world.issuer.gave_up().await.unwrap(), [].into());
}

/// The form of OpenBao 2.7.2 with such leases. The real one takes some ten minutes to give up.
#[tokio::test]
async fn what_vault_gave_up_on_is_counted_by_mount() {
    const COUNT: Reply = (
        "GET",
        "sys/leases/count?type=irrevocable",
        200,
        "",
        r#"{"data":{"counts":{"database_909d8cee":2,"pki_00000000":1},"lease_count":3}}"#,
    );
    const MOUNTS: Reply = (
        "GET",
        "sys/internal/ui/mounts",
        200,
        "",
        r#"{"data":{"auth":{},"secret":{"database/":{"accessor":"database_909d8cee","type":"database"}}}}"#,
    );
    const DENIED: Reply = ("GET", "sys/internal/ui/mounts", 502, "", "<html>");
    let vault = Canned::start(&[LOGIN, COUNT, MOUNTS]).await;
    let (daemon, _dir) = issuer(&vault.address, MINUTE);
    let by_path = [("database/".to_owned(), 2), ("pki_00000000".to_owned(), 1)];
    assert_eq!(daemon.gave_up().await.unwrap(), by_path.into());
    let vault = Canned::start(&[LOGIN, COUNT, DENIED]).await;
    let (daemon, _dir) = issuer(&vault.address, MINUTE);
    let by_accessor = [("database_909d8cee".to_owned(), 2), ("pki_00000000".to_owned(), 1)];
    assert_eq!(daemon.gave_up().await.unwrap(), by_accessor.into());
}

#[tokio::test]
async fn a_lease_that_vault_gave_up_on_is_seen_in_its_lookup() {
    const LIST: Reply = ("LIST", "sys/leases/lookup/db/creds/x/", 200, "", r#"{"data":{"keys":["abc"]}}"#);
    const GIVEN_UP: Reply = (
        "POST",
        "sys/leases/lookup",
        200,
        "",
        r#"{"data":{"issue_time":"2026-11-24T10:44:01.164183199Z","revoke_error":"connection refused","ttl":-9}}"#,
    );
    let vault = Canned::start(&[LOGIN, LIST, GIVEN_UP]).await;
    let (daemon, _dir) = issuer(&vault.address, MINUTE);
    let [lease] = &daemon.leases("db/creds/x").await.unwrap()[..] else { panic!("one lease") };
    assert!(lease.given_up);
    let world = world("given-up").await;
    world.issue().await;
    let [lease] = &world.issuer.leases(&world.path).await.unwrap()[..] else { panic!("one lease") };
    assert!(!lease.given_up);
}

/// Where the policy shows a mount, its path stands for its accessor.
#[tokio::test]
async fn the_mounts_that_the_daemon_may_see_have_the_form_that_is_read() {
    let world = world("mounts").await;
    let login = json!({ "role_id": world.settings.role_id, "secret_id": world.rotate_secret_id().await });
    let login = world.write("auth/mounts-approle/login", login).await;
    let token = login["auth"]["client_token"].as_str().unwrap();
    let mounts = async || {
        let get = reqwest::Method::GET;
        world.bao.call(token, get, "sys/internal/ui/mounts", None).await.1["data"]["secret"].clone()
    };
    assert!(mounts().await["mounts-db/"].is_null());
    let roles = "path \"mounts-db/roles/hp-*\" { capabilities = [\"read\"] }";
    let policy = format!("{}\n{roles}", world.own(&super::world::deploy("hallpassd.hcl")));
    world.write_policy(&world.daemon_policy(), &policy).await;
    let accessor = world.bao.read("sys/mounts/mounts-db").await["data"]["accessor"].clone();
    assert!(accessor.is_string());
    assert_eq!(mounts().await["mounts-db/"]["accessor"], accessor);
}

/// With the daemon's own policy, and between two looks at the clock that Vault shares with this test.
#[tokio::test]
async fn vaults_time_is_told_to_a_fraction_of_a_second() {
    let world = world("time").await;
    let mut fractions = Vec::new();
    for _ in 0..3 {
        let before = SystemClock.now();
        let told = world.issuer.time().await.unwrap();
        // The clock's instants are rounded down to milliseconds.
        let after = SystemClock.now() + TimeDelta::milliseconds(1);
        assert!(before <= told && told <= after, "{before} {told} {after}");
        fractions.push(told.timestamp_subsec_nanos());
    }
    assert!(fractions.iter().any(|nanos| nanos % 1_000_000 != 0), "{fractions:?}");
}

#[tokio::test]
async fn asking_for_the_time_leaves_nothing_behind() {
    let world = world("time-ends").await;
    world.issuer.time().await.unwrap();
    let left = async |world: &World| {
        let listed = world.bao.list("auth/token/accessors/").await;
        let mut left = 0;
        for accessor in listed["data"]["keys"].as_array().unwrap() {
            let seen = world.token(accessor.as_str().unwrap()).await;
            left += usize::from(seen.is_some_and(|token| {
                token["path"] == "auth/token/lookup-self" && token["creation_ttl"] == 1
            }));
        }
        left
    };
    eventually("the wrapping has died by itself", async || left(&world).await == 0).await;
}

#[tokio::test]
async fn the_simulated_vault_answers_alike() {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let vault = SimulatedIssuer::new(clock.clone());
    let token = vault.mint(new_grant(), "p", MINUTE).await.unwrap();
    let wrapped = vault.read_wrapped(token, "database/creds/x", MINUTE).await.unwrap();
    assert!(vault.wrapping_unopened(&wrapped.accessor).await.unwrap());
    assert!(vault.unwrap(&wrapped.token).is_some());
    assert!(!vault.wrapping_unopened(&wrapped.accessor).await.unwrap());
    assert_eq!(vault.gave_up().await.unwrap(), [].into());
    assert_eq!(vault.time().await.unwrap(), clock.now());
    vault.clock_ahead(TimeDelta::milliseconds(-1500));
    assert_eq!(vault.time().await.unwrap(), clock.now() - TimeDelta::milliseconds(1500));
}
