//! The log as auditors get it over the wire, with what they need to take nobody's word for it.

mod auditors;
mod witnesses;

use hallpass::{
    access::{
        actor::Actor,
        event::{About, Event, Fact},
    },
    clock::Clock,
    ledger::{
        leaf::Leaf,
        tree::{Frontier, Hash, is_consistent, is_included},
    },
    store::{Checkpoint, Cosignature, Store, Write},
    wire::{
        GetCheckpointRequest, ListLeavesRequest, Proof, ProveConsistencyRequest, ProveInclusionRequest,
        ledger_service_client::LedgerServiceClient,
    },
};
use tonic::{Code, Request as Call, Status, transport::Channel};

use crate::{support::sim::Sim, wire::Served};

/// A daemon in which a few things happened.
async fn served() -> Served {
    let sim = Sim::start().await;
    let request = sim.approved("orders-ro").await;
    sim.claim(request).await.unwrap();
    sim.submit("orders-ro").await;
    Served::over(sim, None).await
}

fn ledger(served: &Served) -> LedgerServiceClient<Channel> {
    LedgerServiceClient::new(served.channel())
}

fn auditor<T>(served: &Served, message: T) -> Call<T> {
    served.call("audrey", &["auditors"], message)
}

async fn leaves(served: &Served, after_sequence: i64, page_size: i32) -> Vec<Leaf> {
    let list = auditor(served, ListLeavesRequest { after_sequence, page_size });
    let page = ledger(served).list_leaves(list).await.unwrap().into_inner();
    let leaf = |leaf: hallpass::wire::Leaf| Leaf {
        line: leaf.line,
        texts: leaf.texts.into_iter().map(|(field, text)| (field, text.into())).collect(),
    };
    page.leaves.into_iter().map(leaf).collect()
}

fn hashes(proof: Result<tonic::Response<Proof>, Status>) -> Vec<Hash> {
    proof.unwrap().into_inner().hashes.into_iter().map(|hash| Hash(hash.try_into().unwrap())).collect()
}

/// The roots of all sizes, from the leaves.
fn roots(leaves: &[Leaf]) -> Vec<Hash> {
    let mut frontier = Frontier::default();
    let mut roots = vec![frontier.root()];
    for leaf in leaves {
        frontier.push(leaf.hash(), |_| {});
        roots.push(frontier.root());
    }
    roots
}

#[tokio::test]
async fn every_proof_over_the_wire_holds() {
    let served = served().await;
    let all = leaves(&served, 0, 0).await;
    let (roots, size) = (roots(&all), all.len() as u64);
    assert!(size > 7, "{size}");
    for (index, leaf) in (0_u64..).zip(&all) {
        let prove = ProveInclusionRequest { sequence: index.cast_signed() + 1, size: size.cast_signed() };
        let proof = hashes(ledger(&served).prove_inclusion(auditor(&served, prove)).await);
        assert!(is_included(leaf.hash(), index, size, roots[all.len()], &proof), "{index}");
        let prove = ProveConsistencyRequest { former_size: index.cast_signed(), size: size.cast_signed() };
        let proof = hashes(ledger(&served).prove_consistency(auditor(&served, prove)).await);
        let former = (index, roots[usize::try_from(index).unwrap()]);
        assert!(is_consistent(former, (size, roots[all.len()]), &proof), "{index}");
    }
}

#[tokio::test]
async fn pages_of_leaves_follow_each_other() {
    let served = served().await;
    let all = leaves(&served, 0, 1000).await;
    let (mut walked, mut last) = (Vec::new(), 0);
    loop {
        let page = leaves(&served, last, 3).await;
        let Some(event) = page.last().map(|leaf| leaf.event().unwrap()) else { break };
        last = event.sequence;
        walked.extend(page);
    }
    assert_eq!(walked, all);
    assert!(all.iter().any(|leaf| leaf.texts.contains_key("reason")), "with what people wrote");
}

/// However many are asked for, an answer stays small; and one always comes.
#[tokio::test]
async fn a_page_of_leaves_has_a_bound_in_bytes() {
    let sim = Sim::start().await;
    let request = sim.submit("orders-ro").await;
    let large = "x".repeat(1024 * 1024);
    for _ in 0..5 {
        let fact = Fact::IdentityRefused {
            method: large.clone(),
            client_address: None,
            error: "x".into(),
            unrecorded: 0,
        };
        let (at, actor) = (sim.clock.now(), Actor::Daemon);
        let event = Event { at, actor, about: About::default(), fact };
        sim.store.commit(&[Write::Fact(&event)]).await.unwrap();
    }
    drop(request);
    let served = Served::over(sim, None).await;
    let (mut last, mut pages) = (0, Vec::new());
    loop {
        let page = leaves(&served, last, 0).await;
        let Some(event) = page.last().map(|leaf| leaf.event().unwrap()) else { break };
        last = event.sequence;
        pages.push(page.len());
    }
    assert_eq!(pages.iter().sum::<usize>(), 6);
    assert!(pages.len() > 2, "{pages:?}");
}

#[tokio::test]
async fn a_checkpoint_comes_with_its_witnesses() {
    let served = served().await;
    let all = leaves(&served, 0, 0).await;
    let get = |size_min| auditor(&served, GetCheckpointRequest { size_min });
    let nothing = ledger(&served).get_checkpoint(get(0)).await.unwrap_err();
    assert_eq!(nothing.code(), Code::NotFound, "{nothing}");
    let (roots, signed_at, store) = (roots(&all), served.sim.clock.now(), &served.sim.store);
    for size in [2_u64, 5] {
        let root = roots[usize::try_from(size).unwrap()];
        let note = format!("hallpass\n{size}\n{root}\n\n\u{2014} hallpass x\n");
        let checkpoint = Checkpoint { size, root, note, signed_at };
        store.commit(&[Write::Checkpoint(&checkpoint)]).await.unwrap();
    }
    for witness in ["w2", "w1"] {
        let line = format!("\u{2014} {witness} y");
        let cosignature = Cosignature { size: 5, witness: witness.into(), line, cosigned_at: signed_at };
        store.commit(&[Write::Cosignature(&cosignature)]).await.unwrap();
    }
    for (asked, found) in [(0, 5), (1, 2), (2, 2), (3, 5)] {
        let checkpoint = ledger(&served).get_checkpoint(get(asked)).await.unwrap().into_inner();
        assert_eq!(
            (checkpoint.size, checkpoint.root),
            (found, roots[usize::try_from(found).unwrap()].0.to_vec())
        );
    }
    let last = ledger(&served).get_checkpoint(get(0)).await.unwrap().into_inner();
    assert!(last.note.ends_with("\u{2014} hallpass x\n\u{2014} w1 y\n\u{2014} w2 y\n"), "{}", last.note);
    let beyond = ledger(&served).get_checkpoint(get(6)).await.unwrap_err();
    assert_eq!(beyond.code(), Code::NotFound, "{beyond}");
}

#[tokio::test]
async fn what_can_not_be_proved_is_said() {
    let served = served().await;
    let inclusion = |sequence, size| auditor(&served, ProveInclusionRequest { sequence, size });
    for (sequence, size, field) in
        [(0, 3, "sequence"), (4, 3, "sequence"), (1, 1_000_000, "size"), (-1, 3, "sequence"), (1, -1, "size")]
    {
        let refused = ledger(&served).prove_inclusion(inclusion(sequence, size)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(field), "{refused}");
    }
    for (former_size, size, field) in [(4, 3, "former_size"), (1, 1_000_000, "size"), (-1, 3, "former_size")]
    {
        let prove = auditor(&served, ProveConsistencyRequest { former_size, size });
        let refused = ledger(&served).prove_consistency(prove).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(field), "{refused}");
    }
    let both = ledger(&served).prove_inclusion(inclusion(-1, -1)).await.unwrap_err();
    assert!(both.message().contains("sequence") && both.message().contains("size"), "all at once: {both}");
    for bad in [
        ListLeavesRequest { after_sequence: -1, page_size: 1 },
        ListLeavesRequest { after_sequence: 0, page_size: -1 },
    ] {
        let refused = ledger(&served).list_leaves(auditor(&served, bad)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    assert_eq!(leaves(&served, 1_000_000, 0).await, []);
}
