//! A change of the configuration while verbs are under way: each sees one configuration, what is recorded after the change
//! was allowed by it, and no grant slips through.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use hallpass::{
    access::{
        actor::Persons, grant::State, id::GrantId, policy::Policy, refusal::Refusal, revocation::Cause,
        target::Target,
    },
    broker::{
        Broker, ConfigurationChange, Error, NotChanged, Occasion, Removed, RequestView, Settings, Tried,
    },
    clock::Clock,
    schedule::Schedule,
    signature::Signers,
    store::Store as _,
    sweep::{Chores, Schedules},
    vault::MissingCapability,
};

use tokio_util::sync::CancellationToken;

use super::{
    developer, groups, person,
    races::{World, caller, policy, world, world_with},
    target,
};
use crate::support::servers::eventually;

fn orders() -> Target {
    Target { requesters: groups(&["dev"]).into(), ..target(1) }
}

fn settings(policy: Policy) -> Settings {
    let wrap_ttl = Duration::from_mins(5);
    let (alarm_after, signers) = (Duration::from_mins(1), Signers::default());
    Settings { policy, wrap_ttl, alarm_after, revoke_unknown: false, texts_for: None, signers }
}

fn change(digest: &str, former: &str) -> ConfigurationChange {
    ConfigurationChange::to(digest.to_owned(), Some(former.to_owned()), Occasion::Command)
}

/// Puts another policy in force, called "2" after "1".
async fn reload(broker: &Broker, policy: Policy, removed: Removed) -> Result<Vec<GrantId>, NotChanged> {
    let done = broker.reconfigure(settings(policy), Some(change("2", "1")), removed).await;
    done.map(|ended| ended.into_iter().map(|grant| grant.id).collect())
}

fn nothing() -> Policy {
    policy([])
}

/// The same world, as whoever calls now meets it.
fn now(world: &World) -> World {
    let World { broker, store, vault, clock } = world;
    let broker = Arc::new(broker.renewed());
    World { broker, store: Arc::clone(store), vault: Arc::clone(vault), clock: Arc::clone(clock) }
}

fn held(refused: NotChanged) -> Vec<GrantId> {
    let NotChanged::GrantsHeld(held) = refused else { panic!("{refused:?}") };
    held.into_iter().map(|grant| grant.id).collect()
}

/// What is recorded of the configurations in force, in order.
fn digests(world: &World) -> Vec<String> {
    let changes = world.store.details("ConfigurationChanged");
    changes.iter().map(|detail| detail["digest"].as_str().unwrap().to_owned()).collect()
}

/// Lets everything that can go on do so.
async fn calm() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_target_that_grants_are_held_of_is_not_taken_out() {
    let world = world();
    let request = world.approved().await;
    let grant = world.claim(request, false).await.unwrap().grant.id;
    let events = world.store.last_sequence().await.unwrap();
    assert_eq!(held(reload(&world.broker, nothing(), Removed::Refuse).await.unwrap_err()), [grant]);
    assert_eq!(world.store.last_sequence().await.unwrap(), events, "nothing is recorded");
    world.broker.release(&caller(developer(), "dev"), grant, false).await.unwrap();
    assert_eq!(
        held(reload(&world.broker, nothing(), Removed::Refuse).await.unwrap_err()),
        [grant],
        "it isn't over"
    );
    assert_eq!(world.broker.pursue(grant).await, Tried::Over);
    assert_eq!(reload(&world.broker, nothing(), Removed::Refuse).await.unwrap(), []);
    assert!(world.broker.renewed().targets(&caller(developer(), "operators")).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_target_that_is_taken_out_ends_its_grants_if_that_is_said() {
    let world = world();
    let request = world.approved().await;
    let grant = world.claim(request, false).await.unwrap().grant.id;
    assert_eq!(reload(&world.broker, nothing(), Removed::End).await.unwrap(), [grant]);
    let State::Revoking(ending) = world.grant(grant).await.state else { panic!("it ends") };
    assert_eq!(ending.cause, Cause::TargetRemoved);
    assert_eq!(digests(&world), ["2"]);
    assert_eq!(world.broker.pursue(grant).await, Tried::Over);
    assert_eq!(world.vault.leases_left(), 0);
    assert!(matches!(world.grant(grant).await.state, State::Revoked { cause: Cause::TargetRemoved, .. }));
}

/// The event and the ends are one commit: what a crash leaves is all of it or nothing.
#[tokio::test]
async fn i4_a_change_that_cannot_be_recorded_changes_nothing_and_ends_nothing() {
    let world = world();
    let request = world.approved().await;
    let grant = world.claim(request, false).await.unwrap().grant.id;
    world.store.fail_commits(0, 1);
    let refused = reload(&world.broker, nothing(), Removed::End).await.unwrap_err();
    assert!(matches!(refused, NotChanged::Failed(Error::StoreUnavailable(_))), "{refused:?}");
    assert!(matches!(world.grant(grant).await.state, State::Active { .. }));
    assert_eq!(now(&world).submit().await.unwrap().state.name(), "PENDING", "the target is there");
    // The commit may have been made all the same, so the next one says what is in force.
    assert_eq!(digests(&world), ["1"]);
    now(&world).submit().await.unwrap();
    assert_eq!(digests(&world), ["1"], "once");
    assert_eq!(reload(&world.broker, nothing(), Removed::End).await.unwrap(), [grant]);
    assert_eq!(digests(&world), ["1", "2"]);
}

#[tokio::test]
async fn i7_nothing_is_allowed_by_a_configuration_that_is_not_on_record() {
    let world = world();
    world.store.fail_commits(0, 2);
    world.broker.started_with(ConfigurationChange::to("1".to_owned(), None, Occasion::Start)).await;
    world.submit().await.unwrap_err();
    assert_eq!(digests(&world), [""; 0]);
    let request = world.submit().await.unwrap();
    assert_eq!(digests(&world), ["1"]);
    let (events, id) = (world.store.timeline(request.id).await.unwrap(), request.id);
    assert_eq!(events[0].sequence, 2, "{id} comes after it");
}

/// The claim has looked for the last time and commits: the change waits, and then sees the grant.
#[tokio::test]
async fn a_change_waits_for_a_claim_that_commits() {
    let world = Arc::new(world());
    let request = world.approved().await;
    let (opening, go_on) = world.store.opening.hold();
    let claiming = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.claim(request, false).await }
    });
    opening.notified().await;
    let reloading = tokio::spawn({
        let broker = world.broker.renewed();
        async move { reload(&broker, nothing(), Removed::Refuse).await }
    });
    calm().await;
    assert!(!reloading.is_finished());
    go_on.notify_one();
    let refused = held(reloading.await.unwrap().unwrap_err());
    assert_eq!(refused, [claiming.await.unwrap().unwrap().grant.id]);
}

/// The claim was let in by the policy before, and comes to its commit after the change: it has done nothing.
#[tokio::test]
async fn a_claim_that_was_let_in_before_the_change_opens_nothing_after_it() {
    for removed in [Removed::Refuse, Removed::End] {
        let world = world();
        let request = world.approved().await;
        assert_eq!(reload(&world.broker, nothing(), removed).await.unwrap(), []);
        let events = world.store.last_sequence().await.unwrap();
        // Everything that it looks at still says yes.
        assert!(matches!(world.claim(request, false).await, Err(Error::Reconfigured)));
        assert_eq!((world.vault.minted(), world.store.count("GrantOpened")), (0, 0));
        assert_eq!(world.store.last_sequence().await.unwrap(), events);
        let refused = now(&world).claim(request, false).await.unwrap_err();
        assert!(
            matches!(refused, Error::Refused { refusal: Refusal::RoleMissing { .. }, .. }),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn no_verb_that_was_let_in_before_the_change_records_anything_after_it() {
    let world = world();
    let (request, before) = (world.submit().await.unwrap(), world.store.last_sequence().await.unwrap());
    reload(&world.broker, policy([orders()]), Removed::Refuse).await.unwrap();
    assert!(matches!(world.submit().await, Err(Error::Reconfigured)));
    assert!(matches!(world.approve(&request).await, Err(Error::Reconfigured)));
    let withdrawn = world.broker.withdraw(&caller(developer(), "dev"), request.id).await;
    assert!(matches!(withdrawn, Err(Error::Reconfigured)));
    assert_eq!(world.store.last_sequence().await.unwrap(), before + 1, "only the change");
    now(&world).approve(&request).await.unwrap();
}

/// Whoever makes a credential while its target goes ends what he made.
#[tokio::test]
async fn a_grant_that_is_being_made_ends_with_its_target() {
    let world = Arc::new(world());
    let request = world.approved().await;
    let (grant, claiming, go_on) = world.claiming(request).await;
    assert_eq!(held(reload(&world.broker, nothing(), Removed::Refuse).await.unwrap_err()), [grant]);
    assert_eq!(reload(&world.broker, nothing(), Removed::End).await.unwrap(), [grant]);
    go_on.notify_one();
    claiming.await.unwrap().unwrap_err();
    assert_eq!(world.broker.pursue(grant).await, Tried::Over);
    assert_eq!(world.vault.leases_left(), 0);
    assert!(matches!(world.grant(grant).await.state, State::Failed { cause: Cause::TargetRemoved, .. }));
}

/// Between the change's look at what is held and its commit, the holder ends the grant himself.
#[tokio::test]
async fn an_end_that_is_faster_than_the_change_keeps_its_cause() {
    let world = Arc::new(world());
    let request = world.approved().await;
    let grant = world.claim(request, false).await.unwrap().grant.id;
    let faster = Arc::clone(&world);
    world.store.beginning.set(move || {
        let world = Arc::clone(&faster);
        async move { drop(world.broker.release(&caller(developer(), "dev"), grant, false).await.unwrap()) }
    });
    assert_eq!(reload(&world.broker, nothing(), Removed::End).await.unwrap(), []);
    let State::Revoking(ending) = world.grant(grant).await.state else { panic!("it ends") };
    assert_eq!((ending.cause, digests(&world)), (Cause::Released, vec!["2".to_owned()]));
}

#[tokio::test]
async fn running_grants_keep_their_window() {
    let world = world();
    let request = world.approved().await;
    let before = world.claim(request, false).await.unwrap().grant;
    let shorter = Target { window_max: Duration::from_secs(1), requesters: groups(&[]).into(), ..orders() };
    reload(&world.broker, policy([shorter]), Removed::End).await.unwrap();
    now(&world).broker.sweep().await.unwrap();
    let after = world.grant(before.id).await;
    assert_eq!((after.window, after.state.name()), (before.window, "ACTIVE"));
    world.clock.set(before.window.closes_at());
    let _ = world.broker.pursue(before.id).await;
    let State::Revoking(ending) = world.grant(before.id).await.state else { panic!("it ends") };
    assert_eq!(ending.cause, Cause::WindowClosed);
}

/// A request is decided and claimed by what is configured then.
#[tokio::test]
async fn eligibility_is_looked_at_again_at_decision_and_at_claim() {
    let world = world();
    let (pending, approved) = (world.submit().await.unwrap(), world.approved().await);
    let other = Target { credential_path: "database/creds/other".to_owned(), ..orders() };
    reload(&world.broker, policy([other]), Removed::Refuse).await.unwrap();
    let changed = |error: Error| matches!(error, Error::Refused { refusal: Refusal::TargetChanged, .. });
    assert!(changed(now(&world).approve(&pending).await.unwrap_err()));
    assert!(changed(now(&world).claim(approved, false).await.unwrap_err()));
    reload(&world.broker, policy([Target { requesters: groups(&[]).into(), ..orders() }]), Removed::Refuse)
        .await
        .unwrap();
    let refused = now(&world).claim(approved, false).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { refusal: Refusal::RoleMissing { .. }, .. }));
    reload(&world.broker, policy([orders()]), Removed::Refuse).await.unwrap();
    now(&world).claim(approved, false).await.unwrap();
}

/// Two that approved as two turn out to be one: nothing is opened from then on.
#[tokio::test]
async fn people_who_are_put_together_count_once_from_then_on() {
    let two = || Target { requesters: groups(&["dev"]).into(), ..target(2) };
    let world = world_with(two());
    let request = world.submit().await.unwrap();
    let approve = async |subject: &str| -> RequestView {
        let lead = caller(person(subject, &format!("{subject}'s name")), "leads");
        let statement = hallpass::access::text::Prose::new("fine").unwrap();
        let written = hallpass::broker::Written { digest: request.digest(), statement };
        world.broker.approve(&lead, request.id, written).await.unwrap()
    };
    approve("corp:ann").await;
    assert_eq!(approve("vault:ann").await.request.state.name(), "APPROVED");
    let mut persons = Persons::default();
    assert!(persons.add("ann", "corp:ann") && persons.add("ann", "vault:ann"));
    reload(&world.broker, Policy { persons, ..policy([two()]) }, Removed::Refuse).await.unwrap();
    let refused = now(&world).claim(request.id, false).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { refusal: Refusal::ApprovalInvalid, .. }), "{refused:?}");
}

/// What a start with a smaller file left is told of, and ended by the first reload that says so.
#[tokio::test]
async fn grants_whose_target_is_gone_already_stand_in_nobodys_way_and_can_be_ended() {
    let world = world();
    let request = world.approved().await;
    let grant = world.claim(request, false).await.unwrap().grant;
    let world = world.configured(nothing());
    world.broker.sweep().await.unwrap();
    assert!(matches!(world.grant(grant.id).await.state, State::Active { .. }));
    assert_eq!(reload(&world.broker, nothing(), Removed::Refuse).await.unwrap(), []);
    let would_end = world.broker.ends(&nothing(), Removed::End).await.unwrap();
    assert_eq!(would_end.len(), 1);
    let settings = settings(nothing());
    let ended = world.broker.reconfigure(settings, None, Removed::End).await.unwrap();
    assert_eq!(ended.into_iter().map(|grant| grant.id).collect::<Vec<_>>(), [grant.id]);
    assert_eq!(digests(&world), ["2"], "the second changed no key");
}

#[tokio::test]
async fn a_watch_ends_with_the_configuration_that_let_it_begin() {
    let world = world();
    let lead = caller(person("sub-ann", "ann"), "leads");
    let mut watch = world.broker.watch(&lead, None, None).await.unwrap();
    let watching = tokio::spawn(async move { watch.next().await });
    calm().await;
    assert!(!watching.is_finished());
    reload(&world.broker, nothing(), Removed::Refuse).await.unwrap();
    assert!(matches!(watching.await.unwrap(), Err(Error::Reconfigured)));
}

/// Rights were asked for other paths: a target that is new isn't taken for one that has them all.
#[tokio::test]
async fn rights_are_asked_for_anew_for_a_target_that_is_new() {
    let world = world();
    world.broker.refresh_blockers().await;
    let moved = Target { credential_path: "database/creds/moved".to_owned(), ..orders() };
    let lack = "sys/leases/lookup/database/creds/moved/".to_owned();
    *world.vault.lacking.lock().unwrap() = Some(vec![MissingCapability { path: lack, capability: "list" }]);
    reload(&world.broker, policy([moved]), Removed::Refuse).await.unwrap();
    let world = now(&world);
    let request = world.approved().await;
    assert!(matches!(world.claim(request, false).await, Err(Error::IssueBlocked { .. })));
}

/// Each chore goes on by the schedule that is in force, and not only when the one before would have come true.
#[tokio::test]
async fn schedules_change_at_once() {
    let world = world();
    let hourly: Schedule = "0 0 * * * *".parse().unwrap();
    let schedules = Schedules::new(hourly.clone(), hourly.clone(), hourly.clone());
    let clock: Arc<dyn Clock> = world.clock.clone();
    let chores = Chores {
        broker: Arc::clone(&world.broker),
        clock,
        reconcile: Arc::default(),
        stopping: CancellationToken::new(),
    };
    let running: Vec<_> = chores.all(&schedules).into_iter().map(|(_, chore)| tokio::spawn(chore)).collect();
    let compared = |times| {
        let store = Arc::clone(&world.store);
        eventually("it is compared", async move || store.count("ReconciliationDone") == times)
    };
    compared(1).await;
    schedules.replace(hourly.clone(), "30 * * * * *".parse().unwrap(), hourly.clone());
    compared(2).await;
    schedules.replace(hourly.clone(), "30 * * * * *".parse().unwrap(), hourly);
    calm().await;
    assert_eq!(world.store.count("ReconciliationDone"), 2, "nothing has changed");
    running.iter().for_each(tokio::task::JoinHandle::abort);
}

/// A wrapping that expired after a minute is no sign of a thief because wrappings live for five minutes now.
#[tokio::test]
async fn a_longer_wrapping_raises_no_false_alarm() {
    let world = world();
    let shorter = Settings { wrap_ttl: Duration::from_mins(1), ..settings(policy([orders()])) };
    world.broker.reconfigure(shorter, None, Removed::Refuse).await.unwrap();
    let request = now(&world).approved().await;
    now(&world).claim(request, false).await.unwrap();
    world.broker.reconfigure(settings(policy([orders()])), None, Removed::Refuse).await.unwrap();
    world.clock.advance(TimeDelta::minutes(2));
    *world.vault.opened.lock().unwrap() = true;
    let again = now(&world).claim(request, true).await.unwrap();
    assert!(!again.earlier_opened);
    assert_eq!(again.wrapping_ttl, Duration::from_mins(5));
    assert!(now(&world).claim(request, true).await.unwrap().earlier_opened, "within the minute it is one");
}

/// The alarm's limit and the wrapping's are the new ones', for what begins after the change.
#[tokio::test]
async fn limits_beside_the_policy_change_with_it() {
    let world = world();
    let request = world.approved().await;
    let wrap_ttl = Duration::from_secs(42);
    let settings =
        Settings { wrap_ttl, alarm_after: Duration::from_hours(2), ..settings(policy([orders()])) };
    world.broker.reconfigure(settings, None, Removed::Refuse).await.unwrap();
    let world = now(&world);
    assert_eq!(world.claim(request, false).await.unwrap().wrapping_ttl, wrap_ttl);
    let overdue = world.broker.overdue();
    assert_eq!(world.clock.now() - overdue.begun_by, TimeDelta::hours(2));
}
