//! Whom the auditor believes: the log by its key, witnesses by theirs, and what he kept himself.

use super::report::{Endorsement, Fault};
use crate::{
    ledger::{
        checkpoint::{Checkpoint, Log, Signed},
        note::{Kind, VerifierKey},
    },
    signature::Lists,
};

/// A checkpoint that somebody kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Former {
    /// Where it comes from, for messages.
    pub name: String,
    /// The note.
    pub bytes: Vec<u8>,
}

/// What the auditor brings along.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The log's keys, of which one has to sign. Without any, signatures of checkpoints aren't looked at.
    pub log_keys: Vec<VerifierKey>,
    /// The keys of witnesses, each of whom has to have signed the last checkpoint.
    pub witness_keys: Vec<VerifierKey>,
    /// The checkpoints that he kept.
    pub former: Vec<Former>,
    /// Whose signatures of approvals count. Without it, each is held against the key that is on record.
    pub signers: Option<Lists>,
}

impl Trust {
    /// Reads a checkpoint and looks at its signatures. What is wrong with them is told, and what it says is still used: an
    /// auditor wants to know of both.
    pub(crate) fn read(&self, name: &str, bytes: &[u8], is_last: bool) -> (Option<Endorsement>, Vec<Fault>) {
        let fault = |problem: String| Fault { sequence: None, about: name.to_owned(), problem };
        let signed = match Signed::parse(bytes) {
            Ok(signed) => signed,
            Err(malformed) => return (None, vec![fault(format!("isn't a checkpoint: {malformed}"))]),
        };
        let checkpoint = signed.checkpoint();
        let mut endorsement = Endorsement {
            name: name.to_owned(),
            origin: checkpoint.origin().to_owned(),
            size: checkpoint.size(),
            root: checkpoint.root(),
            signed_by: Vec::new(),
            cosigned: Vec::new(),
        };
        let mut faults = Vec::new();
        if !self.log_keys.is_empty() {
            match self.log(checkpoint).map(|log| signed.verify(&log, &self.witness_keys)) {
                Ok(Ok(endorsed)) => {
                    endorsement.signed_by =
                        endorsed.signed.iter().map(|verified| verified.key.name().to_owned()).collect();
                    let cosigned = endorsed.cosigned.into_iter().map(|one| (one.witness, one.cosigned_at));
                    endorsement.cosigned = cosigned.collect();
                }
                Ok(Err(untrusted)) => faults.push(fault(untrusted.to_string())),
                Err(problem) => faults.push(fault(problem)),
            }
        }
        if is_last {
            let missing = self.witness_keys.iter().map(VerifierKey::name);
            let missing =
                missing.filter(|name| !endorsement.cosigned.iter().any(|(witness, _)| witness == name));
            faults.extend(missing.map(|name| fault(format!("isn't cosigned by the witness {name}"))));
        }
        (Some(endorsement), faults)
    }

    /// The log that a checkpoint is of, by the keys that are called as it is. A log whose keys have other names is known by
    /// them all the same, if there is no other.
    fn log(&self, checkpoint: &Checkpoint) -> Result<Log, String> {
        let named =
            self.log_keys.iter().filter(|key| key.name() == checkpoint.origin() && key.kind() == Kind::Plain);
        let named: Vec<_> = named.cloned().collect();
        if named.is_empty() {
            return Err(format!(
                "is of the log {:?}, which none of the keys is called by",
                checkpoint.origin()
            ));
        }
        Log::new(checkpoint.origin(), named).map_err(|error| error.to_string())
    }
}
