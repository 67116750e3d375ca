//! The named things in production, as the operators define them.

use std::{collections::BTreeMap, fmt, num::NonZeroU32, str::FromStr, time::Duration};

use super::{
    hours::Hours, limits::Limits, members::Members, quorum::Quorum, terms::Leeway, writing::Writing,
};

/// The longest name, so that it fits wherever names go.
const NAME_MAX_BYTES: usize = 63;

/// A text that names no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a target's name: it takes 1 to 63 of a-z, 0-9 and '-', beginning with a letter")]
pub struct BadTargetName;

/// A target's name: 1 to 63 of `a-z 0-9 -`, beginning with a letter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetName(String);

impl TargetName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TargetName {
    type Err = BadTargetName;

    fn from_str(text: &str) -> Result<Self, BadTargetName> {
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let begins_well = text.starts_with(|c: char| c.is_ascii_lowercase());
        let fits = text.len() <= NAME_MAX_BYTES && text.chars().all(known);
        if begins_well && fits { Ok(Self(text.to_owned())) } else { Err(BadTargetName) }
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What ending a grant before its window closes is worth on a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyRevocation {
    /// Open sessions are ended and new logins refused.
    EndsSessions,
    /// New logins are refused; open sessions go on.
    StopsNewLogins,
    /// Nothing ends before the credential's own expiry.
    ExpiresOnly,
}

/// A named thing in production.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub name: TargetName,
    /// What it is, for people.
    pub description: String,
    /// Where Vault makes its credentials, for example `database/creds/hp-orders-ro`.
    pub credential_path: String,
    /// The Vault policy that lets a grant's token read that path.
    pub vault_policy: String,
    /// The longest window.
    pub window_max: Duration,
    /// The window of a request that says nothing about it: not longer than the longest.
    pub window_default: Option<Duration>,
    /// How long an undecided request stays open.
    pub decide_within: Duration,
    /// How long an approved request waits to be claimed.
    pub claim_within: Duration,
    /// Who may request it.
    pub requesters: Members,
    /// Who may approve it.
    pub approvers: Members,
    /// How many distinct people have to approve.
    pub approvals_required: NonZeroU32,
    /// Of which groups they have to be.
    pub quorum: Quorum,
    /// What an approver may do to the terms.
    pub leeway: Leeway,
    /// The hours in which a window may lie; all, if there are none.
    pub hours: Option<Hours>,
    /// What early revocation is worth here.
    pub early_revocation: EarlyRevocation,
    /// What has to be written.
    pub writing: Writing,
    /// How much may be held at once, and how soon again.
    pub limits: Limits,
    /// How long ago a witness may have cosigned the log last for a claim; however long, if it doesn't matter.
    pub cosigned_within: Option<Duration>,
}

/// Every target, by name.
pub type Targets = BTreeMap<TargetName, Target>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_small_alphabet() {
        for good in ["a", "orders-ro", &"x".repeat(63)] {
            assert!(good.parse::<TargetName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "1a", "A", "a_b", "a/b", "a\n", &"x".repeat(64)] {
            assert!(bad.parse::<TargetName>().is_err(), "{bad}");
        }
    }
}
