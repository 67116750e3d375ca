//! The two looks at each leaf, side by side: its place in the tree, and whether it follows.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use super::{
    approvals::{self, Verdict},
    batch::Batch,
    report::{Endorsement, Fault, Report},
    trust::Trust,
};
use crate::ledger::{
    replay::{Counts, FINDINGS_MAX, Finding, Replay},
    tree::{Frontier, Hash},
};

/// How many batches wait for the hashing at most.
const WAITING_MAX: usize = 16;

/// Verifies a log from its beginning.
#[derive(Debug)]
pub struct Engine {
    trust: Trust,
    checkpoint: Option<Endorsement>,
    former: Vec<Endorsement>,
    early: Vec<Fault>,
    replay: Replay,
    faults: Vec<Fault>,
    faults_in_all: u64,
    unknowable: u64,
    to_hash: SyncSender<Arc<Batch>>,
    hashing: JoinHandle<Hashed>,
}

/// What the hashing found.
#[derive(Debug)]
struct Hashed {
    size: u64,
    root: Hash,
    /// The roots of the sizes that were asked for.
    roots: BTreeMap<u64, Hash>,
}

/// All that was found.
#[derive(Debug)]
pub struct Done {
    /// What is to be said.
    pub report: Report,
    /// The state of everything at the log's end.
    pub replay: Replay,
}

impl Engine {
    /// Begins with what is to be held against the log: the checkpoint that comes with it, by the name of where that is,
    /// and what the auditor brings along.
    ///
    /// # Errors
    ///
    /// If the system gives no thread.
    pub fn new(trust: Trust, checkpoint: Option<(&str, &[u8])>) -> io::Result<Self> {
        let mut early = Vec::new();
        let mut read = |name: &str, bytes: &[u8], is_last| {
            let (endorsement, faults) = trust.read(name, bytes, is_last);
            early.extend(faults);
            endorsement
        };
        let checkpoint = checkpoint.and_then(|(name, bytes)| read(name, bytes, true));
        let former: Vec<_> =
            trust.former.iter().filter_map(|former| read(&former.name, &former.bytes, false)).collect();
        let sizes = checkpoint.iter().chain(&former).map(|endorsement| endorsement.size).collect();
        let (to_hash, batches) = sync_channel(WAITING_MAX);
        let hashing = thread::Builder::new().name("hashing".into()).spawn(move || hash(&batches, sizes))?;
        let (replay, faults) = (Replay::new(), Vec::new());
        Ok(Self {
            trust,
            checkpoint,
            former,
            early,
            replay,
            faults,
            faults_in_all: 0,
            unknowable: 0,
            to_hash,
            hashing,
        })
    }

    /// How many events the checkpoint is about.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.checkpoint.as_ref().map(|checkpoint| checkpoint.size)
    }

    /// Takes the next leaves.
    pub fn take(&mut self, batch: Batch) {
        let batch = Arc::new(batch);
        // A thread that is gone is noticed in the end.
        let _ = self.to_hash.send(Arc::clone(&batch));
        for (leaf, texts) in batch.texts() {
            let Some(signed) = self.replay.take(leaf, texts) else { continue };
            let problem = match approvals::check(&signed, self.trust.signers.as_ref()) {
                Verdict::Holds => continue,
                Verdict::Unknowable => {
                    self.unknowable += 1;
                    continue;
                }
                Verdict::Wrong(problem) => problem,
            };
            let about = format!("request {}", signed.request);
            self.add(Fault { sequence: Some(signed.sequence), about, problem });
        }
    }

    /// Adds what somebody else found.
    pub fn add(&mut self, fault: Fault) {
        self.faults_in_all += 1;
        if self.faults.len() < FINDINGS_MAX {
            self.faults.push(fault);
        }
    }

    /// Says what came of it.
    ///
    /// # Errors
    ///
    /// If the hashing didn't come to its end.
    pub fn finish(self, source: &str) -> io::Result<Done> {
        drop(self.to_hash);
        let hashed = self.hashing.join().map_err(|_| io::Error::other("the hashing ended early"))?;
        let counts = self.replay.counts();
        let mut report = Report {
            source: source.to_owned(),
            tree: (hashed.size, hashed.root),
            counts,
            checkpoint: self.checkpoint,
            former: self.former,
            faults: Vec::new(),
            faults_in_all: 0,
            notes: notes(&self.trust, counts, self.unknowable),
        };
        report.extend(self.early);
        let roots: Vec<Fault> = report
            .checkpoint
            .iter()
            .chain(&report.former)
            .filter_map(|checkpoint| contradiction(checkpoint, &hashed))
            .collect();
        report.extend(roots);
        if let Some(checkpoint) =
            report.checkpoint.as_ref().filter(|checkpoint| checkpoint.size < hashed.size)
        {
            let more = hashed.size - checkpoint.size;
            let problem = format!("is about {more} events less than there are: nobody signed those");
            let fault = Fault { sequence: None, about: checkpoint.name.clone(), problem };
            report.add(fault);
        }
        if report.checkpoint.is_none() && !self.trust.log_keys.is_empty() {
            let problem = "has no checkpoint, so that no key says anything of it".to_owned();
            report.add(Fault { sequence: None, about: source.to_owned(), problem });
        }
        let (findings, found) = self.replay.findings();
        report.extend(findings.iter().map(fault));
        report.extend(self.faults);
        report.faults_in_all += found - findings.len() as u64;
        report.faults.sort_by_key(|fault| fault.sequence);
        Ok(Done { report, replay: self.replay })
    }
}

fn fault(finding: &Finding) -> Fault {
    let Finding { sequence, about, problem } = finding;
    Fault { sequence: Some(*sequence), about: about.clone(), problem: (*problem).to_owned() }
}

fn contradiction(checkpoint: &Endorsement, hashed: &Hashed) -> Option<Fault> {
    let Endorsement { name, size, root, .. } = checkpoint;
    let problem = match hashed.roots.get(size) {
        None => format!("is about {size} events, and there are {} only: the log was cut off", hashed.size),
        Some(found) if found != root => {
            format!(
                "has another root of the first {size} events: something in them was changed, or it is another log"
            )
        }
        Some(_) => return None,
    };
    Some(Fault { sequence: None, about: name.clone(), problem })
}

fn notes(trust: &Trust, counts: Counts, unknowable: u64) -> Vec<String> {
    let mut notes = Vec::new();
    if trust.log_keys.is_empty() {
        notes
            .push("no signature of a checkpoint was looked at: name the log's key with --log-key".to_owned());
    }
    if counts.signed > 0 && trust.signers.is_none() {
        let whose = "signatures of approvals were held against the keys that are on record; name those that count with \
                     --allowed-signers";
        notes.push(whose.to_owned());
    }
    if unknowable > 0 {
        notes.push(format!("{unknowable} signatures can't be verified any more: their texts are gone"));
    }
    notes
}

/// Hashes what comes, and keeps the roots of these sizes.
fn hash(batches: &Receiver<Arc<Batch>>, sizes: std::collections::BTreeSet<u64>) -> Hashed {
    let mut frontier = Frontier::default();
    let mut sizes = sizes.into_iter().peekable();
    let mut roots = BTreeMap::new();
    let mut note = |frontier: &Frontier| {
        while sizes.next_if(|size| *size <= frontier.size()).is_some() {
            roots.insert(frontier.size(), frontier.root());
        }
        sizes.peek().copied().unwrap_or(u64::MAX)
    };
    let mut next = note(&frontier);
    for batch in batches {
        for leaf in batch.leaves() {
            frontier.push(Hash::of_leaf(leaf), |_| {});
            if frontier.size() == next {
                next = note(&frontier);
            }
        }
    }
    Hashed { size: frontier.size(), root: frontier.root(), roots }
}
