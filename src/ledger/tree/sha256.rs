//! SHA-256 (FIPS 180-4) of a byte and what is behind it, with the blocks put together here: a log of years is millions of short
//! messages, of which `Sha256` takes a tenth more time for leaves, and half as much again for inner nodes.

use sha2::block_api::compress256;

/// The state in the beginning (section 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Of the byte and the rest.
#[expect(clippy::indexing_slicing, reason = "what is left is shorter than a block, whatever the message")]
pub(super) fn behind(first: u8, rest: &[u8]) -> [u8; 32] {
    let (mut state, mut block) = (INITIAL, [0; 64]);
    block[0] = first;
    let bits = (rest.len() as u64 + 1) * 8;
    let mut filled = 1;
    let mut last = rest;
    if let Some((begin, more)) = rest.split_at_checked(63) {
        block[1..].copy_from_slice(begin);
        compress256(&mut state, &[block]);
        let (whole, end) = more.as_chunks();
        compress256(&mut state, whole);
        (block, filled, last) = ([0; 64], 0, end);
    }
    // Behind the message stand a set bit and, at a block's end, the message's length (section 5.1.1).
    let end = filled + last.len();
    block[filled..end].copy_from_slice(last);
    block[end] = 0x80;
    if end >= 56 {
        compress256(&mut state, &[block]);
        block = [0; 64];
    }
    block[56..].copy_from_slice(&bits.to_be_bytes());
    compress256(&mut state, &[block]);
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
    fn it_is_the_librarys() {
        let message: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for length in 0..message.len() {
            let (first, rest) = (u8::try_from(length % 256).unwrap(), &message[..length]);
            let expected: [u8; 32] = Sha256::new().chain_update([first]).chain_update(rest).finalize().into();
            assert_eq!(behind(first, rest), expected, "{length}");
        }
    }
}
