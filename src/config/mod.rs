//! The configuration: what the file says becomes what the program needs, or a list of everything that is wrong.
//!
//! ```text
//! file --toml--> table --Section, value--> Config
//!                            '--> Problems, all at once
//! ```
//!
//! Nothing is bound, opened for writing or asked over the network here, so that `hallpassd check` can be run anywhere.
//! Secrets come by file and stay there: none is read. No environment variable is looked at; systemd's credentials
//! directory is handed in.

mod approvals;
mod change;
mod deciding;
mod files;
mod found;
mod identity;
mod ledger;
mod log;
mod problem;
mod schema;
mod section;
mod server;
mod store;
mod targets;
mod upkeep;
mod value;
mod vault;

use std::{
    collections::BTreeSet,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::de::DeTable;

pub use self::{
    change::{Difference, Origin},
    identity::Identity,
    ledger::{Ledger, Place, Signer, Witness},
    log::Log,
    problem::{Problem, Problems},
    schema::schema,
    server::{Server, Tls},
    store::{Database, Shared, Store},
    upkeep::{Reconcile, Reports, Retention},
    vault::Vault,
};
use self::{
    files::Files,
    section::{Asked, Questions, Report, Section},
};
use crate::{access::policy::Policy, schedule::Schedule, signature::Signers};

/// A thousand targets take a third of it; what is longer is not a configuration.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// What the program needs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it was read from.
    pub origin: Origin,
    /// Where it listens.
    pub server: Server,
    /// Where it keeps its records.
    pub store: Store,
    /// How it reaches Vault.
    pub vault: Vault,
    /// Who says who a caller is.
    pub identity: Identity,
    /// Whose keys sign approvals.
    pub signers: Signers,
    /// When the sweep runs, even if no timer asks for it: at least once an hour.
    pub sweep: Schedule,
    /// When Vault and the records are compared, and what is done about what is found.
    pub reconcile: Reconcile,
    /// How long the texts of what is over are kept.
    pub retention: Retention,
    /// Where the daemon writes the report of each month.
    pub reports: Reports,
    /// How long an ending may take before an alarm is raised.
    pub alarm_after: Duration,
    /// How the log is signed and witnessed.
    pub ledger: Ledger,
    /// What it logs.
    pub log: Log,
    /// Who may do what, from `[roles]` and `[targets]`.
    pub policy: Policy,
}

impl Config {
    /// Reads a file. `credentials` is systemd's `$CREDENTIALS_DIRECTORY`, which paths that begin with `credential:` are
    /// looked up in.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the file, or that it can't be read.
    pub fn load(file: &Path, credentials: Option<&Path>) -> Result<Self, Problems> {
        let whole = |problem| Problem { path: String::new(), line: None, problem };
        let text = contents(file).map_err(|why| Problems::new(file, vec![whole(why)]))?;
        let origin = Origin::new(file, credentials, &text);
        let (config, mut problems) = examine(&text, Files { credentials }, origin);
        problems.extend(files::rewritable(file).map(whole));
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(Problems::new(file, problems)),
        }
    }
}

/// Reads a text as [`Config::load`] reads a file, for the fuzz targets (`tests/fuzz`). In no other build than theirs and the
/// tests'.
///
/// # Errors
///
/// Everything that is wrong with it.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub fn of_text(text: &str) -> Result<Config, Problems> {
    let file = Path::new("hallpassd.toml");
    let (config, problems) = examine(text, Files { credentials: None }, Origin::new(file, None, text));
    config.filter(|_| problems.is_empty()).ok_or_else(|| Problems::new(file, problems))
}

/// Where a file says that the records are, and where their daemon is asked, whatever else is wrong with it: for whoever only
/// looks for the daemon. The first is none if they are on a server.
#[must_use]
pub fn store_places(file: &Path) -> Option<(Option<PathBuf>, PathBuf)> {
    let text = contents(file).ok()?;
    let table = DeTable::parse(&text).ok()?;
    let section = table.get_ref().get("store")?.get_ref();
    let absolute = |key: &str| {
        let path = PathBuf::from(section.get(key)?.get_ref().as_str()?);
        path.is_absolute().then_some(path)
    };
    let path = absolute("path");
    let control = absolute("control").or_else(|| path.as_deref().map(store::beside));
    let on_server = || section.get("url").map(|_| PathBuf::from(store::CONTROL));
    Some((path, control.or_else(on_server)?))
}

/// Every key that a file may have, by its path, with `<name>` for the names that it chooses, and the sections
/// themselves. This is what the reader asks for, not a second list.
#[must_use]
pub fn keys() -> BTreeSet<String> {
    let is_documented = |(path, asked): (String, Asked)| (!matches!(asked, Asked::Named(_))).then_some(path);
    questions().into_iter().filter_map(is_documented).collect()
}

/// What the reader asks for, and what it takes.
fn questions() -> Questions {
    let (report, empty) = (Report::questions(), DeTable::new());
    let nowhere = Origin::new(Path::new(""), None, "");
    drop(read(Section::root(&report, &empty), Files { credentials: None }, nowhere));
    report.into_questions()
}

fn contents(file: &Path) -> Result<String, String> {
    let mut text = String::new();
    let opened = File::open(file).and_then(|file| file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text));
    match opened {
        Ok(_) if text.len() as u64 > FILE_MAX_BYTES => Err(format!("is longer than {FILE_MAX_BYTES} bytes")),
        Ok(_) => Ok(text),
        Err(error) => Err(format!("can't be read: {error}")),
    }
}

fn examine(text: &str, files: Files<'_>, origin: Origin) -> (Option<Config>, Vec<Problem>) {
    let report = Report::new(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    // What was recovered from a broken file isn't what was meant; problems in it would only mislead.
    let config =
        if errors.is_empty() { read(Section::root(&report, table.get_ref()), files, origin) } else { None };
    for error in errors {
        let (line, column) = report.position(error.span().map_or(0, |span| span.start));
        // Without the library's own display, which repeats the line.
        let problem = format!("not TOML, at column {column}: {}", error.message());
        report.add(Problem { path: String::new(), line: Some(line), problem });
    }
    (config, report.into_problems())
}

fn read(mut root: Section<'_>, files: Files<'_>, origin: Origin) -> Option<Config> {
    let server = server::read(root.section("server"), files);
    let store = store::read(root.section("store"), files);
    let vault = vault::read(root.section("vault"), files);
    let identity = identity::read(root.section("identity"), files, server.as_ref());
    let sweep = upkeep::read_sweep(root.section("schedule"));
    let reconcile = upkeep::read_reconcile(root.section("reconcile"));
    let retention = upkeep::read_retention(root.section("retention"));
    let reports = upkeep::read_reports(root.section("report"));
    let alarm_after = upkeep::read_alarm(root.section("alarm"));
    let ledger = ledger::read(root.section("ledger"), files);
    let log = log::read(root.section("log"));
    let roles = read_roles(root.section("roles"));
    let (signers, signers_named) = approvals::read(root.section("approvals"), files);
    let known = identity.as_ref().map(Identity::known);
    // With a problem there, what follows from it isn't one more.
    let cosigners = ledger.as_ref().is_none_or(|ledger| !ledger.witness_keys().is_empty());
    let given = targets::Given { known: known.as_ref(), signers: signers_named, cosigners };
    let targets = targets::read(root.section("targets"), given);
    root.finish();
    let (auditors, operators) = roles?;
    let identity = identity?;
    let policy = Policy { targets: targets?, auditors, operators, persons: identity.persons.clone() };
    Some(Config {
        origin,
        server: server?,
        store: store?,
        vault: vault?,
        identity,
        signers: signers?,
        sweep: sweep?,
        reconcile: reconcile?,
        retention: retention?,
        reports: reports?,
        alarm_after: alarm_after?,
        ledger: ledger?,
        log: log?,
        policy,
    })
}

/// Both must be written, even if nobody is meant: that no operator could end a grant should be a decision.
fn read_roles(mut section: Section<'_>) -> Option<(BTreeSet<String>, BTreeSet<String>)> {
    let write = "the groups that may see everything, or [] for nobody";
    let auditors = section.required("auditors", write, value::groups);
    let write = "the groups that may end any grant, or [] for nobody";
    let operators = section.required("operators", write, value::groups);
    section.finish();
    Some((auditors?, operators?))
}
