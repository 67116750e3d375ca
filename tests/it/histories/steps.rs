//! The steps of a history: what people do, what time does, what breaks, and what goes on.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use hallpass::{
    access::id::GrantId,
    clock::Clock,
    vault::{Outcome, simulated::Effect},
};

use super::{
    cast::{LOGINS, Login, TARGETS},
    gates::{Point, Verdict},
    history::History,
    jobs::{Chore, Verb},
    model,
};

/// What a step can be.
#[derive(Clone, Copy, Debug)]
enum Step {
    LetGo,
    Person,
    Daemon,
    Time,
    SetClock,
    Vault,
    Target,
    Store,
    Repair,
    Outsider,
    HangUp,
    Crash,
    Reload,
    Round,
}

/// How often each comes. When something waits at the gates, most steps are to let it go on.
const STEPS: &[(usize, Step)] = &[
    (300, Step::Person),
    (170, Step::Daemon),
    (130, Step::Time),
    (10, Step::SetClock),
    (10, Step::Vault),
    (16, Step::Target),
    (8, Step::Store),
    (70, Step::Repair),
    (40, Step::Outsider),
    (10, Step::HangUp),
    (20, Step::Crash),
    (12, Step::Reload),
    (20, Step::Round),
];

/// In how many of a hundred steps that find something waiting it goes on.
const GO_ON: usize = 72;
/// The longest that a call lasts: after that its caller has been told that it failed.
const PATIENCE: TimeDelta = TimeDelta::seconds(30);

/// Takes one.
pub fn take(history: &mut History) -> model::Verdict {
    let goes_on = history.gates.count() > 0 && history.chance.percent(GO_ON);
    let step = if goes_on { Step::LetGo } else { history.chance.weighed(STEPS) };
    match step {
        Step::LetGo => let_one_go(history),
        Step::Person => person(history),
        Step::Daemon => daemon(history),
        Step::Time => time(history),
        Step::SetClock => set_clock(history),
        Step::Vault => set_vault(history, true),
        Step::Target => {
            let path = TARGETS[history.chance.below(TARGETS.len())].1;
            set_target(history, path, true);
        }
        Step::Store => set_store(history, true),
        Step::Repair => repair(history),
        Step::Outsider => outsider(history),
        Step::HangUp => {
            // The daemon doesn't hang up on itself.
            let mut callers = history.life.callers();
            callers.retain(|number| !history.at_work.contains_key(number));
            if let Some(number) = history.chance.one_of(&callers).copied() {
                history.tell(|| format!("#{number} hangs up"));
                history.life.hang_up(number);
            }
        }
        Step::Crash => history.crash(),
        Step::Reload => history.reload(),
        Step::Round => return history.round_if_all_is_well(),
    }
    Ok(())
}

fn let_one_go(history: &mut History) {
    let waiting = history.gates.waiting();
    let Some((number, point)) = history.chance.one_of(&waiting).cloned() else { return };
    let verdict = judge(history, &point);
    go_on(history, number, &point, verdict);
}

/// Lets everything go on that waits, and all that waits after it, one by one.
pub fn let_all_go(history: &mut History) {
    while let Some((number, point)) = history.gates.waiting().into_iter().next() {
        go_on(history, number, &point, Verdict::Pass { hold: false });
    }
}

fn go_on(history: &mut History, number: u64, point: &Point, verdict: Verdict) {
    history.tell(|| format!("    {point:?}: {verdict:?}"));
    history.gates.let_go(number, verdict);
    history.life.run();
}

/// What becomes of what waits.
fn judge(history: &mut History, point: &Point) -> Verdict {
    let chance = &mut history.chance;
    let hold = chance.percent(20);
    match point {
        Point::Commit(_) if chance.percent(2) => Verdict::Refuse,
        Point::Committed(_) if chance.percent(10) => Verdict::Lose,
        Point::Call(..) if !history.vault_down && chance.percent(7) => fault(history),
        Point::Answer(..) if chance.percent(15) => Verdict::Lose,
        _ => Verdict::Pass { hold },
    }
}

fn fault(history: &mut History) -> Verdict {
    let (outcome, effect) = history.chance.weighed(&[
        (1, (Outcome::Refused, Effect::DidNot)),
        (1, (Outcome::Unknown, Effect::DidNot)),
        (1, (Outcome::Unknown, Effect::Happened)),
        (1, (Outcome::Unknown, Effect::Later)),
    ]);
    Verdict::Fail(outcome, effect)
}

fn person(history: &mut History) {
    if history.requests.len() < 2 || history.chance.percent(10) {
        return submit(history);
    }
    // What is recent is more likely to be talked about.
    let recent = history.requests.len().min(4);
    let place = history.requests.len() - 1 - history.chance.below(recent);
    let request = history.requests[place].clone();
    let state = history.request(request.id).map_or("PENDING", |request| request.state.name());
    // Mostly what can be done, and now and then anything.
    let verb = match state {
        "PENDING" if history.chance.percent(80) => 0,
        "APPROVED" if history.chance.percent(80) => 10,
        "CLAIMED" if history.chance.percent(80) => 10 + history.chance.below(10),
        _ => history.chance.below(20),
    };
    match verb {
        0..8 => {
            let login = somebody(history, |login| login.is_in("leads"));
            let is_stale = history.chance.percent(5);
            history.ask(login, Verb::Approve { request, is_stale });
        }
        8 => {
            let login = somebody(history, |login| login.is_in("leads"));
            history.ask(login, Verb::Deny { request });
        }
        9 => {
            let login = somebody(history, |login| login.subject() == request.ask.requester.subject);
            history.ask(login, Verb::Withdraw { request: request.id });
        }
        10..16 => {
            let login = somebody(history, |login| login.subject() == request.ask.requester.subject);
            let reissue = history.chance.percent(45);
            history.ask(login, Verb::Claim { request: request.id, reissue });
        }
        16..19 => release(history),
        _ => revoke(history),
    }
}

fn submit(history: &mut History) {
    let login = somebody(history, |login| login.is_in("dev"));
    let target = TARGETS[history.chance.below(TARGETS.len())].0;
    let seconds = history.chance.weighed(&[(1, 1), (1, 30), (2, 90), (3, 600), (4, 3600), (1, 7201)]);
    let key = history.chance.percent(30).then(|| format!("key-{}", history.chance.below(3)));
    history.ask(login, Verb::Submit { target, duration: Duration::from_secs(seconds), key });
}

fn some_grant(history: &mut History) -> Option<GrantId> {
    let recent = history.grants.len().min(4);
    let place = history.grants.len().checked_sub(1 + history.chance.below(recent.max(1)))?;
    history.grants.get(place).map(|(id, _)| *id)
}

fn release(history: &mut History) {
    let Some(grant) = some_grant(history) else { return };
    let request = history.grants.iter().find(|(id, _)| *id == grant).map(|(_, request)| *request);
    let request = history.requests.iter().find(|one| Some(one.id) == request);
    let subject = request.map(|request| request.ask.requester.subject.clone()).unwrap_or_default();
    let login = somebody(history, |login| login.subject() == subject);
    let opened = history.chance.percent(10);
    history.ask(login, Verb::Release { grant, opened });
}

fn revoke(history: &mut History) {
    let Some(grant) = some_grant(history) else { return };
    let login = somebody(history, |login| login.is_in("operators"));
    history.ask(login, Verb::Revoke { grant });
}

/// Somebody whose matter it is; or, now and then, anybody.
fn somebody(history: &mut History, is_fit: impl Fn(&Login) -> bool) -> Login {
    let fit: Vec<Login> = LOGINS.iter().copied().filter(is_fit).collect();
    if fit.is_empty() || history.chance.percent(12) {
        LOGINS[history.chance.below(LOGINS.len())]
    } else {
        fit[history.chance.below(fit.len())]
    }
}

/// One thing that the daemon does by itself. Which, and when, is the seed's choice; the order in which the sweeper itself
/// would do it is one of the possible ones.
pub fn daemon(history: &mut History) {
    take_due(history);
    let waiting: Vec<GrantId> = history.queue.iter().copied().collect();
    if !waiting.is_empty() && history.chance.percent(60) {
        let id = waiting[history.chance.below(waiting.len())];
        return history.work(Chore::Pursue(id));
    }
    let chore = history.chance.weighed(&[
        (4, Chore::Arm),
        (4, Chore::Rescan),
        (3, Chore::Record),
        (3, Chore::Lapse),
        (1, Chore::Alarm),
        (3, Chore::Sweep),
        (2, Chore::Reconcile),
    ]);
    history.work(chore);
}

/// Takes over what the daemon has found to end.
pub fn take_due(history: &mut History) {
    let (due, _) = history.life.broker.take_due(history.clock.now());
    let known = due.into_iter().map(|(id, ..)| id);
    history.queue.extend(known);
}

fn time(history: &mut History) {
    let to_deadline = history.chance.percent(20).then(|| deadline(history)).flatten();
    let by = to_deadline.unwrap_or_else(|| {
        let chance = &mut history.chance;
        let most =
            chance.weighed(&[(4, 2), (6, 2500), (6, 10_000), (4, 61_000), (2, 600_000), (1, 5_400_000)]);
        TimeDelta::milliseconds(1) + chance.up_to(TimeDelta::milliseconds(most))
    });
    pass(history, by);
}

/// How long it is to the next deadline: a millisecond less, that long, or a millisecond more.
fn deadline(history: &mut History) -> Option<TimeDelta> {
    let (plain, now) = (Arc::clone(&history.plain), history.clock.now());
    let next = history.life.block_on(plain.next_deadline(now)).unwrap()?;
    let off = i64::try_from(history.chance.below(3)).unwrap() - 1;
    Some((next - now + TimeDelta::milliseconds(off)).max(TimeDelta::milliseconds(1)))
}

/// Lets time pass. Nobody waits for an answer longer than he has patience.
pub fn pass(history: &mut History, by: TimeDelta) {
    if by > PATIENCE {
        for (number, point) in history.gates.waiting() {
            let verdict = match point {
                Point::Call(..) if !history.vault_down && history.chance.percent(50) => fault(history),
                Point::Answer(..) | Point::Committed(_) if history.chance.percent(50) => Verdict::Lose,
                Point::Commit(_) if history.chance.percent(30) => Verdict::Refuse,
                _ => Verdict::Pass { hold: false },
            };
            go_on(history, number, &point, verdict);
        }
    }
    history.tell(|| format!("{by} pass"));
    history.vault_clock.advance(by);
    history.clock.advance(by);
    history.life.run();
}

fn set_clock(history: &mut History) {
    if history.clock_error == 0 {
        return;
    }
    let by = TimeDelta::milliseconds(1) + history.chance.up_to(TimeDelta::milliseconds(history.clock_error));
    let ahead = history.clock.now() - history.vault_clock.now();
    // Back and forth, so that it never is further off than that.
    let by = if ahead > TimeDelta::zero() { -by } else { by };
    history.tell(|| format!("the daemon's clock is set by {by}"));
    history.clock.advance(by);
    history.life.run();
}

/// Brings one thing back that is down.
fn repair(history: &mut History) {
    if history.vault_down {
        set_vault(history, false);
    } else if history.store.is_down() {
        set_store(history, false);
    } else if let Some(path) = history.targets_down.first().copied() {
        set_target(history, path, false);
    }
}

pub fn set_vault(history: &mut History, down: bool) {
    history.tell(|| format!("Vault is down: {down}"));
    history.vault_down = down;
    if down && history.chance.percent(50) {
        history.vault.seal(true);
    } else {
        history.vault.down(down);
    }
}

pub fn set_target(history: &mut History, path: &'static str, down: bool) {
    history.tell(|| format!("{path} is down: {down}"));
    history.vault.target_down(path, down);
    if down {
        history.targets_down.insert(path)
    } else {
        history.targets_down.remove(path)
    };
}

pub fn set_store(history: &mut History, down: bool) {
    history.tell(|| format!("the store is down: {down}"));
    history.store.set_down(down);
}

/// What people do at Vault itself: the holder opens his credential, somebody else does, or revokes a lease there.
fn outsider(history: &mut History) {
    if history.chance.percent(70) {
        if history.delivered.is_empty() {
            return;
        }
        let place = history.chance.below(history.delivered.len());
        let delivered = history.delivered.remove(place);
        let opened = history.vault.unwrap(&delivered.wrapping_token).is_some();
        history.tell(|| format!("the credential of {} is opened: {opened}", delivered.grant));
        return;
    }
    if history.chance.percent(30) {
        let path = TARGETS[history.chance.below(TARGETS.len())].1;
        history.vault.foreign_lease(path);
        history.tell(|| format!("another program has a lease below {path}"));
        return;
    }
    let leases = history.vault.live_leases();
    if let Some(lease) = history.chance.one_of(&leases) {
        let gone = history.vault.revoke_outside(&lease.id);
        history.tell(|| format!("a lease of {:?} is revoked outside: {gone}", lease.grant));
        if gone && history.chance.percent(50) {
            history.work(Chore::Reconcile);
        }
    }
}
