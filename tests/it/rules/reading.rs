//! What the broker shows, and to whom: one by one and in lists, which must agree.

use std::{collections::BTreeSet, time::Duration};

use chrono::TimeDelta;
use hallpass::{
    access::{
        actor::Caller,
        id::{GrantId, RequestId},
        target::{Target, TargetName},
    },
    broker::{Error, GrantFilter, RequestFilter, Slice},
    clock::Clock,
    store::Overdue,
};

use super::{
    developer, groups, person,
    races::{World, caller, world},
    target,
};

const ALL_REQUESTS: Slice<RequestId> = Slice { after: None, limit: u32::MAX };
const ALL_GRANTS: Slice<GrantId> = Slice { after: None, limit: u32::MAX };

fn owner() -> Caller {
    caller(developer(), "dev")
}

fn lead() -> Caller {
    caller(person("sub-ann", "ann"), "leads")
}

fn operator() -> Caller {
    caller(person("sub-ops", "ops"), "operators")
}

/// Somebody who may ask for the target, and has nothing to do with what others asked.
fn colleague() -> Caller {
    caller(person("sub-eve", "eve"), "dev")
}

fn stranger() -> Caller {
    caller(person("sub-bob", "bob"), "elsewhere")
}

/// A world in which one request was approved and claimed twice.
async fn claimed_twice() -> (World, RequestId, [GrantId; 2]) {
    let world = world();
    let request = world.approved().await;
    let first = world.claim(request, false).await.unwrap().grant.id;
    let second = world.claim(request, true).await.unwrap().grant.id;
    (world, request, [second, first])
}

fn is_hidden<T: std::fmt::Debug>(answer: Result<T, Error>, name: &str) -> bool {
    matches!(answer.unwrap_err(), Error::NotFound { name: said } if said == name)
}

#[tokio::test]
async fn who_may_see_it_sees_it_whole() {
    let (world, request, grants) = claimed_twice().await;
    for who in [owner(), lead(), operator()] {
        let seen = world.broker.request(&who, request).await.unwrap();
        assert_eq!((seen.request.id, seen.grant), (request, Some(grants[0])));
        for grant in grants {
            assert_eq!(world.broker.grant(&who, grant).await.unwrap().id, grant);
        }
        let whole = world.broker.exception(&who, request).await.unwrap();
        assert_eq!((whole.request.request.id, whole.request.grant), (request, Some(grants[0])));
        assert_eq!(whole.grants.iter().map(|grant| grant.id).collect::<Vec<_>>(), grants);
        let kinds: Vec<_> = whole.timeline.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(kinds.first(), Some(&"RequestSubmitted"), "{kinds:?}");
        assert_eq!(kinds.iter().filter(|kind| **kind == "GrantActivated").count(), 2, "{kinds:?}");
    }
}

#[tokio::test]
async fn what_others_own_looks_like_what_does_not_exist() {
    let (world, request, [grant, _]) = claimed_twice().await;
    let (unknown, no_grant) = (RequestId::new(world.clock.now(), 77), GrantId::new(world.clock.now(), 77));
    for who in [colleague(), stranger()] {
        for id in [request, unknown] {
            assert!(is_hidden(world.broker.request(&who, id).await, &format!("requests/{id}")));
            assert!(is_hidden(world.broker.exception(&who, id).await, &format!("exceptions/{id}")));
        }
        for id in [grant, no_grant] {
            assert!(is_hidden(world.broker.grant(&who, id).await, &format!("grants/{id}")));
        }
    }
}

#[tokio::test]
async fn lists_show_what_may_be_read_one_by_one() {
    let (world, request, grants) = claimed_twice().await;
    for who in [owner(), lead(), operator()] {
        let seen = world.broker.requests(&who, &RequestFilter::default(), ALL_REQUESTS).await.unwrap().items;
        assert_eq!(
            seen.iter().map(|view| (view.request.id, view.grant)).collect::<Vec<_>>(),
            [(request, Some(grants[0]))]
        );
        let listed = world.broker.grants(&who, &GrantFilter::default(), ALL_GRANTS).await.unwrap();
        assert_eq!(listed.iter().map(|grant| grant.id).collect::<Vec<_>>(), grants);
        let whole =
            world.broker.exceptions(&who, &RequestFilter::default(), ALL_REQUESTS).await.unwrap().items;
        let [exception] = whole.as_slice() else { panic!("{whole:?}") };
        assert_eq!((exception.request.request.id, exception.request.grant), (request, Some(grants[0])));
        assert_eq!(exception.grants.iter().map(|grant| grant.id).collect::<Vec<_>>(), grants);
        assert!(exception.timeline.is_empty(), "lists come without it");
    }
    let who = colleague();
    assert!(
        world.broker.requests(&who, &RequestFilter::default(), ALL_REQUESTS).await.unwrap().items.is_empty()
    );
    assert!(world.broker.grants(&who, &GrantFilter::default(), ALL_GRANTS).await.unwrap().is_empty());
    assert!(
        world
            .broker
            .exceptions(&who, &RequestFilter::default(), ALL_REQUESTS)
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

#[tokio::test]
async fn who_has_no_role_lists_nothing() {
    let (world, ..) = claimed_twice().await;
    let who = stranger();
    let refused = |error: Error| matches!(error, Error::Refused { .. });
    assert!(refused(world.broker.targets(&who).await.unwrap_err()));
    let requests = world.broker.requests(&who, &RequestFilter::default(), ALL_REQUESTS).await;
    assert!(refused(requests.unwrap_err()));
    let grants = world.broker.grants(&who, &GrantFilter::default(), ALL_GRANTS).await;
    assert!(refused(grants.unwrap_err()));
    let exceptions = world.broker.exceptions(&who, &RequestFilter::default(), ALL_REQUESTS).await;
    assert!(refused(exceptions.unwrap_err()));
}

/// The developers' target, and one of which they know nothing.
#[tokio::test]
async fn a_target_is_shown_to_those_who_have_a_role_for_it() {
    let name = |name: &str| name.parse::<TargetName>().unwrap();
    let orders = Target { requesters: groups(&["dev"]).into(), ..target(1) };
    let payroll = Target {
        name: name("payroll"),
        requesters: groups(&["hr"]).into(),
        approvers: groups(&["board"]).into(),
        ..target(1)
    };
    let world = super::races::world_of([orders, payroll]);
    let names = |views: Vec<hallpass::broker::TargetView>| -> BTreeSet<String> {
        views.into_iter().map(|view| view.target.name.to_string()).collect()
    };
    assert_eq!(names(world.broker.targets(&owner()).await.unwrap()), groups(&["orders"]));
    assert_eq!(names(world.broker.targets(&operator()).await.unwrap()), groups(&["orders", "payroll"]));
    for hidden in ["payroll", "nothing"] {
        let seen = world.broker.target(&owner(), &name(hidden)).await;
        assert!(is_hidden(seen, &format!("targets/{hidden}")));
    }
    for (who, can_request, can_approve) in
        [(owner(), true, false), (lead(), false, true), (operator(), false, false)]
    {
        let view = world.broker.target(&who, &name("orders")).await.unwrap();
        assert_eq!(view.target.name, name("orders"));
        assert_eq!((view.can_request, view.can_approve), (can_request, can_approve), "{who:?}");
    }
}

#[tokio::test]
async fn overdue_is_what_should_be_over_for_as_long_as_alarms_wait() {
    let world = world();
    let then = world.clock.now() - TimeDelta::minutes(1);
    assert_eq!(world.broker.overdue(), Overdue { begun_by: then, closed_by: then });
}

/// Whoever watches hears of what is committed, whatever came before.
#[tokio::test]
async fn a_watcher_is_woken_by_what_is_recorded() {
    let world = world();
    let request = world.submit().await.unwrap();
    let mut watch = world.broker.watch(&caller(developer(), "dev"), Some(request.id), None).await.unwrap();
    assert_eq!(watch.next().await.unwrap().event, None, "the present");
    let woken = tokio::spawn(async move { watch.next().await.unwrap().event.unwrap().kind });
    tokio::task::yield_now().await;
    world.approve(&request).await.unwrap();
    let kind = tokio::time::timeout(Duration::from_secs(5), woken).await.unwrap().unwrap();
    assert_eq!(kind, "RequestApproved");
}
