//! Many exceptions in numbers: how many, how long, how soon decided. One after the other is counted and forgotten, so that
//! a million take no more room than a hundred.

use std::{collections::BTreeMap, time::Duration};

use super::median::Median;

/// How many targets, and how many groups, are told apart: more than anybody reads. What comes after them is counted
/// together as [`OTHERS`].
const NAMES_MAX: usize = 1000;

/// Under which name those are counted whose requester was one by no group.
pub const NONE: &str = "(none)";

/// Under which name all are counted that were too many to be told apart.
pub const OTHERS: &str = "(others)";

/// Some exceptions in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// How many of them were granted: access was held.
    pub granted: u64,
    /// How long the windows of those are; a window counts once, however often it was issued in.
    pub planned: Duration,
    /// How long access was really held.
    pub held: Duration,
    /// How long those that were decided took from submission to the last decision.
    pub deciding: Median,
}

/// All exceptions that match something, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// All of them.
    pub all: Tally,
    /// How many by the name of the request's state.
    pub states: BTreeMap<String, u64>,
    /// By target.
    pub targets: BTreeMap<String, Tally>,
    /// By the groups that made the requester one. One exception counts in each of them.
    pub groups: BTreeMap<String, Tally>,
}

/// What is counted of one exception.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// The target.
    pub target: String,
    /// The groups that made the requester one.
    pub groups: Vec<String>,
    /// The name of the request's state.
    pub state: String,
    /// How long its window is and how long access was held, if it was.
    pub granted: Option<(Duration, Duration)>,
    /// How long the decision took, if it was decided.
    pub decided: Option<Duration>,
}

impl Counted {
    /// Whether a request in this state was decided by its last decision.
    #[must_use]
    pub fn is_decided(state: &str) -> bool {
        matches!(state, "APPROVED" | "CLAIMED" | "DENIED")
    }
}

impl Tally {
    fn add(&mut self, one: &Counted) {
        self.count += 1;
        if let Some((planned, held)) = one.granted {
            self.granted += 1;
            self.planned = self.planned.saturating_add(planned);
            self.held = self.held.saturating_add(held);
        }
        if let Some(decided) = one.decided {
            self.deciding.add(decided);
        }
    }
}

impl Totals {
    /// Counts one more.
    pub fn add(&mut self, one: &Counted) {
        self.all.add(one);
        *self.states.entry(one.state.clone()).or_default() += 1;
        named(&mut self.targets, &one.target).add(one);
        if one.groups.is_empty() {
            named(&mut self.groups, NONE).add(one);
        }
        for group in &one.groups {
            named(&mut self.groups, group).add(one);
        }
    }
}

/// The tally of that name, or of the others if there are too many.
fn named<'a>(tallies: &'a mut BTreeMap<String, Tally>, name: &str) -> &'a mut Tally {
    let fits = tallies.len() < NAMES_MAX || tallies.contains_key(name);
    tallies.entry(if fits { name } else { OTHERS }.to_owned()).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_counts_in_each_of_its_groups_and_once_in_all() {
        let mut totals = Totals::default();
        let one = Counted {
            target: "orders".into(),
            groups: vec!["dev".into(), "night".into()],
            state: "CLAIMED".into(),
            granted: Some((Duration::from_hours(2), Duration::from_hours(1))),
            decided: Some(Duration::from_mins(1)),
        };
        totals.add(&one);
        totals.add(&Counted { target: "orders".into(), state: "LAPSED".into(), ..Counted::default() });
        assert_eq!((totals.all.count, totals.all.granted), (2, 1));
        assert_eq!((totals.all.planned, totals.all.held), (Duration::from_hours(2), Duration::from_hours(1)));
        assert_eq!(totals.all.deciding.get(), Some(Duration::from_mins(1)));
        assert_eq!(totals.states, BTreeMap::from([("CLAIMED".into(), 1), ("LAPSED".into(), 1)]));
        assert_eq!(totals.targets["orders"], totals.all);
        let groups: Vec<_> = totals.groups.iter().map(|(name, tally)| (name.as_str(), tally.count)).collect();
        assert_eq!(groups, [(NONE, 1), ("dev", 1), ("night", 1)]);
    }

    #[test]
    fn names_without_end_are_counted_together() {
        let mut totals = Totals::default();
        for number in 0..NAMES_MAX + 5 {
            totals.add(&Counted { target: number.to_string(), ..Counted::default() });
        }
        assert_eq!((totals.targets.len(), totals.targets[OTHERS].count), (NAMES_MAX + 1, 5));
    }
}
