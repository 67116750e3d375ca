//! Filters of requests and exceptions.

use std::time::Duration;

use super::{DURATION_MAX, Problems, instant, names, optional, person, states};
use crate::{
    access::text::line,
    broker::{BadField, HeldGrant, RequestFilter},
    wire,
};

/// What an index of trigrams can be asked for at least, in characters.
const TEXT_MIN_CHARS: usize = 3;
/// The longest text that is looked for: nobody remembers more of a reason.
const TEXT_MAX_BYTES: usize = 256;

/// Reads a filter, and notes what is wrong with it.
pub(super) fn request_filter(filter: &wire::RequestFilter, bad: &mut Problems) -> RequestFilter {
    let found = states::<wire::RequestState>(&filter.states, wire::RequestState::as_str_name);
    RequestFilter {
        states: bad.take(found).unwrap_or_default(),
        target: bad.take(optional("filter.target", "targets", &filter.target)).flatten(),
        requester: bad.take(person("filter.requester", &filter.requester)).flatten(),
        submitted_from: bad.take(instant("filter.submitted_from", filter.submitted_from)).flatten(),
        submitted_until: bad.take(instant("filter.submitted_until", filter.submitted_until)).flatten(),
        approver: bad.take(person("filter.approver", &filter.approver)).flatten(),
        group: bad.take(person("filter.group", &filter.group)).flatten(),
        ticket: bad.take(person("filter.ticket", &filter.ticket)).flatten(),
        text: bad.take(text(&filter.text)).flatten(),
        signed: bad.take(signed(filter.signed)).flatten(),
        alarmed: filter.alarmed,
        grant: filter.grant.as_ref().map(|grant| held(grant, bad)).unwrap_or_default(),
        oldest_first: false,
    }
}

fn held(filter: &wire::HeldFilter, bad: &mut Problems) -> HeldGrant {
    let states = names::<wire::GrantState>(
        ("filter.grant.states", "state"),
        &filter.states,
        wire::GrantState::as_str_name,
    );
    let causes = names::<wire::RevocationCause>(
        ("filter.grant.causes", "cause"),
        &filter.causes,
        wire::RevocationCause::as_str_name,
    );
    HeldGrant {
        states: bad.take(states).unwrap_or_default(),
        causes: bad.take(causes).unwrap_or_default(),
        holder: bad.take(person("filter.grant.holder", &filter.holder)).flatten(),
        held_from: bad.take(instant("filter.grant.held_from", filter.held_from)).flatten(),
        held_until: bad.take(instant("filter.grant.held_until", filter.held_until)).flatten(),
        late_by: bad.take(at_least("filter.grant.late_by", filter.late_by)).flatten(),
        early_by: bad.take(at_least("filter.grant.early_by", filter.early_by)).flatten(),
    }
}

/// A text to look for. What can't be in a reason or a statement isn't refused: it is found nowhere.
fn text(text: &str) -> Result<Option<String>, BadField> {
    let bad = |problem: &str| Err(BadField::new("filter.text", problem));
    if text.is_empty() {
        return Ok(None);
    }
    match line(text) {
        Ok(line) if line.len() > TEXT_MAX_BYTES => bad("must have at most 256 bytes"),
        Ok(line) if line.chars().count() < TEXT_MIN_CHARS => bad("must have at least three characters"),
        Ok(line) => Ok(Some(line.to_owned())),
        Err(problem) => Err(BadField::new("filter.text", problem.to_string())),
    }
}

fn signed(number: i32) -> Result<Option<bool>, BadField> {
    match wire::Signed::try_from(number) {
        Ok(wire::Signed::Unspecified) => Ok(None),
        Ok(wire::Signed::Yes) => Ok(Some(true)),
        Ok(wire::Signed::No) => Ok(Some(false)),
        Err(_) => Err(BadField::new("filter.signed", "has a value that this server doesn't know")),
    }
}

/// A length of time that something is at least; none at all is one, too.
fn at_least(
    field: &'static str,
    length: Option<prost_types::Duration>,
) -> Result<Option<Duration>, BadField> {
    let Some(length) = length else { return Ok(None) };
    if length.nanos != 0 {
        return Err(BadField::new(field, "must be whole seconds"));
    }
    let length = u64::try_from(length.seconds).ok().map(Duration::from_secs);
    match length.filter(|length| *length <= DURATION_MAX) {
        None => Err(BadField::new(field, "must not be negative, or longer than a hundred years")),
        length => Ok(length),
    }
}
