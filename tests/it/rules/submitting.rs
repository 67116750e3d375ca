//! Asking, and asking again after an answer that got lost.

use std::time::Duration;

use hallpass::{
    access::{
        request::Request,
        text::{IdempotencyKey, Prose},
    },
    broker::{Error, Submission},
};

use super::{
    REASON, SECOND, WINDOW, developer, person,
    races::{World, caller, world},
    target,
};

fn submission(key: Option<&str>) -> Submission {
    Submission {
        target: target(1).name,
        duration: WINDOW,
        reason: Prose::new(REASON).unwrap(),
        ticket: None,
        key: key.and_then(|key| IdempotencyKey::new(key).unwrap()),
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
        let failure = submit(&world, Submission { duration, ..submission(None) }).await.unwrap_err();
        assert!(matches!(&failure, Error::BadFields(_)), "{failure:?}");
        assert_eq!(failure.to_string(), problem);
    }
    submit(&world, Submission { duration: WINDOW, ..submission(None) }).await.unwrap();
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
