//! The audit log: what its events say, that `docs/audit.md` says the same, and that no handle is ever in one.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use hallpass::access::{
    actor::Actor,
    approval::Digest,
    change::Change,
    event::{Event, Fact},
    freeze::{Extent, Freeze},
    grant::Grant,
    id::FreezeId,
    id::GrantId,
    retention::{Erasure, Past},
    revocation::{Cause, Confirmation, Step},
    text::Prose,
};

use super::{
    DECIDE_WITHIN, LEASE, REASON, STATEMENT, TOKEN, WRAPPING, active, approved, at, claimed, decision,
    developer, keyed, opened, person, recorded, submit, target, with_lease, with_token,
};

const DOCUMENTATION: &str = include_str!("../../../docs/audit.md");

fn submitted(digest: String) -> Fact {
    Fact::RequestSubmitted {
        duration_seconds: 1,
        not_before: Some(at(0)),
        reason: REASON.to_owned(),
        ticket: Some("OPS-7".to_owned()),
        groups: vec!["dev".to_owned()],
        approvals_required: 1,
        credential_path: "database/creds/x".to_owned(),
        digest,
    }
}

fn signed(statement: String, digest: String) -> Fact {
    Fact::RequestApproved {
        statement,
        digest,
        approvals: 1,
        approvals_required: 1,
        groups: vec!["leads".to_owned()],
        duration_seconds: Some(1),
        not_before: Some(at(0)),
        not_after: Some(at(1)),
        signed_with: Some(format!("SHA256:{}", "x".repeat(43))),
        user_present: Some(true),
        signed_text: Some(STATEMENT.to_owned()),
        signed_text_sha512: Some("0".repeat(128)),
        signature: Some("-----BEGIN SSH SIGNATURE-----".to_owned()),
    }
}

/// One fact of each kind, with every field given.
fn every_fact() -> Vec<Fact> {
    let digest = Digest::parse(&format!("sha256:{}", "0".repeat(64))).unwrap().to_string();
    let (cause, confirmation) = (Cause::Released, Confirmation::LeaseGone.name());
    let statement = STATEMENT.to_owned();
    vec![
        submitted(digest.clone()),
        signed(statement.clone(), digest.clone()),
        Fact::RequestDenied { statement, digest },
        Fact::RequestWithdrawn {},
        Fact::RequestLapsed { while_in: "PENDING" },
        Fact::RequestClaimed {},
        Fact::GrantOpened { opens_at: at(0), closes_at: at(1), reissue: false },
        Fact::GrantTokenMinted { accessor_digest: keyed("token") },
        Fact::GrantLeaseRecorded { lease_digest: keyed("lease"), wrapping_digest: keyed("wrapping") },
        Fact::GrantActivated {},
        Fact::RevocationBegun { cause, reason: Some(REASON.to_owned()) },
        Fact::RevocationRetried { step: Step::Lease, error: "database down".to_owned() },
        Fact::RevocationOverdue {
            begun_at: at(0),
            step: Step::Lease,
            error: Some("database down".to_owned()),
            alarms: 1,
        },
        Fact::WrappingTokenOpened { noticed_by: "CLAIM" },
        Fact::UnknownLeaseFound {
            credential_path: "database/creds/x".to_owned(),
            lease_digest: keyed("lease"),
            revoked: true,
        },
        Fact::ReconciliationDone {
            leases: 1,
            unknown: 1,
            vanished: 0,
            gave_up: Some(0),
            vault_clock_ahead_ms: Some(-1),
            unanswered: Vec::new(),
        },
        Fact::RecordingResumed { lost_from: at(0), kept: 1, dropped: 0 },
        Fact::GrantRevoked { cause, confirmation, lease_digest: keyed("lease") },
        Fact::GrantFailed { cause, confirmation },
        configuration_changed(),
        attempt_refused(),
        Fact::IdentityRefused {
            method: "m".to_owned(),
            client_address: Some("::1".to_owned()),
            error: "expired".to_owned(),
            unrecorded: 2,
        },
        Fact::TargetsFrozen { extent: "*".to_owned(), reason: REASON.to_owned(), ends_grants: true },
        Fact::TargetsThawed { extent: "orders".to_owned(), reason: REASON.to_owned() },
        Fact::TextsErased {
            until: at(0),
            requests: vec!["00000000000000000000000000".to_owned()],
            freezes: Vec::new(),
            texts: 3,
        },
        Fact::LedgerContradicted {
            origin: "hallpass".to_owned(),
            witness: "archive".to_owned(),
            problem: "BEHIND",
            size: 7,
            witness_size: Some(9),
        },
    ]
}

fn attempt_refused() -> Fact {
    let problem = Some("OTHER_KEY".to_owned());
    Fact::AttemptRefused { verb: "approve", reason: "SIGNATURE_INVALID", problem }
}

fn configuration_changed() -> Fact {
    Fact::ConfigurationChanged {
        occasion: "COMMAND",
        digest: "sha256:02".to_owned(),
        former_digest: Some("sha256:01".to_owned()),
        added: Vec::new(),
        removed: vec!["targets.orders".to_owned()],
        changed: Vec::new(),
        ended: 1,
    }
}

/// Which place a fact has above. No wildcard: a new kind doesn't compile until it is there, and so in the documentation.
const fn place(fact: &Fact) -> usize {
    match fact {
        Fact::RequestSubmitted { .. } => 0,
        Fact::RequestApproved { .. } => 1,
        Fact::RequestDenied { .. } => 2,
        Fact::RequestWithdrawn {} => 3,
        Fact::RequestLapsed { .. } => 4,
        Fact::RequestClaimed {} => 5,
        Fact::GrantOpened { .. } => 6,
        Fact::GrantTokenMinted { .. } => 7,
        Fact::GrantLeaseRecorded { .. } => 8,
        Fact::GrantActivated {} => 9,
        Fact::RevocationBegun { .. } => 10,
        Fact::RevocationRetried { .. } => 11,
        Fact::RevocationOverdue { .. } => 12,
        Fact::WrappingTokenOpened { .. } => 13,
        Fact::UnknownLeaseFound { .. } => 14,
        Fact::ReconciliationDone { .. } => 15,
        Fact::RecordingResumed { .. } => 16,
        Fact::GrantRevoked { .. } => 17,
        Fact::GrantFailed { .. } => 18,
        Fact::ConfigurationChanged { .. } => 19,
        Fact::AttemptRefused { .. } => 20,
        Fact::IdentityRefused { .. } => 21,
        Fact::TargetsFrozen { .. } => 22,
        Fact::TargetsThawed { .. } => 23,
        Fact::TextsErased { .. } => 24,
        Fact::LedgerContradicted { .. } => 25,
    }
}

/// The kinds that the broker records without a state change.
const WITHOUT_CHANGE: [&str; 8] = [
    "AttemptRefused",
    "ConfigurationChanged",
    "IdentityRefused",
    "ReconciliationDone",
    "RecordingResumed",
    "LedgerContradicted",
    "UnknownLeaseFound",
    "WrappingTokenOpened",
];

/// The documented kinds, with the fields in their rows: `| `Kind` | who | when | `field`, … |`.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let kinds = DOCUMENTATION.lines().filter(|line| line.starts_with("| `"));
    let rows = kinds.filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [kind, _actor, _when, fields] = cells.as_slice() else { return None };
        let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        Some((kind.trim_matches('`').to_owned(), quoted(fields)))
    });
    rows.collect()
}

#[test]
fn every_kind_is_documented_with_exactly_its_fields() {
    let written = |fact: &Fact| {
        let (kind, detail) = fact.parts();
        let fields: BTreeSet<String> = detail.as_object().unwrap().keys().cloned().collect();
        (kind, fields)
    };
    let facts = every_fact();
    assert!(facts.iter().enumerate().all(|(n, fact)| place(fact) == n), "one of each, in order");
    assert_eq!(facts.iter().map(written).collect::<BTreeMap<_, _>>(), documented());
}

#[test]
fn every_cause_and_confirmation_is_documented() {
    for name in
        ["WINDOW_CLOSED", "RELEASED", "REVOKED_BY_OPERATOR", "FROZEN", "TARGET_REMOVED", "ENDED_OUTSIDE"]
            .into_iter()
            .chain(["ISSUE_FAILED", "REISSUED"])
    {
        assert!(Cause::named(name).is_some() && DOCUMENTATION.contains(&format!("`{name}`")), "{name}");
    }
    for confirmation in [Confirmation::LeaseGone, Confirmation::NoLeaseLeft, Confirmation::NothingIssued] {
        assert!(DOCUMENTATION.contains(&format!("`{}`", confirmation.name())), "{confirmation:?}");
    }
    for step in [Step::Wrapping, Step::Token, Step::Lease, Step::Confirmation] {
        assert!(DOCUMENTATION.contains(&format!("`{}`", step.name())), "{step:?}");
    }
}

fn event<T>(change: &Change<T>) -> Event {
    change.event().clone()
}

/// What is long over, a request that was withdrawn, without its text.
fn erased() -> Erasure {
    let submitted = submit(1);
    let withdrawn = submitted.after().clone().withdraw(developer(), at(1)).unwrap();
    let timeline = recorded(&[submitted.event(), withdrawn.event()]);
    let past = Past { request: withdrawn.into_after(), grants: Vec::new(), timeline };
    Erasure::of(vec![past], Vec::new(), at(2000), at(3000)).unwrap()
}

/// The events of every way through the state machines, made by the rules from handles that are canaries.
fn every_event() -> Vec<Event> {
    let (now, orders) = (at(2000), target(1));
    let pending = submit(1).into_after();
    let yes = decision(person("sub-ann", "ann"), pending.digest(), now);
    let why = Prose::new(REASON).unwrap();
    let frozen = Freeze::begin(FreezeId::new(now, 1), Extent::Everything, developer(), why, true, now);
    let mut events = vec![
        event(&submit(1)),
        event(&pending.clone().approve(yes.clone(), Some(&orders)).unwrap().unwrap()),
        event(&pending.clone().deny(yes, Some(&orders)).unwrap()),
        event(&pending.clone().withdraw(developer(), now).unwrap()),
        event(&pending.lapse(at(0) + DECIDE_WITHIN).unwrap()),
        event(&frozen),
        event(&frozen.after().clone().thaw(developer(), &Prose::new(REASON).unwrap(), now).unwrap()),
        event(&approved(1).claim(now, Some(&orders)).unwrap().0),
        erased().event().clone(),
    ];
    let opened = opened(now);
    let minted = with_token(opened.after().clone(), now);
    let leased = with_lease(minted.after().clone(), now);
    let activated = leased.after().clone().activate(now).unwrap();
    let (request, _) = claimed(now);
    let warrant = request.claim_again(now, Some(&orders), activated.after(), true).unwrap();
    let again = Grant::open(GrantId::new(now, 2), warrant, now);
    for change in [&opened, &minted, &leased, &activated, &again] {
        events.push(event(change));
    }
    let failed = [
        (opened.into_after(), Confirmation::NothingIssued),
        (minted.into_after(), Confirmation::NoLeaseLeft),
        (leased.into_after(), Confirmation::LeaseGone),
        (active(now), Confirmation::LeaseGone),
    ];
    for (grant, confirmation) in failed {
        let why = Prose::new("why").unwrap();
        let begun = grant.begin(Cause::Frozen, Actor::Person(developer()), Some(&why), now).unwrap();
        let retried = begun.after().clone().retry(Step::Token, "Vault is sealed", now).unwrap();
        let overdue = retried.after().clone().alarm(TimeDelta::zero(), now).unwrap();
        let over = overdue.after().clone().confirm(confirmation, Some(keyed("lease")), now).unwrap();
        events.extend([event(&begun), event(&retried), event(&overdue), event(&over)]);
    }
    events
}

/// I6: what lets its bearer revoke stands in the grant's row and nowhere else.
#[test]
fn no_event_holds_a_handle() {
    let events = every_event();
    for event in &events {
        let (kind, detail) = event.fact.parts();
        let shown = format!("{detail} {event:?}");
        for handle in [TOKEN, WRAPPING, LEASE, "canary"] {
            assert!(!shown.contains(handle), "{kind}: {shown}");
        }
    }
    let made: BTreeSet<String> = events.iter().map(|event| event.fact.parts().0).collect();
    let kinds: BTreeSet<String> = every_fact().iter().map(|fact| fact.parts().0).collect();
    let others: BTreeSet<String> = kinds.difference(&made).cloned().collect();
    assert_eq!(
        others,
        WITHOUT_CHANGE.map(str::to_owned).into(),
        "every kind that the rules make was looked at"
    );
}

/// The timeline proves the ending: REVOKED is said with what it rests on, and only the lease lookup is enough.
#[test]
fn a_revoked_grant_names_its_proof() {
    let revoked: Vec<Fact> = every_event()
        .into_iter()
        .map(|event| event.fact)
        .filter(|fact| matches!(fact, Fact::GrantRevoked { .. }))
        .collect();
    let expected = Fact::GrantRevoked {
        cause: Cause::Frozen,
        confirmation: "lease lookup: invalid lease",
        lease_digest: keyed("lease"),
    };
    assert_eq!(revoked, [expected]);
}
