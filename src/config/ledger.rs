//! `[ledger]`: by which name and which key the log signs its checkpoints, and which witnesses are shown them.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use serde_json::json;
use url::Url;

use super::{
    files::Files,
    found::{Found, Read},
    section::Section,
    value,
};
use crate::ledger::{
    checkpoint::ORIGIN_MAX_BYTES,
    note::{Kind, VerifierKey},
};

const ORIGIN: &str = "'hallpass'";
const TRANSIT_MOUNT: &str = "'transit'";
const TRANSIT_KEY: &str = "'hallpass-ledger'";
const INTERVAL: &str = "'1m'";
/// Each checkpoint is a signature by Vault and a durable write; after an hour nobody remembers what it is about.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
const INTERVAL_MAX: Duration = Duration::from_hours(1);

/// How the log is signed and witnessed.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// The log's name.
    pub origin: String,
    /// What signs.
    pub signer: Signer,
    /// How long a log that has grown waits for its checkpoint.
    pub interval: Duration,
    /// Who is shown the checkpoints, and who may bring cosignatures.
    pub witnesses: Vec<Witness>,
}

/// Where the signing key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signer {
    /// In Vault, which never gives it away.
    Transit {
        /// The mount of the transit engine.
        mount: String,
        /// The key's name there.
        key: String,
    },
    /// In a file.
    File(PathBuf),
}

/// A witness.
#[derive(Clone, Debug)]
pub struct Witness {
    /// What it is called here.
    pub name: String,
    /// Where it is.
    pub place: Place,
}

/// Where a witness is.
#[derive(Clone, Debug)]
pub enum Place {
    /// A directory outside the daemon's reach, such as a mount that only takes new files.
    Directory(PathBuf),
    /// A server that is asked, by the C2SP protocol.
    Url {
        /// What `/add-checkpoint` is below.
        url: Url,
        /// The authorities that its certificate may come from, PEM; the system's if there is none.
        ca_file: Option<PathBuf>,
        /// By which its cosignatures are known.
        key: VerifierKey,
    },
    /// It comes by itself, over gRPC.
    Comes {
        /// By which its cosignatures are known.
        key: VerifierKey,
    },
}

impl Witness {
    /// By which its cosignatures are known, if it makes any.
    #[must_use]
    pub const fn key(&self) -> Option<&VerifierKey> {
        match &self.place {
            Place::Directory(_) => None,
            Place::Url { key, .. } | Place::Comes { key } => Some(key),
        }
    }
}

impl Ledger {
    /// The keys by which cosignatures are known.
    #[must_use]
    pub fn witness_keys(&self) -> Vec<VerifierKey> {
        self.witnesses.iter().filter_map(Witness::key).cloned().collect()
    }
}

pub(super) fn read(mut section: Section<'_>, files: Files<'_>) -> Option<Ledger> {
    let origin = section.or("origin", ORIGIN, origin);
    let signer = signer(&mut section, files);
    let interval = section.or("interval", INTERVAL, value::duration(INTERVAL_MIN..=INTERVAL_MAX));
    let witnesses = witnesses(section.section("witnesses"), files);
    section.finish();
    Some(Ledger { origin: origin?, signer: signer?, interval: interval?, witnesses: witnesses? })
}

/// A key in Vault, unless a file is named.
fn signer(section: &mut Section<'_>, files: Files<'_>) -> Option<Signer> {
    let key_file = section.optional("key_file", |found| files.secret(&value::file(found)?));
    let is_said = section.has("transit_mount") || section.has("transit_key");
    let mount = section.or("transit_mount", TRANSIT_MOUNT, value::vault_path);
    let key = section.or("transit_key", TRANSIT_KEY, value::vault_name);
    match key_file? {
        Some(_) if is_said => {
            section.problem("key_file", "contradicts transit_mount and transit_key; remove it or them");
            None
        }
        Some(file) => Some(Signer::File(file)),
        None => Some(Signer::Transit { mount: mount?, key: key? }),
    }
}

fn witnesses(mut section: Section<'_>, files: Files<'_>) -> Option<Vec<Witness>> {
    let mut known = BTreeSet::new();
    let each = |(name, section)| witness(name, section, files, &mut known);
    let read = section.sections(value::CHOSEN_NAME).into_iter().map(each).collect::<Vec<_>>();
    section.finish();
    read.into_iter().collect()
}

/// `known` are the names of the other witnesses' keys, by which cosignatures are kept.
fn witness(
    name: &str,
    mut section: Section<'_>,
    files: Files<'_>,
    known: &mut BTreeSet<String>,
) -> Option<Witness> {
    let is_name = name.parse::<crate::access::target::TargetName>();
    let named = section.own_checked(is_name.map_err(|_| {
        "is not a witness's name: it takes 1 to 63 of a-z, 0-9 and '-', beginning with a letter".into()
    }));
    let directory = section.optional("directory", value::absolute);
    let url = section.optional("url", value::address);
    let ca_file = section.optional("ca_file", |found| files.public(&value::file(found)?));
    let key = section.optional("verifier_key", verifier_key);
    if let Some(Some(key)) = &key
        && !known.insert(key.name().to_owned())
    {
        section.problem("verifier_key", "has the name of another witness's key; each needs its own");
    }
    let given = directory.zip(url).zip(key.zip(ca_file));
    let place = given.and_then(|((directory, url), (key, ca_file))| {
        place(directory, url, key, ca_file).map_err(|(key, problem)| section.problem(key, problem)).ok()
    });
    section.finish();
    named.and(place).map(|place| Witness { name: name.to_owned(), place })
}

/// Where it is; or what doesn't go together: the key, and what to write instead.
fn place(
    directory: Option<PathBuf>,
    url: Option<Url>,
    key: Option<VerifierKey>,
    ca_file: Option<PathBuf>,
) -> Result<Place, (&'static str, &'static str)> {
    match (directory, url, key) {
        (Some(_), Some(_), _) => Err(("directory", "contradicts url; make two witnesses of them")),
        (Some(_), None, Some(_)) => {
            Err(("verifier_key", "is of no use with directory, which cosigns nothing; remove it"))
        }
        (None, Some(_), None) => {
            Err(("verifier_key", "is missing; write the verifier key that the witness's operator gave you"))
        }
        (None, None, None) => Err((
            "verifier_key",
            "is missing; write directory, or url and verifier_key, or verifier_key alone for a witness that comes by itself",
        )),
        (None, Some(url), Some(key)) => Ok(Place::Url { url, ca_file, key }),
        _ if ca_file.is_some() => Err(("ca_file", "is of no use without url; remove it")),
        (Some(directory), None, None) => Ok(Place::Directory(directory)),
        (None, None, Some(key)) => Ok(Place::Comes { key }),
    }
}

/// The name of the log, which is the name of its key as well.
fn origin(value: &Found<'_>) -> Read<String> {
    value.as_of(|| json!({ "type": "string", "pattern": "^[^\\s+]+$", "maxLength": ORIGIN_MAX_BYTES }))?;
    let text = value::text(value)?;
    // Any key will do: it is the name that is tried.
    match VerifierKey::new(&text, Kind::Plain, [0; 32]) {
        Ok(_) => Ok(text),
        Err(_) => Err(format!(
            "must be a name without white space and '+', {ORIGIN_MAX_BYTES} bytes at most, like \"hallpass.example/production\""
        )),
    }
}

/// Tools write the keys of witnesses in either of two kinds; the key is the same.
fn verifier_key(value: &Found<'_>) -> Read<VerifierKey> {
    value.as_of(|| value::pattern_shape("^[^\\s+]+\\+[0-9a-f]{8}\\+[A-Za-z0-9+/=]+$"))?;
    VerifierKey::parse(&value::text(value)?)
        .map(|key| key.of_kind(Kind::Cosignature))
        .map_err(|bad| bad.to_string())
}
