//! Whether a witness may cosign what it is asked to.
//!
//! ```text
//! is the log known? --no--> 404
//!   did it sign?    --no--> 403
//!   old size <= new size?       --no--> 400
//!   old size the one kept?      --no--> 409 with the one kept
//!   of equal sizes, equal root? --no--> 409
//!   does the proof hold?        --no--> 422
//!                               --yes-> Accepted: keep it, then cosign
//! ```
//!
//! A witness is worth what it keeps: the checkpoint that it accepted must be durable before the cosignature leaves, and
//! between the look at what is kept and the writing nothing else may be kept for this log. Both are up to the caller, who
//! alone has a disk; only an [`Accepted`] can be cosigned here, and only this makes one.

use chrono::{DateTime, Utc};

use super::{AddCheckpoint, SIZE_CONTENT_TYPE};
use crate::ledger::{
    checkpoint::{Checkpoint, Log, Signed},
    note::{Malformed, Signature, SigningKey, Untrusted},
    tree::{Hash, is_consistent},
};

/// Why a witness doesn't cosign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 400: not a request.
    #[error("the request {0}")]
    Malformed(#[from] Malformed),
    /// 400: a proof can't begin after the end.
    #[error("the old size is above the checkpoint's")]
    Shrinking,
    /// 404: nothing is known of this log.
    #[error("the log isn't known here")]
    UnknownLog,
    /// 403: the log didn't sign it.
    #[error("the checkpoint {0}")]
    Untrusted(Untrusted),
    /// 409: the tree that was cosigned last has another size.
    #[error("the last checkpoint that was cosigned here has the size {0}; begin the proof there")]
    OtherSize(u64),
    /// 409: two trees of one size. Both checkpoints are signed by the log and can't both be true.
    #[error("another root of the same size was cosigned here")]
    OtherRoot,
    /// 422: the log hasn't only grown, or the proof is another one's.
    #[error("the proof doesn't show that the log has only grown")]
    NotProved,
}

impl Refusal {
    /// The HTTP status that says so.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::Shrinking => 400,
            Self::Untrusted(_) => 403,
            Self::UnknownLog => 404,
            Self::OtherSize(_) | Self::OtherRoot => 409,
            Self::NotProved => 422,
        }
    }

    /// The content type and the body that go with it.
    #[must_use]
    pub fn body(&self) -> (&'static str, String) {
        match self {
            Self::OtherSize(size) => (SIZE_CONTENT_TYPE, format!("{size}\n")),
            other => ("text/plain; charset=utf-8", format!("{other}\n")),
        }
    }
}

/// A checkpoint that may be cosigned once it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted(Signed);

impl Accepted {
    /// What to keep: the checkpoint with the signatures of the log, and with no others, since those weren't verified.
    #[must_use]
    pub const fn signed(&self) -> &Signed {
        &self.0
    }

    /// The cosignature: a line of the answer's body.
    ///
    /// # Errors
    ///
    /// If the time isn't after 1970 began.
    pub fn cosign(&self, key: &SigningKey, cosigned_at: DateTime<Utc>) -> Result<Signature, Untrusted> {
        key.cosign(self.0.note().text(), cosigned_at)
    }
}

/// Whether a witness that knows these logs may cosign what is asked. What it kept last must be of the same origin, and must
/// be given if there is any: without it, the log is taken to be new, and any state of it is taken.
///
/// # Errors
///
/// The refusal, if it may not.
pub fn judge(request: &AddCheckpoint, logs: &[Log], kept: Option<&Checkpoint>) -> Result<Accepted, Refusal> {
    let asked = request.signed.checkpoint();
    let log = logs.iter().find(|log| log.origin() == asked.origin()).ok_or(Refusal::UnknownLog)?;
    if kept.is_some_and(|kept| kept.origin() != asked.origin()) {
        return Err(Refusal::UnknownLog);
    }
    let endorsed = request.signed.verify(log, &[]).map_err(Refusal::Untrusted)?;
    let (old_size, old_root) =
        kept.map_or_else(|| (0, Hash::of_nothing()), |kept| (kept.size(), kept.root()));
    if request.old_size > asked.size() {
        return Err(Refusal::Shrinking);
    }
    if request.old_size != old_size {
        return Err(Refusal::OtherSize(old_size));
    }
    if asked.size() == old_size && asked.root() != old_root {
        return Err(Refusal::OtherRoot);
    }
    if !is_consistent((old_size, old_root), (asked.size(), asked.root()), &request.proof) {
        return Err(Refusal::NotProved);
    }
    let signatures = endorsed.signed.into_iter().map(|verified| verified.signature);
    Ok(Accepted(request.signed.only(signatures)?))
}
