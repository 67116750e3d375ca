//! One look at the log: the newest checkpoint, the proof from the one that was kept, and a verdict.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{Watch, state::Kept};
use crate::{
    cli::{App, connect::Server, error::Failure},
    ledger::{
        checkpoint::{Log, Signed},
        note::Untrusted,
        tree::Hash,
        witness::{Accepted, AddCheckpoint, Refusal, judge},
    },
    wire::{AddCosignatureRequest, GetCheckpointRequest, ProveConsistencyRequest},
};

/// What a witness is for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Alarm {
    /// It was put back to an earlier state.
    #[error("the log was put back: it has {now} events, and had {kept}")]
    Rollback {
        /// How many there are.
        now: u64,
        /// How many there were.
        kept: u64,
    },
    /// It isn't the log that was kept.
    #[error(
        "the log was changed, or shows different things to different people: it has {now} events and doesn't begin with the {kept} that were kept"
    )]
    Fork {
        /// How many there are.
        now: u64,
        /// How many were kept.
        kept: u64,
    },
    /// It isn't signed by the pinned key, or is another log.
    #[error("the log isn't signed by the key that was pinned: the checkpoint {0}")]
    Key(Untrusted),
    /// Nothing new comes.
    #[error("the log hasn't grown since {}", .0.to_rfc3339_opts(SecondsFormat::Secs, true))]
    Stale(DateTime<Utc>),
}

impl Alarm {
    /// Its name for programs.
    pub const fn problem(&self) -> &'static str {
        match self {
            Self::Rollback { .. } => "ROLLBACK",
            Self::Fork { .. } => "FORK",
            Self::Key(_) => "KEY",
            Self::Stale(_) => "STALE",
        }
    }
}

/// Why nothing was cosigned.
#[derive(Debug)]
pub enum Unseen {
    /// Something is wrong with the log.
    Alarm(Alarm),
    /// It can't be told.
    Failed(Failure),
}

impl From<Failure> for Unseen {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What was cosigned.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Of how many events.
    size: u64,
    root: Hash,
    cosigned_at: DateTime<Utc>,
}

impl Seen {
    /// The line of a round.
    pub fn json(&self, log: &Log) -> Value {
        json!({
            "event": "cosigned",
            "origin": log.origin(),
            "size": self.size,
            "root": self.root.to_string(),
            "at": self.cosigned_at,
        })
    }
}

/// Looks once.
pub async fn look(app: &App, watch: &mut Watch) -> Result<Seen, Unseen> {
    // Each time anew: somebody may have logged in meanwhile.
    let server = app.server()?;
    let kept = watch.state.kept.as_ref().and_then(Kept::checkpoint);
    let kept_size = kept.as_ref().map_or(0, crate::ledger::checkpoint::Checkpoint::size);
    let signed = newest(&server, kept_size).await?;
    let size = signed.checkpoint().size();
    signed.verify(&watch.log, &[]).map_err(|untrusted| Unseen::Alarm(Alarm::Key(untrusted)))?;
    if size < kept_size {
        return Err(Unseen::Alarm(Alarm::Rollback { now: size, kept: kept_size }));
    }
    let proof = proof(&server, kept_size, size).await?;
    let unreadable = |bad: crate::ledger::note::Malformed| {
        Failure::local(format!("hallpassd's checkpoint can't be judged: {bad}"))
    };
    let request = AddCheckpoint::new(kept_size, proof, signed).map_err(unreadable)?;
    let accepted = judge(&request, std::slice::from_ref(&watch.log), kept.as_ref())
        .map_err(|refusal| refused(refusal, size, kept_size))?;
    let (seen, line) = take(app, watch, &accepted)?;
    let add = AddCosignatureRequest { size: size.cast_signed(), signatures: format!("{line}\n") };
    let mut client = server.ledger();
    server.answer(client.add_cosignature(server.call(add))).await?;
    let grown_at = watch.state.kept.as_ref().map_or(seen.cosigned_at, |kept| kept.grown_at);
    let stale_after = TimeDelta::from_std(watch.stale_after).unwrap_or(TimeDelta::MAX);
    if seen.cosigned_at - grown_at > stale_after {
        return Err(Unseen::Alarm(Alarm::Stale(grown_at)));
    }
    Ok(seen)
}

/// Keeps what was accepted, and only then cosigns it.
pub fn take(app: &App, watch: &mut Watch, accepted: &Accepted) -> Result<(Seen, String), Failure> {
    let (now, checkpoint) = (app.clock.now(), accepted.signed().checkpoint());
    let before = watch.state.kept.as_ref().filter(|kept| kept.size() == checkpoint.size());
    let grown_at = before.map_or(now, |kept| kept.grown_at);
    watch.state.keep(Kept::new(accepted.signed(), grown_at))?;
    let line = accepted.cosign(&watch.key, now).map_err(|bad| Failure::local(bad.to_string()))?;
    Ok((Seen { size: checkpoint.size(), root: checkpoint.root(), cosigned_at: now }, line.to_string()))
}

async fn newest(server: &Server, kept: u64) -> Result<Signed, Unseen> {
    let mut client = server.ledger();
    let get =
        server.try_answer(client.get_checkpoint(server.call(GetCheckpointRequest { size_min: 0 }))).await;
    match get {
        Err(status) if status.code() == tonic::Code::NotFound && kept > 0 => {
            Err(Unseen::Alarm(Alarm::Rollback { now: 0, kept }))
        }
        Err(status) => Err(server.failure(&status).into()),
        Ok(checkpoint) => Signed::parse(checkpoint.note.as_bytes())
            .map_err(|bad| Failure::local(format!("hallpassd's checkpoint can't be read: {bad}")).into()),
    }
}

async fn proof(server: &Server, kept: u64, size: u64) -> Result<Vec<Hash>, Failure> {
    if kept == 0 || kept == size {
        return Ok(Vec::new());
    }
    let prove = ProveConsistencyRequest { former_size: kept.cast_signed(), size: size.cast_signed() };
    let mut client = server.ledger();
    let proof = server.answer(client.prove_consistency(server.call(prove))).await?;
    let hashes = proof.hashes.into_iter().map(|hash| hash.try_into().map(Hash));
    hashes.collect::<Result<_, _>>().map_err(|_| Failure::local("hallpassd's proof can't be read"))
}

/// What a refusal means of a checkpoint whose signature is good.
pub fn refused(refusal: Refusal, now: u64, kept: u64) -> Unseen {
    match refusal {
        Refusal::Shrinking => Unseen::Alarm(Alarm::Rollback { now, kept }),
        Refusal::OtherRoot | Refusal::NotProved => Unseen::Alarm(Alarm::Fork { now, kept }),
        Refusal::Untrusted(untrusted) => Unseen::Alarm(Alarm::Key(untrusted)),
        other => Unseen::Failed(Failure::local(other.to_string())),
    }
}
