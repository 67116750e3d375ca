//! The Merkle tree of RFC 6962, section 2.1: SHA-256, a zero byte before leaves and a one before inner nodes.
//!
//! What is kept are the hashes of *complete* subtrees. One is complete when its last leaf is appended, so it is kept with
//! that leaf, and never changes: a log that only grows only ever adds rows.
//!
//! ```text
//! level 2           (2,0)                     leaf 3 keeps (0,3) (1,1) (2,0)
//! level 1     (1,0)       (1,1)               leaf 4 keeps (0,4)
//! leaves    0     1     2     3     4
//! ```
//!
//! Roots and proofs are first a plan, which names the nodes that it needs; whoever has them reads them in one go. So
//! nothing here knows where they are.

mod sha256;

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest as _, Sha256};

/// How many hashes a proof has at most: the height of a tree of 2^63 leaves, twice.
pub const PROOF_MAX: usize = 126;

/// What stands before a leaf when it is hashed.
const LEAF: u8 = 0;
/// What stands before an inner node's two hashes.
const NODE: u8 = 1;

/// A node's hash, SHA-256.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Of a leaf.
    #[must_use]
    pub fn of_leaf(bytes: &[u8]) -> Self {
        Self(Sha256::new().chain_update([LEAF]).chain_update(bytes).finalize().into())
    }

    /// Of an inner node.
    #[must_use]
    pub fn of_node(left: &Self, right: &Self) -> Self {
        Self(Sha256::new().chain_update([NODE]).chain_update(left.0).chain_update(right.0).finalize().into())
    }

    /// The root of the tree without leaves.
    #[must_use]
    pub fn of_nothing() -> Self {
        Self(Sha256::digest([]).into())
    }

    /// Reads 44 characters of base64.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        BASE64_STANDARD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

/// Standard base64, as in checkpoints.
impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(self.0))
    }
}

/// A complete subtree: the leaves from `index << level`, `1 << level` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// Its height above the leaves.
    pub level: u32,
    /// Which of those of its level it is, from the left.
    pub index: u64,
}

impl Node {
    /// The leaf that completes it, with which its hash is kept, and the hash's number among those that are kept there.
    #[must_use]
    pub const fn place(self) -> (u64, usize) {
        (((self.index + 1) << self.level) - 1, self.level as usize)
    }
}

/// The largest complete subtrees of the leaves from `from` to before `until`, from the left. `from` is where a subtree as
/// large as the whole could begin.
fn cover(mut from: u64, until: u64) -> Vec<Node> {
    let mut nodes = Vec::new();
    while from < until {
        let level = (until - from).ilog2();
        nodes.push(Node { level, index: from >> level });
        from += 1 << level;
    }
    nodes
}

/// The hashes that a root or a proof consists of, each as the nodes that it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan(Vec<Vec<Node>>);

impl Plan {
    /// The root of the first `size` leaves: one hash, unless there are none.
    #[must_use]
    pub fn root(size: u64) -> Self {
        Self(if size == 0 { Vec::new() } else { vec![cover(0, size)] })
    }

    /// The largest complete subtrees of the first `size` leaves, one hash each: what a [`Frontier`] is made of.
    #[must_use]
    pub fn frontier(size: u64) -> Self {
        Self(cover(0, size).into_iter().map(|node| vec![node]).collect())
    }

    /// That a leaf is the `index`th (from 0) of the first `size`; none if there is no such leaf.
    #[must_use]
    pub fn inclusion(index: u64, size: u64) -> Option<Self> {
        (index < size).then(|| {
            let (mut from, mut until, mut path) = (0, size, Vec::new());
            while until - from > 1 {
                let middle = from + split(until - from);
                if index < middle {
                    path.push(cover(middle, until));
                    until = middle;
                } else {
                    path.push(cover(from, middle));
                    from = middle;
                }
            }
            path.reverse();
            Self(path)
        })
    }

    /// That the first `size` leaves begin with the first `former`; none if that can't be.
    #[must_use]
    pub fn consistency(former: u64, size: u64) -> Option<Self> {
        if former > size {
            return None;
        }
        let (mut from, mut until, mut path) = (0, size, Vec::new());
        // Nothing has to be shown of nothing, or of itself.
        while former != 0 && former != until {
            let middle = from + split(until - from);
            if former <= middle {
                path.push(cover(middle, until));
                until = middle;
            } else {
                path.push(cover(from, middle));
                from = middle;
            }
        }
        // The former tree's own root is known to whoever asks; any other part of it isn't.
        if former != 0 && from != 0 {
            path.push(cover(from, until));
        }
        path.reverse();
        Some(Self(path))
    }

    /// The nodes that are needed.
    pub fn nodes(&self) -> impl Iterator<Item = Node> {
        self.0.iter().flatten().copied()
    }

    /// The hashes, out of those of the nodes in the order of [`Self::nodes`]; none if there aren't as many.
    #[must_use]
    pub fn hashes(&self, nodes: &[Hash]) -> Option<Vec<Hash>> {
        let mut rest = nodes;
        let whole: Option<Vec<Hash>> = self
            .0
            .iter()
            .map(|cover| {
                let (these, others) = rest.split_at_checked(cover.len())?;
                rest = others;
                fold(these)
            })
            .collect();
        whole.filter(|_| rest.is_empty())
    }
}

/// The largest power of two below a number above one.
const fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// The root of subtrees that get smaller to the right.
fn fold(nodes: &[Hash]) -> Option<Hash> {
    nodes.iter().rev().copied().reduce(|right, left| Hash::of_node(&left, &right))
}

/// The right edge of a tree: all that it takes to append to it and to know its root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// The largest complete subtrees, from the left: one for each bit of the size.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Of a tree of this size whose subtrees are these, by [`Plan::frontier`]; none if there aren't as many.
    #[must_use]
    pub fn of(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// How many leaves there are.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf, and tells the hashes of the subtrees that it completes, the smallest (its own) first.
    pub fn push(&mut self, leaf: Hash, mut completed: impl FnMut(Hash)) {
        let mut top = leaf;
        completed(top);
        for _ in 0..self.size.trailing_ones() {
            // There are as many peaks as the size has ones.
            let Some(left) = self.peaks.pop() else { break };
            top = Hash::of_node(&left, &top);
            completed(top);
        }
        self.peaks.push(top);
        self.size += 1;
    }

    /// Appends many leaves. One level after the other, because no node waits for another one of its level.
    pub fn extend<'l>(&mut self, leaves: impl IntoIterator<Item = &'l [u8]>) {
        let (mut nodes, mut before, mut last) = (sha256::behind(LEAF, leaves), self.size, Vec::new());
        self.size += nodes.len() as u64;
        while !nodes.is_empty() {
            // If there was an odd number of this level before, its last is a peak, and gets its sibling now. If there is one now,
            // its last becomes a peak.
            if before & 1 == 1
                && let Some(peak) = self.peaks.pop()
            {
                nodes.insert(0, peak.0);
            }
            let (pairs, odd) = nodes.as_chunks::<2>();
            last.extend(odd.iter().copied().map(Hash));
            nodes = sha256::behind(NODE, pairs.iter().map(|pair| pair.as_flattened()));
            before >>= 1;
        }
        self.peaks.extend(last.iter().rev());
    }

    /// The tree's root.
    #[must_use]
    pub fn root(&self) -> Hash {
        fold(&self.peaks).unwrap_or_else(Hash::of_nothing)
    }
}

/// The way from a node up to the root, as both proofs go it (RFC 9162, sections 2.1.3.2 and 2.1.4.2): by the node's place in
/// its level, and the last place that there is.
struct Way {
    at: u64,
    last: u64,
}

impl Way {
    /// Goes up to where the next hash of the proof is put, and says whether that stands to the left; none if that would be
    /// above the root.
    fn next_is_left(&mut self) -> Option<bool> {
        if self.last == 0 {
            return None;
        }
        let is_left = self.at & 1 == 1 || self.at == self.last;
        // At the right edge, levels are passed over in which the node has no sibling.
        while is_left && self.at & 1 == 0 && self.at != 0 {
            self.up();
        }
        self.up();
        Some(is_left)
    }

    const fn up(&mut self) {
        self.at >>= 1;
        self.last >>= 1;
    }
}

/// Whether the `index`th leaf (from 0) of the tree with this size and root is this one: RFC 9162, section 2.1.3.2.
#[must_use]
pub fn is_included(leaf: Hash, index: u64, size: u64, root: Hash, proof: &[Hash]) -> bool {
    if index >= size {
        return false;
    }
    let (mut way, mut hash) = (Way { at: index, last: size - 1 }, leaf);
    for sibling in proof {
        hash = match way.next_is_left() {
            Some(true) => Hash::of_node(sibling, &hash),
            Some(false) => Hash::of_node(&hash, sibling),
            None => return false,
        };
    }
    way.last == 0 && hash == root
}

/// Whether the tree with this size and root begins with the former one: RFC 9162, section 2.1.4.2. Every tree begins with
/// the empty one, of which nothing has to be shown.
#[must_use]
pub fn is_consistent(former: (u64, Hash), tree: (u64, Hash), proof: &[Hash]) -> bool {
    let ((former_size, former_root), (size, root)) = (former, tree);
    if former_size == 0 || former_size == size {
        return proof.is_empty()
            && if former_size == 0 { former_root == Hash::of_nothing() } else { former_root == root };
    }
    if former_size > size {
        return false;
    }
    let mut way = Way { at: former_size - 1, last: size - 1 };
    while way.at & 1 == 1 {
        way.up();
    }
    let mut rest = proof.iter();
    // A former tree that is one subtree is its own first hash.
    let Some(first) = (if former_size.is_power_of_two() { Some(&former_root) } else { rest.next() }) else {
        return false;
    };
    let (mut old, mut new) = (*first, *first);
    for hash in rest {
        match way.next_is_left() {
            Some(true) => (old, new) = (Hash::of_node(hash, &old), Hash::of_node(hash, &new)),
            Some(false) => new = Hash::of_node(&new, hash),
            None => return false,
        }
    }
    way.last == 0 && old == former_root && new == root
}

#[cfg(test)]
mod tests;
