//! How events name Vault's handles: by a keyed digest. Whoever has the key and a handle can tell that they belong
//! together; nobody else learns anything from it.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::access::event::HandleDigest;

/// Makes the digests.
pub(super) struct Digester(Hmac<Sha256>);

impl Digester {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104)")]
        Self(Hmac::new_from_slice(key).expect("a key of any length"))
    }

    pub(super) fn digest(&self, handle: &str) -> HandleDigest {
        let mut mac = self.0.clone();
        mac.update(handle.as_bytes());
        HandleDigest(hex::encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digester(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_not_shown() {
        assert_eq!(format!("{:?}", Digester::new(&[7; 32])), "Digester(hidden)");
    }
}
