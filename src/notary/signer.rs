//! What signs checkpoints: Vault's transit engine, which never gives the key away, or a key in a file.

use async_trait::async_trait;

use crate::{
    broker::{SignError, Signer},
    ledger::note::{Kind, Signature, SigningKey, VerifierKey},
    vault::{TransitKey, VaultIssuer},
};

/// Signs by a key in Vault.
#[derive(Debug)]
pub struct TransitSigner {
    vault: VaultIssuer,
    key: TransitKey,
    origin: String,
}

impl TransitSigner {
    /// The log of this origin is signed by this key.
    #[must_use]
    pub const fn new(vault: VaultIssuer, key: TransitKey, origin: String) -> Self {
        Self { vault, key, origin }
    }
}

#[async_trait]
impl Signer for TransitSigner {
    async fn keys(&self) -> Result<Vec<VerifierKey>, SignError> {
        let versions = self.vault.public_keys(&self.key).await?;
        let named = |public| VerifierKey::new(&self.origin, Kind::Plain, public).ok();
        // The latest first. The name was tried when the configuration was read.
        Ok(versions.into_values().rev().filter_map(named).collect())
    }

    async fn sign(&self, text: &str) -> Result<Signature, SignError> {
        let (version, bytes) = self.vault.sign(&self.key, text.as_bytes()).await?;
        let public = self.vault.public_keys(&self.key).await?.remove(&version);
        let key = public.and_then(|public| VerifierKey::new(&self.origin, Kind::Plain, public).ok());
        let key = key.ok_or(SignError::OtherKey(version))?;
        Ok(key.signature(text, &bytes)?)
    }
}

/// Signs by a key in this process.
#[derive(Debug)]
pub struct FileSigner(SigningKey);

impl FileSigner {
    /// With a key whose name is the log's origin.
    #[must_use]
    pub const fn new(key: SigningKey) -> Self {
        Self(key)
    }
}

#[async_trait]
impl Signer for FileSigner {
    async fn keys(&self) -> Result<Vec<VerifierKey>, SignError> {
        Ok(vec![self.0.verifier(Kind::Plain)])
    }

    async fn sign(&self, text: &str) -> Result<Signature, SignError> {
        Ok(self.0.sign(text))
    }
}
