//! The ending of a grant: why, how far, and what proves it.

use serde::Serialize;

/// Why a grant ends. There is one path that ends access; these only say what led onto it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Cause {
    /// Its window closed.
    WindowClosed,
    /// Its holder released it.
    Released,
    /// An operator ended it.
    RevokedByOperator,
    /// A freeze ended it.
    Frozen,
    /// Its target is no longer configured.
    TargetRemoved,
    /// Its lease was found gone before the window closed.
    EndedOutside,
    /// Issuing failed or was interrupted.
    IssueFailed,
    /// Its holder claimed again.
    Reissued,
}

/// Every cause with its name.
const CAUSES: [(Cause, &str); 8] = [
    (Cause::WindowClosed, "WINDOW_CLOSED"),
    (Cause::Released, "RELEASED"),
    (Cause::RevokedByOperator, "REVOKED_BY_OPERATOR"),
    (Cause::Frozen, "FROZEN"),
    (Cause::TargetRemoved, "TARGET_REMOVED"),
    (Cause::EndedOutside, "ENDED_OUTSIDE"),
    (Cause::IssueFailed, "ISSUE_FAILED"),
    (Cause::Reissued, "REISSUED"),
];

impl Cause {
    /// The name that is stored and shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        CAUSES.iter().find(|(cause, _)| *cause == self).map_or("", |(_, name)| name)
    }

    /// The cause of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        CAUSES.iter().find(|(_, known)| *known == name).map(|(cause, _)| *cause)
    }
}

/// How far an ending has got, by the step that has to succeed next. They are done in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Step {
    /// Destroy the wrapped credential, in case nobody opened it.
    Wrapping,
    /// Revoke the grant's token.
    Token,
    /// Revoke the lease.
    Lease,
    /// Ask whether the lease is gone.
    Confirmation,
}

/// Every step with its name.
const STEPS: [(Step, &str); 4] = [
    (Step::Wrapping, "WRAPPING"),
    (Step::Token, "TOKEN"),
    (Step::Lease, "LEASE"),
    (Step::Confirmation, "CONFIRMATION"),
];

impl Step {
    /// The name that is stored and shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        STEPS.iter().find(|(step, _)| *step == self).map_or("", |(_, name)| name)
    }

    /// The step of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        STEPS.iter().find(|(_, known)| *known == name).map(|(step, _)| *step)
    }
}

/// What a grant's end rests on. Made by whoever asked Vault, and demanded by the grant's `confirm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// The lookup of the recorded lease said that it is gone.
    LeaseGone,
    /// No lease was recorded; the grant's token is revoked, no read with it can be under way any more, and no lease below
    /// the path is left that could be the grant's.
    NoLeaseLeft,
    /// The grant had no token that could have read anything.
    NothingIssued,
}

impl Confirmation {
    /// What the audit log says.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeaseGone => "lease lookup: invalid lease",
            Self::NoLeaseLeft => "token revoked, no unrecorded lease below the path",
            Self::NothingIssued => "no token was recorded, so nothing was read",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_are_those_of_the_audit_log() {
        for (cause, name) in CAUSES {
            assert_eq!(Cause::named(name), Some(cause));
            assert_eq!(serde_json::to_value(cause).unwrap(), name);
        }
        for (step, name) in STEPS {
            assert_eq!(Step::named(name), Some(step));
            assert_eq!(serde_json::to_value(step).unwrap(), name);
        }
    }
}
