//! Grants' rows against their events.

use std::collections::BTreeMap;

use super::{Comparison, field, instant, of, text};
use crate::{
    access::{
        actor::Actor,
        event::Recorded,
        grant::{Grant, Issued, State},
        id::{GrantId, RequestId},
    },
    verify::Fault,
};

/// What differs, of all the grants of one request.
pub(super) fn compare(request: RequestId, rows: &[Grant], events: &[Recorded]) -> Vec<Fault> {
    let mut by_grant: BTreeMap<GrantId, Vec<&Recorded>> = BTreeMap::new();
    for event in events.iter().filter(|event| changes(&event.kind)) {
        if let Some(id) = event.about.grant {
            by_grant.entry(id).or_default().push(event);
        }
    }
    let mut faults = Vec::new();
    for row in rows {
        match by_grant.remove(&row.id) {
            Some(own) => faults.extend(one(row, &own)),
            None => faults.push(of(&format!("grant {}", row.id), "has no events")),
        }
    }
    let gone = |id: GrantId| of(&format!("grant {id} of request {request}"), "has events, and no row");
    faults.extend(by_grant.into_keys().map(gone));
    faults
}

fn changes(kind: &str) -> bool {
    kind.starts_with("Grant") || kind.starts_with("Revocation")
}

fn one(grant: &Grant, events: &[&Recorded]) -> Vec<Fault> {
    let mut compared = Comparison::of(format!("grant {}", grant.id));
    let Some((opened, later)) = events.split_first().filter(|(first, _)| first.kind == "GrantOpened") else {
        compared.holds(false, "beginning");
        return compared.faults;
    };
    compared.same("holder", &Actor::Person(grant.holder.clone()), &opened.actor);
    compared.same("target", &Some(&grant.target), &opened.about.target.as_ref());
    compared.same("time of opening", &grant.opened_at, &opened.at);
    let window = (grant.window.opens_at().timestamp_millis(), grant.window.closes_at().timestamp_millis());
    let recorded = (instant(opened, "opens_at"), instant(opened, "closes_at"));
    compared.same("window", &(Some(window.0), Some(window.1)), &recorded);
    compared.changes(grant.revision, events.len());
    state(&mut compared, grant, later);
    compared.faults
}

fn state(compared: &mut Comparison, grant: &Grant, events: &[&Recorded]) {
    let last = |kind: &str| events.iter().rev().find(|event| event.kind == kind);
    let (activated, begun) = (last("GrantActivated"), last("RevocationBegun"));
    let over = last("GrantRevoked").or_else(|| last("GrantFailed"));
    let recorded = match (over, begun, activated) {
        (Some(over), ..) if over.kind == "GrantRevoked" => "REVOKED",
        (Some(_), ..) => "FAILED",
        (None, Some(_), _) => "REVOKING",
        (None, None, Some(_)) => "ACTIVE",
        (None, None, None) => "ISSUING",
    };
    compared.same("state", &grant.state.name(), &recorded);
    if grant.state.name() != recorded {
        return;
    }
    let issued = match (last("GrantLeaseRecorded"), last("GrantTokenMinted")) {
        (Some(_), _) => "a lease",
        (None, Some(_)) => "a token",
        (None, None) => "nothing",
    };
    let at = |event: Option<&&Recorded>| event.map(|event| event.at);
    match &grant.state {
        State::Issuing { issued: row } => compared.same("issued credential", &name(row), &issued),
        State::Active { activated_at, .. } => {
            compared.same("time of activation", &Some(*activated_at), &at(activated));
        }
        State::Revoking(ending) => {
            compared.same("issued credential", &name(&ending.issued), &issued);
            compared.same("time of activation", &ending.activated_at, &at(activated));
            compared.same("beginning of its end", &Some(ending.begun_at), &at(begun));
            compared.same("cause", &Some(ending.cause.name()), &begun.and_then(|event| text(event, "cause")));
            let alarms = last("RevocationOverdue").and_then(|event| field(event, "alarms")?.as_u64());
            compared.same("count of alarms", &u64::from(ending.alarms), &alarms.unwrap_or_default());
            let retried = last("RevocationRetried");
            compared.same("error", &ending.error.as_deref(), &retried.and_then(|event| text(event, "error")));
            if let Some(step) = retried.and_then(|event| text(event, "step")) {
                compared.same("step", &ending.step.name(), &step);
            }
        }
        State::Revoked { cause, activated_at, begun_at, revoked_at } => {
            compared.same("time of activation", &Some(*activated_at), &at(activated));
            compared.same("beginning of its end", &Some(*begun_at), &at(begun));
            compared.same("end", &Some(*revoked_at), &at(over));
            compared.same("cause", &Some(cause.name()), &over.and_then(|event| text(event, "cause")));
        }
        State::Failed { cause, begun_at, failed_at } => {
            compared.same("beginning of its end", &Some(*begun_at), &at(begun));
            compared.same("end", &Some(*failed_at), &at(over));
            compared.same("cause", &Some(cause.name()), &over.and_then(|event| text(event, "cause")));
        }
    }
}

const fn name(issued: &Issued) -> &'static str {
    match issued {
        Issued::Nothing => "nothing",
        Issued::Token(_) => "a token",
        Issued::Lease(_) => "a lease",
    }
}
