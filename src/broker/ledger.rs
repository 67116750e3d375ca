//! Step 5, for those who don't take our word for it: the log's leaves, what was signed of it, and proofs.

use std::sync::Arc;

use super::{
    BadField, Broker, Error,
    checkpoint::{Unsigned, statement_of},
    witness::Unseen,
};
use crate::{
    access::{
        actor::Caller,
        event::About,
        policy::{Subject, Verb},
    },
    ledger::{
        leaf::Leaf,
        note::Signature,
        tree::{Hash, Node, Plan},
    },
    store::{Checkpoint, Cosignature},
};

/// How many bytes of leaves and texts one answer has at most, but for a single leaf that has more.
const ANSWER_MAX_BYTES: usize = 2 * 1024 * 1024;

/// How many cosignatures come at once: those of a few witnesses.
const COSIGNATURES_MAX: usize = 16;
/// How long they are together.
const COSIGNATURES_MAX_BYTES: usize = 8 * 1024;

/// A checkpoint with what witnesses said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witnessed {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// In the order of the witnesses' names.
    pub cosignatures: Vec<Cosignature>,
}

impl Witnessed {
    /// The signed note with all signatures.
    #[must_use]
    pub fn note(&self) -> String {
        let mut note = self.checkpoint.note.clone();
        for cosignature in &self.cosignatures {
            note.push_str(&cosignature.line);
            note.push('\n');
        }
        note
    }
}

impl Broker {
    /// The last checkpoint, or the first one about so many events.
    ///
    /// # Errors
    ///
    /// If there is none, or the caller may not read it.
    pub async fn checkpoint(&self, caller: &Caller, size_min: u64) -> Result<Witnessed, Error> {
        self.allow_ledger(Verb::GetCheckpoint, caller).await?;
        let ledger = self.store.ledger();
        let found = match size_min {
            0 => ledger.last_checkpoint().await?,
            _ => ledger.checkpoint_of(size_min).await?,
        };
        let Some(checkpoint) = found else {
            return Err(Error::NotFound {
                name: format!("a checkpoint of {} events or more", size_min.max(1)),
            });
        };
        let cosignatures = ledger.cosignatures(checkpoint.size).await?;
        Ok(Witnessed { checkpoint, cosignatures })
    }

    /// Leaves after a place, at most so many, and no more than an answer may have.
    ///
    /// # Errors
    ///
    /// If the caller may not read them, or the store fails.
    pub async fn leaves(&self, caller: &Caller, sequence: i64, limit: u32) -> Result<Vec<Leaf>, Error> {
        self.allow_ledger(Verb::ListLeaves, caller).await?;
        let mut leaves = self.store.ledger().leaves(sequence, limit).await?;
        let mut bytes = 0;
        let fit = leaves.iter().take_while(|leaf| {
            bytes += length(leaf);
            bytes <= ANSWER_MAX_BYTES
        });
        let fit = fit.count().max(1);
        leaves.truncate(fit);
        Ok(leaves)
    }

    /// That an event is in the log of this size.
    ///
    /// # Errors
    ///
    /// If it isn't, the log is shorter, or the caller may not ask.
    pub async fn prove_inclusion(
        &self,
        caller: &Caller,
        sequence: u64,
        size: u64,
    ) -> Result<Vec<Hash>, Error> {
        self.allow_ledger(Verb::ProveInclusion, caller).await?;
        self.must_reach("size", size).await?;
        let plan = sequence.checked_sub(1).and_then(|index| Plan::inclusion(index, size));
        let outside = || BadField::new("sequence", format!("must be from 1 to {size}, the size"));
        self.prove(&plan.ok_or_else(|| Error::BadFields(vec![outside()]))?).await
    }

    /// That the log of this size begins with the former.
    ///
    /// # Errors
    ///
    /// If it is shorter, or the caller may not ask.
    pub async fn prove_consistency(
        &self,
        caller: &Caller,
        former: u64,
        size: u64,
    ) -> Result<Vec<Hash>, Error> {
        self.allow_ledger(Verb::ProveConsistency, caller).await?;
        self.must_reach("size", size).await?;
        let outside = || BadField::new("former_size", format!("must be at most {size}, the size"));
        let plan = Plan::consistency(former, size);
        self.prove(&plan.ok_or_else(|| Error::BadFields(vec![outside()]))?).await
    }

    /// Keeps what witnesses signed of a checkpoint: lines of a note.
    ///
    /// # Errors
    ///
    /// If there is no such checkpoint, no signature is by a known witness, one doesn't fit, or the caller may not.
    pub async fn add_cosignatures(
        self: &Arc<Self>,
        caller: &Caller,
        size: u64,
        lines: &str,
    ) -> Result<(), Error> {
        self.allow_ledger(Verb::AddCosignature, caller).await?;
        let bad = |problem: String| Error::BadFields(vec![BadField::new("signatures", problem)]);
        let signatures = signatures(lines).map_err(bad)?;
        let checkpoint = self.store.ledger().checkpoint_of(size).await?;
        let Some(checkpoint) = checkpoint.filter(|checkpoint| checkpoint.size == size) else {
            return Err(Error::NotFound { name: format!("a checkpoint of {size} events") });
        };
        let broker = Arc::clone(self);
        self.to_its_end(async move {
            let defect = |unsigned: Unsigned| Error::Internal(Box::new(unsigned));
            let signed = statement_of(&checkpoint).map_err(defect)?;
            let kept = broker.keep_cosignatures(&signed, &signatures, &broker.notary.witness_keys).await;
            kept.map(drop).map_err(|unseen| match unseen {
                Unseen::Store(failure) => failure,
                other => bad(other.to_string()),
            })
        })
        .await
    }

    async fn allow_ledger(&self, verb: Verb, caller: &Caller) -> Result<(), Error> {
        self.allow(verb, caller, Subject::Anything, About::default(), "ledger").await
    }

    async fn must_reach(&self, field: &'static str, size: u64) -> Result<(), Error> {
        let last = self.store.last_sequence().await?.unsigned_abs();
        if size <= last {
            return Ok(());
        }
        Err(Error::BadFields(vec![BadField::new(
            field,
            format!("is more than the {last} events that there are"),
        )]))
    }

    async fn prove(&self, plan: &Plan) -> Result<Vec<Hash>, Error> {
        let nodes: Vec<Node> = plan.nodes().collect();
        let hashes = plan.hashes(&self.store.ledger().nodes(&nodes).await?);
        hashes.ok_or_else(|| Error::Internal("the store gave another number of hashes".into()))
    }
}

/// Reads lines of a note.
fn signatures(lines: &str) -> Result<Vec<Signature>, String> {
    if lines.len() > COSIGNATURES_MAX_BYTES {
        return Err(format!("has more than {COSIGNATURES_MAX_BYTES} bytes"));
    }
    let read: Result<Vec<_>, _> = lines
        .split_inclusive('\n')
        .map(|line| Signature::parse(line.strip_suffix('\n').unwrap_or(line)))
        .collect();
    let read = read.map_err(|malformed| malformed.to_string())?;
    match read.len() {
        0 => Err("has no signature".to_owned()),
        1..=COSIGNATURES_MAX => Ok(read),
        _ => Err(format!("has more than {COSIGNATURES_MAX} signatures")),
    }
}

fn length(leaf: &Leaf) -> usize {
    let texts = leaf.texts.iter().map(|(field, text)| field.len() + text.as_str().map_or(0, str::len));
    leaf.line.len() + texts.sum::<usize>()
}
