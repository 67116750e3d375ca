//! What breaks for real: Vault sealed, PostgreSQL stopped or hanging, the audit log not to be written, and access that
//! somebody made, ended or opened behind the daemon's back.

use std::{process::Command, time::Duration};

use hallpass::wire::{Grant, GrantState, ReleaseGrantRequest, Request, RevocationCause};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};
use tonic::Code;

use crate::support::{
    people::{Credential, Person},
    refusals::reason,
    servers::{Postgres, eventually},
    shell::Shell,
    world::{Wishes, World},
};

const MINUTE: Duration = Duration::from_mins(1);
/// Long enough to claim it, and to break something before it ends.
const SHORT: Duration = Duration::from_secs(6);

async fn approved(world: &World, alice: &mut Person, window: Duration) -> Request {
    let request = alice.submit(window, "order 4711 is stuck").await.unwrap();
    world.person("olivia").await.approve(&request, "fine").await.unwrap()
}

async fn held(world: &World, alice: &mut Person, window: Duration) -> (Grant, Credential) {
    let request = approved(world, alice, window).await;
    let claimed = alice.claim(&request).await.unwrap();
    let credential = alice.unwrap(&claimed).await;
    (claimed.grant.unwrap(), credential)
}

async fn lets_in(world: &World, credential: &Credential) -> bool {
    world.postgres.connect(&credential.username, &credential.password, &world.database()).await.is_ok()
}

/// Waits until an ending was tried in vain, and sees that nobody calls it confirmed.
async fn ends_in_vain(person: &mut Person, grant: &Grant) -> Grant {
    let mut ending = grant.clone();
    eventually("the grant is ending, in vain", async || {
        ending = person.grant(&grant.name).await.unwrap();
        assert_ne!(ending.state(), GrantState::Revoked);
        ending.state() == GrantState::Revoking && !ending.revocation_error.is_empty()
    })
    .await;
    assert!(ending.ended_at.is_none());
    ending
}

#[tokio::test]
async fn vault_is_sealed_over_the_windows_end_and_unsealed() {
    let world = World::with(Wishes { own_vault: true, ..Wishes::default() }).await;
    let mut alice = world.person("alice").await;
    let (grant, credential) = held(&world, &mut alice, SHORT).await;
    world.bao.stop();
    world.bao.start_sealed();
    let ending = ends_in_vain(&mut alice, &grant).await;
    eventually("the error says that Vault is sealed", async || {
        alice.grant(&ending.name).await.unwrap().revocation_error.contains("sealed")
    })
    .await;
    world.bao.unseal().await;
    let revoked = alice.sees(&grant, GrantState::Revoked).await;
    assert_eq!(revoked.cause(), RevocationCause::WindowClosed);
    assert!(!lets_in(&world, &credential).await);
    assert!(world.accounts().await.is_empty());
}

/// Defect 3, with several grants: all are confirmed after the recovery, with nobody's help.
#[tokio::test]
async fn defect_3_the_database_is_stopped_over_many_windows_ends_and_started_again() {
    let world = World::with(Wishes { database: Some(Postgres::start_private), ..Wishes::default() }).await;
    let mut alice = world.person("alice").await;
    let mut grants = Vec::new();
    for _ in 0..8 {
        grants.push(held(&world, &mut alice, SHORT).await);
    }
    world.postgres.stop();
    for (grant, _) in &grants {
        ends_in_vain(&mut alice, grant).await;
    }
    world.postgres.start();
    for (grant, credential) in &grants {
        let revoked = alice.sees(grant, GrantState::Revoked).await;
        assert_eq!(revoked.cause(), RevocationCause::WindowClosed);
        assert!(!lets_in(&world, credential).await);
    }
    assert!(world.accounts().await.is_empty());
}

/// A second target, `payroll-ro`, on a database server of its own behind the same Vault.
async fn second_target(world: &World, postgres: &Postgres) {
    let (bao, name) = (&*world.bao, &world.name);
    let mount = format!("database-{name}-payroll");
    bao.write(&format!("sys/mounts/{mount}"), json!({ "type": "database" })).await;
    let mut connection = world.deployed("database-connection.json");
    connection["connection_url"] = json!(format!(
        "postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres?sslmode=disable",
        postgres.port
    ));
    connection["username"] = json!(postgres.superuser);
    connection["password"] = json!(postgres.password);
    bao.write(&format!("{mount}/config/orders"), connection).await;
    let mut role = world.deployed("database-role.json");
    for statement in role["creation_statements"].as_array_mut().unwrap() {
        *statement = json!(statement.as_str().unwrap().replace(&world.database(), "pg_read_all_data"));
    }
    bao.write(&format!("{mount}/roles/hp-orders-ro"), role).await;
    let policy =
        world.deployed_text("cred-orders-ro.hcl").replace(&format!("database-{name}/"), &format!("{mount}/"));
    world.write_policy(&format!("cred-payroll-ro-{name}"), &policy).await;
}

#[expect(clippy::needless_pass_by_value, reason = "that is what a wish takes")]
fn with_payroll(policy: String) -> String {
    let list = policy.lines().find(|line| line.starts_with("path \"sys/leases/lookup/database-")).unwrap();
    let payroll = list.replace("/creds/", "-payroll/creds/");
    format!("{policy}\n{payroll}\n")
}

const PAYROLL: &str = r#"
[targets.payroll-ro]
description = "The payroll database, read only"
credential_path = "database-@-payroll/creds/hp-orders-ro"
vault_policy = "cred-payroll-ro-@"
window_max = "1h"
decide_within = "1h"
claim_within = "1h"
requesters = ["developers-@"]
approvers = ["operations-leads-@"]
early_revocation = "ends_sessions"
"#;

#[tokio::test]
async fn a_database_that_hangs_delays_no_other_targets_revocations() {
    let wishes = Wishes {
        database: Some(Postgres::start_private),
        more: PAYROLL.to_owned(),
        daemon_policy: with_payroll,
        ..Wishes::default()
    };
    let world = World::with(wishes).await;
    let other = Postgres::start_private();
    second_target(&world, &other).await;
    let mut alice = world.person("alice").await;
    let mut hanging = Vec::new();
    for _ in 0..6 {
        hanging.push(held(&world, &mut alice, MINUTE).await);
    }
    let request = alice.submit_to("payroll-ro", MINUTE, "order 4711 is stuck").await.unwrap();
    let request = world.person("olivia").await.approve(&request, "fine").await.unwrap();
    let payroll = alice.claim(&request).await.unwrap();
    let credential = alice.unwrap(&payroll).await;
    world.postgres.freeze();
    for (grant, _) in &hanging {
        alice.release(grant).await.unwrap();
    }
    eventually("Vault works on them, and hangs", async || {
        let mut begun = 0;
        for (grant, _) in &hanging {
            begun += usize::from(alice.grant(&grant.name).await.unwrap().state() == GrantState::Revoking);
        }
        begun == hanging.len()
    })
    .await;
    let payroll = payroll.grant.unwrap();
    alice.release(&payroll).await.unwrap();
    alice.sees(&payroll, GrantState::Revoked).await;
    assert!(other.connect(&credential.username, &credential.password, "postgres").await.is_err());
    for (grant, _) in &hanging {
        assert_eq!(alice.grant(&grant.name).await.unwrap().state(), GrantState::Revoking, "it hangs still");
    }
    world.postgres.thaw();
    for (grant, credential) in &hanging {
        alice.sees(grant, GrantState::Revoked).await;
        assert!(!lets_in(&world, credential).await);
    }
}

/// I7, for real: somebody else has the database's write lock.
#[tokio::test]
async fn i7_while_the_log_cannot_be_written_nothing_is_granted_and_access_ends_all_the_same() {
    let world = World::start().await;
    let mut alice = world.person("alice").await;
    let waiting = approved(&world, &mut alice, MINUTE).await;
    let (grant, credential) = held(&world, &mut alice, SHORT).await;
    assert!(lets_in(&world, &credential).await);
    let file = format!("sqlite://{}", world.database_file().display());
    let mut lock = SqliteConnection::connect(&file).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut lock).await.unwrap();
    let refused = alice.claim(&waiting).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::Unavailable, "STORE_UNAVAILABLE".to_owned()));
    eventually("the account is gone", async || world.accounts().await.is_empty()).await;
    assert!(!lets_in(&world, &credential).await);
    assert_eq!(alice.grant(&grant.name).await.unwrap().state(), GrantState::Active, "nothing is on record");
    eventually("the store has given up, and the end is kept", async || {
        world.log().contains("grant-ended-unrecorded")
    })
    .await;
    sqlx::raw_sql("ROLLBACK").execute(&mut lock).await.unwrap();
    let revoked = alice.sees(&grant, GrantState::Revoked).await;
    assert_eq!(revoked.cause(), RevocationCause::WindowClosed);
    let gaps = world.audit("RecordingResumed").await;
    assert_eq!(gaps.len(), 1, "the gap is marked");
    alice.claim(&waiting).await.expect("grants go on");
}

#[tokio::test]
async fn an_ending_that_takes_too_long_raises_alarms_and_is_listed_with_what_is_in_the_way() {
    let more = "[alarm]\nrevoking_longer_than = \"1s\"\n".to_owned();
    let world =
        World::with(Wishes { database: Some(Postgres::start_private), more, ..Wishes::default() }).await;
    let mut alice = world.person("alice").await;
    let (grant, _) = held(&world, &mut alice, MINUTE).await;
    let oren = Shell::log_in(&world, "oren");
    assert_eq!(oren.json(&["list", "--overdue"])["grants"], json!([]));
    world.postgres.stop();
    alice.release(&grant).await.unwrap();
    eventually("it is told of, and again", async || world.audit("RevocationOverdue").await.len() >= 2).await;
    let listed = oren.ok(&["list", "--overdue"]);
    let id = grant.name.strip_prefix("grants/").unwrap();
    assert!(listed.contains(id) && listed.contains("revoking the lease"), "{listed}");
    assert!(oren.json(&["list", "--overdue"])["grants"][0]["alarms"].as_u64().unwrap() >= 2);
    let status = oren.json(&["status"]);
    assert_eq!((&status["grantsEnding"], &status["grantsOverdue"]), (&json!("1"), &json!("1")), "{status}");
    let (code, said) = oren.fails(&["list", "requests", "--overdue"]);
    assert!(code != 0 && said.contains("only grants can be overdue"), "{said}");
    world.postgres.start();
    alice.sees(&grant, GrantState::Revoked).await;
    assert_eq!(oren.json(&["list", "--overdue"])["grants"], json!([]));
}

fn reconcile(world: &World) -> (Option<i32>, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpassd"));
    let output = command.args(["reconcile", "--config"]).arg(world.config_file()).output().unwrap();
    let found = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    (output.status.code(), found)
}

/// Reads a credential past the daemon, and answers with its lease.
async fn read_past(world: &World) -> String {
    let (status, read) =
        world.bao.call(&world.bao.root_token, Method::GET, &world.credential_path(), None).await;
    assert_eq!(status, 200, "{read}");
    read["lease_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_lease_that_no_grant_knows_of_is_reported_and_stays() {
    let world = World::start().await;
    assert_eq!(reconcile(&world).0, Some(0));
    let lease = read_past(&world).await;
    let (code, found) = reconcile(&world);
    assert_eq!((code, &found["unknown"], &found["leases"]), (Some(1), &json!(1), &json!(1)));
    reconcile(&world);
    let reported = world.audit("UnknownLeaseFound").await;
    assert_eq!(reported.len(), 1, "once: {reported:?}");
    assert_eq!(reported[0]["detail"]["revoked"], false);
    assert!(!reported[0].to_string().contains(&lease));
    assert_eq!(world.leases().await.len(), 1);
    // Without the daemon, the command does it by itself.
    world.stop_daemon("TERM").await;
    assert_eq!(reconcile(&world).1["unknown"], 1);
    assert_eq!(world.audit("ReconciliationDone").await.len(), 5, "one at the daemon's start");
}

#[tokio::test]
async fn a_lease_that_no_grant_knows_of_is_revoked_if_the_configuration_says_so() {
    let more = "[reconcile]\nschedule = \"* * * * * *\"\nrevoke_unknown = true\n".to_owned();
    let world = World::with(Wishes { more, ..Wishes::default() }).await;
    let mut alice = world.person("alice").await;
    let (_, credential) = held(&world, &mut alice, MINUTE).await;
    read_past(&world).await;
    eventually("only the grant's own is left", async || world.leases().await.len() == 1).await;
    assert!(lets_in(&world, &credential).await);
    eventually("it is on record", async || {
        world.audit("UnknownLeaseFound").await.iter().any(|found| found["detail"]["revoked"] == true)
    })
    .await;
}

#[tokio::test]
async fn a_lease_revoked_outside_ends_its_grant() {
    let world = World::start().await;
    let mut alice = world.person("alice").await;
    let (grant, credential) = held(&world, &mut alice, MINUTE).await;
    world.bao.write("sys/leases/revoke", json!({ "lease_id": credential.lease_id, "sync": true })).await;
    assert_eq!(reconcile(&world).1["vanished"], 1);
    let revoked = alice.sees(&grant, GrantState::Revoked).await;
    assert_eq!(revoked.cause(), RevocationCause::EndedOutside);
}

/// Somebody on the way opened the wrapping token first.
#[tokio::test]
async fn a_wrapping_token_that_somebody_else_opened_is_noticed() {
    let world = World::start().await;
    let mut alice = world.person("alice").await;
    let request = approved(&world, &mut alice, MINUTE).await;
    let stolen = alice.claim(&request).await.unwrap();
    let credential = alice.unwrap(&stolen).await;
    assert!(lets_in(&world, &credential).await);
    let again = alice.claim_with(&request, true).await.unwrap();
    assert!(again.earlier_opened, "the claim says so");
    assert!(!lets_in(&world, &credential).await, "it was revoked before another was made");
    let alarms = world.audit("WrappingTokenOpened").await;
    assert_eq!((alarms.len(), &alarms[0]["detail"]["noticed_by"]), (1, &json!("CLAIM")));
    // The second one is opened by nobody, so replacing it is no alarm.
    let third = alice.claim_with(&request, true).await.unwrap();
    assert!(!third.earlier_opened);
    assert_eq!(world.audit("WrappingTokenOpened").await.len(), 1);
    // The holder couldn't open this one: his client says so, and gives it back.
    let name = third.grant.unwrap().name;
    let given_back = ReleaseGrantRequest { name, wrapping_opened: true };
    let grant = alice.grants.release_grant(given_back).await.unwrap().into_inner();
    alice.sees(&grant, GrantState::Revoked).await;
    let alarms = world.audit("WrappingTokenOpened").await;
    assert_eq!((alarms.len(), &alarms[1]["detail"]["noticed_by"]), (2, &json!("HOLDER")));
    assert!(world.accounts().await.is_empty());
}
