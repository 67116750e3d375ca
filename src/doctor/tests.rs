//! The checks over made-up facts: what a test server can't be made to be, and the small rules.

use std::{io, num::NonZeroU32, path::PathBuf};

use chrono::TimeDelta;

use super::*;
use crate::{
    access::{
        limits::Limits, members::Members, quorum::Quorum, target::EarlyRevocation, terms::Leeway,
        writing::Writing,
    },
    store::sqlite::inspect::{Faults, Space},
    vault::{
        MissingCapability, Outcome,
        inspect::{
            Connection, DatabaseRole, Engine, LedgerKey, Mount, OwnToken, Place, SecretId, Seen, TokenRole,
            Tuning,
        },
    },
};

const PATH: &str = "db/creds/hp-x";
const POLICY: &str = "path \"db/creds/hp-x\" {\n  capabilities = [\"read\"]\n  min_wrapping_ttl = \"1s\"\n}";

fn target(early_revocation: EarlyRevocation) -> Target {
    Target {
        name: "x".parse().unwrap(),
        description: String::new(),
        credential_path: PATH.into(),
        vault_policy: "cred-x".into(),
        window_max: Duration::from_hours(1),
        decide_within: Duration::from_hours(1),
        claim_within: Duration::from_hours(1),
        requesters: Members::default(),
        approvers: Members::default(),
        approvals_required: NonZeroU32::MIN,
        quorum: Quorum::default(),
        leeway: Leeway { shorten: true, narrow: true },
        hours: None,
        early_revocation,
        window_default: None,
        writing: Writing::default(),
        limits: Limits::default(),
        cosigned_within: None,
    }
}

fn role() -> DatabaseRole {
    DatabaseRole {
        db_name: "d".into(),
        creation_statements: vec!["CREATE ROLE \"{{name}}\" VALID UNTIL '{{expiration}}'".into()],
        revocation_statements: vec!["ALTER ROLE x NOLOGIN".into(), "SELECT pg_terminate_backend(pid)".into()],
        ..DatabaseRole::default()
    }
}

fn place(engine: Engine) -> Place {
    Place { mount: "db/".into(), engine }
}

fn database(role: DatabaseRole, plugin: &str) -> Place {
    place(Engine::Database {
        role_path: "db/roles/hp-x".into(),
        role: Seen::There(role),
        connection_path: "db/config/d".into(),
        connection: Seen::There(Connection {
            plugin_name: plugin.into(),
            allowed_roles: vec!["hp-*".into()],
        }),
    })
}

fn good() -> Inspection {
    let tuning = Tuning { default_lease_ttl: 3600, max_lease_ttl: 3600 };
    Inspection {
        own: Seen::There(OwnToken::of(&["hallpassd"])),
        clock_ahead: Ok(TimeDelta::zero()),
        missing: Ok(Vec::new()),
        excess: Seen::There(Vec::new()),
        secret_id: Seen::There(SecretId { expiration_time: None, secret_id_num_uses: 0 }),
        token_role: Seen::There(TokenRole {
            orphan: true,
            renewable: true,
            token_no_default_policy: true,
            token_explicit_max_ttl: 3600,
            token_type: "service".into(),
            allowed_policies: vec!["cred-X".into()],
            ..TokenRole::default()
        }),
        token_tuning: Seen::There(tuning),
        mounts: Seen::There([("db/".to_owned(), Mount { kind: "database".into() })].into()),
        tunings: [("db/".to_owned(), Seen::There(tuning))].into(),
        places: [(PATH.to_owned(), database(role(), "postgresql-database-plugin"))].into(),
        policies: [("cred-x".to_owned(), Seen::There(POLICY.to_owned()))].into(),
        ledger_key: Seen::There(LedgerKey { kind: "ed25519".into(), ..LedgerKey::default() }),
        may_sign: Seen::There(true),
        logged_out: Ok(()),
    }
}

fn store() -> file::Inspection {
    file::Inspection {
        directory: PathBuf::from("/d"),
        directory_mode: Some(0o700),
        space: Ok(Space { bytes: u64::MAX, files: None }),
        file_modes: vec![(0o600, PathBuf::from("/d/db"))],
        faults: Ok(Faults::Found(Vec::new())),
    }
}

fn report(
    early: EarlyRevocation,
    vault: Result<Inspection, VaultError>,
    database: file::Inspection,
) -> Report {
    let target = target(early);
    let setup = Setup {
        vault: "https://v/",
        approle_mount: "approle",
        token_role: "r",
        wrap_ttl: Duration::from_mins(5),
        secret_id_file: Path::new("/s"),
        targets: &[(target.name.clone(), target)].into(),
        ledger_key: None,
    };
    let database = Database::File("/d/db".into(), database);
    examine(&setup, &Facts { now: DateTime::UNIX_EPOCH, vault, secret_id_mode: Some(0o600), database })
}

/// What isn't ok when Vault is like this.
fn with(change: impl FnOnce(&mut Inspection)) -> Vec<Finding> {
    let mut seen = good();
    change(&mut seen);
    bad(&report(EarlyRevocation::EndsSessions, Ok(seen), store()))
}

fn bad(report: &Report) -> Vec<Finding> {
    report.findings().iter().filter(|finding| finding.status != Status::Ok).cloned().collect()
}

/// The only thing that isn't ok.
fn only(found: &[Finding]) -> (Status, &str, &str) {
    assert_eq!(found.len(), 1, "{found:#?}");
    (found[0].status, &found[0].about, &found[0].said)
}

fn error(reason: &str) -> VaultError {
    VaultError { operation: "do it", reason: reason.into(), outcome: Outcome::Refused }
}

#[test]
fn good_facts_are_well() {
    assert_eq!(with(|_| {}), []);
}

#[test]
fn clocks_more_than_a_second_apart_are_wrong() {
    let ahead = |millis| with(|seen| seen.clock_ahead = Ok(TimeDelta::milliseconds(millis)));
    assert_eq!((ahead(1000), ahead(-1000)), (Vec::new(), Vec::new()));
    let (status, about, said) = (Status::Fail, "clocks", "this machine is more than 3 s ahead of Vault");
    let found = ahead(3900);
    assert_eq!((only(&found).0, only(&found).1), (status, about));
    assert!(found[0].said.starts_with(said), "{found:?}");
    assert!(ahead(-1001)[0].said.contains("more than 1 s behind"));
}

#[test]
fn without_vault_only_the_rest_is_looked_at() {
    let report = report(EarlyRevocation::EndsSessions, Err(error("cannot connect; check it")), store());
    let found = bad(&report);
    assert_eq!(only(&found), (Status::Fail, "vault https://v/", "cannot connect"));
    assert_eq!(found[0].advice.as_deref(), Some("check it"));
    assert!(report.findings().iter().any(|finding| finding.about.starts_with("store")));
}

#[test]
fn what_was_not_asked_is_told_once() {
    let found = with(|seen| {
        seen.token_role = Seen::Failed(error("no answer"));
        seen.token_tuning = Seen::NotAsked;
        seen.mounts = Seen::NotAsked;
        seen.places.clear();
    });
    let told: Vec<_> = found.iter().map(|finding| (finding.status, finding.about.as_str())).collect();
    assert_eq!(told, [(Status::Fail, "vault"), (Status::Warn, "vault")]);
}

#[test]
fn a_right_that_only_this_check_needs_is_told_once_as_a_warning() {
    let denied = || MissingCapability { path: "db/config/d".into(), capability: "read" };
    let found = with(|seen| {
        seen.tunings.insert("db/".into(), Seen::Denied(denied()));
        seen.token_tuning = Seen::Denied(denied());
    });
    assert_eq!((only(&found).0, only(&found).1), (Status::Warn, "rights"));
    let line = "add to the daemon's policy: path \"db/config/d\" { capabilities = [\"read\"] }";
    assert_eq!(found[0].advice.as_deref(), Some(line));
}

#[test]
fn a_daemon_that_may_do_everything_is_wrong() {
    let found = with(|seen| seen.own = Seen::There(OwnToken::of(&["root"])));
    assert_eq!(only(&found), (Status::Fail, "rights", "the daemon may do everything in Vault"));
}

#[test]
fn each_kind_of_database_ends_sessions_in_its_own_way() {
    let found = |plugin: &str, statements: &[&str]| {
        let mut role = role();
        role.revocation_statements = statements.iter().map(|&statement| statement.to_owned()).collect();
        with(|seen| drop(seen.places.insert(PATH.to_owned(), database(role, plugin))))
    };
    assert_eq!(found("mysql-rds-database-plugin", &["CALL mysql.rds_kill(…)"]), []);
    assert_eq!(only(&found("mysql-database-plugin", &[])).0, Status::Fail);
    assert_eq!(only(&found("mongodb-database-plugin", &[])).0, Status::Warn);
    assert_eq!(only(&found("postgresql-database-plugin", &["DROP ROLE x"])).0, Status::Fail);
    assert_eq!(only(&found("my-postgresql", &["select PG_TERMINATE_BACKEND(pid)"])).0, Status::Warn);
}

#[test]
fn a_target_that_does_not_promise_to_end_sessions_need_not() {
    for early in [EarlyRevocation::StopsNewLogins, EarlyRevocation::ExpiresOnly] {
        let mut seen = good();
        let role = DatabaseRole { revocation_statements: Vec::new(), ..role() };
        seen.places.insert(PATH.to_owned(), database(role, "postgresql-database-plugin"));
        assert_eq!(bad(&report(early, Ok(seen), store())), []);
    }
}

#[test]
fn an_engine_that_is_not_known_is_a_warning_and_one_without_leases_is_wrong() {
    let found = |kind: &str| {
        with(|seen| drop(seen.places.insert(PATH.to_owned(), place(Engine::Other(kind.into())))))
    };
    assert_eq!(only(&found("rabbitmq")).0, Status::Warn);
    assert_eq!(only(&found("ssh")).0, Status::Fail);
    assert_eq!(only(&with(|seen| drop(seen.places.remove(PATH)))).0, Status::Fail);
}

#[test]
fn vault_s_older_names_count() {
    let change = |change: fn(&mut TokenRole)| {
        with(|seen| {
            let Seen::There(role) = &mut seen.token_role else { return };
            change(role);
        })
    };
    assert_eq!(only(&change(|role| role.period = 60)).0, Status::Fail);
    let found = change(|role| (role.token_explicit_max_ttl, role.explicit_max_ttl) = (0, 60));
    assert!(found[0].said.contains("its tokens end after 1m"), "{found:?}");
}

#[test]
fn a_login_that_lives_on_is_told() {
    assert_eq!(only(&with(|seen| seen.logged_out = Err(error("no")))).0, Status::Warn);
}

#[test]
fn a_full_disk_is_wrong_and_one_that_fills_is_told() {
    let found = |space: io::Result<Space>| {
        let database = file::Inspection { space, ..store() };
        bad(&report(EarlyRevocation::EndsSessions, Ok(good()), database))
    };
    let space = |bytes, files| Ok(Space { bytes, files });
    assert_eq!(found(space(1 << 30, Some(1))), []);
    assert_eq!(only(&found(space((1 << 30) - 1, None))).0, Status::Warn);
    let full = found(space((64 << 20) - 1, None));
    assert_eq!(only(&full), (Status::Fail, "store /d/db", "63 MiB are free in /d"));
    assert_eq!(only(&found(space(1 << 40, Some(0)))).0, Status::Fail);
    assert_eq!(only(&found(Err(io::ErrorKind::NotFound.into()))).0, Status::Fail);
}

#[test]
fn a_check_that_takes_too_long_names_the_command() {
    let database = file::Inspection { faults: Ok(Faults::TooLong), ..store() };
    let found = bad(&report(EarlyRevocation::EndsSessions, Ok(good()), database));
    assert_eq!(only(&found).0, Status::Warn);
    assert_eq!(found[0].advice.as_deref(), Some("sqlite3 -readonly /d/db 'PRAGMA quick_check'"));
}

#[test]
fn everything_is_asked_for_once() {
    let (mut one, mut other) = (target(EarlyRevocation::ExpiresOnly), target(EarlyRevocation::ExpiresOnly));
    one.name = "one".parse().unwrap();
    other.window_max = Duration::from_hours(2);
    let setup = Setup {
        vault: "",
        approle_mount: "",
        token_role: "",
        wrap_ttl: Duration::ZERO,
        secret_id_file: Path::new(""),
        targets: &[(one.name.clone(), one), (other.name.clone(), other)].into(),
        ledger_key: None,
    };
    let asked = setup.asked();
    assert_eq!((asked.paths.len(), asked.policies.len()), (1, 1));
    assert_eq!(setup.longest(), Duration::from_hours(2));
}
