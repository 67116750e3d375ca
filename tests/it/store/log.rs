//! The log as a tree: what is appended, by however many at once, is one tree; what is said of it is kept.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use hallpass::{
    access::{event::Recorded, policy::Scope},
    ledger::{
        leaf::Leaf,
        tree::{Frontier, Hash, Node, Plan},
    },
    store::{Checkpoint, Cosignature, Store, StoreError, Write},
};
use tokio::task::JoinSet;

use super::{
    Backend,
    values::{World, beginning, target},
};

/// The root of the first events, from the leaves; and that the stored nodes give the same.
pub async fn root(store: &dyn Store, size: usize) -> Hash {
    let leaves = store.ledger().leaves(0, u32::try_from(size).unwrap()).await.unwrap();
    assert_eq!(leaves.len(), size);
    let mut frontier = Frontier::default();
    for leaf in &leaves {
        frontier.push(leaf.hash(), |_| {});
    }
    let plan = Plan::root(frontier.size());
    let nodes: Vec<Node> = plan.nodes().collect();
    let stored = plan.hashes(&store.ledger().nodes(&nodes).await.unwrap()).unwrap();
    assert_eq!(stored, [frontier.root()], "at {size}");
    frontier.root()
}

pub async fn is_one_tree(store: &dyn Store) {
    let size = usize::try_from(store.last_sequence().await.unwrap()).unwrap();
    for (leaf, sequence) in store.ledger().leaves(0, u32::MAX).await.unwrap().iter().zip(1..) {
        assert_eq!(leaf.event().unwrap().sequence, sequence);
    }
    for size in 1..=size {
        root(store, size).await;
    }
}

pub async fn the_log_is_one_tree(backend: impl Backend) {
    let world = World::new(&**backend.store());
    let target = target("orders", 1);
    assert_eq!(world.store.ledger().leaves(0, 10).await.unwrap(), []);
    let pending = world.submit(&target, "dev").await;
    let late = world.approval(&pending, &target, "other");
    let request = world.approve(&pending, &target, "lead").await;
    let (_, grant) = world.claim(request.clone(), &target).await;
    is_one_tree(world.store).await;
    let lost = world.store.commit(&[Write::Request(&late)]).await;
    assert!(matches!(lost, Err(StoreError::Conflict { .. })), "{lost:?}");
    let backend = backend.restart().await;
    let world = World::new(&**backend.store());
    world.minted(grant).await;
    is_one_tree(world.store).await;
    let leaves = world.store.ledger().leaves(0, u32::MAX).await.unwrap();
    assert_eq!(world.store.ledger().leaves(2, 2).await.unwrap(), leaves[2..4]);
    assert!(
        leaves.iter().any(|leaf| !leaf.texts.is_empty()) && leaves.iter().any(|leaf| leaf.texts.is_empty())
    );
    let timeline = world.store.timeline(request.id).await.unwrap();
    assert_eq!(timeline.iter().map(Leaf::of).collect::<Vec<_>>(), leaves, "a timeline is made of leaves");
}

/// However long the log is, and whichever of them are read.
pub async fn each_request_has_its_events(backend: impl Backend) {
    let (world, target) = (World::new(&**backend.store()), target("orders", 1));
    let mut requests = Vec::new();
    while world.store.last_sequence().await.unwrap() < 40 {
        let (one, other) = (world.submit(&target, "dev").await, world.submit(&target, "dev").await);
        requests.extend([one.id, other.id]);
        world.approve(&one, &target, "lead").await;
        let leaves = world.store.ledger().leaves(0, u32::MAX).await.unwrap();
        let log: Vec<Recorded> = leaves.iter().map(|leaf| leaf.event().unwrap()).collect();
        for id in &requests {
            let expected: Vec<_> =
                log.iter().filter(|event| event.about.request == Some(*id)).cloned().collect();
            assert_eq!(world.store.timeline(*id).await.unwrap(), expected, "{id} of {}", log.len());
            let last = expected.last().unwrap().sequence;
            let after = world.store.events_after(&Scope::All, Some(*id), last - 1, 10).await.unwrap();
            assert_eq!(after, expected[expected.len() - 1..], "{id} of {}", log.len());
        }
    }
}

pub async fn many_at_once_make_one_tree(backend: impl Backend) {
    let mut tasks = JoinSet::new();
    for number in 0..40 {
        let store = Arc::clone(backend.store());
        tasks.spawn(async move {
            let (world, target) = (World::new(&*store), target("orders", 1));
            world.clock.advance(TimeDelta::seconds(number));
            world.submit_with_key(&target, "dev", &format!("key-{}", number % 30)).await;
        });
    }
    // A key that comes twice is a conflict, in the middle of a transaction that others share.
    while tasks.join_next().await.is_some() {}
    let store = &**backend.store();
    assert_eq!(store.last_sequence().await.unwrap(), 30);
    is_one_tree(store).await;
}

fn checkpoint(size: u64, root: Hash) -> Checkpoint {
    Checkpoint {
        size,
        root,
        note: format!("hallpass\n{size}\n{root}\n\n— hallpass x\n"),
        signed_at: beginning(),
    }
}

fn cosignature(size: u64, witness: &str, cosigned_at: DateTime<Utc>) -> Cosignature {
    Cosignature { size, witness: witness.into(), line: format!("— {witness} {cosigned_at}"), cosigned_at }
}

impl World<'_> {
    /// Keeps a checkpoint of so many events, and a witness's signature of it.
    pub async fn cosigned(&self, size: u64) {
        let checkpoint = checkpoint(size, root(self.store, usize::try_from(size).unwrap()).await);
        self.store.commit(&[Write::Checkpoint(&checkpoint)]).await.unwrap();
        let cosignature = cosignature(size, "w", beginning());
        self.store.commit(&[Write::Cosignature(&cosignature)]).await.unwrap();
    }
}

pub async fn checkpoints_are_kept_in_order(backend: impl Backend) {
    let world = World::new(&**backend.store());
    world.approved(&target("orders", 1), "dev").await;
    world.submit(&target("orders", 1), "dev").await;
    assert_eq!(world.store.ledger().last_checkpoint().await.unwrap(), None);
    let kept = [checkpoint(1, root(world.store, 1).await), checkpoint(3, root(world.store, 3).await)];
    for one in &kept {
        assert_eq!(world.store.commit(&[Write::Checkpoint(one)]).await.unwrap(), []);
    }
    for refused in [checkpoint(3, kept[0].root), checkpoint(2, kept[0].root), checkpoint(4, kept[0].root)] {
        world.store.commit(&[Write::Checkpoint(&refused)]).await.unwrap_err();
    }
    let backend = backend.restart().await;
    let store = backend.store();
    assert_eq!(store.ledger().last_checkpoint().await.unwrap().as_ref(), Some(&kept[1]));
    for (size, expected) in [(0, Some(&kept[0])), (1, Some(&kept[0])), (2, Some(&kept[1])), (4, None)] {
        assert_eq!(store.ledger().checkpoint_of(size).await.unwrap().as_ref(), expected, "{size}");
    }
}

pub async fn a_witness_later_word_counts(backend: impl Backend) {
    let world = World::new(&**backend.store());
    world.approved(&target("orders", 1), "dev").await;
    let (early, late) = (beginning(), beginning() + TimeDelta::seconds(1));
    let store = world.store;
    assert_eq!(store.ledger().last_cosigned_at().await.unwrap(), None);
    store.commit(&[Write::Cosignature(&cosignature(2, "w", early))]).await.unwrap_err();
    store.commit(&[Write::Checkpoint(&checkpoint(2, root(store, 2).await))]).await.unwrap();
    for one in [cosignature(2, "w", early), cosignature(2, "v", early), cosignature(2, "w", late)] {
        store.commit(&[Write::Cosignature(&one)]).await.unwrap();
    }
    let refused = store.commit(&[Write::Cosignature(&cosignature(2, "w", early))]).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    let kept = [cosignature(2, "v", early), cosignature(2, "w", late)];
    assert_eq!(store.ledger().cosignatures(2).await.unwrap(), kept);
    assert_eq!(store.ledger().last_cosigned_at().await.unwrap(), Some(late));
}
