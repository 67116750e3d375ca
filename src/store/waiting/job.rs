//! A commit on its way to the connection that writes: what to store, and who waits for the answer.

use std::{error::Error, sync::Arc};

use tokio::sync::oneshot;

use crate::{
    access::{
        change,
        event::{Event, Recorded},
        freeze::Freeze,
        grant::{Grant, State},
        request::Request,
        retention::Erasure,
    },
    store::{Checkpoint, Cosignature, Duty, StoreError, Write},
};

/// What a caller is told.
pub(in crate::store) type Answer = Result<Vec<Recorded>, StoreError>;

/// What commits that failed together failed of.
pub(in crate::store) type Failure = Arc<dyn Error + Send + Sync>;

/// One thing to commit, which outlives its caller: he may be gone when its turn comes.
#[derive(Debug)]
pub(in crate::store) enum Change {
    Request(Box<change::Change<Request>>),
    Grant(change::Change<Grant>),
    Freeze(change::Change<Freeze>),
    Erasure(Erasure),
    Fact(Event),
    Checkpoint(Checkpoint),
    Cosignature(Cosignature),
    Fenced(Fence),
}

/// What a commit names that depends on a duty: it is made only if the duty has this generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Fence {
    pub(in crate::store) name: String,
    pub(in crate::store) daemon: String,
    pub(in crate::store) generation: i64,
}

impl Change {
    /// Takes it along; none if it is a condition that always holds here, where `fence` says of a duty what has to be named.
    pub(in crate::store) fn of(write: &Write<'_>, fence: impl Fn(&Duty) -> Option<Fence>) -> Option<Self> {
        Some(match *write {
            Write::Request(change) => Self::Request(Box::new(change.clone())),
            Write::Grant(change) => Self::Grant(change.clone()),
            Write::Freeze(change) => Self::Freeze(change.clone()),
            Write::Erasure(erasure) => Self::Erasure(erasure.clone()),
            Write::Fact(event) => Self::Fact(event.clone()),
            Write::Checkpoint(checkpoint) => Self::Checkpoint(checkpoint.clone()),
            Write::Cosignature(cosignature) => Self::Cosignature(cosignature.clone()),
            Write::Fenced(duty) => Self::Fenced(fence(duty)?),
        })
    }

    /// Whether it keeps grants from being opened, or begins one's end, or brings it on, or finishes it.
    pub(in crate::store) const fn is_urgent(&self) -> bool {
        match self {
            Self::Grant(change) => match change.after().state {
                State::Revoking(_) | State::Revoked { .. } | State::Failed { .. } => true,
                State::Issuing { .. } | State::Active { .. } => false,
            },
            Self::Freeze(change) => change.after().is_frozen(),
            Self::Request(_)
            | Self::Erasure(_)
            | Self::Fact(_)
            | Self::Checkpoint(_)
            | Self::Cosignature(_)
            | Self::Fenced(_) => false,
        }
    }
}

/// A commit that waits or is under way. Dropped without an answer, it tells its caller that much.
#[derive(Debug)]
pub(in crate::store) struct Job {
    pub(in crate::store) changes: Vec<Change>,
    answer: oneshot::Sender<Answer>,
}

impl Job {
    pub(in crate::store) fn new(changes: Vec<Change>) -> (Self, oneshot::Receiver<Answer>) {
        let (answer, receiver) = oneshot::channel();
        (Self { changes, answer }, receiver)
    }

    /// Whether its caller still waits.
    pub(in crate::store) fn is_wanted(&self) -> bool {
        !self.answer.is_closed()
    }

    pub(in crate::store) fn answer(self, answer: Answer) {
        // A caller who left meanwhile finds out when he reads.
        drop(self.answer.send(answer));
    }

    /// Answers with a failure that others have in common with it.
    pub(in crate::store) fn refuse(self, operation: &'static str, source: &Failure) {
        self.answer(Err(StoreError::Unavailable { operation, source: Box::new(Arc::clone(source)) }));
    }
}
