//! SHA-256 (FIPS 180-4) of many short messages, each a byte and what is behind it: a log of years is millions of them.
//!
//! They are laid out with what the algorithm puts behind them, some at a time, and hashed after that. One after the other, the
//! processor would wait with each for what was only just written, and begin none before the last one is done.

use std::{mem, slice};

use sha2::block_api::compress256;

type Block = [u8; BLOCK_BYTES];
const BLOCK_BYTES: usize = 64;
/// The length of a message in bits stands at the end of its last block (section 5.1.1).
const LENGTH_BYTES: usize = 8;
/// The state in the beginning (section 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// How many are laid out at a time: few enough to stay at hand.
const GROUP: usize = 16;

/// The hashes of messages that are the byte and one of these behind it, in their order.
pub(super) fn behind<'r>(first: u8, rest: impl IntoIterator<Item = &'r [u8]>) -> Vec<[u8; 32]> {
    let mut rest = rest.into_iter().peekable();
    let (mut group, mut hashes) = (Group::default(), Vec::with_capacity(rest.size_hint().0));
    while rest.peek().is_some() {
        rest.by_ref().take(GROUP).for_each(|rest| group.lay_out(first, rest));
        group.hash_into(&mut hashes);
    }
    hashes
}

/// Messages that are laid out one behind the other.
#[derive(Default)]
struct Group {
    bytes: Vec<u8>,
    /// Behind which block each ends.
    ends: Vec<usize>,
}

impl Group {
    /// Behind a message stand a set bit, zeros, and at a block's end the message's length (section 5.1.1).
    fn lay_out(&mut self, first: u8, rest: &[u8]) {
        let length = 1 + rest.len();
        let end = self.bytes.len() + (length + 1 + LENGTH_BYTES).next_multiple_of(BLOCK_BYTES);
        self.bytes.push(first);
        self.bytes.extend_from_slice(rest);
        self.bytes.push(0x80);
        self.bytes.resize(end - LENGTH_BYTES, 0);
        self.bytes.extend_from_slice(&(length as u64 * 8).to_be_bytes());
        self.ends.push(end / BLOCK_BYTES);
    }

    /// Hashes them, two at a time, and is empty.
    fn hash_into(&mut self, hashes: &mut Vec<[u8; 32]>) {
        let (blocks, _) = self.bytes.as_chunks();
        let mut begin = 0;
        let mut message = |end: usize| blocks.get(mem::replace(&mut begin, end)..end).unwrap_or_default();
        let (pairs, odd) = self.ends.as_chunks();
        for [one, other] in pairs {
            hashes.extend(of_two(message(*one), message(*other)));
        }
        for end in odd {
            let [hash, _] = of_two(message(*end), &[]);
            hashes.push(hash);
        }
        self.bytes.clear();
        self.ends.clear();
    }
}

/// Of two messages, by turns: what is done to one doesn't wait for the other, so a processor does some of it at once.
fn of_two(one: &[Block], other: &[Block]) -> [[u8; 32]; 2] {
    let (mut first, mut second) = (INITIAL, INITIAL);
    for (one, other) in one.iter().zip(other) {
        compress256(&mut first, slice::from_ref(one));
        compress256(&mut second, slice::from_ref(other));
    }
    let both = one.len().min(other.len());
    compress256(&mut first, one.get(both..).unwrap_or_default());
    compress256(&mut second, other.get(both..).unwrap_or_default());
    [first, second].map(in_bytes)
}

/// The state as the hash that it is in the end (section 6.2.2).
fn in_bytes(state: [u32; 8]) -> [u8; 32] {
    let mut hash = [0; 32];
    for (bytes, word) in hash.as_chunks_mut().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    hash
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn they_are_the_librarys() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let messages: Vec<&[u8]> = (0..bytes.len()).map(|length| &bytes[..length]).collect();
        for first in [0, 1, 255] {
            let expected =
                |rest: &&[u8]| Sha256::new().chain_update([first]).chain_update(rest).finalize().into();
            let expected: Vec<[u8; 32]> = messages.iter().map(expected).collect();
            assert_eq!(behind(first, messages.iter().copied()), expected);
            for count in 0..2 * GROUP {
                assert_eq!(behind(first, messages[..count].iter().copied()), expected[..count], "{count}");
            }
        }
    }
}
