//! SSH signatures, verified as OpenSSH verifies them: `ssh-keygen -Y verify` with the same files and the same text comes
//! to the same answer, today and when an auditor asks again. Made signatures are not here: the client has `ssh-keygen`
//! make them, which knows files, agents and hardware keys.
//!
//! ```text
//! armor --sshsig--> key, namespace, signature --key--> fits the text?
//!                    '--lists: revoked? listed for this principal? valid then?
//! ```
//!
//! The formats are OpenSSH's `PROTOCOL.sshsig`, `PROTOCOL.u2f`, RFC 4253, 5656, 8332 and 8709, and ssh-keygen(1)'s ALLOWED
//! SIGNERS. Where OpenSSH passes over what it doesn't understand, this refuses: a line that can't be read, an authority
//! for certificates, a binary list of revoked keys. Reading is bounded and nothing here asks for the time.

mod allowed;
mod bytes;
mod key;
mod lists;
mod pattern;
mod sshsig;

#[cfg(test)]
mod tests;

pub use self::{
    key::PublicKey,
    lists::{ListError, Lists, Signer, Signers},
    sshsig::{Signature, Unreadable, parse},
};

/// What the signatures are made for, so that one that was made for a commit or a file is none here.
pub const NAMESPACE: &str = "hallpass-approval@v1";

/// The longest signature, in bytes: one of the largest RSA key that is taken has 3 KiB in its armor.
pub const SIGNATURE_MAX_BYTES: usize = 8 * 1024;

/// What a signature that was verified says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The fingerprint of its key: `SHA256:` and 43 characters.
    pub key: String,
    /// Whether the key is a hardware key that was touched for it.
    pub present: bool,
}
