//! Signed notes ([C2SP signed-note](https://c2sp.org/signed-note)): a text, and below it a line for each signature.
//!
//! ```text
//! example.com/log                    the text, each line of it signed, the last newline included
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//!                                    the note's last empty line parts them
//! — example.com/log Az3grlgtz…       dash, name of the key, base64 of its id and the signature
//! — witness.example jWbPPwAAA…
//! ```
//!
//! A note has one spelling: what is read is written again byte by byte, and any other spelling is refused. Its text says
//! nothing until the signature of a known key fits it. Signatures of unknown keys are passed over, since anybody may have
//! signed as well. One that says it is a known key's and doesn't fit spoils the whole note.
//!
//! Ed25519 is the one algorithm, in two kinds of signatures: a log's own, and those of witnesses, which say a time.

mod key;
mod signature;
mod signing;

#[cfg(test)]
mod tests;

use std::fmt;

use chrono::{DateTime, Utc};

pub use self::{
    key::{KeyError, Kind, NAME_MAX_BYTES, VerifierKey, cosigned_text},
    signature::Signature,
    signing::SigningKey,
};

/// The longest note, in bytes. Those that are read here are some hundred long; others' readers stop at a million, too.
pub const NOTE_MAX_BYTES: usize = 1_000_000;

/// How many signatures a note has at most. Sixteen must be taken; Go's reader takes a hundred, and so does this one, because
/// each of a known key costs an Ed25519 verification.
pub const SIGNATURES_MAX: usize = 100;

/// Bytes that aren't in the form that they should have, and the first thing that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is malformed: {0}")]
pub struct Malformed(pub(super) &'static str);

/// Why a text isn't trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// A signature that says it is by a known key, and isn't by that key or isn't of this text.
    #[error(
        "has a signature in the name of {0} that doesn't fit; it was changed after it was signed, or forged"
    )]
    Forged(String),
    /// What can't happen by chance.
    #[error("is signed by {0}, and two known keys have that name and id; remove one of them")]
    Ambiguous(String),
    /// Nobody who is known signed it.
    #[error("isn't signed by any known key")]
    Unsigned,
    /// A cosignature that was to be made can't say this time.
    #[error("can't be cosigned as of a time before 1970; set the clock")]
    NoTime,
    /// A checkpoint of another log than the one that was asked for.
    #[error("is of the log {0:?}, which isn't the one that is known by these keys")]
    OtherLog(String),
}

/// A signature that fits, of a key that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The key.
    pub key: VerifierKey,
    /// Its signature.
    pub signature: Signature,
    /// What time the signature says, in whole seconds; none but cosignatures say one.
    pub cosigned_at: Option<DateTime<Utc>>,
}

/// A text with its signatures. None of them is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

impl Note {
    /// A text that nobody signed yet.
    ///
    /// # Errors
    ///
    /// If it doesn't end in a newline, has control characters beside newlines, or is too long.
    pub fn new(text: String) -> Result<Self, Malformed> {
        if text.len() >= NOTE_MAX_BYTES {
            return Err(Malformed(TOO_LONG));
        }
        if !text.ends_with('\n') {
            return Err(Malformed("its text must end in a newline"));
        }
        if text.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return Err(Malformed("it has a control character in it"));
        }
        Ok(Self { text, signatures: Vec::new() })
    }

    /// Reads a note. Any bytes may come.
    ///
    /// # Errors
    ///
    /// If it isn't one with at least one signature, is too long, or is spelt in another way than it would be written.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > NOTE_MAX_BYTES {
            return Err(Malformed(TOO_LONG));
        }
        let whole = std::str::from_utf8(bytes).map_err(|_| Malformed("it isn't UTF-8"))?;
        let end = whole.rfind("\n\n").ok_or(Malformed("no empty line parts text and signatures"))?;
        let (text, block) = whole.split_at(end + 1);
        let note = Self::new(text.to_owned())?;
        let signatures = Signature::parse_lines(block.strip_prefix('\n').unwrap_or_default())?;
        Ok(Self { signatures, ..note })
    }

    /// What is signed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All signatures, in their order.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// The same with one more signature, which takes the place of those that are by the same key.
    ///
    /// # Errors
    ///
    /// If there are too many already, or it gets too long.
    pub fn with(mut self, signature: Signature) -> Result<Self, Malformed> {
        self.signatures
            .retain(|other| (other.key_id(), other.name()) != (signature.key_id(), signature.name()));
        self.signatures.push(signature);
        if self.signatures.len() > SIGNATURES_MAX {
            return Err(Malformed("it has more than 100 signatures"));
        }
        if self.to_string().len() > NOTE_MAX_BYTES {
            return Err(Malformed(TOO_LONG));
        }
        Ok(self)
    }

    /// Who of the known signed this text: each key once, with the signature that says the latest time.
    ///
    /// # Errors
    ///
    /// If none did, or a signature in the name of one that is known doesn't fit.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<Vec<Verified>, Untrusted> {
        verify(&self.text, &self.signatures, keys)
    }
}

const TOO_LONG: &str = "it is longer than 1,000,000 bytes";

/// The note as it is written and sent.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

/// Like [`Note::verify`], where text and signatures came apart.
pub(super) fn verify(
    text: &str,
    signatures: &[Signature],
    keys: &[VerifierKey],
) -> Result<Vec<Verified>, Untrusted> {
    let mut all: Vec<Verified> = Vec::new();
    for signature in signatures {
        let Some(key) = known(keys, signature)? else { continue };
        let cosigned_at = key.verify(text, signature)?;
        let verified = Verified { key: key.clone(), signature: signature.clone(), cosigned_at };
        match all.iter_mut().find(|other| other.key == *key) {
            Some(other) if other.cosigned_at < cosigned_at => *other = verified,
            Some(_) => {}
            None => all.push(verified),
        }
    }
    if all.is_empty() { Err(Untrusted::Unsigned) } else { Ok(all) }
}

/// The key that a signature says it is by, if it is known.
fn known<'a>(keys: &'a [VerifierKey], signature: &Signature) -> Result<Option<&'a VerifierKey>, Untrusted> {
    let mut fitting = keys.iter().filter(|key| key.is_named_by(signature));
    let first = fitting.next();
    match fitting.find(|other| first != Some(*other)) {
        Some(other) => Err(Untrusted::Ambiguous(other.title())),
        None => Ok(first),
    }
}
