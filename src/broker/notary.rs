//! Who stands for the log: what signs its checkpoints, and who is shown them. The broker knows them by what they can do; what
//! they are, and how they are reached, is others' business ([`notary`](crate::notary)).

use std::{fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::Value;

use crate::{
    ledger::{
        note::{Signature, Untrusted, VerifierKey},
        witness::{AddCheckpoint, Answer},
    },
    vault::VaultError,
};

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// Vault didn't.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// What it made isn't a signature.
    #[error("the signature of the checkpoint {0}; check what stands before Vault")]
    Unusable(#[from] Untrusted),
    /// The key that it signs by isn't among those that it shows.
    #[error("the checkpoint was signed by version {0} of the key, which Vault doesn't show; try again")]
    OtherKey(u32),
}

/// Signs checkpoints.
#[async_trait]
pub trait Signer: Debug + Send + Sync {
    /// The keys that the log may have been signed by, the present one and former ones.
    async fn keys(&self) -> Result<Vec<VerifierKey>, SignError>;

    /// Signs a checkpoint's text. The signature fits.
    async fn sign(&self, text: &str) -> Result<Signature, SignError>;
}

/// Why a witness didn't answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WitnessError(pub String);

/// Somebody outside the daemon's reach who keeps what he was shown last, and takes nothing that contradicts it.
#[async_trait]
pub trait Witness: Debug + Send + Sync {
    /// What it is called.
    fn name(&self) -> &str;

    /// By which its cosignatures are known, if it makes any.
    fn key(&self) -> Option<&VerifierKey>;

    /// Shows it a checkpoint.
    async fn add(&self, request: &AddCheckpoint) -> Result<Answer, WitnessError>;
}

/// All who stand for the log. Without anybody who signs, nothing is checked and nothing demanded.
#[derive(Debug, Default)]
pub struct Notary {
    /// The log's name.
    pub origin: String,
    /// What signs.
    pub signer: Option<Arc<dyn Signer>>,
    /// How long a log that has grown waits for its checkpoint.
    pub interval: Duration,
    /// Those that are shown every checkpoint.
    pub witnesses: Vec<Arc<dyn Witness>>,
    /// The keys by which cosignatures are known, also those of witnesses that come by themselves.
    pub witness_keys: Vec<VerifierKey>,
    /// What the audit log has of earlier contradictions.
    pub past: Past,
}

/// What is on record of earlier contradictions: the last events of two kinds, by their places and details.
#[derive(Debug, Default)]
pub struct Past {
    /// `LedgerContradicted`.
    pub contradicted: Option<(i64, Value)>,
    /// `ReconciliationDone`.
    pub reconciled: Option<(i64, Value)>,
}
