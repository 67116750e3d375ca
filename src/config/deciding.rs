//! Of a target: who may request it, who approves, how many of which groups, on which terms, and in which hours. What could
//! never be approved is refused, since nobody would notice before he needs it.

use std::{collections::BTreeSet, num::NonZeroU32, ops::RangeInclusive};

use chrono_tz::Tz;

use super::{
    found::{Found, Read},
    identity::Known,
    section::Section,
    value,
};
use crate::{
    access::{hours::Hours, members::Members, quorum::Quorum, terms::Leeway},
    schedule,
};

/// More signatures than this nobody collects in time; none would be no approval at all.
const APPROVALS: RangeInclusive<u32> = 1..=10;

/// Who decides, and how; what couldn't be read is missing.
pub(super) struct Deciding {
    pub(super) requesters: Option<Members>,
    pub(super) approvers: Option<Members>,
    pub(super) required: Option<NonZeroU32>,
    pub(super) quorum: Option<Quorum>,
    pub(super) leeway: Option<Leeway>,
}

pub(super) fn read(section: &mut Section<'_>, known: Option<&Known<'_>>) -> Deciding {
    let write = "the groups that may request it, or [] for nobody";
    let requesters = members(section, ("requesters", write), "requester_persons", known);
    let write = "the groups that may approve it";
    let approvers = members(section, ("approvers", write), "approver_persons", known);
    let required = section.or("approvals_required", "1", value::count(APPROVALS));
    let quorum = section.optional("approvals_of", value::counts(APPROVALS));
    let quorum = quorum.map(|quorum| Quorum(quorum.unwrap_or_default()));
    let shorten = section.or("approvers_may_shorten", "true", value::flag);
    let narrow = section.or("approvers_may_narrow", "true", value::flag);
    if let Some(approvers) = &approvers {
        must_be_approvable(section, requesters.as_ref(), approvers, required);
    }
    if let (Some(approvers), Some(required), Some(quorum)) = (&approvers, required, &quorum) {
        must_be_reachable(section, approvers, required, quorum);
    }
    let leeway = shorten.zip(narrow).map(|(shorten, narrow)| Leeway { shorten, narrow });
    Deciding { requesters, approvers, required, quorum, leeway }
}

fn members(
    section: &mut Section<'_>,
    (groups, write): (&'static str, &str),
    persons: &'static str,
    known: Option<&Known<'_>>,
) -> Option<Members> {
    let groups = section.required(groups, write, value::groups);
    let persons = section.optional(persons, value::list(|entry| person(entry, known)));
    let persons = persons.map(|list| list.into_iter().flatten().collect::<BTreeSet<_>>());
    Some(Members { groups: groups?, persons: persons? })
}

fn person(value: &Found<'_>, known: Option<&Known<'_>>) -> Read<String> {
    let subject = value::text(value)?;
    known.map_or(Ok(()), |known| known.must_know(&subject))?;
    Ok(subject)
}

/// Whether there are approvers, and enough besides each requester. Who is in which group isn't known here, so that only
/// people who are named can be counted.
fn must_be_approvable(
    section: &Section<'_>,
    requesters: Option<&Members>,
    approvers: &Members,
    required: Option<NonZeroU32>,
) {
    if approvers.is_empty() {
        let problem = "is empty, so that nobody could ever approve; write a group (to close the target, empty \
                       requesters instead)";
        return section.problem("approvers", problem);
    }
    let (Some(requesters), Some(required)) = (requesters, required) else { return };
    if !approvers.groups.is_empty() || requesters.is_empty() {
        return;
    }
    let others = |requester: &String| approvers.persons.iter().filter(|person| *person != requester).count();
    let fewest = requesters.persons.iter().map(others).min();
    let of_a_group = (!requesters.groups.is_empty()).then_some(approvers.persons.len());
    let fewest = fewest.into_iter().chain(of_a_group).min().unwrap_or_default();
    if fewest < required.get() as usize {
        let problem = format!(
            "names too few people: {required} must approve, and there may be only {fewest} besides the requester; name \
             more, or a group in approvers"
        );
        section.problem("approver_persons", problem);
    }
}

/// Whether the groups that have to approve are approvers, and are not more than there are approvals.
fn must_be_reachable(section: &Section<'_>, approvers: &Members, required: NonZeroU32, quorum: &Quorum) {
    if quorum.0.keys().any(|group| !approvers.groups.contains(group)) {
        section.problem("approvals_of", "names a group that isn't among the approvers; add it there as well");
    }
    if quorum.total() > required.get() {
        let problem = format!(
            "takes {} approvals, since each person counts for one group; set approvals_required to that at least",
            quorum.total()
        );
        section.problem("approvals_of", problem);
    }
}

/// The hours in which a window may lie; `Some(None)` for all.
#[expect(clippy::option_option, reason = "the outer one says whether a problem was reported")]
pub(super) fn hours(section: &mut Section<'_>) -> Option<Option<Hours>> {
    let zone = section.optional("hours_time_zone", zone);
    let open = section.optional("hours", value::list(expression));
    match (zone?, open?) {
        (None, None) => Some(None),
        (zone, Some(open)) => Some(Some(Hours::new(zone.unwrap_or(Tz::UTC), open))),
        (Some(_), None) => {
            section.problem("hours_time_zone", "means nothing without hours; leave it out, or write them");
            None
        }
    }
}

fn zone(value: &Found<'_>) -> Read<Tz> {
    let known = value::text(value)?.parse().ok();
    known.ok_or_else(|| {
        "must be a time zone of the IANA database, like \"Europe/Berlin\" or \"UTC\"".to_owned()
    })
}

fn expression(value: &Found<'_>) -> Read<(String, cron::Schedule)> {
    let text = value::text(value)?;
    let schedule = schedule::minutes(&text).map_err(|bad| bad.to_string())?;
    Ok((text, schedule))
}
