//! Generated histories of people, faults and crashes, each from a seed: the rules and the broker, with the simulated
//! Vault, clocks to turn, and a store in memory. The invariants are checked after every step; `checks` lists them.
//!
//! A seed decides everything, so a failure is the same everywhere. `SIM_SEEDS=1000000` plays as many histories instead of
//! 10,000; `SIM_SEED=7` with `one_history_in_full` plays that one alone and prints it.

mod cast;
mod chance;
mod checks;
mod daemon;
mod gated_store;
mod gated_vault;
mod gates;
mod history;
mod jobs;
mod model;
mod mutants;
mod settle;
mod steps;

use std::env;

use self::history::{History, Setting, Violation};

/// How many histories are played.
const SEEDS: u64 = 10_000;
/// Among how many tests they are shared, so that they use the processors that there are.
const SHARES: u64 = 8;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// Plays a history without writing it down.
fn play(seed: u64) -> Result<(), Violation> {
    History::new(seed, &Setting::default()).play()
}

/// Plays a history and writes it down.
fn told(seed: u64, setting: &Setting) -> (Result<(), Violation>, String) {
    let mut history = History::new(seed, &Setting { is_told: true, ..setting.clone() });
    let ended = history.play();
    (ended, history.story)
}

fn play_share(share: u64) {
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    for seed in (share..seeds).step_by(SHARES as usize) {
        if let Err(violation) = play(seed) {
            let (_, story) = told(seed, &Setting::default());
            panic!(
                "{story}\nseed {seed}, step {}: {} doesn't hold: {}\n\
                 again: SIM_SEED={seed} cargo test --locked --test it histories::one_history_in_full -- --nocapture",
                violation.step, violation.invariant, violation.what
            );
        }
    }
}

macro_rules! shares {
    ($($name:ident: $share:literal),*) => {
        $(
            /// I1, I2, I3, I4, I5.
            #[test]
            fn $name() {
                play_share($share);
            }
        )*
    };
}

shares!(
    histories_hold_1_of_8: 0, histories_hold_2_of_8: 1, histories_hold_3_of_8: 2, histories_hold_4_of_8: 3,
    histories_hold_5_of_8: 4, histories_hold_6_of_8: 5, histories_hold_7_of_8: 6, histories_hold_8_of_8: 7
);

#[test]
fn one_history_in_full() {
    let (ended, story) = told(number("SIM_SEED").unwrap_or(0), &Setting::default());
    println!("{story}");
    assert_eq!(ended, Ok(()));
}

#[test]
fn a_seed_tells_the_same_story_each_time() {
    for seed in 0..50 {
        assert_eq!(told(seed, &Setting::default()), told(seed, &Setting::default()), "seed {seed}");
    }
}
