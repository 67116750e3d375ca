//! `[identity]`: whose word counts for who a caller is, and who is whom.
//!
//! `[identity.oidc.<name>]` is an OIDC issuer; a token can't choose anything but one of them. `[identity.certificates]` are
//! clients' certificates, `[identity.socket]` the users behind the Unix socket. `[identity.persons.<name>]` says which
//! identities are one person.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use serde_json::json;
use toml::de::DeValue;
use url::Url;

use super::{
    files::Files,
    found::{Found, Read},
    section::Section,
    server::{Server, Tls},
    value,
};
use crate::{
    access::{
        actor::Persons,
        target::TargetName,
        text::{LINE_MAX_BYTES, line},
    },
    identity::{
        Algorithm, CERTIFICATE_SOURCE, CertificateSettings, ClaimPath, ClaimPaths, KeySource, NOBODY,
        SOCKET_SOURCE, Settings, SocketSettings,
    },
};

/// Where an issuer says where its keys are (`OpenID` Connect Discovery 1.0, section 4).
const DISCOVERY: &str = "/.well-known/openid-configuration";
/// Signatures by key pairs only: with a shared secret, whoever checks a token could make one.
const ALGORITHMS: &[(&str, Algorithm)] = &[
    (Algorithm::EdDsa.name(), Algorithm::EdDsa),
    (Algorithm::Es256.name(), Algorithm::Es256),
    (Algorithm::Rs256.name(), Algorithm::Rs256),
];

/// Who says who a caller is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The issuers of tokens.
    pub issuers: Vec<Settings>,
    /// What is trusted of clients' certificates, if they say who calls.
    pub certificates: Option<CertificateSettings>,
    /// Who the users behind the Unix socket are, if there is one.
    pub socket: Option<SocketSettings>,
    /// Which identities are one person.
    pub persons: Persons,
}

/// Which subjects there can be: those of the sources of identities, and the people who are put together of them.
pub(super) struct Known<'a> {
    sources: BTreeSet<&'a str>,
    persons: &'a Persons,
}

impl Identity {
    pub(super) fn known(&self) -> Known<'_> {
        let issuers = self.issuers.iter().map(|issuer| issuer.name.as_str());
        let certificates = self.certificates.as_ref().map(|_| CERTIFICATE_SOURCE);
        let socket = self.socket.as_ref().map(|_| SOCKET_SOURCE);
        let sources = issuers.chain(certificates).chain(socket).collect();
        Known { sources, persons: &self.persons }
    }
}

impl Known<'_> {
    /// Whether somebody can have this subject, or what to write instead.
    pub(super) fn must_know(&self, subject: &str) -> Read<()> {
        let person = self.persons.subject(subject);
        if person != subject {
            return Err(format!("is an identity of {person:?}; write that"));
        }
        let known = match subject.split_once(':') {
            Some(_) if subject.starts_with(Persons::PREFIX) => self.persons.has(subject),
            Some((source, id)) => self.sources.contains(source) && !id.is_empty(),
            None => false,
        };
        if known {
            return Ok(());
        }
        Err("must be \"person:NAME\" as in [identity.persons.NAME], or an issuer's name as in [identity.oidc.NAME] (or \
             \"cert\" or \"socket\"), a ':', and the id there"
            .to_owned())
    }
}

/// Groups or users by a name that the file chooses, and who belongs there.
type Members = BTreeMap<String, BTreeSet<String>>;

pub(super) fn read(mut section: Section<'_>, files: Files<'_>, server: Option<&Server>) -> Option<Identity> {
    let (oidc, certificates, socket) =
        (section.section("oidc"), section.section("certificates"), section.section("socket"));
    let is_only_oidc = !certificates.is_there() && !socket.is_there();
    let sources = [(certificates.is_there(), CERTIFICATE_SOURCE), (socket.is_there(), SOCKET_SOURCE)];
    let issuers = issuers(oidc, files, is_only_oidc);
    let certificates = read_certificates(certificates, files, server);
    let socket = read_socket(socket, server);
    let sources = sources.into_iter().filter_map(|(is_there, source)| is_there.then_some(source));
    let names = issuers.as_ref().map(|issuers| issuers.iter().map(|issuer| issuer.name.as_str()));
    let sources: Option<BTreeSet<&str>> = names.map(|names| names.chain(sources).collect());
    let persons = persons(section.section("persons"), sources.as_ref());
    section.finish();
    Some(Identity { issuers: issuers?, certificates: certificates?, socket: socket?, persons: persons? })
}

#[expect(clippy::option_option, reason = "the outer one says whether a problem was reported")]
fn read_certificates(
    mut section: Section<'_>,
    files: Files<'_>,
    server: Option<&Server>,
) -> Option<Option<CertificateSettings>> {
    if !section.is_there() {
        return Some(None);
    }
    if server.is_some_and(|server| server.tls == Tls::PlaintextOnLoopback) {
        section.own_problem(
            "takes TLS: write server.tls_cert_file and server.tls_key_file instead of plaintext",
        );
    }
    let write = "the file of the authorities that clients' certificates come from";
    let ca_file = section.required("ca_file", write, |found| files.public(&value::file(found)?));
    let crl_file = section.optional("crl_file", |found| files.public(&value::file(found)?));
    let write = "which name in a certificate says who somebody is, like \"email:*@corp.example\"";
    let person = section.required("person", write, value::parsed);
    let groups = members(section.section("groups"), "the people in it, like [\"alice\"]");
    section.finish();
    Some(Some(CertificateSettings {
        ca_file: ca_file?,
        crl_file: crl_file?,
        person: person?,
        groups: groups?,
    }))
}

#[expect(clippy::option_option, reason = "the outer one says whether a problem was reported")]
fn read_socket(mut section: Section<'_>, server: Option<&Server>) -> Option<Option<SocketSettings>> {
    let door = server.map(|server| server.socket.is_some());
    match (door, section.is_there()) {
        (Some(true), false) => {
            section.own_problem("is missing; write who may come in by the socket of [server.socket]");
            return None;
        }
        (_, false) => return Some(None),
        (Some(false), true) => section.own_problem("takes a socket; write [server.socket]"),
        _ => {}
    }
    let people = section.section("people").entries(|user, name| {
        if user == NOBODY.to_string() || user == "nobody" {
            return Err("stands for everybody whom the system doesn't know; it can't be a person".to_owned());
        }
        line(user).map_err(|_| "must be a user's id or name".to_owned())?;
        let name = value::text(name)?;
        line(&name).map_err(|bad| bad.to_string())?;
        Ok(name)
    });
    let groups =
        members(section.section("groups"), "the system's groups in it, like [\"developers\", \"1001\"]");
    section.finish();
    Some(Some(SocketSettings { people: people?, groups: groups? }))
}

/// Groups of ours, each with what belongs to it.
fn members(section: Section<'_>, write: &str) -> Option<Members> {
    section.entries(|group, list| {
        line(group).map_err(|_| {
            format!("is not a group's name: it takes one line, {LINE_MAX_BYTES} bytes at most")
        })?;
        value::groups(list).map_err(|_| format!("must be a list of {write}"))
    })
}

fn issuers(mut section: Section<'_>, files: Files<'_>, is_needed: bool) -> Option<Vec<Settings>> {
    let mut seen = BTreeSet::new();
    let sections = section.sections(value::CHOSEN_NAME);
    let is_one_of_several = sections.len() > 1;
    let mut read = Vec::new();
    for (name, section) in sections {
        read.push(issuer(name, section, files, is_one_of_several, &mut seen));
    }
    if read.is_empty() && is_needed {
        section.own_problem(
            "is missing, so that nobody could call; write [identity.oidc.NAME] for an issuer, or \
             [identity.certificates], or [identity.socket]",
        );
        return None;
    }
    read.into_iter().collect()
}

fn issuer(
    name: &str,
    mut section: Section<'_>,
    files: Files<'_>,
    is_one_of_several: bool,
    seen: &mut BTreeSet<String>,
) -> Option<Settings> {
    let named = section.own_checked(issuer_name(name));
    let issuer = section.required(
        "issuer",
        "the \"iss\" of the tokens, like \"https://vault.example:8200/v1/identity/oidc\"",
        |value| {
            let issuer = value::text(value)?;
            if seen.insert(issuer.clone()) { Ok(issuer) } else { Err("is another section's, too".to_owned()) }
        },
    );
    let audience =
        section.required("audience", "the \"aud\" of the tokens: the client id at the issuer", value::text);
    let algorithms = section.or("algorithms", "['EdDSA']", algorithms);
    let keys = keys(&mut section, issuer.as_deref(), files);
    let ca_file = section.optional("ca_file", |found| files.public(&value::file(found)?));
    let subject = section.or("subject_claim", "'sub'", claim_path);
    let name = section.or("name_claim", "'name'", claim_path);
    let groups = section.or("groups_claim", "'groups'", claim_path);
    let vouches_for = section.optional("groups", value::groups);
    if is_one_of_several && matches!(vouches_for, Some(None)) {
        let problem = "is missing; where there are several issuers, write the groups that this one's word counts for, \
                       or anybody who rules over one of them could make himself approver";
        section.problem("groups", problem);
    }
    section.finish();
    Some(Settings {
        name: named?,
        issuer: issuer?,
        audience: audience?,
        algorithms: algorithms?,
        keys: keys?,
        ca_file: ca_file?,
        claims: ClaimPaths { subject: subject?, name: name?, groups: groups? },
        groups: vouches_for?,
    })
}

/// It stands in subjects before a ':'.
fn issuer_name(name: &str) -> Read<String> {
    if format!("{name}:") == Persons::PREFIX {
        return Err("is not a name for an issuer: it stands for people".to_owned());
    }
    if matches!(name, CERTIFICATE_SOURCE | SOCKET_SOURCE) {
        return Err("is not a name for an issuer: subjects of another source begin with it".to_owned());
    }
    plain(name, "an issuer").map(|()| name.to_owned())
}

/// Whether a name that the file chooses has the alphabet of a target's, which fits into subjects and logs.
fn plain(name: &str, of: &str) -> Read<()> {
    name.parse::<TargetName>().map(drop).map_err(|_| {
        format!("is not a name for {of}: it takes 1 to 63 of a-z, 0-9 and '-', beginning with a letter")
    })
}

fn algorithms(value: &Found<'_>) -> Read<Vec<Algorithm>> {
    let one = || Found::shape_of(value::choice(ALGORITHMS));
    let value = value.as_of(|| json!({ "type": "array", "minItems": 1, "items": one() }))?;
    let list = value.as_array().filter(|list| !list.is_empty());
    let list = list.ok_or("must be a list of at least one algorithm, like [\"EdDSA\"]")?;
    list.iter().map(|item| value::choice(ALGORITHMS)(&Found::Value(item.get_ref()))).collect()
}

fn keys(section: &mut Section<'_>, issuer: Option<&str>, files: Files<'_>) -> Option<KeySource> {
    let url = section.optional("keys_url", value::address);
    let file: Option<Option<PathBuf>> =
        section.optional("keys_file", |found| files.public(&value::file(found)?));
    match (url?, file?) {
        (Some(_), Some(_)) => {
            section.problem("keys_file", "can't be beside keys_url; leave one of them out");
            None
        }
        (Some(url), None) => Some(KeySource::Url(url)),
        (None, Some(file)) => Some(KeySource::File(file)),
        (None, None) => section.checked("keys_url", discovery(issuer?)).map(KeySource::Discovery),
    }
}

fn discovery(issuer: &str) -> Read<Url> {
    let url = format!("{}{DISCOVERY}", issuer.trim_end_matches('/'));
    value::url(Some(&url))
        .map_err(|why| format!("is missing, and the issuer with {DISCOVERY} behind it won't do: it {why}"))
}

/// A claim, with a '.' between it and the object that it stands in, or as a list where names have dots themselves.
fn claim_path(value: &Found<'_>) -> Read<ClaimPath> {
    let list = || json!({ "type": "array", "minItems": 1, "items": value::line_shape() });
    let value = value.as_of(|| json!({ "anyOf": [{ "type": "string", "minLength": 1 }, list()] }))?;
    let names: Option<Vec<String>> = match (value.as_str(), value.as_array()) {
        (Some(dotted), _) => Some(dotted.split('.').map(str::to_owned).collect()),
        (None, Some(list)) => list.iter().map(|name| name.get_ref().as_str().map(str::to_owned)).collect(),
        (None, None) => None,
    };
    let names = names.filter(|names| names.iter().all(|name| line(name).is_ok()));
    names.and_then(ClaimPath::new).ok_or_else(|| {
        "must be the name of a claim, like \"groups\", \"realm_access.roles\" or [\"https://example.com/groups\"]"
            .to_owned()
    })
}

fn persons(mut section: Section<'_>, sources: Option<&BTreeSet<&str>>) -> Option<Persons> {
    let mut persons = Persons::default();
    let mut read = Some(());
    for (name, section) in section.sections(value::CHOSEN_NAME) {
        read = person(name, section, sources, &mut persons).and(read);
    }
    read.map(|()| persons)
}

fn person(
    name: &str,
    mut section: Section<'_>,
    sources: Option<&BTreeSet<&str>>,
    persons: &mut Persons,
) -> Option<()> {
    let named = section.own_checked(plain(name, "a person"));
    let write = "the subjects that are this person's, like [\"vault:8d1c…\", \"corp:00u1…\"]";
    let added = section.required("identities", write, |value| {
        let identities = identities(value, sources)?;
        if identities.iter().all(|identity| persons.add(name, identity)) {
            return Ok(());
        }
        Err("names an identity twice, or one of another person's".to_owned())
    });
    section.finish();
    named.and(added)
}

/// Subjects as the daemon writes them: of an issuer that is known, if the issuers could be read.
fn identities(value: &Found<'_>, sources: Option<&BTreeSet<&str>>) -> Read<Vec<String>> {
    let one = || json!({ "type": "string", "pattern": "^[^:]+:.", "maxLength": LINE_MAX_BYTES });
    let value = value.as_of(|| json!({ "type": "array", "minItems": 1, "items": one() }))?;
    let list = value.as_array().filter(|list| !list.is_empty());
    let list = list.ok_or("must be a list of subjects, like [\"vault:8d1c…\", \"corp:00u1…\"]")?;
    let known = |text: &&str| {
        let source = text.split_once(':').filter(|(_, id)| !id.is_empty()).map(|(source, _)| source);
        let exists = |source| sources.is_none_or(|sources| sources.contains(source));
        line(text).is_ok() && source.is_some_and(exists)
    };
    let identity = |(index, item): (usize, &toml::Spanned<DeValue<'_>>)| {
        item.get_ref().as_str().filter(known).map(str::to_owned).ok_or(index + 1)
    };
    list.iter().enumerate().map(identity).collect::<Result<_, _>>().map_err(|nth| {
        format!(
            "entry {nth} must be an issuer's name as in [identity.oidc.NAME], a ':', and the id that its tokens give; or \
             \"cert:\" or \"socket:\" and the id that [identity.certificates] or [identity.socket] gives, if it is there; \
             {LINE_MAX_BYTES} bytes at most"
        )
    })
}
