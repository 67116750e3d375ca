//! The two looks at each leaf, side by side: its place in the tree, on the thread that reads the leaves, and whether it follows,
//! on another one. Reading and hashing together take about as long as following does.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    iter::Peekable,
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
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
    replay::{Counts, FINDINGS_MAX, Finding, Replay, Room, SignedApproval},
    tree::{Frontier, Hash},
};

/// How many batches wait to be followed at most.
const WAITING_MAX: usize = 16;

/// Verifies a log from its beginning.
#[derive(Debug)]
pub struct Engine {
    trust: Arc<Trust>,
    checkpoint: Option<Endorsement>,
    former: Vec<Endorsement>,
    early: Vec<Fault>,
    faults: Faults,
    tree: Tree,
    to_follow: SyncSender<Batch<String>>,
    following: JoinHandle<Followed>,
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
        let trust = Arc::new(trust);
        let mut followed = Followed { trust: Arc::clone(&trust), ..Followed::default() };
        let (to_follow, batches) = sync_channel::<Batch<String>>(WAITING_MAX);
        let following = thread::Builder::new().name("following".into()).spawn(move || {
            for batch in batches {
                followed.take(&batch);
            }
            followed
        })?;
        let (faults, tree) = (Faults::default(), Tree::new(sizes));
        Ok(Self { trust, checkpoint, former, early, faults, tree, to_follow, following })
    }

    /// How many events the checkpoint is about.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.checkpoint.as_ref().map(|checkpoint| checkpoint.size)
    }

    /// Takes the next leaves.
    pub fn take(&mut self, batch: Batch) {
        self.tree.take(&batch);
        // A thread that is gone is noticed in the end.
        let _ = self.to_follow.send(batch.into_text());
    }

    /// Adds what somebody else found.
    pub fn add(&mut self, fault: Fault) {
        self.faults.add(fault);
    }

    /// Says what came of it.
    ///
    /// # Errors
    ///
    /// If the other thread didn't come to its end.
    pub fn finish(self, source: &str) -> io::Result<Done> {
        drop(self.to_follow);
        let followed = self.following.join().map_err(|_| io::Error::other("following ended early"))?;
        let (tree, replay) = (self.tree, followed.replay);
        let size = tree.frontier.size();
        let counts = replay.counts();
        let mut report = Report {
            source: source.to_owned(),
            tree: (size, tree.frontier.root()),
            counts,
            checkpoint: self.checkpoint,
            former: self.former,
            faults: Vec::new(),
            faults_in_all: 0,
            notes: notes(&self.trust, counts, followed.unknowable),
        };
        report.extend(self.early);
        let roots: Vec<Fault> = report
            .checkpoint
            .iter()
            .chain(&report.former)
            .filter_map(|checkpoint| contradiction(checkpoint, &tree))
            .collect();
        report.extend(roots);
        if let Some(checkpoint) = report.checkpoint.as_ref().filter(|checkpoint| checkpoint.size < size) {
            let more = size - checkpoint.size;
            let problem = format!("is about {more} events less than there are: nobody signed those");
            let fault = Fault { sequence: None, about: checkpoint.name.clone(), problem };
            report.add(fault);
        }
        if report.checkpoint.is_none() && !self.trust.log_keys.is_empty() {
            let problem = "has no checkpoint, so that no key says anything of it".to_owned();
            report.add(Fault { sequence: None, about: source.to_owned(), problem });
        }
        let (findings, found) = replay.findings();
        report.extend(findings.iter().map(fault));
        report.faults_in_all += found - findings.len() as u64;
        for faults in [followed.faults, self.faults] {
            report.faults_in_all += faults.in_all - faults.kept.len() as u64;
            report.extend(faults.kept);
        }
        report.faults.sort_by_key(|fault| fault.sequence);
        Ok(Done { report, replay })
    }
}

/// What was found, of which the first are kept.
#[derive(Debug, Default)]
struct Faults {
    kept: Vec<Fault>,
    in_all: u64,
}

impl Faults {
    fn add(&mut self, fault: Fault) {
        self.in_all += 1;
        if self.kept.len() < FINDINGS_MAX {
            self.kept.push(fault);
        }
    }
}

/// What became of the leaves that were followed.
#[derive(Debug, Default)]
struct Followed {
    trust: Arc<Trust>,
    replay: Replay,
    faults: Faults,
    unknowable: u64,
}

impl Followed {
    fn take(&mut self, batch: &Batch<String>) {
        let mut room = Room::default();
        for (leaf, texts) in batch.texts() {
            if let Some(signed) = self.replay.take(leaf, texts, &mut room) {
                self.signed(&signed);
            }
        }
    }

    fn signed(&mut self, signed: &SignedApproval) {
        match approvals::check(signed, self.trust.signers.as_ref()) {
            Verdict::Holds => {}
            Verdict::Unknowable => self.unknowable += 1,
            Verdict::Wrong(problem) => {
                let about = format!("request {}", signed.request);
                self.faults.add(Fault { sequence: Some(signed.sequence), about, problem });
            }
        }
    }
}

/// The tree of the leaves that came, and its roots at the sizes that were asked for.
#[derive(Debug)]
struct Tree {
    frontier: Frontier,
    /// Those that are still to come.
    sizes: Peekable<std::collections::btree_set::IntoIter<u64>>,
    roots: BTreeMap<u64, Hash>,
}

impl Tree {
    fn new(sizes: BTreeSet<u64>) -> Self {
        let frontier = Frontier::default();
        let mut tree = Self { frontier, sizes: sizes.into_iter().peekable(), roots: BTreeMap::new() };
        tree.note();
        tree
    }

    fn take(&mut self, batch: &Batch) {
        let mut leaves = batch.leaves().peekable();
        while leaves.peek().is_some() {
            let until_next = self.sizes.peek().map_or(u64::MAX, |next| next - self.frontier.size());
            self.frontier.extend(leaves.by_ref().take(usize::try_from(until_next).unwrap_or(usize::MAX)));
            self.note();
        }
    }

    /// Keeps the root, if it is asked for.
    fn note(&mut self) {
        let size = self.frontier.size();
        if self.sizes.next_if_eq(&size).is_some() {
            self.roots.insert(size, self.frontier.root());
        }
    }
}

fn fault(finding: &Finding) -> Fault {
    let Finding { sequence, about, problem } = finding;
    Fault { sequence: Some(*sequence), about: about.clone(), problem: (*problem).to_owned() }
}

fn contradiction(checkpoint: &Endorsement, tree: &Tree) -> Option<Fault> {
    let Endorsement { name, size, root, .. } = checkpoint;
    let problem = match tree.roots.get(size) {
        None => format!(
            "is about {size} events, and there are {} only: the log was cut off",
            tree.frontier.size()
        ),
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
