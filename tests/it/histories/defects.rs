//! Defects that other products had, as scenes on the histories' stage. The numbers are those of `docs/defects.md`.

use std::time::Duration;

use chrono::TimeDelta;
use hallpass::{
    access::{
        grant::{Grant, State},
        id::{GrantId, RequestId},
        revocation::Cause,
    },
    vault::{
        Outcome,
        simulated::{Effect, Operation},
    },
};

use super::{
    cast::{LOGINS, Login},
    gates::{Point, Verdict},
    history::{History, Setting},
    jobs::{Chore, Verb},
    steps::{pass, set_target, take_due},
};

const HOUR: Duration = Duration::from_hours(1);
const ORDERS: &str = "database/creds/hp-orders";

/// A stage on which everything goes on by itself, for scenes that say when it doesn't.
fn stage() -> History {
    let history = History::new(0, &Setting::default());
    history.gates.open();
    history
}

fn login(subject: &str) -> Login {
    LOGINS.into_iter().find(|login| login.subject() == subject).unwrap()
}

fn ask(history: &mut History, subject: &str, verb: Verb) {
    history.ask(login(subject), verb);
    history.look().unwrap();
}

fn submitted(history: &mut History, duration: Duration) -> RequestId {
    ask(history, "sub-dan", Verb::Submit { target: "orders", duration, key: None });
    history.requests.last().unwrap().id
}

fn approve(history: &mut History, subject: &str, request: RequestId) {
    let request = history.request(request).unwrap();
    ask(history, subject, Verb::Approve { request, is_stale: false });
}

/// A grant that Dan holds.
fn held(history: &mut History, duration: Duration) -> GrantId {
    let request = submitted(history, duration);
    approve(history, "sub-bob", request);
    ask(history, "sub-dan", Verb::Claim { request, reissue: false });
    let (grant, _) = *history.grants.last().unwrap();
    assert!(matches!(state(history, grant), State::Active { .. }));
    grant
}

fn grant(history: &History, id: GrantId) -> Grant {
    history.all_grants().into_iter().find(|grant| grant.id == id).unwrap()
}

fn state(history: &History, id: GrantId) -> State {
    grant(history, id).state
}

fn has_lease(history: &History, id: GrantId) -> bool {
    history.vault.live_leases().iter().any(|lease| lease.grant == Some(id))
}

fn release(history: &mut History, grant: GrantId) {
    ask(history, "sub-dan", Verb::Release { grant, opened: false });
}

fn work(history: &mut History, chore: Chore) {
    history.work(chore);
    history.look().unwrap();
}

/// One try to end what is due.
fn try_to_end(history: &mut History) {
    take_due(history);
    for id in history.queue.clone() {
        work(history, Chore::Pursue(id));
    }
}

/// Ends what is due: a window that closed is looked at, because Vault is at it, and then ended.
fn end(history: &mut History) {
    try_to_end(history);
    try_to_end(history);
}

/// I3. 1: any error of a lease's revocation taken for "gone".
#[test]
fn defect_1_a_refused_revocation_is_not_the_end() {
    let mut history = stage();
    let id = held(&mut history, HOUR);
    set_target(&mut history, ORDERS, true);
    release(&mut history, id);
    for _ in 0..10 {
        try_to_end(&mut history);
        assert!(matches!(state(&history, id), State::Revoking(_)) && has_lease(&history, id));
        pass(&mut history, TimeDelta::minutes(1));
    }
    set_target(&mut history, ORDERS, false);
    try_to_end(&mut history);
    assert!(matches!(state(&history, id), State::Revoked { cause: Cause::Released, .. }));
    assert!(!has_lease(&history, id));
}

/// I3. 2: Vault's answer to the token's revocation taken for the end of the lease, which is only queued then.
#[test]
fn defect_2_a_queued_revocation_is_not_the_end() {
    let mut history = stage();
    let id = held(&mut history, HOUR);
    release(&mut history, id);
    history.vault.fail_next(Operation::RevokeLease, Outcome::Unknown, Effect::DidNot);
    try_to_end(&mut history);
    assert!(history.vault.live_tokens().is_empty(), "the token was revoked");
    assert!(matches!(state(&history, id), State::Revoking(_)) && has_lease(&history, id));
    try_to_end(&mut history);
    assert!(matches!(state(&history, id), State::Revoked { .. }) && !has_lease(&history, id));
}

/// I2. 3: the server gives up after some minutes, and nobody ends it any more.
#[test]
fn defect_3_what_vault_gave_up_on_ends_as_soon_as_the_target_is_back() {
    let mut history = stage();
    let id = held(&mut history, HOUR);
    set_target(&mut history, ORDERS, true);
    for _ in 0..100 {
        pass(&mut history, TimeDelta::minutes(1));
        work(&mut history, Chore::Arm);
        try_to_end(&mut history);
    }
    assert!(history.vault.live_leases().iter().all(|lease| lease.given_up), "Vault tried and gave up");
    set_target(&mut history, ORDERS, false);
    try_to_end(&mut history);
    let state = state(&history, id);
    assert!(matches!(state, State::Revoked { cause: Cause::WindowClosed, .. }), "{state:?}");
}

/// 5: the first grant's timer ends the second's access.
#[test]
fn defect_5_overlapping_grants_of_one_person_end_each_at_its_time() {
    let mut history = stage();
    let first = held(&mut history, HOUR);
    pass(&mut history, TimeDelta::minutes(30));
    let second = held(&mut history, HOUR);
    pass(&mut history, TimeDelta::minutes(30));
    work(&mut history, Chore::Arm);
    end(&mut history);
    assert!(matches!(state(&history, first), State::Revoked { .. }));
    assert!(matches!(state(&history, second), State::Active { .. }) && has_lease(&history, second));
    pass(&mut history, TimeDelta::minutes(30));
    work(&mut history, Chore::Arm);
    end(&mut history);
    assert!(matches!(state(&history, second), State::Revoked { cause: Cause::WindowClosed, .. }));
}

/// I5. 6: two approvers at once made two of everything. Whoever's commit comes first, the other's changes nothing.
#[test]
fn defect_6_of_two_decisions_at_once_one_counts() {
    for first in [0, 1] {
        let mut history = stage();
        let request = submitted(&mut history, HOUR);
        history.gates.shut();
        approve(&mut history, "sub-bob", request);
        approve(&mut history, "sub-cyd", request);
        let waiting = history.gates.waiting();
        assert!(waiting.iter().all(|(_, point)| matches!(point, Point::Commit(_))) && waiting.len() == 2);
        for place in [first, 1 - first] {
            history.gates.let_go(waiting[place].0, Verdict::Pass { hold: false });
            history.life.run();
            history.look().unwrap();
        }
        let request = history.request(request).unwrap();
        assert_eq!((request.state.name(), request.approvals.len()), ("APPROVED", 1));
        assert_eq!(history.gates.count(), 0, "the second was refused");
    }
}

/// I2. 7: timers lost at an upgrade. The next start finds every deadline, those that passed meanwhile included.
#[test]
fn defect_7_a_restart_with_open_grants_loses_no_deadline() {
    for away in [TimeDelta::zero(), TimeDelta::hours(3)] {
        let mut history = stage();
        let ids = [held(&mut history, HOUR), held(&mut history, HOUR), held(&mut history, HOUR / 2)];
        history.crash();
        pass(&mut history, away + TimeDelta::minutes(30));
        work(&mut history, Chore::Arm);
        end(&mut history);
        assert!(matches!(state(&history, ids[2]), State::Revoked { .. }), "after {away}");
        pass(&mut history, TimeDelta::minutes(30));
        work(&mut history, Chore::Rescan);
        end(&mut history);
        for id in ids {
            assert!(matches!(state(&history, id), State::Revoked { .. }), "after {away}");
        }
    }
}
