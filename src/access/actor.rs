//! Who did it. The rules know people by what the identity provider says of them, and nothing else.

use std::collections::BTreeSet;

/// A person, as the identity provider knows him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The provider's stable id.
    pub subject: String,
    /// The name that people know.
    pub name: String,
}

impl Person {
    /// Whether these are one person. Either match is enough: a second login with the same name is taken for the same
    /// person, because the rules that ask (nobody decides his own request, approvals count people) must err this way.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.subject == other.subject || self.name.to_lowercase() == other.name.to_lowercase()
    }

    /// Whether this is the very identity that owns something. Only the same subject is: the rules that ask (claiming,
    /// releasing, withdrawing, reading) give access, so they must err the other way.
    #[must_use]
    pub fn owns(&self, owner: &Self) -> bool {
        self.subject == owner.subject
    }
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A person, through a call.
    Person(Person),
    /// The daemon, because a time came or something failed.
    Daemon,
}

/// A person whose identity was verified for this call, and the groups that the provider vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who calls.
    pub person: Person,
    /// What groups the caller is in.
    pub groups: BTreeSet<String>,
}
