//! Signed approvals, as the rules see them: the arithmetic is done, and what was signed has to be this very decision.

use chrono::{DateTime, TimeDelta, Utc};
use hallpass::access::{
    actor::Person,
    approval::{Approval, Decision},
    approval_text::ApprovalText,
    event::Fact,
    refusal::Refusal,
    request::{Ask, Request},
    signing::{Problem, Signed, Signing},
    target::Target,
    terms::Terms,
    text::Prose,
    writing::Writing,
};

use super::{SECOND, STATEMENT, ask, at, decision, person, submit, target};

fn demanding(signing: Signing, approvals_required: u32) -> Target {
    Target { writing: Writing { signing, ..Writing::default() }, ..target(approvals_required) }
}

fn lead(number: u32) -> Person {
    person(&format!("sub-lead-{number}"), &format!("lead {number}"))
}

/// A decision that is signed when it is made, as it has to be.
fn signed(request: &Request, by: Person, now: DateTime<Utc>, present: bool) -> Decision {
    let statement = Prose::new(STATEMENT).unwrap();
    let text = ApprovalText::of(request.id, &request.ask, Terms::default(), &by.subject, statement, now);
    with_text(request, by, now, text, present)
}

fn with_text(
    request: &Request,
    by: Person,
    now: DateTime<Utc>,
    text: ApprovalText,
    present: bool,
) -> Decision {
    let signed = Signed { text: text.into(), signature: "armor".into(), key: "SHA256:key".into(), present };
    Decision { signed: Some(Box::new(signed)), ..decision(by, request.digest(), now) }
}

fn problem(refused: Refusal) -> Problem {
    assert!(refused.is_forbidden(), "it is on record who tries");
    match refused {
        Refusal::SignatureInvalid { problem } => problem,
        other => panic!("{other:?}"),
    }
}

/// What each demand takes, when the approval comes and when it is claimed.
#[test]
fn a_target_gets_what_it_demands() {
    let now = at(1000);
    let request = submit(1).into_after();
    let unsigned = decision(lead(0), request.digest(), now);
    let decisions = [unsigned, signed(&request, lead(0), now, false), signed(&request, lead(0), now, true)];
    for (signing, taken) in [
        (Signing::Optional, [true, true, true]),
        (Signing::Required, [false, true, true]),
        (Signing::Present, [false, false, true]),
    ] {
        let target = demanding(signing, 1);
        for (decision, taken) in decisions.iter().zip(taken) {
            assert_eq!(signing.is_met_by(decision), taken);
            let made = request.clone().approve(decision.clone(), Some(&target));
            assert_eq!(made.is_ok(), taken, "{signing:?} {decision:?}");
            // Approved when nothing was demanded, and claimed now.
            let before = request.clone().approve(decision.clone(), Some(&demanding(Signing::Optional, 1)));
            let claim = before.unwrap().unwrap().into_after().claim(now, Some(&target));
            assert_eq!(claim.is_ok(), taken, "{signing:?} {decision:?}");
            assert!(taken || claim.unwrap_err() == Refusal::ApprovalInvalid);
        }
    }
    let refused = |signing| {
        let unsigned = decision(lead(0), request.digest(), now);
        request.clone().approve(unsigned, Some(&demanding(signing, 1))).unwrap_err()
    };
    assert_eq!(refused(Signing::Required), Refusal::SignatureRequired { present: false });
    assert_eq!(refused(Signing::Present), Refusal::SignatureRequired { present: true });
    let untouched = signed(&request, lead(0), now, false);
    let refusal = request.clone().approve(untouched, Some(&demanding(Signing::Present, 1))).unwrap_err();
    assert_eq!(problem(refusal), Problem::NotPresent);
}

#[test]
fn the_event_says_with_which_key() {
    let request = submit(1).into_after();
    for present in [false, true] {
        let made = request.clone().approve(signed(&request, lead(0), at(1000), present), Some(&target(1)));
        let change = made.unwrap().unwrap();
        match &change.event().fact {
            Fact::RequestApproved { signed_with, user_present, .. } => {
                assert_eq!((signed_with.as_deref(), *user_present), (Some("SHA256:key"), Some(present)));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Whatever the target demands, what is signed is this decision or the approval is refused.
#[test]
fn what_is_signed_is_the_decision() {
    let (request, now) = (submit(1).into_after(), at(1000));
    let good = ApprovalText::of(
        request.id,
        &request.ask,
        Terms::default(),
        "sub-lead-0",
        Prose::new(STATEMENT).unwrap(),
        now,
    );
    let longer = Ask { duration: request.ask.duration + SECOND.to_std().unwrap(), ..ask(1) };
    let cases = [
        (
            ApprovalText::of(
                request.id,
                &longer,
                Terms::default(),
                "sub-lead-0",
                good.statement.clone(),
                now,
            ),
            Problem::OtherRequest,
        ),
        (ApprovalText { window_from: Some(at(0)), ..good.clone() }, Problem::OtherTerms),
        (ApprovalText { window_until: Some(at(0)), ..good.clone() }, Problem::OtherTerms),
        (ApprovalText { window: good.window * 2, ..good.clone() }, Problem::OtherTerms),
        (ApprovalText { window: good.window / 2, ..good.clone() }, Problem::OtherTerms),
        (ApprovalText { approver: "sub-lead-1".into(), ..good.clone() }, Problem::OtherApprover),
        (ApprovalText { approver: "lead 0".into(), ..good.clone() }, Problem::OtherApprover),
        (
            ApprovalText { statement: Prose::new("anything").unwrap(), ..good.clone() },
            Problem::OtherStatement,
        ),
    ];
    for signing in [Signing::Optional, Signing::Required, Signing::Present] {
        for (text, expected) in &cases {
            let decision = with_text(&request, lead(0), now, text.clone(), true);
            let refusal =
                request.clone().approve(decision.clone(), Some(&demanding(signing, 1))).unwrap_err();
            assert_eq!(problem(refusal), *expected);
            // And if a record says so, nothing is opened on its word.
            let approved = request.clone().approve(signed(&request, lead(0), now, true), Some(&target(1)));
            let recorded = Request {
                approvals: vec![Approval::recorded(decision)],
                ..approved.unwrap().unwrap().into_after()
            };
            let claim = recorded.claim(now, Some(&demanding(signing, 1)));
            assert_eq!(claim.unwrap_err(), Refusal::ApprovalInvalid);
        }
    }
}

#[test]
fn what_is_signed_is_signed_now_and_after_the_request() {
    let now = at(10_000_000);
    let made = |offset: TimeDelta| {
        let submitted =
            Request { ask: Ask { submitted_at: now - SECOND, ..ask(1) }, ..submit(1).into_after() };
        let old = submit(1).into_after();
        let request = if offset < -SECOND { old } else { submitted };
        let statement = Prose::new(STATEMENT).unwrap();
        let text = ApprovalText::of(
            request.id,
            &request.ask,
            Terms::default(),
            "sub-lead-0",
            statement,
            now + offset,
        );
        let decision = with_text(&request, lead(0), now, text, true);
        request.approve(decision, Some(&demanding(Signing::Required, 1))).map(drop)
    };
    let minutes = TimeDelta::minutes;
    for fine in [TimeDelta::zero(), minutes(5), minutes(-5), minutes(1), -SECOND] {
        assert_eq!(made(fine), Ok(()), "{fine}");
    }
    for off in [minutes(5) + SECOND, minutes(-5) - SECOND, minutes(600)] {
        assert_eq!(made(off).map_err(problem), Err(Problem::OtherTime), "{off}");
    }
    let request = Request { ask: Ask { submitted_at: now, ..ask(1) }, ..submit(1).into_after() };
    let text = ApprovalText::of(
        request.id,
        &request.ask,
        Terms::default(),
        "sub-lead-0",
        Prose::new(STATEMENT).unwrap(),
        now - SECOND,
    );
    let refusal = request.clone().approve(with_text(&request, lead(0), now, text, true), Some(&target(1)));
    assert_eq!(problem(refusal.unwrap_err()), Problem::BeforeRequest);
}

/// Of several approvals each has to be signed, and nobody is asked to approve what could never be claimed.
#[test]
fn one_that_is_not_signed_spoils_them_all() {
    let now = at(1000);
    let request = submit(2).into_after();
    let first = decision(lead(0), request.digest(), now);
    let once = request.approve(first, Some(&target(2))).unwrap().unwrap().into_after();
    let second = signed(&once, lead(1), now, true);
    let refusal = once.clone().approve(second.clone(), Some(&demanding(Signing::Required, 2))).unwrap_err();
    assert_eq!(refusal, Refusal::ApprovalInvalid);
    let twice = once.approve(second, Some(&target(2))).unwrap().unwrap().into_after();
    let refusal = twice.clone().claim(now, Some(&demanding(Signing::Required, 2))).unwrap_err();
    assert_eq!(refusal, Refusal::ApprovalInvalid);
    assert!(twice.claim(now, Some(&target(2))).is_ok());
}

/// Before he signs, an approver learns all but that.
#[test]
fn an_approval_can_be_tried_without_a_signature() {
    let (request, now) = (submit(1).into_after(), at(1000));
    let target = demanding(Signing::Present, 1);
    let unsigned = decision(lead(0), request.digest(), now);
    let would_be = request.clone().approve_unsigned(unsigned.clone(), Some(&target)).unwrap().unwrap();
    assert_eq!((would_be.state.name(), would_be.approvals.len()), ("APPROVED", 1));
    let own = decision(request.ask.requester.clone(), request.digest(), now);
    assert_eq!(request.clone().approve_unsigned(own, Some(&target)), Err(Refusal::SelfApproval));
    let stale = Decision { digest: ask(2).digest(request.id), ..unsigned.clone() };
    assert!(matches!(
        request.clone().approve_unsigned(stale, Some(&target)),
        Err(Refusal::DigestStale { .. })
    ));
    assert_eq!(request.clone().approve_unsigned(unsigned.clone(), None), Err(Refusal::TargetChanged));
    let approved = request.clone().approve(signed(&request, lead(0), now, true), Some(&target));
    assert_eq!(
        approved.unwrap().unwrap().into_after().approve_unsigned(unsigned.clone(), Some(&target)),
        Ok(None)
    );

    // A denial takes no signature.
    assert!(request.deny(unsigned, Some(&target)).is_ok());
}
