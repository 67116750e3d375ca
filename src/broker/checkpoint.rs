//! Signing the log: what is stored is computed anew before anything is said of it, so that nobody who changed it gets a
//! signature for that.
//!
//! ```text
//! last checkpoint --its root, from the stored subtrees, is the signed one?--> frontier
//!   '--> leaves since, each hashed and put to it --the stored hashes are these?--> new root --> sign --> store --> witnesses
//! ```
//!
//! At the start and once a day it begins with nothing instead of the last checkpoint. Whatever doesn't fit is no failure
//! that could pass: nothing is signed any more, and nothing granted ([`standing`](super::standing)).

use chrono::TimeDelta;
use tracing::{error, info};

use super::{
    Broker, Error,
    notary::{SignError, Signer},
};
use crate::{
    ledger::{
        checkpoint::{Checkpoint as Statement, Log, Signed},
        leaf::Leaf,
        tree::{Frontier, Hash, Node, Plan},
    },
    store::{Checkpoint, Duty, StoreError, Write},
};

/// What the one who signs has.
const SIGNING: Duty = Duty::Chore("checkpoints");

/// How many leaves are read at a time: some hundred kilobytes, and a few milliseconds of hashing.
const PAGE: u64 = 256;

/// How much of the log is computed anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What came after the last checkpoint.
    SinceLast,
    /// All of it.
    Whole,
}

/// Why there is no new checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum Unsigned {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
    /// Nobody signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The log isn't what was signed; it stays unsigned until a restart finds it whole.
    #[error("the audit log was changed: {0}")]
    Broken(String),
}

impl From<StoreError> for Unsigned {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Corrupt { .. } => Self::Broken(error.to_string()),
            other => Self::Store(other.into()),
        }
    }
}

impl Broker {
    /// Checks the log, and signs it if it has grown since the last checkpoint.
    ///
    /// # Errors
    ///
    /// If the store fails, nobody signs, or the log isn't what was signed before.
    pub async fn sign_log(&self, extent: Extent) -> Result<(), Unsigned> {
        let Some(signer) = &self.notary.signer else { return Ok(()) };
        if let Some(problem) = self.standing.broken() {
            return Err(Unsigned::Broken(problem));
        }
        let checked = match self.check(extent).await {
            Err(Unsigned::Broken(problem)) => {
                self.standing.is_broken(&problem);
                Err(Unsigned::Broken(problem))
            }
            other => other,
        };
        let (tree, last) = checked?;
        self.standing.is_whole();
        if let Some(last) = &last {
            self.standing.signed(last.size);
        }
        // Each daemon looks at the log for itself, and one of them signs it.
        if tree.size() == last.as_ref().map_or(0, |last| last.size) || !self.takes(&SIGNING).await? {
            return Ok(());
        }
        self.sign(&**signer, &tree, last.as_ref()).await
    }

    /// Whether there is anybody who signs.
    #[must_use]
    pub fn signs_the_log(&self) -> bool {
        self.notary.signer.is_some()
    }

    /// Says that the log is broken. It is an alarm: somebody changed the database.
    pub fn tell_broken(&self, problem: &str) {
        error!(
            "event.action" = "ledger-broken",
            "hallpass.ledger.origin" = self.notary.origin,
            "error.message" = problem,
            "the stored audit log isn't what was signed, so nothing more is signed or granted"
        );
    }

    /// How long a log that has grown waits for its checkpoint.
    #[must_use]
    pub fn checkpoint_interval(&self) -> TimeDelta {
        TimeDelta::from_std(self.notary.interval).unwrap_or(TimeDelta::MAX)
    }

    /// The tree as the leaves make it, and the last checkpoint, which it begins with.
    async fn check(&self, extent: Extent) -> Result<(Frontier, Option<Checkpoint>), Unsigned> {
        let last = self.store.ledger().last_checkpoint().await?;
        let size = self.store.last_sequence().await?.unsigned_abs();
        if let Some(last) = &last {
            if size < last.size {
                let problem = format!("there are {size} events, and {} were signed", last.size);
                return Err(Unsigned::Broken(problem));
            }
            statement_of(last)?;
        }
        let begin = match (&last, extent) {
            (Some(last), Extent::SinceLast) => self.frontier_of(last).await?,
            _ => Frontier::default(),
        };
        let tree = self.grow(begin, size, last.as_ref()).await?;
        Ok((tree, last))
    }

    /// The right edge of the tree of a checkpoint, as it is stored, if that is what was signed.
    async fn frontier_of(&self, last: &Checkpoint) -> Result<Frontier, Unsigned> {
        let nodes: Vec<Node> = Plan::frontier(last.size).nodes().collect();
        let peaks = self.store.ledger().nodes(&nodes).await?;
        let frontier = Frontier::of(last.size, peaks).filter(|frontier| frontier.root() == last.root);
        frontier.ok_or_else(|| other_root(last))
    }

    /// Puts the stored leaves to a tree until it has so many.
    async fn grow(
        &self,
        mut tree: Frontier,
        until: u64,
        last: Option<&Checkpoint>,
    ) -> Result<Frontier, Unsigned> {
        while tree.size() < until {
            let limit = u32::try_from(PAGE.min(until - tree.size())).unwrap_or(u32::MAX);
            let after = i64::try_from(tree.size()).unwrap_or(i64::MAX);
            let leaves = self.store.ledger().leaves(after, limit).await?;
            if leaves.is_empty() {
                return Err(Unsigned::Broken(format!("event {} is missing", after + 1)));
            }
            let mut completed = Vec::new();
            for leaf in &leaves {
                put(&mut tree, leaf, &mut completed)?;
                if let Some(last) = last
                    && last.size == tree.size()
                    && last.root != tree.root()
                {
                    return Err(other_root(last));
                }
            }
            let (nodes, hashes): (Vec<Node>, Vec<Hash>) = completed.into_iter().unzip();
            let stored = self.store.ledger().nodes(&nodes).await?;
            if let Some((node, _)) = nodes.iter().zip(stored.iter().zip(&hashes)).find(|(_, (a, b))| a != b) {
                let problem =
                    format!("the hashes of event {} aren't those of the events", node.place().0 + 1);
                return Err(Unsigned::Broken(problem));
            }
            // A long log is nobody else's delay.
            tokio::task::yield_now().await;
        }
        Ok(tree)
    }

    async fn sign(
        &self,
        signer: &dyn Signer,
        tree: &Frontier,
        last: Option<&Checkpoint>,
    ) -> Result<(), Unsigned> {
        if let Some(last) = last {
            self.must_be_signed_by(signer, last).await?;
        }
        let malformed = |bad: crate::ledger::note::Malformed| Error::Internal(Box::new(bad));
        let statement = Statement::new(&self.notary.origin, tree.size(), tree.root()).map_err(malformed)?;
        let signature = signer.sign(&statement.to_string()).await?;
        let note = Signed::of(statement, signature).map_err(malformed)?.to_string();
        let checkpoint =
            Checkpoint { size: tree.size(), root: tree.root(), note, signed_at: self.clock.now() };
        self.commit(&[Write::Fenced(&SIGNING), Write::Checkpoint(&checkpoint)]).await?;
        info!(
            "event.action" = "checkpoint-signed",
            "hallpass.ledger.origin" = self.notary.origin,
            "hallpass.ledger.size" = checkpoint.size,
            "hallpass.ledger.root" = checkpoint.root.to_string(),
            "hallpass.ledger.note" = checkpoint.note,
            "the audit log was signed: {} events",
            checkpoint.size
        );
        self.standing.signed(checkpoint.size);
        Ok(())
    }

    /// The last checkpoint has to be by a key that signs this log, or whoever changed the log made it. One of another origin
    /// was another log's, which this one goes on from.
    async fn must_be_signed_by(&self, signer: &dyn Signer, last: &Checkpoint) -> Result<(), Unsigned> {
        let former = statement_of(last)?;
        if former.checkpoint().origin() != self.notary.origin {
            return Ok(());
        }
        let keys = signer.keys().await?;
        let log = Log::new(&self.notary.origin, keys).map_err(|bad| Error::Internal(Box::new(bad)))?;
        match former.verify(&log, &[]) {
            Ok(_) => Ok(()),
            Err(untrusted) => {
                let problem = format!(
                    "the last checkpoint, of {} events, {untrusted}; put the former key back, or give the log another origin",
                    last.size
                );
                self.standing.is_broken(&problem);
                Err(Unsigned::Broken(problem))
            }
        }
    }
}

/// What was signed, if the note says what stands beside it.
pub(super) fn statement_of(checkpoint: &Checkpoint) -> Result<Signed, Unsigned> {
    let broken =
        |what: String| Unsigned::Broken(format!("the checkpoint of {} events {what}", checkpoint.size));
    let signed = Signed::parse(checkpoint.note.as_bytes()).map_err(|bad| broken(bad.to_string()))?;
    let (size, root) = (signed.checkpoint().size(), signed.checkpoint().root());
    if (size, root) == (checkpoint.size, checkpoint.root) {
        Ok(signed)
    } else {
        Err(broken("isn't what was signed".to_owned()))
    }
}

fn other_root(last: &Checkpoint) -> Unsigned {
    Unsigned::Broken(format!("the first {} events aren't those that were signed", last.size))
}

/// Puts a leaf to a tree, if it is the next one, and tells the subtrees that it completes.
fn put(tree: &mut Frontier, leaf: &Leaf, completed: &mut Vec<(Node, Hash)>) -> Result<(), Unsigned> {
    let index = tree.size();
    let event = leaf.event().map_err(|bad| Unsigned::Broken(format!("event {}: {bad}", index + 1)))?;
    if event.sequence.unsigned_abs() != index + 1 {
        return Err(Unsigned::Broken(format!(
            "event {} stands in the place of event {}",
            event.sequence,
            index + 1
        )));
    }
    let mut level = 0;
    tree.push(leaf.hash(), |hash| {
        completed.push((Node { level, index: index >> level }, hash));
        level += 1;
    });
    Ok(())
}
