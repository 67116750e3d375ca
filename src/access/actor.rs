//! Who did it. The rules know people by what the identity provider says of them, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use unicode_security::skeleton;

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
    /// Whether these are one person, or can't be told apart. Either match is enough: a second login whose name looks the
    /// same is taken for the same person, because the rules that ask (nobody decides his own request, approvals count
    /// people) must err this way. What looks the same is said by Unicode's list of confusable characters
    /// (<https://www.unicode.org/reports/tr39/#Confusable_Detection>), whatever the case.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.subject == other.subject || self.name == other.name || look(&self.name).eq(look(&other.name))
    }

    /// Whether this is the very identity that owns something. Only the same subject is: the rules that ask (claiming,
    /// releasing, withdrawing, reading) give access, so they must err the other way.
    #[must_use]
    pub fn owns(&self, owner: &Self) -> bool {
        self.subject == owner.subject
    }
}

/// What a name looks like. In lower case twice, since what is confusable with a small letter may be a capital one; and with
/// one letter for `i` and `l`, since a capital `I` is confusable with the one and is the other.
fn look(name: &str) -> impl Iterator<Item = char> {
    let small: String = skeleton(&name.to_lowercase()).collect();
    let look: Vec<char> = skeleton(&small.to_lowercase()).collect();
    look.into_iter().map(|c| if c == 'i' { 'l' } else { c })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn person(subject: &str, name: &str) -> Person {
        Person { subject: subject.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn names_that_look_alike_are_one_persons() {
        let olivia = person("a", "olivia");
        for alike in [
            "olivia",
            "Olivia",
            "OLIVIA",
            "\u{43e}livia",
            "\u{ff4f}livia",
            "o\u{4cf}ivia",
            "oliv\u{456}a",
            "oIivia",
            "OLlVlA",
            "0livia",
        ] {
            assert!(olivia.is(&person("b", alike)) && person("b", alike).is(&olivia), "{alike}");
        }
        for other in ["olivier", "oliva", "olivi\u{e4}", "alice", ""] {
            assert!(!olivia.is(&person("b", other)), "{other}");
        }
        assert!(olivia.is(&person("a", "alice")), "the subject is the person, whatever the name is by now");
        assert!(person("a", "Zo\u{eb}").is(&person("b", "Zoe\u{308}")), "composed or not");
    }
}
