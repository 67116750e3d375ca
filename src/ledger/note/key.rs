//! The public half of a key, by which a signature is known and verified; written down, a *verifier key*:
//! `NAME+ID+base64(TYPE || KEY)`, the id in eight hexadecimal digits.
//!
//! The id is made from the name, the type and the key, so that a mistyped verifier key is seen. It is short, and no proof of
//! anything: whoever makes another key with the same id makes signatures that don't fit.

use std::fmt;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use super::{
    Untrusted,
    signature::{ID_BYTES, Signature, is_name},
};

/// The longest name of a key, in bytes: newer cosignatures give a name's length in one byte.
pub const NAME_MAX_BYTES: usize = 255;

/// What comes before a cosignature's own 64 bytes: its time.
const TIME_BYTES: usize = 8;

/// What a key's signatures are, by the type that its id is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 0x01: Ed25519 over the text as it is. A log signs its checkpoints so.
    Plain,
    /// 0x04: Ed25519 over a header, a time, and the text
    /// ([C2SP tlog-cosignature](https://c2sp.org/tlog-cosignature), `cosignature/v1`). Witnesses sign so.
    Cosignature,
}

impl Kind {
    pub(super) const fn byte(self) -> u8 {
        match self {
            Self::Plain => 0x01,
            Self::Cosignature => 0x04,
        }
    }

    const fn of(byte: u8) -> Result<Self, KeyError> {
        match byte {
            0x01 => Ok(Self::Plain),
            0x04 => Ok(Self::Cosignature),
            other => Err(KeyError::Type(other)),
        }
    }
}

/// What is wrong with a key that is written down. None of it shows the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Parts are missing.
    #[error("isn't a key: a public one is NAME+ID+KEY, a private one PRIVATE+KEY+NAME+ID+KEY, on one line")]
    Form,
    /// Its name.
    #[error("has a name that is empty, longer than 255 bytes, or has a space or a plus in it")]
    Name,
    /// What comes last.
    #[error("doesn't end in the base64 of a type and 32 bytes")]
    Material,
    /// An algorithm that isn't known here.
    #[error("is of the type {0:#04x}; there are 0x01 (Ed25519) and, of witnesses, 0x04 (cosignatures)")]
    Type(u8),
    /// Name, id and key don't belong together.
    #[error("has an id that doesn't belong to its name and key: copy it again from where it comes from")]
    Id,
}

/// A public key, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    pub(super) name: String,
    kind: Kind,
    public: [u8; 32],
    /// Made from the rest, whatever it was read with.
    pub(super) id: u32,
}

impl VerifierKey {
    /// Names a key.
    ///
    /// # Errors
    ///
    /// If it can't be called that.
    pub fn new(name: &str, kind: Kind, public: [u8; 32]) -> Result<Self, KeyError> {
        if !is_name(name) || name.len() > NAME_MAX_BYTES {
            return Err(KeyError::Name);
        }
        Ok(Self { name: name.to_owned(), kind, public, id: id(name, kind, &public) })
    }

    /// Reads a verifier key.
    ///
    /// # Errors
    ///
    /// If it isn't one, is of a type that isn't known here, or its id isn't made from its name and key.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (name, id, kind, public) = parts(text)?;
        let key = Self::new(name, kind, public.try_into().map_err(|_| KeyError::Material)?)?;
        if id == format!("{:08x}", key.id) { Ok(key) } else { Err(KeyError::Id) }
    }

    /// Whose it is.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// By which it is found, together with its name.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// What its signatures are.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The key itself.
    #[must_use]
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The same key under the same name, for another kind of signatures. Tools write the keys of witnesses in either.
    #[must_use]
    pub fn of_kind(&self, kind: Kind) -> Self {
        Self { name: self.name.clone(), kind, public: self.public, id: id(&self.name, kind, &self.public) }
    }

    /// Name and id, as in a verifier key.
    pub(super) fn title(&self) -> String {
        format!("{}+{:08x}", self.name, self.id)
    }

    pub(super) fn is_named_by(&self, signature: &Signature) -> bool {
        (self.id, self.name.as_str()) == (signature.id, signature.name.as_str())
    }

    /// Whether a signature is this key's for this text, and what time it says.
    pub(super) fn verify(
        &self,
        text: &str,
        signature: &Signature,
    ) -> Result<Option<DateTime<Utc>>, Untrusted> {
        let forged = || Untrusted::Forged(self.title());
        match self.kind {
            Kind::Plain => {
                self.fits(text, &signature.bytes)?;
                Ok(None)
            }
            Kind::Cosignature => {
                let (time, bytes) = signature.bytes.split_first_chunk::<TIME_BYTES>().ok_or_else(forged)?;
                let cosigned_at = instant(u64::from_be_bytes(*time)).ok_or_else(forged)?;
                self.fits(&cosigned_text(text, cosigned_at), bytes)?;
                Ok(Some(cosigned_at))
            }
        }
    }

    /// Whether these are the 64 bytes that this key makes for that.
    fn fits(&self, signed: &str, bytes: &[u8]) -> Result<(), Untrusted> {
        let key = UnparsedPublicKey::new(&ED25519, &self.public);
        key.verify(signed.as_bytes(), bytes).map_err(|_| Untrusted::Forged(self.title()))
    }

    /// What another signer made for a text with the private half of this key: 64 bytes, for the bytes of the text. It is
    /// verified first, so that nothing is written down that nobody would take.
    ///
    /// # Errors
    ///
    /// If it isn't a signature of this text by this key.
    pub fn signature(&self, text: &str, bytes: &[u8]) -> Result<Signature, Untrusted> {
        self.of_kind(Kind::Plain).checked(text, bytes.to_owned())
    }

    /// The same for a cosignature: 64 bytes, for the bytes of [`cosigned_text`].
    ///
    /// # Errors
    ///
    /// If it isn't a signature of this text and time by this key, or the time isn't after 1970 began.
    pub fn cosignature(
        &self,
        text: &str,
        cosigned_at: DateTime<Utc>,
        bytes: &[u8],
    ) -> Result<Signature, Untrusted> {
        let time = seconds(cosigned_at);
        if time == 0 {
            return Err(Untrusted::NoTime);
        }
        let time = time.to_be_bytes();
        self.of_kind(Kind::Cosignature).checked(text, [&time[..], bytes].concat())
    }

    fn checked(&self, text: &str, bytes: Vec<u8>) -> Result<Signature, Untrusted> {
        let signature = Signature { name: self.name.clone(), id: self.id, bytes };
        self.verify(text, &signature)?;
        Ok(signature)
    }
}

/// The verifier key.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let material = [&[self.kind.byte()], &self.public[..]].concat();
        write!(f, "{}+{}", self.title(), BASE64_STANDARD.encode(material))
    }
}

/// Name, id, type, and what follows the type, which a verifier key and a private one have in common.
pub(super) fn parts(text: &str) -> Result<(&str, &str, Kind, Vec<u8>), KeyError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(KeyError::Form);
    };
    let mut material = BASE64_STANDARD.decode(encoded).map_err(|_| KeyError::Material)?;
    if material.is_empty() {
        return Err(KeyError::Material);
    }
    let kind = Kind::of(material.remove(0))?;
    Ok((name, id, kind, material))
}

fn id(name: &str, kind: Kind, public: &[u8; 32]) -> u32 {
    let hash =
        Sha256::new().chain_update(name).chain_update([b'\n', kind.byte()]).chain_update(public).finalize();
    hash.first_chunk::<ID_BYTES>().map_or(0, |id| u32::from_be_bytes(*id))
}

/// What is signed when a text is cosigned: that it is a cosignature, when, and the text.
#[must_use]
pub fn cosigned_text(text: &str, cosigned_at: DateTime<Utc>) -> String {
    format!("cosignature/v1\ntime {}\n{text}", seconds(cosigned_at))
}

/// The seconds since 1970. What was before is written as 0, which is no time of a cosignature.
fn seconds(at: DateTime<Utc>) -> u64 {
    at.timestamp().try_into().unwrap_or(0)
}

/// Zero stands for no time, and says nothing about when; what no calendar has is no time either.
fn instant(seconds: u64) -> Option<DateTime<Utc>> {
    let seconds = i64::try_from(seconds).ok().filter(|seconds| *seconds != 0)?;
    DateTime::from_timestamp(seconds, 0)
}
