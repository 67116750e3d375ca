//! Whether the signatures of approvals are what the log says of them.

use chrono::DateTime;
use sha2::{Digest as _, Sha512};

use crate::{
    access::approval_text::ApprovalText,
    ledger::replay::SignedApproval,
    signature::{self, Lists, NAMESPACE, Signer},
};

/// What can be said of a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is by the key that is on record, and of what was signed.
    Holds,
    /// It isn't, and why.
    Wrong(String),
    /// Nobody can tell any more: it is over a hash that wasn't recorded, of a text that isn't kept.
    Unknowable,
}

/// Looks at one, against the keys that count, if there is a list of them.
pub(super) fn check(approval: &SignedApproval, lists: Option<&Lists>) -> Verdict {
    match verify(approval, lists) {
        Ok(true) => Verdict::Holds,
        Ok(false) => Verdict::Unknowable,
        Err(problem) => Verdict::Wrong(problem),
    }
}

fn verify(approval: &SignedApproval, lists: Option<&Lists>) -> Result<bool, String> {
    let wrong = |problem: &str| Err(format!("has a signature that {problem}"));
    let Ok(signature) = signature::parse(&approval.signature) else {
        return wrong("can't be read");
    };
    if signature.namespace() != NAMESPACE {
        return wrong("was made for another purpose");
    }
    let recorded = approval.text_sha512.as_deref().map(hash);
    let touched = match (&approval.text, recorded) {
        (_, Some(None)) => return wrong("has no whole hash of its text beside it"),
        (Some(text), Some(Some(recorded))) if Sha512::digest(text)[..] != recorded => {
            return wrong("has another text than it has the hash of");
        }
        (Some(text), _) => signature.verify(text.as_bytes()),
        (None, Some(Some(recorded))) if signature.is_over_sha512() => signature.verify_hashed(&recorded),
        (None, _) => return Ok(false),
    };
    let Some(touched) = touched else {
        return wrong("isn't one of what was signed");
    };
    if signature.key().fingerprint() != approval.signed_with || touched != approval.user_present {
        return wrong("is by another key than is on record");
    }
    let Some(lists) = lists else { return Ok(true) };
    let signed_at =
        approval.text.as_deref().and_then(|text| ApprovalText::parse(text).ok()).map(|text| text.signed_at);
    let at: Vec<_> =
        DateTime::from_timestamp_millis(approval.decided_at).into_iter().chain(signed_at).collect();
    let signer = Signer { principal: &approval.approver, at: &at };
    match lists.counts(signature.key(), &signer) {
        Ok(()) => Ok(true),
        Err(problem) => Err(format!("is signed with a key that doesn't count: {problem}")),
    }
}

fn hash(hex: &str) -> Option<[u8; 64]> {
    hex::decode(hex).ok()?.try_into().ok()
}
