//! Signed approvals: what a target demands, what a signature that was verified is, and what may be wrong with one.
//!
//! Whether a signature fits its text and its key is arithmetic and done elsewhere (`signature`). The rules judge what was
//! signed: that it is of this very request, by this approver, about what he wrote, and now.

use chrono::TimeDelta;

use super::{
    approval::Decision,
    approval_text::{ApprovalText, whole_seconds},
    id::RequestId,
    kept::Text,
    refusal::Refusal,
    request::Ask,
};

/// How far the time in a text may be from the daemon's clock when it is recorded: long enough to find the hardware key,
/// and for clocks that are a little off.
pub const CLOCK_OFF_MAX: TimeDelta = TimeDelta::minutes(5);

/// What a target demands of approvals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signing {
    /// They may be signed.
    #[default]
    Optional,
    /// They must be signed.
    Required,
    /// They must be signed by a hardware key that somebody touched.
    Present,
}

/// A text and a signature of it that was verified when it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// What was signed, until it is erased.
    pub text: Text<ApprovalText>,
    /// The signature, as `ssh-keygen -Y sign` writes it.
    pub signature: String,
    /// The fingerprint of the key that made it: `SHA256:` and 43 characters.
    pub key: String,
    /// Whether the key is a hardware key that was touched for it.
    pub present: bool,
}

/// Why a signature isn't taken. `Display` reads after "the signature isn't taken: ".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It can't be read.
    #[error("it isn't one that `ssh-keygen -Y sign` makes, with a key of a kind that is taken here")]
    Malformed,
    /// The text isn't canonical.
    #[error("what was signed isn't the canonical text of an approval")]
    TextMalformed,
    /// It doesn't fit the text.
    #[error("it isn't a signature of this text")]
    OtherText,
    /// It was made for something else.
    #[error("it was made for another purpose: its namespace isn't hallpass-approval@v1")]
    OtherNamespace,
    /// The text is of another request.
    #[error("what was signed approves another request")]
    OtherRequest,
    /// The text names another approver.
    #[error("what was signed is another person's approval")]
    OtherApprover,
    /// The text has other terms.
    #[error("what was signed is on other terms: another window, or another time in which it may open")]
    OtherTerms,
    /// The text has another statement.
    #[error("what was signed has another statement")]
    OtherStatement,
    /// The text's time isn't now.
    #[error("the time in what was signed is more than 5 minutes from the daemon's; look at the clocks")]
    OtherTime,
    /// The text's time is before the request was.
    #[error("what was signed is older than the request; look at the clocks")]
    BeforeRequest,
    /// The key isn't among those that the approver may sign with.
    #[error("its key isn't one that the operators listed for you")]
    OtherKey,
    /// The key may not be used any more.
    #[error("its key is expired")]
    KeyExpired,
    /// The key may not be used yet.
    #[error("its key isn't valid yet")]
    KeyNotYetValid,
    /// The key was revoked.
    #[error("its key was revoked")]
    KeyRevoked,
    /// Nobody touched a hardware key.
    #[error("this target takes only signatures of hardware keys that were touched for it")]
    NotPresent,
    /// There is no list of keys.
    #[error("nobody's keys are listed here, so that it can't be verified")]
    NotListed,
}

impl Problem {
    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "MALFORMED",
            Self::TextMalformed => "TEXT_MALFORMED",
            Self::OtherText => "OTHER_TEXT",
            Self::OtherNamespace => "OTHER_NAMESPACE",
            Self::OtherRequest => "OTHER_REQUEST",
            Self::OtherApprover => "OTHER_APPROVER",
            Self::OtherTerms => "OTHER_TERMS",
            Self::OtherStatement => "OTHER_STATEMENT",
            Self::OtherTime => "OTHER_TIME",
            Self::BeforeRequest => "BEFORE_REQUEST",
            Self::OtherKey => "OTHER_KEY",
            Self::KeyExpired => "KEY_EXPIRED",
            Self::KeyNotYetValid => "KEY_NOT_YET_VALID",
            Self::KeyRevoked => "KEY_REVOKED",
            Self::NotPresent => "NOT_PRESENT",
            Self::NotListed => "NOT_LISTED",
        }
    }
}

impl Signing {
    /// Whether a decision is signed as is demanded here.
    #[must_use]
    pub const fn is_met_by(self, decision: &Decision) -> bool {
        match (self, &decision.signed) {
            (Self::Optional, _) | (Self::Required, Some(_)) => true,
            (Self::Present, Some(signed)) => signed.present,
            (Self::Required | Self::Present, None) => false,
        }
    }

    /// Whether a decision that comes now is signed as is demanded here, and what was signed is this very decision.
    pub(super) fn check(self, decision: &Decision, id: RequestId, ask: &Ask) -> Result<(), Refusal> {
        let problem = match &decision.signed {
            None if self == Self::Optional => return Ok(()),
            None => return Err(Refusal::SignatureRequired { present: self == Self::Present }),
            Some(signed) => signed.problem(decision, id, ask),
        };
        match problem {
            Some(problem) => Err(Refusal::SignatureInvalid { problem }),
            None if self.is_met_by(decision) => Ok(()),
            None => Err(Refusal::SignatureInvalid { problem: Problem::NotPresent }),
        }
    }
}

impl Signed {
    /// Whether what was signed is this decision on this request. Both may come from the record, so the time isn't looked
    /// at. What was erased counts for nothing any more.
    #[must_use]
    pub fn is_of(&self, decision: &Decision, id: RequestId, ask: &Ask) -> bool {
        self.text.kept().is_some_and(|text| mismatch(text, decision, id, ask).is_none())
    }

    fn problem(&self, decision: &Decision, id: RequestId, ask: &Ask) -> Option<Problem> {
        let Some(text) = self.text.kept() else { return Some(Problem::OtherText) };
        let off = (decision.decided_at - text.signed_at).abs();
        mismatch(text, decision, id, ask).or_else(|| {
            if off > CLOCK_OFF_MAX {
                Some(Problem::OtherTime)
            } else if text.signed_at < whole_seconds(ask.submitted_at) {
                Some(Problem::BeforeRequest)
            } else {
                None
            }
        })
    }
}

fn mismatch(text: &ApprovalText, decision: &Decision, id: RequestId, ask: &Ask) -> Option<Problem> {
    if !text.is_of(id, ask) {
        Some(Problem::OtherRequest)
    } else if text.approver != decision.approver.subject {
        Some(Problem::OtherApprover)
    } else if !text.is_on(ask, decision.terms) {
        Some(Problem::OtherTerms)
    } else if decision.statement.kept() != Some(&text.statement) {
        Some(Problem::OtherStatement)
    } else {
        None
    }
}
