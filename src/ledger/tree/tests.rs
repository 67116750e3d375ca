//! The tree against RFC 6962's published roots, against its own definition written down naively, and against another
//! implementation, which has to take our proofs and whose proofs we have to take.

use ct_merkle::{ConsistencyProof, InclusionProof, mem_backed_tree::MemoryBackedTree};
use proptest::prelude::*;

use super::*;

/// The leaves of certificate-transparency's test vectors, and the roots of the trees that they make one after the other.
const PUBLISHED: [(&str, &str); 8] = [
    ("", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
    ("00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
    ("10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
    ("2021", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
    ("3031", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
    ("40414243", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
    ("5051525354555657", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
    ("606162636465666768696a6b6c6d6e6f", "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
];

#[test]
fn published_roots_come_out() {
    let mut frontier = Frontier::default();
    assert_eq!(
        hex::encode(frontier.root().0),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    for (leaf, root) in PUBLISHED {
        frontier.push(Hash::of_leaf(&hex::decode(leaf).unwrap()), |_| {});
        assert_eq!(hex::encode(frontier.root().0), root);
    }
}

/// RFC 6962's own words.
fn naive(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::of_nothing(),
        [one] => *one,
        more => {
            let (left, right) = more.split_at(more.len().next_power_of_two() / 2);
            Hash::of_node(&naive(left), &naive(right))
        }
    }
}

fn leaf(number: u64) -> Hash {
    Hash::of_leaf(&number.to_be_bytes())
}

/// What is kept with each leaf.
fn kept(size: u64) -> Vec<Vec<Hash>> {
    let mut frontier = Frontier::default();
    let mut keep = |number| {
        let mut hashes = Vec::new();
        frontier.push(leaf(number), |hash| hashes.push(hash));
        hashes
    };
    (0..size).map(&mut keep).collect()
}

fn read(plan: &Plan, kept: &[Vec<Hash>]) -> Vec<Hash> {
    let node = |node: Node| {
        let (row, number) = node.place();
        kept[usize::try_from(row).unwrap()][number]
    };
    plan.hashes(&plan.nodes().map(node).collect::<Vec<_>>()).unwrap()
}

fn root(size: u64) -> Hash {
    naive(&(0..size).map(leaf).collect::<Vec<_>>())
}

#[test]
fn a_frontier_is_read_back_and_goes_on() {
    let kept = kept(200);
    for size in 0..200 {
        let mut frontier = Frontier::of(size, read(&Plan::frontier(size), &kept)).unwrap();
        assert_eq!(frontier.root(), root(size));
        assert_eq!(
            read(&Plan::root(size), &kept).first().copied().unwrap_or_else(Hash::of_nothing),
            root(size)
        );
        let mut next = Vec::new();
        frontier.push(leaf(size), |hash| next.push(hash));
        assert_eq!(next, kept[usize::try_from(size).unwrap()]);
    }
    assert_eq!(Frontier::of(3, vec![leaf(0)]), None);
}

#[test]
fn many_leaves_make_the_tree_that_each_of_them_makes() {
    let leaves: Vec<[u8; 8]> = (0..120_u64).map(u64::to_be_bytes).collect();
    let slices = |from: usize, until: usize| leaves[from..until].iter().map(<[u8; 8]>::as_slice);
    for before in 0..60 {
        let mut begun = Frontier::default();
        slices(0, before).for_each(|leaf| begun.push(Hash::of_leaf(leaf), |_| {}));
        for added in 0..60 {
            let (mut each, mut all) = (begun.clone(), begun.clone());
            slices(before, before + added).for_each(|leaf| each.push(Hash::of_leaf(leaf), |_| {}));
            all.extend(slices(before, before + added));
            assert_eq!(all, each, "{added} behind {before}");
        }
    }
}

#[test]
fn another_implementation_agrees_about_every_proof() {
    let (size_max, kept) = (40_u64, kept(40));
    let mut other = MemoryBackedTree::<Sha256, [u8; 8]>::new();
    for size in 1..=size_max {
        other.push((size - 1).to_be_bytes());
        let theirs = other.root();
        assert_eq!(theirs.as_bytes().as_slice(), root(size).0);
        for index in 0..size {
            let proof = read(&Plan::inclusion(index, size).unwrap(), &kept);
            let bytes: Vec<u8> = proof.iter().flat_map(|hash| hash.0).collect();
            let given = InclusionProof::<Sha256>::try_from_bytes(bytes.clone()).unwrap();
            theirs.verify_inclusion(&index.to_be_bytes(), index, &given).unwrap();
            assert_eq!(other.prove_inclusion(usize::try_from(index).unwrap()).as_bytes(), bytes);
            assert!(is_included(leaf(index), index, size, root(size), &proof));
        }
        for former in 1..size {
            let proof = read(&Plan::consistency(former, size).unwrap(), &kept);
            let bytes: Vec<u8> = proof.iter().flat_map(|hash| hash.0).collect();
            let given = ConsistencyProof::<Sha256>::try_from_bytes(bytes.clone()).unwrap();
            let digest = sha2::digest::Output::<Sha256>::from(root(former).0);
            theirs.verify_consistency(&ct_merkle::RootHash::new(digest, former), &given).unwrap();
            let added = usize::try_from(size - former).unwrap();
            assert_eq!(other.prove_consistency(added).as_bytes(), bytes);
            assert!(is_consistent((former, root(former)), (size, root(size)), &proof));
        }
    }
}

#[test]
fn what_can_not_be_proved_has_no_plan() {
    assert_eq!(Plan::inclusion(0, 0), None);
    assert_eq!(Plan::inclusion(5, 5), None);
    assert_eq!(Plan::consistency(6, 5), None);
    for size in [0, 5] {
        assert_eq!(Plan::consistency(size, size).unwrap().nodes().count(), 0);
        assert_eq!(Plan::consistency(0, size).unwrap().nodes().count(), 0);
    }
}

#[test]
fn nothing_and_the_same_need_no_proof_and_take_none() {
    let (nothing, some) = ((0, root(0)), (5, root(5)));
    assert!(is_consistent(nothing, some, &[]) && is_consistent(some, some, &[]));
    assert!(!is_consistent(nothing, some, &[leaf(0)]) && !is_consistent(some, some, &[leaf(0)]));
    assert!(!is_consistent((0, leaf(0)), some, &[]), "nothing has one root");
    assert!(!is_consistent(some, (5, root(4)), &[]), "of one size there is one tree");
    assert!(!is_consistent(some, (4, root(4)), &[]), "a log never shrinks");
}

#[test]
fn a_proof_is_no_longer_than_the_bound() {
    let size = u64::MAX >> 1;
    for plan in [Plan::inclusion(size - 1, size), Plan::inclusion(0, size), Plan::consistency(size / 3, size)]
    {
        assert!(plan.unwrap().0.len() <= PROOF_MAX);
    }
}

proptest! {
    /// Whatever else is shown is not believed: another leaf, place, size, root, or any other hash in the proof.
    #[test]
    fn nothing_else_is_included(size in 1_u64..300, at in any::<u64>(), change in any::<u64>(), bit in 0_usize..256) {
        let (index, kept) = (at % size, kept(size));
        let proof = read(&Plan::inclusion(index, size).unwrap(), &kept);
        let is = |leaf, index, size, root, proof: &[Hash]| is_included(leaf, index, size, root, proof);
        prop_assert!(is(leaf(index), index, size, root(size), &proof));
        let flipped = |hash: Hash| { let mut hash = hash; hash.0[bit / 8] ^= 1 << (bit % 8); hash };
        prop_assert!(!is(flipped(leaf(index)), index, size, root(size), &proof));
        prop_assert!(!is(leaf(index), index, size, flipped(root(size)), &proof));
        let other = change % size;
        prop_assert!(other == index || !is(leaf(index), other, size, root(size), &proof));
        let mut longer = proof.clone();
        longer.push(leaf(change));
        prop_assert!(!is(leaf(index), index, size, root(size), &longer));
        if let Some(last) = usize::try_from(change).unwrap().checked_rem(proof.len()) {
            let mut changed = proof.clone();
            changed[last] = flipped(changed[last]);
            prop_assert!(!is(leaf(index), index, size, root(size), &changed));
            changed.remove(last);
            prop_assert!(!is(leaf(index), index, size, root(size), &changed));
        }
    }

    #[test]
    fn no_other_tree_is_consistent(size in 2_u64..300, at in any::<u64>(), change in any::<u64>(), bit in 0_usize..256) {
        let (former, kept) = (1 + at % (size - 1), kept(size));
        let proof = read(&Plan::consistency(former, size).unwrap(), &kept);
        let (old, new) = ((former, root(former)), (size, root(size)));
        prop_assert!(is_consistent(old, new, &proof));
        let flipped = |hash: Hash| { let mut hash = hash; hash.0[bit / 8] ^= 1 << (bit % 8); hash };
        prop_assert!(!is_consistent((former, flipped(old.1)), new, &proof));
        prop_assert!(!is_consistent(old, (size, flipped(new.1)), &proof));
        prop_assert!(!is_consistent((former, root(former - 1)), new, &proof));
        let number = usize::try_from(change).unwrap() % proof.len();
        let mut changed = proof.clone();
        changed[number] = flipped(changed[number]);
        prop_assert!(!is_consistent(old, new, &changed));
        changed.remove(number);
        prop_assert!(!is_consistent(old, new, &changed));
    }
}
