//! A crash at every step of issuing and ending, before and after each step's effect: nothing outlives its window, nothing
//! unknown stays, and the holder can go on. Also outages, lost answers and races, with a clock to turn.

use std::sync::Arc;

use chrono::TimeDelta;
use hallpass::{
    access::{
        grant::{Issued, State},
        id::RequestId,
        revocation::Cause,
    },
    broker::{Claimed, Error, Tried},
    clock::Clock,
    store::Store,
    vault::{
        Outcome,
        simulated::{Effect, Operation},
    },
};

use crate::support::{
    servers::eventually,
    sim::{HOUR, Sim, TARGETS, alice, at_work, caller, path},
};

/// How many endings of one target are under way at once.
const PER_TARGET_MAX: usize = 8;
const EFFECTS: [Effect; 2] = [Effect::DidNot, Effect::Happened];

fn hour() -> TimeDelta {
    TimeDelta::from_std(HOUR).unwrap()
}

/// Begins something and waits until it hangs in a call, as a crash would leave it.
async fn begin<T: Send + 'static>(
    sim: &Sim,
    operation: Operation,
    task: impl Future<Output = T> + Send + 'static,
) {
    let before = sim.vault.calls().iter().filter(|call| call.operation == operation).count();
    tokio::spawn(task);
    eventually("the call hangs", async || {
        sim.vault.calls().iter().filter(|call| call.operation == operation).count() > before
    })
    .await;
}

async fn begin_claim(sim: &Sim, request: RequestId, operation: Operation) {
    let broker = Arc::clone(&sim.broker);
    begin(sim, operation, async move { broker.claim(&alice(), request, false).await }).await;
}

async fn failed(sim: &Sim, request: RequestId) {
    let [grant] = &sim.grants(request).await[..] else { panic!("one grant") };
    assert!(matches!(grant.state, State::Failed { cause: Cause::IssueFailed, .. }), "{:?}", grant.state);
}

/// I1: approval and intent are on record before Vault can make anything.
#[tokio::test]
async fn nothing_is_asked_of_vault_before_the_intent_is_recorded() {
    for (operation, kinds) in [
        (Operation::Mint, &["GrantOpened"][..]),
        (Operation::ReadWrapped, &["GrantOpened", "GrantTokenMinted"]),
        (Operation::Shorten, &["GrantOpened", "GrantTokenMinted", "GrantLeaseRecorded"]),
    ] {
        let sim = Sim::start().await;
        let request = sim.approved("orders-ro").await;
        sim.vault.stall_next(operation, Effect::DidNot);
        begin_claim(&sim, request, operation).await;
        let before = ["RequestSubmitted", "RequestApproved", "RequestClaimed"];
        assert_eq!(sim.kinds(request).await, [&before, kinds].concat(), "when {operation:?} is called");
    }
}

/// Defect 4: a crash between issue and record leaves an orphan.
#[tokio::test]
async fn defect_4_a_crash_while_issuing_leaves_nothing_and_the_holder_claims_again() {
    for operation in [Operation::Mint, Operation::ReadWrapped, Operation::Shorten] {
        for effect in EFFECTS {
            let mut sim = Sim::start().await;
            let request = sim.approved("orders-ro").await;
            sim.vault.stall_next(operation, effect);
            begin_claim(&sim, request, operation).await;
            sim.restart().await;
            sim.settle().await;
            assert_eq!(sim.leases(), [], "{operation:?} {effect:?}");
            failed(&sim, request).await;
            let opened = sim.grants(request).await[0].window;
            let claimed = sim.claim(request).await.unwrap();
            assert_eq!(claimed.grant.window, opened, "the window never moves");
            assert!(sim.vault.unwrap(&claimed.wrapping_token).is_some());
        }
    }
}

#[tokio::test]
async fn a_token_that_a_crash_left_unrecorded_dies_within_a_minute_and_read_nothing() {
    let mut sim = Sim::start().await;
    let request = sim.approved("orders-ro").await;
    sim.vault.stall_next(Operation::Mint, Effect::Happened);
    begin_claim(&sim, request, Operation::Mint).await;
    sim.restart().await;
    sim.settle().await;
    assert_eq!(sim.vault.live_tokens().len(), 1);
    sim.clock.advance(TimeDelta::minutes(1));
    assert_eq!(sim.vault.live_tokens().len(), 0);
}

#[tokio::test]
async fn a_read_without_an_answer_is_not_over_before_vault_can_have_given_up() {
    let mut sim = Sim::start().await;
    let request = sim.approved("orders-ro").await;
    sim.vault.stall_next(Operation::ReadWrapped, Effect::DidNot);
    begin_claim(&sim, request, Operation::ReadWrapped).await;
    sim.restart().await;
    sim.broker.sweep().await.unwrap();
    let id = sim.grants(request).await[0].id;
    for _ in 0..3 {
        assert_eq!(sim.broker.pursue(id).await, Tried::NotYet);
        assert!(matches!(sim.state(id).await, State::Revoking(_)));
        sim.clock.advance(TimeDelta::seconds(49));
    }
    sim.clock.advance(TimeDelta::seconds(3));
    assert_eq!(sim.broker.pursue(id).await, Tried::Over);
    failed(&sim, request).await;
}

/// Defect 4, at the other end.
#[tokio::test]
async fn defect_4_a_crash_while_ending_is_finished_by_the_next_start() {
    for operation in
        [Operation::RevokeWrapping, Operation::RevokeToken, Operation::RevokeLease, Operation::LeaseGone]
    {
        for effect in EFFECTS {
            let mut sim = Sim::start().await;
            let request = sim.approved("orders-ro").await;
            let grant = sim.claim(request).await.unwrap().grant;
            sim.broker.release(&alice(), grant.id, false).await.unwrap();
            sim.vault.stall_next(operation, effect);
            let (broker, id) = (Arc::clone(&sim.broker), grant.id);
            begin(&sim, operation, async move { broker.pursue(id).await }).await;
            assert!(matches!(sim.state(grant.id).await, State::Revoking(_)), "{operation:?} {effect:?}");
            sim.restart().await;
            sim.settle().await;
            assert!(matches!(sim.state(grant.id).await, State::Revoked { cause: Cause::Released, .. }));
            assert_eq!((sim.leases().len(), sim.vault.live_wrappings()), (0, 0), "{operation:?} {effect:?}");
        }
    }
}

#[tokio::test]
async fn an_issuing_that_fails_leaves_nothing_whatever_the_answer_was() {
    for operation in [Operation::Mint, Operation::ReadWrapped, Operation::Shorten] {
        for (outcome, effect) in [
            (Outcome::Refused, Effect::DidNot),
            (Outcome::Unknown, Effect::DidNot),
            (Outcome::Unknown, Effect::Happened),
        ] {
            let sim = Sim::start().await;
            let request = sim.approved("orders-ro").await;
            sim.vault.fail_next(operation, outcome, effect);
            let error = sim.claim(request).await.unwrap_err();
            assert!(matches!(error, Error::IssueFailed { .. }), "{error}");
            sim.settle().await;
            assert_eq!(sim.leases(), [], "{operation:?} {outcome:?} {effect:?}");
            failed(&sim, request).await;
            sim.claim(request).await.expect("the holder claims again while the window lasts");
        }
    }
}

/// I3: before Vault said that the lease is gone, the grant is REVOKING, whichever step failed.
#[tokio::test]
async fn a_failed_step_of_ending_is_tried_again_and_told_honestly() {
    for (operation, step) in [
        (Operation::RevokeWrapping, "WRAPPING"),
        (Operation::RevokeToken, "TOKEN"),
        (Operation::RevokeLease, "LEASE"),
        (Operation::LeaseGone, "CONFIRMATION"),
    ] {
        let sim = Sim::start().await;
        let request = sim.approved("orders-ro").await;
        let grant = sim.claim(request).await.unwrap().grant;
        sim.broker.release(&alice(), grant.id, false).await.unwrap();
        for _ in 0..2 {
            sim.vault.fail_next(operation, Outcome::Unknown, Effect::DidNot);
            assert_eq!(sim.broker.pursue(grant.id).await, Tried::Failed);
        }
        let State::Revoking(ending) = sim.state(grant.id).await else { panic!("it is ending") };
        assert_eq!(ending.step.name(), step);
        let retries = sim.kinds(request).await.iter().filter(|kind| *kind == "RevocationRetried").count();
        assert_eq!(retries, 1, "the same failure is told once");
        assert_eq!(sim.broker.pursue(grant.id).await, Tried::Over);
        assert_eq!(sim.leases(), []);
    }
}

#[tokio::test]
async fn a_lease_revoked_behind_the_daemons_back_ends_the_grant() {
    let sim = Sim::start().await;
    let request = sim.approved("orders-ro").await;
    let grant = sim.claim(request).await.unwrap().grant;
    let State::Active { leased, .. } = &grant.state else { panic!("it is active") };
    hallpass::vault::Issuer::revoke_lease(&*sim.vault, &leased.lease).await.unwrap();
    sim.settle().await;
    assert!(matches!(sim.state(grant.id).await, State::Revoked { cause: Cause::EndedOutside, .. }));
}

#[tokio::test]
async fn a_start_without_a_target_ends_none_of_its_grants_before_their_window() {
    let mut sim = Sim::start().await;
    let (gone, kept) = (sim.approved("orders-ro").await, sim.approved("payroll-ro").await);
    let gone = sim.claim(gone).await.unwrap().grant;
    sim.clock.advance(TimeDelta::seconds(1));
    let kept = sim.claim(kept).await.unwrap().grant;
    sim.restart_with(&["payroll-ro"]).await;
    sim.settle().await;
    assert!(matches!(sim.state(gone.id).await, State::Active { .. }));
    sim.clock.set(gone.window.closes_at());
    sim.settle().await;
    assert!(matches!(sim.state(gone.id).await, State::Revoked { cause: Cause::WindowClosed, .. }));
    assert!(!matches!(sim.state(kept.id).await, State::Failed { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_who_ends_a_grant_being_made_wins() {
    let sim = Sim::start().await;
    let request = sim.approved("orders-ro").await;
    let (reached, go) = (Arc::new(tokio::sync::Notify::new()), std::sync::mpsc::channel::<()>());
    let (told, (sender, receiver)) = (Arc::clone(&reached), go);
    let receiver = std::sync::Mutex::new(receiver);
    // Stops the claim before it shortens, until the operator is done.
    sim.vault.on_call(move |call| {
        if call.operation == Operation::Shorten {
            told.notify_one();
            tokio::task::block_in_place(|| receiver.lock().unwrap().recv().unwrap());
        }
    });
    let claim = {
        let broker = Arc::clone(&sim.broker);
        tokio::spawn(async move { broker.claim(&alice(), request, false).await })
    };
    reached.notified().await;
    let id = sim.grants(request).await[0].id;
    let reason = hallpass::access::text::Prose::new("an incident").unwrap();
    sim.broker.revoke(&caller("oren", "operators"), id, reason).await.unwrap();
    sender.send(()).unwrap();
    assert!(matches!(claim.await.unwrap(), Err(Error::IssueFailed { .. })));
    sim.settle().await;
    assert_eq!(sim.leases(), []);
    assert!(matches!(sim.state(id).await, State::Failed { cause: Cause::RevokedByOperator, .. }));
}

/// The sweeper at work, with a clock to turn.
fn swept(sim: &Sim) -> tokio::task::JoinHandle<()> {
    let clock: Arc<dyn Clock> = sim.clock.clone();
    at_work(&sim.broker, &clock, &sim.stopping)
}

async fn held(sim: &Sim, target: &str) -> Claimed {
    let request = sim.approved(target).await;
    sim.claim(request).await.unwrap()
}

/// I2, clock 1: the daemon.
#[tokio::test]
async fn the_sweeper_ends_a_grant_at_its_windows_end_and_not_before() {
    let sim = Sim::start().await;
    let sweeper = swept(&sim);
    let grant = held(&sim, "orders-ro").await.grant;
    sim.clock.advance(hour() - TimeDelta::milliseconds(1));
    assert!(matches!(sim.state(grant.id).await, State::Active { .. }));
    sim.clock.advance(TimeDelta::milliseconds(1));
    eventually("it is over", async || matches!(sim.state(grant.id).await, State::Revoked { .. })).await;
    assert_eq!(sim.leases(), []);
    sim.stopping.cancel();
    sweeper.await.unwrap();
}

/// Defect 19: thousands of endings at once after a restart end in an outage of Vault.
#[tokio::test]
async fn defect_19_a_target_has_few_endings_under_way_however_many_are_due() {
    let mut sim = Sim::start().await;
    for _ in 0..2 * PER_TARGET_MAX {
        held(&sim, "orders-ro").await;
        sim.vault.stall_next(Operation::RevokeLease, Effect::DidNot);
    }
    sim.clock.advance(hour());
    sim.restart().await;
    let sweeper = swept(&sim);
    let under_way = || {
        let calls = sim.vault.calls();
        calls.iter().filter(|call| call.operation == Operation::RevokeLease).count()
    };
    eventually("some are under way", async || under_way() == PER_TARGET_MAX).await;
    for _ in 0..20 {
        // Each sweep is a pass over everything, and a round trip to the store at least.
        sim.broker.sweep().await.unwrap();
        assert_eq!(under_way(), PER_TARGET_MAX);
    }
    sweeper.abort();
}

#[tokio::test]
async fn a_dead_target_delays_nobody_else_and_is_ended_once_it_is_back() {
    let sim = Sim::start().await;
    let sweeper = swept(&sim);
    let mut dead = Vec::new();
    for _ in 0..8 {
        dead.push(held(&sim, TARGETS[0]).await.grant.id);
    }
    let alive = held(&sim, TARGETS[1]).await.grant.id;
    sim.vault.target_down(&path(TARGETS[0]), true);
    sim.clock.advance(hour());
    eventually("the other target's grant is over", async || {
        matches!(sim.state(alive).await, State::Revoked { .. })
    })
    .await;
    for id in &dead {
        eventually("each of the dead target's is tried, in turn", async || {
            sim.clock.advance(TimeDelta::milliseconds(100));
            matches!(sim.state(*id).await, State::Revoking(ending) if ending.error.is_some())
        })
        .await;
    }
    sim.vault.target_down(&path(TARGETS[0]), false);
    eventually("all are over, by retries alone", async || {
        sim.clock.advance(TimeDelta::seconds(1));
        let mut over = true;
        for id in &dead {
            over &= matches!(sim.state(*id).await, State::Revoked { .. });
        }
        over
    })
    .await;
    assert_eq!(sim.leases(), []);
    sim.stopping.cancel();
    sweeper.await.unwrap();
}

/// When the next try is due was reckoned by a clock that is an hour ahead by now.
#[tokio::test]
async fn a_clock_that_is_set_back_keeps_no_ending_waiting() {
    let sim = Sim::start().await;
    let sweeper = swept(&sim);
    let grant = held(&sim, "orders-ro").await.grant.id;
    sim.vault.target_down(&path("orders-ro"), true);
    sim.broker.release(&alice(), grant, false).await.unwrap();
    eventually(
        "it was tried in vain",
        async || matches!(sim.state(grant).await, State::Revoking(ending) if ending.error.is_some()),
    )
    .await;
    sim.vault.target_down(&path("orders-ro"), false);
    sim.clock.advance(TimeDelta::hours(-1));
    eventually("it is over within the hour", async || {
        sim.broker.sweep().await.unwrap();
        sim.clock.advance(TimeDelta::milliseconds(100));
        matches!(sim.state(grant).await, State::Revoked { .. })
    })
    .await;
    sim.stopping.cancel();
    sweeper.await.unwrap();
}

/// A step of an hour, as a time server may make it, over a window's end that is held in memory and one that isn't.
#[tokio::test]
async fn a_clock_that_is_set_forward_over_windows_ends_ends_them_at_once() {
    let sim = Sim::start().await;
    let sweeper = swept(&sim);
    let far = held(&sim, "orders-ro").await.grant;
    sim.clock.set(far.window.closes_at() - TimeDelta::seconds(90));
    eventually("its deadline is held in memory", async || sim.broker.take_due(sim.clock.now()).1.is_some())
        .await;
    let near = held(&sim, "payroll-ro").await.grant;
    sim.clock.set(sim.clock.now() + hour());
    for grant in [&far, &near] {
        eventually("it is over, with no time passing", async || {
            matches!(sim.state(grant.id).await, State::Revoked { cause: Cause::WindowClosed, .. })
        })
        .await;
    }
    assert_eq!(sim.leases(), []);
    sim.stopping.cancel();
    sweeper.await.unwrap();
}

/// A step back of an hour: nothing ends before the clock shows the end, and then it ends.
#[tokio::test]
async fn a_clock_that_is_set_back_ends_no_window_early_and_misses_no_end() {
    let sim = Sim::start().await;
    let sweeper = swept(&sim);
    let grant = held(&sim, "orders-ro").await.grant;
    let closes_at = grant.window.closes_at();
    sim.clock.set(closes_at - TimeDelta::seconds(1));
    sim.clock.set(closes_at - TimeDelta::seconds(1) - hour());
    sim.clock.set(closes_at - TimeDelta::milliseconds(1));
    sim.broker.sweep().await.unwrap();
    assert!(matches!(sim.state(grant.id).await, State::Active { .. }));
    sim.clock.advance(TimeDelta::milliseconds(1));
    eventually("it is over", async || {
        matches!(sim.state(grant.id).await, State::Revoked { cause: Cause::WindowClosed, .. })
    })
    .await;
    sim.stopping.cancel();
    sweeper.await.unwrap();
}

/// I2, clock 2: Vault alone.
#[tokio::test]
async fn all_clocks_end_no_later_than_the_window() {
    let sim = Sim::start().await;
    let grant = held(&sim, "orders-ro").await.grant;
    let [lease] = &sim.vault.live_leases()[..] else { panic!("one lease") };
    assert!(lease.expires_at <= grant.window.closes_at());
    assert!(lease.expires_at > grant.window.closes_at() - TimeDelta::seconds(2));
    // Nobody sweeps: Vault ends it alone, the token on time and what hangs on it a moment later.
    sim.clock.advance(hour());
    assert_eq!(sim.vault.live_tokens(), []);
    sim.clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(sim.leases(), []);
    sim.settle().await;
    assert!(matches!(sim.state(grant.id).await, State::Revoked { cause: Cause::WindowClosed, .. }));
}

#[tokio::test]
async fn an_interrupted_grant_keeps_what_it_needs_to_end_and_one_that_is_over_keeps_nothing() {
    let sim = Sim::start().await;
    let grant = held(&sim, "orders-ro").await.grant;
    let ending = sim.broker.release(&alice(), grant.id, false).await.unwrap();
    assert!(matches!(ending.state, State::Revoking(ending) if matches!(ending.issued, Issued::Lease(_))));
    assert_eq!(sim.store.known_leases(&path("orders-ro")).await.unwrap(), sim.leases());
    sim.settle().await;
    assert_eq!(sim.store.known_leases(&path("orders-ro")).await.unwrap(), []);
}

#[tokio::test]
async fn the_clock_of_the_window_is_the_claims() {
    let sim = Sim::start().await;
    let request = sim.approved("orders-ro").await;
    sim.clock.advance(TimeDelta::minutes(59));
    let now = sim.clock.now();
    let claimed = sim.claim(request).await.unwrap();
    assert_eq!((claimed.grant.window.opens_at(), claimed.grant.window.closes_at()), (now, now + hour()));
}
