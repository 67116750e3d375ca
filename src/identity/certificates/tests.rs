use std::{fs, path::Path};

use chrono::TimeDelta;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber, string::Ia5String,
};

use tracing::Level;

use super::*;
use crate::{
    clock::ManualClock,
    telemetry::{Format, tests::logged},
};

const NOON: &str = "2026-06-01T12:00:00Z";

fn noon() -> DateTime<Utc> {
    NOON.parse().unwrap()
}

fn time(at: DateTime<Utc>) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(at.timestamp()).unwrap()
}

fn text(text: &str) -> Ia5String {
    text.try_into().unwrap()
}

fn uri(name: &str) -> SanType {
    SanType::URI(text(&format!("spiffe://corp.example/person/{name}")))
}

type Authority = CertifiedIssuer<'static, KeyPair>;

/// An authority of client certificates.
fn authority() -> Authority {
    named_authority("Corp")
}

fn named_authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for a day around noon.
fn issued(by: &Authority, serial: u64, names: Vec<SanType>) -> ClientChain {
    issued_for(by, serial, names, ExtendedKeyUsagePurpose::ClientAuth)
}

fn issued_for(
    by: &Authority,
    serial: u64,
    names: Vec<SanType>,
    usage: ExtendedKeyUsagePurpose,
) -> ClientChain {
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from(serial));
    params.subject_alt_names = names;
    params.extended_key_usages = vec![usage];
    (params.not_before, params.not_after) =
        (time(noon() - TimeDelta::hours(12)), time(noon() + TimeDelta::hours(12)));
    let certificate = params.signed_by(&KeyPair::generate().unwrap(), by).unwrap();
    ClientChain::new(&[certificate.der().clone()]).unwrap()
}

/// A list that is good for an hour.
fn list(by: &Authority, revoked: &[u64]) -> String {
    let entry = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: time(noon() - TimeDelta::hours(1)),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: time(noon() - TimeDelta::hours(1)),
        next_update: time(noon() + TimeDelta::hours(1)),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: revoked.iter().map(entry).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(by).unwrap().pem().unwrap()
}

/// The files, and what checks by them.
struct Setup {
    directory: tempfile::TempDir,
    clock: Arc<ManualClock>,
    authority: Authority,
}

impl Setup {
    fn new() -> Self {
        let setup = Self {
            directory: tempfile::tempdir().unwrap(),
            clock: Arc::new(ManualClock::new(noon())),
            authority: authority(),
        };
        setup.write("ca.pem", &setup.authority.pem());
        setup.write("crl.pem", &list(&setup.authority, &[]));
        setup
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, contents: &str) {
        fs::write(self.path(name), contents).unwrap();
    }

    fn try_load(&self, rule: &str) -> Result<Certificates, TrustError> {
        let ids = |ids: &[&str]| ids.iter().map(ToString::to_string).collect();
        let settings = CertificateSettings {
            ca_file: self.path("ca.pem"),
            crl_file: Some(self.path("crl.pem")),
            person: rule.parse().unwrap(),
            groups: [
                ("developers".to_owned(), ids(&["alice", "bob"])),
                ("leads".to_owned(), ids(&["olivia"])),
            ]
            .into(),
        };
        Certificates::load(settings, self.clock.clone())
    }

    fn load(&self) -> Certificates {
        self.try_load("uri:spiffe://corp.example/person/*").unwrap()
    }
}

fn refusal(certificates: &Certificates, chain: &ClientChain) -> String {
    certificates.verify(chain).unwrap_err().to_string()
}

#[test]
fn a_certificate_says_who_calls_until_when_and_the_configuration_in_which_groups() {
    let setup = Setup::new();
    let certificates = setup.load();
    let verified = certificates.verify(&issued(&setup.authority, 1, vec![uri("alice")])).unwrap();
    assert_eq!(verified.caller.person, Person { subject: "cert:alice".into(), name: "alice".into() });
    assert_eq!(verified.caller.groups, BTreeSet::from(["developers".to_owned()]));
    assert_eq!(verified.expires_at, noon() + TimeDelta::hours(12));
    let nobody = certificates.verify(&issued(&setup.authority, 2, vec![uri("mallory")])).unwrap();
    assert!(nobody.caller.groups.is_empty());
}

#[test]
fn what_the_authority_did_not_make_for_clients_and_for_now_is_refused() {
    let setup = Setup::new();
    let certificates = setup.load();
    let good = issued(&setup.authority, 1, vec![uri("alice")]);
    let stranger = issued(&authority(), 1, vec![uri("alice")]);
    assert!(refusal(&certificates, &stranger).contains("authority that isn't trusted"));
    let server = issued_for(&setup.authority, 2, vec![uri("alice")], ExtendedKeyUsagePurpose::ServerAuth);
    assert!(refusal(&certificates, &server).contains("isn't one for clients"));
    setup.clock.set(noon() - TimeDelta::hours(13));
    assert!(refusal(&certificates, &good).contains("isn't valid yet"));
    setup.clock.set(noon());
    assert!(certificates.verify(&good).is_ok());
    setup.clock.set(noon() + TimeDelta::hours(13));
    assert!(refusal(&certificates, &good).contains("is expired"));
}

#[test]
fn a_revocation_counts_from_the_next_look_at_the_file() {
    let setup = Setup::new();
    let certificates = setup.load();
    let (alice, bob) =
        (issued(&setup.authority, 1, vec![uri("alice")]), issued(&setup.authority, 2, vec![uri("bob")]));
    assert!(certificates.verify(&alice).is_ok());
    setup.write("crl.pem", &list(&setup.authority, &[1]));
    assert!(certificates.verify(&alice).is_ok(), "nobody has looked yet");
    certificates.reload();
    assert_eq!(refusal(&certificates, &alice), "the client's certificate is revoked");
    assert!(certificates.verify(&bob).is_ok());
    let handshake = ClientCertVerifier::verify_client_cert(&certificates, &alice.0[0], &[], unix(noon()));
    assert!(handshake.is_err(), "in the handshake, too");
}

/// Fails closed: with what is no list, with none, with another authority's, with an old one.
#[test]
fn a_list_that_went_bad_lets_nobody_in_until_it_is_mended() {
    let setup = Setup::new();
    let certificates = setup.load();
    let alice = issued(&setup.authority, 1, vec![uri("alice")]);
    for bad in ["", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", &setup.authority.pem()] {
        setup.write("crl.pem", bad);
        certificates.reload();
        assert_eq!(certificates.verify(&alice), Err(IdentityError::TrustUnavailable), "{bad}");
        let handshake = ClientCertVerifier::verify_client_cert(&certificates, &alice.0[0], &[], unix(noon()));
        assert!(handshake.is_err());
        assert!(setup.try_load("email:*@corp.example").is_err(), "nor does the daemon start with it");
    }
    fs::remove_file(setup.path("crl.pem")).unwrap();
    certificates.reload();
    assert_eq!(certificates.verify(&alice), Err(IdentityError::TrustUnavailable));
    setup.write("crl.pem", &list(&authority(), &[]));
    certificates.reload();
    assert!(certificates.verify(&alice).is_err(), "it says nothing of this authority's");
    setup.write("crl.pem", &list(&setup.authority, &[]));
    certificates.reload();
    assert!(certificates.verify(&alice).is_ok());
    let look = || logged(Level::INFO, Format::Json, || certificates.reload());
    assert_eq!(look(), "");
    setup.clock.advance(TimeDelta::hours(2));
    assert_eq!(certificates.verify(&alice), Err(IdentityError::TrustUnavailable), "it is out of date");
    assert!(look().contains("revocation-list-expired"));
    assert_eq!(look(), "", "it is told once");
}

#[test]
fn authorities_are_changed_while_it_runs_and_fail_closed_too() {
    let setup = Setup::new();
    let certificates = setup.load();
    let alice = issued(&setup.authority, 1, vec![uri("alice")]);
    setup.write("ca.pem", "nothing");
    certificates.reload();
    assert_eq!(certificates.verify(&alice), Err(IdentityError::TrustUnavailable));
    let next = named_authority("Corp 2");
    setup.write("ca.pem", &next.pem());
    setup.write("crl.pem", &[list(&next, &[]), list(&setup.authority, &[])].concat());
    certificates.reload();
    assert!(refusal(&certificates, &alice).contains("isn't trusted"));
    assert!(certificates.verify(&issued(&next, 1, vec![uri("alice")])).is_ok());
    setup.write("ca.pem", &[next.pem(), setup.authority.pem()].concat());
    certificates.reload();
    assert!(certificates.verify(&alice).is_ok(), "several lists and several authorities");
}

/// The authorities between count, too: each certificate of the chain has to be spoken of by its issuer's list.
#[test]
fn a_revoked_authority_takes_along_what_it_issued() {
    let setup = Setup::new();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Between");
    params.serial_number = Some(SerialNumber::from(7_u64));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let between = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &setup.authority).unwrap();
    let own = issued(&between, 1, vec![uri("alice")]);
    let chain = ClientChain::new(&[own.0[0].clone(), between.der().clone()]).unwrap();
    let certificates = setup.load();
    assert!(refusal(&certificates, &chain).contains("whose revocation list isn't known"));
    setup.write("crl.pem", &[list(&setup.authority, &[]), list(&between, &[])].concat());
    certificates.reload();
    certificates.verify(&chain).unwrap();
    setup.write("crl.pem", &[list(&setup.authority, &[7]), list(&between, &[])].concat());
    certificates.reload();
    assert_eq!(refusal(&certificates, &chain), "the client's certificate is revoked");
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let setup = Setup::new();
    for name in ["ca.pem", "crl.pem"] {
        let whole = fs::read_to_string(setup.path(name)).unwrap();
        fs::remove_file(setup.path(name)).unwrap();
        let error = setup.try_load("email:*@corp.example").unwrap_err();
        assert!(error.to_string().contains(&setup.path(name).display().to_string()), "{error}");
        setup.write(name, &whole);
    }
    assert!(setup.try_load("email:*@corp.example").is_ok());
    assert!(
        super::trust::Trust::load(Path::new("/dev/zero").into(), None).is_err(),
        "no more than it may have"
    );
}

/// Which name a rule finds among some.
fn named(rule: &str, names: Vec<SanType>) -> Result<String, String> {
    let rule: NameRule = rule.parse().unwrap();
    let chain = issued(&authority(), 1, names);
    rule.read(&chain.0[0]).map(|named| named.id).map_err(|error| error.to_string())
}

#[test]
fn exactly_one_name_that_fits_the_rule_is_the_person() {
    let dns = |name: &str| SanType::DnsName(text(name));
    let email = |name: &str| SanType::Rfc822Name(text(name));
    let by_uri = "uri:spiffe://corp.example/person/*";
    assert_eq!(
        named(by_uri, vec![dns("bob.corp.example"), uri("alice"), email("x@corp.example")]).unwrap(),
        "alice"
    );
    let by_host = "dns:*.people.Corp.example";
    assert_eq!(named(by_host, vec![dns("ALICE.People.corp.example")]).unwrap(), "alice");
    let by_mail = "email:*@corp.example";
    assert_eq!(named(by_mail, vec![email("Alice.B@CORP.example")]).unwrap(), "Alice.B");
    let in_between = "uri:urn:corp:person:*/human";
    assert_eq!(named(in_between, vec![SanType::URI(text("urn:corp:person:alice/human"))]).unwrap(), "alice");

    let other = |name: &str| SanType::URI(text(name));
    for (rule, names, part) in [
        (by_uri, vec![], "doesn't say who"),
        (by_uri, vec![other("spiffe://corp.example/service/alice")], "doesn't say who"),
        (by_uri, vec![other("spiffe://corp.example.evil/person/alice")], "doesn't say who"),
        (by_uri, vec![other("x-spiffe://corp.example/person/alice")], "doesn't say who"),
        (by_uri, vec![dns("alice"), email("alice@corp.example")], "doesn't say who"),
        (by_uri, vec![uri("alice"), uri("bob")], "more than one person"),
        (by_uri, vec![uri("alice"), uri("alice")], "more than one person"),
        (by_uri, vec![uri("alice"), uri("")], "more than one person"),
        (by_uri, vec![uri("")], "can't be used"),
        (by_uri, vec![uri("alice/admin")], "can't be used"),
        (by_uri, vec![uri("al%69ce")], "can't be used"),
        (by_uri, vec![uri("alice?x")], "can't be used"),
        (by_uri, vec![uri("../alice")], "can't be used"),
        (by_uri, vec![uri(&"x".repeat(65))], "can't be used"),
        (by_host, vec![dns("people.corp.example")], "doesn't say who"),
        (by_host, vec![dns("*.people.corp.example")], "can't be used"),
        (by_host, vec![dns("web.alice.people.corp.example")], "doesn't say who"),
        (by_mail, vec![email("alice@corp.example.evil")], "doesn't say who"),
        (by_mail, vec![email("alice@evil@corp.example")], "can't be used"),
        (by_mail, vec![email("corp.example")], "doesn't say who"),
    ] {
        let shown = format!("{rule} {names:?}");
        let refused = named(rule, names).unwrap_err();
        assert!(refused.contains(part), "{shown}: {refused}");
    }
}

#[test]
fn a_rule_leaves_nothing_to_the_certificates_bearer() {
    for bad in [
        "",
        "*",
        "uri:*",
        "uri:spiffe://corp.example/*/*",
        "uri:spiffe://corp.example/person",
        "uri:spiffe://corp*",
        "uri:spiffe://corp.example/a*b",
        "uri:person/*",
        "uri:spiffe://corp.example/*x",
        "dns:*",
        "dns:*.",
        "dns:*.corp",
        "dns:x*.corp.example",
        "dns:*.a..b",
        "email:*",
        "email:*@",
        "email:*@corp",
        "email:a*@corp.example",
        "ip:*",
        "URI:spiffe://corp.example/*",
        "uri:spiffe://corp.example/%41/*",
        "email:*@corp.exa mple",
    ] {
        assert!(bad.parse::<NameRule>().is_err(), "{bad}");
    }
    for good in
        ["uri:spiffe://corp.example/person/*", "uri:urn:x:*", "dns:*.p.example", "email:*@corp.example"]
    {
        assert_eq!(good.parse::<NameRule>().unwrap().to_string(), good);
    }
}
