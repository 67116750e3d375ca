//! Lists, of every store: what they show to whom, and that a page stays what it is.

use hallpass::{
    access::{policy::Scope, revocation::Cause},
    store::{GrantFilter, RequestFilter, Slice},
};

use super::{
    Backend, all,
    values::{World, person, target},
};

pub async fn pages_stay_while_rows_are_added(backend: impl Backend) {
    let (world, target) = (World::new(&**backend.store()), target("orders", 1));
    let mut expected = Vec::new();
    for _ in 0..7 {
        expected.insert(0, world.opened(&target, "dev").await.0.id);
    }
    let (mut requests, mut of_grants) = (Vec::new(), Vec::new());
    let (mut after, mut after_grant) = (None, None);
    while requests.len() < expected.len() {
        let slice = Slice { after, limit: 3 };
        let page = world.store.requests(&Scope::All, &RequestFilter::default(), slice).await.unwrap().items;
        after = page.last().map(|request| request.id);
        requests.extend(page.iter().map(|request| request.id));
        let slice = Slice { after: after_grant, limit: 3 };
        let page = world.store.grants(&Scope::All, &GrantFilter::default(), slice).await.unwrap();
        after_grant = page.last().map(|grant| grant.id);
        of_grants.extend(page.iter().map(|grant| grant.request));
        world.opened(&target, "dev").await;
    }
    assert_eq!(requests, expected);
    assert_eq!(of_grants, expected);
    let slice = Slice { after, limit: 3 };
    assert_eq!(world.store.requests(&Scope::All, &RequestFilter::default(), slice).await.unwrap().items, []);
}

pub async fn lists_show_the_scope(backend: impl Backend) {
    let (world, orders, payments) =
        (World::new(&**backend.store()), target("orders", 1), target("payments", 1));
    let (ann, _) = world.opened(&orders, "ann").await;
    let (bob, _) = world.opened(&orders, "bob").await;
    let (paid, _) = world.opened(&payments, "bob").await;
    let scope = |owner: &str, targets: &[&hallpass::access::target::Target]| Scope::Some {
        owner: person(owner).subject,
        targets: targets.iter().map(|target| target.name.clone()).collect(),
    };
    let cases = [
        (Scope::All, vec![paid.id, bob.id, ann.id]),
        (scope("ann", &[]), vec![ann.id]),
        (scope("cyd", &[]), vec![]),
        (scope("cyd", &[&orders]), vec![bob.id, ann.id]),
        (scope("ann", &[&payments]), vec![paid.id, ann.id]),
        (scope("cyd", &[&orders, &payments]), vec![paid.id, bob.id, ann.id]),
    ];
    for (scope, expected) in cases {
        let requests = world.store.requests(&scope, &RequestFilter::default(), all()).await.unwrap().items;
        assert_eq!(requests.iter().map(|request| request.id).collect::<Vec<_>>(), expected, "{scope:?}");
        let grants = world.store.grants(&scope, &GrantFilter::default(), all()).await.unwrap();
        assert_eq!(grants.iter().map(|grant| grant.request).collect::<Vec<_>>(), expected, "{scope:?}");
    }
}

pub async fn lists_show_what_matches(backend: impl Backend) {
    let (world, orders, payments) =
        (World::new(&**backend.store()), target("orders", 1), target("payments", 1));
    let pending = world.submit(&orders, "ann").await;
    let approved = world.approved(&payments, "bob").await;
    let (claimed, held) = world.opened(&orders, "bob").await;
    let ended = world.active(&payments, "cyd").await;
    let ended = world.begun(ended, Cause::Released).await;
    let from = approved.ask.submitted_at;
    let requests = |filter: RequestFilter| async move {
        let found = world.store.requests(&Scope::All, &filter, all()).await.unwrap().items;
        found.iter().map(|request| request.id).collect::<Vec<_>>()
    };
    let requests = &requests;
    let none = RequestFilter::default;
    assert_eq!(requests(RequestFilter { states: vec!["PENDING"], ..none() }).await, [pending.id]);
    let states = vec!["PENDING", "APPROVED"];
    assert_eq!(requests(RequestFilter { states, ..none() }).await, [approved.id, pending.id]);
    assert_eq!(requests(RequestFilter { states: vec!["X"], ..none() }).await, []);
    let by_target = RequestFilter { target: Some(orders.name.clone()), ..none() };
    assert_eq!(requests(by_target.clone()).await, [claimed.id, pending.id]);
    for name in ["bob", "subject-bob"] {
        let by_person = RequestFilter { requester: Some(name.into()), ..none() };
        assert_eq!(requests(by_person).await, [claimed.id, approved.id]);
        let by_both = RequestFilter { requester: Some(name.into()), ..by_target.clone() };
        assert_eq!(requests(by_both).await, [claimed.id]);
    }
    let later = RequestFilter { submitted_from: Some(from), ..none() };
    assert_eq!(requests(later).await, [ended.request, claimed.id, approved.id]);
    let earlier = RequestFilter { submitted_until: Some(from), ..none() };
    assert_eq!(requests(earlier).await, [pending.id]);

    let grants = async |filter: GrantFilter| {
        let found = world.store.grants(&Scope::All, &filter, all()).await.unwrap();
        found.iter().map(|grant| grant.id).collect::<Vec<_>>()
    };
    let none = GrantFilter::default;
    assert_eq!(grants(none()).await, [ended.id, held.id]);
    assert_eq!(grants(GrantFilter { states: vec!["REVOKING"], ..none() }).await, [ended.id]);
    assert_eq!(grants(GrantFilter { target: Some(orders.name.clone()), ..none() }).await, [held.id]);
    assert_eq!(grants(GrantFilter { holder: Some("cyd".into()), ..none() }).await, [ended.id]);
    assert_eq!(grants(GrantFilter { request: Some(claimed.id), ..none() }).await, [held.id]);
}
