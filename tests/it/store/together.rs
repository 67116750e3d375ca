//! Commits of every kind at once, which share transactions and statements: each is stored or refused as if it came alone.

use std::sync::Arc;

use hallpass::{
    access::{
        actor::Actor,
        change::Change,
        grant::Grant,
        id::GrantId,
        request::Request,
        revocation::{Cause, Confirmation},
        target::Target,
    },
    clock::Clock as _,
    store::{Store, StoreError, Write},
};
use tokio::task::JoinSet;

use super::{
    Backend,
    freezes::freeze,
    log::is_one_tree,
    values::{World, digest, target},
};

/// How many of each kind come at once.
const EACH: usize = 5;

/// What one caller commits, and whether somebody else commits the same.
#[derive(Clone)]
struct Commit {
    requests: Vec<Change<Request>>,
    grants: Vec<Change<Grant>>,
    is_contested: bool,
}

impl Commit {
    async fn make(&self, store: &dyn Store) -> Result<usize, StoreError> {
        let requests = self.requests.iter().map(Write::Request);
        let writes: Vec<Write<'_>> = requests.chain(self.grants.iter().map(Write::Grant)).collect();
        Ok(store.commit(&writes).await?.len())
    }
}

pub async fn what_comes_at_once_is_stored_as_if_it_came_alone(backend: impl Backend) {
    let store = backend.store();
    let world = World::new(&**store);
    let mut commits = Vec::new();
    for number in 0..EACH {
        commits.extend(all_kinds(&world, number).await);
    }
    let mut tasks = JoinSet::new();
    for commit in commits.clone() {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            let made = commit.make(&*store).await;
            (commit, made)
        });
    }
    let (mut contested, mut uncontested) = (0, 0);
    for (commit, made) in tasks.join_all().await {
        match made {
            Ok(recorded) => {
                assert_eq!(recorded, commit.requests.len() + commit.grants.len());
                *if commit.is_contested { &mut contested } else { &mut uncontested } += 1;
            }
            Err(StoreError::Conflict { .. }) if commit.is_contested => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!((contested, uncontested), (2 * EACH, 5 * EACH), "of two who commit the same, one");
    for commit in &commits {
        if let Some(last) = commit.requests.last() {
            world.is_stored(last.after()).await;
        }
        if let Some(last) = commit.grants.last() {
            world.is_held(last.after()).await;
        }
    }
    is_one_tree(&**store).await;
}

/// Five that nobody contests, and two that somebody does.
async fn all_kinds(world: &World<'_>, number: usize) -> Vec<Commit> {
    let (one, two) = (target(&format!("one-{number}"), 1), target(&format!("two-{number}"), 2));
    let alone = |requests: Vec<Change<Request>>, grants: Vec<Change<Grant>>| Commit {
        requests,
        grants,
        is_contested: false,
    };
    let submission = world.submission(&one, world.ask(&one, "dev"));
    let approval = world.approval(&world.submit(&two, "dev").await, &two, "lead");
    let denial = world.denial(&world.submit(&one, "dev").await, &one, "lead");
    let claimed = claim(world, &world.approved(&one, "dev").await, &one);
    // As it is when the record was lost for a while: begun and confirmed, in one commit.
    let begun = world
        .active(&one, "dev")
        .await
        .begin(Cause::WindowClosed, Actor::Daemon, None, world.tick())
        .unwrap();
    let over =
        begun.after().clone().confirm(Confirmation::LeaseGone, Some(digest("lease-digest")), world.tick());
    let ended = vec![begun, over.unwrap()];
    let contested_approval = world.approval(&world.submit(&one, "dev").await, &one, "lead");
    let contested_claim = claim(world, &world.approved(&one, "dev").await, &one);
    let twice = |commit: Commit| {
        [Commit { is_contested: true, ..commit.clone() }, Commit { is_contested: true, ..commit }]
    };
    [
        alone(vec![submission], vec![]),
        alone(vec![approval], vec![]),
        alone(vec![denial], vec![]),
        claimed,
        alone(vec![], ended),
    ]
    .into_iter()
    .chain(twice(alone(vec![contested_approval], vec![])))
    .chain(twice(contested_claim))
    .collect()
}

fn claim(world: &World<'_>, approved: &Request, target: &Target) -> Commit {
    let now = world.tick();
    let (claimed, warrant) = approved.clone().claim(now, Some(target)).unwrap();
    let opened = Grant::open(GrantId::new(now, world.clock.random()), warrant, now);
    Commit { requests: vec![claimed], grants: vec![opened], is_contested: false }
}

/// Whoever claims what is being frozen was there before the freeze, and the log says so, or is refused.
pub async fn of_a_claim_and_a_freeze_at_once_the_log_has_the_order(backend: impl Backend) {
    let store = backend.store();
    let world = World::new(&**store);
    let mut tasks = JoinSet::new();
    for number in 0..20 {
        let name = format!("orders-{number}");
        let target = target(&name, 1);
        let claim = claim(&world, &world.approved(&target, "dev").await, &target);
        let freeze = freeze(&world, &name, false);
        let store = Arc::clone(store);
        tasks.spawn(async move {
            let writes = [Write::Request(&claim.requests[0]), Write::Grant(&claim.grants[0])];
            tokio::join!(store.commit(&writes), async { store.commit(&[Write::Freeze(&freeze)]).await })
        });
    }
    for (claimed, frozen) in tasks.join_all().await {
        let frozen = frozen.unwrap();
        match claimed {
            Ok(claimed) => assert!(claimed[1].sequence < frozen[0].sequence, "{claimed:?} {frozen:?}"),
            Err(error) => assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}"),
        }
    }
    assert_eq!(world.store.freezes().await.unwrap().len(), 20);
    is_one_tree(&**store).await;
}
