//! Who may decide, how many of which groups, on which terms, and in which hours, asked of the whole broker.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::TimeDelta;
use hallpass::{
    access::{
        actor::{Caller, Persons},
        hours::Hours,
        members::Members,
        policy::Policy,
        quorum::Quorum,
        refusal::Refusal,
        request::Request,
        target::Target,
        terms::{Leeway, Terms},
        text::Prose,
    },
    broker::{Approving, Claimed, Error, RequestView, Submission, Written},
    clock::Clock as _,
};

use super::{
    CLAIM_WITHIN, DECIDE_WITHIN, MILLI, REASON, STATEMENT, WINDOW, at, developer, groups, person,
    races::{World, caller, policy, world_with},
    target,
};

fn orders() -> Target {
    target(1)
}

fn who(name: &str, of: &[&str]) -> Caller {
    Caller { person: person(&format!("sub-{name}"), name), groups: groups(of) }
}

async fn approve(world: &World, by: &Caller, request: &Request, terms: Terms) -> Result<RequestView, Error> {
    let written = Written { digest: request.digest(), statement: Prose::new(STATEMENT).unwrap() };
    world.broker.approve(by, request.id, Approving { written, terms, signature: None }).await
}

async fn approve_plainly(world: &World, by: &Caller, request: &Request) -> Result<RequestView, Error> {
    approve(world, by, request, Terms::default()).await
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, Error>) -> Refusal {
    match answer.unwrap_err() {
        Error::Refused { refusal, .. } => refusal,
        other => panic!("{other:?}"),
    }
}

fn fields<T: std::fmt::Debug>(answer: Result<T, Error>) -> Vec<&'static str> {
    match answer.unwrap_err() {
        Error::BadFields(bad) => bad.into_iter().map(|bad| bad.field).collect(),
        other => panic!("{other:?}"),
    }
}

fn people(subjects: &[&str]) -> Members {
    Members { groups: BTreeSet::new(), persons: groups(subjects) }
}

/// A person has a role whatever his groups are, and nobody else by them.
#[tokio::test]
async fn people_have_roles_by_name() {
    let target = Target { requesters: people(&["sub-dev"]), approvers: people(&["sub-ann"]), ..orders() };
    let world = world_with(target);
    let request = world.submit().await.unwrap();
    let submission = Submission {
        target: request.ask.target.clone(),
        duration: Some(WINDOW),
        reason: Prose::new(REASON).unwrap(),
        not_before: None,
        ticket: None,
        key: None,
        validate_only: false,
    };
    let eve = who("eve", &["dev", "leads"]);
    assert!(matches!(world.broker.submit(&eve, submission).await, Err(Error::NotFound { .. })));
    assert!(matches!(approve_plainly(&world, &eve, &request).await, Err(Error::NotFound { .. })));
    let approved = approve_plainly(&world, &who("ann", &[]), &request).await.unwrap().request;
    assert_eq!(approved.state.name(), "APPROVED");
    assert!(approved.approvals[0].decision().groups.is_empty());
    world.claim(request.id, false).await.unwrap();
}

#[tokio::test]
async fn approvals_have_to_be_of_the_groups_that_are_demanded() {
    let quorum = Quorum(BTreeMap::from([("security".to_owned(), 1), ("leads".to_owned(), 1)]));
    let approvers = groups(&["leads", "security"]).into();
    let world = world_with(Target { approvers, quorum, ..target(2) });
    let request = world.submit().await.unwrap();
    assert_eq!(
        world.broker.request(&caller(developer(), "dev"), request.id).await.unwrap().groups_missing,
        ["leads", "security"]
    );
    let first = approve_plainly(&world, &who("ann", &["leads", "security", "more"]), &request).await.unwrap();
    assert_eq!(first.groups_missing.len(), 1, "she stands for one of them");
    assert_eq!(first.request.approvals[0].decision().groups, groups(&["leads", "security"]));
    let second = approve_plainly(&world, &who("bob", &["leads"]), &request).await.unwrap();
    assert_eq!((second.request.state.name(), second.groups_missing.len()), ("APPROVED", 0));
    world.claim(request.id, false).await.unwrap();
}

#[tokio::test]
async fn enough_approvals_of_the_wrong_groups_are_not_enough() {
    let quorum = Quorum(BTreeMap::from([("security".to_owned(), 1)]));
    let approvers = groups(&["leads", "security"]).into();
    let world = world_with(Target { approvers, quorum, ..target(2) });
    let request = world.submit().await.unwrap();
    for name in ["ann", "bob"] {
        let view = approve_plainly(&world, &who(name, &["leads"]), &request).await.unwrap();
        assert_eq!(
            (view.request.state.name(), view.groups_missing),
            ("PENDING", vec!["security".to_owned()])
        );
    }
    let third = approve_plainly(&world, &who("sue", &["security"]), &request).await.unwrap();
    assert_eq!(third.request.state.name(), "APPROVED");
}

/// Eligibility is checked again at the claim: by the configuration as it is then.
#[tokio::test]
async fn approvals_of_those_who_may_no_longer_approve_open_nothing() {
    let world = world_with(orders());
    let request = world.approved().await;
    let other_group = Target { approvers: groups(&["board"]).into(), ..orders() };
    let a_person = Target { approvers: people(&["sub-ann"]), ..orders() };
    let quorum = Quorum(BTreeMap::from([("board".to_owned(), 1)]));
    let other_quorum = Target { approvers: groups(&["leads", "board"]).into(), quorum, ..orders() };
    let mut world = world;
    for target in [other_group, other_quorum] {
        world = world.configured(policy([target]));
        assert_eq!(refusal(world.claim(request, false).await), Refusal::ApprovalInvalid);
    }
    assert_eq!(world.vault.minted(), 0);
    let world = world.configured(policy([a_person]));
    world.claim(request, false).await.unwrap();
}

/// Also under the name that an approver's identities got since.
#[tokio::test]
async fn an_approver_by_name_stays_one_when_his_identities_are_put_together() {
    let target = Target { approvers: people(&["sub-ann"]), ..orders() };
    let world = world_with(target);
    let request = world.submit().await.unwrap();
    approve_plainly(&world, &who("ann", &[]), &request).await.unwrap();
    let mut persons = Persons::default();
    assert!(persons.add("ann", "sub-ann"));
    let target = Target { approvers: people(&["person:ann"]), ..orders() };
    let world = world.configured(Policy { persons, ..policy([target]) });
    world.claim(request.id, false).await.unwrap();
}

fn minutes(minutes: i64) -> TimeDelta {
    TimeDelta::minutes(minutes)
}

async fn claim(world: &World, request: &Request) -> Result<Claimed, Error> {
    world.broker.claim(&caller(developer(), "dev"), request.id, false).await
}

#[tokio::test]
async fn approvers_shorten_the_window_and_the_shortest_counts() {
    let world = world_with(target(2));
    let request = world.submit().await.unwrap();
    let lasting = |minutes| Terms { duration: Some(Duration::from_mins(minutes)), ..Terms::default() };
    assert_eq!(fields(approve(&world, &who("ann", &["leads"]), &request, lasting(61)).await), ["duration"]);
    for (name, minutes) in [("ann", 30), ("bob", 20)] {
        approve(&world, &who(name, &["leads"]), &request, lasting(minutes)).await.unwrap();
    }
    let window = claim(&world, &request).await.unwrap().grant.window;
    assert_eq!(window.closes_at() - window.opens_at(), minutes(20));
}

#[tokio::test]
async fn a_window_opens_when_the_approvers_say() {
    let world = world_with(orders());
    let request = world.submit().await.unwrap();
    let now = world.clock.now();
    let terms = Terms {
        not_before: Some(now + minutes(300)),
        not_after: Some(now + minutes(310)),
        ..Terms::default()
    };
    let approved = approve(&world, &who("ann", &["leads"]), &request, terms).await.unwrap().request;
    assert_eq!(approved.state.lapses_at(), terms.not_after);
    world.clock.advance(minutes(300) - MILLI);
    assert_eq!(refusal(claim(&world, &request).await), Refusal::TooEarly { not_before: now + minutes(300) });
    world.clock.advance(MILLI);
    claim(&world, &request).await.unwrap();
}

/// A requester asks for later himself; approvers narrow it.
#[tokio::test]
async fn a_window_may_be_asked_for_later() {
    let world = world_with(orders());
    let now = world.clock.now();
    let asked = |minutes_ahead: i64| Submission {
        target: orders().name,
        duration: Some(WINDOW),
        not_before: Some(now + minutes(minutes_ahead)),
        reason: Prose::new(REASON).unwrap(),
        ticket: None,
        key: None,
        validate_only: false,
    };
    let dev = caller(developer(), "dev");
    assert_eq!(fields(world.broker.submit(&dev, asked(30 * 24 * 60 + 1)).await), ["not_before"]);
    let request = world.broker.submit(&dev, asked(300)).await.unwrap().request;
    let early = Terms { not_after: Some(now + minutes(300)), ..Terms::default() };
    let ann = who("ann", &["leads"]);
    assert_eq!(fields(approve(&world, &ann, &request, early).await), ["not_after"], "no time would be left");
    let approved = approve_plainly(&world, &ann, &request).await.unwrap().request;
    assert_eq!(approved.state.lapses_at(), Some(now + minutes(300) + CLAIM_WITHIN));
    assert_eq!(refusal(claim(&world, &request).await), Refusal::TooEarly { not_before: now + minutes(300) });
    world.clock.advance(minutes(300));
    claim(&world, &request).await.unwrap();
}

/// Whatever `claim_within` says, an approval for later waits for its time, and then as long as any.
#[tokio::test]
async fn an_approval_for_later_is_claimable_then() {
    let world = world_with(orders());
    let request = world.submit().await.unwrap();
    let not_before = Some(world.clock.now() + minutes(1000));
    let terms = Terms { not_before, ..Terms::default() };
    let approved = approve(&world, &who("ann", &["leads"]), &request, terms).await.unwrap().request;
    assert_eq!(approved.state.lapses_at(), not_before.map(|at| at + CLAIM_WITHIN));
}

/// A request that waits for more approvals lapses when the window couldn't open any more.
#[tokio::test]
async fn a_request_waits_no_longer_than_its_approvals_are_good_for() {
    let world = world_with(target(2));
    let request = world.submit().await.unwrap();
    let not_after = Some(world.clock.now() + minutes(5));
    let terms = Terms { not_after, ..Terms::default() };
    let pending = approve(&world, &who("ann", &["leads"]), &request, terms).await.unwrap().request;
    assert_eq!((pending.state.name(), pending.state.lapses_at()), ("PENDING", not_after));
    let bob = who("bob", &["leads"]);
    let later = Terms { not_before: not_after, ..Terms::default() };
    assert_eq!(fields(approve(&world, &bob, &request, later).await), ["not_before"]);
    world.clock.advance(minutes(5));
    let refused = refusal(approve_plainly(&world, &bob, &request).await);
    assert!(matches!(refused, Refusal::RequestState { state: "LAPSED", .. }), "{refused:?}");
}

#[tokio::test]
async fn a_target_may_leave_its_approvers_no_choice() {
    let world = world_with(Target { leeway: Leeway { shorten: false, narrow: false }, ..orders() });
    let request = world.submit().await.unwrap();
    let now = world.clock.now();
    let terms = Terms { duration: Some(WINDOW), not_before: Some(now), not_after: Some(now + minutes(1)) };
    let ann = who("ann", &["leads"]);
    assert_eq!(fields(approve(&world, &ann, &request, terms).await), ["duration", "not_before", "not_after"]);
    approve_plainly(&world, &ann, &request).await.unwrap();
}

/// Hours that are open from 15:00 to 16:30 UTC; the tests begin at 14:13:20.
fn afternoon() -> Hours {
    let open = ["* 15 * * *", "0-29 16 * * *"];
    let read = |text: &&str| ((*text).to_owned(), hallpass::schedule::minutes(text).unwrap());
    Hours::new("UTC".parse().unwrap(), open.iter().map(read).collect())
}

#[tokio::test]
async fn a_window_lies_in_the_hours_or_is_not_opened() {
    let world = world_with(Target { hours: Some(afternoon()), ..orders() });
    let request = world.submit().await.unwrap();
    approve_plainly(&world, &who("ann", &["leads"]), &request).await.unwrap();
    let three = at(0) + TimeDelta::seconds(46 * 60 + 40);
    let fits_at = match refusal(claim(&world, &request).await) {
        Refusal::OutsideHours { fits_at, .. } => fits_at,
        other => panic!("{other:?}"),
    };
    assert_eq!(fits_at, Some(three));
    assert_eq!(world.vault.minted(), 0);
    world.clock.advance(three + minutes(30) + MILLI - world.clock.now());
    assert!(matches!(refusal(claim(&world, &request).await), Refusal::OutsideHours { fits_at: None, .. }));
    world.clock.set(three + minutes(30));
    claim(&world, &request).await.unwrap();
}

/// What could never be claimed is not taken.
#[tokio::test]
async fn a_request_that_fits_no_hours_is_refused_at_once() {
    let world = world_with(Target { hours: Some(afternoon()), window_max: 2 * WINDOW, ..orders() });
    let submission = |duration| Submission {
        target: orders().name,
        duration: Some(duration),
        reason: Prose::new(REASON).unwrap(),
        not_before: None,
        ticket: None,
        key: None,
        validate_only: true,
    };
    let dev = caller(developer(), "dev");
    let most = Duration::from_mins(90);
    world.broker.submit(&dev, submission(most)).await.unwrap();
    let refused = world.broker.submit(&dev, submission(most + Duration::from_secs(1))).await;
    assert_eq!(fields(refused), ["duration"]);
    // Not the whole hours lie before the request would lapse.
    let target =
        Target { decide_within: Duration::from_mins(40), claim_within: Duration::from_mins(6), ..orders() };
    let world = world.configured(policy([Target { hours: Some(afternoon()), ..target }]));
    assert!(DECIDE_WITHIN > CLAIM_WITHIN);
    assert_eq!(fields(world.broker.submit(&dev, submission(WINDOW)).await), ["duration"]);
}
