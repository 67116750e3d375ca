//! Chance from a seed, and the faults that it deals out.

use chrono::TimeDelta;

use super::state::{Effect, Fault};
use crate::vault::Outcome;

/// How late the effect of a call may come that the caller has given up: Vault gives a request 90 seconds.
const LATE_MAX: TimeDelta = TimeDelta::seconds(90);

/// The same numbers from the same seed: the `SplitMix64` generator.
///
/// Source: <https://doi.org/10.1145/2714064.2660195>.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chance(pub(super) u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or_default()
    }

    /// Whole milliseconds from nothing to `max`.
    pub(super) fn up_to(&mut self, max: TimeDelta) -> TimeDelta {
        let max = u64::try_from(max.num_milliseconds()).unwrap_or_default();
        TimeDelta::milliseconds(i64::try_from(self.below(max + 1)).unwrap_or_default())
    }
}

/// Faults for a share of the calls.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chaos {
    pub(super) chance: Chance,
    pub(super) per_mille: u16,
}

impl Chaos {
    /// What the next call runs into, if anything. See [`Effect`] for what goes together.
    pub(super) fn strike(&mut self) -> Option<Fault> {
        if self.per_mille == 0 || self.chance.below(1000) >= u64::from(self.per_mille) {
            return None;
        }
        let (outcome, effect) = match self.chance.below(4) {
            0 => (Outcome::Refused, Effect::DidNot),
            1 => (Outcome::Unknown, Effect::DidNot),
            2 => (Outcome::Unknown, Effect::Happened),
            _ => (Outcome::Unknown, Effect::Later),
        };
        let late = TimeDelta::milliseconds(1) + self.chance.up_to(LATE_MAX - TimeDelta::milliseconds(1));
        Some(Fault { outcome: Some(outcome), effect, late })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strikes(seed: u64, per_mille: u16) -> Vec<Option<Fault>> {
        let mut chaos = Chaos { chance: Chance(seed), per_mille };
        (0..1000).map(|_| chaos.strike()).collect()
    }

    #[test]
    fn a_seed_tells_every_fault() {
        assert_eq!(strikes(1, 500), strikes(1, 500));
        assert_ne!(strikes(1, 500), strikes(2, 500));
    }

    #[test]
    fn as_many_calls_are_struck_as_was_said() {
        let struck = |per_mille| strikes(3, per_mille).iter().flatten().count();
        assert_eq!((struck(0), struck(1000)), (0, 1000));
        assert!((150..250).contains(&struck(200)), "{}", struck(200));
    }

    #[test]
    fn what_is_refused_never_happens_and_nothing_is_later_than_vaults_own_limit() {
        let strikes: Vec<_> = strikes(4, 1000).into_iter().flatten().collect();
        for outcome in [Outcome::Refused, Outcome::Unknown] {
            assert!(strikes.iter().any(|fault| fault.outcome == Some(outcome)));
        }
        for fault in strikes {
            assert!(fault.outcome == Some(Outcome::Unknown) || fault.effect == Effect::DidNot, "{fault:?}");
            assert!(TimeDelta::zero() < fault.late && fault.late <= LATE_MAX, "{fault:?}");
        }
    }
}
