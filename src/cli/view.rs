//! How requests, grants, targets and events look to people. Nothing is computed here: what isn't in the message isn't
//! shown.

use std::collections::BTreeMap;

use prost_types::{Struct, Value, value::Kind};

use super::{
    table::{Block, Tone},
    time::{self, Times},
};
use crate::wire::{
    AuditEvent, Decision, EarlyRevocation, Grant, GrantState, Person, Request, RequestState, RevocationCause,
    RevocationStep, Target, Verdict,
};

/// How deep an event's details are followed; they are flat by their definition.
const DETAIL_MAX_DEPTH: usize = 4;

/// A request's state in one word.
#[must_use]
pub fn request_state(request: &Request) -> String {
    word(
        RequestState::try_from(request.state).map(|state| state.as_str_name()),
        "REQUEST_STATE_",
        request.state,
    )
}

/// A grant's state in one word.
#[must_use]
pub fn grant_state(grant: &Grant) -> String {
    word(GrantState::try_from(grant.state).map(|state| state.as_str_name()), "GRANT_STATE_", grant.state)
}

/// A newer server may have states that this client doesn't know; their number is better than nothing.
fn word<E>(name: Result<&str, E>, prefix: &str, number: i32) -> String {
    let name = name.ok().and_then(|name| name.strip_prefix(prefix));
    name.map_or_else(|| format!("UNKNOWN({number})"), str::to_owned)
}

/// What has to succeed next for a grant to end; empty if it isn't ending.
#[must_use]
pub fn step(step: RevocationStep) -> &'static str {
    match step {
        RevocationStep::Unspecified => "",
        RevocationStep::Wrapping => "destroying the wrapped credential",
        RevocationStep::Token => "revoking the grant's token",
        RevocationStep::Lease => "revoking the lease: deleting the account on the target",
        RevocationStep::Confirmation => "asking Vault whether the lease is gone",
    }
}

fn cause(cause: RevocationCause) -> &'static str {
    match cause {
        RevocationCause::Unspecified => "",
        RevocationCause::WindowClosed => "its window closed",
        RevocationCause::Released => "released by its holder",
        RevocationCause::RevokedByOperator => "revoked by an operator",
        RevocationCause::Frozen => "a freeze",
        RevocationCause::TargetRemoved => "its target is no longer configured",
        RevocationCause::EndedOutside => "its lease was found gone",
        RevocationCause::IssueFailed => "issuing failed",
        RevocationCause::Reissued => "claimed again: a new credential took its place",
    }
}

/// What ending a grant early is worth on a target.
#[must_use]
pub fn early(early: EarlyRevocation) -> &'static str {
    match early {
        EarlyRevocation::Unspecified => "",
        EarlyRevocation::EndsSessions => "ends open sessions and refuses new logins",
        EarlyRevocation::StopsNewLogins => "refuses new logins; open sessions go on",
        EarlyRevocation::ExpiresOnly => "nothing ends before the credential expires by itself",
    }
}

/// A person by name, or by subject if he has none.
#[must_use]
pub fn person(person: Option<&Person>) -> String {
    match person {
        Some(person) if person.name.is_empty() => person.subject.clone(),
        Some(person) => person.name.clone(),
        None => String::new(),
    }
}

/// A person by name and subject: names can be alike, subjects can't.
fn full_person(who: Option<&Person>) -> String {
    match who {
        Some(Person { subject, name }) if !name.is_empty() && !subject.is_empty() => {
            format!("{name} ({subject})")
        }
        _ => person(who),
    }
}

/// Everything about a request but its decisions.
#[must_use]
pub fn request(request: &Request, times: &Times) -> Block {
    let approvals =
        request.decisions.iter().filter(|decision| decision.verdict() == Verdict::Approved).count();
    Block::new()
        .field("request", &request.name)
        .state("state", &request_state(request))
        .field("target", &request.target)
        .field("requester", full_person(request.requester.as_ref()))
        .field("duration", time::wire_length(request.duration.as_ref()).unwrap_or_default())
        .field("reason", &request.reason)
        .field("ticket", &request.ticket)
        .field("credential path", &request.credential_path)
        .field("approvals", format!("{approvals} of {}", request.approvals_required))
        .field("digest", &request.digest)
        .at("submitted", request.submitted_at.as_ref(), times)
        .at("lapses", request.lapses_at.as_ref(), times)
        .at("settled", request.settled_at.as_ref(), times)
        .field("grant", &request.grant)
}

/// One decision, with its statement.
#[must_use]
pub fn decision(decision: &Decision, times: &Times) -> Block {
    let (label, tone) = match decision.verdict() {
        Verdict::Approved => ("approved by", Tone::Good),
        Verdict::Denied => ("denied by", Tone::Bad),
        Verdict::Unspecified => ("decided by", Tone::Plain),
    };
    Block::new()
        .toned(label, full_person(decision.approver.as_ref()), tone)
        .at("at", decision.decided_at.as_ref(), times)
        .field("statement", &decision.statement)
        .field("digest", &decision.digest)
}

/// Everything about a grant.
#[must_use]
pub fn grant(grant: &Grant, times: &Times) -> Block {
    let ending = grant.state() == GrantState::Revoking;
    let note = if ending { "the credential may still work until the state is REVOKED" } else { "" };
    Block::new()
        .field("grant", &grant.name)
        .state("state", &grant_state(grant))
        .toned("note", note, Tone::Open)
        .field("request", &grant.request)
        .field("target", &grant.target)
        .field("holder", full_person(grant.holder.as_ref()))
        .at("opened", grant.opens_at.as_ref(), times)
        .at("closes", grant.closes_at.as_ref(), times)
        .at("held since", grant.activated_at.as_ref(), times)
        .field("ended because", cause(grant.cause()))
        .at("ending since", grant.revocation_begun_at.as_ref(), times)
        .field("next step", step(grant.revocation_step()))
        .field("last try", &grant.revocation_error)
        .at("ended", grant.ended_at.as_ref(), times)
}

/// Everything about a target.
#[must_use]
pub fn target(target: &Target) -> Block {
    let length = |duration| time::wire_length(duration).unwrap_or_default();
    Block::new()
        .field("target", &target.name)
        .field("description", &target.description)
        .field("you may", rights(target))
        .field("longest window", length(target.window_max.as_ref()))
        .field("decide within", length(target.decide_within.as_ref()))
        .field("claim within", length(target.claim_within.as_ref()))
        .field("approvals", target.approvals_required.to_string())
        .field("ending early", early(target.early_revocation()))
        .field("credential path", &target.credential_path)
        .toned("blocked", target.issue_blockers.join("\n"), Tone::Bad)
}

/// What the caller may do on a target.
#[must_use]
pub fn rights(target: &Target) -> &'static str {
    match (target.can_request, target.can_approve) {
        (true, true) => "request, approve",
        (true, false) => "request",
        (false, true) => "approve",
        (false, false) => "look",
    }
}

/// Who did what an event tells: a person, or the daemon.
#[must_use]
pub fn actor(event: &AuditEvent) -> String {
    if event.actor.is_some() { person(event.actor.as_ref()) } else { "hallpassd".into() }
}

/// An event's details: `key=value`, in the order of the keys.
#[must_use]
pub fn detail(event: &AuditEvent) -> String {
    event.detail.as_ref().map(|detail| pairs(detail, 0)).unwrap_or_default()
}

fn pairs(detail: &Struct, depth: usize) -> String {
    let sorted: BTreeMap<_, _> = detail.fields.iter().collect();
    let pairs: Vec<_> =
        sorted.into_iter().map(|(key, value)| format!("{key}={}", scalar(value, depth))).collect();
    pairs.join(" ")
}

fn scalar(value: &Value, depth: usize) -> String {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => "-".into(),
        Some(Kind::BoolValue(value)) => value.to_string(),
        Some(Kind::NumberValue(value)) => value.to_string(),
        Some(Kind::StringValue(value)) => value.clone(),
        Some(_) if depth >= DETAIL_MAX_DEPTH => "…".into(),
        Some(Kind::ListValue(list)) => {
            let values: Vec<_> = list.values.iter().map(|value| scalar(value, depth + 1)).collect();
            format!("[{}]", values.join(", "))
        }
        Some(Kind::StructValue(inner)) => format!("{{{}}}", pairs(inner, depth + 1)),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn times() -> Times {
        Times::local(DateTime::UNIX_EPOCH)
    }

    #[test]
    fn an_unset_time_has_no_line() {
        let text =
            request(&Request { name: "requests/r".into(), ..Request::default() }, &times()).render(false);
        for label in ["lapses", "settled", "submitted", "1970"] {
            assert!(!text.contains(label), "{text}");
        }
        let text = grant(&Grant { name: "grants/g".into(), ..Grant::default() }, &times()).render(false);
        for label in ["opened", "closes", "ended", "ending", "1970"] {
            assert!(!text.contains(label), "{text}");
        }
    }

    #[test]
    fn an_unknown_state_is_shown_by_its_number() {
        assert_eq!(request_state(&Request { state: 99, ..Request::default() }), "UNKNOWN(99)");
        assert_eq!(grant_state(&Grant { state: 3, ..Grant::default() }), "REVOKING");
    }

    #[test]
    fn revoking_says_that_the_credential_may_still_work() {
        let revoking = Grant { state: GrantState::Revoking.into(), ..Grant::default() };
        assert!(grant(&revoking, &times()).render(false).contains("may still work"));
        let revoked = Grant { state: GrantState::Revoked.into(), ..Grant::default() };
        assert!(!grant(&revoked, &times()).render(false).contains("may still work"));
    }

    #[test]
    fn details_are_ordered_and_bounded() {
        let text = |text: &str| Value { kind: Some(Kind::StringValue(text.into())) };
        let mut nested = text("deep");
        for _ in 0..10 {
            let fields = [("in".to_owned(), nested)].into();
            nested = Value { kind: Some(Kind::StructValue(Struct { fields })) };
        }
        let fields =
            [("b".to_owned(), text("2")), ("a".to_owned(), text("1")), ("c".to_owned(), nested)].into();
        let event = AuditEvent { detail: Some(Struct { fields }), ..AuditEvent::default() };
        assert_eq!(detail(&event), "a=1 b=2 c={in={in={in={in=…}}}}");
        assert_eq!(actor(&event), "hallpassd");
    }
}
