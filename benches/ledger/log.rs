//! A log as daemons write it: one exception after the other, each asked for, approved, claimed, used and ended.

use chrono::{DateTime, TimeDelta, Utc};
use hallpass::{
    access::{
        actor::{Actor, Person},
        event::{About, Fact, HandleDigest, Recorded},
        id::{GrantId, RequestId},
        request::Ask,
        revocation::Cause,
        text::{Prose, Ticket},
    },
    ledger::leaf::Leaf,
};

/// How many events an exception has here.
pub const EVENTS_EACH: u64 = 9;

const REASON: &str = "Orders are stuck in the queue since the deployment of this morning; I want to look at the rows of \
                      order 4711 and at what locks them, and change nothing.";
const STATEMENT: &str = "Read only is enough for this. Tell me before you touch anything.";

fn person(name: &str) -> Person {
    Person { subject: format!("vault:8d1cf5a2-6a0e-4b6e-9d0c-{name:0>12}"), name: name.to_owned() }
}

/// The how-manieth exception's events, behind those of the ones before.
pub fn exception(number: u64) -> Vec<Leaf> {
    let begun =
        DateTime::from_timestamp(1_790_000_000, 0).unwrap() + TimeDelta::seconds(number.cast_signed());
    let (alice, olivia) =
        (person(&format!("alice{}", number % 50)), person(&format!("olivia{}", number % 5)));
    let id = RequestId::new(begun, u128::from(number) << 40);
    let grant = GrantId::new(begun, u128::from(number) << 40 | 1);
    let target = format!("orders-{}", number % 20);
    let ask = Ask {
        target: target.parse().unwrap(),
        credential_path: format!("database/creds/hp-{target}"),
        requester: alice.clone(),
        groups: ["developers".to_owned()].into(),
        duration: std::time::Duration::from_mins(30),
        not_before: None,
        reason: Prose::new(REASON).unwrap().into(),
        ticket: Ticket::new(&format!("OPS-{number}")).unwrap(),
        approvals_required: 1,
        submitted_at: begun,
        key: None,
    };
    let digest = ask.digest(id).to_string();
    let handle = |what: &str| HandleDigest(format!("{what:0>24}{number:0>40}"));
    let cause = Cause::WindowClosed;
    let (lease, confirmation) = (handle("1ea5e"), "lease lookup: invalid lease");
    let facts = [
        (Some(&alice), false, submitted(&ask, digest.clone())),
        (Some(&olivia), false, approved(digest)),
        (Some(&alice), false, Fact::RequestClaimed {}),
        (
            Some(&alice),
            true,
            Fact::GrantOpened {
                opens_at: begun,
                closes_at: begun + TimeDelta::seconds(1800),
                reissue: false,
            },
        ),
        (None, true, Fact::GrantTokenMinted { accessor_digest: handle("acce55") }),
        (
            None,
            true,
            Fact::GrantLeaseRecorded { lease_digest: lease.clone(), wrapping_digest: handle("a99") },
        ),
        (None, true, Fact::GrantActivated {}),
        (None, true, Fact::RevocationBegun { cause, reason: None }),
        (None, true, Fact::GrantRevoked { cause, confirmation, lease_digest: lease }),
    ];
    let first = number * EVENTS_EACH + 1;
    let event = |(place, (actor, of_grant, fact)): (u64, (Option<&Person>, bool, Fact))| {
        let (kind, detail) = fact.parts();
        let actor = actor.map_or(Actor::Daemon, |person| Actor::Person(person.clone()));
        let about =
            About { request: Some(id), grant: of_grant.then_some(grant), target: Some(ask.target.clone()) };
        let at = if place >= first + 7 { begun + TimeDelta::seconds(1800) } else { begun };
        Leaf::of(&Recorded { sequence: place.cast_signed(), at, actor, about, kind, detail })
    };
    (first..).zip(facts).map(event).collect()
}

fn submitted(ask: &Ask, digest: String) -> Fact {
    Fact::RequestSubmitted {
        duration_seconds: ask.duration.as_secs(),
        not_before: None,
        reason: REASON.to_owned(),
        ticket: ask.ticket.as_ref().map(|ticket| ticket.as_str().to_owned()),
        approvals_required: 1,
        groups: ask.groups.iter().cloned().collect(),
        credential_path: ask.credential_path.clone(),
        digest,
    }
}

fn approved(digest: String) -> Fact {
    Fact::RequestApproved {
        statement: STATEMENT.to_owned(),
        digest,
        approvals: 1,
        approvals_required: 1,
        groups: vec!["operations-leads".to_owned()],
        duration_seconds: None,
        not_before: None,
        not_after: None,
        signed_with: None,
        user_present: None,
        signed_text: None,
        signed_text_sha512: None,
        signature: None,
    }
}

/// An approval by itself, for what recording one costs.
pub fn approval(sequence: u64, at: DateTime<Utc>) -> Recorded {
    let (kind, detail) = approved(format!("sha256:{sequence:0>64}")).parts();
    let about = About {
        request: Some(RequestId::new(at, u128::from(sequence))),
        grant: None,
        target: Some("orders-ro".parse().unwrap()),
    };
    let actor = Actor::Person(person("olivia"));
    Recorded { sequence: sequence.cast_signed(), at, actor, about, kind, detail }
}
