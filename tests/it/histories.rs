//! Generated histories of people, faults and crashes, each from a seed: the rules and the broker, with the simulated
//! Vault, clocks to turn, and a store in memory. The invariants are checked after every step; `checks` lists them.
//!
//! A seed decides everything, so a failure is the same everywhere. `SIM_SEEDS=1000000` plays as many histories instead of
//! 10,000; `SIM_SEED=7` with `one_history_in_full` plays that one alone and prints it.

mod cast;
pub mod chance;
mod checks;
mod daemon;
mod defects;
mod gated_store;
mod gated_vault;
mod gates;
mod history;
mod jobs;
mod model;
mod mutants;
mod settle;
mod steps;
mod twins;

use std::{collections::BTreeMap, env};

use self::{
    history::{History, Setting, Violation},
    mutants::Mutant,
};

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
    (ended, history.story())
}

fn play_share(share: u64) {
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    for seed in (share..seeds).filter(|seed| seed % SHARES == share) {
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

/// Histories that never come to what they are for would hold as well. Each of these is seen in several of so many.
#[test]
fn histories_come_to_everything_that_can_happen() {
    let (mut seen, several) = (BTreeMap::new(), 3);
    for seed in 0..600 {
        let mut history = History::new(seed, &Setting::default());
        history.play().unwrap();
        for kind in history.checks.as_ref().unwrap().kinds() {
            *seen.entry(kind).or_insert(0) += 1;
        }
    }
    let causes =
        ["WINDOW_CLOSED", "RELEASED", "REVOKED_BY_OPERATOR", "TARGET_REMOVED", "ENDED_OUTSIDE", "REISSUED"];
    let revoked = causes.map(|cause| format!("GrantRevoked {cause}"));
    let causes = ["WINDOW_CLOSED", "RELEASED", "REVOKED_BY_OPERATOR", "ISSUE_FAILED", "REISSUED"];
    let failed = causes.map(|cause| format!("GrantFailed {cause}"));
    let kinds = [
        "RequestSubmitted",
        "RequestApproved",
        "RequestDenied",
        "RequestWithdrawn",
        "RequestLapsed",
        "RequestClaimed",
        "GrantOpened",
        "GrantTokenMinted",
        "GrantLeaseRecorded",
        "GrantActivated",
        "RevocationRetried",
        "RevocationOverdue",
        "AttemptRefused",
        "ConfigurationChanged",
        "RecordingResumed",
        "ReconciliationDone",
        "UnknownLeaseFound",
        "WrappingTokenOpened",
    ];
    let expected = kinds.map(str::to_owned).into_iter().chain(revoked).chain(failed);
    for kind in expected {
        let times = seen.get(&kind).copied().unwrap_or_default();
        assert!(times >= several, "{kind} happened in {times} histories: {seen:#?}");
    }
}

/// Within so many histories, each mutant is found.
const MUTANT_SEEDS: u64 = 500;

/// Breaks one thing, and has it found by what says that it must not be so.
fn is_found(mutant: Mutant, invariant: &str) {
    let setting = Setting { mutant, ..Setting::default() };
    let found = (0..MUTANT_SEEDS).find_map(|seed| History::new(seed, &setting).play().err());
    assert_eq!(found.as_ref().map(|violation| violation.invariant), Some(invariant), "{found:?}");
}

macro_rules! mutants {
    ($($name:ident: $mutant:ident breaks $invariant:literal),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                is_found(Mutant::$mutant, $invariant);
            }
        )*
    };
}

mutants!(
    defect_1_a_refusal_taken_for_the_end_is_found: RefusalIsTheEnd breaks "I3",
    defect_2_an_answer_taken_for_the_end_is_found: AnswerIsTheEnd breaks "I3",
    defect_3_giving_up_is_found: GivesUp breaks "settles",
    defect_4_an_orphan_that_nobody_looks_for_is_found: ListsNothing breaks "I3",
    defect_7_a_start_without_the_deadlines_is_found: TimersAreLost breaks "I2",
    defect_9_logins_that_count_as_people_are_found: LoginsAreStrangers breaks "I5",
    defect_11_a_window_that_moves_is_found: WindowMoves breaks "window",
    a_lease_that_keeps_its_roles_time_is_found: NeverShortens breaks "I2",
    a_token_that_lives_for_long_is_found: TokensLive breaks "I2",
    an_intent_that_is_not_stored_is_found: IntentIsLost breaks "I1",
    a_token_that_is_not_stored_is_found: TokenIsLost breaks "I1",
    a_change_without_its_event_is_found: EventIsLost breaks "I4",
    an_event_without_its_change_is_found: ChangeIsLost breaks "I4",
);
