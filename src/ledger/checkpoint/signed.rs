//! Checkpoints with their signatures, and who is believed.

use std::fmt;

use chrono::{DateTime, Utc};

use super::Checkpoint;
use crate::ledger::{
    note::{
        KeyError, Kind, Malformed, Note, Signature, SigningKey, Untrusted, Verified, VerifierKey, verify,
    },
    tree::Hash,
};

/// A log as others know it: its origin, and the keys of which one at least has to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    origin: String,
    keys: Vec<VerifierKey>,
}

/// What is wrong with what is known of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Its name.
    #[error("the origin of a log must have 1 to 255 bytes, without control characters")]
    Origin,
    /// Its keys.
    #[error("a log must have at least one verifier key")]
    NoKey,
    /// A witness's key where a log's belongs.
    #[error("a log's verifier key must be of the type 0x01; one of 0x04 is a witness's")]
    Kind,
}

impl Log {
    /// A log by its origin and its keys, of which there are several while one follows another.
    ///
    /// # Errors
    ///
    /// If it can't be called that, there is no key, or one is a witness's.
    pub fn new(origin: &str, keys: Vec<VerifierKey>) -> Result<Self, LogError> {
        if Checkpoint::new(origin, 0, Hash::of_nothing()).is_err() {
            return Err(LogError::Origin);
        }
        if keys.is_empty() {
            return Err(LogError::NoKey);
        }
        if keys.iter().any(|key| key.kind() != Kind::Plain) {
            return Err(LogError::Kind);
        }
        Ok(Self { origin: origin.to_owned(), keys })
    }

    /// The log whose keys are called as it is, which they should be: all that has to be known is the verifier key.
    ///
    /// # Errors
    ///
    /// If that isn't a log's verifier key.
    pub fn of_key(verifier_key: &str) -> Result<Self, KeyError> {
        let key = VerifierKey::parse(verifier_key)?;
        match key.kind() {
            Kind::Plain => Ok(Self { origin: key.name().to_owned(), keys: vec![key] }),
            Kind::Cosignature => Err(KeyError::Type(0x04)),
        }
    }

    /// Its name.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Its keys.
    #[must_use]
    pub fn keys(&self) -> &[VerifierKey] {
        &self.keys
    }
}

/// Who stands for a checkpoint, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endorsed {
    /// The log's keys that signed it; one at least.
    pub signed: Vec<Verified>,
    /// The witnesses that cosigned it, each once, with the latest time that it says.
    pub cosigned: Vec<Cosigned>,
}

/// A witness saw a checkpoint, and nothing that contradicts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// The name of the witness.
    pub witness: String,
    /// When, as it says, in whole seconds.
    pub cosigned_at: DateTime<Utc>,
    /// In its words.
    pub signature: Signature,
}

/// A checkpoint with the note that it was read from. No signature of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    checkpoint: Checkpoint,
    note: Note,
}

impl Signed {
    /// Signs a checkpoint.
    ///
    /// # Errors
    ///
    /// None that a checkpoint could cause: a note is long enough for any.
    pub fn sign(checkpoint: Checkpoint, key: &SigningKey) -> Result<Self, Malformed> {
        let signature = key.sign(&checkpoint.to_string());
        Self::of(checkpoint, signature)
    }

    /// A checkpoint with its first signature, which another signer made for its text ([`VerifierKey::signature`]).
    ///
    /// # Errors
    ///
    /// None that a checkpoint could cause: a note is long enough for any.
    pub fn of(checkpoint: Checkpoint, signature: Signature) -> Result<Self, Malformed> {
        let note = Note::new(checkpoint.to_string())?.with(signature)?;
        Ok(Self { checkpoint, note })
    }

    /// Reads a signed checkpoint. Any bytes may come.
    ///
    /// # Errors
    ///
    /// If it isn't a note, or the note's text isn't a checkpoint's.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let note = Note::parse(bytes)?;
        Ok(Self { checkpoint: Checkpoint::parse(note.text())?, note })
    }

    /// What it says; to be believed once [`Self::verify`] says so.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note.
    #[must_use]
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// The same with one more signature, which takes the place of those that are by the same key.
    ///
    /// # Errors
    ///
    /// If there are too many already.
    pub fn with(self, signature: Signature) -> Result<Self, Malformed> {
        Ok(Self { note: self.note.with(signature)?, ..self })
    }

    /// The same with these signatures and no others.
    pub(in crate::ledger) fn only(
        &self,
        signatures: impl Iterator<Item = Signature>,
    ) -> Result<Self, Malformed> {
        let bare = Note::new(self.note.text().to_owned())?;
        let note = signatures.into_iter().try_fold(bare, Note::with)?;
        Ok(Self { checkpoint: self.checkpoint.clone(), note })
    }

    /// Whether the log signed this, and which of the witnesses cosigned it. The keys of witnesses may be written down in
    /// either kind.
    ///
    /// # Errors
    ///
    /// If it is another log's, no key of the log signed it, or a signature in the name of one that is known doesn't fit.
    pub fn verify(&self, log: &Log, witnesses: &[VerifierKey]) -> Result<Endorsed, Untrusted> {
        if self.checkpoint.origin() != log.origin {
            return Err(Untrusted::OtherLog(self.checkpoint.origin().to_owned()));
        }
        let signed = self.note.verify(&log.keys)?;
        Ok(Endorsed { signed, cosigned: self.cosigned(self.note.signatures(), witnesses)? })
    }

    /// Which of these signatures, that came apart from it, are cosignatures of this by known witnesses; none may be.
    ///
    /// # Errors
    ///
    /// If a signature in the name of a known witness doesn't fit.
    pub fn cosigned(
        &self,
        signatures: &[Signature],
        witnesses: &[VerifierKey],
    ) -> Result<Vec<Cosigned>, Untrusted> {
        let keys: Vec<_> = witnesses.iter().map(|key| key.of_kind(Kind::Cosignature)).collect();
        let verified = match verify(self.note.text(), signatures, &keys) {
            Err(Untrusted::Unsigned) => Vec::new(),
            other => other?,
        };
        let cosigned = |verified: Verified| {
            let Verified { key, signature, cosigned_at } = verified;
            let witness = key.name().to_owned();
            cosigned_at.map(|cosigned_at| Cosigned { witness, cosigned_at, signature })
        };
        Ok(verified.into_iter().filter_map(cosigned).collect())
    }
}

/// The note as it is written and sent.
impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}
