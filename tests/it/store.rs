//! What every store must do, whatever is behind it. A second database runs through the same suite: it implements
//! [`Backend`] and gets a place beside `on_sqlite`. So does the store in memory that simulations stand on.

mod adopting;
mod copying;
mod durable;
mod erasing;
mod freezes;
mod guards;
mod lists;
mod log;
mod long;
mod matching;
mod memory;
mod postgres;
mod random;
mod retention;
mod sharing;
mod sqlite;
mod texts;
mod together;
mod values;
mod words;

use std::{collections::BTreeSet, future::Future, sync::Arc};

use chrono::TimeDelta;
use hallpass::{
    access::{
        actor::{Actor, Person},
        approval::Decision,
        approval_text::ApprovalText,
        event::{About, Event, Fact},
        grant::{Grant, State},
        id::GrantId,
        limits::Held,
        policy::Scope,
        request::Ask,
        revocation::{Cause, Confirmation, Step},
        signing::Signed,
        terms::Terms,
        text::{IdempotencyKey, PROSE_MAX_BYTES, Prose, Ticket},
    },
    clock::Clock,
    store::{Slice, Store, StoreError, Write},
};
use tokio::task::JoinSet;

use self::{
    freezes::{a_freeze_is_changed_by_one_at_a_time, no_grant_is_opened_of_what_is_frozen},
    guards::{
        a_change_without_its_event_does_not_happen, a_dropped_commit_leaves_the_store_usable,
        nobody_changes_what_is_recorded, nothing_is_approved_without_approvals,
        texts_go_in_their_time_and_nothing_else_does,
    },
    lists::{lists_show_the_scope, lists_show_what_matches, pages_stay_while_rows_are_added},
    log::{
        a_witness_later_word_counts, checkpoints_are_kept_in_order, each_request_has_its_events,
        many_at_once_make_one_tree, the_log_is_one_tree,
    },
    matching::what_matches_is_what_the_filter_says,
    random::whatever_the_rules_allow_reads_back,
    retention::{
        a_freeze_that_is_over_loses_its_texts, what_is_open_keeps_its_texts, what_is_over_loses_its_texts,
        what_moved_on_is_not_erased,
    },
    together::{
        of_a_claim_and_a_freeze_at_once_the_log_has_the_order,
        what_comes_at_once_is_stored_as_if_it_came_alone,
    },
    values::{World, beginning, person, target},
    words::a_text_beside_a_person_is_found_where_it_is_found_alone,
};

/// A database of its own for one test.
pub trait Backend: Sized {
    fn start() -> impl Future<Output = Self>;
    fn store(&self) -> &Arc<dyn Store>;
    /// Stops and starts again, as the daemon would.
    fn restart(self) -> impl Future<Output = Self>;
}

/// A database that somebody may go to past the store.
pub trait Sql: Backend {
    /// Runs a statement, which is SQLite's.
    fn run(&self, statement: &'static str) -> impl Future<Output = Result<u64, String>>;
    /// Lets the database refuse the events of approvals.
    fn refuse_approvals(&self) -> impl Future<Output = ()>;
    /// Lets it take them again.
    fn allow_approvals(&self) -> impl Future<Output = ()>;
}

macro_rules! conformance {
    (@one $name:ident, $backend:ty, [$($test:ident),* $(,)?]) => {
        mod $name {
            use super::Backend;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(<$backend>::start().await).await;
            })*
        }
    };
    ({$($name:ident: $backend:ty),* $(,)?}, $tests:tt) => {
        $(conformance!(@one $name, $backend, $tests);)*
    };
}

conformance!(
    { on_memory: super::memory::Memory, on_sqlite: super::sqlite::Sqlite, on_postgres: super::postgres::Postgres },
    [
        every_state_of_a_request_reads_back,
        every_state_of_a_grant_reads_back,
        any_text_that_the_rules_take_reads_back,
        a_signed_approval_reads_back,
        of_two_changes_from_one_revision_one_is_stored,
        defect_6_of_many_decisions_at_once_one_is_stored,
        of_many_claims_at_once_one_opens_a_grant,
        what_was_released_is_not_given_back,
        a_key_names_one_submission,
        a_commit_is_all_or_nothing,
        the_log_has_no_gaps,
        the_log_is_one_tree,
        each_request_has_its_events,
        many_at_once_make_one_tree,
        what_comes_at_once_is_stored_as_if_it_came_alone,
        of_a_claim_and_a_freeze_at_once_the_log_has_the_order,
        checkpoints_are_kept_in_order,
        a_witness_later_word_counts,
        a_person_may_deny_what_he_approved,
        pages_stay_while_rows_are_added,
        lists_show_the_scope,
        lists_show_what_matches,
        what_is_due_is_due_by_the_millisecond,
        no_target_crowds_out_another,
        what_has_to_end_comes_in_pages,
        grants_come_with_their_requests,
        leases_are_known_until_they_are_gone,
        what_is_held_is_counted_until_it_is_confirmed_to_have_ended,
        no_grant_is_opened_of_what_is_frozen,
        a_freeze_is_changed_by_one_at_a_time,
        what_is_over_loses_its_texts,
        what_is_open_keeps_its_texts,
        what_moved_on_is_not_erased,
        a_freeze_that_is_over_loses_its_texts,
        handles_stay_out_of_the_log,
        a_restart_keeps_everything,
    ]
);

conformance!(
    { sql_on_sqlite: super::sqlite::Sqlite, sql_on_postgres: super::postgres::Postgres },
    [
        nobody_changes_what_is_recorded,
        nothing_is_approved_without_approvals,
        a_change_without_its_event_does_not_happen,
        a_dropped_commit_leaves_the_store_usable,
        texts_go_in_their_time_and_nothing_else_does,
        a_text_beside_a_person_is_found_where_it_is_found_alone,
    ]
);

#[test]
fn whatever_the_rules_allow_reads_back_on_sqlite() {
    whatever_the_rules_allow_reads_back::<sqlite::Sqlite>();
}

#[test]
fn whatever_the_rules_allow_reads_back_on_postgres() {
    whatever_the_rules_allow_reads_back::<postgres::Postgres>();
}

#[test]
fn what_matches_is_what_the_filter_says_on_sqlite() {
    what_matches_is_what_the_filter_says::<sqlite::Sqlite>();
}

#[test]
fn what_matches_is_what_the_filter_says_on_postgres() {
    what_matches_is_what_the_filter_says::<postgres::Postgres>();
}

fn all<Id>() -> Slice<Id> {
    Slice { after: None, limit: 1000 }
}

fn is_conflict<T: std::fmt::Debug>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Conflict { .. }))
}

/// The world compares at every step.
async fn every_state_of_a_request_reads_back(backend: impl Backend) {
    let world = World::new(&**backend.store());
    let (one, two) = (target("orders", 1), target("payments", 2));
    world.submit(&one, "dev").await;
    let approved_once = world.submit(&two, "dev").await;
    let approved_once = world.approve(&approved_once, &two, "lead").await;
    assert_eq!(approved_once.state.name(), "PENDING");
    world.approve(&approved_once, &two, "second").await;
    let denied = world.submit(&one, "dev").await;
    world.store_request(world.denial(&denied, &one, "lead")).await;
    for waiting in [world.submit(&one, "dev").await, world.approved(&two, "dev").await] {
        let now = world.tick();
        world.store_request(waiting.withdraw(person("dev"), now).unwrap()).await;
    }
    for waiting in [world.submit(&one, "dev").await, world.approved(&two, "dev").await] {
        let at = waiting.state.lapses_at().unwrap();
        world.store_request(waiting.lapse(at).unwrap()).await;
    }
    world.opened(&two, "dev").await;
}

async fn every_state_of_a_grant_reads_back(backend: impl Backend) {
    let (world, target) = (World::new(&**backend.store()), target("orders", 1));
    let (_, nothing) = world.opened(&target, "ann").await;
    let (_, token) = world.opened(&target, "bob").await;
    let token = world.minted(token).await;
    let (_, lease) = world.opened(&target, "cyd").await;
    let lease = world.minted(lease).await;
    let lease = world.leased(lease).await;
    let active = world.active(&target, "dan").await;
    let cases = [
        (nothing, Step::Confirmation, Confirmation::NothingIssued, "FAILED"),
        (token, Step::Token, Confirmation::NoLeaseLeft, "FAILED"),
        (lease, Step::Lease, Confirmation::LeaseGone, "FAILED"),
        (active, Step::Lease, Confirmation::LeaseGone, "REVOKED"),
    ];
    for (grant, step, confirmation, end) in cases {
        let grant = world.begun(grant, Cause::RevokedByOperator).await;
        let grant = world.retried(grant, step, "no answer").await;
        let grant = world.retried(grant, Step::Confirmation, "still there").await;
        let grant = world.confirmed(grant, confirmation).await;
        assert_eq!(grant.state.name(), end);
    }
}

async fn any_text_that_the_rules_take_reads_back(backend: impl Backend) {
    let (world, target) = (World::new(&**backend.store()), target("orders", 1));
    let long = "é".repeat(PROSE_MAX_BYTES / 2);
    for text in ["'; DROP TABLE requests; --", "\"\\{}[]%_?1 \u{1f511}\n\t日本", &long] {
        let requester = Person { subject: format!("s{text}\u{7}"), name: text.to_owned() };
        let reason = Prose::new(text).unwrap();
        let ticket =
            Ticket::new(&text.chars().filter(|c| !c.is_control()).take(60).collect::<String>()).unwrap();
        let ask = Ask { requester, reason: reason.clone().into(), ticket, ..world.ask(&target, "dev") };
        let request = world.submit_ask(&target, ask).await;
        let mut decision = world.decision(&request, text);
        decision.approver.name = format!("{text}\u{7}");
        decision.statement = reason.into();
        // The approver's name must not be taken for the requester's.
        let change = request.approve(decision, Some(&target)).unwrap().unwrap();
        let request = world.store_request(change).await;
        let (_, grant) = world.claim(request, &target).await;
        let grant = world.begun(grant, Cause::Frozen).await;
        world.retried(grant, Step::Confirmation, &format!("{text}\0")).await;
    }
}

/// The world compares at every step: text and signature come back as they were.
async fn a_signed_approval_reads_back(backend: impl Backend) {
    let world = World::new(&**backend.store());
    let three = target("payments", 3);
    let mut request = world.submit(&three, "dev").await;
    for (approver, present) in [("lead", Some(true)), ("second", Some(false)), ("third", None)] {
        let unsigned = world.decision(&request, approver);
        let signed = present.map(|present| {
            let (statement, now) = (unsigned.statement.kept().unwrap().clone(), unsigned.decided_at);
            Box::new(Signed {
                text: ApprovalText::of(
                    request.id,
                    &request.ask,
                    Terms::default(),
                    &unsigned.approver.subject,
                    statement,
                    now,
                )
                .into(),
                signature: "-----BEGIN SSH SIGNATURE-----\nü\n-----END SSH SIGNATURE-----\n".to_owned(),
                key: format!("SHA256:{}", "x".repeat(43)),
                present,
            })
        });
        let decision = Decision { signed, ..unsigned };
        let change = request.clone().approve(decision, Some(&three)).unwrap().unwrap();
        request = world.store_request(change).await;
    }
    assert_eq!(request.state.name(), "APPROVED");
}

async fn of_two_changes_from_one_revision_one_is_stored(backend: impl Backend) {
    let (world, two) = (World::new(&**backend.store()), target("payments", 2));
    let request = world.submit(&two, "dev").await;
    let (first, second) = (world.approval(&request, &two, "lead"), world.approval(&request, &two, "second"));
    let denial = world.denial(&request, &two, "third");
    let approved = world.store_request(first).await;
    for late in [second, denial] {
        assert!(is_conflict(&world.store.commit(&[Write::Request(&late)]).await));
    }
    world.is_stored(&approved).await;
    let grant = world.active(&two, "ann").await;
    let now = world.tick();
    let [released, closed] = [Cause::Released, Cause::WindowClosed]
        .map(|cause| grant.clone().begin(cause, Actor::Daemon, None, now).unwrap());
    let ending = world.store_grant(released).await;
    assert!(is_conflict(&world.store.commit(&[Write::Grant(&closed)]).await));
    world.is_held(&ending).await;
    // Nor does the same change happen twice.
    let again = world.submission(&two, request.ask.clone());
    world.store.commit(&[Write::Request(&again)]).await.unwrap();
    assert!(is_conflict(&world.store.commit(&[Write::Request(&again)]).await));
}

/// Defect 6: two approvers at once make two of everything.
async fn defect_6_of_many_decisions_at_once_one_is_stored(backend: impl Backend) {
    let (world, target) = (World::new(&**backend.store()), target("orders", 1));
    for _ in 0..5 {
        let request = world.submit(&target, "dev").await;
        let before = world.store.last_sequence().await.unwrap();
        let decide = |number: i32| {
            let name = format!("approver-{number}");
            let decide = if number % 2 == 0 { World::approval } else { World::denial };
            decide(&world, &request, &target, &name)
        };
        let (store, mut tasks) = (backend.store(), JoinSet::new());
        for change in (0..32).map(decide) {
            let store = Arc::clone(store);
            tasks.spawn(async move {
                let result = store.commit(&[Write::Request(&change)]).await;
                assert!(result.is_ok() || is_conflict(&result), "{result:?}");
                result.is_ok().then(|| change.into_after())
            });
        }
        let stored: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
        assert_eq!(stored.len(), 1);
        world.is_stored(&stored[0]).await;
        assert_eq!(world.store.last_sequence().await.unwrap(), before + 1);
    }
}

/// Claiming again changes nothing of the request, so the revision doesn't keep two apart.
async fn of_many_claims_at_once_one_opens_a_grant(backend: impl Backend) {
    let (world, target) = (World::new(&**backend.store()), target("orders", 1));
    let (request, failed) = world.opened(&target, "dev").await;
    let failed = world.begun(failed, Cause::IssueFailed).await;
    let now = world.tick();
    let open = |_| {
        let warrant = request.claim_again(now, Some(&target), &failed, false).unwrap();
        Grant::open(GrantId::new(now, world.clock.random()), warrant, now)
    };
    let mut tasks = JoinSet::new();
    for change in (0..8).map(open) {
        let store = Arc::clone(backend.store());
        tasks.spawn(async move { store.commit(&[Write::Grant(&change)]).await });
    }
    let results = tasks.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.iter().all(|result| result.is_ok() || is_conflict(result)), "{results:?}");
    // One that is held is replaced by ending it and opening the next at once.
    let held = world.store.open_grants(None, 10).await.unwrap().pop().unwrap();
    let ending = held.clone().begin(Cause::Reissued, Actor::Daemon, None, now).unwrap();
    let warrant = request.claim_again(now, Some(&target), &held, true).unwrap();
    let next = Grant::open(GrantId::new(now, world.clock.random()), warrant, now);
    world.store.commit(&[Write::Grant(&ending), Write::Grant(&next)]).await.unwrap();
    assert_eq!(world.store.open_grants(None, 10).await.unwrap(), [next.into_after()]);
}

/// Two claims again were decided on the same failed grant. One got its grant and gave it back; then the other comes.
async fn what_was_released_is_not_given_back(backend: impl Backend) {
    let (world, target) = (World::new(&**backend.store()), target("orders", 1));
    let (request, failed) = world.opened(&target, "dev").await;
    let failed = world.begun(failed, Cause::IssueFailed).await;
    let now = world.tick();
    let [first, late] = [1, 2].map(|number| {
        let warrant = request.claim_again(now, Some(&target), &failed, false).unwrap();
        Grant::open(GrantId::after(failed.id, now, number), warrant, now)
    });
    let grant = world.store_grant(first).await;
    let grant = world.activated(world.leased(world.minted(grant).await).await).await;
    let ending = world.begun(grant, Cause::Released).await;
    assert!(is_conflict(&world.store.commit(&[Write::Grant(&late)]).await), "while it ends");
    world.confirmed(ending, Confirmation::LeaseGone).await;
    assert!(is_conflict(&world.store.commit(&[Write::Grant(&late)]).await), "and when it is over");
    assert_eq!(world.store.open_grants(None, 10).await.unwrap(), []);
}

async fn a_key_names_one_submission(backend: impl Backend) {
    let (world, target) = (World::new(&**backend.store()), target("orders", 1));
    let key = IdempotencyKey::new("key-1").unwrap();
    let first = world.submit_with_key(&target, "ann", "key-1").await;
    let again = world.submission(&target, Ask { key: key.clone(), ..world.ask(&target, "ann") });
    assert!(is_conflict(&world.store.commit(&[Write::Request(&again)]).await));
    let other = world.submit_with_key(&target, "bob", "key-1").await;
    world.submit(&target, "ann").await;
    world.submit(&target, "ann").await;
    let key = key.unwrap();
    for request in [first, other] {
        let subject = request.ask.requester.subject.clone();
        assert_eq!(world.store.request_by_key(&subject, &key).await.unwrap(), Some(request));
    }
    assert_eq!(world.store.request_by_key("subject-cyd", &key).await.unwrap(), None);
}

/// I4: a change and its event are there together, or neither is.
async fn a_commit_is_all_or_nothing(backend: impl Backend) {
    let (world, target) = (World::new(&**backend.store()), target("orders", 1));
    let request = world.submit(&target, "dev").await;
    let grant = world.active(&target, "ann").await;
    let now = world.tick();
    let begin = |cause| grant.clone().begin(cause, Actor::Daemon, None, now).unwrap();
    let (stale, won) = (begin(Cause::Frozen), begin(Cause::Released));
    world.store_grant(won).await;
    let before = world.store.last_sequence().await.unwrap();
    let withdrawn = request.clone().withdraw(person("dev"), now).unwrap();
    let fact = refused_attempt(&world, None);
    let writes = [Write::Request(&withdrawn), Write::Fact(&fact), Write::Grant(&stale)];
    assert!(is_conflict(&world.store.commit(&writes).await));
    world.is_stored(&request).await;
    assert_eq!(world.store.last_sequence().await.unwrap(), before);
    assert_eq!(world.store.commit(&[]).await.unwrap(), []);
}

fn refused_attempt(world: &World<'_>, request: Option<&hallpass::access::request::Request>) -> Event {
    let about = About { request: request.map(|request| request.id), ..About::default() };
    let fact = Fact::AttemptRefused { verb: "approve", reason: "SELF_APPROVAL", problem: None };
    Event { at: world.tick(), actor: Actor::Person(person("dev")), about, fact }
}

/// I8: the log grows at its end, by one.
async fn the_log_has_no_gaps(backend: impl Backend) {
    let (world, target) = (World::new(&**backend.store()), target("orders", 1));
    assert_eq!(world.store.last_sequence().await.unwrap(), 0);
    let (request, grant) = world.opened(&target, "dev").await;
    let other = world.submit(&target, "ann").await;
    let facts = [refused_attempt(&world, Some(&request)), refused_attempt(&world, None)];
    let recorded = world.store.commit(&[Write::Fact(&facts[0]), Write::Fact(&facts[1])]).await.unwrap();
    assert_eq!(recorded.iter().map(|event| event.sequence).collect::<Vec<_>>(), [6, 7]);
    assert_eq!(world.store.last_sequence().await.unwrap(), 7);
    let timeline = world.store.timeline(request.id).await.unwrap();
    let told: Vec<_> = timeline.iter().map(|event| (event.sequence, event.kind.as_str())).collect();
    let expected = ["RequestSubmitted", "RequestApproved", "RequestClaimed", "GrantOpened"];
    let mut expected: Vec<_> = (1..).zip(expected).collect();
    expected.push((6, "AttemptRefused"));
    assert_eq!(told, expected);
    assert_eq!(timeline[3].about.grant, Some(grant.id));
    assert_eq!(timeline[4], recorded[0]);

    let after = async |scope, request, sequence, limit| {
        let events = world.store.events_after(&scope, request, sequence, limit).await.unwrap();
        events.iter().map(|event| event.sequence).collect::<Vec<_>>()
    };
    let owner = |name| Scope::Some { owner: person(name).subject, targets: BTreeSet::new() };
    let approver = Scope::Some { owner: "x".into(), targets: [target.name.clone()].into() };
    assert_eq!(after(Scope::All, None, 0, 100).await, [1, 2, 3, 4, 5, 6], "not what is about no request");
    assert_eq!(after(Scope::All, None, 2, 2).await, [3, 4]);
    assert_eq!(after(Scope::All, Some(request.id), 3, 100).await, [4, 6]);
    assert_eq!(after(owner("ann"), None, 0, 100).await, [5]);
    assert_eq!(after(owner("ann"), Some(request.id), 0, 100).await, [0; 0]);
    assert_eq!(after(owner("dev"), Some(other.id), 0, 100).await, [0; 0]);
    assert_eq!(after(approver, None, 4, 100).await, [5, 6]);
}

async fn a_person_may_deny_what_he_approved(backend: impl Backend) {
    let (world, two) = (World::new(&**backend.store()), target("payments", 2));
    let request = world.submit(&two, "dev").await;
    let request = world.approve(&request, &two, "lead").await;
    let denied = world.store_request(world.denial(&request, &two, "lead")).await;
    assert_eq!((denied.state.name(), denied.approvals.len()), ("DENIED", 1));
}

async fn what_is_due_is_due_by_the_millisecond(backend: impl Backend) {
    let (world, target) = (World::new(&**backend.store()), target("orders", 1));
    assert_eq!(world.store.next_deadline(beginning() - TimeDelta::days(1)).await.unwrap(), None);
    let pending = world.submit(&target, "dev").await;
    let approved = world.approved(&target, "dev").await;
    let held = world.active(&target, "dev").await;
    let deadlines =
        [pending.state.lapses_at().unwrap(), held.window.closes_at(), approved.state.lapses_at().unwrap()];
    assert!(deadlines.is_sorted());
    for (at, next) in [(0, 1), (1, 2)] {
        assert_eq!(world.store.next_deadline(deadlines[at]).await.unwrap(), Some(deadlines[next]));
    }
    assert_eq!(world.store.next_deadline(deadlines[2]).await.unwrap(), None);
    let ids = async |at| {
        let due = world.store.due(at).await.unwrap();
        (due.lapsing, due.closing.len(), due.revoking.into_iter().map(|(id, _)| id).collect::<Vec<_>>())
    };
    let moment = TimeDelta::milliseconds(1);
    assert_eq!(
        world.store.next_deadline(beginning() - TimeDelta::days(1)).await.unwrap(),
        Some(deadlines[0])
    );
    assert_eq!(ids(deadlines[0] - moment).await, (vec![], 0, vec![]));
    assert_eq!(ids(deadlines[0]).await, (vec![pending.id], 0, vec![]));
    assert_eq!(ids(deadlines[1] - moment).await, (vec![pending.id], 0, vec![]));
    assert_eq!(ids(deadlines[1]).await, (vec![pending.id], 1, vec![]));
    assert_eq!(ids(deadlines[2]).await, (vec![pending.id, approved.id], 1, vec![]));
    world.store_request(pending.lapse(deadlines[0]).unwrap()).await;
    assert_eq!(
        world.store.next_deadline(beginning() - TimeDelta::days(1)).await.unwrap(),
        Some(deadlines[1])
    );
    let first = world.active(&target, "ann").await;
    let second = world.begun(held, Cause::Released).await;
    let first = world.begun(first, Cause::Released).await;
    assert_eq!(
        world.store.next_deadline(beginning() - TimeDelta::days(1)).await.unwrap(),
        Some(deadlines[2])
    );
    assert_eq!(ids(beginning()).await, (vec![], 0, vec![second.id, first.id]), "the longest-ending first");
}

async fn no_target_crowds_out_another(backend: impl Backend) {
    let (world, busy, quiet) = (World::new(&**backend.store()), target("busy", 1), target("quiet", 1));
    let submissions: Vec<_> = (0..1100).map(|_| world.submission(&busy, world.ask(&busy, "dev"))).collect();
    let writes: Vec<_> = submissions.iter().map(Write::Request).collect();
    // A commit has to be made within the time that a caller is kept waiting.
    for some in writes.chunks(100) {
        world.store.commit(some).await.unwrap();
    }
    let one = world.submit(&quiet, "dev").await;
    let due = world.store.due(beginning() + TimeDelta::days(1)).await.unwrap();
    assert_eq!(due.lapsing.len(), 1001);
    assert_eq!(due.lapsing[0], submissions[0].after().id, "the longest due first");
    assert!(due.lapsing.contains(&one.id));
}

/// The pages end and begin in the middle of what is of the same millisecond.
async fn what_has_to_end_comes_in_pages(backend: impl Backend) {
    let (world, target) = (World::new(&**backend.store()), target("orders", 1));
    let store = world.store;
    let far = beginning() + TimeDelta::days(1);
    assert_eq!(store.closing(far, 10).await.unwrap(), []);
    assert_eq!(store.endings(None, 10).await.unwrap(), []);
    let mut held = Vec::new();
    for number in 0..7 {
        held.push(if number % 2 == 0 {
            world.active(&target, "dev").await
        } else {
            world.opened(&target, "dev").await.1
        });
    }
    let over = world.begun(world.opened(&target, "dev").await.1, Cause::Released).await;
    world.confirmed(over, Confirmation::NothingIssued).await;

    // The windows close in the order in which they were opened, and so do the ids.
    let closes_at = held[3].window.closes_at();
    assert_eq!(store.closing(far, 4).await.unwrap(), held[..4]);
    assert_eq!(store.closing(closes_at, 10).await.unwrap(), held[..4]);
    assert_eq!(store.closing(closes_at - TimeDelta::milliseconds(1), 10).await.unwrap(), held[..3]);
    assert_eq!(store.open_grants(None, 3).await.unwrap(), held[..3]);
    assert_eq!(store.open_grants(Some(held[2].id), 3).await.unwrap(), held[3..6]);
    assert_eq!(store.open_grants(Some(held[6].id), 3).await.unwrap(), []);
    assert_eq!(store.grant_to_end(held[1].id).await.unwrap().as_ref(), Some(&held[1]));

    // The later ones end first, two of them in the same millisecond.
    let now = world.tick();
    let mut ending = vec![world.begun(held.pop().unwrap(), Cause::Released).await];
    for grant in [held.remove(1), held.remove(0)] {
        let begun = grant.begin(Cause::Released, Actor::Daemon, None, now + TimeDelta::hours(1)).unwrap();
        ending.insert(1, world.store_grant(begun).await);
    }
    assert_eq!(store.endings(None, 10).await.unwrap(), ending);
    let mut paged: Vec<Grant> = Vec::new();
    while let Some(next) = {
        let after = paged.last().map(|last| (begun_at(last), last.id));
        store.endings(after, 1).await.unwrap().pop()
    } {
        paged.push(next);
    }
    assert_eq!(paged, ending);
    assert_eq!(store.open_grants(None, 10).await.unwrap(), held);
    assert_eq!(store.closing(far, 10).await.unwrap(), held);
}

fn begun_at(grant: &Grant) -> chrono::DateTime<chrono::Utc> {
    let State::Revoking(ending) = &grant.state else { unreachable!("it is ending") };
    ending.begun_at
}

async fn grants_come_with_their_requests(backend: impl Backend) {
    let (world, target) = (World::new(&**backend.store()), target("orders", 1));
    let (request, failed) = world.opened(&target, "dev").await;
    let failed = world.begun(failed, Cause::IssueFailed).await;
    let now = world.tick();
    let warrant = request.claim_again(now, Some(&target), &failed, false).unwrap();
    let next = Grant::open(GrantId::new(now, world.clock.random()), warrant, now);
    let next = world.store_grant(next).await;
    let (other, held) = world.opened(&target, "ann").await;
    let without = world.submit(&target, "bob").await;
    let grants = world.store.grants_of(&[request.id, without.id, other.id]).await.unwrap();
    assert_eq!(
        grants.into_iter().collect::<Vec<_>>(),
        [(request.id, vec![next, failed]), (other.id, vec![held]),]
    );
    assert!(world.store.grants_of(&[]).await.unwrap().is_empty());
    let many = vec![other.id; 40_000];
    assert_eq!(world.store.grants_of(&many).await.unwrap().len(), 1);
}

async fn leases_are_known_until_they_are_gone(backend: impl Backend) {
    let (world, orders, payments) =
        (World::new(&**backend.store()), target("orders", 1), target("payments", 1));
    world.opened(&orders, "bob").await;
    let held = world.active(&orders, "ann").await;
    let other = world.active(&payments, "ann").await;
    let State::Active { leased, .. } = held.state.clone() else { unreachable!("it is active") };
    let known = async || world.store.known_leases(&orders.credential_path).await.unwrap();
    assert_eq!(known().await, std::slice::from_ref(&leased.lease));
    assert_eq!(world.store.open_grants(None, 10).await.unwrap().len(), 3);
    let ending = world.begun(held, Cause::Released).await;
    assert_eq!(known().await, [leased.lease]);
    world.confirmed(ending, Confirmation::LeaseGone).await;
    assert_eq!(known().await, []);
    assert_eq!(world.store.open_grants(None, 10).await.unwrap().len(), 2);
    assert_eq!(world.store.known_leases(&other.credential_path).await.unwrap().len(), 1);
    assert_eq!(world.store.known_leases("database/creds").await.unwrap(), []);
}

async fn what_is_held_is_counted_until_it_is_confirmed_to_have_ended(backend: impl Backend) {
    let (world, orders, payments) =
        (World::new(&**backend.store()), target("orders", 1), target("payments", 1));
    let (asking, _) = world.opened(&orders, "ann").await;
    let held =
        async |name: &str| world.store.held(&orders.name, &person(name).subject, asking.id).await.unwrap();
    let nothing = Held::default();
    assert_eq!(held("ann").await, nothing, "the request that asks doesn't count");
    world.active(&payments, "ann").await;
    assert_eq!(held("ann").await, nothing, "another target");
    world.opened(&orders, "bob").await;
    let (first, second) = (world.active(&orders, "ann").await, world.active(&orders, "ann").await);
    let first = world.begun(first, Cause::Released).await;
    assert_eq!(held("ann").await, Held { by_person: 2, in_all: 3, ..nothing });
    assert_eq!(held("bob").await, Held { by_person: 1, in_all: 3, ..nothing });
    assert_eq!(held("cyd").await, Held { by_person: 0, in_all: 3, ..nothing });
    // The later one ends first.
    let second = world.begun(second, Cause::Released).await;
    world.confirmed(second, Confirmation::LeaseGone).await;
    let State::Revoked { revoked_at, .. } = world.confirmed(first, Confirmation::LeaseGone).await.state
    else {
        unreachable!("it is revoked")
    };
    assert_eq!(held("ann").await, Held { in_all: 1, last_ended_at: Some(revoked_at), ..nothing });
    assert_eq!(held("bob").await, Held { by_person: 1, in_all: 1, ..nothing });
}

async fn handles_stay_out_of_the_log(backend: impl Backend) {
    let (world, target) = (World::new(&**backend.store()), target("orders", 1));
    let grant = world.active(&target, "dev").await;
    let request = grant.request;
    let grant = world.begun(grant, Cause::Released).await;
    world.confirmed(grant, Confirmation::LeaseGone).await;
    let timeline = format!("{:?}", world.store.timeline(request).await.unwrap());
    assert!(timeline.contains("lease-digest"));
    assert!(!timeline.contains("secret-"), "{timeline}");
}

async fn a_restart_keeps_everything(backend: impl Backend) {
    let world = World::new(&**backend.store());
    let target = target("payments", 2);
    let (request, held) = world.opened(&target, "dev").await;
    let active = world.active(&target, "ann").await;
    let (key, last) = (world.store.digest_key().await.unwrap(), world.store.last_sequence().await.unwrap());
    assert_ne!(key, [0; 32]);
    let timeline = world.store.timeline(request.id).await.unwrap();
    let backend = backend.restart().await;
    let world = World::new(&**backend.store());
    world.is_stored(&request).await;
    world.is_held(&held).await;
    world.is_held(&active).await;
    assert_eq!(world.store.digest_key().await.unwrap(), key);
    assert_eq!(world.store.last_sequence().await.unwrap(), last);
    assert_eq!(world.store.timeline(request.id).await.unwrap(), timeline);
    world.clock.advance(TimeDelta::minutes(1));
    world.submit(&target, "bob").await;
    assert_eq!(world.store.last_sequence().await.unwrap(), last + 1);
}
