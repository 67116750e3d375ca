//! Exceptions in numbers.

use std::collections::BTreeMap;

use super::duration;
use crate::{
    access::totals::{self, Tally, Totals},
    wire,
};

/// Numbers as they are sent.
#[must_use]
pub fn totals(totals: Totals) -> wire::SummarizeExceptionsResponse {
    let state = |(name, count): (String, u64)| wire::StateCount {
        state: wire::RequestState::from_str_name(&format!("REQUEST_STATE_{name}")).unwrap_or_default().into(),
        count: many(count),
    };
    wire::SummarizeExceptionsResponse {
        all: Some(tally(&totals.all)),
        states: totals.states.into_iter().map(state).collect(),
        targets: named(&totals.targets, "targets/"),
        groups: named(&totals.groups, ""),
    }
}

fn named(tallies: &BTreeMap<String, Tally>, collection: &str) -> Vec<wire::NamedTotals> {
    let name =
        |name: &str| if name == totals::OTHERS { name.to_owned() } else { format!("{collection}{name}") };
    tallies
        .iter()
        .map(|(of, tallied)| wire::NamedTotals { name: name(of), totals: Some(tally(tallied)) })
        .collect()
}

fn tally(tally: &Tally) -> wire::ExceptionTotals {
    wire::ExceptionTotals {
        count: many(tally.count),
        granted: many(tally.granted),
        planned: Some(duration(tally.planned)),
        held: Some(duration(tally.held)),
        deciding_median: tally.deciding.get().map(duration),
    }
}

fn many(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
