//! Where a configuration comes from, and what makes it another one than that in force: by the keys of the two files.
//!
//! What isn't listed here as taking effect at once takes a restart, so that a key which nobody thought of can't be half in
//! force.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use toml::de::DeTable;

use super::{
    Config, Problems,
    found::json,
    section::{Asked, NAME, Questions},
};

/// What takes effect without a restart: these keys, and all in these sections.
const AT_ONCE: [&str; 11] = [
    "alarm",
    "approvals",
    "identity",
    "reconcile",
    "retention",
    "roles",
    "schedule",
    "server.tls_cert_file",
    "server.tls_key_file",
    "targets",
    "vault.wrap_ttl",
];

/// The file that a configuration was read from.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// Its name.
    pub file: PathBuf,
    /// Where its credentials are, if systemd handed some over.
    pub credentials: Option<PathBuf>,
    /// The SHA-256 of its bytes: `sha256:` and what `sha256sum` says.
    pub digest: String,
    /// What it says, by the keys' paths.
    values: BTreeMap<String, Json>,
}

/// What differs, by the keys' paths. A section with a name of the file's choice is named as a whole where only one of the
/// two files has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// What only the second has.
    pub added: Vec<String>,
    /// What only the first has.
    pub removed: Vec<String>,
    /// What says something else.
    pub changed: Vec<String>,
    /// Those of all these that take a restart, unless they only say what the default is.
    pub needs_restart: Vec<String>,
}

impl Origin {
    pub(super) fn new(file: &Path, credentials: Option<&Path>, text: &str) -> Self {
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(text.as_bytes())));
        let mut values = BTreeMap::new();
        if let Ok(table) = DeTable::parse(text) {
            let table = json(&toml::de::DeValue::Table(table.into_inner()));
            flatten("", table, &mut values);
        }
        Self { file: file.to_owned(), credentials: credentials.map(Path::to_owned), digest, values }
    }

    /// Reads the same file as it is now.
    ///
    /// # Errors
    ///
    /// Like [`Config::load`].
    pub fn load_again(&self) -> Result<Config, Problems> {
        Config::load(&self.file, self.credentials.as_deref())
    }

    /// What `next` says otherwise.
    #[must_use]
    pub fn difference(&self, next: &Self) -> Difference {
        let questions = super::questions();
        let effective = |origin: &Self, path: &str| {
            origin.values.get(path).cloned().or_else(|| default(&questions, path))
        };
        let all: BTreeSet<&String> = self.values.keys().chain(next.values.keys()).collect();
        let needs_restart =
            |path: &&&String| !is_at_once(path) && effective(self, path) != effective(next, path);
        let both = |path: &&&String| self.values.contains_key(**path) && next.values.contains_key(**path);
        let differs = |path: &&&String| self.values.get(**path) != next.values.get(**path);
        Difference {
            added: next.without(self, &questions),
            removed: self.without(next, &questions),
            changed: all.iter().filter(both).filter(differs).map(ToString::to_string).collect(),
            needs_restart: all.iter().filter(needs_restart).map(ToString::to_string).collect(),
        }
    }

    /// What this has and the other hasn't.
    fn without(&self, other: &Self, questions: &Questions) -> Vec<String> {
        let missing = self.values.keys().filter(|path| !other.values.contains_key(*path));
        let named = |path: &String| match section_of(path, questions) {
            Some(section) if !other.has(&section) => section,
            _ => path.clone(),
        };
        missing.map(named).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn has(&self, section: &str) -> bool {
        self.values.keys().any(|path| is_below(path, section))
    }
}

fn flatten(above: &str, value: Json, values: &mut BTreeMap<String, Json>) {
    match value {
        Json::Object(table) => {
            for (key, value) in table {
                let path = if above.is_empty() { key } else { format!("{above}.{key}") };
                flatten(&path, value, values);
            }
        }
        value => {
            values.insert(above.to_owned(), value);
        }
    }
}

fn is_below(path: &str, section: &str) -> bool {
    path.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn is_at_once(path: &str) -> bool {
    AT_ONCE.iter().any(|known| is_below(path, known))
}

/// The section with a name of the file's choice that a key stands in, if it does.
fn section_of(path: &str, questions: &Questions) -> Option<String> {
    questions.keys().filter_map(|asked| asked.strip_suffix(NAME)).find_map(|above| {
        let name = path.strip_prefix(above)?.split('.').next()?;
        Some(format!("{above}{name}"))
    })
}

fn default(questions: &Questions, path: &str) -> Option<Json> {
    match questions.get(path) {
        Some(Asked::Key { default, .. }) => default.clone(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "[store]\npath = '/a'\n[vault]\nwrap_ttl = '5m'\n[roles]\nauditors = []\n\
                         [targets.orders]\nwindow_max = '1h'\npause = '1m'\n[targets.jobs]\nwindow_max = '1h'\n";

    fn difference(second: &str) -> Difference {
        let of = |text| Origin::new(Path::new("/x"), None, text);
        of(FIRST).difference(&of(second))
    }

    #[test]
    fn the_same_is_no_difference_whatever_its_order_and_comments() {
        assert_eq!(difference(&format!("# Monday\n{FIRST}")), Difference::default());
    }

    #[test]
    fn keys_and_named_sections_are_told_apart() {
        let second = FIRST
            .replace("[targets.jobs]", "[targets.mail]")
            .replace("pause = '1m'", "grants_max = 1")
            .replace("auditors = []", "auditors = ['a']");
        let Difference { added, removed, changed, needs_restart } = difference(&second);
        assert_eq!(added, ["targets.mail", "targets.orders.grants_max"]);
        assert_eq!(removed, ["targets.jobs", "targets.orders.pause"]);
        assert_eq!(changed, ["roles.auditors"]);
        assert_eq!(needs_restart, [""; 0]);
    }

    #[test]
    fn what_is_not_known_to_take_effect_at_once_takes_a_restart() {
        let second = FIRST.replace("'/a'", "'/b'") + "[log]\nlevel = 'debug'\n[new]\nkey = 1\n";
        assert_eq!(difference(&second).needs_restart, ["log.level", "new.key", "store.path"]);
        let said = FIRST.to_owned() + "[log]\nlevel = 'info'\n";
        let Difference { added, needs_restart, .. } = difference(&said);
        assert_eq!((added, needs_restart), (vec!["log.level".to_owned()], vec![]), "it is so already");
    }

    /// A key that takes effect at once is one that there is, and those that take a restart are these.
    #[test]
    fn each_key_takes_effect_at_once_or_takes_a_restart() {
        let questions = super::super::questions();
        for known in AT_ONCE {
            assert!(questions.contains_key(known), "{known}");
        }
        let is_key = |(path, asked): (&String, &Asked)| {
            (matches!(asked, Asked::Key { .. }) && !is_at_once(path)).then(|| path.clone())
        };
        let restart: Vec<String> = questions.iter().filter_map(is_key).collect();
        let expected = [
            "ledger.interval",
            "ledger.key_file",
            "ledger.origin",
            "ledger.transit_key",
            "ledger.transit_mount",
            "ledger.witnesses.<name>.ca_file",
            "ledger.witnesses.<name>.directory",
            "ledger.witnesses.<name>.url",
            "ledger.witnesses.<name>.verifier_key",
            "log.format",
            "log.level",
            "report.directory",
            "report.schedule",
            "server.limits.calls_per_minute_max",
            "server.limits.connections_max",
            "server.limits.connections_per_peer_max",
            "server.limits.watches_per_person_max",
            "server.listen",
            "server.plaintext",
            "server.socket.group",
            "server.socket.mode",
            "server.socket.owner",
            "server.socket.path",
            "store.clock_max",
            "store.control",
            "store.name",
            "store.password_file",
            "store.path",
            "store.takeover_after",
            "store.url",
            "vault.address",
            "vault.approle_mount",
            "vault.ca_file",
            "vault.namespace",
            "vault.role_id",
            "vault.secret_id_file",
            "vault.timeout",
            "vault.token_role",
        ];
        assert_eq!(restart, expected);
    }
}
