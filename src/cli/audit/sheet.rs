//! Exceptions as rows of a spreadsheet: one row for each, whatever came of it. docs/cli.md says what the columns are.
//!
//! Times are ISO 8601 in UTC with milliseconds, lengths are seconds.

use chrono::SecondsFormat;
use prost_types::Timestamp;

use super::cells::{Cell, text};
use crate::{
    cli::{name, time, view},
    wire::{Decision, Exception, Grant, Person, Verdict},
};

/// What stands between several things in one cell.
const BETWEEN: &str = ", ";
/// What stands between several statements.
const BETWEEN_STATEMENTS: &str = "\n\n";

/// The columns.
pub const HEAD: [&str; 30] = [
    "exception",
    "state",
    "target",
    "requester",
    "requester_subject",
    "groups",
    "submitted_at",
    "duration_seconds",
    "reason",
    "ticket",
    "approvals_required",
    "approvers",
    "approver_subjects",
    "denied_by",
    "decided_at",
    "statements",
    "signed_approvals",
    "settled_at",
    "grants",
    "grant",
    "grant_state",
    "cause",
    "opens_at",
    "closes_at",
    "held_from",
    "ended_at",
    "held_seconds",
    "late_seconds",
    "alarms",
    "digest",
];

/// One exception. Of several grants the latest is shown; `held_seconds` is over all.
pub fn row(exception: &Exception) -> Vec<Cell> {
    let request = exception.request.clone().unwrap_or_default();
    let grant = exception.grants.first();
    let mut row = vec![
        text(name::last(&exception.name)),
        text(view::request_state(&request)),
        text(name::last(&request.target)),
        text(view::person(request.requester.as_ref())),
        text(subject(request.requester.as_ref())),
        text(request.groups.join(BETWEEN)),
        at(request.submitted_at.as_ref()),
        Cell::Number(request.duration.map(|duration| duration.seconds)),
        text(&request.reason),
        text(&request.ticket),
        Cell::Number(Some(request.approvals_required.into())),
    ];
    row.extend(decisions(&request.decisions));
    row.push(at(request.settled_at.as_ref()));
    row.push(Cell::Number(i64::try_from(exception.grants.len()).ok()));
    row.extend(latest(grant));
    row.push(Cell::Number(held_seconds(&exception.grants)));
    row.push(Cell::Number(grant.and_then(late_seconds)));
    row.push(Cell::Number(grant.map(|grant| grant.alarms.into())));
    row.push(text(&request.digest));
    row
}

fn decisions(decisions: &[Decision]) -> [Cell; 6] {
    let of = |verdict: Verdict| decisions.iter().filter(move |decision| decision.verdict() == verdict);
    let joined = |words: Vec<String>, between: &str| text(words.join(between));
    let who = |decision: &Decision| view::person(decision.approver.as_ref());
    let signed = decisions.iter().filter(|decision| !decision.signature.is_empty()).count();
    [
        joined(of(Verdict::Approved).map(who).collect(), BETWEEN),
        joined(of(Verdict::Approved).map(|decision| subject(decision.approver.as_ref())).collect(), BETWEEN),
        joined(of(Verdict::Denied).map(who).collect(), BETWEEN),
        at(decisions.last().and_then(|decision| decision.decided_at.as_ref())),
        joined(decisions.iter().map(|decision| decision.statement.clone()).collect(), BETWEEN_STATEMENTS),
        Cell::Number(i64::try_from(signed).ok()),
    ]
}

fn latest(grant: Option<&Grant>) -> [Cell; 7] {
    let time = |of: fn(&Grant) -> Option<&Timestamp>| at(grant.and_then(of));
    [
        text(grant.map(|grant| name::last(&grant.name)).unwrap_or_default()),
        text(grant.map(view::grant_state).unwrap_or_default()),
        text(grant.map(view::cause_word).unwrap_or_default()),
        time(|grant| grant.opens_at.as_ref()),
        time(|grant| grant.closes_at.as_ref()),
        time(|grant| grant.activated_at.as_ref()),
        time(|grant| grant.ended_at.as_ref()),
    ]
}

/// How long access was really held, over all grants that are over; nothing if none was, or one goes on.
fn held_seconds(grants: &[Grant]) -> Option<i64> {
    let held: Vec<_> = grants.iter().filter(|grant| grant.activated_at.is_some()).collect();
    let lengths = held.iter().map(|grant| {
        let (from, until) =
            (time::instant(grant.activated_at.as_ref()), time::instant(grant.ended_at.as_ref()));
        Some((until? - from?).num_seconds())
    });
    let sum = lengths.sum::<Option<i64>>();
    sum.filter(|_| !held.is_empty())
}

/// How much later than its window a grant ended; less than nothing if it was earlier.
fn late_seconds(grant: &Grant) -> Option<i64> {
    let (closed, ended) = (time::instant(grant.closes_at.as_ref())?, time::instant(grant.ended_at.as_ref())?);
    Some((ended - closed).num_seconds())
}

fn subject(person: Option<&Person>) -> String {
    person.map(|person| person.subject.clone()).unwrap_or_default()
}

fn at(at: Option<&Timestamp>) -> Cell {
    let at = time::instant(at);
    text(at.map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{GrantState, Request, RequestState, RevocationCause};

    #[expect(clippy::unnecessary_wraps, reason = "it is a field of a message")]
    fn seconds(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    #[test]
    fn a_row_has_a_cell_for_each_column() {
        assert_eq!(row(&Exception::default()).len(), HEAD.len());
    }

    #[test]
    fn a_row_says_what_was_asked_decided_and_held() {
        let person = |name: &str| Some(Person { subject: format!("corp:{name}"), name: name.into() });
        let decision = |name, verdict: Verdict| Decision {
            verdict: verdict.into(),
            approver: person(name),
            statement: format!("{name} says"),
            decided_at: seconds(60),
            ..Decision::default()
        };
        let request = Request {
            requester: person("alice"),
            groups: vec!["dev".into(), "night".into()],
            state: RequestState::Claimed.into(),
            decisions: vec![decision("olivia", Verdict::Approved), decision("otto", Verdict::Approved)],
            ..Request::default()
        };
        let grant = |from, until| Grant {
            state: GrantState::Revoked.into(),
            cause: RevocationCause::Released.into(),
            activated_at: seconds(from),
            closes_at: seconds(1000),
            ended_at: seconds(until),
            ..Grant::default()
        };
        let exception = Exception {
            name: "exceptions/e".into(),
            request: Some(request),
            grants: vec![grant(500, 900), grant(100, 200)],
            ..Exception::default()
        };
        let row = row(&exception);
        let cell = |column: &str| {
            let index = HEAD.iter().position(|known| *known == column).unwrap();
            row[index].clone()
        };
        assert_eq!(cell("exception"), text("e"));
        assert_eq!(cell("groups"), text("dev, night"));
        assert_eq!(cell("approvers"), text("olivia, otto"));
        assert_eq!(cell("statements"), text("olivia says\n\notto says"));
        assert_eq!(cell("decided_at"), text("1970-01-01T00:01:00.000Z"));
        assert_eq!(cell("cause"), text("RELEASED"));
        assert_eq!(cell("held_seconds"), Cell::Number(Some(500)));
        assert_eq!(cell("late_seconds"), Cell::Number(Some(-100)));
        assert_eq!(cell("grants"), Cell::Number(Some(2)));
    }
}
