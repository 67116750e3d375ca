//! What ends access doesn't wait for what makes it: another pool of connections, no place in people's line, and a login
//! that hangs holds nobody up for longer than one try.

use std::time::Duration;

use hallpass::{
    access::handle::{Accessor, LeaseId},
    vault::{Issuer, Outcome, VaultIssuer},
};
use tokio::task::JoinSet;

use super::{
    canned::{ALIVE, Canned, Fault, LOGIN, Reply, issuer},
    world::{MINUTE, new_grant, world},
};
use crate::support::servers::eventually;

const CREATE: &str = "POST /v1/auth/token/create/grant";
const REVOKED: Reply = ("POST", "auth/token/revoke-accessor", 204, "", "");
const LEASE_REVOKED: Reply = ("POST", "sys/leases/revoke", 204, "", "");
const GONE: Reply = ("POST", "sys/leases/lookup", 400, "", r#"{"errors":["invalid lease"]}"#);
const DENIED: Reply = ("POST", "auth/token/revoke-accessor", 403, "", r#"{"errors":["permission denied"]}"#);

/// More than may be under way.
const FLOOD: usize = 100;

/// How many of them may be.
const PLACES: usize = 32;

fn flood(issuer: &VaultIssuer, calls: usize) -> JoinSet<Outcome> {
    let mut flood = JoinSet::new();
    for _ in 0..calls {
        let issuer = issuer.clone();
        flood.spawn(async move { issuer.mint(new_grant(), "cred-x", MINUTE).await.unwrap_err().outcome });
    }
    flood
}

#[tokio::test]
async fn a_flood_of_claims_that_hang_delays_no_revocation() {
    let vault = Canned::start(&[LOGIN, ALIVE, REVOKED, LEASE_REVOKED, GONE]).await;
    let (issuer, _dir) = issuer(&vault.address, MINUTE);
    let mut claims = flood(&issuer, FLOOD);
    eventually("as many as may hang in Vault", async || vault.count(CREATE) == PLACES).await;
    // Each of these would wait for the minute that the claims take to fail.
    let lease = LeaseId::new("db/creds/x/abc");
    issuer.revoke_wrapping(&Accessor::new("w")).await.unwrap();
    issuer.revoke_token(&Accessor::new("t")).await.unwrap();
    issuer.revoke_lease(&lease).await.unwrap();
    assert!(issuer.lease_gone(&lease).await.unwrap());
    assert!(claims.try_join_next().is_none(), "the claims still hang, or wait");
    assert_eq!(vault.count(CREATE), PLACES);
}

#[tokio::test]
async fn who_waits_too_long_for_a_place_is_refused_before_anything_is_sent() {
    let vault = Canned::start(&[LOGIN, ALIVE]).await;
    let (issuer, _dir) = issuer(&vault.address, Duration::from_secs(1));
    // Twice as many could come by once the first have failed.
    let outcomes = flood(&issuer, 4 * PLACES).join_all().await;
    let unknown = outcomes.iter().filter(|outcome| **outcome == Outcome::Unknown).count();
    assert_eq!(unknown, vault.count(CREATE), "what was sent may have been done, and nothing else");
    assert!(outcomes.len() > unknown, "some were refused");
}

#[tokio::test]
async fn endings_have_connections_of_their_own() {
    let vault = Canned::start(&[
        LOGIN,
        ALIVE,
        REVOKED,
        ("POST", "auth/token/create/grant", 500, "", r#"{"errors":["internal error"]}"#),
    ])
    .await;
    let (issuer, _dir) = issuer(&vault.address, MINUTE);
    for _ in 0..2 {
        issuer.mint(new_grant(), "cred-x", MINUTE).await.unwrap_err();
        issuer.revoke_token(&Accessor::new("t")).await.unwrap();
    }
    let by = |begin| {
        let mut connections = vault.connections(begin);
        connections.dedup();
        connections
    };
    let (login, claims, endings) =
        (by("POST /v1/auth/approle"), by(CREATE), by("POST /v1/auth/token/revoke"));
    assert_eq!((login.len(), claims.len(), endings.len()), (1, 1, 1), "connections are kept");
    assert!(login != claims && claims != endings && endings != login);
}

/// All who wait for a login get what one try came to.
#[tokio::test]
async fn a_login_that_hangs_is_waited_for_once() {
    let vault = Canned::start(&[]).await;
    let (issuer, _dir) = issuer(&vault.address, Duration::from_secs(1));
    let claims = flood(&issuer, PLACES);
    eventually("somebody logs in", async || vault.got("POST /v1/auth/approle/login")).await;
    let error = issuer.revoke_token(&Accessor::new("t")).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::Refused);
    assert!(claims.join_all().await.iter().all(|outcome| *outcome == Outcome::Refused));
    assert_eq!(vault.count("POST /v1/auth/approle/login"), 1);
}

/// A policy that denies must not send everybody, one by one, to look whether the login still holds.
#[tokio::test]
async fn of_many_who_are_denied_one_looks_whether_the_login_holds() {
    let vault = Canned::faulty(vec![LOGIN, DENIED], "GET /v1/auth/token/lookup-self", Fault::Hang).await;
    let (issuer, _dir) = issuer(&vault.address, Duration::from_secs(1));
    let mut endings = JoinSet::new();
    for _ in 0..PLACES {
        let issuer = issuer.clone();
        endings.spawn(async move { issuer.revoke_token(&Accessor::new("t")).await.unwrap_err().outcome });
    }
    assert!(endings.join_all().await.iter().all(|outcome| *outcome == Outcome::Refused));
    assert_eq!(vault.count("POST /v1/auth/token/revoke-accessor"), PLACES);
    // Of those who were denied when the first had begun to look, one looks again.
    let looks = vault.count("GET /v1/auth/token/lookup-self");
    assert!(looks < PLACES / 4, "{looks}");
}

/// With a real Vault, whose answers come in time.
#[tokio::test]
async fn more_claims_than_places_are_served_in_line() {
    let world = world("in-line").await;
    let mut minted = JoinSet::new();
    for _ in 0..2 * PLACES {
        let (issuer, policy) = (world.issuer.clone(), world.policy.clone());
        minted.spawn(async move { issuer.mint(new_grant(), &policy, MINUTE).await.is_ok() });
    }
    assert!(minted.join_all().await.iter().all(|made| *made));
}
