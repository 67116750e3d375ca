//! Which texts go, and what is left when they are gone.

use super::{
    DECIDE_WITHIN, REASON, STATEMENT, active, approved, ask, at, claimed, decision, developer, keyed, opened,
    person, recorded, submit, target,
};
use chrono::{DateTime, Utc};
use hallpass::access::{
    actor::Actor,
    approval::{Approval, Decision, Digest},
    approval_text::ApprovalText,
    change::Change,
    event::{Event, Fact, digest_of},
    grant::Grant,
    kept::{Erased, Reason},
    refusal::Refusal,
    request::{Ask, Request, State},
    retention::{Erasure, Past, TEXTS_FOR_MIN},
    revocation::{Cause, Confirmation},
    signing::Signed,
    terms::Terms,
    text::Prose,
};

const HOUR: i64 = 3_600_000;

fn past(request: Request, grants: Vec<Grant>, events: &[&Event]) -> Past {
    Past { request, grants, timeline: recorded(events) }
}

fn erase(past: Past, until: DateTime<Utc>) -> Option<Erasure> {
    Erasure::of(vec![past], Vec::new(), until, until)
}

/// A request that was withdrawn at this time, with its events.
fn withdrawn(millis: i64) -> (Change<Request>, Change<Request>) {
    let submitted = submit(1);
    let withdrawn = submitted.after().clone().withdraw(developer(), at(millis)).unwrap();
    (submitted, withdrawn)
}

#[test]
fn what_is_over_by_then_is_erased_to_the_millisecond() {
    let (submitted, withdrawn) = withdrawn(7);
    let past = || past(withdrawn.after().clone(), Vec::new(), &[submitted.event(), withdrawn.event()]);
    assert!(erase(past(), at(7)).is_none());
    let erasure = erase(past(), at(8)).unwrap();
    let [erased] = erasure.requests() else { panic!("{erasure:?}") };
    assert_eq!((erased.revision, erased.state.name()), (withdrawn.after().revision + 1, "WITHDRAWN"));
    assert_eq!(erasure.sequences(), [1], "a withdrawal has no text");
    let id = erased.id.to_string();
    let expected = Fact::TextsErased { until: at(8), requests: vec![id], freezes: Vec::new(), texts: 1 };
    assert_eq!(erasure.event().fact, expected);
    let again = Past { request: erased.clone(), ..past() };
    assert!(erase(again, at(8)).is_none(), "it was erased once");
}

#[test]
fn what_is_open_is_never_erased() {
    let late = at(1000 * 365 * 24 * HOUR);
    let (submitted, two) = (submit(1), approved(2));
    for request in [submitted.after().clone(), two] {
        assert!(erase(past(request, Vec::new(), &[submitted.event()]), late).is_none());
    }
    let request = claimed(at(0)).0;
    let revoking = active(at(0)).begin(Cause::Released, Actor::Daemon, None, at(1));
    for grant in [opened(at(0)).into_after(), active(at(0)), revoking.unwrap().into_after()] {
        assert!(erase(past(request.clone(), vec![grant], &[submitted.event()]), late).is_none());
    }
    assert!(erase(past(request, Vec::new(), &[]), late).is_none(), "nothing is known of when it was over");
}

/// A window that isn't over could be claimed for again.
#[test]
fn a_grant_is_over_with_its_window_and_its_end() {
    let request = claimed(at(0)).0;
    let submitted = submit(1);
    let begun = active(at(0)).begin(Cause::Released, Actor::Daemon, None, at(1)).unwrap();
    let over =
        begun.into_after().confirm(Confirmation::LeaseGone, Some(keyed("lease")), at(2 * HOUR)).unwrap();
    let over = || past(request.clone(), vec![over.after().clone()], &[submitted.event()]);
    assert!(erase(over(), at(2 * HOUR)).is_none(), "its end is not confirmed before");
    assert!(erase(over(), at(2 * HOUR + 1)).is_some());
    let begun = active(at(0)).begin(Cause::Released, Actor::Daemon, None, at(1)).unwrap();
    let early = begun.into_after().confirm(Confirmation::LeaseGone, Some(keyed("lease")), at(2)).unwrap();
    let early = || past(request.clone(), vec![early.after().clone()], &[submitted.event()]);
    assert!(erase(early(), at(HOUR) - super::SECOND).is_none(), "the window is still open");
    assert!(erase(early(), at(HOUR)).is_some());
}

fn signed(request: &Request) -> Request {
    let by = person("sub-lead-0", "lead 0");
    let statement = Prose::new(STATEMENT).unwrap();
    let text = ApprovalText::of(request.id, &request.ask, Terms::default(), &by.subject, statement, at(1000));
    let signed =
        Signed { text: text.into(), signature: "armor".into(), key: "SHA256:key".into(), present: true };
    let decision = Decision { signed: Some(Box::new(signed)), ..decision(by, request.digest(), at(1000)) };
    request.clone().approve(decision, Some(&target(1))).unwrap().unwrap().into_after()
}

#[test]
fn all_but_the_words_is_left() {
    let submitted = submit(1);
    let before = signed(submitted.after());
    let text = before.approvals[0].decision().signed.as_ref().unwrap().text.kept().unwrap().to_string();
    let lapsed = before.clone().lapse(before.state.lapses_at().unwrap()).unwrap();
    let until = lapsed.event().at + TEXTS_FOR_MIN;
    let erasure = erase(past(lapsed.after().clone(), Vec::new(), &[submitted.event()]), until).unwrap();
    let erased = &erasure.requests()[0];
    let left = |words: &str| Erased { digest: Digest::of_text(words), erased_at: until };
    assert_eq!(erased.ask.reason, Reason::Erased { text: left(REASON), request: before.digest() });
    assert_eq!(erased.ask.reason.erased().unwrap().digest.to_string(), digest_of(REASON));
    assert_eq!(erased.digest(), before.digest(), "what decisions are bound to doesn't change");
    let decision = erased.approvals[0].decision();
    let signed = decision.signed.as_ref().unwrap();
    assert_eq!(
        (decision.statement.erased(), signed.text.erased()),
        (Some(left(STATEMENT)), Some(left(&text)))
    );
    assert_eq!(
        (signed.signature.as_str(), signed.key.as_str(), signed.present),
        ("armor", "SHA256:key", true)
    );
    assert!(!signed.is_of(decision, erased.id, &erased.ask), "what is gone proves nothing here any more");
    let whole = format!("{erasure:?}");
    assert!(!whole.contains(REASON) && !whole.contains(STATEMENT), "{whole}");
    assert_eq!(
        (&erased.ask.ticket, &erased.ask.requester, &erased.state),
        (&before.ask.ticket, &before.ask.requester, &lapsed.after().state)
    );
}

#[test]
fn a_denial_keeps_who_and_when() {
    let submitted = submit(1);
    let written = decision(person("sub-ann", "ann"), submitted.after().digest(), at(5));
    let denied = submitted.after().clone().deny(written, Some(&target(1))).unwrap();
    let events = [submitted.event(), denied.event()];
    let erasure = erase(past(denied.after().clone(), Vec::new(), &events), at(6)).unwrap();
    assert_eq!(erasure.sequences(), [1, 2]);
    let State::Denied { denial } = &erasure.requests()[0].state else { panic!("{erasure:?}") };
    let left = denial.decision().statement.erased().unwrap();
    assert_eq!(left.digest.to_string(), digest_of(STATEMENT));
    assert_eq!((denial.decision().approver.name.as_str(), denial.decision().decided_at), ("ann", at(5)));
}

/// Whatever the clock says by then: nothing that is left could be checked.
#[test]
fn what_was_erased_is_not_claimed_again_and_its_key_stays_taken() {
    let (request, _) = claimed(at(0));
    let submitted = submit(1);
    let begun = opened(at(0)).into_after().begin(Cause::IssueFailed, Actor::Daemon, None, at(1));
    let failed =
        begun.unwrap().into_after().confirm(Confirmation::NothingIssued, None, at(2)).unwrap().into_after();
    assert!(request.claim_again(at(3), Some(&target(1)), &failed, false).is_ok());
    let past = past(request, vec![failed.clone()], &[submitted.event()]);
    let erasure = erase(past, at(2 * HOUR)).unwrap();
    let erased = &erasure.requests()[0];
    let refused = erased.claim_again(at(3), Some(&target(1)), &failed, false).unwrap_err();
    assert_eq!(refused, Refusal::RequestState { state: "CLAIMED", action: "claimed again" });
    assert!(erased.ask.asks_same_as(&ask(1)), "a retry is known by the digest");
    let other = Ask { reason: Prose::new("x").unwrap().into(), ..ask(1) };
    assert!(!erased.ask.asks_same_as(&other));
    assert!(erased.approvals.iter().map(Approval::decision).all(|given| given.statement.kept().is_none()));
    assert!(TEXTS_FOR_MIN > DECIDE_WITHIN);
}
