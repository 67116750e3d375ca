//! Why something may not be done, as a value that callers can act on.

use std::{fmt, num::NonZeroU32, time::Duration};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::{approval::Digest, id::GrantId, signing::Problem};

/// Whose grants a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holders {
    /// The caller's.
    Caller,
    /// All.
    Everybody,
}

/// What there is as many of as there may be.
impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Caller => "you hold as many grants for this target as one person may",
            Self::Everybody => "there are as many grants for this target as there may be",
        })
    }
}

/// Why the rules say no. `Display` says what is wrong and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The caller has no role that allows it.
    #[error("none of your groups may {verb} here; ask the operators who may")]
    RoleMissing {
        /// What was tried.
        verb: &'static str,
    },
    /// The requester can't decide his own request.
    #[error("nobody decides his own request; another approver has to")]
    SelfApproval,
    /// Only the requester, or holder, may do it.
    #[error("only the person who submitted the request may {verb} it")]
    NotOwner {
        /// What was tried.
        verb: &'static str,
    },
    /// The request's state doesn't allow it.
    #[error("the request is {state}, so it can't be {action}")]
    RequestState {
        /// Where it stands.
        state: &'static str,
        /// What was tried, as a participle.
        action: &'static str,
    },
    /// The decision names another digest.
    #[error("the request is not the one that was read: its digest is {current}; read it again, then decide")]
    DigestStale {
        /// The digest it has now.
        current: Digest,
    },
    /// The target's definition changed, or it is gone.
    #[error("the target's configuration changed after the request was submitted; submit a new request")]
    TargetChanged,
    /// The recorded approvals don't cover the request as it stands.
    #[error(
        "the recorded approvals don't cover the request as it stands, or are of people who may not approve it any more; \
         submit a new request"
    )]
    ApprovalInvalid,
    /// The grant was issued and isn't over.
    #[error(
        "a credential was issued already (grants/{grant}); if it never arrived, claim again with reissue, which \
         revokes it and issues a new one in the same window"
    )]
    GrantHeld {
        /// The grant.
        grant: GrantId,
    },
    /// The grant is over, and not because issuing failed.
    #[error("the grant has ended; submit a new request")]
    GrantEnded,
    /// No time is left.
    #[error("the window is over; submit a new request")]
    WindowClosed,
    /// There are as many grants as the target allows.
    #[error("{holders} at once ({max}); claim when one has ended")]
    GrantLimit {
        /// Whose are counted.
        holders: Holders,
        /// How many there may be.
        max: NonZeroU32,
    },
    /// The person's last grant for the target ended too short a while ago.
    #[error("your last grant for this target ended a short while ago; claim again at {} or later", rfc3339(*over_at))]
    GrantPause {
        /// When the next one may be claimed.
        over_at: DateTime<Utc>,
    },
    /// An approver said that the window may not open yet.
    #[error("the approval is for a later time; claim at {} or later", rfc3339(*not_before))]
    TooEarly {
        /// When it may.
        not_before: DateTime<Utc>,
    },
    /// An operator froze it.
    #[error(
        "the target is frozen since {}: {reason}; the request stays approved until it lapses, claim when the operators \
         have thawed it",
        rfc3339(*since)
    )]
    Frozen {
        /// Since when.
        since: DateTime<Utc>,
        /// What the operator wrote.
        reason: String,
    },
    /// The window would not lie in the target's hours.
    #[error("the window would not lie in the target's hours, {hours}; {}", next_fit(*fits_at))]
    OutsideHours {
        /// The hours.
        hours: String,
        /// When it may be claimed so that it does, if that is before the request lapses.
        fits_at: Option<DateTime<Utc>>,
    },
    /// The target takes signed approvals only.
    #[error(
        "approvals for this target must be signed{}; sign it with `hallpass approve --sign KEY`",
        if *present { " with a hardware key that is touched for it" } else { "" }
    )]
    SignatureRequired {
        /// Whether by a hardware key that somebody touches.
        present: bool,
    },
    /// No witness has cosigned the log for longer than the target allows.
    #[error(
        "a grant for this target needs an audit log that a witness has cosigned within {}, and {}; claim again in a moment, \
         and tell the operators if it lasts",
        words(*within),
        last.map_or_else(|| "none has".to_owned(), |at| format!("the last did at {}", rfc3339(at)))
    )]
    NotCosigned {
        /// How long ago it may be.
        within: Duration,
        /// When it was, if ever.
        last: Option<DateTime<Utc>>,
    },
    /// The signature isn't one that proves this approval.
    #[error("the signature isn't taken: {problem}")]
    SignatureInvalid {
        /// Why.
        problem: Problem,
    },
}

/// A length of time in whole seconds, as people read it.
fn words(length: Duration) -> String {
    let seconds = length.as_secs();
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (hours, 0, 0) => format!("{hours} h"),
        _ => format!("{seconds} s"),
    }
}

fn next_fit(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(
        || "submit a new request, for a shorter time".to_owned(),
        |at| format!("claim at {}", rfc3339(at)),
    )
}

/// An instant as messages show it. Whole seconds, rounded up, so that what is promised from then on holds.
pub(super) fn rfc3339(at: DateTime<Utc>) -> String {
    let up = at + TimeDelta::milliseconds(999);
    up.to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl Refusal {
    /// The reason's name on the wire and in the audit log.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::RoleMissing { .. } => "ROLE_MISSING",
            Self::SelfApproval => "SELF_APPROVAL",
            Self::NotOwner { .. } => "NOT_OWNER",
            Self::RequestState { .. } => "REQUEST_STATE",
            Self::DigestStale { .. } => "DIGEST_STALE",
            Self::TargetChanged => "TARGET_CHANGED",
            Self::ApprovalInvalid => "APPROVAL_INVALID",
            Self::GrantHeld { .. } => "GRANT_HELD",
            Self::GrantEnded => "GRANT_ENDED",
            Self::WindowClosed => "WINDOW_CLOSED",
            Self::GrantLimit { .. } => "GRANT_LIMIT",
            Self::GrantPause { .. } => "GRANT_PAUSE",
            Self::TooEarly { .. } => "TOO_EARLY",
            Self::OutsideHours { .. } => "OUTSIDE_HOURS",
            Self::Frozen { .. } => "TARGET_FROZEN",
            Self::SignatureRequired { .. } => "SIGNATURE_REQUIRED",
            Self::NotCosigned { .. } => "NOT_COSIGNED",
            Self::SignatureInvalid { .. } => "SIGNATURE_INVALID",
        }
    }

    /// Whether somebody tried what he may not do, as opposed to what can't be done now. Such attempts are recorded.
    #[must_use]
    pub const fn is_forbidden(&self) -> bool {
        match self {
            // Who has an approver's login and not his key may be somebody else.
            Self::RoleMissing { .. }
            | Self::SelfApproval
            | Self::NotOwner { .. }
            | Self::SignatureInvalid { .. } => true,
            _ => false,
        }
    }
}
