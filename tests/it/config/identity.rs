//! How connections are protected, who says who calls, and how much of anything there may be.

use std::collections::BTreeSet;

use hallpass::{
    config::Tls,
    grpc::{Limits, SocketPlace},
    identity::{Algorithm, CertificateSettings, KeySource, SocketSettings},
};

use super::{CERTIFICATES, GOOD, PLAINTEXT, Place, SOCKET, TLS, refused, with};

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
