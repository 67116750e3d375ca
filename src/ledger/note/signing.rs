//! The private half of a key, and the file that keeps it: one line, `PRIVATE+KEY+NAME+ID+base64(0x01 || SEED)`, which is the
//! form of Go's `golang.org/x/mod/sumdb/note` and of the tools that grew around it. The id is the verifier key's of the same
//! name. With the same line such tools sign as a log or cosign as a witness, and so does this.
//!
//! It is never shown, and asks nobody for randomness: the seed comes from outside.

use std::fmt;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretBox, SecretString, zeroize::Zeroizing};

use super::{
    Signature, Untrusted,
    key::{KeyError, Kind, VerifierKey, cosigned_text, parts},
};

const PREFIX: &str = "PRIVATE+KEY+";

/// A private key, by the name of its signatures.
pub struct SigningKey {
    seed: SecretBox<[u8; 32]>,
    pair: Ed25519KeyPair,
    public: VerifierKey,
}

impl SigningKey {
    /// The key that a seed makes: 32 bytes, which nobody may guess.
    ///
    /// # Errors
    ///
    /// If it can't be called that.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Material)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Material)?;
        let public = VerifierKey::new(name, Kind::Plain, public)?;
        Ok(Self { seed: SecretBox::new(Box::new(*seed)), pair, public })
    }

    /// Reads the file's line, with a newline behind it or without.
    ///
    /// # Errors
    ///
    /// If it isn't such a line, or its id isn't made from its name and key.
    pub fn parse(line: &str) -> Result<Self, KeyError> {
        let line = line.strip_suffix('\n').unwrap_or(line);
        let (name, id, kind, seed) = parts(line.strip_prefix(PREFIX).ok_or(KeyError::Form)?)?;
        let seed = Zeroizing::new(seed);
        if kind != Kind::Plain {
            return Err(KeyError::Type(kind.byte()));
        }
        let key = Self::from_seed(name, seed.as_slice().try_into().map_err(|_| KeyError::Material)?)?;
        if id == format!("{:08x}", key.public.id()) { Ok(key) } else { Err(KeyError::Id) }
    }

    /// The line for the file, with its newline.
    #[must_use]
    pub fn to_line(&self) -> SecretString {
        let mut material = Zeroizing::new(vec![Kind::Plain.byte()]);
        material.extend(self.seed.expose_secret());
        let encoded = Zeroizing::new(BASE64_STANDARD.encode(&material));
        format!("{PREFIX}{}+{}\n", self.public.title(), *encoded).into()
    }

    /// What others know it by: as a log's key, or as a witness's.
    #[must_use]
    pub fn verifier(&self, kind: Kind) -> VerifierKey {
        self.public.of_kind(kind)
    }

    /// Signs a text as a log does.
    #[must_use]
    pub fn sign(&self, text: &str) -> Signature {
        let bytes = self.pair.sign(text.as_bytes()).as_ref().to_owned();
        Signature { name: self.public.name().to_owned(), id: self.public.id(), bytes }
    }

    /// Cosigns a text as a witness does: that it has seen this at that time, in whole seconds.
    ///
    /// # Errors
    ///
    /// If the time isn't after 1970 began.
    pub fn cosign(&self, text: &str, cosigned_at: DateTime<Utc>) -> Result<Signature, Untrusted> {
        let bytes = self.pair.sign(cosigned_text(text, cosigned_at).as_bytes());
        self.public.cosignature(text, cosigned_at, bytes.as_ref())
    }
}

/// By whom it is known, and nothing of itself.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public.title()).finish_non_exhaustive()
    }
}
