//! The broker between two steps: what others do meanwhile must neither end a grant that is held nor leave a lease behind.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use hallpass::{
    access::{
        actor::{Caller, Person},
        grant::{Grant, State},
        id::{GrantId, RequestId},
        policy::{Policy, Scope},
        request::Request,
        revocation::Cause,
        target::Target,
        text::Prose,
    },
    broker::{Broker, Claimed, Error, Notary, Parts, RequestFilter, Slice, Submission, Tried, Written},
    clock::{Clock, ManualClock},
    signature::Signers,
    store::Store,
    vault::Issuer,
};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    CLAIM_WITHIN, REASON, SECOND, STATEMENT, WINDOW, at, developer, groups,
    memory::{MemoryVault, SteppedStore},
    person, target,
};
use crate::support::{servers::eventually, sim::at_work};

const ALL: Slice<RequestId> = Slice { after: None, limit: u32::MAX };
const WRAP_TTL: Duration = Duration::from_mins(5);

type Claiming = tokio::task::JoinHandle<Result<Claimed, Error>>;

pub struct World {
    pub broker: Arc<Broker>,
    pub store: Arc<SteppedStore>,
    pub vault: Arc<MemoryVault>,
    pub clock: Arc<ManualClock>,
}

pub fn world() -> World {
    world_with(Target { requesters: groups(&["dev"]).into(), ..target(1) })
}

pub fn world_with(orders: Target) -> World {
    world_of([orders])
}

pub fn world_of(targets: impl IntoIterator<Item = Target>) -> World {
    world_that(false, targets)
}

/// One that may revoke what no grant knows of, or not.
pub fn world_that(revoke_unknown: bool, targets: impl IntoIterator<Item = Target>) -> World {
    let clock = Arc::new(ManualClock::new(at(0)));
    let (store, vault) = (Arc::new(SteppedStore::default()), Arc::new(MemoryVault::new(Arc::clone(&clock))));
    world_on((store, vault, clock), revoke_unknown, policy(targets))
}

/// The targets, and operators.
pub fn policy(targets: impl IntoIterator<Item = Target>) -> Policy {
    Policy {
        targets: targets.into_iter().map(|target| (target.name.clone(), target)).collect(),
        operators: groups(&["operators"]),
        ..Policy::default()
    }
}

impl World {
    /// Goes on with another configuration, as after a restart.
    pub fn configured(self, policy: Policy) -> Self {
        world_on((self.store, self.vault, self.clock), false, policy)
    }
}

fn world_on(
    (store, vault, clock): (Arc<SteppedStore>, Arc<MemoryVault>, Arc<ManualClock>),
    revoke_unknown: bool,
    policy: Policy,
) -> World {
    let broker = Broker::new(Parts {
        signers: Signers::default(),
        policy,
        store: Arc::clone(&store) as Arc<dyn Store>,
        issuer: Arc::clone(&vault) as Arc<dyn Issuer>,
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        wrap_ttl: WRAP_TTL,
        alarm_after: Duration::from_mins(1),
        revoke_unknown,
        texts_for: None,
        digest_key: [7; 32],
        notary: Notary::default(),
        stopping: CancellationToken::new(),
        tasks: TaskTracker::new(),
    });
    World { broker: Arc::new(broker), store, vault, clock }
}

pub fn caller(person: Person, group: &str) -> Caller {
    Caller { person, groups: groups(&[group]) }
}

impl World {
    pub async fn submit(&self) -> Result<Request, Error> {
        let submission = Submission {
            target: target(1).name,
            duration: Some(WINDOW),
            reason: Prose::new(REASON).unwrap(),
            not_before: None,
            ticket: None,
            key: None,
            validate_only: false,
        };
        Ok(self.broker.submit(&caller(developer(), "dev"), submission).await?.request)
    }

    pub async fn approve(&self, request: &Request) -> Result<(), Error> {
        let lead = caller(person("sub-ann", "ann"), "leads");
        let written = Written { digest: request.digest(), statement: Prose::new(STATEMENT).unwrap() };
        self.broker.approve(&lead, request.id, written).await.map(drop)
    }

    pub async fn approved(&self) -> RequestId {
        let request = self.submit().await.unwrap();
        self.approve(&request).await.unwrap();
        self.clock.advance(SECOND);
        request.id
    }

    pub async fn claim(&self, request: RequestId, reissue: bool) -> Result<Claimed, Error> {
        let claimed = self.broker.claim(&caller(developer(), "dev"), request, reissue).await;
        self.clock.advance(SECOND);
        claimed
    }

    /// A claim whose token Vault is making: its grant, its end to come, and what lets it go on.
    pub async fn claiming(self: &Arc<Self>, request: RequestId) -> (GrantId, Claiming, Arc<Notify>) {
        let (minting, go_on) = self.vault.minting.hold();
        let world = Arc::clone(self);
        let claiming = tokio::spawn(async move { world.claim(request, false).await });
        minting.notified().await;
        let grant = self.store.grants_of(&[request]).await.unwrap()[&request][0].id;
        (grant, claiming, go_on)
    }

    /// The sweeper at work.
    fn swept(&self) -> (tokio::task::JoinHandle<()>, CancellationToken) {
        let stopping = CancellationToken::new();
        let clock: Arc<dyn Clock> = self.clock.clone();
        (at_work(&self.broker, &clock, &stopping), stopping)
    }

    pub async fn grant(&self, id: GrantId) -> Grant {
        self.store.grant(id).await.unwrap().unwrap()
    }
}

/// A grant that is being made is no half-done one while somebody is at work on it.
#[tokio::test]
async fn a_sweep_does_not_end_a_grant_that_is_being_made() {
    let world = world();
    let request = world.approved().await;
    let (being_read, go_on) = world.vault.reading.hold();
    let sweep = async {
        being_read.notified().await;
        let swept = world.broker.sweep().await;
        go_on.notify_one();
        swept
    };
    let (claimed, swept) = tokio::join!(world.claim(request, false), sweep);
    swept.unwrap();
    let grant = world.grant(claimed.unwrap().grant.id).await;
    assert!(matches!(grant.state, State::Active { .. }), "{grant:?}");
}

/// Between the commit of the intent and the next line, a sweep must not take the grant for what a crash left.
#[tokio::test]
async fn a_sweep_right_after_the_intent_does_not_end_it() {
    let world = world();
    let request = world.approved().await;
    let broker = Arc::clone(&world.broker);
    world.store.opened.set(move || {
        let broker = Arc::clone(&broker);
        async move { broker.sweep().await.unwrap() }
    });
    let claimed = world.claim(request, false).await.unwrap();
    assert!(matches!(claimed.grant.state, State::Active { .. }));
}

/// Grants of one request are told apart by the order of their ids, so the order must not hang on the clock's steps.
#[tokio::test]
async fn the_latest_grant_is_the_latest_even_within_a_millisecond_or_after_the_clock_was_set_back() {
    let world = world();
    let (request, dev) = (world.approved().await, caller(developer(), "dev"));
    let mut latest = world.broker.claim(&dev, request, false).await.unwrap().grant.id;
    for round in 0..20 {
        if round == 10 {
            world.clock.advance(-SECOND);
        }
        let claimed = world.broker.claim(&dev, request, true).await.unwrap();
        assert!(claimed.grant.id > latest, "round {round}");
        assert_eq!(world.broker.request(&dev, request).await.unwrap().grant, Some(claimed.grant.id));
        let earlier = world.grant(latest).await.state;
        assert!(
            matches!(earlier, State::Revoked { cause: Cause::Reissued, .. }),
            "gone before another is made"
        );
        latest = claimed.grant.id;
    }
}

/// The token may be made long after the intent, and the last read with it may take as long as Vault lets it.
#[tokio::test]
async fn a_read_without_an_answer_is_waited_for_as_long_as_it_can_last() {
    let world = world();
    let request = world.approved().await;
    *world.vault.silent.lock().unwrap() = true;
    let clock = Arc::clone(&world.clock);
    world.vault.minting.set(move || {
        clock.advance(TimeDelta::seconds(100));
        async {}
    });
    let failure = world.claim(request, false).await.unwrap_err();
    let Error::IssueFailed { grant, .. } = failure else { panic!("{failure:?}") };
    // 100 s until the token is made, 60 s until it dies, 90 s for a read that began just before.
    world.clock.advance(TimeDelta::seconds(145));
    assert_eq!(world.broker.pursue(grant).await, Tried::NotYet, "the read may still be under way");
    world.vault.lease(&target(1).credential_path);
    world.clock.advance(TimeDelta::seconds(5));
    assert_eq!(world.broker.pursue(grant).await, Tried::Over);
    assert_eq!(world.vault.leases_left(), 0, "the late lease was found");
    let ended = world.grant(grant).await;
    assert!(matches!(ended.state, State::Failed { cause: Cause::IssueFailed, .. }), "{ended:?}");
    assert_eq!(world.store.kinds(grant).last().map(String::as_str), Some("GrantFailed"));
}

/// Whoever waits for the path loses of the window, and the wrapping token must not outlive it.
#[tokio::test]
async fn waiting_for_the_path_shortens_the_wrapping() {
    let world = world();
    let (first, second) = (world.approved().await, world.approved().await);
    let (being_read, go_on) = world.vault.reading.hold();
    let dev = caller(developer(), "dev");
    let meanwhile = async {
        being_read.notified().await;
        let waits = tokio::join!(world.broker.claim(&dev, second, false), async {
            // With its token on record, the next thing that the second claim does is to wait for the path.
            eventually("both have a token", async || world.store.count("GrantTokenMinted") == 2).await;
            world.clock.advance(TimeDelta::from_std(WINDOW).unwrap() - TimeDelta::seconds(10));
            go_on.notify_one();
        });
        waits.0
    };
    let (_, second) = tokio::join!(world.broker.claim(&dev, first, false), meanwhile);
    assert_eq!(second.unwrap().wrapping_ttl, Duration::from_secs(10));
    assert_eq!(world.vault.wrap_ttls(), [WRAP_TTL, Duration::from_secs(10)]);
}

/// Whoever releases and hangs up has released: what is committed by then must still wake the sweeper.
#[tokio::test]
async fn who_hangs_up_in_the_middle_of_a_release_has_released() {
    let world = world();
    let request = world.approved().await;
    let grant = world.claim(request, false).await.unwrap().grant.id;
    world.broker.work_to_do().await;
    let (committed, hung_up) = world.store.begun.hold();
    let dev = caller(developer(), "dev");
    tokio::select! {
        _ = world.broker.release(&dev, grant, false) => panic!("it was answered"),
        () = committed.notified() => {}
    }
    hung_up.notify_one();
    let woken = tokio::time::timeout(Duration::from_secs(5), world.broker.work_to_do()).await;
    assert!(woken.is_ok(), "nobody ends what was released");
    assert!(matches!(world.grant(grant).await.state, State::Revoking(_)));
}

/// I2: Vault counts a lease's time from when it sets it. A slow one must not put the end after the window's.
#[tokio::test]
async fn a_slow_vault_sets_no_end_after_the_windows() {
    let world = world();
    let request = world.approved().await;
    let clock = Arc::clone(&world.clock);
    world.vault.shortening.set(move || {
        clock.advance(TimeDelta::seconds(20));
        async {}
    });
    let grant = world.claim(request, false).await.unwrap().grant;
    let ends_at = world.vault.ends_at().unwrap();
    assert!(ends_at <= grant.window.closes_at(), "{ends_at} is after {}", grant.window.closes_at());
    assert!(ends_at > grant.window.closes_at() - TimeDelta::seconds(30), "{ends_at} is early");
}

/// Anybody can let many requests lapse in the moment in which his window closes.
#[tokio::test]
async fn a_grant_ends_while_lapses_are_still_being_recorded() {
    let world = world();
    let first = world.approved().await;
    world.clock.advance(TimeDelta::from_std(CLAIM_WITHIN).unwrap() - TimeDelta::minutes(30));
    let second = world.approved().await;
    let grant = world.claim(second, false).await.unwrap().grant.id;
    let (sweeper, stopping) = world.swept();
    let wait = Arc::new(Notify::new());
    let waiting = Arc::clone(&wait);
    world.store.lapsing.set(move || {
        let waiting = Arc::clone(&waiting);
        async move { waiting.notified().await }
    });
    world.clock.advance(TimeDelta::from_std(WINDOW).unwrap());
    eventually("it is over", async || matches!(world.grant(grant).await.state, State::Revoked { .. })).await;
    assert!(world.store.request(first).await.unwrap().unwrap().state.lapses_at().is_some());
    wait.notify_one();
    stopping.cancel();
    sweeper.await.unwrap();
}

/// The store tells of so many at once. Those beyond wait for no other deadline.
#[tokio::test]
async fn all_that_is_due_lapses_however_much_it_is() {
    let world = world();
    let mut requests = Vec::new();
    for _ in 0..10 {
        requests.push(world.approved().await);
    }
    world.clock.advance(TimeDelta::from_std(CLAIM_WITHIN).unwrap());
    let (sweeper, stopping) = world.swept();
    eventually("all have lapsed", async || {
        let all = world.store.requests(&Scope::All, &RequestFilter::default(), ALL).await.unwrap().items;
        all.len() == requests.len() && all.iter().all(|request| request.state.name() == "LAPSED")
    })
    .await;
    stopping.cancel();
    sweeper.await.unwrap();
}

/// A lease that is on Vault's list is its grant's, even if that ends before the list is compared.
#[tokio::test]
async fn a_grant_that_ends_while_vault_is_compared_leaves_no_unknown_lease() {
    let world = world();
    let request = world.approved().await;
    let grant = world.claim(request, false).await.unwrap().grant.id;
    let (listed, go_on) = world.vault.listed.hold();
    let comparing = tokio::spawn({
        let broker = Arc::clone(&world.broker);
        async move { broker.reconcile().await }
    });
    listed.notified().await;
    world.broker.release(&caller(developer(), "dev"), grant, false).await.unwrap();
    assert_eq!(world.broker.pursue(grant).await, Tried::Over);
    go_on.notify_one();
    let findings = comparing.await.unwrap().unwrap();
    assert_eq!((findings.leases, findings.unknown), (1, 0));
    assert_eq!(world.store.count("UnknownLeaseFound"), 0);
}

/// In an outage the turn of many comes late; that they are ending is on record before that.
#[tokio::test]
async fn a_sweep_begins_the_end_of_a_window_that_closed_a_while_ago() {
    let world = world();
    let request = world.approved().await;
    let grant = world.claim(request, false).await.unwrap().grant;
    world.clock.set(grant.window.closes_at() + TimeDelta::seconds(4));
    world.broker.sweep().await.unwrap();
    assert!(matches!(world.grant(grant.id).await.state, State::Active { .. }), "its deadline is at it");
    world.clock.advance(SECOND);
    world.broker.sweep().await.unwrap();
    let State::Revoking(ending) = world.grant(grant.id).await.state else { panic!("it is ending") };
    assert_eq!(ending.cause, Cause::WindowClosed);
}

#[tokio::test]
async fn the_sign_of_life_is_the_sweepers() {
    let world = world();
    tokio::select! {
        biased;
        alive = world.broker.is_alive() => panic!("nobody sweeps: {alive}"),
        () = std::future::ready(()) => {}
    }
    let (sweeping, stopping) = world.swept();
    assert!(world.broker.is_alive().await);
    stopping.cancel();
    sweeping.await.unwrap();
}

/// A clock that is set forward shows that time has passed in which nothing could happen. A read without an answer is waited
/// for all the same.
#[tokio::test]
async fn a_clock_set_forward_shortens_no_wait_for_a_read_without_an_answer() {
    let world = world();
    let request = world.approved().await;
    *world.vault.silent.lock().unwrap() = true;
    let failure = world.claim(request, false).await.unwrap_err();
    let Error::IssueFailed { grant, .. } = failure else { panic!("{failure:?}") };
    world.clock.set(world.clock.now() + TimeDelta::minutes(10));
    assert_eq!(world.broker.pursue(grant).await, Tried::NotYet, "Vault may be at it still");
    world.clock.set(world.clock.now() - TimeDelta::minutes(10));
    let lease = world.vault.lease(&target(1).credential_path);
    world.clock.advance(TimeDelta::seconds(150));
    assert_eq!(world.broker.pursue(grant).await, Tried::Over);
    assert!(world.vault.lease_gone(&lease).await.unwrap());
}

/// Whoever is told of an end that isn't due, because the clock was set back meanwhile, say, ends nothing.
#[tokio::test]
async fn a_window_that_is_open_is_not_ended_by_a_try() {
    let world = Arc::new(world());
    let request = world.approved().await;
    let grant = world.claim(request, false).await.unwrap().grant.id;
    assert_eq!(world.broker.pursue(grant).await, Tried::Over);
    assert!(matches!(world.grant(grant).await.state, State::Active { .. }));
    assert_eq!(world.vault.leases_left(), 1);
    let request = world.approved().await;
    let (grant, claiming, go_on) = world.claiming(request).await;
    assert_eq!(world.broker.pursue(grant).await, Tried::Over);
    go_on.notify_one();
    assert!(matches!(claiming.await.unwrap().unwrap().grant.state, State::Active { .. }));
}

/// The window closes while the credential is being made.
#[tokio::test]
async fn a_window_that_closes_while_it_is_issued_for_is_ended() {
    let world = Arc::new(world());
    let request = world.approved().await;
    let (grant, claiming, go_on) = world.claiming(request).await;
    world.clock.advance(TimeDelta::from_std(WINDOW).unwrap());
    assert_eq!(world.broker.pursue(grant).await, Tried::Over, "nothing was issued yet");
    go_on.notify_one();
    assert!(claiming.await.unwrap().is_err());
    let State::Failed { cause, .. } = world.grant(grant).await.state else { panic!("it is over") };
    assert_eq!((cause, world.vault.leases_left()), (Cause::WindowClosed, 0));
}

/// The holder releases in the moment in which the window closes, and is faster with the record.
#[tokio::test]
async fn a_release_at_the_windows_end_keeps_its_cause_and_is_gone_on_with() {
    let world = Arc::new(world());
    let request = world.approved().await;
    let grant = world.claim(request, false).await.unwrap().grant.id;
    world.clock.advance(TimeDelta::from_std(WINDOW).unwrap());
    let faster = Arc::clone(&world);
    world.store.beginning.set(move || {
        let world = Arc::clone(&faster);
        async move { drop(world.broker.release(&caller(developer(), "dev"), grant, false).await.unwrap()) }
    });
    assert_eq!(world.broker.pursue(grant).await, Tried::Again, "it is ending, and Vault still has the lease");
    assert_eq!(world.broker.pursue(grant).await, Tried::Over);
    let State::Revoked { cause, .. } = world.grant(grant).await.state else { panic!("it is over") };
    assert_eq!((cause, world.vault.leases_left()), (Cause::Released, 0));
}

/// Vault's own clock is as fast as ours, so the cheap question comes first, and each call that the answer makes needless is
/// one that a thousand others wait for.
#[tokio::test]
async fn a_window_that_vault_has_ended_costs_it_a_look_and_a_token() {
    let world = world();
    let request = world.approved().await;
    let grant = world.claim(request, false).await.unwrap().grant.id;
    world.clock.advance(TimeDelta::from_std(WINDOW).unwrap());
    world.vault.forget_leases();
    assert_eq!(world.broker.pursue(grant).await, Tried::Over);
    assert!(matches!(world.grant(grant).await.state, State::Revoked { .. }));
    assert_eq!(world.vault.revoked(), ["token"]);
}

/// Whatever it holds, and however long Vault took to make it: a wrapping that may be open to somebody is destroyed.
#[tokio::test]
async fn a_wrapping_that_may_be_opened_yet_is_destroyed_at_the_windows_end() {
    for (held_for, revoked) in [(330_000, vec!["token"]), (329_999, vec!["wrapping", "token"])] {
        let world = world();
        let request = world.approved().await;
        let clock = Arc::clone(&world.clock);
        world.vault.minting.set(move || {
            clock.advance(TimeDelta::from_std(WINDOW).unwrap() - TimeDelta::milliseconds(held_for));
            async {}
        });
        let grant = world.claim(request, false).await.unwrap().grant;
        world.clock.set(grant.window.closes_at());
        world.vault.forget_leases();
        assert_eq!(world.broker.pursue(grant.id).await, Tried::Over);
        assert_eq!(world.vault.revoked(), revoked, "held for {held_for} ms");
    }
}

#[tokio::test]
async fn a_window_that_vault_has_not_ended_is_looked_at_and_then_everything_is_revoked() {
    let world = world();
    let request = world.approved().await;
    let grant = world.claim(request, false).await.unwrap().grant.id;
    world.clock.advance(TimeDelta::from_std(WINDOW).unwrap());
    assert_eq!(world.broker.pursue(grant).await, Tried::Again);
    assert_eq!(world.vault.revoked(), <[&str; 0]>::default(), "Vault is at it");
    assert_eq!(world.broker.pursue(grant).await, Tried::Over);
    assert_eq!(world.vault.revoked(), ["wrapping", "token", "lease"]);
    assert_eq!(world.vault.leases_left(), 0);
}

#[tokio::test]
async fn an_early_end_revokes_everything() {
    let world = world();
    let request = world.approved().await;
    let grant = world.claim(request, false).await.unwrap().grant.id;
    world.broker.release(&caller(developer(), "dev"), grant, false).await.unwrap();
    assert_eq!(world.broker.pursue(grant).await, Tried::Over);
    assert_eq!(world.vault.revoked(), ["wrapping", "token", "lease"]);
}

/// What Vault ended between the look and the revocation is not revoked once more: that would wait for its database.
#[tokio::test]
async fn a_lease_that_vault_ended_after_the_look_is_not_revoked_again() {
    let world = world();
    let request = world.approved().await;
    let grant = world.claim(request, false).await.unwrap().grant.id;
    world.clock.advance(TimeDelta::from_std(WINDOW).unwrap());
    assert_eq!(world.broker.pursue(grant).await, Tried::Again);
    world.vault.forget_leases();
    assert_eq!(world.broker.pursue(grant).await, Tried::Over);
    assert_eq!(world.vault.revoked(), ["wrapping", "token"]);
}

/// A read without an answer: of the leases at its path only one that nobody recorded, and that it can have made, is its.
#[tokio::test]
async fn only_what_an_unanswered_read_can_have_made_is_revoked() {
    let world = world();
    let path = target(1).credential_path;
    let before = world.vault.lease(&path);
    world.clock.advance(SECOND * 31);
    let (first, second) = (world.approved().await, world.approved().await);
    let held = world.claim(first, false).await.unwrap().grant.id;
    *world.vault.silent.lock().unwrap() = true;
    let failure = world.claim(second, false).await.unwrap_err();
    let Error::IssueFailed { grant, .. } = failure else { panic!("{failure:?}") };
    let its = world.vault.lease(&path);
    assert_eq!(world.broker.pursue(grant).await, Tried::NotYet);
    let State::Revoking(ending) = world.grant(grant).await.state else { panic!("it is ending") };
    let over_at = ending.begun_at + TimeDelta::seconds(150);
    let said = ending.error.unwrap();
    assert!(said.contains(&format!("until {over_at}")), "{said}");
    // The token's first minute, a request's longest time, and what the clocks may be apart.
    world.clock.set(ending.begun_at + TimeDelta::seconds(60 + 90 + 30 + 1));
    let after = world.vault.lease(&path);
    assert_eq!(world.broker.pursue(grant).await, Tried::NotYet, "a clock that is set shortens no wait");
    world.clock.advance(TimeDelta::seconds(150));
    assert_eq!(world.broker.pursue(grant).await, Tried::Over);
    for (lease, is_gone) in [(its, true), (before, false), (after, false)] {
        assert_eq!(world.vault.lease_gone(&lease).await.unwrap(), is_gone);
    }
    assert!(matches!(world.grant(held).await.state, State::Active { .. }));
    assert_eq!(world.vault.leases_left(), 3, "the one that is held, and those of nobody");
}
