//! Asking, and asking again after an answer that got lost.

use std::time::Duration;

use hallpass::{
    access::{
        request::Request,
        target::Target,
        text::{IdempotencyKey, Prose, Ticket},
        writing::Writing,
    },
    broker::{Error, Submission, Written},
    store::Store as _,
};

use super::{
    REASON, SECOND, WINDOW, developer, groups, person,
    races::{World, caller, policy, world, world_with},
    target,
};

fn submission(key: Option<&str>) -> Submission {
    Submission {
        target: target(1).name,
        duration: Some(WINDOW),
        reason: Prose::new(REASON).unwrap(),
        not_before: None,
        ticket: None,
        key: key.and_then(|key| IdempotencyKey::new(key).unwrap()),
        validate_only: false,
    }
}

async fn submit(world: &World, submission: Submission) -> Result<Request, Error> {
    let submitted = world.broker.submit(&caller(developer(), "dev"), submission).await;
    world.clock.advance(SECOND);
    Ok(submitted?.request)
}

#[tokio::test]
async fn the_same_key_with_the_same_words_is_the_same_request() {
    let world = world();
    let first = submit(&world, submission(Some("k1"))).await.unwrap();
    assert_eq!(submit(&world, submission(Some("k1"))).await.unwrap().id, first.id);
    assert_ne!(submit(&world, submission(Some("k2"))).await.unwrap().id, first.id);
    assert_ne!(submit(&world, submission(None)).await.unwrap().id, first.id);
    assert_eq!(world.store.count("RequestSubmitted"), 3);
    let other = Submission { reason: Prose::new("something else").unwrap(), ..submission(Some("k1")) };
    let failure = submit(&world, other).await.unwrap_err();
    assert!(matches!(&failure, Error::KeyReused { name } if *name == format!("requests/{}", first.id)));
}

#[tokio::test]
async fn a_window_has_bounds() {
    let world = world();
    for (duration, problem) in [
        (Duration::ZERO, "duration must be positive"),
        (WINDOW + Duration::from_secs(1), "duration must be at most 1h, the longest window of orders"),
    ] {
        let failure =
            submit(&world, Submission { duration: Some(duration), ..submission(None) }).await.unwrap_err();
        assert!(matches!(&failure, Error::BadFields(_)), "{failure:?}");
        assert_eq!(failure.to_string(), problem);
    }
    submit(&world, submission(None)).await.unwrap();
}

/// What a target demands in writing: all that is wrong is said at once, and nothing is lost by it.
#[tokio::test]
async fn what_is_written_has_to_be_what_the_target_demands() {
    let writing = Writing {
        reason_min: 30,
        statement_min: 25,
        ticket_required: true,
        ticket_pattern: Some("OPS-[0-9]+".parse().unwrap()),
        ..Writing::default()
    };
    let world = world_with(Target { requesters: groups(&["dev"]).into(), writing, ..target(1) });
    let with = |reason: &str, ticket: &str| Submission {
        reason: Prose::new(reason).unwrap(),
        ticket: Ticket::new(ticket).unwrap(),
        ..submission(None)
    };
    let fields = |failure: Error| match failure {
        Error::BadFields(bad) => bad.into_iter().map(|bad| bad.field).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let long = "order 4711 hangs since the release of 09:40";
    for validate_only in [false, true] {
        for (reason, ticket, bad) in
            [("stuck", "", vec!["reason", "ticket"]), (long, "INC-1", vec!["ticket"])]
        {
            let asked = Submission { validate_only, ..with(reason, ticket) };
            assert_eq!(fields(submit(&world, asked).await.unwrap_err()), bad);
        }
    }
    let too_long = Submission { duration: Some(WINDOW * 2), ..with("stuck", "") };
    assert_eq!(fields(submit(&world, too_long).await.unwrap_err()), ["duration", "reason", "ticket"]);
    assert_eq!(world.store.count("RequestSubmitted"), 0);

    let request = submit(&world, with(long, "OPS-4711")).await.unwrap();
    let lead = caller(person("sub-ann", "ann"), "leads");
    let written =
        |statement: &str| Written { digest: request.digest(), statement: Prose::new(statement).unwrap() };
    assert_eq!(
        fields(world.broker.approve(&lead, request.id, written("ok")).await.unwrap_err()),
        ["statement"]
    );
    assert_eq!(fields(world.broker.deny(&lead, request.id, written("no")).await.unwrap_err()), ["statement"]);
    let statement = written("reading the orders is enough");
    let approved = world.broker.approve(&lead, request.id, statement).await.unwrap();
    assert_eq!(approved.request.state.name(), "APPROVED");
}

#[tokio::test]
async fn a_target_has_a_usual_window_or_wants_to_be_told() {
    let silent = || Submission { duration: None, ..submission(None) };
    let failure = submit(&world(), silent()).await.unwrap_err();
    assert_eq!(failure.to_string(), "duration must be given: orders has no default");
    let usual = Some(WINDOW / 2);
    let world =
        world_with(Target { requesters: groups(&["dev"]).into(), window_default: usual, ..target(1) });
    assert_eq!(submit(&world, silent()).await.unwrap().ask.duration, WINDOW / 2);
    assert_eq!(submit(&world, submission(None)).await.unwrap().ask.duration, WINDOW);
}

#[tokio::test]
async fn what_is_only_checked_is_not_submitted() {
    let world = world();
    let checked = Submission { validate_only: true, ..submission(Some("k1")) };
    let would_be = submit(&world, checked.clone()).await.unwrap();
    assert_eq!((would_be.state.name(), would_be.ask.duration), ("PENDING", WINDOW));
    assert!(world.store.request(would_be.id).await.unwrap().is_none());
    assert_eq!(world.store.count("RequestSubmitted"), 0);
    let stranger = caller(person("sub-bob", "bob"), "elsewhere");
    assert!(matches!(world.broker.submit(&stranger, checked).await, Err(Error::NotFound { .. })));
    let submitted = submit(&world, submission(Some("k1"))).await.unwrap();
    assert_eq!(world.store.count("RequestSubmitted"), 1, "the key was not used up");
    assert!(world.store.request(submitted.id).await.unwrap().is_some());
    let other = Submission { validate_only: true, duration: Some(WINDOW / 2), ..submission(Some("k1")) };
    assert!(matches!(submit(&world, other).await, Err(Error::KeyReused { .. })), "refused alike");
}

/// Whoever sends the same again after the operators have changed their minds has submitted it all the same.
#[tokio::test]
async fn what_was_submitted_stays_so_whatever_the_target_demands_by_now() {
    let target = Target { requesters: groups(&["dev"]).into(), window_default: Some(WINDOW), ..target(1) };
    let world = world_with(target.clone());
    let silent = || Submission { duration: None, ..submission(Some("k1")) };
    let first = submit(&world, silent()).await.unwrap();
    let writing = Writing { ticket_required: true, ..Writing::default() };
    let stricter = Target { window_default: Some(WINDOW / 2), writing, ..target };
    let world = world.configured(policy([stricter]));
    assert_eq!(submit(&world, silent()).await.unwrap().id, first.id);
    assert!(matches!(submit(&world, submission(None)).await, Err(Error::BadFields(_))));
}

/// What somebody tried and may not is on record with what he tried it on.
#[tokio::test]
async fn a_refused_attempt_names_its_target() {
    let world = world();
    let stranger = caller(person("sub-bob", "bob"), "elsewhere");
    assert!(world.broker.submit(&stranger, submission(None)).await.is_err());
    assert!(world.broker.target(&stranger, &target(1).name).await.is_err());
    let request = submit(&world, submission(None)).await.unwrap();
    assert!(world.broker.request(&stranger, request.id).await.is_err());
    let orders = Some(target(1).name);
    assert_eq!(world.store.targets("AttemptRefused"), [orders.clone(), orders.clone(), orders]);
}
