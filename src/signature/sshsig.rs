//! A signature as `ssh-keygen -Y sign` writes it (OpenSSH's `PROTOCOL.sshsig`): from its armor to its parts, and what of
//! the text it signs.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256, Sha512};

use super::{
    SIGNATURE_MAX_BYTES,
    bytes::{Bytes, push},
    key::PublicKey,
};

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----\n";
const END: &str = "\n-----END SSH SIGNATURE-----";
const MAGIC: &[u8; 6] = b"SSHSIG";
const VERSION: u32 = 1;

/// Bytes that aren't what they should be, or not of a kind that is taken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is malformed, or of a kind that isn't taken")]
pub struct Unreadable;

/// The bare signature of a key: its algorithm, its bytes, and what hardware keys append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) algorithm: String,
    pub(super) blob: Vec<u8>,
    pub(super) rest: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha512,
}

/// A signature that says by whom and for what, and of which nothing is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    key: PublicKey,
    namespace: String,
    hash: Hash,
    raw: Raw,
}

impl Signature {
    /// The key that it says it is made with.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// What it says it is made for.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether it is a signature of this text, by its key: `Some`, and whether the key is a hardware key that was touched
    /// for it. Whose key that is, is another question.
    #[must_use]
    pub fn verify(&self, text: &[u8]) -> Option<bool> {
        self.key.verify(&self.signed(text), &self.raw)
    }

    /// Like [`Self::verify`], of a text that is gone and has left its SHA-512. `None` as well if the signature is one over
    /// the text's SHA-256, as nobody but `ssh-keygen -O hashalg=sha256` makes them.
    #[must_use]
    pub fn verify_hashed(&self, sha512: &[u8; 64]) -> Option<bool> {
        match self.hash {
            Hash::Sha256 => None,
            Hash::Sha512 => self.key.verify(&self.signed_hash("sha512", sha512), &self.raw),
        }
    }

    /// Whether it is a signature over its text's SHA-512.
    #[must_use]
    pub fn is_over_sha512(&self) -> bool {
        self.hash == Hash::Sha512
    }

    /// What is signed: the text's hash, and what it is for.
    fn signed(&self, text: &[u8]) -> Vec<u8> {
        match self.hash {
            Hash::Sha256 => self.signed_hash("sha256", &Sha256::digest(text)),
            Hash::Sha512 => self.signed_hash("sha512", &Sha512::digest(text)),
        }
    }

    fn signed_hash(&self, name: &str, hash: &[u8]) -> Vec<u8> {
        let mut signed = MAGIC.to_vec();
        for part in [self.namespace.as_bytes(), b"", name.as_bytes(), hash] {
            push(&mut signed, part);
        }
        signed
    }
}

/// Reads a signature in its armor. Any bytes may come: they are refused, or read to their end.
///
/// # Errors
///
/// If it is longer than one can be, malformed, or of a key or version that isn't taken.
pub fn parse(armored: &str) -> Result<Signature, Unreadable> {
    if armored.len() > SIGNATURE_MAX_BYTES {
        return Err(Unreadable);
    }
    let blob = unarmored(armored)?;
    let mut bytes = Bytes::new(&blob);
    if bytes.take(MAGIC.len())? != MAGIC || bytes.u32()? != VERSION {
        return Err(Unreadable);
    }
    let key = PublicKey::parse(bytes.string()?)?;
    let namespace = bytes.name()?.to_owned();
    // Reserved: what stands there isn't covered by the signature, so that nothing may.
    bytes.string()?.is_empty().then_some(()).ok_or(Unreadable)?;
    let hash = match bytes.name()? {
        "sha256" => Hash::Sha256,
        "sha512" => Hash::Sha512,
        _ => return Err(Unreadable),
    };
    let raw = raw(bytes.string()?)?;
    bytes.end()?;
    Ok(Signature { key, namespace, hash, raw })
}

fn unarmored(armored: &str) -> Result<Vec<u8>, Unreadable> {
    let body = armored.strip_suffix('\n').unwrap_or(armored);
    let body = body.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)).ok_or(Unreadable)?;
    let encoded: String = body.split('\n').collect();
    STANDARD.decode(encoded).map_err(|_| Unreadable)
}

fn raw(signature: &[u8]) -> Result<Raw, Unreadable> {
    let mut bytes = Bytes::new(signature);
    let (algorithm, blob) = (bytes.name()?.to_owned(), bytes.string()?.to_owned());
    // A hardware key's flags and counter; whether they belong there is the key's to know.
    let rest = match bytes.end() {
        Ok(()) => Vec::new(),
        Err(_) => bytes.array::<5>()?.to_vec(),
    };
    bytes.end()?;
    Ok(Raw { algorithm, blob, rest })
}
