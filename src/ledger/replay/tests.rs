//! One story that the daemon can have written, and what it can't have.

use chrono::{DateTime, Utc};

use super::*;
use crate::{
    access::{
        actor::{Actor, Person},
        event::{About, Event, Fact, HandleDigest, Recorded},
        id::{GrantId, RequestId},
        revocation::{Cause, Step},
        text::Prose,
    },
    ledger::leaf::Leaf,
};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000 + seconds, 0).unwrap()
}

fn by(name: &str) -> Actor {
    Actor::Person(Person { subject: format!("corp:{name}"), name: name.to_owned() })
}

fn request() -> RequestId {
    RequestId::new(at(0), 7)
}

fn grant(number: u128) -> GrantId {
    GrantId::new(at(0), number)
}

fn about(grant: Option<GrantId>) -> About {
    About { request: Some(request()), grant, target: Some("orders-ro".parse().unwrap()) }
}

fn event(seconds: i64, actor: Actor, about: About, fact: Fact) -> Recorded {
    let (kind, detail) =
        Event { at: at(seconds), actor: actor.clone(), about: about.clone(), fact }.fact.parts();
    Recorded { sequence: 0, at: at(seconds), actor, about, kind, detail }
}

fn asked() -> crate::access::request::Ask {
    let Actor::Person(requester) = by("alice") else { unreachable!() };
    crate::access::request::Ask {
        target: "orders-ro".parse().unwrap(),
        credential_path: "database/creds/orders".into(),
        requester,
        groups: std::collections::BTreeSet::new(),
        duration: std::time::Duration::from_mins(10),
        not_before: None,
        reason: Prose::new("order 4711 is stuck").unwrap().into(),
        ticket: None,
        approvals_required: 2,
        submitted_at: at(0),
        key: None,
    }
}

fn approved(seconds: i64, name: &str, approvals: usize) -> Recorded {
    let fact = Fact::RequestApproved {
        statement: "fine".into(),
        digest: asked().digest(request()).to_string(),
        approvals,
        approvals_required: 2,
        groups: vec!["leads".into()],
        duration_seconds: None,
        not_before: None,
        not_after: None,
        signed_with: None,
        user_present: None,
        signed_text: None,
        signed_text_sha512: None,
        signature: None,
    };
    event(seconds, by(name), about(None), fact)
}

fn opened(seconds: i64, number: u128, reissue: bool) -> Recorded {
    let fact = Fact::GrantOpened { opens_at: at(30), closes_at: at(630), reissue };
    event(seconds, by("alice"), about(Some(grant(number))), fact)
}

fn handle(text: &str) -> HandleDigest {
    HandleDigest(text.to_owned())
}

fn daemons(seconds: i64, number: u128, fact: Fact) -> Recorded {
    event(seconds, Actor::Daemon, about(Some(grant(number))), fact)
}

fn issued(seconds: i64, number: u128) -> [Recorded; 3] {
    let minted = Fact::GrantTokenMinted { accessor_digest: handle("token") };
    let leased = Fact::GrantLeaseRecorded {
        lease_digest: handle(&format!("lease-{number}")),
        wrapping_digest: handle("wrapping"),
    };
    [minted, leased, Fact::GrantActivated {}].map(|fact| daemons(seconds, number, fact))
}

fn begun(seconds: i64, number: u128, actor: Actor, cause: Cause) -> Recorded {
    event(seconds, actor, about(Some(grant(number))), Fact::RevocationBegun { cause, reason: None })
}

fn revoked(seconds: i64, number: u128, cause: Cause) -> Recorded {
    let fact = Fact::GrantRevoked {
        cause,
        confirmation: "lease lookup: invalid lease",
        lease_digest: handle(&format!("lease-{number}")),
    };
    daemons(seconds, number, fact)
}

fn frozen(seconds: i64, ends_grants: bool) -> Recorded {
    let fact = Fact::TargetsFrozen { extent: "*".into(), reason: "breach".into(), ends_grants };
    event(seconds, by("oscar"), About::default(), fact)
}

fn thawed(seconds: i64) -> Recorded {
    event(
        seconds,
        by("oscar"),
        About::default(),
        Fact::TargetsThawed { extent: "*".into(), reason: "over".into() },
    )
}

/// Two approvals, a claim, a second claim, an end that gets stuck, and a freeze.
fn story() -> Vec<Recorded> {
    let submitted = Fact::RequestSubmitted {
        duration_seconds: 600,
        not_before: None,
        reason: "order 4711 is stuck".into(),
        ticket: None,
        approvals_required: 2,
        groups: vec!["developers".into()],
        credential_path: "database/creds/orders".into(),
        digest: asked().digest(request()).to_string(),
    };
    let mut story = vec![
        event(0, by("alice"), about(None), submitted),
        approved(10, "olivia", 1),
        approved(20, "otto", 2),
        event(30, by("alice"), about(None), Fact::RequestClaimed {}),
        opened(30, 1, false),
    ];
    story.extend(issued(31, 1));
    story.extend([
        begun(40, 1, by("alice"), Cause::Reissued),
        revoked(41, 1, Cause::Reissued),
        opened(42, 2, true),
    ]);
    story.extend(issued(43, 2));
    let error = || "connection refused".to_owned();
    story.extend([
        frozen(50, false),
        frozen(51, true),
        begun(630, 2, Actor::Daemon, Cause::WindowClosed),
        daemons(631, 2, Fact::RevocationRetried { step: Step::Lease, error: error() }),
        daemons(
            700,
            2,
            Fact::RevocationOverdue { begun_at: at(630), step: Step::Lease, error: Some(error()), alarms: 1 },
        ),
        revoked(710, 2, Cause::WindowClosed),
        thawed(711),
    ]);
    story
}

fn replayed(events: &[Recorded]) -> Replay {
    let mut replay = Replay::new();
    for (event, sequence) in events.iter().zip(1..) {
        let leaf = Leaf::of(&Recorded { sequence, ..event.clone() });
        let texts = serde_json::Value::from(leaf.texts).to_string();
        assert_eq!(replay.take(&leaf.line, Some(&texts), &mut Room::default()), None, "nothing is signed");
    }
    replay
}

#[test]
fn what_the_daemon_writes_follows() {
    let replay = replayed(&story());
    assert_eq!(replay.findings(), (&[][..], 0));
    let counts = replay.counts();
    assert_eq!((counts.events, counts.requests, counts.approvals, counts.grants), (21, 1, 2, 2));
    assert_eq!((counts.grants_open, counts.texts, counts.texts_gone, counts.unknown), (0, 6, 0, 0));
}

#[test]
fn without_its_texts_it_follows_as_well() {
    let mut replay = Replay::new();
    for (event, sequence) in story().into_iter().zip(1..) {
        replay.take(&Leaf::of(&Recorded { sequence, ..event }).line, None, &mut Room::default());
    }
    assert_eq!((replay.findings().1, replay.counts().texts_gone), (0, 6));
}

type Edit = fn(&mut Vec<Recorded>);

fn set(events: &mut [Recorded], place: usize, field: &str, value: impl Into<serde_json::Value>) {
    events[place].detail[field] = value.into();
}

/// Each is one lie in the story, and what is said of it.
const LIES: &[(&str, Edit, &str)] = &[
    ("no approval", |log| drop(log.drain(1..3)), "wasn't approved by enough"),
    ("one approval of two", |log| drop(log.remove(2)), "wasn't approved by enough"),
    ("a person twice", |log| log[2].actor = by("Olivia"), "second approval of one person"),
    ("his own", |log| log[2].actor = by("alice"), "the person's own request"),
    ("nobody's", |log| log[2].actor = Actor::Daemon, "must have been done by a person"),
    ("a wrong count", |log| set(log, 2, "approvals", 3), "counts the approvals wrongly"),
    ("fewer are required", |log| set(log, 2, "approvals_required", 1), "another number of approvals"),
    ("another digest", |log| set(log, 1, "digest", "sha256:00"), "another digest than the request's"),
    (
        "another ask",
        |log| set(log, 0, "credential_path", "database/creds/all"),
        "isn't that of what was asked",
    ),
    ("a longer time", |log| set(log, 0, "duration_seconds", 900), "isn't that of what was asked"),
    ("an approval of more", |log| set(log, 1, "duration_seconds", 601), "allows more than was asked"),
    ("a shorter time", |log| set(log, 1, "duration_seconds", 60), "another length than was approved"),
    ("too early", |log| set(log, 1, "not_before", "2030-01-01T00:00:00Z"), "it wasn't allowed"),
    ("too late", |log| set(log, 1, "not_after", "2020-01-01T00:00:00Z"), "it wasn't allowed"),
    ("another claims", |log| log[3].actor = by("mallory"), "claims another person's request"),
    ("another holds", |log| log[4].actor = by("mallory"), "another person than the requester"),
    ("a claim alone", |log| drop(log.remove(4)), "doesn't open the grant of the request that was claimed"),
    ("a grant alone", |log| drop(log.remove(3)), "on a request that isn't claimed"),
    (
        "claimed twice",
        |log| {
            let claim = log[3].clone();
            log.insert(5, claim);
        },
        "claimed before",
    ),
    (
        "denied when claimed",
        |log| {
            let fact = Fact::RequestDenied { statement: "no".into(), digest: String::new() };
            log.insert(5, event(31, by("olivia"), about(None), fact));
        },
        "doesn't wait for decisions",
    ),
    (
        "another's withdrawal",
        |log| {
            log.insert(3, event(31, by("mallory"), about(None), Fact::RequestWithdrawn {}));
        },
        "withdraws another person's request",
    ),
    (
        "a lapse by a person",
        |log| {
            log.insert(3, event(31, by("mallory"), about(None), Fact::RequestLapsed { while_in: "PENDING" }));
        },
        "must have been done by the daemon",
    ),
    (
        "a lapse in no state",
        |log| {
            log.insert(
                1,
                event(31, Actor::Daemon, about(None), Fact::RequestLapsed { while_in: "APPROVED" }),
            );
        },
        "can't have been in",
    ),
    (
        "a longer window",
        |log| set(log, 4, "closes_at", at(999).to_rfc3339()),
        "another length than was approved",
    ),
    (
        "a later window",
        |log| {
            set(log, 4, "opens_at", at(31).to_rfc3339());
            set(log, 4, "closes_at", at(631).to_rfc3339());
        },
        "doesn't open when it was claimed",
    ),
    ("an empty window", |log| set(log, 10, "closes_at", at(30).to_rfc3339()), "empty or runs backwards"),
    (
        "a window that moves",
        |log| set(log, 10, "closes_at", at(999).to_rfc3339()),
        "another window than the grant",
    ),
    ("opened when closed", |log| log[10].at = at(630), "when its window is over"),
    ("two held", |log| drop(log.drain(8..10)), "beside one that is held"),
    ("the same grant", |log| log[10].about.grant = Some(grant(1)), "opened before"),
    ("a first reissue", |log| set(log, 4, "reissue", true), "doesn't open the grant of the request"),
    ("an only claim", |log| set(log, 10, "reissue", false), "says wrongly whether there was a grant"),
    ("granted while frozen", |log| log.insert(4, frozen(30, false)), "doesn't open the grant"),
    ("issued again while frozen", |log| log.insert(10, frozen(41, false)), "of a target that is frozen"),
    ("no token", |log| drop(log.remove(5)), "isn't at this point"),
    ("no lease", |log| drop(log.remove(6)), "isn't at this point"),
    (
        "active twice",
        |log| {
            let active = log[7].clone();
            log.insert(8, active);
        },
        "isn't at this point",
    ),
    ("active too late", |log| log[7].at = at(630), "activates a grant whose window is over"),
    ("minted by a person", |log| log[5].actor = by("mallory"), "must have been done by the daemon"),
    ("an unknown cause", |log| set(log, 8, "cause", "BOREDOM"), "has a cause that isn't known"),
    ("another claims again", |log| log[8].actor = by("mallory"), "cause that its actor can't have had"),
    ("closed by a person", |log| log[16].actor = by("alice"), "cause that its actor can't have had"),
    ("closed too early", |log| log[16].at = at(629), "cause that isn't there yet"),
    (
        "begun twice",
        |log| {
            let begun = log[16].clone();
            log.insert(17, begun);
        },
        "an end that began before",
    ),
    ("never begun", |log| drop(log.remove(16)), "whose end never began"),
    ("no known step", |log| set(log, 17, "step", "HOPE"), "a step that isn't known"),
    (
        "stuck without an end",
        |log| {
            let stuck = log[17].clone();
            log.insert(14, stuck);
        },
        "isn't ending",
    ),
    ("another alarm", |log| set(log, 18, "alarms", 2), "counts the alarms wrongly"),
    ("an alarm of another end", |log| set(log, 18, "error", "none"), "another end than the one"),
    ("another cause", |log| set(log, 19, "cause", "RELEASED"), "another cause than the end began with"),
    ("another lease", |log| set(log, 19, "lease_digest", "lease-1"), "another lease than was recorded"),
    ("no lookup", |log| set(log, 19, "confirmation", "Vault said 204"), "another confirmation"),
    ("failed, though active", |log| log[19].kind = "GrantFailed".into(), "active, or of one that wasn't"),
    (
        "over twice",
        |log| {
            let over = log[19].clone();
            log.push(over);
        },
        "a grant that is over",
    ),
    (
        "another target",
        |log| log[19].about.target = Some("payroll".parse().unwrap()),
        "another request or target",
    ),
    (
        "approval of another target",
        |log| log[1].about.target = Some("payroll".parse().unwrap()),
        "another target",
    ),
    ("frozen twice", |log| log.insert(16, frozen(52, true)), "freezes once more"),
    ("thawed twice", |log| log.push(thawed(712)), "thaws what isn't frozen"),
    ("a freeze of another", |log| log[14].about.target = Some("payroll".parse().unwrap()), "than it covers"),
    (
        "refused at nothing",
        |log| {
            let other = About { request: Some(RequestId::new(at(0), 9)), ..About::default() };
            let fact = Fact::AttemptRefused { verb: "x", reason: "y", problem: None };
            log.push(event(1, by("mallory"), other, fact));
        },
        "what was never recorded",
    ),
    (
        "opened by nobody",
        |log| {
            let fact = Fact::WrappingTokenOpened { noticed_by: "HOLDER" };
            log.push(event(1, by("alice"), about(Some(grant(9))), fact));
        },
        "never opened",
    ),
    (
        "told by a stranger",
        |log| {
            let fact = Fact::WrappingTokenOpened { noticed_by: "HOLDER" };
            log.insert(10, event(1, by("mallory"), about(Some(grant(1))), fact.clone()));
            log.insert(9, event(1, by("mallory"), about(Some(grant(1))), fact));
        },
        "another person than the holder",
    ),
    (
        "ends that don't come",
        |log| {
            let fact = Fact::ConfigurationChanged {
                occasion: "COMMAND",
                digest: String::new(),
                former_digest: None,
                added: vec![],
                removed: vec![],
                changed: vec![],
                ended: 1,
            };
            log.insert(8, event(1, Actor::Daemon, About::default(), fact));
        },
        "isn't an end that the configuration's change",
    ),
    ("another reason", |log| set(log, 0, "reason_digest", "sha256:00"), "isn't the one that was recorded"),
];

#[test]
fn what_cannot_be_is_told() {
    for (name, edit, problem) in LIES {
        let mut log = story();
        edit(&mut log);
        let replay = replayed(&log);
        let (findings, _) = replay.findings();
        assert!(findings.iter().any(|finding| finding.problem.contains(problem)), "{name}: {findings:#?}");
    }
}

#[test]
fn missing_and_misplaced_events_show() {
    let leaves: Vec<String> = story()
        .into_iter()
        .zip(1..)
        .map(|(event, sequence)| Leaf::of(&Recorded { sequence, ..event }).line)
        .collect();
    let problems = |leaves: &[&String]| {
        let mut replay = Replay::new();
        for leaf in leaves {
            replay.take(leaf, None, &mut Room::default());
        }
        replay.findings().0.iter().map(|finding| finding.problem).collect::<Vec<_>>()
    };
    let all: Vec<&String> = leaves.iter().collect();
    for place in 0..all.len() - 1 {
        let without = [&all[..place], &all[place + 1..]].concat();
        assert!(problems(&without)[0].contains("another place"), "{place}");
        let mut swapped = all.clone();
        swapped.swap(place, place + 1);
        assert!(problems(&swapped)[0].contains("another place"), "{place}");
    }
    let spaced = all[3].replacen(':', ": ", 1);
    assert!(problems(&[all[0], &spaced])[0].contains("in its one spelling"));
}

/// Fields that a version didn't write yet are unknown, and kinds that it didn't know yet say nothing.
#[test]
fn earlier_and_later_versions_are_read() {
    let mut log = story();
    for (place, fields) in [
        (0, &["approvals_required", "credential_path", "digest"][..]),
        (1, &["approvals", "approvals_required", "groups"]),
        (2, &["approvals", "approvals_required", "groups"]),
    ] {
        for field in fields {
            log[place].detail.as_object_mut().unwrap().remove(*field);
        }
    }
    log.insert(8, event(1, Actor::Daemon, about(None), Fact::GrantActivated {}));
    log[8].kind = "GrantAdmired".into();
    let replay = replayed(&log);
    assert_eq!((replay.findings(), replay.counts().unknown), ((&[][..], 0), 1));
}

#[test]
fn no_more_findings_are_kept_than_there_is_room_for() {
    let mut replay = Replay::new();
    for _ in 0..=FINDINGS_MAX {
        replay.take("{}", None, &mut Room::default());
    }
    let (kept, found) = replay.findings();
    assert_eq!((kept.len(), found), (FINDINGS_MAX, FINDINGS_MAX as u64 + 1));
}
