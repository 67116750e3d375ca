//! Grants, by generated sequences: whatever is tried in whatever order, a grant is over only with the proof that it needs,
//! keeps its handles exactly as long as they are needed, and never moves its window.

use chrono::{DateTime, TimeDelta, Utc};
use hallpass::access::{
    actor::{Actor, Person},
    change::Change,
    event::{About, Event, Fact},
    grant::{Ending, Grant, Issued, Leased, OutOfOrder, State},
    handle::{Accessor, LeaseId},
    id::RequestId,
    request::Request,
    revocation::{Cause, Confirmation, Step},
    text::Prose,
    window::Window,
};
use proptest::{prelude::*, sample::select};

use super::{
    LEASE, MILLI, REASON, SECOND, TOKEN, WINDOW, WRAPPING, active, at, claimed, config, developer, keyed,
    opened, target, token,
};

const CAUSES: [Cause; 8] = [
    Cause::WindowClosed,
    Cause::Released,
    Cause::RevokedByOperator,
    Cause::Frozen,
    Cause::TargetRemoved,
    Cause::EndedOutside,
    Cause::IssueFailed,
    Cause::Reissued,
];
const STEPS: [Step; 4] = [Step::Wrapping, Step::Token, Step::Lease, Step::Confirmation];
const CONFIRMATIONS: [Confirmation; 3] =
    [Confirmation::LeaseGone, Confirmation::NoLeaseLeft, Confirmation::NothingIssued];
const WRITTEN: &str = "the operator's reason";

#[derive(Clone, Debug)]
enum Action {
    Minted,
    Leased,
    Activate,
    Begin {
        cause: Cause,
        by_person: bool,
        written: bool,
    },
    Retry {
        step: Step,
        error: &'static str,
    },
    Confirm {
        confirmation: Confirmation,
        names_lease: bool,
    },
    Wait {
        millis: i64,
    },
    /// To the window's end, so much before or after it.
    WaitUntilClose {
        millis: i64,
    },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => Just(Action::Minted),
        3 => Just(Action::Leased),
        3 => Just(Action::Activate),
        2 => (select(CAUSES.to_vec()), any::<bool>(), any::<bool>())
            .prop_map(|(cause, by_person, written)| Action::Begin { cause, by_person, written }),
        2 => (select(STEPS.to_vec()), select(vec!["database down", "sealed"]))
            .prop_map(|(step, error)| Action::Retry { step, error }),
        4 => (select(CONFIRMATIONS.to_vec()), prop::bool::weighted(0.8))
            .prop_map(|(confirmation, names_lease)| Action::Confirm { confirmation, names_lease }),
        1 => (0..60_000_i64).prop_map(|millis| Action::Wait { millis }),
        1 => select(vec![-1000, -1, 0, 1, 1000]).prop_map(|millis| Action::WaitUntilClose { millis }),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Moved(&'static str),
    Nothing,
    OutOfOrder,
}

/// The grant as a person with a notepad would follow it.
#[derive(Debug)]
struct Model {
    state: &'static str,
    /// How much Vault has made: nothing, a token, a token and a lease.
    made: usize,
    was_active: bool,
    cause: Option<Cause>,
    last_try: Option<(Step, &'static str)>,
}

impl Model {
    fn act(&mut self, action: &Action, window_is_closed: bool) -> Outcome {
        let (issuing, revoking) = (self.state == "ISSUING", self.state == "REVOKING");
        match *action {
            Action::Minted if issuing && self.made == 0 => self.makes(1),
            Action::Leased if issuing && self.made == 1 => self.makes(2),
            Action::Activate if issuing && self.made == 2 && !window_is_closed => {
                self.was_active = true;
                self.to("ACTIVE")
            }
            Action::Begin { cause, .. } if issuing || self.state == "ACTIVE" => {
                self.cause = Some(cause);
                self.to("REVOKING")
            }
            Action::Retry { step, error } if revoking && self.last_try != Some((step, error)) => {
                self.last_try = Some((step, error));
                self.to("REVOKING")
            }
            Action::Confirm { confirmation, names_lease } if revoking => {
                let proof = [Confirmation::NothingIssued, Confirmation::NoLeaseLeft, Confirmation::LeaseGone]
                    [self.made];
                match (confirmation == proof, self.was_active, names_lease) {
                    (true, true, true) => self.to("REVOKED"),
                    (true, false, _) => self.to("FAILED"),
                    _ => Outcome::OutOfOrder,
                }
            }
            Action::Minted | Action::Leased | Action::Activate | Action::Confirm { .. } => {
                Outcome::OutOfOrder
            }
            // Ending twice is ending, and a try that got as far as the one before isn't worth a line.
            Action::Begin { .. }
            | Action::Retry { .. }
            | Action::Wait { .. }
            | Action::WaitUntilClose { .. } => Outcome::Nothing,
        }
    }

    fn makes(&mut self, made: usize) -> Outcome {
        self.made = made;
        self.to("ISSUING")
    }

    fn to(&mut self, state: &'static str) -> Outcome {
        self.state = state;
        Outcome::Moved(state)
    }

    /// What claiming again must come to, if only the grant before decides.
    fn claim_again(&self, reissue: bool, window_is_closed: bool) -> Result<(), &'static str> {
        match (self.state, self.cause) {
            ("ISSUING" | "ACTIVE", _) if !reissue => Err("GRANT_HELD"),
            ("ISSUING" | "ACTIVE", _) | (_, Some(Cause::IssueFailed | Cause::Reissued))
                if window_is_closed =>
            {
                Err("WINDOW_CLOSED")
            }
            ("ISSUING" | "ACTIVE", _) | (_, Some(Cause::IssueFailed | Cause::Reissued)) => Ok(()),
            (_, Some(Cause::WindowClosed)) => Err("WINDOW_CLOSED"),
            _ => Err("GRANT_ENDED"),
        }
    }
}

type Done = Result<Option<Change<Grant>>, OutOfOrder>;

fn operator() -> Actor {
    Actor::Person(Person { subject: "sub-op".to_owned(), name: "op".to_owned() })
}

fn act(grant: Grant, action: &Action, now: DateTime<Utc>) -> Done {
    match *action {
        Action::Wait { .. } | Action::WaitUntilClose { .. } => Ok(None),
        Action::Minted => grant.minted(token(), keyed("token"), now).map(Some),
        Action::Leased => {
            let digests = (keyed("lease"), keyed("wrapping"));
            grant.leased(LeaseId::new(LEASE), Accessor::new(WRAPPING), digests, now).map(Some)
        }
        Action::Activate => grant.activate(now).map(Some),
        Action::Begin { cause, by_person, written } => {
            let actor = if by_person { operator() } else { Actor::Daemon };
            let reason = written.then(|| Prose::new(WRITTEN).unwrap());
            Ok(grant.begin(cause, actor, reason.as_ref(), now))
        }
        Action::Retry { step, error } => Ok(grant.retry(step, error, now)),
        Action::Confirm { confirmation, names_lease } => {
            grant.confirm(confirmation, names_lease.then(|| keyed("lease")), now).map(Some)
        }
    }
}

/// The handles that a state holds. No wildcard: a new state has to say.
fn handles(state: &State) -> Vec<&str> {
    match state {
        State::Issuing { issued } | State::Revoking(Ending { issued, .. }) => match issued {
            Issued::Nothing => Vec::new(),
            Issued::Token(token) => vec![token.expose()],
            Issued::Lease(leased) => of_lease(leased),
        },
        State::Active { leased, .. } => of_lease(leased),
        State::Revoked { .. } | State::Failed { .. } => Vec::new(),
    }
}

fn of_lease(leased: &Leased) -> Vec<&str> {
    vec![leased.token.expose(), leased.wrapping.expose(), leased.lease.expose()]
}

fn check_change(before: &Grant, change: &Change<Grant>, action: &Action, now: DateTime<Utc>) {
    let (after, event) = (change.after(), change.event());
    assert_eq!(change.from(), Some(before.state.name()));
    assert_eq!(after.revision, before.revision + 1);
    assert_eq!((after.id, after.request), (before.id, before.request));
    assert_eq!(after.window, before.window, "a window never moves");
    assert_eq!((after.opened_at, &after.holder), (before.opened_at, &before.holder));
    assert_eq!((&after.target, &after.credential_path), (&before.target, &before.credential_path));
    let about =
        About { request: Some(before.request), grant: Some(before.id), target: Some(before.target.clone()) };
    assert_eq!((event.at, &event.about), (now, &about));
    check_fact(before, after, event, action, now);
}

fn check_fact(before: &Grant, after: &Grant, event: &Event, action: &Action, now: DateTime<Utc>) {
    if !matches!(action, Action::Begin { .. }) {
        assert_eq!(event.actor, Actor::Daemon);
    }
    match (&event.fact, &before.state, &after.state) {
        (Fact::GrantTokenMinted { .. }, _, State::Issuing { issued: Issued::Token(_) })
        | (Fact::GrantLeaseRecorded { .. }, _, State::Issuing { issued: Issued::Lease(_) }) => {}
        (Fact::GrantActivated {}, _, State::Active { activated_at, .. }) => {
            assert_eq!(*activated_at, now);
            assert!(now < after.window.closes_at(), "activated after the window");
        }
        (Fact::RevocationBegun { cause, reason }, _, State::Revoking(ending)) => {
            let Action::Begin { cause: asked, by_person, written } = *action else { panic!("{action:?}") };
            assert_eq!((*cause, ending.cause, ending.begun_at), (asked, asked, now));
            assert_eq!(reason.as_deref(), written.then_some(WRITTEN), "a reason survives");
            assert_eq!(event.actor, if by_person { operator() } else { Actor::Daemon });
        }
        (Fact::RevocationRetried { step, error }, State::Revoking(tried), State::Revoking(ending)) => {
            assert_eq!((ending.step, ending.error.as_ref()), (*step, Some(error)));
            assert_eq!((&ending.issued, ending.begun_at), (&tried.issued, tried.begun_at));
            assert_eq!((ending.cause, ending.activated_at), (tried.cause, tried.activated_at));
        }
        (Fact::GrantRevoked { cause, confirmation, .. }, State::Revoking(ending), State::Revoked { .. }) => {
            // I3, told by the event alone.
            assert_eq!((*cause, *confirmation), (ending.cause, Confirmation::LeaseGone.name()));
            assert!(ending.activated_at.is_some());
        }
        (Fact::GrantFailed { cause, .. }, State::Revoking(ending), State::Failed { .. }) => {
            assert_eq!((*cause, ending.activated_at), (ending.cause, None));
        }
        (fact, _, state) => panic!("{fact:?} doesn't lead to {state:?}"),
    }
}

/// What must be true of a grant at any time.
fn check_state(grant: &Grant, model: &Model) {
    let cause = match &grant.state {
        State::Issuing { .. } | State::Active { .. } => None,
        State::Revoking(Ending { cause, .. })
        | State::Revoked { cause, .. }
        | State::Failed { cause, .. } => Some(*cause),
    };
    assert_eq!((grant.state.name(), cause), (model.state, model.cause), "the cause never changes");
    let over = matches!(grant.state, State::Revoked { .. } | State::Failed { .. });
    let made: [&[&str]; 3] = [&[], &[TOKEN], &[TOKEN, WRAPPING, LEASE]];
    let needed = if over { made[0] } else { made[model.made] };
    assert_eq!(handles(&grant.state), needed, "handles stay as long as they are needed, and no longer");
    let shown = format!("{grant:?}");
    assert!([TOKEN, WRAPPING, LEASE].iter().all(|handle| !shown.contains(handle)), "{shown}");
    match grant.state {
        State::Revoked { .. } => assert!(model.was_active && model.made == 2),
        State::Failed { .. } => assert!(!model.was_active),
        _ => {}
    }
}

/// Claiming again gives the same window and never more, and only if the grant before allows it.
fn check_claim_again(request: &Request, grant: &Grant, model: &Model, now: DateTime<Utc>) {
    let closed = now >= grant.window.closes_at();
    for reissue in [false, true] {
        let again = request.claim_again(now, Some(&target(1)), grant, reissue);
        let reached = again.as_ref().map(|_| ()).map_err(hallpass::access::refusal::Refusal::reason);
        assert_eq!(reached, model.claim_again(reissue, closed), "reissue {reissue}, {grant:?}");
        if let Ok(warrant) = again {
            let change = Grant::open(grant.id, warrant, now);
            assert_eq!((change.after().window, change.after().opened_at), (grant.window, now));
            assert!(matches!(change.event().fact, Fact::GrantOpened { reissue: true, .. }));
        }
        assert!(
            request.claim_again(now, Some(&target(2)), grant, reissue).is_err(),
            "too few approved for it"
        );
        assert!(request.claim_again(now, None, grant, reissue).is_err(), "the target is gone");
        let foreign = Grant { request: RequestId::new(at(9), 9), ..grant.clone() };
        assert!(request.claim_again(now, Some(&target(1)), &foreign, reissue).is_err(), "another's grant");
    }
}

fn run(actions: &[Action]) -> Vec<Outcome> {
    let mut now = at(2000);
    let (request, _) = claimed(now);
    let mut grant = opened(now).into_after();
    let mut model = Model { state: "ISSUING", made: 0, was_active: false, cause: None, last_try: None };
    let mut outcomes = Vec::new();
    for action in actions {
        now = match *action {
            Action::Wait { millis } => now + TimeDelta::milliseconds(millis),
            Action::WaitUntilClose { millis } => {
                now.max(grant.window.closes_at() + TimeDelta::milliseconds(millis))
            }
            _ => now,
        };
        let done = act(grant.clone(), action, now);
        let expected = model.act(action, now >= at(2000) + WINDOW);
        let outcome = match &done {
            Ok(None) => Outcome::Nothing,
            Ok(Some(change)) => Outcome::Moved(change.after().state.name()),
            Err(refused) => {
                assert_eq!(refused.state, grant.state.name());
                Outcome::OutOfOrder
            }
        };
        assert_eq!(outcome, expected, "{action:?} at {now} on {grant:?}");
        if let Ok(Some(change)) = done {
            check_change(&grant, &change, action, now);
            grant = change.into_after();
        }
        check_state(&grant, &model);
        check_claim_again(&request, &grant, &model, now);
        assert_eq!(request.ask.reason.kept().unwrap().as_str(), REASON);
        outcomes.push(outcome);
    }
    outcomes
}

proptest! {
    #![proptest_config(config(3000))]

    #[test]
    fn grants_move_only_as_the_rules_say(actions in prop::collection::vec(action(), 1..30)) {
        run(&actions);
    }

    /// Half-open, never negative, and never more than what is left.
    #[test]
    fn a_window_holds_its_beginning_and_not_its_end(seconds in 1..100_000_u64, offset in -5000..100_005_000_i64) {
        let window = Window::open(at(0), std::time::Duration::from_secs(seconds));
        let now = at(offset);
        prop_assert_eq!(window.is_closed(now), now >= window.closes_at());
        prop_assert_eq!(window.left(now).is_zero(), window.is_closed(now));
        prop_assert!(window.is_closed(now) || now + window.left(now) == window.closes_at());
        prop_assert_eq!(Window::recorded(window.opens_at(), window.closes_at()), Some(window));
    }
}

/// A generator that never gets anywhere proves nothing.
#[test]
fn the_sequences_reach_every_state() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};

    let mut runner = TestRunner::new(config(1));
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..1500 {
        for outcome in run(&prop::collection::vec(action(), 1..30).new_tree(&mut runner).unwrap().current()) {
            *seen.entry(format!("{outcome:?}")).or_insert(0) += 1;
        }
    }
    for state in ["ISSUING", "ACTIVE", "REVOKING", "REVOKED", "FAILED"] {
        assert!(seen.get(&format!("Moved({state:?})")).is_some_and(|n| *n > 20), "{state}: {seen:?}");
    }
}

#[test]
fn activation_is_refused_from_the_windows_end_on() {
    for (offset, allowed) in
        [(-SECOND, true), (-MILLI, true), (TimeDelta::zero(), false), (MILLI, false), (SECOND, false)]
    {
        let opens_at = at(2000);
        let grant = super::with_token(opened(opens_at).into_after(), opens_at).into_after();
        let grant = super::with_lease(grant, opens_at).into_after();
        let activated = grant.clone().activate(grant.window.closes_at() + offset);
        assert_eq!(activated.is_ok(), allowed, "{offset}");
    }
}

/// The first alarm after as long as an ending may take, the next after as long again, then twice and four times as long;
/// from then on once a day. What is told of once isn't told of again before that.
#[test]
fn an_ending_that_takes_too_long_is_told_of_at_growing_intervals() {
    let longer_than = TimeDelta::minutes(1);
    let begun_at = at(3000);
    let begun = active(at(2000)).begin(Cause::Released, Actor::Person(developer()), None, begun_at);
    let mut ending = begun.unwrap().into_after();
    ending = ending.retry(Step::Lease, "database down", begun_at).unwrap().into_after();
    let day = 24 * 60;
    let due = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 2048 + day, 2048 + 2 * day];
    for (number, minutes) in due.into_iter().enumerate() {
        let due_at = begun_at + TimeDelta::minutes(minutes);
        assert!(ending.clone().alarm(longer_than, due_at - MILLI).is_none(), "not before {minutes} min");
        let alarm = ending.clone().alarm(longer_than, due_at).expect("it is due");
        let so_far = u32::try_from(number).unwrap() + 1;
        let Fact::RevocationOverdue { begun_at: since, step, error, alarms } = &alarm.event().fact else {
            panic!("{alarm:?}")
        };
        assert_eq!(
            (*since, *step, error.as_deref(), *alarms),
            (begun_at, Step::Lease, Some("database down"), so_far)
        );
        ending = alarm.into_after();
        let State::Revoking(Ending { alarms, .. }) = &ending.state else { panic!("{ending:?}") };
        assert_eq!(*alarms, so_far);
    }
    // A limit of more than a day is its own pause.
    let long = TimeDelta::days(3);
    let State::Revoking(once) = &ending.state else { panic!("{ending:?}") };
    let once = Ending { alarms: 2, ..once.clone() };
    assert_eq!(once.alarm_at(long), begun_at + long * 3);
}

#[test]
fn what_is_not_ending_raises_no_alarm() {
    let (held, late) = (active(at(2000)), at(2000) + TimeDelta::days(30));
    assert!(held.clone().alarm(TimeDelta::seconds(1), late).is_none());
    let ending = held.begin(Cause::Released, Actor::Daemon, None, late).unwrap().into_after();
    let over = ending.confirm(Confirmation::LeaseGone, Some(keyed("lease")), late).unwrap().into_after();
    assert!(over.alarm(TimeDelta::seconds(1), late + TimeDelta::days(30)).is_none());
}
