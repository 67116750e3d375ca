//! What a log and its witnesses say to each other ([C2SP tlog-witness](https://c2sp.org/tlog-witness), `add-checkpoint`): a
//! checkpoint with the proof that the log has only grown since the one that the witness cosigned last, and the witness's
//! answer.
//!
//! ```text
//! old 20852014                       the size of the checkpoint that was cosigned last
//! PlRNCrwHpqhGrupue0L7gxbjbMiKA…     the consistency proof, a hash on each line
//!
//! example.com/log                    the signed checkpoint
//! …
//! ```
//!
//! Both ends are here, the log's (write a request, read the answer) and the witness's ([`judge`]), so that each is tested
//! with the other. How the bytes travel is none of this module's business.

mod judge;

#[cfg(test)]
mod tests;

use std::fmt;

use super::{
    checkpoint::{SIZE_MAX, Signed, decimal},
    note::{Malformed, Signature},
    tree::Hash,
};

pub use self::judge::{Accepted, Refusal, judge};

/// How many lines a proof has at most.
pub const PROOF_MAX_LINES: usize = 63;

/// The longest request, in bytes: a proof (3 KiB), and a checkpoint with a score of signatures, of which the new ones of
/// others (ML-DSA) have up to 5 KiB each.
pub const REQUEST_MAX_BYTES: usize = 128 * 1024;

/// The longest answer, in bytes: some cosignatures, of which the new ones (ML-DSA) have some 3 KiB each.
pub const ANSWER_MAX_BYTES: usize = 64 * 1024;

/// Of what type the body of a 409 is that says the size that a request should have begun with.
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";

/// A request to cosign a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    old_size: u64,
    proof: Vec<Hash>,
    signed: Signed,
}

impl AddCheckpoint {
    /// Asks for a cosignature by a witness that cosigned the tree of the old size last, or none yet (0).
    ///
    /// # Errors
    ///
    /// If no proof has as many hashes, or it gets longer than a witness reads.
    pub fn new(old_size: u64, proof: Vec<Hash>, signed: Signed) -> Result<Self, Malformed> {
        if old_size > SIZE_MAX {
            return Err(Malformed("the old size must be below 2^63"));
        }
        if proof.len() > PROOF_MAX_LINES {
            return Err(Malformed("the proof has more than 63 lines"));
        }
        let request = Self { old_size, proof, signed };
        if request.to_string().len() > REQUEST_MAX_BYTES { Err(TOO_LONG) } else { Ok(request) }
    }

    /// Reads a request's body. Any bytes may come.
    ///
    /// # Errors
    ///
    /// If it isn't one, or is spelt in another way than it would be written; to be answered with 400.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        if body.len() > REQUEST_MAX_BYTES {
            return Err(TOO_LONG);
        }
        let body = std::str::from_utf8(body).map_err(|_| Malformed("it isn't UTF-8"))?;
        let (head, note) =
            body.split_once("\n\n").ok_or(Malformed("no empty line comes before the checkpoint"))?;
        let mut lines = head.split('\n');
        let old_size = lines.next().and_then(|line| decimal(line.strip_prefix("old ")?));
        let old_size = old_size
            .ok_or(Malformed("its first line must be \"old\" and a decimal number, without leading zeros"))?;
        let proof: Option<Vec<_>> = lines.take(PROOF_MAX_LINES + 1).map(Hash::parse).collect();
        let proof = proof.ok_or(Malformed("each line of the proof must be base64 of 32 bytes"))?;
        Self::new(old_size, proof, Signed::parse(note.as_bytes())?)
    }

    /// The size of the tree that the proof begins with.
    #[must_use]
    pub const fn old_size(&self) -> u64 {
        self.old_size
    }

    /// That the log has only grown since.
    #[must_use]
    pub fn proof(&self) -> &[Hash] {
        &self.proof
    }

    /// What is to be cosigned.
    #[must_use]
    pub const fn signed(&self) -> &Signed {
        &self.signed
    }
}

const TOO_LONG: Malformed = Malformed("it is longer than 128 KiB");

/// The body.
impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.signed)
    }
}

/// What a witness answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200: these signatures, of which those by its key are to be verified ([`Signed::cosigned`]).
    Cosigned(Vec<Signature>),
    /// 409 with a size: it cosigned a tree of another size last. Ask again with a proof that begins there. A witness that
    /// says so once more, or a size that this log never had, has seen another log by this name.
    OtherSize(u64),
    /// 409 without one: it cosigned a tree of the same size with another root. One of the two checkpoints is of a log that
    /// was changed, or of one that shows different things to different people.
    OtherRoot,
    /// 400: it can't read the request, or the old size is above the checkpoint's.
    NotRead,
    /// 403: the log's signature isn't by a key that it knows.
    NotTrusted,
    /// 404: it doesn't know the log.
    UnknownLog,
    /// 422: the proof doesn't show that the log has only grown.
    NotProved,
    /// Any other status: it may be ill, and may be asked again later.
    Other(u16),
}

impl Answer {
    /// Reads an answer. Anything may come.
    ///
    /// # Errors
    ///
    /// If it is too long, or its body isn't what its status promises.
    pub fn read(status: u16, content_type: Option<&str>, body: &[u8]) -> Result<Self, Malformed> {
        if body.len() > ANSWER_MAX_BYTES {
            return Err(Malformed("the answer is longer than 64 KiB"));
        }
        match status {
            200 => {
                let lines = std::str::from_utf8(body).map_err(|_| Malformed("the answer isn't UTF-8"))?;
                Signature::parse_lines(lines).map(Self::Cosigned)
            }
            409 if content_type.is_some_and(is_size) => {
                let line = std::str::from_utf8(body).ok().and_then(|body| body.strip_suffix('\n'));
                let size = line.and_then(decimal).ok_or(Malformed(
                    "an answer of the type text/x.tlog.size must be one decimal number, without leading zeros",
                ))?;
                Ok(Self::OtherSize(size))
            }
            409 => Ok(Self::OtherRoot),
            400 => Ok(Self::NotRead),
            403 => Ok(Self::NotTrusted),
            404 => Ok(Self::UnknownLog),
            422 => Ok(Self::NotProved),
            other => Ok(Self::Other(other)),
        }
    }
}

/// Media types have no case, and may have parameters.
fn is_size(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(SIZE_CONTENT_TYPE))
}
