//! What is asked of a list, and what comes of it.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::access::{id::RequestId, target::TargetName};

/// Which requests to list, and from which end; `None`, `false` and empty match all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestFilter {
    /// The names of the states, any of them.
    pub states: Vec<&'static str>,
    /// The target.
    pub target: Option<TargetName>,
    /// The requester's subject or name.
    pub requester: Option<String>,
    /// Submitted at this time or later.
    pub submitted_from: Option<DateTime<Utc>>,
    /// Submitted before this time.
    pub submitted_until: Option<DateTime<Utc>>,
    /// The subject or name of somebody who decided on it.
    pub approver: Option<String>,
    /// One of the groups that made the requester one.
    pub group: Option<String>,
    /// The ticket, as it was given.
    pub ticket: Option<String>,
    /// What the reason or a statement has in it, whatever the case; three characters at least.
    pub text: Option<String>,
    /// Whether it has approvals that are all signed, or one that isn't.
    pub signed: Option<bool>,
    /// Whether an alarm was raised about it.
    pub alarmed: bool,
    /// What one of its grants is like.
    pub grant: HeldGrant,
    /// The oldest first.
    pub oldest_first: bool,
}

/// What a grant is like: all of it has to hold for one and the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldGrant {
    /// The names of the states, any of them.
    pub states: Vec<&'static str>,
    /// The names of the causes of its end, any of them.
    pub causes: Vec<&'static str>,
    /// The holder's subject or name.
    pub holder: Option<String>,
    /// There was access after this time: it isn't over, or ended later.
    pub held_from: Option<DateTime<Utc>>,
    /// There was access before this time: it was held, or being made, by then.
    pub held_until: Option<DateTime<Utc>>,
    /// Revoked at least so long after its window closed.
    pub late_by: Option<Duration>,
    /// Revoked at least so long before its window closed.
    pub early_by: Option<Duration>,
}

/// Which grants to list; `None` and empty match all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantFilter {
    /// The names of the states, any of them.
    pub states: Vec<&'static str>,
    /// The target.
    pub target: Option<TargetName>,
    /// The holder's subject or name.
    pub holder: Option<String>,
    /// The request.
    pub request: Option<RequestId>,
    /// Only those that should be over.
    pub overdue: Option<Overdue>,
}

/// Which grants should be over: those that are ending since `begun_by` or before, and those that are held or being made
/// although their window closed at `closed_by` or before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// The latest beginning of an ending.
    pub begun_by: DateTime<Utc>,
    /// The latest end of a window.
    pub closed_by: DateTime<Utc>,
}

/// A part of a list: what comes after `after`, at most `limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice<Id> {
    /// The last one of the slice before.
    pub after: Option<Id>,
    /// How many at most.
    pub limit: u32,
}

/// What was found in a part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<T> {
    /// What matches, in its order.
    pub items: Vec<T>,
    /// Where to go on if the search ended before the slice was full and before the list was over. It is one of the list's
    /// own, which the scope shows, whether or not it matches.
    pub resume: Option<RequestId>,
}
