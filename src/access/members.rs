//! Who has a role for a target: the members of groups, and single people. Nobody, if neither is named.

use std::collections::BTreeSet;

use super::actor::{Caller, Person, Persons};

/// The members of groups, and single people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// The groups.
    pub groups: BTreeSet<String>,
    /// The subjects of the people, as [`Persons::subject`] answers them.
    pub persons: BTreeSet<String>,
}

impl Members {
    /// Whether nobody is meant.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.persons.is_empty()
    }

    /// Whether the caller is among them.
    #[must_use]
    pub fn include(&self, caller: &Caller) -> bool {
        self.persons.contains(&caller.person.subject) || !self.groups.is_disjoint(&caller.groups)
    }

    /// Whether somebody is among them who was in these groups when they were last vouched for.
    #[must_use]
    pub fn included(&self, person: &Person, groups: &BTreeSet<String>, persons: &Persons) -> bool {
        self.persons.contains(persons.subject(&person.subject)) || !self.groups.is_disjoint(groups)
    }
}

impl From<BTreeSet<String>> for Members {
    fn from(groups: BTreeSet<String>) -> Self {
        Self { groups, persons: BTreeSet::new() }
    }
}
