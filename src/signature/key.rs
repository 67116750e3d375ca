//! Public keys as SSH has them, and whether a signature is theirs. Each kind of key takes its own kind of signature and no
//! other; no certificate is a key here, and no key is taken that is too short to be trusted.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey,
    VerificationAlgorithm,
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::{
    bytes::Bytes,
    sshsig::{Raw, Unreadable},
};

/// The bit of a hardware key's flags that says somebody touched it (U2F's "user presence").
const USER_PRESENT: u8 = 0x01;
/// The moduli that are taken, in bytes: 2048 to 8192 bits. Shorter ones can be broken, longer ones only take time.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// A curve of NIST's (RFC 5656).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    fn named(name: &str) -> Result<Self, Unreadable> {
        match name {
            "nistp256" => Ok(Self::P256),
            "nistp384" => Ok(Self::P384),
            "nistp521" => Ok(Self::P521),
            _ => Err(Unreadable),
        }
    }

    /// How many bytes a number below the curve's order has.
    const fn bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    fn algorithm(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED,
            Self::P384 => &ECDSA_P384_SHA384_FIXED,
            Self::P521 => &ECDSA_P521_SHA512_FIXED,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Ed25519([u8; 32]),
    Ecdsa(Curve, Vec<u8>),
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    HardwareEd25519 { key: [u8; 32], application: Vec<u8> },
    HardwareEcdsa { point: Vec<u8>, application: Vec<u8> },
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    blob: Vec<u8>,
    kind: Kind,
}

impl PublicKey {
    /// The kinds that are taken, by the names that SSH has for them.
    pub const KINDS: [&'static str; 7] = [
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "ssh-rsa",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    ];

    /// Reads a key as it stands in signatures, and in Base64 in files.
    ///
    /// # Errors
    ///
    /// If it is malformed, or of a kind or length that isn't taken.
    pub fn parse(blob: &[u8]) -> Result<Self, Unreadable> {
        let mut bytes = Bytes::new(blob);
        let kind = match bytes.name()? {
            "ssh-ed25519" => Kind::Ed25519(key32(&mut bytes)?),
            name @ ("ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521") => {
                let curve = Curve::named(name.trim_start_matches("ecdsa-sha2-"))?;
                Kind::Ecdsa(curve, point(&mut bytes, curve)?)
            }
            "ssh-rsa" => rsa(&mut bytes)?,
            "sk-ssh-ed25519@openssh.com" => {
                Kind::HardwareEd25519 { key: key32(&mut bytes)?, application: bytes.string()?.to_owned() }
            }
            "sk-ecdsa-sha2-nistp256@openssh.com" => Kind::HardwareEcdsa {
                point: point(&mut bytes, Curve::P256)?,
                application: bytes.string()?.to_owned(),
            },
            _ => return Err(Unreadable),
        };
        bytes.end()?;
        Ok(Self { blob: blob.to_owned(), kind })
    }

    /// Its kind, by the name that SSH has for it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match &self.kind {
            Kind::Ed25519(_) => "ssh-ed25519",
            Kind::Ecdsa(Curve::P256, _) => "ecdsa-sha2-nistp256",
            Kind::Ecdsa(Curve::P384, _) => "ecdsa-sha2-nistp384",
            Kind::Ecdsa(Curve::P521, _) => "ecdsa-sha2-nistp521",
            Kind::Rsa { .. } => "ssh-rsa",
            Kind::HardwareEd25519 { .. } => "sk-ssh-ed25519@openssh.com",
            Kind::HardwareEcdsa { .. } => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }

    /// Its fingerprint, as `ssh-keygen -l` shows it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&self.blob)))
    }

    /// Whether this signature of these bytes is the key's: `Some`, and whether somebody touched it.
    pub(super) fn verify(&self, message: &[u8], raw: &Raw) -> Option<bool> {
        match &self.kind {
            Kind::Ed25519(key) => fits(&ED25519, key, message, ed25519(raw, "ssh-ed25519")?).then_some(false),
            Kind::Ecdsa(curve, point) => {
                let fixed = ecdsa(raw, self.kind(), *curve)?;
                fits(curve.algorithm(), point, message, &fixed).then_some(false)
            }
            Kind::Rsa { modulus, exponent } => {
                let algorithm = match raw.algorithm.as_str() {
                    "rsa-sha2-512" => &RSA_PKCS1_2048_8192_SHA512,
                    "rsa-sha2-256" => &RSA_PKCS1_2048_8192_SHA256,
                    _ => return None,
                };
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                let whole = raw.rest.is_empty() && raw.blob.len() == modulus.len();
                (whole && key.verify(algorithm, message, &raw.blob).is_ok()).then_some(false)
            }
            Kind::HardwareEd25519 { key, application } => {
                let touch = Touch::read(raw)?;
                let signature = ed25519(&touch.inner, self.kind())?;
                fits(&ED25519, key, &touch.signed(application, message), signature).then_some(touch.present())
            }
            Kind::HardwareEcdsa { point, application } => {
                let touch = Touch::read(raw)?;
                let fixed = ecdsa(&touch.inner, self.kind(), Curve::P256)?;
                let signed = touch.signed(application, message);
                fits(&ECDSA_P256_SHA256_FIXED, point, &signed, &fixed).then_some(touch.present())
            }
        }
    }

    /// Whether they are the same key.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.blob == other.blob
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprint())
    }
}

/// What a hardware key adds to what it signs (OpenSSH's `PROTOCOL.u2f`).
struct Touch {
    inner: Raw,
    flags: u8,
    counter: [u8; 4],
}

impl Touch {
    fn read(raw: &Raw) -> Option<Self> {
        let [flags, counter @ ..] = <[u8; 5]>::try_from(raw.rest.as_slice()).ok()?;
        let inner = Raw { rest: Vec::new(), ..raw.clone() };
        Some(Self { inner, flags, counter })
    }

    fn signed(&self, application: &[u8], message: &[u8]) -> Vec<u8> {
        let mut signed = Sha256::digest(application).to_vec();
        signed.push(self.flags);
        signed.extend(self.counter);
        signed.extend(Sha256::digest(message));
        signed
    }

    const fn present(&self) -> bool {
        self.flags & USER_PRESENT != 0
    }
}

fn fits(algorithm: &'static dyn VerificationAlgorithm, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
}

fn ed25519<'a>(raw: &'a Raw, algorithm: &str) -> Option<&'a [u8]> {
    (raw.algorithm == algorithm && raw.rest.is_empty()).then_some(raw.blob.as_slice())
}

/// The two numbers of an ECDSA signature, each as long as the curve has it.
fn ecdsa(raw: &Raw, algorithm: &str, curve: Curve) -> Option<Vec<u8>> {
    (raw.algorithm == algorithm && raw.rest.is_empty()).then_some(())?;
    let mut bytes = Bytes::new(&raw.blob);
    let numbers = [bytes.positive().ok()?, bytes.positive().ok()?];
    bytes.end().ok()?;
    let mut fixed = Vec::new();
    for number in numbers {
        fixed.resize(fixed.len() + curve.bytes().checked_sub(number.len())?, 0);
        fixed.extend(number);
    }
    Some(fixed)
}

fn key32(bytes: &mut Bytes<'_>) -> Result<[u8; 32], Unreadable> {
    bytes.string()?.try_into().map_err(|_| Unreadable)
}

/// A point, uncompressed: nothing else is used in SSH.
fn point(bytes: &mut Bytes<'_>, curve: Curve) -> Result<Vec<u8>, Unreadable> {
    let named = Curve::named(bytes.name()?)?;
    let point = bytes.string()?;
    let whole = point.first() == Some(&4) && point.len() == 1 + 2 * curve.bytes();
    if named == curve && whole { Ok(point.to_owned()) } else { Err(Unreadable) }
}

fn rsa(bytes: &mut Bytes<'_>) -> Result<Kind, Unreadable> {
    let (exponent, modulus) = (bytes.positive()?.to_owned(), bytes.positive()?.to_owned());
    if RSA_BYTES.contains(&modulus.len()) { Ok(Kind::Rsa { modulus, exponent }) } else { Err(Unreadable) }
}
