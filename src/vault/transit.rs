//! Signatures by an Ed25519 key that never leaves Vault: its transit engine's.
//!
//! A key has versions: the latest signs, and what former ones signed stays verifiable for as long as Vault shows their
//! public halves. Nothing that is signed here is secret, and neither is a public key.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{
    Outcome, VaultError,
    endpoints::{ReadTransitKeys, SignByTransit},
    error::{Failure, Operation},
    lane::Lane,
};

/// A key of a transit engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitKey {
    /// Where the engine is mounted.
    pub mount: String,
    /// The key's name.
    pub name: String,
}

impl TransitKey {
    /// The path that the key's settings and public halves are read from.
    #[must_use]
    pub fn key_path(&self) -> String {
        format!("{}/keys/{}", self.mount, self.name)
    }

    /// The path that it signs at.
    #[must_use]
    pub fn sign_path(&self) -> String {
        format!("{}/sign/{}", self.mount, self.name)
    }

    fn reading(&self) -> Operation {
        Operation { name: "read the ledger's public keys", path: self.key_path().into(), capability: "read" }
    }

    fn signing(&self) -> Operation {
        Operation { name: "sign a checkpoint", path: self.sign_path().into(), capability: "update" }
    }
}

impl Lane {
    /// The public halves, by version.
    pub(super) async fn public_keys(&self, key: &TransitKey) -> Result<BTreeMap<u32, [u8; 32]>, VaultError> {
        let operation = key.reading();
        let asked = self.ask(|| ReadTransitKeys { mount: key.mount.clone(), key: key.name.clone() }).await;
        let answer = match asked {
            Err(failure) if failure.is(404) => return Err(operation.refuse(Outcome::Refused, absent(key))),
            other => other.map_err(|failure| operation.error(&failure, &[]))?,
        };
        let unreadable = || operation.error(&Failure::Unreadable, &[]);
        let found = answer.data.ok_or_else(unreadable)?;
        if found.r#type != "ed25519" || found.derived {
            let reason = format!(
                "{} isn't a plain ed25519 key; name another one in [ledger] transit_key, and make it with \
                 bao write -f {} type=ed25519",
                key.key_path(),
                key.key_path()
            );
            return Err(operation.refuse(Outcome::Refused, reason));
        }
        let read = |(version, key): (String, super::endpoints::TransitKey)| {
            let public = BASE64_STANDARD.decode(key.public_key).ok()?.try_into().ok()?;
            Some((version.parse().ok()?, public))
        };
        found.keys.into_iter().map(read).collect::<Option<_>>().ok_or_else(unreadable)
    }

    /// The 64 bytes of a signature, and the version that made it. Signing twice does no harm: the same bytes have the same
    /// signature.
    pub(super) async fn sign(&self, key: &TransitKey, bytes: &[u8]) -> Result<(u32, [u8; 64]), VaultError> {
        let operation = key.signing();
        let asked = self.ask(|| SignByTransit {
            mount: key.mount.clone(),
            key: key.name.clone(),
            input: BASE64_STANDARD.encode(bytes),
        });
        let answer = match asked.await {
            // Of a key that isn't there Vault says 400 here, as of everything else that is wrong.
            Err(failure) if failure.is(404) => return Err(operation.refuse(Outcome::Refused, absent(key))),
            other => other.map_err(|failure| operation.error(&failure, &[]))?,
        };
        let signature = answer.data.and_then(|signed| parts(&signed.signature));
        signature.ok_or_else(|| operation.error(&Failure::Unreadable, &[]))
    }
}

fn absent(key: &TransitKey) -> String {
    format!(
        "there is no key {}; make it with bao write -f {} type=ed25519, or correct [ledger] transit_mount and transit_key",
        key.key_path(),
        key.key_path()
    )
}

/// Reads `vault:v1:…`.
fn parts(signature: &str) -> Option<(u32, [u8; 64])> {
    let (version, encoded) = signature.strip_prefix("vault:v")?.split_once(':')?;
    Some((version.parse().ok()?, BASE64_STANDARD.decode(encoded).ok()?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_has_a_version_and_64_bytes() {
        let encoded = BASE64_STANDARD.encode([7; 64]);
        assert_eq!(parts(&format!("vault:v12:{encoded}")), Some((12, [7; 64])));
        let short = BASE64_STANDARD.encode([7; 63]);
        for bad in [&encoded, &format!("vault:vx:{encoded}"), &format!("vault:v1:{short}"), "vault:v1:!", ""]
        {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }
}
