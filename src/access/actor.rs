//! Who did it. The rules know people by what the identity provider says of them, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

/// A person, as the identity provider knows him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// A stable id that no two people share: who vouches for it, `:`, and what the person is called there; or
    /// [`Persons::PREFIX`] and a name.
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

/// Which identities are one person: people who come in by several ways, each of which calls them something else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Persons(BTreeMap<String, String>);

impl Persons {
    /// What the subject of a person who comes in by several ways begins with. No identity begins so.
    pub const PREFIX: &'static str = "person:";

    /// Gives an identity to the person of that name. False, and nothing is changed, if it is somebody's already.
    #[must_use]
    pub fn add(&mut self, person: &str, identity: &str) -> bool {
        let is_new = !self.0.contains_key(identity);
        if is_new {
            self.0.insert(identity.to_owned(), format!("{}{person}", Self::PREFIX));
        }
        is_new
    }

    /// Whether this is the subject of somebody here.
    #[must_use]
    pub fn has(&self, subject: &str) -> bool {
        self.0.values().any(|person| person == subject)
    }

    /// The subject under which an identity's person is known: the same whichever way he came in.
    #[must_use]
    pub fn subject<'a>(&'a self, identity: &'a str) -> &'a str {
        self.0.get(identity).map_or(identity, String::as_str)
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
