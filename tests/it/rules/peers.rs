//! Defects that other products had, as far as the rules and the broker alone keep them out; the others need a server to be
//! seen. The numbers are those of `docs/defects.md`.

use chrono::{DateTime, TimeDelta, Utc};
use hallpass::access::{
    actor::{Actor, Caller, Person},
    approval::Approval,
    approval::Decision,
    event::Fact,
    grant::State as GrantState,
    policy::{Policy, Subject, Verb},
    refusal::Refusal,
    request::{Request, State},
    revocation::{Cause, Confirmation},
    target::{Target, Targets},
    text::Prose,
};
use hallpass::broker::Error;

use super::{
    CLAIM_WITHIN, DECIDE_WITHIN, MILLI, REASON, SECOND, SHORTER, STATEMENT, WINDOW, active, approved, at,
    claimed, decision, developer, groups, keyed, opened, person, races::world_with, submit, target,
    with_lease, with_token,
};

fn ann() -> Person {
    person("sub-ann", "ann")
}

fn approve(request: &Request, by: Person, now: DateTime<Utc>) -> Result<Option<Request>, Refusal> {
    let target = target(request.ask.approvals_required);
    let decision = decision(by, request.digest(), now);
    Ok(request.clone().approve(decision, Some(&target))?.map(hallpass::access::change::Change::into_after))
}

fn caller(person: Person, group: &str) -> Caller {
    Caller { person, groups: groups(&[group]) }
}

fn policy(target: Target) -> Policy {
    Policy { targets: Targets::from([(target.name.clone(), target)]), ..Policy::default() }
}

/// 8: a threshold of zero approved by nobody. A target can't have one (its type has no zero); a request that says so all
/// the same is nobody's to claim.
#[test]
fn defect_8_a_threshold_of_zero_is_not_approved_by_nobody() {
    assert!(std::num::NonZeroU32::new(0).is_none());
    let mut request = submit(0).into_after();
    assert!(request.clone().claim(at(1), Some(&target(1))).is_err(), "it waits for somebody");
    request.state = State::Approved { approved_at: at(0), lapses_at: at(0) + CLAIM_WITHIN };
    let refusal = request.claim(at(1), Some(&target(1))).unwrap_err();
    assert_eq!(refusal, Refusal::ApprovalInvalid, "even if the database says that it is approved");
}

/// 8: an empty list of approvers lets everybody approve. Here it means nobody.
#[test]
fn defect_8_an_empty_list_means_nobody() {
    let nobody = Target { approvers: groups(&[]).into(), requesters: groups(&[]).into(), ..target(1) };
    let (policy, name) = (policy(nobody), target(1).name);
    let bare = Caller { person: ann(), groups: groups(&[]) };
    for caller in [caller(ann(), "leads"), caller(ann(), ""), bare] {
        for verb in Verb::all() {
            let owner = developer();
            for subject in [Subject::Anything, Subject::Target(&name), Subject::Owned(&name, &owner)] {
                assert!(policy.allow(verb, &caller, subject).is_err(), "{verb:?} {caller:?}");
            }
        }
    }
}

/// I5. 9: approving one's own request by a second login, or by being in the approvers' group.
#[test]
fn defect_9_nobody_approves_his_own_request_by_any_login() {
    let request = submit(1).into_after();
    let (policy, owner) = (policy(target(1)), &request.ask.requester);
    for login in [developer(), person("sub-admin", "dev"), person("sub-admin", "DEV"), person("sub-dev", "x")]
    {
        assert_eq!(approve(&request, login.clone(), at(1)), Err(Refusal::SelfApproval), "{login:?}");
        let decision = decision(login.clone(), request.digest(), at(1));
        assert!(request.clone().deny(decision, Some(&target(1))).is_err(), "{login:?}");
        let lead = caller(login, "leads");
        for verb in [Verb::ApproveRequest, Verb::DenyRequest] {
            let subject = Subject::Owned(&request.ask.target, owner);
            assert_eq!(policy.allow(verb, &lead, subject), Err(Refusal::SelfApproval), "{lead:?}");
        }
    }
}

/// I5. 10: one person counted twice. Two approvals take two people, not two logins.
#[test]
fn defect_10_one_person_counts_once() {
    let request = approve(&submit(2).into_after(), ann(), at(1)).unwrap().unwrap();
    for login in [ann(), person("sub-ann", "Ann Other"), person("sub-ann-admin", "ANN")] {
        assert_eq!(approve(&request, login.clone(), at(2)), Ok(None), "{login:?}");
    }
    let both = approve(&request, person("sub-bob", "bob"), at(3)).unwrap().unwrap();
    assert!(matches!(both.state, State::Approved { .. }));
}

/// 10: approvals compared with `==`. With more than are needed, it is enough as well.
#[test]
fn defect_10_more_approvals_than_needed_are_enough() {
    let mut request = approved(3);
    request.ask.approvals_required = 2;
    let digest = request.digest();
    request.approvals = request
        .approvals
        .iter()
        .map(|given| Decision { digest, ..given.decision().clone() })
        .map(Approval::recorded)
        .collect();
    assert!(request.claim(at(2000), Some(&target(2))).is_ok());
}

/// 11: approving again moves the end.
#[test]
fn defect_11_approving_again_moves_no_deadline() {
    let once = approve(&submit(1).into_after(), ann(), at(1000)).unwrap().unwrap();
    assert_eq!(once.state.lapses_at(), Some(at(1000) + CLAIM_WITHIN));
    assert_eq!(approve(&once, ann(), at(500_000)), Ok(None), "the same person: nothing changes");
    let late = approve(&once, person("sub-bob", "bob"), at(500_000));
    assert_eq!(late, Err(Refusal::RequestState { state: "APPROVED", action: "approved" }));
    let first_of_two = approve(&submit(2).into_after(), ann(), at(1000)).unwrap().unwrap();
    assert_eq!(first_of_two.state.lapses_at(), Some(at(0) + DECIDE_WITHIN), "nor does the first of two");
}

/// 11: a running window never moves, not even by issuing again.
#[test]
fn defect_11_issuing_again_keeps_the_window() {
    let (request, _) = claimed(at(2000));
    let before = active(at(2000));
    let later = at(1_800_000);
    let warrant = request.claim_again(later, Some(&target(1)), &before, true).unwrap();
    let again = hallpass::access::grant::Grant::open(before.id, warrant, later).into_after();
    assert_eq!((again.window, again.opened_at), (before.window, later));
}

/// 13: the approvers' group is gone, and requests wait for ever. It is refused at once, and the answer says why.
#[tokio::test]
async fn defect_13_a_request_that_nobody_may_approve_is_refused_when_it_is_submitted() {
    let world = world_with(Target {
        requesters: groups(&["dev"]).into(),
        approvers: groups(&[]).into(),
        ..target(1)
    });
    let refused = world.submit().await.unwrap_err();
    assert!(
        matches!(&refused, Error::NoEligibleApprover { name } if name == "targets/orders"),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("name a group of approvers"), "{refused}");
}

/// 14: eligibility checked once. Who is no requester any more can't claim what was approved while he was.
#[test]
fn defect_14_who_lost_the_role_cannot_claim() {
    let (policy, owner, name) = (policy(target(1)), developer(), target(1).name);
    let subject = Subject::Owned(&name, &owner);
    assert_eq!(policy.allow(Verb::ClaimGrant, &caller(developer(), "dev"), subject), Ok(()));
    assert!(policy.allow(Verb::ClaimGrant, &caller(developer(), "sales"), subject).is_err());
    assert_eq!(policy.allow(Verb::ReleaseGrant, &caller(developer(), "sales"), subject), Ok(()));
}

/// 14, for the target: one that allows shorter windows by now gives no window of the old length.
#[test]
fn defect_14_a_target_that_became_stricter_counts_as_it_is() {
    let shorter = Target { window_max: SHORTER, ..target(1) };
    let request = submit(1).into_after();
    let decision = decision(ann(), request.digest(), at(1));
    assert_eq!(request.approve(decision, Some(&shorter)).unwrap_err(), Refusal::TargetChanged);
    assert_eq!(approved(1).claim(at(2000), Some(&shorter)).unwrap_err(), Refusal::TargetChanged);
    let (claimed, _) = claimed(at(2000));
    let again = claimed.claim_again(at(3000), Some(&shorter), &active(at(2000)), true);
    assert_eq!(again.unwrap_err(), Refusal::TargetChanged);
    assert_eq!(approved(1).claim(at(2000), Some(&target(2))).unwrap_err(), Refusal::ApprovalInvalid);
    let longer = Target { window_max: WINDOW * 2, ..target(1) };
    assert!(approved(1).claim(at(2000), Some(&longer)).is_ok());
}

/// 15: a reason dropped on one path. What people wrote is in the record and in the events, whatever became of it.
#[test]
fn defect_15_what_people_wrote_survives_every_path() {
    let submitted = submit(1);
    assert!(matches!(&submitted.event().fact, Fact::RequestSubmitted { reason, .. } if reason == REASON));
    let pending = submitted.into_after();
    let decide = |request: &Request| decision(ann(), request.digest(), at(1));
    let ends = [
        pending.clone().deny(decide(&pending), Some(&target(1))).unwrap().into_after(),
        pending.clone().withdraw(developer(), at(1)).unwrap().into_after(),
        pending.clone().lapse(at(0) + DECIDE_WITHIN).unwrap().into_after(),
        approved(1).withdraw(developer(), at(2000)).unwrap().into_after(),
        approved(1).lapse(at(1000) + CLAIM_WITHIN).unwrap().into_after(),
        claimed(at(2000)).0,
    ];
    for request in ends {
        assert_eq!(request.ask.reason.kept().unwrap().as_str(), REASON, "{}", request.state.name());
        for given in &request.approvals {
            assert_eq!(given.decision().statement.kept().unwrap().as_str(), STATEMENT);
        }
    }
    let why = Prose::new("the incident is over").unwrap();
    let begun = active(at(2000)).begin(Cause::RevokedByOperator, Actor::Person(ann()), Some(&why), at(3000));
    let begun = begun.unwrap();
    assert!(
        matches!(&begun.event().fact, Fact::RevocationBegun { reason: Some(reason), .. } if reason == why.as_str())
    );
}

/// 16: approving near or after the end. The deadline itself is too late, whoever approves, and whether or not the lapse
/// is recorded yet; that holds for one who approved before as well.
#[test]
fn defect_16_a_decision_at_the_deadline_is_too_late() {
    let first = approve(&submit(2).into_after(), ann(), at(1)).unwrap().unwrap();
    let lapses_at = first.state.lapses_at().unwrap();
    let too_late = Err(Refusal::RequestState { state: "LAPSED", action: "approved" });
    for late in [lapses_at, lapses_at + MILLI, lapses_at + SECOND] {
        for by in [ann(), person("sub-bob", "bob"), developer()] {
            assert_eq!(approve(&first, by.clone(), late), too_late, "{by:?} at {late}");
        }
        assert!(first.clone().withdraw(developer(), late).is_err());
        assert!(first.clone().lapse(late).is_some());
    }
    for early in [lapses_at - MILLI, lapses_at - SECOND] {
        assert!(approve(&first, person("sub-bob", "bob"), early).unwrap().is_some());
        assert_eq!(approve(&first, ann(), early), Ok(None));
        assert!(first.clone().lapse(early).is_none());
    }
    let recorded = first.clone().lapse(lapses_at).unwrap().into_after();
    assert_eq!(approve(&recorded, ann(), lapses_at), too_late, "recorded or not, the answer is the same");
}

/// 16: claiming near or after the end of the time to claim.
#[test]
fn defect_16_a_claim_at_the_deadline_is_too_late() {
    let request = approved(1);
    let lapses_at = request.state.lapses_at().unwrap();
    for (offset, allowed) in
        [(-SECOND, true), (-MILLI, true), (TimeDelta::zero(), false), (MILLI, false), (SECOND, false)]
    {
        let (change, grant) = match request.clone().claim(lapses_at + offset, Some(&target(1))) {
            Ok((change, warrant)) => (Some(change), Some(warrant)),
            Err(_) => (None, None),
        };
        assert_eq!((change.is_some(), grant.is_some()), (allowed, allowed), "{offset}");
    }
}

/// I2. 18: a renewal in the last second made a lease immortal. What is left is never more than the window, nothing is left at
/// its end, and nothing becomes ACTIVE or is issued again from then on.
#[test]
fn defect_18_nothing_is_left_at_the_end() {
    let (request, _) = claimed(at(2000));
    let grant = opened(at(2000)).into_after();
    let closes_at = grant.window.closes_at();
    let made = with_lease(with_token(grant, at(2001)).into_after(), at(2002)).into_after();
    for (offset, left) in [(-SECOND, 1000), (-MILLI, 1), (TimeDelta::zero(), 0), (MILLI, 0), (SECOND, 0)] {
        let now = closes_at + offset;
        assert_eq!(made.window.left(now).as_millis(), left, "{offset}");
        assert_eq!(made.clone().activate(now).is_ok(), left > 0, "{offset}");
        let again = request.claim_again(now, Some(&target(1)), &made, true);
        assert_eq!(again.is_ok(), left > 0, "{offset}");
    }
    assert_eq!(made.window.left(at(2000)), WINDOW);
}

/// 18, after the end: what is held then ends by the window, keeps that cause, and is over only with Vault's word.
#[test]
fn defect_18_the_end_of_the_window_ends_the_grant() {
    let grant = active(at(2000));
    let now = grant.window.closes_at();
    let ending = grant.begin(Cause::WindowClosed, Actor::Daemon, None, now).unwrap().into_after();
    assert!(ending.clone().begin(Cause::Released, Actor::Person(developer()), None, now).is_none());
    for wrong in [Confirmation::NoLeaseLeft, Confirmation::NothingIssued] {
        assert!(ending.clone().confirm(wrong, Some(keyed("lease")), now).is_err());
    }
    let over = ending.confirm(Confirmation::LeaseGone, Some(keyed("lease")), now).unwrap().into_after();
    assert!(matches!(over.state, GrantState::Revoked { cause: Cause::WindowClosed, .. }));
}
