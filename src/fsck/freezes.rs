//! Freezes' rows against their events, which name what is frozen and not the freeze.

use std::collections::BTreeMap;

use super::{Comparison, field, of, text};
use crate::{
    access::{
        actor::Actor,
        event::{Recorded, digest_of},
        freeze::{Freeze, State},
    },
    verify::Fault,
};

/// What differs.
pub(super) fn compare(rows: &[Freeze], events: &[Recorded]) -> Vec<Fault> {
    let mut by_extent: BTreeMap<&str, Vec<Vec<&Recorded>>> = BTreeMap::new();
    for event in events {
        let Some(extent) = text(event, "extent") else { continue };
        let all = by_extent.entry(extent).or_default();
        match all.last_mut().filter(|one| one.last().is_some_and(|last| last.kind == "TargetsFrozen")) {
            Some(standing) => standing.push(event),
            None => all.push(vec![event]),
        }
    }
    let mut faults = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows {
        let extent = row.extent.to_string();
        let began = |one: &&Vec<&Recorded>| one.first().is_some_and(|first| first.at == row.frozen_at);
        let own = by_extent.get(extent.as_str()).and_then(|all| all.iter().find(began));
        *seen.entry(extent).or_default() += 1;
        match own {
            Some(own) => faults.extend(one(row, own)),
            None => faults.push(of(&format!("freeze {}", row.id), "has no events")),
        }
    }
    for (extent, all) in by_extent {
        if all.len() > seen.get(extent).copied().unwrap_or_default() {
            faults.push(of(&format!("a freeze of {extent}"), "has events, and no row"));
        }
    }
    faults
}

fn one(freeze: &Freeze, events: &[&Recorded]) -> Vec<Fault> {
    let mut compared = Comparison::of(format!("freeze {}", freeze.id));
    let frozen: Vec<&&Recorded> = events.iter().filter(|event| event.kind == "TargetsFrozen").collect();
    let thawed = events.iter().find(|event| event.kind == "TargetsThawed");
    // In the place of a reason that was erased stands its digest; that it was, is a change without an event of its own.
    let reason = freeze.reason.as_str();
    let is_erased = frozen.last().and_then(|last| text(last, "reason_digest")) == Some(reason);
    compared.changes(freeze.revision, events.len() + usize::from(is_erased));
    // Who had it end what is held answers for it since.
    if let Some(last) = frozen.last() {
        compared.same("person", &Actor::Person(freeze.by.clone()), &last.actor);
        if let Some(digest) = text(last, "reason_digest") {
            compared.holds(is_erased || digest_of(reason) == digest, "reason");
        }
    }
    let ends = frozen
        .iter()
        .any(|event| field(event, "ends_grants").and_then(serde_json::Value::as_bool) == Some(true));
    match freeze.state {
        State::Frozen { ends_grants } => {
            compared.holds(thawed.is_none(), "state");
            compared.same("word on what is held", &ends_grants, &ends);
        }
        State::Thawed { thawed_at } => compared.same("end", &Some(thawed_at), &thawed.map(|event| event.at)),
    }
    compared.faults
}
