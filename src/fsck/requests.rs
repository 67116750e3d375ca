//! A request's row, and those of the decisions on it, against its events.

use super::{Comparison, field, instant, text};
use crate::{
    access::{
        actor::{Actor, Person},
        approval::{Approval, Decision, Digest},
        event::{Recorded, digest_field},
        id::RequestId,
        request::{Request, State},
        text::Ticket,
    },
    verify::Fault,
};

/// What differs.
pub(super) fn compare(request: &Request, events: &[Recorded]) -> Vec<Fault> {
    let mut compared = Comparison::of(format!("request {}", request.id));
    let of_it = |event: &&Recorded| event.about.grant.is_none() && event.kind.starts_with("Request");
    let own: Vec<&Recorded> = events.iter().filter(of_it).collect();
    let Some((submitted, later)) = own.split_first().filter(|(first, _)| first.kind == "RequestSubmitted")
    else {
        compared.holds(false, "beginning");
        return compared.faults;
    };
    ask(&mut compared, request, submitted);
    // That its texts were erased is a change without an event of its own.
    compared.changes(request.revision, own.len() + usize::from(ask_is_erased(request)));
    let approvals: Vec<&&Recorded> = later.iter().filter(|event| event.kind == "RequestApproved").collect();
    compared.same("number of approvals", &request.approvals.len(), &approvals.len());
    for (number, (approval, event)) in
        (1..).zip(request.approvals.iter().map(Approval::decision).zip(&approvals))
    {
        decision(&mut compared, request.id, approval, event, &format!("approval {number}"));
    }
    state(&mut compared, request, later);
    compared.faults
}

fn ask_is_erased(request: &Request) -> bool {
    request.ask.reason.erased().is_some()
}

fn ask(compared: &mut Comparison, request: &Request, event: &Recorded) {
    let ask = &request.ask;
    compared.same("time of submission", &ask.submitted_at, &event.at);
    compared.same("requester", &Actor::Person(ask.requester.clone()), &event.actor);
    compared.same("target", &Some(&ask.target), &event.about.target.as_ref());
    let duration = field(event, "duration_seconds").and_then(serde_json::Value::as_u64);
    compared.same("duration", &Some(ask.duration.as_secs()), &duration);
    let not_before = ask.not_before.map(|at| at.timestamp_millis());
    compared.same("not_before", &not_before, &instant(event, "not_before"));
    compared.same("ticket", &ask.ticket.as_ref().map(Ticket::as_str), &text(event, "ticket"));
    written(compared, "reason", ask.reason.digest(), event);
    if let Some(path) = text(event, "credential_path") {
        compared.same("credential path", &ask.credential_path.as_str(), &path);
    }
    if let Some(required) = field(event, "approvals_required").and_then(serde_json::Value::as_u64) {
        compared.same("number of approvals that it takes", &u64::from(ask.approvals_required), &required);
    }
    if let Some(groups) = field(event, "groups") {
        compared.same("list of groups", &serde_json::json!(ask.groups), groups);
    }
    if let Some(digest) = text(event, "digest") {
        compared.same("digest", &request.digest().to_string().as_str(), &digest);
    }
}

fn decision(compared: &mut Comparison, id: RequestId, decision: &Decision, event: &Recorded, what: &str) {
    let about = std::mem::replace(&mut compared.about, format!("{what} of request {id}"));
    let Person { subject, name } = &decision.approver;
    let person = Actor::Person(Person { subject: subject.clone(), name: name.clone() });
    compared.same("approver", &person, &event.actor);
    compared.same("time", &decision.decided_at, &event.at);
    written(compared, "statement", decision.statement.digest(), event);
    if let Some(digest) = text(event, "digest") {
        compared.same("digest", &decision.digest.to_string().as_str(), &digest);
    }
    if let Some(groups) = field(event, "groups") {
        compared.same("list of groups", &serde_json::json!(decision.groups), groups);
    }
    let millis = |at: Option<chrono::DateTime<chrono::Utc>>| at.map(|at| at.timestamp_millis());
    let seconds = field(event, "duration_seconds").and_then(serde_json::Value::as_u64);
    compared.same("duration", &decision.terms.duration.map(|duration| duration.as_secs()), &seconds);
    compared.same("not_before", &millis(decision.terms.not_before), &instant(event, "not_before"));
    compared.same("not_after", &millis(decision.terms.not_after), &instant(event, "not_after"));
    let signed = decision.signed.as_deref();
    compared.same(
        "key that it is signed with",
        &signed.map(|signed| signed.key.as_str()),
        &text(event, "signed_with"),
    );
    if let Some(signed) = signed {
        written(compared, "signed_text", signed.text.digest(), event);
        if let Some(signature) = text(event, "signature") {
            compared.same("signature", &signed.signature.as_str(), &signature);
        }
    }
    compared.about = about;
}

/// A text is the one that the event has the digest of.
fn written(compared: &mut Comparison, name: &str, row: Digest, event: &Recorded) {
    if let Some(digest) = text(event, &digest_field(name)) {
        compared.same(name, &row.to_string().as_str(), &digest);
    }
}

fn state(compared: &mut Comparison, request: &Request, later: &[&Recorded]) {
    let last = later.last();
    let kind = last.map_or("RequestSubmitted", |event| event.kind.as_str());
    let at = last.map(|event| event.at);
    let (fits, time) = match &request.state {
        State::Pending { .. } => (matches!(kind, "RequestSubmitted" | "RequestApproved"), at),
        State::Approved { approved_at, .. } => (kind == "RequestApproved", Some(*approved_at)),
        State::Denied { denial } => {
            if let Some(event) = last.filter(|event| event.kind == "RequestDenied") {
                decision(compared, request.id, denial.decision(), event, "the denial");
            }
            (kind == "RequestDenied", at)
        }
        State::Withdrawn { withdrawn_at } => (kind == "RequestWithdrawn", Some(*withdrawn_at)),
        State::Lapsed { lapsed_at } => (kind == "RequestLapsed", Some(*lapsed_at)),
        State::Claimed { claimed_at } => (kind == "RequestClaimed", Some(*claimed_at)),
    };
    compared.holds(fits, "state");
    compared.holds(!fits || time == at, "time of its state");
}
