//! How requests, grants, targets and events look to people. Nothing is computed here: what isn't in the message isn't
//! shown.

use std::{collections::BTreeMap, time::Duration};

use prost_types::{Value, value::Kind};

use super::{
    table::{Block, Tone},
    time::{self, Times},
};
use crate::access::event::{digest_field, texts_of};
use crate::wire::{
    ApprovalSigning, AuditEvent, Decision, EarlyRevocation, ErasedText, Freeze, Grant, GrantState, Person,
    Request, RequestState, RevocationCause, RevocationStep, Target, Verdict,
};

/// The kinds of events by which a grant is over.
const ENDS: [&str; 2] = ["GrantRevoked", "GrantFailed"];
/// The hex digits of a digest with 256 bits, and how many of them are shown in a table.
const DIGEST_DIGITS: usize = 64;
const DIGEST_SHOWN: usize = 12;
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

/// Why a grant ends or ended, in one word; empty if it doesn't.
#[must_use]
pub fn cause_word(grant: &Grant) -> String {
    if grant.cause == 0 {
        return String::new();
    }
    let name = RevocationCause::try_from(grant.cause).map(|cause| cause.as_str_name());
    word(name, "REVOCATION_CAUSE_", grant.cause)
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

/// How an approval has to be signed; empty if it needn't be.
#[must_use]
pub fn signing(signing: ApprovalSigning) -> &'static str {
    match signing {
        ApprovalSigning::Unspecified | ApprovalSigning::Optional => "",
        ApprovalSigning::Required => "with an SSH key",
        ApprovalSigning::Present => "with a hardware key that is touched",
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

/// How many approvals there are, and what is missing.
#[must_use]
pub fn approvals(request: &Request) -> String {
    let approved =
        request.decisions.iter().filter(|decision| decision.verdict() == Verdict::Approved).count();
    let approvals = format!("{approved} of {}", request.approvals_required);
    if request.groups_missing.is_empty() {
        return approvals;
    }
    format!("{approvals}; one each is missing of: {}", request.groups_missing.join(", "))
}

/// How long the window will be, if that isn't what was asked.
#[must_use]
pub fn window(request: &Request) -> String {
    let shortened = request.window.filter(|window| request.duration.as_ref() != Some(window));
    let length = shortened.and_then(|window| time::wire_length(Some(&window)));
    length.map_or_else(String::new, |length| format!("{length}, as the approvers shortened it"))
}

/// Everything about a request but its decisions.
#[must_use]
pub fn request(request: &Request, times: &Times) -> Block {
    Block::new()
        .field("request", &request.name)
        .state("state", &request_state(request))
        .field("target", &request.target)
        .field("requester", full_person(request.requester.as_ref()))
        .field("duration", time::wire_length(request.duration.as_ref()).unwrap_or_default())
        .field("reason", &request.reason)
        .field("reason erased", erased(request.reason_erased.as_ref(), times))
        .field("ticket", &request.ticket)
        .field("credential path", &request.credential_path)
        .field("approvals", approvals(request))
        .field("window", window(request))
        .at("not before", request.window_not_before.as_ref(), times)
        .at("not after", request.window_not_after.as_ref(), times)
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
        .field("signed with", signed_with(decision))
        .field("statement", &decision.statement)
        .field("statement erased", erased(decision.statement_erased.as_ref(), times))
        .field("signed text erased", erased(decision.signed_text_erased.as_ref(), times))
        .field("for at most", time::wire_length(decision.duration.as_ref()).unwrap_or_default())
        .at("not before", decision.not_before.as_ref(), times)
        .at("not after", decision.not_after.as_ref(), times)
        .field("digest", &decision.digest)
}

/// When a text was erased, and its digest; empty if it wasn't. It has a label of its own, so that nothing that somebody
/// wrote looks like it.
#[must_use]
pub fn erased(erased: Option<&ErasedText>, times: &Times) -> String {
    let said = |erased: &ErasedText| format!("{}, {}", times.short(erased.erased_at.as_ref()), erased.digest);
    erased.map(said).unwrap_or_default()
}

/// The key that a decision is signed with; empty if it isn't.
fn signed_with(decision: &Decision) -> String {
    let touched = if decision.user_present { " (a hardware key that was touched)" } else { "" };
    if decision.signed_with.is_empty() { String::new() } else { format!("{}{touched}", decision.signed_with) }
}

/// Everything about a grant.
#[must_use]
pub fn grant(grant: &Grant, times: &Times) -> Block {
    let ending = grant.state() == GrantState::Revoking;
    // Of a grant that is over, the window's end is only what was allowed.
    let closes = if grant.ended_at.is_some() { "window until" } else { "closes" };
    let note = if ending { "the credential may still work until the state is REVOKED" } else { "" };
    Block::new()
        .field("grant", &grant.name)
        .state("state", &grant_state(grant))
        .toned("note", note, Tone::Open)
        .field("request", &grant.request)
        .field("target", &grant.target)
        .field("holder", full_person(grant.holder.as_ref()))
        .at("opened", grant.opens_at.as_ref(), times)
        .at(closes, grant.closes_at.as_ref(), times)
        .at("held since", grant.activated_at.as_ref(), times)
        .field("cause of the end", cause(grant.cause()))
        .at("ending since", grant.revocation_begun_at.as_ref(), times)
        .field("next step", step(grant.revocation_step()))
        .field("last try", &grant.revocation_error)
        .field("alarms", alarms(grant.alarms))
        .at("ended", grant.ended_at.as_ref(), times)
}

fn alarms(count: u32) -> String {
    if count == 0 { String::new() } else { format!("{count}: its end takes too long") }
}

/// What keeps a grant from being over, in words.
#[must_use]
pub fn in_the_way(grant: &Grant) -> String {
    match (step(grant.revocation_step()), grant.revocation_error.as_str()) {
        ("", _) => "its end has not begun".to_owned(),
        (step, "") => format!("{step}: not tried yet, or under way"),
        (step, error) => format!("{step}: {error}"),
    }
}

/// Everything about a target.
#[must_use]
pub fn target(target: &Target) -> Block {
    let length = |duration| time::wire_length(duration).unwrap_or_default();
    Block::new()
        .field("target", &target.name)
        .field("description", &target.description)
        .field("you may", rights(target))
        .field("to get access", requirements(target).join("\n"))
        .field("longest window", length(target.window_max.as_ref()))
        .field("usual window", length(target.window_default.as_ref()))
        .field("decide within", length(target.decide_within.as_ref()))
        .field("claim within", length(target.claim_within.as_ref()))
        .field("approvals", target.approvals_required.to_string())
        .field("hours", &target.hours)
        .field("grants at once", at_once(target))
        .field("pause", length(target.pause.as_ref()))
        .field("ending early", early(target.early_revocation()))
        .field("credential path", &target.credential_path)
        .toned("frozen", frozen(target), Tone::Bad)
        .toned("blocked", target.issue_blockers.join("\n"), Tone::Bad)
}

/// Why and by whom it is frozen; empty if it isn't.
fn frozen(target: &Target) -> String {
    let by = |freeze: &Freeze| format!("by {}: {}", person(freeze.frozen_by.as_ref()), freeze.reason);
    target.freeze.as_ref().map(by).unwrap_or_default()
}

/// How much may be held at once; empty if there is no limit.
fn at_once(target: &Target) -> String {
    let limit = |max: i32, of: &str| (max > 0).then(|| format!("{max} {of}"));
    let limits = [limit(target.grants_per_person_max, "for each person"), limit(target.grants_max, "in all")];
    limits.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What it takes to get access to a target, step by step.
fn requirements(target: &Target) -> Vec<String> {
    let length = |duration| time::wire_length(duration).unwrap_or_default();
    let at_least = |min: i32, what: &str| match min {
        ..=0 => what.to_owned(),
        min => format!("{what} of at least {min} characters"),
    };
    let mut steps = Vec::new();
    if !target.can_request {
        steps.push("you can't: neither you nor any of your groups may request it".to_owned());
    }
    let mut ask = format!(
        "ask for {} at most, with {}",
        length(target.window_max.as_ref()),
        at_least(target.reason_min, "a reason")
    );
    match (target.ticket_required, target.ticket_pattern.as_str()) {
        (true, "") => ask.push_str(" and a ticket"),
        (true, pattern) => ask = format!("{ask} and a ticket that matches {pattern}"),
        (false, "") => {}
        (false, pattern) => ask = format!("{ask}; a ticket, if there is one, matches {pattern}"),
    }
    steps.push(ask);
    let people = match target.approvals_required {
        1 => "another person approves".to_owned(),
        many => format!("{many} other people approve"),
    };
    let signed = match signing(target.approval_signing()) {
        "" => String::new(),
        how => format!(", signed {how}"),
    };
    steps.push(format!(
        "{people}{} within {}, with {}{signed}{}",
        of_groups(target),
        length(target.decide_within.as_ref()),
        at_least(target.statement_min, "a statement"),
        leeway(target),
    ));
    steps.push(format!("claim it within {}{}", length(target.claim_within.as_ref()), in_hours(target)));
    steps
}

fn of_groups(target: &Target) -> String {
    let mut groups: Vec<_> =
        target.approvals_of.iter().map(|(group, least)| format!("{least} of {group}")).collect();
    groups.sort();
    if groups.is_empty() { String::new() } else { format!(", at least {},", groups.join(" and ")) }
}

fn leeway(target: &Target) -> &'static str {
    match (target.approvers_may_shorten, target.approvers_may_narrow) {
        (true, true) => "; they may shorten the window, and say when it may open",
        (true, false) => "; they may shorten the window",
        (false, true) => "; they may say when the window may open",
        (false, false) => "",
    }
}

fn in_hours(target: &Target) -> String {
    if target.hours.is_empty() {
        return String::new();
    }
    format!(", so that the window lies in {}", target.hours)
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

/// What proves that a grant is over: what its last event says that the end rests on.
#[must_use]
pub fn proof(grant: &Grant, timeline: &[AuditEvent]) -> String {
    let over = timeline.iter().rev().find(|event| event.grant == grant.name && ENDS.contains(&&*event.kind));
    let said = over.and_then(|event| {
        let detail = event.detail.as_ref()?;
        Some((text(detail.fields.get("confirmation")?)?, event.sequence))
    });
    said.map(|(confirmation, sequence)| format!("{confirmation} (audit event {sequence})"))
        .unwrap_or_default()
}

/// An event's details: `key=value`, in the order of the keys, with times and lengths of time as elsewhere.
#[must_use]
pub fn detail(event: &AuditEvent, times: &Times) -> String {
    let Some(detail) = &event.detail else { return String::new() };
    let sorted: BTreeMap<_, _> = detail.fields.iter().collect();
    let mut pairs: Vec<_> = sorted.into_iter().map(|(key, value)| pair(key, value, times)).collect();
    // Parentheses of a text would stand in quotes.
    let is_erased =
        |text: &&&str| detail.fields.contains_key(&digest_field(text)) && !detail.fields.contains_key(**text);
    pairs.extend(texts_of(&event.kind).iter().filter(is_erased).map(|text| format!("{text}=(erased)")));
    pairs.join(" ")
}

fn pair(key: &str, value: &Value, times: &Times) -> String {
    if let (Some(key), Some(Kind::NumberValue(seconds))) = (key.strip_suffix("_seconds"), &value.kind)
        && let Ok(length) = Duration::try_from_secs_f64(*seconds)
    {
        return format!("{key}={:?}", time::length(length));
    }
    let at = text(value).filter(|_| key.ends_with("_at")).and_then(|at| time::parse_instant(at).ok());
    match at {
        Some(at) => format!("{key}={:?}", times.short(Some(&time::timestamp(at)))),
        None => format!("{key}={}", scalar(value, 0)),
    }
}

fn text(value: &Value) -> Option<&str> {
    match &value.kind {
        Some(Kind::StringValue(text)) => Some(text),
        _ => None,
    }
}

fn scalar(value: &Value, depth: usize) -> String {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => "-".into(),
        Some(Kind::BoolValue(value)) => value.to_string(),
        Some(Kind::NumberValue(value)) => value.to_string(),
        Some(Kind::StringValue(value)) => word_or_quoted(value),
        Some(_) if depth >= DETAIL_MAX_DEPTH => "…".into(),
        Some(Kind::ListValue(list)) => {
            let values: Vec<_> = list.values.iter().map(|value| scalar(value, depth + 1)).collect();
            format!("[{}]", values.join(", "))
        }
        Some(Kind::StructValue(inner)) => {
            let sorted: BTreeMap<_, _> = inner.fields.iter().collect();
            let pairs = sorted.into_iter().map(|(key, value)| format!("{key}={}", scalar(value, depth + 1)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(" "))
        }
    }
}

/// A digest by its beginning, which is enough to compare by eye; JSON has it whole. Anything but a plain word in quotes,
/// so that a text can't pass for another key.
fn word_or_quoted(text: &str) -> String {
    let (kind, digits) = text.split_once(':').unwrap_or(("", text));
    if digits.len() == DIGEST_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let colon = if kind.is_empty() { "" } else { ":" };
        return format!("{kind}{colon}{}…", digits.get(..DIGEST_SHOWN).unwrap_or_default());
    }
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':');
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { format!("{text:?}") }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use prost_types::Struct;

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

    fn said(text: &str) -> Value {
        Value { kind: Some(Kind::StringValue(text.into())) }
    }

    fn event<const N: usize>(fields: [(&str, Value); N]) -> AuditEvent {
        let fields = fields.map(|(key, value)| (key.to_owned(), value)).into();
        AuditEvent { detail: Some(Struct { fields }), ..AuditEvent::default() }
    }

    #[test]
    fn details_are_ordered_and_bounded() {
        let mut nested = said("deep");
        for _ in 0..10 {
            let fields = [("in".to_owned(), nested)].into();
            nested = Value { kind: Some(Kind::StructValue(Struct { fields })) };
        }
        let event = event([("b", said("2")), ("a", said("1")), ("c", nested)]);
        assert_eq!(detail(&event, &times()), "a=1 b=2 c={in={in={in={in=…}}}}");
        assert_eq!(actor(&event), "hallpassd");
    }

    #[test]
    fn an_erased_text_is_shown_as_that() {
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        let denied = |fields: Vec<(&str, &str)>| AuditEvent {
            kind: "RequestDenied".into(),
            detail: Some(Struct {
                fields: fields.into_iter().map(|(key, text)| (key.to_owned(), said(text))).collect(),
            }),
            ..AuditEvent::default()
        };
        let kept = denied(vec![("statement", "(erased)"), ("statement_digest", &digest)]);
        let expected = "statement=\"(erased)\" statement_digest=sha256:0123456789ab…";
        assert_eq!(detail(&kept, &times()), expected, "somebody wrote that");
        let erased = denied(vec![("statement_digest", &digest)]);
        assert_eq!(detail(&erased, &times()), "statement_digest=sha256:0123456789ab… statement=(erased)");
        let left =
            ErasedText { digest: digest.clone(), erased_at: Some(time::timestamp(DateTime::UNIX_EPOCH)) };
        let shown = Request { reason_erased: Some(left.clone()), ..Request::default() };
        let text = request(&shown, &times()).render(false);
        assert!(text.contains("reason erased") && text.contains(&digest), "{text}");
        let shown = Decision { signed_text_erased: Some(left), ..Decision::default() };
        let text = decision(&shown, &times()).render(false);
        assert!(text.contains("signed text erased") && !text.contains("statement erased"), "{text}");
    }

    #[test]
    fn details_are_short_and_no_text_passes_for_a_key() {
        let digest = "0123456789abcdef".repeat(4);
        let seconds = Value { kind: Some(Kind::NumberValue(5400.0)) };
        let event = event([
            ("digest", said(&format!("sha256:{digest}"))),
            ("duration_seconds", seconds),
            ("lease_digest", said(&digest)),
            ("reason", said("x cause=\"none\"\n")),
            ("ticket", said("OPS-4711")),
            ("when", said("")),
        ]);
        let expected = "digest=sha256:0123456789ab… duration=\"1h 30m\" lease_digest=0123456789ab… \
                        reason=\"x cause=\\\"none\\\"\\n\" ticket=OPS-4711 when=\"\"";
        assert_eq!(detail(&event, &times()), expected);
    }

    #[test]
    fn times_in_details_are_local_and_anything_else_is_left_alone() {
        let zoned = time::tests::times("2026-11-23T12:00:00Z");
        let event = event([("closes_at", said("2026-11-23T13:05:09.120Z")), ("seen_at", said("soon"))]);
        assert_eq!(detail(&event, &zoned), "closes_at=\"2026-11-23 14:05:09\" seen_at=soon");
    }

    #[test]
    fn the_proof_is_the_grants_own_and_the_last() {
        let ended = |grant: &str, kind: &str, sequence, proof| AuditEvent {
            grant: grant.into(),
            kind: kind.into(),
            sequence,
            ..event([("confirmation", said(proof))])
        };
        let timeline = [
            ended("grants/g", "GrantRevoked", 7, "lease lookup: invalid lease"),
            ended("grants/other", "GrantRevoked", 8, "x"),
            ended("grants/g", "AttemptRefused", 9, "y"),
        ];
        let grant = Grant { name: "grants/g".into(), ..Grant::default() };
        assert_eq!(proof(&grant, &timeline), "lease lookup: invalid lease (audit event 7)");
        assert_eq!(proof(&grant, &timeline[1..]), "");
    }
}
