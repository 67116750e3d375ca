//! The people in a log: a number for each identity that did something, and which of them are one person.

use foldhash::HashMap;

use crate::access::actor::Person;

/// How many comparisons are remembered; then it begins anew. Comparing two names takes microseconds, and few people
/// approve for few others.
const COMPARED_MAX: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct People {
    by_subject: HashMap<Box<str>, Vec<u32>>,
    all: Vec<Person>,
    compared: HashMap<(u32, u32), bool>,
}

impl People {
    /// The number of an identity.
    pub(super) fn number(&mut self, subject: &str, name: &str) -> u32 {
        let known = self.by_subject.get(subject).into_iter().flatten().copied();
        let found =
            known.into_iter().find(|number| self.get(*number).is_some_and(|person| person.name == name));
        if let Some(number) = found {
            return number;
        }
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push(Person { subject: subject.to_owned(), name: name.to_owned() });
        self.by_subject.entry(subject.into()).or_default().push(number);
        number
    }

    /// The identity of a number.
    pub(super) fn get(&self, number: u32) -> Option<&Person> {
        self.all.get(number as usize)
    }

    /// Whether two identities have one subject.
    pub(super) fn own(&self, one: u32, other: u32) -> bool {
        one == other || self.both(one, other, Person::owns)
    }

    /// Whether two identities are one person, or can't be told apart.
    pub(super) fn are_one(&mut self, one: u32, other: u32) -> bool {
        if one == other {
            return true;
        }
        let pair = (one.min(other), one.max(other));
        if let Some(known) = self.compared.get(&pair) {
            return *known;
        }
        if self.compared.len() >= COMPARED_MAX {
            self.compared.clear();
        }
        let are_one = self.both(one, other, Person::is);
        self.compared.insert(pair, are_one);
        are_one
    }

    fn both(&self, one: u32, other: u32, compare: fn(&Person, &Person) -> bool) -> bool {
        self.get(one).zip(self.get(other)).is_some_and(|(one, other)| compare(one, other))
    }
}
