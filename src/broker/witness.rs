//! Showing the last checkpoint to a witness: with the proof that the log has only grown since the one that it kept, for which
//! it is asked again if it kept another. What it says against it is the daemon's first sign that events are gone, as after a
//! restore of the database; see [`standing`](super::standing).

use std::time::Duration;

use chrono::TimeDelta;
use tracing::{debug, warn};

use super::{
    Broker, Error,
    checkpoint::{Unsigned, statement_of},
    notary::{Witness, WitnessError},
    standing::{AHEAD_MAX, Contradiction},
};
use crate::{
    ledger::{
        checkpoint::Signed,
        note::{Malformed, Signature, Untrusted, VerifierKey},
        tree::{Node, Plan},
        witness::{AddCheckpoint, Answer},
    },
    store::{Cosignature, Write},
};

/// How long one answer may take, whatever the witness is reached by.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// How often a witness is asked again at once because it kept another checkpoint than it was thought to.
const ROUNDS: u32 = 3;

/// How long a log that nobody needs cosigned stays as it is at a witness that has seen it.
const REFRESH_MAX: TimeDelta = TimeDelta::hours(1);

/// Why a witness hasn't seen the last checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum Unseen {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
    /// What is stored can't be shown.
    #[error(transparent)]
    Unsigned(#[from] Unsigned),
    /// It doesn't answer.
    #[error(transparent)]
    Silent(#[from] WitnessError),
    /// What is to be shown can't be written.
    #[error("the checkpoint can't be shown: {0}")]
    Malformed(#[from] Malformed),
    /// What it cosigned isn't ours, or isn't by its key.
    #[error("the cosignature {0}")]
    Untrusted(#[from] Untrusted),
    /// It takes nothing.
    #[error("{0}")]
    Refused(&'static str),
    /// It can't answer now.
    #[error("it answered with status {0}; see its log")]
    Other(u16),
    /// It contradicts. That was told of.
    #[error("it knows another log than this")]
    Contradicted,
}

impl Broker {
    /// Shows the last checkpoint to a witness. `kept` is the size that it is thought to have kept, and is put right.
    ///
    /// # Errors
    ///
    /// If the witness hasn't seen it, and cosigned it if it cosigns at all.
    pub async fn show(&self, witness: &dyn Witness, kept: &mut u64) -> Result<(), Unseen> {
        let Some(last) = self.store.ledger().last_checkpoint().await.map_err(Error::from)? else {
            return Ok(());
        };
        let signed = statement_of(&last)?;
        // Another log's, from before this one had its name. It gets its own with the next event.
        if signed.checkpoint().origin() != self.notary.origin {
            return Ok(());
        }
        *kept = (*kept).min(last.size);
        for _ in 0..ROUNDS {
            let proof = self.proof(*kept, last.size).await?;
            let request = AddCheckpoint::new(*kept, proof, signed.clone())?;
            let answer = tokio::select! {
                answer = witness.add(&request) => answer?,
                () = self.clock.sleep(ANSWER_MAX) => {
                    return Err(WitnessError("it doesn't answer".to_owned()).into());
                }
            };
            match answer {
                Answer::Cosigned(signatures) => {
                    if let Some(key) = witness.key() {
                        self.keep_cosignatures(&signed, &signatures, std::slice::from_ref(key)).await?;
                    }
                    *kept = last.size;
                    return Ok(());
                }
                Answer::OtherSize(size) if size > last.size => {
                    self.contradicted(witness.name(), Contradiction::Behind, last.size, Some(size)).await;
                    return Err(Unseen::Contradicted);
                }
                Answer::OtherSize(size) if size != *kept => *kept = size,
                Answer::OtherRoot | Answer::NotProved => {
                    self.contradicted(witness.name(), Contradiction::Forked, last.size, Some(*kept)).await;
                    return Err(Unseen::Contradicted);
                }
                other => return Err(refusal(&other)),
            }
        }
        Err(Unseen::Refused("it says another size each time; check that nobody else is shown this log there"))
    }

    /// That a witness was asked since the start, whatever it said.
    pub fn was_asked(&self, witness: &dyn Witness) {
        self.standing.asked(witness.name());
    }

    /// The witnesses that are shown every checkpoint.
    #[must_use]
    pub fn witnesses(&self) -> Vec<std::sync::Arc<dyn Witness>> {
        self.notary.witnesses.clone()
    }

    /// How long what a witness has seen stays good, if nothing new comes: half of what the targets demand.
    #[must_use]
    pub fn refresh_after(&self, witness: &dyn Witness) -> TimeDelta {
        let demanded = self.policy.targets.values().filter_map(|target| target.cosigned_within).min();
        let demanded = demanded.filter(|_| witness.key().is_some());
        let half = demanded.and_then(|within| TimeDelta::from_std(within / 2).ok());
        half.unwrap_or(REFRESH_MAX).min(REFRESH_MAX)
    }

    /// Keeps what known witnesses signed of a checkpoint that is stored, and answers with how many did.
    ///
    /// # Errors
    ///
    /// If none is known, a signature doesn't fit, or one is of a time that hasn't come yet.
    pub(super) async fn keep_cosignatures(
        &self,
        signed: &Signed,
        signatures: &[Signature],
        keys: &[VerifierKey],
    ) -> Result<usize, Unseen> {
        let cosigned = signed.cosigned(signatures, keys)?;
        if cosigned.is_empty() {
            return Err(Unseen::Refused(
                "no cosignature is by its key; correct the verifier_key, or the witness's name",
            ));
        }
        for one in &cosigned {
            if one.cosigned_at - self.clock.now() > AHEAD_MAX {
                return Err(Unseen::Refused("the cosignature is of a time to come; compare the clocks"));
            }
            let cosignature = Cosignature {
                size: signed.checkpoint().size(),
                witness: one.witness.clone(),
                line: one.signature.to_string(),
                cosigned_at: one.cosigned_at,
            };
            match self.commit(&[Write::Cosignature(&cosignature)]).await {
                // A later one is kept.
                Ok(()) | Err(Error::Conflict) => {}
                Err(failure) => return Err(failure.into()),
            }
            debug!(
                "event.action" = "checkpoint-cosigned",
                "hallpass.witness.name" = one.witness,
                "hallpass.ledger.size" = cosignature.size,
                "the audit log was cosigned: {} events",
                cosignature.size
            );
        }
        Ok(cosigned.len())
    }

    /// That the first events of so many are those of the log when it had fewer.
    async fn proof(&self, former: u64, size: u64) -> Result<Vec<crate::ledger::tree::Hash>, Unseen> {
        let defect = || Error::Internal("no proof begins after its end".into());
        let plan = Plan::consistency(former, size).ok_or_else(defect)?;
        let nodes: Vec<Node> = plan.nodes().collect();
        let hashes = self.store.ledger().nodes(&nodes).await.map_err(Error::from)?;
        Ok(plan.hashes(&hashes).ok_or_else(defect)?)
    }

    /// Says that a witness hasn't seen the last checkpoint.
    pub fn tell_unseen(&self, witness: &dyn Witness, why: &Unseen) {
        let failure: &dyn std::error::Error = why;
        warn!(
            "event.action" = "witness-failed",
            "hallpass.witness.name" = witness.name(),
            error = failure,
            "a witness hasn't taken the last checkpoint; it is tried again"
        );
    }
}

fn refusal(answer: &Answer) -> Unseen {
    match answer {
        Answer::NotRead => Unseen::Refused("it can't read what it was sent; check what stands before it"),
        Answer::NotTrusted => Unseen::Refused(
            "it knows another key of this log; give its operator what hallpassd ledger key prints",
        ),
        Answer::UnknownLog => {
            Unseen::Refused("it doesn't know this log's origin, or has another log; tell its operator")
        }
        Answer::Other(status) => Unseen::Other(*status),
        _ => Unseen::Refused("it says another size than it said"),
    }
}
