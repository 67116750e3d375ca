//! Of which groups the approvals of a target have to come. Each person's approval counts for one group, so that somebody
//! who is in two doesn't stand for two people.

use std::collections::{BTreeMap, BTreeSet};

/// How many approvals have to come of each group: at least one, and in all no more than the target requires. Nothing is
/// demanded by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quorum(pub BTreeMap<String, u32>);

impl Quorum {
    /// How many it demands in all.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.0.values().sum()
    }

    /// How many are missing of each group, given the groups of each person who approved; empty if none are. People are
    /// taken for the groups so that as few as possible are missing.
    #[must_use]
    pub fn missing(&self, people: &[&BTreeSet<String>]) -> BTreeMap<&str, u32> {
        let places: Vec<&str> = self.0.iter().flat_map(|(group, count)| places(group, *count)).collect();
        let mut taken = Taken { people, places: &places, by_person: vec![None; people.len()] };
        let mut missing = BTreeMap::new();
        for (place, group) in places.iter().enumerate() {
            if !taken.fill(place, &mut BTreeSet::new()) {
                *missing.entry(*group).or_default() += 1;
            }
        }
        missing
    }
}

fn places(group: &str, count: u32) -> impl Iterator<Item = &str> {
    std::iter::repeat_n(group, count as usize)
}

/// Which person takes which place so far. People and places are ten at most (the bound of `approvals_required`).
struct Taken<'a> {
    people: &'a [&'a BTreeSet<String>],
    places: &'a [&'a str],
    by_person: Vec<Option<usize>>,
}

impl Taken<'_> {
    /// Finds somebody for a place, if need be by giving another place to somebody else (an augmenting path).
    fn fill(&mut self, place: usize, asked: &mut BTreeSet<usize>) -> bool {
        let Some(group) = self.places.get(place) else { return false };
        for (person, groups) in self.people.iter().enumerate() {
            if !groups.contains(*group) || !asked.insert(person) {
                continue;
            }
            let held = self.by_person.get(person).copied().flatten();
            if held.is_none_or(|other| self.fill(other, asked))
                && let Some(slot) = self.by_person.get_mut(person)
            {
                *slot = Some(place);
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(groups: &str) -> BTreeSet<String> {
        groups.chars().map(String::from).collect()
    }

    fn quorum(of: &[(&str, u32)]) -> Quorum {
        Quorum(of.iter().map(|(group, count)| ((*group).to_owned(), *count)).collect())
    }

    fn missing(quorum: &Quorum, people: &[&str]) -> u32 {
        let people: Vec<_> = people.iter().map(|groups| set(groups)).collect();
        quorum.missing(&people.iter().collect::<Vec<_>>()).values().sum()
    }

    #[test]
    fn each_person_stands_for_one_group() {
        let both = quorum(&[("a", 1), ("b", 1)]);
        for (people, lacking) in [
            (&[][..], 2),
            (&["a"], 1),
            (&["ab"], 1),
            (&["ab", "c"], 1),
            (&["a", "a"], 1),
            (&["a", "b"], 0),
            (&["ab", "ab"], 0),
            (&["ab", "a"], 0),
            (&["a", "ab"], 0),
            (&["b", "ab"], 0),
        ] {
            assert_eq!(missing(&both, people), lacking, "{people:?}");
        }
        assert_eq!(quorum(&[("a", 2)]).missing(&[&set("a")]), BTreeMap::from([("a", 1)]));
        assert_eq!(missing(&Quorum::default(), &[]), 0);
    }

    /// The plainest search there is: every way of giving people to places.
    fn fewest_missing(places: &[String], people: &[BTreeSet<String>]) -> u32 {
        let Some((first, rest)) = places.split_first() else { return 0 };
        let unfilled = 1 + fewest_missing(rest, people);
        let takers = people.iter().enumerate().filter(|(_, groups)| groups.contains(first));
        let with = takers.map(|(index, _)| {
            let others = people.iter().enumerate().filter(|(other, _)| *other != index);
            fewest_missing(rest, &others.map(|(_, one)| one.clone()).collect::<Vec<_>>())
        });
        with.chain([unfilled]).min().unwrap()
    }

    proptest! {
        #[test]
        fn no_more_are_missing_than_must_be(
            of in prop::collection::btree_map("[a-c]", 1_u32..3, 0..3),
            people in prop::collection::vec(prop::collection::btree_set("[a-d]", 0..3), 0..5),
        ) {
            let places: Vec<String> =
                of.iter().flat_map(|(group, count)| std::iter::repeat_n(group.clone(), *count as usize)).collect();
            let found: u32 = Quorum(of).missing(&people.iter().collect::<Vec<_>>()).values().sum();
            prop_assert_eq!(found, fewest_missing(&places, &people));
        }
    }
}
