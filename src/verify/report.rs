//! What was verified, and what doesn't hold: as lines for people, or as JSON.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::ledger::{
    replay::{Counts, FINDINGS_MAX},
    tree::Hash,
};

/// What doesn't hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// At which event, if it is one.
    pub sequence: Option<u64>,
    /// What it is about: the request, the grant, the file.
    pub about: String,
    /// What is wrong, so that it reads behind the rest.
    pub problem: String,
}

/// A checkpoint, and who stands for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endorsement {
    /// Where it comes from.
    pub name: String,
    /// Which log it is of.
    pub origin: String,
    /// How many events it is about.
    pub size: u64,
    /// Their root.
    pub root: Hash,
    /// The log's keys whose signatures hold; empty if none was looked at.
    pub signed_by: Vec<String>,
    /// The witnesses whose cosignatures hold, and when they signed.
    pub cosigned: Vec<(String, DateTime<Utc>)>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What was verified.
    pub source: String,
    /// How many events there are, and the root of their tree.
    pub tree: (u64, Hash),
    /// What they are.
    pub counts: Counts,
    /// The checkpoint that came with them.
    pub checkpoint: Option<Endorsement>,
    /// The checkpoints that the auditor kept.
    pub former: Vec<Endorsement>,
    /// What doesn't hold, as far as it is told.
    pub faults: Vec<Fault>,
    /// How much doesn't hold in all.
    pub faults_in_all: u64,
    /// What couldn't be looked at, and how to.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether all of it holds.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.faults_in_all == 0
    }

    /// Adds what doesn't hold, as far as there is room.
    pub fn add(&mut self, fault: Fault) {
        self.faults_in_all += 1;
        if self.faults.len() < FINDINGS_MAX {
            self.faults.push(fault);
        }
    }

    /// Adds all of it.
    pub(super) fn extend(&mut self, faults: impl IntoIterator<Item = Fault>) {
        for fault in faults {
            self.add(fault);
        }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let Counts { requests, approvals, signed, grants, grants_open, texts, texts_gone, unknown, .. } =
            self.counts;
        let (size, root) = self.tree;
        let _ = writeln!(text, "{}: {size} events, root {root}", self.source);
        let _ = writeln!(
            text,
            "  {requests} requests, {approvals} approvals ({signed} signed), {grants} grants ({grants_open} not over)"
        );
        let _ = writeln!(text, "  {texts} texts that fit, {texts_gone} that aren't here any more");
        if unknown > 0 {
            let _ = writeln!(text, "  {unknown} events of kinds that this version doesn't know");
        }
        for checkpoint in self.checkpoint.iter().chain(&self.former) {
            let _ = writeln!(text, "  {}", line(checkpoint));
        }
        for note in &self.notes {
            let _ = writeln!(text, "  note: {note}");
        }
        if self.holds() {
            text.push_str("everything holds\n");
            return text;
        }
        let _ = writeln!(text, "{} faults:", self.faults_in_all);
        for fault in &self.faults {
            let _ = writeln!(text, "  {}", said(fault));
        }
        if self.faults_in_all > self.faults.len() as u64 {
            let _ = writeln!(text, "  and {} more", self.faults_in_all - self.faults.len() as u64);
        }
        text
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let fault = |fault: &Fault| json!({ "sequence": fault.sequence, "about": fault.about, "problem": fault.problem });
        let counts = self.counts;
        json!({
            "source": self.source,
            "holds": self.holds(),
            "size": self.tree.0,
            "root": self.tree.1.to_string(),
            "requests": counts.requests,
            "approvals": counts.approvals,
            "signedApprovals": counts.signed,
            "grants": counts.grants,
            "grantsOpen": counts.grants_open,
            "texts": counts.texts,
            "textsGone": counts.texts_gone,
            "unknownEvents": counts.unknown,
            "checkpoint": self.checkpoint.as_ref().map(endorsement),
            "oldCheckpoints": self.former.iter().map(endorsement).collect::<Vec<_>>(),
            "faults": self.faults.iter().map(fault).collect::<Vec<_>>(),
            "faultsInAll": self.faults_in_all,
            "notes": self.notes,
        })
    }
}

fn line(checkpoint: &Endorsement) -> String {
    let Endorsement { name, origin, size, signed_by, cosigned, .. } = checkpoint;
    let mut line = format!("{name}: {origin}, of {size} events");
    if !signed_by.is_empty() {
        let _ = write!(line, ", signed by {}", signed_by.join(", "));
    }
    for (witness, at) in cosigned {
        let _ = write!(line, ", cosigned by {witness} at {}", at.to_rfc3339_opts(SecondsFormat::Secs, true));
    }
    line
}

fn said(fault: &Fault) -> String {
    let place = fault.sequence.map(|sequence| format!("event {sequence}"));
    let about = Some(&fault.about).filter(|about| !about.is_empty()).map(|about| match &place {
        Some(_) => format!(" ({about})"),
        None => about.clone(),
    });
    format!("{}{} {}", place.unwrap_or_default(), about.unwrap_or_default(), fault.problem)
}

fn endorsement(of: &Endorsement) -> Value {
    let cosigned = |(witness, at): &(String, DateTime<Utc>)| json!({ "witness": witness, "cosignedAt": at.to_rfc3339_opts(SecondsFormat::Secs, true) });
    json!({
        "name": of.name,
        "origin": of.origin,
        "size": of.size,
        "root": of.root.to_string(),
        "signedBy": of.signed_by,
        "cosigned": of.cosigned.iter().map(cosigned).collect::<Vec<_>>(),
    })
}
