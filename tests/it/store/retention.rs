//! Texts that go, of every store: all of them and nothing else, with the event that says so, or none.

use chrono::{DateTime, TimeDelta, Utc};
use hallpass::{
    access::{
        approval::Decision,
        approval_text::ApprovalText,
        freeze::Freeze,
        id::{FreezeId, RequestId},
        request::Request,
        retention::Erasure,
        revocation::{Cause, Confirmation},
        signing::Signed,
        target::Target,
        terms::Terms,
        text::Prose,
    },
    store::{StoreError, Write},
};
use serde_json::Value;

use super::{
    Backend,
    log::root,
    values::{World, person, target},
};

/// Later than all that happens here, and than all windows.
pub fn later(world: &World<'_>) -> DateTime<Utc> {
    world.clock.advance(TimeDelta::days(400));
    world.tick()
}

/// What there is to erase by then, of at most so many.
pub async fn batch(world: &World<'_>, until: DateTime<Utc>, limit: u32) -> Option<Erasure> {
    let retention = world.store.retention();
    let past = retention.past(until, limit).await.unwrap();
    let freezes = retention.past_freezes(until, limit).await.unwrap();
    Erasure::of(past, freezes, until, until)
}

/// Approved by somebody who signed it.
async fn signed(world: &World<'_>, target: &Target) -> Request {
    let request = world.submit(target, "dev").await;
    let unsigned = world.decision(&request, "lead");
    let (statement, now) = (unsigned.statement.kept().unwrap().clone(), unsigned.decided_at);
    let text = ApprovalText::of(
        request.id,
        &request.ask,
        Terms::default(),
        &unsigned.approver.subject,
        statement,
        now,
    );
    let (signature, key) = ("armor".to_owned(), format!("SHA256:{}", "x".repeat(43)));
    let signed = Some(Box::new(Signed { text: text.into(), signature, key, present: true }));
    let change = request.approve(Decision { signed, ..unsigned }, Some(target)).unwrap().unwrap();
    world.store_request(change).await
}

/// An exception that is over: approved, held, and ended by somebody who wrote why.
pub async fn over(world: &World<'_>, target: &Target) -> RequestId {
    let approved = signed(world, target).await;
    let (request, grant) = world.claim(approved, target).await;
    let grant = world.minted(grant).await;
    let grant = world.leased(grant).await;
    let grant = world.activated(grant).await;
    let grant = world.begun(grant, Cause::RevokedByOperator).await;
    world.confirmed(grant, Confirmation::LeaseGone).await;
    request.id
}

pub async fn what_is_over_loses_its_texts(backend: impl Backend) {
    let (world, target) = (World::new(&**backend.store()), target("orders", 1));
    let claimed = over(&world, &target).await;
    let asked = world.submit(&target, "dev").await;
    let denied = world.store_request(world.denial(&asked, &target, "lead")).await;
    let before = usize::try_from(world.store.last_sequence().await.unwrap()).unwrap();
    let (root_before, leaves) =
        (root(world.store, before).await, world.store.ledger().leaves(0, 100).await.unwrap());
    let (until, first) = (later(&world), [claimed, denied.id]);
    for (id, texts) in first.into_iter().zip([4, 2]) {
        let erasure = batch(&world, until, 1).await.unwrap();
        let recorded = world.store.commit(&[Write::Erasure(&erasure)]).await.unwrap();
        let [event] = recorded.as_slice() else { panic!("{recorded:?}") };
        assert_eq!(event.kind, "TextsErased");
        assert_eq!(event.detail["requests"], serde_json::json!([id.to_string()]));
        assert_eq!(event.detail["texts"], texts);
        world.is_stored(&erasure.requests()[0]).await;
        let timeline = world.store.timeline(id).await.unwrap();
        let has = |field: &str| timeline.iter().filter(|event| event.detail.get(field).is_some()).count();
        assert_eq!((has("reason"), has("statement"), has("signed_text")), (0, 0, 0));
        assert!(has("reason_digest") + has("statement_digest") > 1);
    }
    assert!(batch(&world, until, 10).await.is_none(), "nothing is left to erase");
    assert!(world.store.retention().scrub().await.unwrap());
    assert_eq!(root(world.store, before).await, root_before, "the tree is what it was");
    let backend = backend.restart().await;
    let kept = backend.store().ledger().leaves(0, u32::try_from(before).unwrap()).await.unwrap();
    assert!(kept.iter().all(|leaf| leaf.texts.is_empty()));
    assert!(kept.iter().zip(&leaves).all(|(kept, leaf)| kept.line == leaf.line));
    for id in first {
        let request = backend.store().request(id).await.unwrap().unwrap();
        assert_eq!(request.ask.reason.erased().map(|left| left.erased_at), Some(until));
    }
}

pub async fn what_is_open_keeps_its_texts(backend: impl Backend) {
    let (world, target) = (World::new(&**backend.store()), target("orders", 1));
    world.submit(&target, "dev").await;
    world.approved(&target, "dev").await;
    world.opened(&target, "dev").await;
    world.active(&target, "dev").await;
    let ending = world.active(&target, "dev").await;
    world.begun(ending, Cause::Released).await;
    let young = over(&world, &target).await;
    let young = world.store.timeline(young).await.unwrap().last().unwrap().at;
    for until in [young, later(&world)] {
        let past = world.store.retention().past(until, 100).await.unwrap();
        // What isn't over takes no place from what is.
        assert_eq!(past.len(), usize::from(until > young), "{past:?}");
    }
}

/// What is found to be over and is another by the time that it is to be erased stays as it is.
pub async fn what_moved_on_is_not_erased(backend: impl Backend) {
    let (world, target) = (World::new(&**backend.store()), target("orders", 1));
    over(&world, &target).await;
    let until = later(&world);
    let (one, other) = (batch(&world, until, 1).await.unwrap(), batch(&world, until, 1).await.unwrap());
    let last = world.store.last_sequence().await.unwrap();
    let both = world.store.commit(&[Write::Erasure(&one), Write::Erasure(&other)]).await;
    assert!(matches!(both, Err(StoreError::Conflict { .. })), "{both:?}");
    assert_eq!(world.store.last_sequence().await.unwrap(), last);
    let kept = world.store.ledger().leaves(0, 100).await.unwrap();
    assert_eq!(kept.iter().map(|leaf| leaf.texts.len()).sum::<usize>(), 4, "nothing of it was done");
    world.store.commit(&[Write::Erasure(&one)]).await.unwrap();
    let again = world.store.commit(&[Write::Erasure(&other)]).await;
    assert!(matches!(again, Err(StoreError::Conflict { .. })), "{again:?}");
}

pub async fn a_freeze_that_is_over_loses_its_texts(backend: impl Backend) {
    let world = World::new(&**backend.store());
    let (opal, why) = (person("opal"), |text: &str| Prose::new(text).unwrap());
    let begin = |extent: &str| {
        let (extent, now) = (extent.parse().unwrap(), world.tick());
        Freeze::begin(FreezeId::new(now, 7), extent, opal.clone(), why("a breach"), false, now)
    };
    let mut ids = Vec::new();
    for _ in 0..2 {
        let frozen = begin("orders");
        world.store.commit(&[Write::Freeze(&frozen)]).await.unwrap();
        let more = frozen.into_after().end_grants(opal.clone(), &why("worse"), world.tick()).unwrap();
        world.store.commit(&[Write::Freeze(&more)]).await.unwrap();
        let thaw = more.into_after().thaw(opal.clone(), &why("it is over"), world.tick()).unwrap();
        world.store.commit(&[Write::Freeze(&thaw)]).await.unwrap();
        ids.push(thaw.after().id.to_string());
    }
    for extent in ["orders", "*"] {
        world.store.commit(&[Write::Freeze(&begin(extent))]).await.unwrap();
    }
    let until = later(&world);
    for (number, id) in (1_usize..).zip(&ids) {
        let erasure = batch(&world, until, 1).await.unwrap();
        let recorded = world.store.commit(&[Write::Erasure(&erasure)]).await.unwrap();
        assert_eq!(recorded[0].detail["freezes"], serde_json::json!([id]));
        assert_eq!(recorded[0].detail["texts"], 3);
        let leaves = world.store.ledger().leaves(0, 100).await.unwrap();
        let with_texts =
            |leaf: &&hallpass::ledger::leaf::Leaf| leaf.texts.get("reason").is_some_and(Value::is_string);
        assert_eq!(leaves.iter().filter(with_texts).count(), 8 - 3 * number, "each its own");
    }
    assert!(batch(&world, until, 10).await.is_none());
    assert_eq!(world.store.freezes().await.unwrap().len(), 2, "what stands is read as before");
}
