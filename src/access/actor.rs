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

    /// The persons' names, each with identities. `Err` with an identity that two of them have.
    ///
    /// # Errors
    ///
    /// An identity can't be two persons'.
    pub fn new(named: impl IntoIterator<Item = (String, Vec<String>)>) -> Result<Self, String> {
        let mut persons = BTreeMap::new();
        for (name, identities) in named {
            for identity in identities {
                if persons.insert(identity.clone(), format!("{}{name}", Self::PREFIX)).is_some() {
                    return Err(identity);
                }
            }
        }
        Ok(Self(persons))
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
