//! What decisions are bound to: everything that is asked, and nothing else.

use hallpass::access::{
    id::RequestId,
    request::Ask,
    text::{IdempotencyKey, Prose, Ticket},
};

use super::{MILLI, REASON, SECOND, SHORTER, ask, at, person};

/// The ask with one field changed, for each field. No `..`: a new field has to say whether decisions are bound to it.
fn changed() -> Vec<(&'static str, Ask)> {
    let Ask {
        target: _,
        credential_path: _,
        requester: _,
        groups: _,
        duration: _,
        not_before: _,
        reason: _,
        ticket: _,
        approvals_required: _,
        submitted_at,
        key: _,
    } = ask(2);
    let fields = [
        ("target", Ask { target: "orders-ro".parse().unwrap(), ..ask(2) }),
        ("credential_path", Ask { credential_path: "database/creds/orders-rw".to_owned(), ..ask(2) }),
        ("requester.subject", Ask { requester: person("sub-other", "dev"), ..ask(2) }),
        ("requester.name", Ask { requester: person("sub-dev", "other"), ..ask(2) }),
        ("requester, shifted", Ask { requester: person("sub-devd", "ev"), ..ask(2) }),
        ("duration", Ask { duration: SHORTER, ..ask(2) }),
        ("not_before", Ask { not_before: Some(at(0)), ..ask(2) }),
        ("not_before, later", Ask { not_before: Some(at(0) + MILLI), ..ask(2) }),
        ("reason", Ask { reason: Prose::new(&format!("{REASON}!")).unwrap().into(), ..ask(2) }),
        ("ticket", Ask { ticket: Ticket::new("OPS-8").unwrap(), ..ask(2) }),
        ("no ticket", Ask { ticket: None, ..ask(2) }),
        ("approvals_required", ask(1)),
        ("submitted_at", Ask { submitted_at: submitted_at + MILLI, ..ask(2) }),
        ("submitted_at", Ask { submitted_at: submitted_at + SECOND, ..ask(2) }),
    ];
    fields.into()
}

#[test]
fn the_digest_changes_with_every_part_of_the_ask() {
    let id = RequestId::new(at(0), 1);
    let mut digests = vec![ask(2).digest(id).to_string()];
    for (field, ask) in changed() {
        let digest = ask.digest(id).to_string();
        assert!(!digests.contains(&digest), "{field}");
        digests.push(digest);
    }
    assert_ne!(ask(2).digest(id), ask(2).digest(RequestId::new(at(0), 2)), "the id");
}

#[test]
fn the_digest_does_not_depend_on_the_idempotency_key() {
    let id = RequestId::new(at(0), 1);
    let other = Ask { groups: super::groups(&["other"]), ..ask(2) };
    assert_eq!(other.digest(id), ask(2).digest(id), "who he was isn't what he asks");
    let keyed = Ask { key: IdempotencyKey::new("retry-7").unwrap(), ..ask(2) };
    assert_eq!(keyed.digest(id), ask(2).digest(id));
}

/// Auditors compute it themselves, so it may not change between versions. This one was computed without this code: SHA-256
/// over each part after its length in eight bytes, big-endian.
#[test]
fn the_digest_is_the_one_that_was_published() {
    let digest = ask(2).digest(RequestId::new(at(0), 1)).to_string();
    assert_eq!(digest, "sha256:0d1b0a0727a5c4d99c4859ce28938dca172f4c778004e24f61353d9570f3f815");
}
