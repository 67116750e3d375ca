//! From the verbs' own types to the wire. A time that isn't known is left out, never shown as 1970; handles and tokens
//! have no place here but the one wrapping token that a claim answers with.

mod status;
mod totals;

use std::time::Duration;

use chrono::{DateTime, Utc};
use prost_types::{ListValue, Struct, Timestamp, Value, value::Kind};
use secrecy::ExposeSecret as _;

pub use self::{status::status, totals::totals};
use crate::{
    access::{
        actor::{Actor, Person},
        approval::{Decision, Denial},
        event::Recorded,
        freeze::{self, Extent, Freeze},
        grant::{self, Grant},
        kept::Erased,
        request::{self, Request},
        revocation::{Cause, Step},
        signing::{Signed, Signing},
        target::EarlyRevocation,
        text::Ticket,
    },
    broker::{Claimed, Exception, RequestView, Seen, TargetView, Witnessed},
    ledger::{leaf::Leaf, tree::Hash},
    wire,
};

pub(super) fn target(view: TargetView) -> wire::Target {
    let TargetView { target, can_request, can_approve, blockers, freeze: frozen } = view;
    wire::Target {
        name: format!("targets/{}", target.name),
        description: target.description,
        window_max: Some(duration(target.window_max)),
        decide_within: Some(duration(target.decide_within)),
        claim_within: Some(duration(target.claim_within)),
        approvals_required: count(target.approvals_required.get()),
        early_revocation: match target.early_revocation {
            EarlyRevocation::EndsSessions => wire::EarlyRevocation::EndsSessions,
            EarlyRevocation::StopsNewLogins => wire::EarlyRevocation::StopsNewLogins,
            EarlyRevocation::ExpiresOnly => wire::EarlyRevocation::ExpiresOnly,
        }
        .into(),
        can_request,
        can_approve,
        credential_path: target.credential_path,
        issue_blockers: blockers,
        window_default: target.window_default.map(duration),
        reason_min: count(target.writing.reason_min),
        statement_min: count(target.writing.statement_min),
        grants_per_person_max: target.limits.per_person_max.map_or(0, |max| count(max.get())),
        grants_max: target.limits.grants_max.map_or(0, |max| count(max.get())),
        pause: target.limits.pause.map(duration),
        ticket_required: target.writing.ticket_required,
        approval_signing: match target.writing.signing {
            Signing::Optional => wire::ApprovalSigning::Optional,
            Signing::Required => wire::ApprovalSigning::Required,
            Signing::Present => wire::ApprovalSigning::Present,
        }
        .into(),
        ticket_pattern: target.writing.ticket_pattern.map(|pattern| pattern.to_string()).unwrap_or_default(),
        approvals_of: target.quorum.0.into_iter().map(|(group, least)| (group, count(least))).collect(),
        approvers_may_shorten: target.leeway.shorten,
        approvers_may_narrow: target.leeway.narrow,
        freeze: frozen.map(freeze),
        hours: target.hours.map(|hours| hours.to_string()).unwrap_or_default(),
    }
}

pub(super) fn freeze(freeze: Freeze) -> wire::Freeze {
    let (ends_grants, thawed_at) = match freeze.state {
        freeze::State::Frozen { ends_grants } => (ends_grants, None),
        freeze::State::Thawed { thawed_at } => (false, Some(thawed_at)),
    };
    wire::Freeze {
        name: format!("freezes/{}", freeze.id),
        target: match freeze.extent {
            Extent::Everything => "targets/-".to_owned(),
            Extent::Target(name) => format!("targets/{name}"),
        },
        frozen_by: Some(person(freeze.by)),
        reason: freeze.reason.to_string(),
        frozen_at: Some(timestamp(freeze.frozen_at)),
        ends_grants,
        thawed_at: thawed_at.map(timestamp),
    }
}

pub(super) fn request(view: RequestView) -> wire::Request {
    let RequestView { request, grant, groups_missing } = view;
    let digest = request.digest().to_string();
    let state = request_state(&request.state);
    let decisions = decisions(&request);
    let lapses_at = request.state.lapses_at().map(timestamp);
    let settled_at = settled_at(&request.state).map(timestamp);
    let (granted, terms) = (request.duration(), request.terms());
    let Request { id, ask, .. } = request;
    wire::Request {
        name: format!("requests/{id}"),
        target: format!("targets/{}", ask.target),
        requester: Some(person(ask.requester)),
        duration: Some(duration(ask.duration)),
        reason: ask.reason.kept().map(ToString::to_string).unwrap_or_default(),
        reason_erased: ask.reason.erased().map(erased),
        ticket: ask.ticket.as_ref().map_or("", Ticket::as_str).to_owned(),
        state: state.into(),
        digest,
        submitted_at: Some(timestamp(ask.submitted_at)),
        lapses_at,
        settled_at,
        decisions,
        approvals_required: count(ask.approvals_required),
        credential_path: ask.credential_path,
        grant: grant.map(|grant| format!("grants/{grant}")).unwrap_or_default(),
        groups_missing,
        window: Some(duration(granted)),
        window_not_before: terms.not_before.map(timestamp),
        window_not_after: terms.not_after.map(timestamp),
        not_before: ask.not_before.map(timestamp),
        groups: ask.groups.into_iter().collect(),
    }
}

const fn request_state(state: &request::State) -> wire::RequestState {
    match state {
        request::State::Pending { .. } => wire::RequestState::Pending,
        request::State::Approved { .. } => wire::RequestState::Approved,
        request::State::Denied { .. } => wire::RequestState::Denied,
        request::State::Withdrawn { .. } => wire::RequestState::Withdrawn,
        request::State::Lapsed { .. } => wire::RequestState::Lapsed,
        request::State::Claimed { .. } => wire::RequestState::Claimed,
    }
}

const fn settled_at(state: &request::State) -> Option<DateTime<Utc>> {
    match state {
        request::State::Pending { .. } => None,
        request::State::Approved { approved_at, .. } => Some(*approved_at),
        request::State::Denied { denial } => Some(denial.decision().decided_at),
        request::State::Withdrawn { withdrawn_at } => Some(*withdrawn_at),
        request::State::Lapsed { lapsed_at } => Some(*lapsed_at),
        request::State::Claimed { claimed_at } => Some(*claimed_at),
    }
}

/// In the order they came: a denial ends it all, so it is the last.
fn decisions(request: &Request) -> Vec<wire::Decision> {
    let mut decisions: Vec<_> =
        request.approvals.iter().map(|given| decision(wire::Verdict::Approved, given.decision())).collect();
    if let request::State::Denied { denial } = &request.state {
        decisions.push(decision(wire::Verdict::Denied, Denial::decision(denial)));
    }
    decisions
}

fn decision(verdict: wire::Verdict, decision: &Decision) -> wire::Decision {
    wire::Decision {
        verdict: verdict.into(),
        approver: Some(person(decision.approver.clone())),
        statement: decision.statement.kept().map(ToString::to_string).unwrap_or_default(),
        statement_erased: decision.statement.erased().map(erased),
        digest: decision.digest.to_string(),
        decided_at: Some(timestamp(decision.decided_at)),
        groups: decision.groups.iter().cloned().collect(),
        duration: decision.terms.duration.map(duration),
        not_before: decision.terms.not_before.map(timestamp),
        not_after: decision.terms.not_after.map(timestamp),
        ..signed(decision.signed.as_deref())
    }
}

fn signed(signed: Option<&Signed>) -> wire::Decision {
    signed.map_or_else(wire::Decision::default, |signed| wire::Decision {
        signed_text: signed.text.kept().map(ToString::to_string).unwrap_or_default(),
        signed_text_erased: signed.text.erased().map(erased),
        signature: signed.signature.clone(),
        signed_with: signed.key.clone(),
        user_present: signed.present,
        ..wire::Decision::default()
    })
}

fn erased(erased: Erased) -> wire::ErasedText {
    wire::ErasedText { digest: erased.digest.to_string(), erased_at: Some(timestamp(erased.erased_at)) }
}

/// A request as it would be if the caller approved it; his decision is the last, and was made at no time.
pub(super) fn approved_unsigned(view: RequestView, changed: bool) -> wire::Request {
    let mut request = request(view);
    if let Some(last) = request.decisions.last_mut().filter(|_| changed) {
        last.decided_at = None;
    }
    request
}

pub(super) fn grant(grant: Grant) -> wire::Grant {
    let state = grant_state(&grant.state);
    let mut message = wire::Grant {
        name: format!("grants/{}", grant.id),
        request: format!("requests/{}", grant.request),
        target: format!("targets/{}", grant.target),
        holder: Some(person(grant.holder)),
        state: state.into(),
        opens_at: Some(timestamp(grant.window.opens_at())),
        closes_at: Some(timestamp(grant.window.closes_at())),
        ..wire::Grant::default()
    };
    let (activated, ending, ended_at) = story(&grant.state);
    message.activated_at = activated.map(timestamp);
    if let Some((cause, begun_at)) = ending {
        message.cause = cause_of(cause).into();
        message.revocation_begun_at = Some(timestamp(begun_at));
    }
    message.ended_at = ended_at.map(timestamp);
    if let grant::State::Revoking(ending) = grant.state {
        message.revocation_step = step_of(ending.step).into();
        message.revocation_error = ending.error.unwrap_or_default();
        message.alarms = ending.alarms;
    }
    message
}

type Story = (Option<DateTime<Utc>>, Option<(Cause, DateTime<Utc>)>, Option<DateTime<Utc>>);

/// Since when it was held, why and since when it ends, and when that was over: as far as there is any.
const fn story(state: &grant::State) -> Story {
    match state {
        grant::State::Issuing { .. } => (None, None, None),
        grant::State::Active { activated_at, .. } => (Some(*activated_at), None, None),
        grant::State::Revoking(ending) => (ending.activated_at, Some((ending.cause, ending.begun_at)), None),
        grant::State::Revoked { cause, activated_at, begun_at, revoked_at } => {
            (Some(*activated_at), Some((*cause, *begun_at)), Some(*revoked_at))
        }
        grant::State::Failed { cause, begun_at, failed_at } => {
            (None, Some((*cause, *begun_at)), Some(*failed_at))
        }
    }
}

const fn grant_state(state: &grant::State) -> wire::GrantState {
    match state {
        grant::State::Issuing { .. } => wire::GrantState::Issuing,
        grant::State::Active { .. } => wire::GrantState::Active,
        grant::State::Revoking(_) => wire::GrantState::Revoking,
        grant::State::Revoked { .. } => wire::GrantState::Revoked,
        grant::State::Failed { .. } => wire::GrantState::Failed,
    }
}

const fn cause_of(cause: Cause) -> wire::RevocationCause {
    match cause {
        Cause::WindowClosed => wire::RevocationCause::WindowClosed,
        Cause::Released => wire::RevocationCause::Released,
        Cause::RevokedByOperator => wire::RevocationCause::RevokedByOperator,
        Cause::Frozen => wire::RevocationCause::Frozen,
        Cause::TargetRemoved => wire::RevocationCause::TargetRemoved,
        Cause::EndedOutside => wire::RevocationCause::EndedOutside,
        Cause::IssueFailed => wire::RevocationCause::IssueFailed,
        Cause::Reissued => wire::RevocationCause::Reissued,
    }
}

const fn step_of(step: Step) -> wire::RevocationStep {
    match step {
        Step::Wrapping => wire::RevocationStep::Wrapping,
        Step::Token => wire::RevocationStep::Token,
        Step::Lease => wire::RevocationStep::Lease,
        Step::Confirmation => wire::RevocationStep::Confirmation,
    }
}

/// The one message with a secret in it: it goes to the caller and is never logged.
pub(super) fn claimed(claimed: Claimed) -> wire::ClaimGrantResponse {
    wire::ClaimGrantResponse {
        grant: Some(grant(claimed.grant)),
        wrapping_token: claimed.wrapping_token.expose_secret().to_owned(),
        wrapping_ttl: Some(duration(claimed.wrapping_ttl)),
        creation_path: claimed.creation_path,
        earlier_opened: claimed.earlier_opened,
    }
}

/// An exception as it is sent.
#[must_use]
pub fn exception(exception: Exception) -> wire::Exception {
    wire::Exception {
        name: format!("exceptions/{}", exception.request.request.id),
        request: Some(request(exception.request)),
        grants: exception.grants.into_iter().map(grant).collect(),
        timeline: exception.timeline.into_iter().map(event).collect(),
    }
}

pub(super) fn seen(seen: Seen) -> wire::WatchRequestsResponse {
    wire::WatchRequestsResponse {
        event: seen.event.map(event),
        request: Some(request(seen.request)),
        grant: seen.grant.map(grant),
        sequence: seen.sequence,
    }
}

pub(super) fn event(event: Recorded) -> wire::AuditEvent {
    let about = event.about;
    wire::AuditEvent {
        sequence: event.sequence,
        recorded_at: Some(timestamp(event.at)),
        kind: event.kind,
        actor: match event.actor {
            Actor::Person(known) => Some(person(known)),
            Actor::Daemon => None,
        },
        request: about.request.map(|request| format!("requests/{request}")).unwrap_or_default(),
        grant: about.grant.map(|grant| format!("grants/{grant}")).unwrap_or_default(),
        target: about.target.map(|target| format!("targets/{target}")).unwrap_or_default(),
        detail: object(event.detail),
    }
}

pub(super) fn checkpoint(witnessed: &Witnessed) -> wire::Checkpoint {
    wire::Checkpoint {
        note: witnessed.note(),
        size: i64::try_from(witnessed.checkpoint.size).unwrap_or(i64::MAX),
        root: witnessed.checkpoint.root.0.to_vec(),
        signed_at: Some(timestamp(witnessed.checkpoint.signed_at)),
    }
}

pub(super) fn leaf(leaf: Leaf) -> wire::Leaf {
    let text = |(field, text): (String, serde_json::Value)| Some((field, text.as_str()?.to_owned()));
    wire::Leaf { line: leaf.line, texts: leaf.texts.into_iter().filter_map(text).collect() }
}

pub(super) fn proof(hashes: Vec<Hash>) -> wire::Proof {
    wire::Proof { hashes: hashes.into_iter().map(|hash| hash.0.to_vec()).collect() }
}

fn person(person: Person) -> wire::Person {
    wire::Person { subject: person.subject, name: person.name }
}

fn timestamp(at: DateTime<Utc>) -> Timestamp {
    // Below a billion but for leap seconds, which the record can't hold.
    let nanos = i32::try_from(at.timestamp_subsec_nanos()).unwrap_or_default();
    Timestamp { seconds: at.timestamp(), nanos }
}

fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

fn count(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// What else is known of an event; `None` if the record holds anything but an object there.
fn object(json: serde_json::Value) -> Option<Struct> {
    let serde_json::Value::Object(fields) = json else { return None };
    Some(Struct { fields: fields.into_iter().map(|(key, json)| (key, value(json))).collect() })
}

fn value(json: serde_json::Value) -> Value {
    let kind = match json {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(value) => Kind::BoolValue(value),
        serde_json::Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(value) => Kind::StringValue(value),
        serde_json::Value::Array(values) => {
            Kind::ListValue(ListValue { values: values.into_iter().map(value).collect() })
        }
        object @ serde_json::Value::Object(_) => Kind::StructValue(self::object(object).unwrap_or_default()),
    };
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests;
