//! The configuration as an operator meets it: a file goes in, and either all that is needed or all that is wrong comes
//! out. What is documented must be what is read.

mod deciding;

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use hallpass::{
    access::{actor::Persons, signing::Signing, target::EarlyRevocation, writing::Writing},
    config::{self, Config, Tls},
    grpc::{Limits, SocketPlace},
    identity::{Algorithm, CertificateSettings, KeySource, SocketSettings},
    signature::Signers,
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
fn with(line: &str, other: &str) -> String {
    assert!(GOOD.contains(line), "GOOD has no {line}");
    GOOD.replacen(line, other, 1)
}

/// The problems of a text, as `key: problem`.
fn problems(text: &str) -> Vec<String> {
    let problems = Place::new().load(text).unwrap_err();
    problems.list().iter().map(|found| format!("{}: {}", found.path, found.problem)).collect()
}

#[track_caller]
fn refused(text: &str, key: &str, part: &str) {
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
    assert_eq!(config.store.path, Path::new("/var/lib/hallpass/hallpass.db"));
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
hallpassd.toml:2: colour: is not a key that is known here; there are: alarm, approvals, identity, log, reconcile, roles, schedule, server, store, targets, vault
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
hallpassd.toml:35: targets.orders-ro.notify: is not a key that is known here; there are: approval_signed, approvals_of, approvals_required, approver_persons, approvers, approvers_may_narrow, approvers_may_shorten, claim_within, credential_path, decide_within, description, early_revocation, grants_max, grants_per_person_max, hours, hours_time_zone, pause, reason_min, requester_persons, requesters, statement_min, ticket_pattern, ticket_required, vault_policy, window_default, window_max
hallpassd.toml:37: targets."Orders RW": is not a target's name: it takes 1 to 63 of a-z, 0-9 and '-', beginning with a letter
hallpassd.toml:37: targets."Orders RW".approvers: is missing; write the groups that may approve it
hallpassd.toml:37: targets."Orders RW".claim_within: is missing; write how long an approval waits to be claimed, like "2h"
hallpassd.toml:37: targets."Orders RW".decide_within: is missing; write how long a request waits for a decision, like "8h"
hallpassd.toml:37: targets."Orders RW".description: is missing; write what it is, for those who approve
hallpassd.toml:37: targets."Orders RW".early_revocation: is missing; write what ending a grant early is worth: "ends_sessions", "stops_new_logins" or "expires_only"
hallpassd.toml:37: targets."Orders RW".requesters: is missing; write the groups that may request it, or [] for nobody
hallpassd.toml:37: targets."Orders RW".window_max: is missing; write the longest window, like "8h"
hallpassd.toml:38: targets."Orders RW".credential_path: must neither begin nor end with '/'
hallpassd.toml: store.path: is missing; write the database's file, like "/var/lib/hallpass/hallpass.db"
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
fn connections_are_protected_or_local() {
    let tls = "tls_cert_file = \"credential:tls-cert\"\ntls_key_file = \"credential:tls-key\"";
    let place = Place::new();
    let config = place.load(&with("plaintext = true", &format!("listen = \"0.0.0.0:7643\"\n{tls}"))).unwrap();
    let files = Tls::Files { cert: place.path("tls-cert"), key: place.path("tls-key") };
    assert_eq!(config.server.tls, files);
    for listen in ["[::1]:0", "127.8.8.8:1"] {
        let text = with("plaintext = true", &format!("plaintext = true\nlisten = \"{listen}\""));
        assert_eq!(place.load(&text).unwrap().server.listen, listen.parse().unwrap());
    }
    for listen in ["0.0.0.0:7643", "[::]:7643", "10.0.0.1:7643", "[::ffff:10.0.0.1]:7643"] {
        let text = with("plaintext = true", &format!("plaintext = true\nlisten = \"{listen}\""));
        refused(&text, "server.plaintext", "loopback addresses only");
    }
    refused(
        &with("plaintext = true", &format!("plaintext = true\n{tls}")),
        "server.plaintext",
        "contradicts",
    );
    refused(&with("plaintext = true", ""), "server.tls_cert_file", "is missing");
    refused(&with("plaintext = true", "plaintext = false"), "server.tls_cert_file", "is missing");
    let (cert, key) = tls.split_once('\n').unwrap();
    refused(&with("plaintext = true", cert), "server.tls_key_file", "is missing");
    refused(&with("plaintext = true", key), "server.tls_cert_file", "is missing");
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

const ISSUER: &str = "issuer = \"http://127.0.0.1:8200/v1/identity/oidc\"";
const AUDIENCE: &str = "audience = \"hallpass\"";

#[test]
fn an_issuers_keys_come_from_one_place() {
    let place = Place::new();
    let keys = |lines: &str| place.load(&with(ISSUER, lines)).unwrap().identity.issuers[0].keys.clone();
    let opaque = "issuer = \"our-issuer\"";
    refused(&with(ISSUER, opaque), "identity.oidc.vault.keys_url", "is missing, and the issuer with");
    let given = format!("{opaque}\nkeys_url = \"https://keys.example/jwks\"");
    assert_eq!(keys(&given), KeySource::Url("https://keys.example/jwks".parse().unwrap()));
    let http = format!("{opaque}\nkeys_url = \"http://keys.example/jwks\"");
    refused(&with(ISSUER, &http), "identity.oidc.vault.keys_url", "must begin with https://");
    place.file("keys.json", "{}", 0o444);
    let file = place.path("keys.json");
    let fixed = format!("{opaque}\nkeys_file = {file:?}");
    assert_eq!(keys(&fixed), KeySource::File(file.clone()));
    let one_bad = format!("{http}\nkeys_file = {file:?}");
    refused(&with(ISSUER, &one_bad), "identity.oidc.vault.keys_url", "must begin with https://");
    let both = format!("{given}\nkeys_file = {file:?}");
    refused(&with(ISSUER, &both), "identity.oidc.vault.keys_file", "can't be beside keys_url");
}

#[test]
fn algorithms_are_pinned_and_need_key_pairs() {
    for bad in ["\"EdDSA\"", "[]"] {
        let line = format!("{AUDIENCE}\nalgorithms = {bad}");
        refused(&with(AUDIENCE, &line), "identity.oidc.vault.algorithms", "must be a list of at least one");
    }
    for bad in ["HS256", "none", "PS256", "eddsa"] {
        let line = format!("{AUDIENCE}\nalgorithms = [\"EdDSA\", \"{bad}\"]");
        refused(&with(AUDIENCE, &line), "identity.oidc.vault.algorithms", "must be one of");
    }
    let two = Place::new().load(&with(AUDIENCE, &format!("{AUDIENCE}\nalgorithms = [\"RS256\", \"ES256\"]")));
    assert_eq!(two.unwrap().identity.issuers[0].algorithms, [Algorithm::Rs256, Algorithm::Es256]);
}

#[test]
fn claims_are_named_by_their_paths() {
    let groups = |value: &str| with(AUDIENCE, &format!("{AUDIENCE}\ngroups_claim = {value}"));
    for (value, path) in [
        ("\"roles\"", "roles"),
        ("\"realm_access.roles\"", "realm_access.roles"),
        ("[\"https://x.example/groups\", \"all\"]", "https://x.example/groups.all"),
    ] {
        let config = Place::new().load(&groups(value)).unwrap();
        assert_eq!(config.identity.issuers[0].claims.groups.to_string(), path);
    }
    for bad in ["\"\"", "\"a..b\"", "[]", "[\"a\", 1]", "7", "[\"\"]"] {
        refused(&groups(bad), "identity.oidc.vault.groups_claim", "must be the name of a claim");
    }
}

#[test]
fn issuers_are_told_apart() {
    let second = |name: &str, issuer: &str| {
        let keys = format!("issuer = \"{issuer}\"\naudience = \"h\"\ngroups = [\"staff\"]");
        let file = with("[roles]", &format!("[identity.oidc.{name}]\n{keys}\n[roles]"));
        file.replace(AUDIENCE, &format!("{AUDIENCE}\ngroups = [\"leads\"]"))
    };
    let two = Place::new().load(&second("corp", "https://corp.example")).unwrap();
    let names: Vec<_> = two.identity.issuers.iter().map(|issuer| issuer.name.as_str()).collect();
    assert_eq!(names, ["corp", "vault"]);
    assert_eq!(two.identity.issuers[1].groups, Some(BTreeSet::from(["leads".to_owned()])));
    let unbounded = second("corp", "https://corp.example").replace("groups = [\"staff\"]\n", "");
    refused(&unbounded, "identity.oidc.corp.groups", "is missing; where there are several issuers");
    assert_eq!(Place::new().load(GOOD).unwrap().identity.issuers[0].groups, None);
    let same = second("corp", "http://127.0.0.1:8200/v1/identity/oidc");
    refused(&same, "identity.oidc.vault.issuer", "is another section's, too");
    refused(&second("person", "https://corp.example"), "identity.oidc.person", "is not a name for an issuer");
    refused(&second("Corp", "https://corp.example"), "identity.oidc.Corp", "is not a name for an issuer");
}

#[test]
fn persons_have_identities_of_known_issuers_each_of_one_person() {
    let persons = |lines: &str| with("[roles]", &format!("[identity.persons.{lines}\n[roles]"));
    let good = Place::new().load(&persons("ann]\nidentities = [\"vault:e1\", \"vault:e:2\"]")).unwrap();
    for identity in ["vault:e1", "vault:e:2"] {
        assert_eq!(good.policy.persons.subject(identity), "person:ann");
    }
    assert_eq!(good.policy.persons, good.identity.persons);
    for bad in
        ["[]", "\"vault:e1\"", "[\"corp:e1\"]", "[\"vault:\"]", "[\"vault\"]", "[1]", "[\"vault:a\\nb\"]"]
    {
        let file = persons(&format!("ann]\nidentities = {bad}"));
        refused(&file, "identity.persons.ann.identities", "must be");
    }
    let twice =
        persons("ann]\nidentities = [\"vault:e1\"]\n[identity.persons.bob]\nidentities = [\"vault:e1\"]");
    refused(&twice, "identity.persons.bob.identities", "names an identity twice");
    refused(
        &persons("Ann]\nidentities = [\"vault:e1\"]"),
        "identity.persons.Ann",
        "is not a name for a person",
    );
    refused(&persons("ann]"), "identity.persons.ann.identities", "is missing");
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
fn i5_an_empty_list_means_nobody_and_a_threshold_below_one_is_refused() {
    let threshold = |value: &str| with("approvers =", &format!("approvals_required = {value}\napprovers ="));
    for bad in ["0", "-1", "11", "1.0", "\"1\"", "4294967297", "99999999999999999999"] {
        refused(
            &threshold(bad),
            "targets.orders-ro.approvals_required",
            "must be a whole number from 1 to 10",
        );
    }
    let config = Place::new().load(&threshold("0x2")).unwrap();
    assert_eq!(config.policy.targets.values().next().unwrap().approvals_required.get(), 2);
    refused(
        &with("approvers = [\"leads\"]", "approvers = []"),
        "targets.orders-ro.approvers",
        "nobody could ever approve",
    );
    let closed = Place::new().load(&with("requesters = [\"developers\"]", "requesters = []")).unwrap();
    assert!(closed.policy.targets.values().all(|target| target.requesters.is_empty()));
    for key in ["auditors = []", "requesters = [\"developers\"]", "approvers = [\"leads\"]"] {
        let name = key.split(' ').next().unwrap();
        assert!(problems(&with(key, ""))[0].contains(&format!("{name}: is missing")), "{key}");
    }
    for bad in ["\"\"", "\" leads\"", "\"le\\nads\"", "\"le\\tads\"", "\"\\u202eleads\"", "1", "[\"leads\"]"]
    {
        refused(
            &with("[\"leads\"]", &format!("[\"x\", {bad}]")),
            "targets.orders-ro.approvers",
            "entry 2 must be",
        );
    }
    refused(&with("leads", &"x".repeat(257)), "targets.orders-ro.approvers", "256 bytes");
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
            let named = ["targets.", "identity.oidc.", "identity.persons."];
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

/// The sample with what it has behind a '#', except for files that only some have.
pub fn with_commented_keys() -> String {
    const FILES: [&str; 5] =
        ["ca_file", "crl_file", "keys_file", "allowed_signers_file", "revoked_keys_file"];
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

#[test]
fn what_has_to_be_written_is_bounded() {
    let line = "early_revocation = \"ends_sessions\"";
    let set = |more: &str| with(line, &format!("{line}\n{more}"));
    let writing = |more: &str| {
        let config = Place::new().load(&set(more)).unwrap();
        config.policy.targets.into_values().next().unwrap().writing
    };
    assert_eq!(writing(""), Writing::default());
    let all = writing(
        "reason_min = 20\nstatement_min = 10\nticket_required = true\nticket_pattern = \"OPS-[0-9]+\"",
    );
    assert_eq!((all.reason_min, all.statement_min, all.ticket_required), (20, 10, true));
    assert_eq!(all.ticket_pattern.unwrap().as_str(), "OPS-[0-9]+");
    for key in ["reason_min", "statement_min"] {
        for bad in ["0", "1001", "-1", "\"20\""] {
            let path = format!("targets.orders-ro.{key}");
            refused(&set(&format!("{key} = {bad}")), &path, "must be a whole number from 1 to 1000");
        }
    }
    let pattern = "targets.orders-ro.ticket_pattern";
    refused(&set("ticket_pattern = \"OPS-[0-9\""), pattern, "is not a regular expression");
    refused(&set("ticket_required = \"yes\""), "targets.orders-ro.ticket_required", "must be true or false");
}

/// A key, as a line of a list has it.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIH0rDwJpvdSfvMjzJCCIy5gNbFLM4ucAqAGiM243CBw olivia\n";

/// GOOD with lists of keys, and what its target demands.
fn signed(lists: &str, demand: &str) -> String {
    let line = "early_revocation = \"ends_sessions\"";
    with(line, &format!("{line}\napproval_signed = \"{demand}\"\n[approvals]\n{lists}"))
}

#[test]
fn signatures_are_demanded_only_where_keys_are_listed() {
    let place = Place::new();
    place.file("signers", &format!("vault:x {KEY}"), 0o644);
    place.file("revoked", KEY, 0o644);
    let both = "allowed_signers_file = \"credential:signers\"\nrevoked_keys_file = \"credential:revoked\"";
    for (word, meant) in
        [("no", Signing::Optional), ("yes", Signing::Required), ("present", Signing::Present)]
    {
        let config = place.load(&signed(both, word)).unwrap();
        assert_eq!(config.policy.targets.values().next().unwrap().writing.signing, meant);
        assert_eq!(config.signers.allowed_file, Some(place.path("signers")));
        assert_eq!(config.signers.revoked_file, Some(place.path("revoked")));
    }
    assert_eq!(place.load(GOOD).unwrap().signers, Signers::default());
    assert!(place.load(&signed("", "no")).is_ok());
    for demand in ["yes", "present"] {
        let printed = place.printed(&signed("", demand));
        let expected = "hallpassd.toml:27: targets.orders-ro.approval_signed: demands signatures, but nobody's keys are known";
        assert!(printed.contains(expected) && printed.ends_with("1 problem"), "{printed}");
    }
    let bad = place.printed(&signed(both, "maybe"));
    assert!(bad.contains("approval_signed: must be one of \"no\", \"yes\", \"present\""), "{bad}");
    let alone = place.printed(&signed("revoked_keys_file = \"credential:revoked\"", "no"));
    assert!(alone.contains("revoked_keys_file: is of no use without allowed_signers_file"), "{alone}");
}

/// A list that can't be used is reported once, with its own line, and not as if there were none.
#[test]
fn lists_of_keys_are_read_at_once() {
    let place = Place::new();
    let lists = "allowed_signers_file = \"credential:signers\"\nrevoked_keys_file = \"credential:revoked\"";
    place.file("revoked", "", 0o644);
    let cases = [
        (format!("vault:x {KEY}* cert-authority {KEY}"), 0o644, "signers:2: has cert-authority"),
        ("vault:x\n".to_owned(), 0o644, "signers:1: has nothing behind its principals"),
        (format!("vault:x {KEY}"), 0o666, "signers is writable by everybody"),
    ];
    for (text, mode, part) in cases {
        place.file("signers", &text, mode);
        let printed = place.printed(&signed(lists, "yes"));
        assert!(printed.contains("approvals.allowed_signers_file: ") && printed.contains(part), "{printed}");
        assert!(printed.ends_with("1 problem"), "{printed}");
    }
    place.file("signers", &format!("vault:x {KEY}"), 0o644);
    place.file("revoked", "SSHKRL\n\0", 0o644);
    let printed = place.printed(&signed(lists, "yes"));
    assert!(printed.contains("approvals.revoked_keys_file: revoked: is a binary list (KRL)"), "{printed}");
}

#[test]
fn the_usual_window_is_not_longer_than_the_longest() {
    let line = "window_max = \"8h\"";
    let set = |usual: &str| with(line, &format!("{line}\nwindow_default = \"{usual}\""));
    let config = Place::new().load(&set("8h")).unwrap();
    assert_eq!(
        config.policy.targets.into_values().next().unwrap().window_default,
        Some(Duration::from_hours(8))
    );
    let key = "targets.orders-ro.window_default";
    refused(&set("8h 1s"), key, "must not be longer than window_max");
    refused(&set("0s"), key, "must be from 1s");
}

#[test]
fn limits_are_bounded() {
    let line = "early_revocation = \"ends_sessions\"";
    let set = |more: &str| with(line, &format!("{line}\n{more}"));
    let limits = |more: &str| {
        let config = Place::new().load(&set(more)).unwrap();
        config.policy.targets.into_values().next().unwrap().limits
    };
    assert!(limits("").is_none());
    let all = limits("grants_per_person_max = 1\ngrants_max = 3\npause = \"10m\"");
    assert_eq!((all.per_person_max.unwrap().get(), all.grants_max.unwrap().get()), (1, 3));
    assert_eq!(all.pause, Some(Duration::from_mins(10)));
    for key in ["grants_per_person_max", "grants_max"] {
        for bad in ["0", "1001", "\"1\""] {
            let path = format!("targets.orders-ro.{key}");
            refused(&set(&format!("{key} = {bad}")), &path, "must be a whole number from 1 to 1000");
        }
    }
    refused(&set("pause = \"31days\""), "targets.orders-ro.pause", "must be from 1s to 30days");
}

#[test]
fn a_socket_has_a_door_and_people() {
    let text = format!("{GOOD}{SOCKET}");
    let config = Place::new().load(&text).unwrap();
    let path = "/run/hallpass/hallpass.sock".into();
    assert_eq!(config.server.socket, Some(SocketPlace { path, mode: 0o660, owner: None, group: None }));
    let SocketSettings { people, groups } = config.identity.socket.unwrap();
    assert_eq!((people["1000"].as_str(), people["olivia"].as_str()), ("alice", "olivia"));
    assert_eq!(groups["leads"], BTreeSet::from(["lead".to_owned(), "200".to_owned()]));

    let (door, people) = SOCKET.split_at(SOCKET.find("[identity").unwrap());
    refused(&format!("{GOOD}{door}"), "identity.socket", "is missing; write who may come in");
    refused(&format!("{GOOD}{people}"), "identity.socket", "takes a socket");
    let path = "path = \"/run/hallpass/hallpass.sock\"";
    let with_path = |other: &str| text.replace(path, other);
    refused(&with_path(""), "server.socket.path", "is missing");
    refused(&with_path("path = \"hallpass.sock\""), "server.socket.path", "must be an absolute path");
    for bad in ["660", "\"66\"", "\"0888\"", "\"4660\"", "\"rw-rw----\"", "\"+660\"", "\"-660\""] {
        refused(&with_path(&format!("{path}\nmode = {bad}")), "server.socket.mode", "must be permissions");
    }
    let owned = with_path(&format!("{path}\nmode = \"600\"\nowner = \"root\"\ngroup = \"50\""));
    let place = Place::new().load(&owned).unwrap().server.socket.unwrap();
    assert_eq!(
        (place.mode, place.owner.as_deref(), place.group.as_deref()),
        (0o600, Some("root"), Some("50"))
    );

    for everybody in ["65534", "nobody"] {
        let text = text.replace("1000 =", &format!("{everybody} ="));
        refused(&text, &format!("identity.socket.people.{everybody}"), "stands for everybody");
    }
    refused(&text.replace("= \"alice\"", "= 7"), "identity.socket.people.1000", "must be a text");
    refused(
        &text.replace("[\"lead\", \"200\"]", "\"lead\""),
        "identity.socket.groups.leads",
        "must be a list of",
    );
    refused(&text.replace("\"200\"", "\" 200\""), "identity.socket.groups.leads", "must be a list of");
}

#[test]
fn certificates_take_tls_authorities_and_a_rule() {
    let text = format!("{GOOD}{CERTIFICATES}").replace(PLAINTEXT, TLS);
    let place = Place::new();
    let CertificateSettings { ca_file, crl_file, person, groups } =
        place.load(&text).unwrap().identity.certificates.unwrap();
    assert_eq!((ca_file, crl_file), (place.path("tls-cert"), None));
    assert_eq!(person.to_string(), "email:*@corp.example");
    assert_eq!(groups["leads"], BTreeSet::from(["olivia".to_owned()]));
    refused(&text.replace(TLS, PLAINTEXT), "identity.certificates", "takes TLS");
    refused(
        &text.replace("ca_file = \"credential:tls-cert\"\n", ""),
        "identity.certificates.ca_file",
        "is missing",
    );
    let rule = "person = \"email:*@corp.example\"\n";
    refused(&text.replace(rule, ""), "identity.certificates.person", "is missing");
    for bad in ["email:*", "cn:*", "uri:*"] {
        let text = text.replace("email:*@corp.example", bad);
        refused(&text, "identity.certificates.person", "must be one of");
    }
    let lists = text.replace(rule, &format!("{rule}crl_file = \"credential:nothing\"\n"));
    refused(&lists, "identity.certificates.crl_file", "can't be read");
}

#[test]
fn somebody_must_be_able_to_call_and_any_source_will_do() {
    let begin = GOOD.find("[identity").unwrap();
    let end = GOOD.find("[roles]").unwrap();
    let without = format!("{}{}", &GOOD[..begin], &GOOD[end..]);
    refused(&without, "identity.oidc", "so that nobody could call");
    let socket_only = Place::new().load(&format!("{without}{SOCKET}")).unwrap();
    assert!(socket_only.identity.issuers.is_empty() && socket_only.identity.socket.is_some());
    let certificates_only = format!("{without}{CERTIFICATES}").replace(PLAINTEXT, TLS);
    assert!(Place::new().load(&certificates_only).unwrap().identity.certificates.is_some());
}

/// Which identities are one person may be said of all sources, and of those that there are.
#[test]
fn persons_come_in_by_any_source() {
    let person =
        "[identity.persons.olivia]\nidentities = [\"vault:e1\", \"cert:olivia\", \"socket:olivia\"]\n";
    let text = format!("{GOOD}{SOCKET}{CERTIFICATES}{person}").replace(PLAINTEXT, TLS);
    let persons = Place::new().load(&text).unwrap().identity.persons;
    for identity in ["vault:e1", "cert:olivia", "socket:olivia"] {
        assert_eq!(persons.subject(identity), "person:olivia");
    }
    let key = "identity.persons.olivia.identities";
    refused(&format!("{GOOD}{CERTIFICATES}{person}").replace(PLAINTEXT, TLS), key, "entry 3 must be");
    refused(&format!("{GOOD}{SOCKET}{person}"), key, "entry 2 must be");
    for name in ["cert", "socket"] {
        let text = GOOD.replace("[identity.oidc.vault]", &format!("[identity.oidc.{name}]"));
        refused(&text, &format!("identity.oidc.{name}"), "is not a name for an issuer");
    }
}

#[test]
fn how_much_may_be_asked_for_is_bounded() {
    assert_eq!(Place::new().load(GOOD).unwrap().server.limits, Limits::default());
    let set = |line: &str| format!("{GOOD}[server.limits]\n{line}\n");
    for (key, min, max) in [
        ("connections_max", 1, 7000),
        ("connections_per_peer_max", 1, 7000),
        ("calls_per_minute_max", 10, 100_000),
        ("watches_per_person_max", 1, 256),
    ] {
        for good in [min, max] {
            assert!(Place::new().load(&set(&format!("{key} = {good}"))).is_ok(), "{key} = {good}");
        }
        for bad in [min - 1, max + 1] {
            let part = format!("must be a whole number from {min} to {max}");
            refused(&set(&format!("{key} = {bad}")), &format!("server.limits.{key}"), &part);
        }
    }
}
