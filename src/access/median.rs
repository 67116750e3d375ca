//! The median of many lengths of time, in the same few bytes however many they are.
//!
//! Lengths are counted in buckets that get wider with them: a bucket is a second wide below 128 seconds, and never wider
//! than a 64th of what is in it. What is answered is a bucket's least length, so it is exact below 128 seconds and at most
//! 1.6 % too short above. Nothing is kept of a single length.

use std::{collections::BTreeMap, time::Duration};

/// How many bits of a length are kept: of seven, the first is always set.
const BITS: u32 = 7;

/// Counts lengths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Median {
    count: u64,
    /// By the least length of the bucket, in seconds: a few thousand at the very most.
    buckets: BTreeMap<u64, u64>,
}

impl Median {
    /// Counts a length.
    pub fn add(&mut self, length: Duration) {
        self.count += 1;
        *self.buckets.entry(bucket(length.as_secs())).or_default() += 1;
    }

    /// The length that half of them don't exceed; the shorter of the two in the middle, if they are even in number. `None`
    /// if there are none.
    #[must_use]
    pub fn get(&self) -> Option<Duration> {
        let half = self.count.div_ceil(2);
        let mut seen = 0;
        let middle = self.buckets.iter().find(|(_, count)| {
            seen += **count;
            seen >= half
        });
        middle.map(|(seconds, _)| Duration::from_secs(*seconds))
    }
}

/// The least length of the bucket that a length is in.
const fn bucket(seconds: u64) -> u64 {
    let bits = u64::BITS - seconds.leading_zeros();
    let dropped = bits.saturating_sub(BITS);
    (seconds >> dropped) << dropped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn median(lengths: &[u64]) -> Option<u64> {
        let mut median = Median::default();
        for length in lengths {
            median.add(Duration::from_secs(*length));
        }
        median.get().map(|length| length.as_secs())
    }

    #[test]
    fn short_lengths_are_exact() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[127]), Some(127));
        assert_eq!(median(&[3, 1, 2]), Some(2));
        assert_eq!(median(&[4, 1, 2, 100]), Some(2));
    }

    proptest! {
        #[test]
        fn it_is_never_far_off(mut lengths in proptest::collection::vec(0_u64..100_000_000, 1..200)) {
            let found = median(&lengths).unwrap();
            lengths.sort_unstable();
            let exact = lengths[(lengths.len() - 1) / 2];
            prop_assert!(found <= exact && exact - found <= exact / 64, "{found} for {exact}");
        }
    }
}
