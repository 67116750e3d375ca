//! The rules: the state machines by generated sequences against a small model that was written without looking at them,
//! examples for defects that other products had, and what the audit log may and must say.
//!
//! Everything generated comes from a fixed seed: what passes here passes everywhere.

mod audit;
mod deciding;
mod digest;
mod freezing;
mod grants;
mod issuable;
mod limits;
mod logging;
mod many;
mod memory;
mod peers;
mod persons;
mod races;
mod reading;
mod reconciling;
mod reloading;
mod requests;
mod retention;
mod signing;
mod submitting;
mod unwritable;

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use hallpass::access::{
    actor::Person,
    approval::{Decision, Digest},
    change::Change,
    event::{Event, HandleDigest, Recorded},
    grant::{Grant, Warrant},
    handle::{Accessor, LeaseId},
    id::{GrantId, RequestId},
    limits::Limits,
    quorum::Quorum,
    request::{Ask, Request},
    target::{EarlyRevocation, Target},
    terms::{Leeway, Terms},
    text::{Prose, Ticket},
    writing::Writing,
};
use proptest::test_runner::{Config, RngSeed};

/// Longer than what anybody writes, shorter than what the tests below wait.
const WINDOW: Duration = Duration::from_hours(1);
/// A second less than the window.
const SHORTER: Duration = Duration::from_secs(3599);
const DECIDE_WITHIN: Duration = Duration::from_hours(24);
const CLAIM_WITHIN: Duration = Duration::from_hours(2);
const REASON: &str = "orders hang since 09:40";
const STATEMENT: &str = "read-only, for the incident";

/// What must never be seen outside a grant's row.
const TOKEN: &str = "canary-token-accessor";
const WRAPPING: &str = "canary-wrapping-accessor";
const LEASE: &str = "database/creds/orders/canary-lease";

/// The same cases in each run, and nothing written to disk when one fails.
fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(0x6861_6c6c), ..Config::default() }
}

/// A point in time, in milliseconds after an arbitrary beginning.
fn at(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_790_000_000_000 + millis).unwrap()
}

fn person(subject: &str, name: &str) -> Person {
    Person { subject: subject.to_owned(), name: name.to_owned() }
}

fn developer() -> Person {
    person("sub-dev", "dev")
}

fn groups(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

fn target(approvals_required: u32) -> Target {
    Target {
        name: "orders".parse().unwrap(),
        description: "the orders database".to_owned(),
        credential_path: "database/creds/orders".to_owned(),
        vault_policy: "cred-orders".to_owned(),
        window_max: WINDOW,
        decide_within: DECIDE_WITHIN,
        claim_within: CLAIM_WITHIN,
        requesters: groups(&["dev"]).into(),
        approvers: groups(&["leads"]).into(),
        approvals_required: approvals_required.try_into().unwrap(),
        quorum: Quorum::default(),
        leeway: Leeway { shorten: true, narrow: true },
        hours: None,
        early_revocation: EarlyRevocation::EndsSessions,
        window_default: None,
        writing: Writing::default(),
        limits: Limits::default(),
        cosigned_within: None,
    }
}

fn ask(approvals_required: u32) -> Ask {
    let target = target(1);
    Ask {
        groups: groups(&["dev"]),
        target: target.name,
        credential_path: target.credential_path,
        requester: developer(),
        duration: WINDOW,
        reason: Prose::new(REASON).unwrap().into(),
        ticket: Ticket::new("OPS-7").unwrap(),
        approvals_required,
        not_before: None,
        submitted_at: at(0),
        key: None,
    }
}

/// Events in their places, as if nothing else were on record.
fn recorded(events: &[&Event]) -> Vec<Recorded> {
    let one = |(event, sequence): (&&Event, i64)| {
        let (kind, detail) = event.fact.parts();
        let (at, actor, about) = (event.at, event.actor.clone(), event.about.clone());
        Recorded { sequence, at, actor, about, kind, detail }
    };
    events.iter().zip(1..).map(one).collect()
}

fn submit(approvals_required: u32) -> Change<Request> {
    Request::submit(RequestId::new(at(0), 1), ask(approvals_required), DECIDE_WITHIN)
}

fn decision(approver: Person, digest: Digest, decided_at: DateTime<Utc>) -> Decision {
    let (statement, groups) = (Prose::new(STATEMENT).unwrap().into(), groups(&["leads"]));
    Decision { approver, statement, digest, decided_at, groups, terms: Terms::default(), signed: None }
}

/// Approved by as many people as it takes, a second after the submission.
fn approved(approvals_required: u32) -> Request {
    let mut request = submit(approvals_required).into_after();
    for n in 0..approvals_required {
        let approver = person(&format!("sub-lead-{n}"), &format!("lead {n}"));
        let decision = decision(approver, request.digest(), at(1000));
        request = request.approve(decision, Some(&target(approvals_required))).unwrap().unwrap().into_after();
    }
    request
}

/// Claimed at a time, with the right to open its grant.
fn claimed(now: DateTime<Utc>) -> (Request, Warrant) {
    let (change, warrant) = approved(1).claim(now, Some(&target(1))).unwrap();
    (change.into_after(), warrant)
}

/// A grant whose window opens at a time.
fn opened(now: DateTime<Utc>) -> Change<Grant> {
    Grant::open(GrantId::new(now, 1), claimed(now).1, now)
}

fn token() -> Accessor {
    Accessor::new(TOKEN)
}

fn keyed(what: &str) -> HandleDigest {
    HandleDigest(format!("keyed digest of the {what}"))
}

fn with_token(grant: Grant, now: DateTime<Utc>) -> Change<Grant> {
    grant.minted(token(), keyed("token"), now).unwrap()
}

fn with_lease(grant: Grant, now: DateTime<Utc>) -> Change<Grant> {
    let digests = (keyed("lease"), keyed("wrapping"));
    grant.leased(LeaseId::new(LEASE), Accessor::new(WRAPPING), digests, now).unwrap()
}

/// Held since the moment its window opened.
fn active(now: DateTime<Utc>) -> Grant {
    let leased = with_lease(with_token(opened(now).into_after(), now).into_after(), now).into_after();
    leased.activate(now).unwrap().into_after()
}

const MILLI: TimeDelta = TimeDelta::milliseconds(1);
const SECOND: TimeDelta = TimeDelta::seconds(1);
