//! The vectors of `docs/approval.md`, and what isn't canonical.

use super::*;
use crate::access::text::Ticket;

const DOCUMENTATION: &str = include_str!("../../../docs/approval.md");

/// The fenced block behind a heading: what stands between the fences, without the line feed before the last one, which is
/// part of the text.
fn block(heading: &str) -> &'static str {
    let (_, rest) = DOCUMENTATION.split_once(heading).unwrap_or_else(|| panic!("no {heading}"));
    let (_, rest) = rest.split_once("```text\n").unwrap();
    rest.split_once("```").unwrap().0
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// What the first vector's request asks.
fn ask() -> (RequestId, Ask) {
    let ask = Ask {
        groups: std::collections::BTreeSet::new(),
        target: "orders-ro".parse().unwrap(),
        credential_path: "database/creds/hp-orders-ro".into(),
        requester: Person {
            subject: "vault:8d1cf5a2-6a0e-4b6e-9d0c-3f1a2b4c5d6e".into(),
            name: "alice".into(),
        },
        duration: Duration::from_mins(90),
        reason: Prose::new("order 4711 is stuck").unwrap().into(),
        ticket: Ticket::new("OPS-42").unwrap(),
        approvals_required: 1,
        not_before: None,
        submitted_at: at("2026-11-26T08:55:01.250Z"),
        key: None,
    };
    ("01kb0x3v9m2d4e5f6g7h8j9kab".parse().unwrap(), ask)
}

fn first() -> ApprovalText {
    let (id, ask) = ask();
    let statement = Prose::new("read only is enough for this").unwrap();
    let approver = "vault:1b9e77c4-2f3d-4c8a-8e6b-7a5d4c3b2a19";
    ApprovalText::of(id, &ask, Terms::default(), approver, statement, at("2026-11-26T09:00:00.999Z"))
}

fn second() -> ApprovalText {
    let statement = "für alle Fälle:\n\napprover: vault:somebody-else\nstatement-bytes: 2\n\nok";
    ApprovalText {
        window: Duration::from_mins(30),
        window_from: Some(at("2026-11-27T00:00:00Z")),
        window_until: Some(at("2026-11-27T04:00:00Z")),
        approver: "person:olivia".into(),
        statement: Prose::new(statement).unwrap(),
        ..first()
    }
}

#[test]
fn the_vectors_are_those_of_the_documentation() {
    for (heading, text) in [("### First vector", first()), ("### Second vector", second())] {
        assert_eq!(text.to_string(), block(heading), "{heading}");
        assert_eq!(ApprovalText::parse(block(heading)), Ok(text), "{heading}");
    }
    let (id, ask) = ask();
    assert!(DOCUMENTATION.contains(&format!("`{}`", ask.digest(id))), "{}", ask.digest(id));
}

#[test]
fn what_a_statement_says_is_never_taken_for_a_line_of_the_head() {
    let read = ApprovalText::parse(&second().to_string()).unwrap();
    assert_eq!((read.approver.as_str(), read.statement), ("person:olivia", second().statement));
}

#[test]
fn a_text_is_of_one_request() {
    let (id, ask) = ask();
    assert!(first().is_of(id, &ask));
    let other = "01kb0x3v9m2d4e5f6g7h8j9kac".parse().unwrap();
    assert!(!first().is_of(other, &ask));
    let others = [
        Ask { target: "orders-rw".parse().unwrap(), ..ask.clone() },
        Ask { requester: Person { name: "bob".into(), ..ask.requester.clone() }, ..ask.clone() },
        Ask { duration: Duration::from_secs(1), ..ask.clone() },
        Ask { reason: Prose::new("another").unwrap().into(), ..ask.clone() },
        Ask { credential_path: "database/creds/hp-orders-rw".into(), ..ask.clone() },
    ];
    for other in others {
        assert!(!first().is_of(id, &other), "{other:?}");
    }
    let texts = [
        ApprovalText { target: "orders-rw".parse().unwrap(), ..first() },
        ApprovalText { request: other, ..first() },
        ApprovalText { digest: Digest::over("d", &[]), ..first() },
        ApprovalText { requester: Person { subject: "vault:b".into(), name: "alice".into() }, ..first() },
    ];
    for text in texts {
        assert!(!text.is_of(id, &ask), "{text}");
    }
}

/// What an approver may set stands in the text as he set it, with what was asked.
#[test]
fn a_text_is_on_one_persons_terms() {
    let (_, ask) = ask();
    let later = |time: &str| Some(at(time));
    let terms = Terms {
        duration: Some(Duration::from_mins(30)),
        not_before: later("2026-11-27T00:00:00.4Z"),
        not_after: later("2026-11-27T04:00:00Z"),
    };
    assert!(first().is_on(&ask, Terms::default()) && second().is_on(&ask, terms));
    for other in [
        Terms::default(),
        Terms { duration: None, ..terms },
        Terms { not_before: None, ..terms },
        Terms { not_before: later("2026-11-27T00:00:01Z"), ..terms },
        Terms { not_after: None, ..terms },
    ] {
        assert!(!second().is_on(&ask, other), "{other:?}");
    }
    let asked = Ask { not_before: later("2026-11-27T00:00:00Z"), ..ask };
    let (statement, now) = (first().statement, first().signed_at);
    let text =
        ApprovalText::of(first().request, &asked, Terms { not_before: None, ..terms }, "a", statement, now);
    assert_eq!(text.window_from, second().window_from, "what was asked is part of it");
}

/// Each change to one text, and the line at which it is no longer canonical.
#[test]
fn anything_else_is_not_canonical() {
    let good = first().to_string();
    let cases: &[(&str, &str, usize)] = &[
        ("hallpass-approval v1", "hallpass-approval v2", 1),
        ("hallpass-approval v1\n", "", 1),
        ("request: 01kb", "request: 01KB", 2),
        ("request: ", "request:", 2),
        ("request: ", " request: ", 2),
        ("digest: sha256:", "digest: SHA256:", 3),
        ("target: orders-ro\n", "target: orders-ro\ntarget: orders-ro\n", 5),
        ("target: orders-ro\n", "target: orders-ro\r\n", 4),
        ("target: orders-ro\n", "target: orders-ro \n", 4),
        ("target: orders-ro\n", "target: Orders\n", 4),
        ("requester: vault", "requester:  vault", 5),
        ("requester-name: alice", "requester-name: ", 6),
        ("requester-name: alice", "requester-name: al\u{202e}ice", 6),
        ("window-seconds: 5400", "window-seconds: 05400", 7),
        ("window-seconds: 5400", "window-seconds: +5400", 7),
        ("window-seconds: 5400", "window-seconds: -1", 7),
        ("window-seconds: 5400", "window-seconds: 99999999999999999999", 7),
        ("approver: vault", "window-from: today\napprover: vault", 8),
        ("approver: vault", "window-from: 2026-11-27T01:00:00+01:00\napprover: vault", 8),
        ("approver: vault", "window-until: \napprover: vault", 8),
        (
            "approver: vault",
            "window-until: 2026-11-27T01:00:00Z\nwindow-from: 2026-11-27T01:00:00Z\napprover: vault",
            9,
        ),
        ("approver: vault", "note: x\napprover: vault", 8),
        ("time: 2026-11-26T09:00:00Z", "time: 2026-11-26T09:00:00.5Z", 9),
        ("time: 2026-11-26T09:00:00Z", "time: 2026-11-26T09:00:00+00:00", 9),
        ("time: 2026-11-26T09:00:00Z", "time: 2026-11-26 09:00:00Z", 9),
        ("statement-bytes: 28", "statement-bytes: 27", 12),
        ("statement-bytes: 28", "statement-bytes: 29", 12),
        ("statement-bytes: 28", "statement-bytes: 028", 10),
        ("statement-bytes: 28\n\n", "statement-bytes: 28\n", 11),
        ("for this\n", "for this", 12),
        ("for this\n", "for this\n\n", 12),
        ("for this\n", "for\u{1b}this\n", 12),
        ("read only", " read only", 12),
    ];
    for (from, to, line) in cases {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        assert_eq!(ApprovalText::parse(&bad), Err(NotCanonical { line: *line }), "{to}");
    }
    // As long as announced, and still nothing that anybody could have written.
    let blank = good
        .replace("statement-bytes: 28", "statement-bytes: 2")
        .replace("read only is enough for this", "\n\n");
    assert_eq!(ApprovalText::parse(&blank), Err(NotCanonical { line: 12 }));
    for cut in 0..good.len() {
        assert!(ApprovalText::parse(&good[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn the_longest_approval_fits() {
    let person = |letter: &str| Person { subject: letter.repeat(256), name: letter.repeat(256) };
    let text = ApprovalText {
        requester: person("r"),
        approver: "a".repeat(256),
        target: "t".repeat(63).parse().unwrap(),
        window: Duration::from_secs(u64::MAX),
        window_from: Some(at("9999-12-31T23:59:59Z")),
        window_until: Some(at("9999-12-31T23:59:59Z")),
        statement: Prose::new(&"x".repeat(PROSE_MAX_BYTES)).unwrap(),
        ..first()
    };
    assert_eq!(ApprovalText::parse(&text.to_string()), Ok(text.clone()));
    assert!(text.to_string().len() <= TEXT_MAX_BYTES);
    assert_eq!(TEXT_MAX_BYTES, 10_240, "the documentation, the wire and the database say so, too");
}
