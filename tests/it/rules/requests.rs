//! Requests, by generated sequences: a model of a dozen lines says what each action must come to, and after each action
//! the invariants are looked at one by one.

use chrono::{DateTime, Utc};
use hallpass::access::{
    actor::{Actor, Person},
    approval::{Approval, Digest},
    change::Change,
    event::{About, Event, Fact},
    grant::{Grant, Warrant},
    id::GrantId,
    refusal::Refusal,
    request::{Ask, Request, State},
    target::Target,
    text::Prose,
};
use proptest::{prelude::*, sample::select};

use super::{
    CLAIM_WITHIN, DECIDE_WITHIN, REASON, SHORTER, STATEMENT, ask, at, config, decision, person, submit,
    target,
};

/// Every login that acts, with the human being behind it. The daemon sees the subject and the name only.
const LOGINS: &[(&str, &str, char)] = &[
    ("sub-dev", "dev", 'd'),
    ("sub-dev-admin", "DEV", 'd'),
    ("sub-dev", "dev, renamed", 'd'),
    ("sub-ann", "ann", 'a'),
    ("sub-ann-admin", "Ann", 'a'),
    ("sub-bob", "bob", 'b'),
    ("sub-bob", "bob, renamed", 'b'),
    ("sub-cid", "cid", 'c'),
    ("sub-eve", "eve", 'e'),
];
const REQUESTER: char = 'd';

fn human(person: &Person) -> char {
    let known = LOGINS.iter().find(|(subject, name, _)| *subject == person.subject && *name == person.name);
    known.unwrap().2
}

/// What the configuration says of the target when something is tried.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Configured {
    Same,
    Stricter,
    Elsewhere,
    Renamed,
    Shorter,
    Gone,
}

impl Configured {
    fn target(self, threshold: u32) -> Option<Target> {
        let same = target(threshold);
        match self {
            Self::Same => Some(same),
            Self::Stricter => Some(target(threshold + 1)),
            Self::Elsewhere => Some(Target { credential_path: "database/creds/other".to_owned(), ..same }),
            Self::Renamed => Some(Target { name: "other".parse().unwrap(), ..same }),
            Self::Shorter => Some(Target { window_max: SHORTER, ..same }),
            Self::Gone => None,
        }
    }

    /// How many approvals are enough when this is configured, of a request that asked for the threshold.
    const fn required(self, threshold: usize) -> usize {
        match self {
            Self::Stricter => threshold + 1,
            _ => threshold,
        }
    }

    const fn fits(self) -> bool {
        matches!(self, Self::Same | Self::Stricter)
    }
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Approve {
        login: usize,
        stale: bool,
        configured: Configured,
    },
    Deny {
        login: usize,
        stale: bool,
        configured: Configured,
    },
    Withdraw,
    Lapse,
    Claim {
        configured: Configured,
    },
    Wait {
        millis: i64,
    },
    /// To the deadline, so much before or after it.
    WaitUntilDeadline {
        millis: i64,
    },
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let configured = || {
        prop_oneof![
            12 => Just(Configured::Same),
            1 => Just(Configured::Stricter),
            1 => select(vec![
                Configured::Elsewhere,
                Configured::Renamed,
                Configured::Shorter,
                Configured::Gone,
            ]),
        ]
    };
    let stale = || prop::bool::weighted(0.1);
    let login = || 0..LOGINS.len();
    let action = prop_oneof![
        10 => (login(), stale(), configured())
            .prop_map(|(login, stale, configured)| Action::Approve { login, stale, configured }),
        1 => (login(), stale(), configured())
            .prop_map(|(login, stale, configured)| Action::Deny { login, stale, configured }),
        1 => Just(Action::Withdraw),
        2 => Just(Action::Lapse),
        4 => configured().prop_map(|configured| Action::Claim { configured }),
        1 => (0..60_000_i64).prop_map(|millis| Action::Wait { millis }),
        1 => select(vec![-1000, -1, 0, 1, 1000]).prop_map(|millis| Action::WaitUntilDeadline { millis }),
    ];
    prop::collection::vec(action, 1..24)
}

/// What an action comes to.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Moved(&'static str),
    Nothing,
    Refused(&'static str),
}

/// The request as a person with a notepad would follow it.
#[derive(Debug)]
struct Model {
    state: &'static str,
    approvers: Vec<char>,
    threshold: usize,
    deadline: DateTime<Utc>,
}

impl Model {
    fn act(&mut self, action: Action, now: DateTime<Utc>) -> Outcome {
        let open = matches!(self.state, "PENDING" | "APPROVED");
        match action {
            Action::Lapse if open && now >= self.deadline => self.to("LAPSED"),
            Action::Lapse | Action::Wait { .. } | Action::WaitUntilDeadline { .. } => Outcome::Nothing,
            _ if !open || now >= self.deadline => Outcome::Refused("REQUEST_STATE"),
            Action::Withdraw => self.to("WITHDRAWN"),
            Action::Claim { configured } => self.claim(configured),
            Action::Approve { login, stale, .. } if !stale && self.approvers.contains(&LOGINS[login].2) => {
                Outcome::Nothing
            }
            Action::Approve { login, stale, configured } | Action::Deny { login, stale, configured } => {
                let who = LOGINS[login].2;
                if let Some(refused) = self.refusal(who, stale, configured) {
                    return Outcome::Refused(refused);
                }
                if matches!(action, Action::Deny { .. }) {
                    return self.to("DENIED");
                }
                self.approvers.push(who);
                if self.approvers.len() < configured.required(self.threshold) {
                    return self.to("PENDING");
                }
                self.deadline = now + CLAIM_WITHIN;
                self.to("APPROVED")
            }
        }
    }

    fn refusal(&self, who: char, stale: bool, configured: Configured) -> Option<&'static str> {
        [
            (self.state == "APPROVED", "REQUEST_STATE"),
            (who == REQUESTER, "SELF_APPROVAL"),
            (stale, "DIGEST_STALE"),
            (!configured.fits(), "TARGET_CHANGED"),
        ]
        .into_iter()
        .find_map(|(holds, refusal)| holds.then_some(refusal))
    }

    fn claim(&mut self, configured: Configured) -> Outcome {
        match configured {
            _ if self.state == "PENDING" => Outcome::Refused("REQUEST_STATE"),
            _ if !configured.fits() => Outcome::Refused("TARGET_CHANGED"),
            _ if self.approvers.len() < configured.required(self.threshold) => {
                Outcome::Refused("APPROVAL_INVALID")
            }
            _ => self.to("CLAIMED"),
        }
    }

    fn to(&mut self, state: &'static str) -> Outcome {
        self.state = state;
        Outcome::Moved(state)
    }
}

type Done = Result<Option<(Change<Request>, Option<Warrant>)>, Refusal>;

fn act(request: Request, action: Action, threshold: u32, now: DateTime<Utc>) -> Done {
    let decide = |login: usize, stale: bool| {
        let (subject, name, _) = LOGINS[login];
        let stale_digest = Digest::parse(&format!("sha256:{}", "0".repeat(64))).unwrap();
        decision(person(subject, name), if stale { stale_digest } else { request.digest() }, now)
    };
    let bare = |change: Change<Request>| (change, None);
    match action {
        Action::Wait { .. } | Action::WaitUntilDeadline { .. } => Ok(None),
        Action::Approve { login, stale, configured } => {
            let decision = decide(login, stale);
            Ok(request.approve(decision, configured.target(threshold).as_ref())?.map(bare))
        }
        Action::Deny { login, stale, configured } => {
            let decision = decide(login, stale);
            Ok(Some(bare(request.deny(decision, configured.target(threshold).as_ref())?)))
        }
        Action::Withdraw => {
            let by = request.ask.requester.clone();
            Ok(Some(bare(request.withdraw(by, now)?)))
        }
        Action::Lapse => Ok(request.lapse(now).map(bare)),
        Action::Claim { configured } => {
            let (change, warrant) = request.claim(now, configured.target(threshold).as_ref())?;
            Ok(Some((change, Some(warrant))))
        }
    }
}

fn outcome(done: &Done) -> Outcome {
    match done {
        Ok(None) => Outcome::Nothing,
        Ok(Some((change, _))) => Outcome::Moved(change.after().state.name()),
        Err(refusal) => Outcome::Refused(refusal.reason()),
    }
}

/// What must be true of every change, whatever led to it.
fn check_change(before: &Request, change: &Change<Request>, action: Action, now: DateTime<Utc>) {
    let (after, event) = (change.after(), change.event());
    assert_eq!(change.from(), Some(before.state.name()));
    assert_eq!(after.revision, before.revision + 1);
    assert_eq!((after.id, &after.ask), (before.id, &before.ask), "what was asked never changes");
    assert_eq!(after.ask.reason.kept().unwrap().as_str(), REASON, "the reason survives every path");
    assert!(before.state.lapses_at().is_some(), "what is over stays over");
    assert!(after.approvals.starts_with(&before.approvals), "approvals are only added");
    check_event(before, after, event, now);
    let approves = matches!(action, Action::Approve { .. });
    let final_one = approves && matches!(after.state, State::Approved { .. });
    if final_one {
        assert_eq!(after.state.lapses_at(), Some(now + CLAIM_WITHIN));
    } else if let Some(lapses_at) = after.state.lapses_at() {
        assert_eq!(Some(lapses_at), before.state.lapses_at(), "a deadline moves only when the state does");
    }
}

fn check_event(before: &Request, after: &Request, event: &Event, now: DateTime<Utc>) {
    let about = About { request: Some(before.id), grant: None, target: Some(before.ask.target.clone()) };
    assert_eq!((event.at, &event.about), (now, &about));
    let owner = Actor::Person(before.ask.requester.clone());
    match (&event.fact, &after.state) {
        (
            Fact::RequestApproved {
                statement,
                digest,
                approvals,
                approvals_required,
                groups,
                duration_seconds: None,
                not_before: None,
                not_after: None,
                signed_with: None,
                user_present: None,
                signed_text: None,
                signed_text_sha512: None,
                signature: None,
            },
            State::Pending { .. } | State::Approved { .. },
        ) => {
            let given = after.approvals.last().unwrap().decision();
            assert_eq!(after.approvals.len(), before.approvals.len() + 1);
            assert_eq!(
                (statement.as_str(), given.statement.kept().unwrap().as_str()),
                (STATEMENT, STATEMENT)
            );
            assert_eq!(groups, &["leads"]);
            assert_eq!(*digest, before.digest().to_string());
            assert_eq!(
                (*approvals, *approvals_required),
                (after.approvals.len(), before.ask.approvals_required)
            );
            assert_eq!(event.actor, Actor::Person(given.approver.clone()));
        }
        (Fact::RequestDenied { statement, digest }, State::Denied { denial }) => {
            assert_eq!((statement.as_str(), digest), (STATEMENT, &before.digest().to_string()));
            assert_eq!(denial.decision().statement.kept().unwrap().as_str(), STATEMENT);
            assert_ne!(human(&denial.decision().approver), REQUESTER);
            assert_eq!(event.actor, Actor::Person(denial.decision().approver.clone()));
        }
        (Fact::RequestWithdrawn {}, State::Withdrawn { withdrawn_at }) => {
            assert_eq!((*withdrawn_at, &event.actor), (now, &owner));
        }
        (Fact::RequestLapsed { while_in }, State::Lapsed { lapsed_at }) => {
            assert_eq!((*lapsed_at, *while_in, &event.actor), (now, before.state.name(), &Actor::Daemon));
        }
        (Fact::RequestClaimed {}, State::Claimed { claimed_at }) => {
            assert_eq!((*claimed_at, &event.actor), (now, &owner));
        }
        (fact, state) => panic!("{fact:?} doesn't lead to {state:?}"),
    }
}

/// I5: never the requester, distinct people, and enough of them.
fn check_approvals(request: &Request) {
    let mut people: Vec<char> = request.approvals.iter().map(|a| human(&a.decision().approver)).collect();
    assert!(!people.contains(&REQUESTER), "the requester approved: {people:?}");
    people.sort_unstable();
    people.dedup();
    assert_eq!(people.len(), request.approvals.len(), "one person counts twice");
    let required = request.ask.approvals_required as usize;
    match request.state {
        State::Approved { .. } | State::Claimed { .. } => {
            assert!(people.len() >= required, "too few approved");
        }
        // The target may have demanded one more than the request when the last of them came.
        State::Pending { .. } => assert!(people.len() <= required, "enough approved, and nothing came of it"),
        State::Denied { .. } | State::Withdrawn { .. } | State::Lapsed { .. } => {}
    }
}

/// The window begins with the claim, and has the length that was approved.
fn check_warrant(request: &Request, warrant: Warrant, now: DateTime<Utc>) {
    let change = Grant::open(GrantId::new(now, 9), warrant, now);
    let (grant, event) = (change.after(), change.event());
    assert_eq!((change.from(), grant.revision), (None, 1));
    assert_eq!((grant.window.opens_at(), grant.window.closes_at()), (now, now + request.ask.duration));
    assert_eq!((grant.request, &grant.holder), (request.id, &request.ask.requester));
    assert_eq!((&grant.target, &grant.credential_path), (&request.ask.target, &request.ask.credential_path));
    let about =
        About { request: Some(request.id), grant: Some(grant.id), target: Some(request.ask.target.clone()) };
    assert_eq!(event.about, about);
}

fn run(threshold: u32, actions: &[Action]) -> Vec<Outcome> {
    let first = submit(threshold);
    assert_eq!((first.from(), first.after().revision), (None, 1));
    let mut request = first.into_after();
    let mut model = Model {
        state: "PENDING",
        approvers: Vec::new(),
        threshold: threshold as usize,
        deadline: at(0) + DECIDE_WITHIN,
    };
    let (mut now, mut outcomes) = (at(0), Vec::new());
    for &action in actions {
        now = match action {
            Action::Wait { millis } => now + chrono::TimeDelta::milliseconds(millis),
            // Time doesn't run backwards here.
            Action::WaitUntilDeadline { millis } => {
                now.max(model.deadline + chrono::TimeDelta::milliseconds(millis))
            }
            _ => now,
        };
        let done = act(request.clone(), action, threshold, now);
        let expected = model.act(action, now);
        assert_eq!(outcome(&done), expected, "{action:?} at {now} in {request:?}");
        if let Ok(Some((change, warrant))) = done {
            check_change(&request, &change, action, now);
            request = change.into_after();
            if let Some(warrant) = warrant {
                check_warrant(&request, warrant, now);
            }
        }
        check_approvals(&request);
        outcomes.push(expected);
    }
    outcomes
}

proptest! {
    #![proptest_config(config(3000))]

    #[test]
    fn requests_move_only_as_the_rules_say(threshold in 1..=3_u32, actions in actions()) {
        run(threshold, &actions);
    }
}

/// A generator that never gets anywhere proves nothing.
#[test]
fn the_sequences_reach_every_outcome() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};

    let mut runner = TestRunner::new(config(1));
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..1500 {
        let (threshold, actions) = (1..=3_u32, actions()).new_tree(&mut runner).unwrap().current();
        for outcome in run(threshold, &actions) {
            *seen.entry(format!("{outcome:?}")).or_insert(0) += 1;
        }
    }
    for state in ["PENDING", "APPROVED", "DENIED", "WITHDRAWN", "LAPSED", "CLAIMED"] {
        assert!(seen.get(&format!("Moved({state:?})")).is_some_and(|n| *n > 20), "{state}: {seen:?}");
    }
    for reason in ["REQUEST_STATE", "SELF_APPROVAL", "DIGEST_STALE", "TARGET_CHANGED", "APPROVAL_INVALID"] {
        assert!(seen.get(&format!("Refused({reason:?})")).is_some_and(|n| *n > 5), "{reason}: {seen:?}");
    }
}

/// Approvals as a database that somebody edited might give them back: whatever is in there, a claim counts only distinct
/// people who approved this very request, and never the requester.
fn tampered() -> impl Strategy<Value = Vec<(usize, bool)>> {
    prop::collection::vec((0..LOGINS.len(), prop::bool::weighted(0.2)), 0..6)
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn a_claim_counts_only_approvals_that_hold(threshold in 1..=3_u32, given in tampered()) {
        let mut request = submit(threshold).into_after();
        let (now, right) = (at(5000), request.digest());
        let stale = Digest::parse(&format!("sha256:{}", "1".repeat(64))).unwrap();
        request.approvals = given.iter().map(|&(login, is_stale)| {
            let (subject, name, _) = LOGINS[login];
            let digest = if is_stale { stale } else { right };
            Approval::recorded(decision(person(subject, name), digest, now))
        }).collect();
        request.state = State::Approved { approved_at: now, lapses_at: now + CLAIM_WITHIN };
        let mut people: Vec<char> = given.iter()
            .filter(|(login, is_stale)| !is_stale && LOGINS[*login].2 != REQUESTER)
            .map(|(login, _)| LOGINS[*login].2)
            .collect();
        people.sort_unstable();
        people.dedup();
        let claim = request.claim(now, Some(&target(threshold)));
        prop_assert_eq!(claim.is_ok(), people.len() >= threshold as usize, "{:?}", claim);
    }
}

/// A second submission with the same key is the first one, if it asks the same: when it came, and by which of his logins
/// he came, doesn't count, and everything else does.
#[test]
fn a_submission_asks_the_same_whenever_it_comes() {
    let first = ask(1);
    let later = Ask { submitted_at: at(5000), requester: person("sub-dev-2", "dev"), ..first.clone() };
    assert!(later.asks_same_as(&first) && first.asks_same_as(&later));
    let different = [
        Ask { target: "payroll".parse().unwrap(), ..later.clone() },
        Ask { credential_path: "database/creds/other".to_owned(), ..later.clone() },
        Ask { duration: SHORTER, ..later.clone() },
        Ask { reason: Prose::new("something else").unwrap().into(), ..later.clone() },
        Ask { ticket: None, ..later.clone() },
        Ask { approvals_required: 2, ..later.clone() },
    ];
    for other in different {
        assert!(!other.asks_same_as(&first) && !first.asks_same_as(&other), "{other:?}");
    }
}

/// What somebody may not do is evidence; what can't be done now isn't.
#[test]
fn only_what_is_forbidden_is_told_of_as_an_attempt() {
    let cases = [
        (Refusal::SelfApproval, true),
        (Refusal::RoleMissing { verb: "approve" }, true),
        (Refusal::NotOwner { verb: "claim" }, true),
        (Refusal::RequestState { state: "DENIED", action: "claimed" }, false),
        (Refusal::DigestStale { current: submit(1).after().digest() }, false),
        (Refusal::TargetChanged, false),
        (Refusal::ApprovalInvalid, false),
        (Refusal::GrantHeld { grant: GrantId::new(at(0), 1) }, false),
        (Refusal::GrantEnded, false),
        (Refusal::WindowClosed, false),
    ];
    for (refusal, is_forbidden) in cases {
        assert_eq!(refusal.is_forbidden(), is_forbidden, "{refusal:?}");
    }
}
