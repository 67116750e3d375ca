//! Checkpoints ([C2SP tlog-checkpoint](https://c2sp.org/tlog-checkpoint)): which log, how many leaves, and the root of their
//! tree, on three lines that are signed as a note.
//!
//! Whoever keeps one can tell later whether the log has only grown since. So a checkpoint is trusted by what its keys say of
//! its origin, never by where it comes from; and a log whose key fits isn't another log whose key is the same.
//!
//! Lines after the third are read, because other logs may write them, and they stay in what is verified and cosigned. None
//! is ever written or understood here.

mod signed;

#[cfg(test)]
mod tests;

use std::fmt;

pub use self::signed::{Cosigned, Endorsed, Log, LogError, Signed};
use super::{note::Malformed, tree::Hash};

/// The largest tree: 2^63-1 leaves, which is as far as databases and other implementations count.
pub const SIZE_MAX: u64 = i64::MAX as u64;

/// The longest origin, in bytes: newer cosignatures give its length in one byte.
pub const ORIGIN_MAX_BYTES: usize = 255;

/// What a log says of itself: this was its root when it had that many leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
}

impl Checkpoint {
    /// What this log says.
    ///
    /// # Errors
    ///
    /// If a log can't be called that, or can't be that large.
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, Malformed> {
        if origin.is_empty() || origin.len() > ORIGIN_MAX_BYTES {
            return Err(Malformed("its origin must have 1 to 255 bytes"));
        }
        if origin.bytes().any(|byte| byte < b' ') {
            return Err(Malformed("it has a control character in it"));
        }
        if size > SIZE_MAX {
            return Err(Malformed("its size must be a decimal number below 2^63, without leading zeros"));
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// Reads a note's text, and passes over the lines that come after the third.
    ///
    /// # Errors
    ///
    /// If it isn't a checkpoint's, or one of its lines is spelt in another way than it would be written.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let lines = text.strip_suffix('\n').ok_or(Malformed("its text must end in a newline"))?;
        let mut lines = lines.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(Malformed("a checkpoint must have an origin, a size and a root, each on its line"));
        };
        if lines.any(str::is_empty) {
            return Err(Malformed("no line of a checkpoint may be empty"));
        }
        let size = decimal(size)
            .ok_or(Malformed("its size must be a decimal number below 2^63, without leading zeros"))?;
        let root = Hash::parse(root).ok_or(Malformed("its root must be base64 of 32 bytes"))?;
        Self::new(origin, size, root)
    }

    /// Which log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of their tree.
    #[must_use]
    pub const fn root(&self) -> Hash {
        self.root
    }
}

/// The note's text: what a log signs, byte by byte.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, self.root)
    }
}

/// A number of leaves as it is written: ASCII digits, no zero before another digit, at most [`SIZE_MAX`].
pub(super) fn decimal(digits: &str) -> Option<u64> {
    let is_plain =
        digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|number| is_plain && *number <= SIZE_MAX)
}
