//! `hallpassd fsck`: whether the database is one that hallpass wrote, all of it, and says the same everywhere.
//!
//! ```text
//! pages, indexes, constraints        SQLite's own check
//! log --> leaves follow, texts fit, hashes are those of the leaves, checkpoints' roots are the tree's
//! requests, decisions, grants, freezes <--> their events
//! ```
//!
//! It reads one moment of the file, changes nothing and can run while the daemon does. It holds no more in memory than a
//! page of rows, what is open, and a little of each thing that is over.

mod freezes;
mod grants;
mod requests;

use serde_json::Value;

use crate::{
    access::{event::Recorded, id::RequestId},
    ledger::{
        leaf::Leaf,
        note::VerifierKey,
        tree::{Frontier, Hash},
    },
    signature::Lists,
    store::{Checkpoint, LogRow, OpenError, Snapshot, StoreError},
    verify::{Batch, Engine, Fault, Report, Trust},
};

/// How many rows are read at a time.
const PAGE: u32 = 1000;

/// Which keys signed the log, also years ago, its database can't say.
const KEYS_UNKNOWN: &str = "no signature of a checkpoint was looked at: name the log's keys, also those of before, with \
                            --log-key; hallpassd ledger key prints them";

/// Why it couldn't be looked at.
#[derive(Debug, thiserror::Error)]
pub enum FsckError {
    /// The database can't be opened as it is.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gave no thread.
    #[error("verifying the log")]
    System(#[from] std::io::Error),
    /// Somebody began to write to it.
    #[error("a daemon was started meanwhile; run it once more")]
    Stale,
}

/// Looks at a database, which is called `source` in the report. Signatures of approvals are held against these lists, if there are any; those of checkpoints against
/// these keys of the log, of which one has to have signed each.
///
/// # Errors
///
/// If it can't be read. What is wrong with it is in the report.
pub async fn check(
    snapshot: &mut dyn Snapshot,
    source: &str,
    signers: Option<Lists>,
    log_keys: Vec<VerifierKey>,
) -> Result<Report, FsckError> {
    let trust = Trust { log_keys, ..Trust::default() };
    let mut engine = Engine::new(Trust { signers, ..Trust::default() }, None)?;
    for problem in snapshot.file_faults().await? {
        engine.add(Fault {
            sequence: None,
            about: "the file".to_owned(),
            problem: format!("is damaged: {problem}"),
        });
    }
    let freezes = log(snapshot, &trust, &mut engine).await?;
    tables(snapshot, &mut engine).await?;
    match snapshot.freezes().await {
        Ok(rows) => freezes::compare(&rows, &freezes).into_iter().for_each(|fault| engine.add(fault)),
        Err(failure) => unreadable(&mut engine, failure)?,
    }
    if snapshot.is_stale() {
        return Err(FsckError::Stale);
    }
    let mut report = engine.finish(source)?.report;
    // What is said of exports isn't to be said here.
    report.notes.clear();
    if trust.log_keys.is_empty() {
        report.notes.push(KEYS_UNKNOWN.to_owned());
    }
    Ok(report)
}

/// The log, and what else rests on it. Answers with the events of freezes.
async fn log(
    snapshot: &mut dyn Snapshot,
    trust: &Trust,
    engine: &mut Engine,
) -> Result<Vec<Recorded>, FsckError> {
    let (mut frontier, mut after, mut freezes) = (Frontier::default(), 0, Vec::new());
    let mut checkpoint = next_checkpoint(snapshot, engine, 0).await?;
    loop {
        let page = snapshot.log(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.sequence;
        let mut batch = Batch::default();
        for row in page {
            row_fits(&row, &mut frontier, engine);
            freezes.extend(of_freeze(&row));
            batch.push(row.leaf.as_bytes(), row.texts.as_deref());
            while let Some(signed) = checkpoint.take_if(|signed| signed.size <= frontier.size()) {
                checkpoint_fits(&signed, &frontier, trust, engine);
                checkpoint = next_checkpoint(snapshot, engine, signed.size).await?;
            }
        }
        engine.take(batch);
    }
    if let Some(signed) = checkpoint {
        let (about, problem) =
            (name(&signed), format!("is of more than the {} events that there are", frontier.size()));
        engine.add(Fault { sequence: None, about, problem });
    }
    Ok(freezes)
}

/// Whether the hashes in a row are those of its leaf and of those before it.
fn row_fits(row: &LogRow, frontier: &mut Frontier, engine: &mut Engine) {
    let mut hashes = Vec::with_capacity(64);
    frontier.push(Hash::of_leaf(row.leaf.as_bytes()), |hash| hashes.extend(hash.0));
    if hashes != row.hashes {
        let problem = "has other hashes in its row than those of the leaves".to_owned();
        engine.add(Fault { sequence: Some(frontier.size()), about: String::new(), problem });
    }
}

/// Freezes have no timeline of their own.
fn of_freeze(row: &LogRow) -> Option<Recorded> {
    let is_one = row.leaf.contains("\"kind\":\"Targets");
    let texts = row.texts.as_deref().filter(|_| is_one).and_then(|texts| serde_json::from_str(texts).ok());
    let leaf = Leaf { line: row.leaf.clone(), texts: texts.unwrap_or_default() };
    leaf.event().ok().filter(|event| is_one && event.kind.starts_with("Targets"))
}

async fn next_checkpoint(
    snapshot: &mut dyn Snapshot,
    engine: &mut Engine,
    size: u64,
) -> Result<Option<Checkpoint>, FsckError> {
    match snapshot.checkpoint_after(size).await {
        Ok(checkpoint) => Ok(checkpoint),
        Err(failure) => unreadable(engine, failure).map(|()| None),
    }
}

fn name(checkpoint: &Checkpoint) -> String {
    format!("the checkpoint of {} events", checkpoint.size)
}

fn checkpoint_fits(checkpoint: &Checkpoint, frontier: &Frontier, trust: &Trust, engine: &mut Engine) {
    let (said, faults) = trust.read(&name(checkpoint), checkpoint.note.as_bytes(), false);
    for fault in faults {
        engine.add(fault);
    }
    let mut wrong = |problem: &str| {
        engine.add(Fault { sequence: None, about: name(checkpoint), problem: problem.to_owned() });
    };
    if checkpoint.size == frontier.size() && checkpoint.root != frontier.root() {
        wrong("has another root than the log: something was changed, or taken out");
    }
    if said.is_some_and(|said| (said.size, said.root) != (checkpoint.size, checkpoint.root)) {
        wrong("has a note that says something else than its row");
    }
}

/// Requests, decisions and grants against their events, and the other way round.
async fn tables(snapshot: &mut dyn Snapshot, engine: &mut Engine) -> Result<(), FsckError> {
    let mut after = String::new();
    loop {
        let page = snapshot.requests(&after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(last);
        for id in page {
            match id.parse() {
                Ok(id) => exception(snapshot, engine, id).await?,
                Err(_) => engine.add(of(&format!("request {id}"), "has an id that is none")),
            }
        }
    }
    for stray in snapshot.strays().await? {
        engine.add(of(&stray, "is spoken of, and its request isn't there"));
    }
    for id in snapshot.listed_wrongly().await? {
        engine.add(of(&format!("request {id}"), "is listed by other groups than it has"));
    }
    Ok(())
}

async fn exception(snapshot: &mut dyn Snapshot, engine: &mut Engine, id: RequestId) -> Result<(), FsckError> {
    let events = match snapshot.timeline(id).await {
        Ok(events) => events,
        Err(failure) => return unreadable(engine, failure),
    };
    match snapshot.request(id).await {
        Ok(request) => requests::compare(&request, &events).into_iter().for_each(|fault| engine.add(fault)),
        Err(failure) => unreadable(engine, failure)?,
    }
    match snapshot.grants(id).await {
        Ok(rows) => grants::compare(id, &rows, &events).into_iter().for_each(|fault| engine.add(fault)),
        Err(failure) => unreadable(engine, failure)?,
    }
    Ok(())
}

/// A row that can't be read is a fault like others; a database that can't isn't.
fn unreadable(engine: &mut Engine, failure: StoreError) -> Result<(), FsckError> {
    match failure {
        StoreError::Corrupt { what, problem, .. } => {
            engine.add(of(&what, &format!("can't be read: {problem}")));
            Ok(())
        }
        other => Err(other.into()),
    }
}

fn of(about: &str, problem: &str) -> Fault {
    Fault { sequence: None, about: about.to_owned(), problem: problem.to_owned() }
}

/// Compares what a row says with what its events say, field by field.
struct Comparison {
    about: String,
    faults: Vec<Fault>,
}

impl Comparison {
    fn of(about: String) -> Self {
        Self { about, faults: Vec::new() }
    }

    /// Each change has one event.
    fn changes(&mut self, revision: i64, events: usize) {
        self.same("count of changes", &Ok(revision), &i64::try_from(events));
    }

    fn same<T: PartialEq>(&mut self, field: &str, row: &T, events: &T) {
        self.holds(row == events, field);
    }

    fn holds(&mut self, holds: bool, field: &str) {
        if !holds {
            self.faults.push(of(&self.about, &format!("has another {field} in its row than its events say")));
        }
    }
}

/// A field of an event's detail. Earlier versions left some out.
fn field<'a>(event: &'a Recorded, name: &str) -> Option<&'a Value> {
    event.detail.get(name)
}

fn text<'a>(event: &'a Recorded, name: &str) -> Option<&'a str> {
    field(event, name).and_then(Value::as_str)
}

fn instant(event: &Recorded, name: &str) -> Option<i64> {
    let at = chrono::DateTime::parse_from_rfc3339(text(event, name)?).ok()?;
    Some(at.timestamp_millis())
}
