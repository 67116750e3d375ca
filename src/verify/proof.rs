//! A proof file: one exception's events, and that each is in the log of a checkpoint. It stands for itself.
//!
//! It shows that what is in it was recorded. That nothing else was recorded of the exception, only the whole log shows.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    approvals::{self, Verdict},
    report::{Endorsement, Fault, Report},
    trust::Trust,
};
use crate::{
    access::id::RequestId,
    ledger::{
        leaf::Leaf,
        replay::{Replay, Room},
        tree::{Hash, PROOF_MAX, is_included},
    },
};

/// The version of the form.
pub const VERSION: u64 = 1;

/// See the module. `docs/ledger.md` specifies it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofFile {
    /// `VERSION`.
    pub v: u64,
    /// The exception's id, which is its request's.
    pub exception: String,
    /// The checkpoint's note.
    pub checkpoint: String,
    /// The events, in their order.
    pub events: Vec<Proved>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proved {
    /// The leaf, as it was hashed.
    pub leaf: String,
    /// The texts beside it, as far as they are kept.
    pub texts: Map<String, Value>,
    /// Its inclusion proof: each hash in Base64.
    pub proof: Vec<String>,
}

/// Verifies a proof file; none if it isn't one.
#[must_use]
pub fn proof_file(source: &str, json: &str, trust: &Trust) -> Option<Report> {
    let file: ProofFile = serde_json::from_str(json).ok()?;
    let id: RequestId = file.exception.parse().ok().filter(|_| file.v == VERSION)?;
    let (checkpoint, faults) = trust.read(source, file.checkpoint.as_bytes(), true);
    let mut report = Report {
        source: source.to_owned(),
        tree: checkpoint
            .as_ref()
            .map_or((0, Hash::of_nothing()), |checkpoint| (checkpoint.size, checkpoint.root)),
        counts: crate::ledger::replay::Counts::default(),
        checkpoint,
        former: Vec::new(),
        faults: Vec::new(),
        faults_in_all: 0,
        notes: Vec::new(),
    };
    report.extend(faults);
    former(trust, &mut report);
    let mut replay = Replay::of_one();
    for event in &file.events {
        one(event, id, &mut replay, trust, &mut report);
    }
    let (findings, _) = replay.findings();
    for finding in findings {
        let (about, problem) = (finding.about.clone(), finding.problem.to_owned());
        report.add(Fault { sequence: Some(finding.sequence), about, problem });
    }
    report.counts = replay.counts();
    if trust.log_keys.is_empty() {
        report.notes.push(
            "no signature of the checkpoint was looked at: name the log's key with --log-key".to_owned(),
        );
    }
    report.notes.push(format!(
        "these are {} events of the exception; the whole log shows that there are no others",
        file.events.len()
    ));
    Some(report)
}

/// Of what the auditor kept, a proof file says something only if it is of the very same size.
fn former(trust: &Trust, report: &mut Report) {
    for former in &trust.former {
        let (endorsement, faults) = trust.read(&former.name, &former.bytes, false);
        report.extend(faults);
        let Some(endorsement) = endorsement else { continue };
        let contradicts = |checkpoint: &Endorsement| {
            checkpoint.size == endorsement.size && checkpoint.root != endorsement.root
        };
        if report.checkpoint.as_ref().is_some_and(contradicts) {
            let problem = "has another root of as many events: one of them is of another log".to_owned();
            report.add(Fault { sequence: None, about: former.name.clone(), problem });
        }
        report.former.push(endorsement);
    }
}

fn one(event: &Proved, id: RequestId, replay: &mut Replay, trust: &Trust, report: &mut Report) {
    let leaf = Leaf { line: event.leaf.clone(), texts: Map::new() };
    let Ok(recorded) = leaf.event() else {
        let problem = "has a leaf that isn't one of this version".to_owned();
        return report.add(Fault { sequence: None, about: report.source.clone(), problem });
    };
    let sequence = recorded.sequence.unsigned_abs();
    let mut wrong = |problem: &str| {
        let (about, problem) = (format!("request {id}"), problem.to_owned());
        report.add(Fault { sequence: Some(sequence), about, problem });
    };
    if recorded.about.request != Some(id) {
        wrong("is of another exception");
    }
    let texts = Value::from(event.texts.clone()).to_string();
    let texts = Some(texts.as_str()).filter(|_| !event.texts.is_empty());
    let signed = replay.take(&event.leaf, texts, &mut Room::default());
    if let Some(Verdict::Wrong(problem)) =
        signed.map(|signed| approvals::check(&signed, trust.signers.as_ref()))
    {
        wrong(&problem);
    }
    let proof: Option<Vec<Hash>> =
        event.proof.iter().take(PROOF_MAX + 1).map(|hash| Hash::parse(hash)).collect();
    let (size, root) = report.tree;
    let is_in =
        proof.is_some_and(|proof| sequence > 0 && is_included(leaf.hash(), sequence - 1, size, root, &proof));
    if !is_in {
        let (about, problem) =
            (format!("request {id}"), "isn't proved to be in the log of the checkpoint".to_owned());
        report.add(Fault { sequence: Some(sequence), about, problem });
    }
}
