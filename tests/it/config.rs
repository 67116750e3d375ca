//! The configuration as an operator meets it: a file goes in, and either all that is needed or all that is wrong comes
//! out. What is documented must be what is read.

mod deciding;
mod identity;
mod ledger;
mod retention;
mod targets;

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use hallpass::{
    access::{actor::Persons, target::EarlyRevocation},
    config::{self, Config, Database, Tls},
    grpc::Limits,
    identity::{Algorithm, KeySource},
    telemetry::Format,
};

pub const SAMPLE: &str = include_str!("../../deploy/hallpassd.toml");
pub const DOCUMENTATION: &str = include_str!("../../docs/configuration.md");

/// A good configuration; tests break it line by line.
const GOOD: &str = r#"
[server]
plaintext = true
[store]
path = "/var/lib/hallpass/hallpass.db"
[vault]
address = "http://127.0.0.1:8200"
role_id = "hallpassd"
secret_id_file = "credential:vault-secret-id"
[identity.oidc.vault]
issuer = "http://127.0.0.1:8200/v1/identity/oidc"
audience = "hallpass"
[roles]
auditors = []
operators = ["platform"]
[schedule]
[log]
[targets.orders-ro]
description = "Orders, reading only"
credential_path = "database/creds/hp-orders-ro"
window_max = "8h"
decide_within = "1day"
claim_within = "2h"
requesters = ["developers"]
approvers = ["leads"]
early_revocation = "ends_sessions"
"#;

const PLAINTEXT: &str = "plaintext = true";
const TLS: &str = "tls_cert_file = \"credential:tls-cert\"\ntls_key_file = \"credential:tls-key\"";

/// A door on a socket, and who comes in by it.
const SOCKET: &str = r#"
[server.socket]
path = "/run/hallpass/hallpass.sock"
[identity.socket]
[identity.socket.people]
1000 = "alice"
olivia = "olivia"
[identity.socket.groups]
leads = ["lead", "200"]
"#;

/// Clients' certificates.
const CERTIFICATES: &str = r#"
[identity.certificates]
ca_file = "credential:tls-cert"
person = "email:*@corp.example"
[identity.certificates.groups]
leads = ["olivia"]
"#;

/// A directory with a configuration and with the credentials that systemd would hand over.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for name in ["vault-secret-id", "tls-cert", "tls-key"] {
            place.file(name, "something", 0o400);
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, contents: &str, mode: u32) {
        // Anew each time, because who isn't root can't write to a file that is for reading only.
        drop(fs::remove_file(self.path(name)));
        fs::write(self.path(name), contents).unwrap();
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    pub fn load(&self, text: &str) -> Result<Config, config::Problems> {
        self.file("hallpassd.toml", text, 0o644);
        Config::load(&self.path("hallpassd.toml"), Some(self.0.path()))
    }

    /// What is printed for a bad file, without the directory's name.
    fn printed(&self, text: &str) -> String {
        self.load(text).unwrap_err().to_string().replace(&format!("{}/", self.0.path().display()), "")
    }
}

/// GOOD with one line changed, or added to the section where a line like it stands.
pub fn with(line: &str, other: &str) -> String {
    assert!(GOOD.contains(line), "GOOD has no {line}");
    GOOD.replacen(line, other, 1)
}

/// The problems of a text, as `key: problem`.
pub fn problems(text: &str) -> Vec<String> {
    let problems = Place::new().load(text).unwrap_err();
    problems.list().iter().map(|found| format!("{}: {}", found.path, found.problem)).collect()
}

#[track_caller]
pub fn refused(text: &str, key: &str, part: &str) {
    let found = problems(text);
    let [only] = found.as_slice() else { panic!("expected one problem of {key}, found {found:#?}") };
    assert!(
        only.starts_with(&format!("{key}: ")) && only.contains(part),
        "expected {key}: …{part}…, found {only}"
    );
}

#[test]
fn a_short_file_gets_the_defaults() {
    let config = Place::new().load(GOOD).unwrap();
    assert_eq!(config.server.listen, "127.0.0.1:7643".parse().unwrap());
    assert_eq!(config.server.tls, Tls::PlaintextOnLoopback);
    let Database::File(path) = &config.store.database else { panic!("{:?}", config.store) };
    assert_eq!(path, Path::new("/var/lib/hallpass/hallpass.db"));
    assert_eq!(config.vault.approle_mount, "approle");
    assert_eq!(config.vault.token_role, "hallpass-grant");
    assert_eq!(config.vault.timeout, Duration::from_secs(30));
    assert_eq!(config.vault.wrap_ttl, Duration::from_mins(5));
    assert_eq!((config.vault.ca_file, config.vault.namespace), (None, None));
    let [issuer] = config.identity.issuers.as_slice() else { panic!("there is one issuer") };
    assert_eq!((issuer.name.as_str(), issuer.audience.as_str()), ("vault", "hallpass"));
    assert_eq!(issuer.algorithms, [Algorithm::EdDsa]);
    let discovery = "http://127.0.0.1:8200/v1/identity/oidc/.well-known/openid-configuration";
    assert_eq!(issuer.keys, KeySource::Discovery(discovery.parse().unwrap()));
    let claims =
        [&issuer.claims.subject, &issuer.claims.name, &issuer.claims.groups].map(ToString::to_string);
    assert_eq!(claims, ["sub", "name", "groups"]);
    assert_eq!((config.identity.persons, config.policy.persons), (Persons::default(), Persons::default()));
    let noon = "2026-11-03T12:00:00Z".parse().unwrap();
    assert_eq!(config.sweep.next_after(noon) - noon, chrono::TimeDelta::minutes(1));
    assert_eq!((config.log.level, config.log.format), (tracing::Level::INFO, Format::Auto));
    assert!(config.policy.auditors.is_empty());
    assert_eq!(config.policy.operators, BTreeSet::from(["platform".to_owned()]));
    let target = config.policy.targets.values().next().unwrap();
    assert_eq!(target.name.as_str(), "orders-ro");
    assert_eq!(target.vault_policy, "cred-orders-ro");
    assert_eq!(target.window_max, Duration::from_hours(8));
    assert_eq!(target.approvals_required.get(), 1);
    assert_eq!(target.early_revocation, EarlyRevocation::EndsSessions);
}

#[test]
fn without_targets_nothing_can_be_requested_and_that_is_allowed() {
    let text = GOOD.split("[targets").next().unwrap();
    assert!(Place::new().load(text).unwrap().policy.targets.is_empty());
}

#[test]
fn everything_wrong_is_reported_at_once_in_the_order_of_the_file() {
    let text = r#"
colour = "red"

[server]
listen = "localhost:7643"
plaintext = "yes"

[vault]
address = "http://vault.example:8200"
secret_id = "hvs-very-secret"
secret_id_file = "credential:nothing-here"
timeout = 30

[identity.oidc.vault]
algorithms = ["none"]
audience = " "

[roles]
auditors = "everybody"
operators = ["platform", 7]

[schedule]
sweep = "0 3 * * *"

[targets.orders-ro]
description = "Orders"
credential_path = "sys/raw/x"
window_max = "8days"
decide_within = "1s"
claim_within = "90"
requesters = []
approvers = []
approvals_required = 0
early_revocation = "maybe"
notify = ["a@example"]

[targets."Orders RW"]
credential_path = "/database/creds/*"
"#;
    let expected = r#"
hallpassd.toml:2: colour: is not a key that is known here; there are: alarm, approvals, identity, ledger, log, reconcile, report, retention, roles, schedule, server, store, targets, vault
hallpassd.toml:5: server.listen: must be an IP address and a port, like "127.0.0.1:7643" or "[::1]:7643"
hallpassd.toml:6: server.plaintext: must be true or false, without quotes
hallpassd.toml:8: vault.role_id: is missing; write the role id of the daemon's AppRole
hallpassd.toml:9: vault.address: must begin with https://; only a loopback address (127.0.0.1, [::1]) may have http://
hallpassd.toml:10: vault.secret_id: is not a key that is known here; there are: address, approle_mount, ca_file, namespace, role_id, secret_id_file, timeout, token_role, wrap_ttl
hallpassd.toml:11: vault.secret_id_file: nothing-here can't be read: No such file or directory (os error 2)
hallpassd.toml:12: vault.timeout: must be a length of time in quotes with its unit, like "90s", "30m" or "8h"
hallpassd.toml:14: identity.oidc.vault.issuer: is missing; write the "iss" of the tokens, like "https://vault.example:8200/v1/identity/oidc"
hallpassd.toml:15: identity.oidc.vault.algorithms: must be one of "EdDSA", "ES256", "RS256"
hallpassd.toml:16: identity.oidc.vault.audience: must not be blank
hallpassd.toml:19: roles.auditors: must be a list of groups, like ["oncall"]
hallpassd.toml:20: roles.operators: entry 2 must be a group's name in quotes: one line, 256 bytes at most, no white space around it
hallpassd.toml:23: schedule.sweep: must come true at least once an hour, because it catches what a timer missed; try "* * * * *"
hallpassd.toml:27: targets.orders-ro.credential_path: must not be below sys/, which rules over Vault itself
hallpassd.toml:28: targets.orders-ro.window_max: must be from 1s to 7days
hallpassd.toml:29: targets.orders-ro.decide_within: must be from 1m to 30days
hallpassd.toml:30: targets.orders-ro.claim_within: must be a length of time in quotes with its unit, like "90s", "30m" or "8h"
hallpassd.toml:32: targets.orders-ro.approvers: is empty, so that nobody could ever approve; write a group (to close the target, empty requesters instead)
hallpassd.toml:33: targets.orders-ro.approvals_required: must be a whole number from 1 to 10
hallpassd.toml:34: targets.orders-ro.early_revocation: must be one of "ends_sessions", "stops_new_logins", "expires_only"
hallpassd.toml:35: targets.orders-ro.notify: is not a key that is known here; there are: approval_signed, approvals_of, approvals_required, approver_persons, approvers, approvers_may_narrow, approvers_may_shorten, claim_within, cosigned_within, credential_path, decide_within, description, early_revocation, grants_max, grants_per_person_max, hours, hours_time_zone, pause, reason_min, requester_persons, requesters, statement_min, ticket_pattern, ticket_required, vault_policy, window_default, window_max
hallpassd.toml:37: targets."Orders RW": is not a target's name: it takes 1 to 63 of a-z, 0-9 and '-', beginning with a letter
hallpassd.toml:37: targets."Orders RW".approvers: is missing; write the groups that may approve it
hallpassd.toml:37: targets."Orders RW".claim_within: is missing; write how long an approval waits to be claimed, like "2h"
hallpassd.toml:37: targets."Orders RW".decide_within: is missing; write how long a request waits for a decision, like "8h"
hallpassd.toml:37: targets."Orders RW".description: is missing; write what it is, for those who approve
hallpassd.toml:37: targets."Orders RW".early_revocation: is missing; write what ending a grant early is worth: "ends_sessions", "stops_new_logins" or "expires_only"
hallpassd.toml:37: targets."Orders RW".requesters: is missing; write the groups that may request it, or [] for nobody
hallpassd.toml:37: targets."Orders RW".window_max: is missing; write the longest window, like "8h"
hallpassd.toml:38: targets."Orders RW".credential_path: must neither begin nor end with '/'
hallpassd.toml: store.path: is missing; write the database's file, like "/var/lib/hallpass/hallpass.db", or the URL of one on a server as url
32 problems"#;
    let printed = Place::new().printed(text);
    assert_eq!(printed, expected.trim_start(), "\n{printed}");
    assert!(!printed.contains("hvs-very-secret"));
}

#[test]
fn an_empty_file_lacks_everything_that_has_no_default() {
    let keys: Vec<String> =
        Place::new().load("").unwrap_err().list().iter().map(|p| p.path.clone()).collect();
    let missing = ["identity.oidc", "roles.auditors", "roles.operators"];
    let rest =
        ["server.tls_cert_file", "store.path", "vault.address", "vault.role_id", "vault.secret_id_file"];
    assert_eq!(keys, [missing.as_slice(), &rest].concat());
}

/// I9: keys of the configuration.
#[test]
fn unknown_keys_are_refused_in_every_section() {
    for section in
        ["server", "store", "vault", "identity.oidc.vault", "roles", "schedule", "log", "targets.orders-ro"]
    {
        let header = format!("[{section}]\n");
        refused(
            &with(&header, &format!("{header}extra = 1\n")),
            &format!("{section}.extra"),
            "is not a key that is known",
        );
    }
    refused(&format!("extra = 1\n{GOOD}"), "extra", "is not a key that is known");
    refused(&format!("{GOOD}[identity]\nextra = 1\n"), "identity.extra", "is not a key that is known");
    refused(
        &format!("{GOOD}[server.limits]\nextra = 1\n"),
        "server.limits.extra",
        "is not a key that is known",
    );
    let doors = format!("{GOOD}{SOCKET}{CERTIFICATES}").replace(PLAINTEXT, TLS);
    for section in ["server.socket", "identity.socket", "identity.certificates"] {
        let header = format!("[{section}]\n");
        let text = doors.replace(&header, &format!("{header}extra = 1\n"));
        refused(&text, &format!("{section}.extra"), "is not a key that is known");
    }
    refused(&format!("{GOOD}[extra]\nx = 1\n"), "extra", "is not a key that is known");
    refused(
        &format!("{GOOD}[targets.orders-ro.extra]\n"),
        "targets.orders-ro.extra",
        "is not a key that is known",
    );
    refused(
        &format!("\"a\\u001b\\u202e\" = 1\n{GOOD}"),
        r#""a\u{1b}\u{202e}""#,
        "is not a key that is known",
    );
}

#[test]
fn what_is_not_toml_is_located_and_not_repeated() {
    let printed = Place::new().printed("[vault]\nsecret_id = hvs-very-secret\n[vault]\n\"x\n");
    assert!(printed.starts_with("hallpassd.toml:2: not TOML, at column "), "{printed}");
    assert!(printed.contains("hallpassd.toml:3: not TOML, at column 2: duplicate key\n"), "{printed}");
    assert!(!printed.contains("very-secret"), "{printed}");
    refused("[vault]\n[vault]\n", "", "duplicate key");
}

#[test]
fn sections_are_tables() {
    refused(
        &with("[log]", "").replacen('\n', "\nlog = 5\n", 1),
        "log",
        "must be a table; write [log] above its keys",
    );
    let text = with("[targets.orders-ro]", "[[targets]]");
    refused(&text, "targets", "must be a table");
}

#[test]
fn a_file_that_cannot_be_read_is_one_problem() {
    let nowhere = Config::load(Path::new("/nowhere/hallpassd.toml"), None).unwrap_err();
    assert_eq!(
        nowhere.to_string(),
        "/nowhere/hallpassd.toml: can't be read: No such file or directory (os error 2)\n1 problem"
    );
    let place = Place::new();
    fs::write(place.path("binary"), [0xff, 0xfe]).unwrap();
    assert!(Config::load(&place.path("binary"), None).unwrap_err().to_string().contains("UTF-8"));
    assert!(Config::load(place.0.path(), None).unwrap_err().to_string().contains("can't be read"));
    let long = "#".repeat(1024 * 1024 + 1);
    refused(&long, "", "is longer than 1048576 bytes");
}

#[test]
fn a_configuration_that_anybody_could_write_is_refused_with_all_else() {
    let place = Place::new();
    place.file("open.toml", &with("plaintext = true", "plaintext = 1"), 0o666);
    let problems = Config::load(&place.path("open.toml"), Some(place.0.path())).unwrap_err();
    let [open, plaintext] = problems.list() else { panic!("{problems}") };
    assert!(open.problem.contains("writable by everybody"), "{problems}");
    assert_eq!(plaintext.path, "server.plaintext");
}

#[test]
fn secrets_and_keys_travel_protected() {
    let vault = "address = \"http://127.0.0.1:8200\"";
    let place = Place::new();
    for good in ["https://vault.example", "https://vault.example:8200/prefix", "http://[::1]:8200"] {
        assert!(place.load(&with(vault, &format!("address = \"{good}\""))).is_ok(), "{good}");
    }
    for (bad, why) in [
        ("http://10.0.0.1:8200", "must begin with https://"),
        ("http://localhost:8200", "must begin with https://"),
        ("http://127.0.0.1.example:8200", "must begin with https://"),
        ("ftp://127.0.0.1", "must begin with https://"),
        ("https://me:secret@vault.example", "user name or a password"),
        ("https://vault.example/?x=1", "'?'"),
        ("https://vault.example/#x", "'#'"),
        ("vault.example:8200", "must be an address"),
        ("unix:/run/vault.sock", "must be an address"),
        ("", "must be an address"),
    ] {
        refused(&with(vault, &format!("address = \"{bad}\"")), "vault.address", why);
    }
}

#[test]
fn files_are_there_and_secrets_are_kept_from_others() {
    let line = "secret_id_file = \"credential:vault-secret-id\"";
    let key = "vault.secret_id_file";
    refused(
        &with(line, "secret_id_file = \"hvs-very-secret\""),
        key,
        "must be an absolute path, or \"credential:NAME\"",
    );
    for outside in [
        "credential:",
        "credential:../x",
        "credential:a/b",
        "credential:.",
        "credential:/etc/passwd",
        "credential:a/",
    ] {
        refused(&with(line, &format!("secret_id_file = \"{outside}\"")), key, "one file's name");
    }
    refused(&with(line, "secret_id_file = \"/proc\""), key, "is not a file");
    let place = Place::new();
    place.file("vault-secret-id", "something", 0o440);
    assert!(place.load(GOOD).is_ok());
    for open in [0o404, 0o402, 0o401] {
        place.file("vault-secret-id", "something", open);
        assert!(place.printed(GOOD).contains("holds a secret and is open to everybody"), "{open:o}");
    }
    place.file("vault-secret-id", "something", 0o000);
    let readable = fs::File::open(place.path("vault-secret-id")).is_ok();
    assert_eq!(place.load(GOOD).is_ok(), readable, "only root may read it");
    place.file("vault-secret-id", "", 0o400);
    assert!(place.printed(GOOD).contains("vault-secret-id is empty"));
    place.file("ca", "something", 0o646);
    let text = with("[vault]\n", "[vault]\nca_file = \"credential:ca\"\n");
    assert!(place.printed(&text).contains("vault.ca_file: ca is writable by everybody"));
    place.file("vault-secret-id", "something", 0o400);
    place.file("ca", "something", 0o644);
    assert_eq!(place.load(&text).unwrap().vault.ca_file, Some(place.path("ca")));
    let absolute = with(line, &format!("secret_id_file = \"{}\"", place.path("vault-secret-id").display()));
    place.file("hallpassd.toml", &absolute, 0o644);
    assert!(Config::load(&place.path("hallpassd.toml"), None).is_ok());
    place.file("hallpassd.toml", GOOD, 0o644);
    let unset = Config::load(&place.path("hallpassd.toml"), None).unwrap_err().to_string();
    assert!(
        unset.contains("vault.secret_id_file: asks for a credential, but $CREDENTIALS_DIRECTORY is not set"),
        "{unset}"
    );
}

#[test]
fn every_length_of_time_has_bounds() {
    for (key, min, max) in
        [("window_max", "1s", "7days"), ("decide_within", "1m", "30days"), ("claim_within", "1m", "7days")]
    {
        let line = GOOD.lines().find(|line| line.starts_with(key)).unwrap();
        let text = |length: &str| with(line, &format!("{key} = \"{length}\""));
        for good in [min, max, "5m 30s"] {
            assert!(Place::new().load(&text(good)).is_ok(), "{key} = {good}");
        }
        let name = format!("targets.orders-ro.{key}");
        for bad in ["0s", &format!("{max} 1s"), "1year"] {
            refused(&text(bad), &name, &format!("must be from {min} to {max}"));
        }
        for bad in ["", "8", "8 parsecs", "-1h", "99999999999999999999h"] {
            refused(&text(bad), &name, "must be a length of time");
        }
        refused(&text("1500ms"), &name, "must be whole seconds");
    }
    for (key, min, max) in [("timeout", "1s", "5m"), ("wrap_ttl", "10s", "10m")] {
        let text = |length: &str| with("[vault]\n", &format!("[vault]\n{key} = \"{length}\"\n"));
        assert!(Place::new().load(&text(min)).is_ok() && Place::new().load(&text(max)).is_ok());
        refused(&text("0s"), &format!("vault.{key}"), &format!("must be from {min} to {max}"));
        refused(&text("1h"), &format!("vault.{key}"), &format!("must be from {min} to {max}"));
    }
}

#[test]
fn paths_and_names_in_vault_are_plain() {
    let path = "credential_path = \"database/creds/hp-orders-ro\"";
    let key = "targets.orders-ro.credential_path";
    for (bad, why) in [
        ("/database/creds/x", "begin nor end"),
        ("database/creds/", "begin nor end"),
        ("database", "must have a mount"),
        ("database//creds", "parted by single"),
        ("database/../sys/raw", "parted by single"),
        ("database/./creds", "parted by single"),
        ("database/creds/*", "parted by single"),
        ("database/+/x", "parted by single"),
        ("database/creds/a b", "parted by single"),
        ("database/creds/a?b=c", "parted by single"),
        ("database/creds/%2e%2e/x", "parted by single"),
        ("sys/raw", "must not be below sys/"),
        ("auth/token/create", "must not be below auth/"),
        ("identity/oidc/token/x", "must not be below identity/"),
        ("cubbyhole/x", "must not be below cubbyhole/"),
    ] {
        refused(&with(path, &format!("credential_path = \"{bad}\"")), key, why);
    }
    for bad in ["root", "Root", "default", "response-wrapping", "cred-*", "a/b", ""] {
        let text = with(path, &format!("{path}\nvault_policy = \"{bad}\""));
        refused(&text, "targets.orders-ro.vault_policy", "must");
    }
    for (entry, bad) in
        [("token_role", "a/b"), ("approle_mount", "/approle"), ("namespace", "a//b"), ("namespace", "root/")]
    {
        refused(
            &with("[vault]\n", &format!("[vault]\n{entry} = \"{bad}\"\n")),
            &format!("vault.{entry}"),
            "must",
        );
    }
    for bad in ["", " ", " x", "x\\n", "x\\ty", "\\u0000"] {
        refused(&with("role_id = \"hallpassd\"", &format!("role_id = \"{bad}\"")), "vault.role_id", "must");
    }
    for bad in ["hallpass.db", "/", "/var/lib/../x", ""] {
        refused(&with("/var/lib/hallpass/hallpass.db", bad), "store.path", "must");
    }
}

/// What isn't said in the file comes from nowhere else, and a password never goes over a network that others are in.
#[test]
fn a_database_on_a_server_is_named_safely() {
    const PATH: &str = "path = \"/var/lib/hallpass/hallpass.db\"";
    let url = |url: &str| with(PATH, &format!("url = \"{url}\""));
    for good in [
        "postgres://hallpass@127.0.0.1/hallpass",
        "postgresql://hallpass@[::1]:5433/hallpass",
        "postgres://hallpass@localhost/hallpass?sslmode=disable",
        "postgres://hallpass@%2Frun%2Fpostgresql/hallpass",
        "postgres://hallpass@db.example/hallpass?sslmode=verify-full&sslrootcert=/etc/hallpass/db-ca.pem",
    ] {
        let config = Place::new().load(&url(good)).unwrap();
        assert!(matches!(config.store.database, Database::Server { .. }), "{good}");
        assert_eq!(config.store.control, Path::new("/run/hallpass/control"));
    }
    for (bad, problem) in [
        ("hallpass", "must be a URL"),
        ("mysql://hallpass@127.0.0.1/hallpass", "must begin with postgres://"),
        ("postgres://hallpass:secret@127.0.0.1/hallpass", "must not have the password"),
        ("postgres://127.0.0.1/hallpass", "must say as whom"),
        ("postgres:///hallpass", "must"),
        ("postgres://hallpass@127.0.0.1", "must name one database"),
        ("postgres://hallpass@127.0.0.1/", "must name one database"),
        ("postgres://hallpass@127.0.0.1/a/b", "must name one database"),
        ("postgres://hallpass@127.0.0.1/hallpass?options=x", "may have sslmode"),
        ("postgres://hallpass@127.0.0.1/hallpass?password=secret", "may have sslmode"),
        ("postgres://hallpass@127.0.0.1/hallpass?sslmode=perhaps", "has an sslmode"),
        ("postgres://hallpass@db.example/hallpass", "verify-full"),
        ("postgres://hallpass@10.0.0.7/hallpass?sslmode=require", "verify-full"),
        ("postgres://hallpass@localhost.example/hallpass", "verify-full"),
    ] {
        refused(&url(bad), "store.url", problem);
        let told = Place::new().load(&url(bad)).unwrap_err().to_string();
        assert!(!told.contains("secret"), "{told}");
    }
    let both = with(PATH, &format!("{PATH}\nurl = \"postgres://hallpass@127.0.0.1/hallpass\""));
    refused(&both, "store.path", "can't stand beside url");
    refused(&with(PATH, &format!("{PATH}\npassword_file = \"/dev/null\"")), "store.password_file", "");
}

#[test]
fn the_sweep_runs_at_least_once_an_hour() {
    let sweep = |text: &str| with("[schedule]", &format!("[schedule]\nsweep = {text}"));
    for good in ["\"*/5 * * * *\"", "\"30 */2 * * * *\"", "\"@hourly\""] {
        assert!(Place::new().load(&sweep(good)).is_ok(), "{good}");
    }
    for bad in ["\"0 3 * * *\"", "\"@daily\"", "\"* * * * Mon\""] {
        refused(&sweep(bad), "schedule.sweep", "at least once an hour");
    }
    refused(&sweep("\"often\""), "schedule.sweep", "is not a cron expression");
    refused(&sweep("\"0 0 30 2 *\""), "schedule.sweep", "never comes true");
    refused(&sweep("60"), "schedule.sweep", "must be a text in quotes");
}

#[test]
fn the_sample_is_good() {
    let config = Place::new().load(SAMPLE).unwrap();
    assert_eq!(config.policy.targets.len(), 2);
    assert!(matches!(config.server.tls, Tls::Files { .. }));
}

/// The keys that are read, without the sections.
pub fn keys() -> BTreeSet<String> {
    let all = config::keys();
    let holds_others = |key: &String| all.iter().any(|other| other.starts_with(&format!("{key}.")));
    all.iter().filter(|key| !holds_others(key)).cloned().collect()
}

/// The sections whose keys the file chooses.
const FREE: [&str; 3] = ["identity.certificates.groups", "identity.socket.people", "identity.socket.groups"];

#[test]
fn the_sample_shows_every_key_and_no_other() {
    let mut section = String::new();
    let mut shown = BTreeSet::new();
    for line in SAMPLE.lines() {
        if let Some(header) = line.trim_start_matches("# ").strip_prefix('[') {
            let name = header.trim_end_matches(']');
            let named = ["targets.", "identity.oidc.", "identity.persons.", "ledger.witnesses."];
            let chosen = named.into_iter().find(|above| name.starts_with(above));
            section = chosen.map_or(name.to_owned(), |above| format!("{above}<name>"));
        } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ")
            && FREE.contains(&section.as_str())
            && !key.contains(' ')
        {
            shown.insert(format!("{section}.<name>"));
        } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ")
            && !key.contains(' ')
        {
            shown.insert(format!("{section}.{key}"));
        }
    }
    assert_eq!(shown, keys());
}

/// The sample with what it has behind a '#', except for files and servers that only some have.
pub fn with_commented_keys() -> String {
    const FILES: [&str; 11] = [
        "ca_file",
        "crl_file",
        "keys_file",
        "allowed_signers_file",
        "revoked_keys_file",
        "key_file",
        "url = \"postgres",
        "password_file",
        "name = \"hallpassd",
        "takeover_after",
        "clock_max",
    ];
    let line = |line: &str| match line.strip_prefix("# ") {
        Some(active) if active.starts_with("ca_file = \"credential:client-ca\"") => {
            "ca_file = \"credential:tls-cert\"".to_owned()
        }
        Some(active) if FILES.iter().any(|file| active.starts_with(file)) => line.to_owned(),
        Some(active) if active.contains(" = ") || active.starts_with('[') => active.to_owned(),
        _ => line.to_owned(),
    };
    SAMPLE.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_commented_defaults_of_the_sample_are_good() {
    let config = Place::new().load(&with_commented_keys()).unwrap();
    assert_eq!(config.vault.namespace.as_deref(), Some("production"));
    assert_eq!(config.server.limits, Limits::default(), "what is commented is the default");
    assert_eq!(config.server.socket.unwrap().mode, 0o660);
    assert_eq!(config.identity.socket.unwrap().people["1000"], "alice");
    assert!(config.identity.certificates.unwrap().groups["operations-leads"].contains("olivia"));
}

#[test]
fn the_documentation_has_a_row_for_every_key_and_for_no_other() {
    let cell = |line: &str| {
        line.strip_prefix("| `").and_then(|rest| rest.split_once("` |")).map(|(key, _)| key.to_owned())
    };
    let rows: BTreeSet<String> =
        DOCUMENTATION.lines().filter_map(cell).filter(|key| key.contains('.')).collect();
    assert_eq!(rows, keys());
    assert!(DOCUMENTATION.contains("**64**"));
}
