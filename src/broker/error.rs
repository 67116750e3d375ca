//! Why a verb failed, in words for the caller and with all that the wire needs.

use crate::{
    access::{id::GrantId, refusal::Refusal},
    signature::ListError,
    store::StoreError,
    vault::MissingCapability,
};

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadField {
    /// The field's path in the message, for example `duration`.
    pub field: &'static str,
    /// What is wrong, so that it reads after the field's name.
    pub problem: String,
}

impl BadField {
    /// Names a field and what is wrong with it.
    pub fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }
}

/// Why a verb failed. Except for [`Self::IssueFailed`], nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input is bad; every problem at once.
    #[error("{}", bad_fields(.0))]
    BadFields(Vec<BadField>),
    /// It doesn't exist, or the caller may not see it.
    #[error("{name} doesn't exist, or you may not see it")]
    NotFound {
        /// Its resource name.
        name: String,
    },
    /// The rules say no.
    #[error("{refusal}")]
    Refused {
        /// The resource that it is about.
        name: String,
        /// Why.
        refusal: Refusal,
    },
    /// Nobody is known who could approve.
    #[error("nobody may approve requests for {name}; ask the operators to name a group of approvers")]
    NoEligibleApprover {
        /// The target's resource name.
        name: String,
    },
    /// The idempotency key came with other contents before.
    #[error("this idempotency key was used for another request ({name}); use a new key")]
    KeyReused {
        /// The request that it was used for.
        name: String,
    },
    /// The daemon's rights in Vault don't suffice, or aren't known yet.
    #[error("nothing can be issued for {name}: {}; tell the operators", blockers(.missing))]
    IssueBlocked {
        /// The target's resource name.
        name: String,
        /// The rights that are missing; empty if Vault couldn't be asked yet.
        missing: Vec<MissingCapability>,
    },
    /// The audit log is no place to record a grant in.
    #[error("nothing can be issued for {name}: {problem}; tell the operators")]
    LedgerBlocked {
        /// The target's resource name.
        name: String,
        /// What is wrong with the log.
        problem: String,
    },
    /// Issuing failed half way. The grant exists and is being ended.
    #[error(
        "issuing failed ({reason}); whatever may exist is being revoked, and you may claim again while the window lasts"
    )]
    IssueFailed {
        /// The grant.
        grant: GrantId,
        /// At which step it went wrong.
        reason: String,
    },
    /// What an earlier claim delivered is still being revoked.
    #[error(
        "the credential that you were given before isn't revoked yet; it is being tried again and again, so claim again in a moment"
    )]
    EarlierRemains {
        /// The earlier grant.
        grant: GrantId,
    },
    /// Somebody else changed the same record at the same time, again and again.
    #[error("others changed the same record at the same time; try again")]
    Conflict,
    /// Another daemon does it.
    #[error("another hallpassd has taken over {duty}; try again")]
    OffDuty {
        /// What it has taken over.
        duty: String,
    },
    /// This daemon does nothing new at present.
    #[error(
        "nothing can be issued for {name} here: {problem}; try again, which may reach another one, and tell the operators"
    )]
    DutyBlocked {
        /// The target's resource name.
        name: String,
        /// Why.
        problem: String,
    },
    /// The configuration changed between the check and the record.
    #[error("the configuration was changed at the same time, so this wasn't done; try again")]
    Reconfigured,
    /// The audit log can't be written, so nothing may change.
    #[error(
        "the record can't be written, so nothing was changed, except that what had to end was ended in Vault as far as possible; try again, and tell the operators if it lasts"
    )]
    StoreUnavailable(#[source] StoreError),
    /// The lists of keys can't be used, so no signature can be verified.
    #[error("signatures can't be verified now, because the operators' list of keys can't be used; tell them")]
    SignersUnusable(#[source] ListError),
    /// The daemon is stopping.
    #[error("the daemon is stopping; try again")]
    Stopping,
    /// A defect.
    #[error("an internal error; the daemon's log has the details")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { .. } => Self::Conflict,
            StoreError::OffDuty { duty } => Self::OffDuty { duty },
            StoreError::Unavailable { .. } => Self::StoreUnavailable(error),
            StoreError::Corrupt { .. } => Self::Internal(Box::new(error)),
        }
    }
}

fn bad_fields(fields: &[BadField]) -> String {
    fields.iter().map(|bad| format!("{} {}", bad.field, bad.problem)).collect::<Vec<_>>().join("; ")
}

/// What stands in the way of issuing, as people read it.
#[must_use]
pub fn blockers(missing: &[MissingCapability]) -> String {
    if missing.is_empty() {
        return "Vault hasn't answered yet which rights the daemon has".to_owned();
    }
    let one = |lack: &MissingCapability| format!("the daemon lacks {} on {}", lack.capability, lack.path);
    missing.iter().map(one).collect::<Vec<_>>().join(", ")
}
