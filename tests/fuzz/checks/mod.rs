//! What must hold whatever comes in: a function for each fuzz target, which takes any bytes and panics if it doesn't hold.
//!
//! The targets of cargo-fuzz call them with what libFuzzer thinks of (`make fuzz`), and `tests/it/fuzz.rs` with all that it
//! has found worth keeping (`tests/fuzz/corpus`), so that what was found once stays found.

mod configuration;
mod filter;
mod hours;
mod note;
mod page;
mod signature;
mod token;

/// A check, by the name of its target and its corpus.
pub type Check = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: [Check; 7] = [
    ("configuration", configuration::check),
    ("filter", filter::check),
    ("hours", hours::check),
    ("note", note::check),
    ("page", page::check),
    ("signature", signature::check),
    ("token", token::check),
];

/// Runs the check of that name.
pub fn check(name: &str, input: &[u8]) {
    let (_, check) = ALL.iter().find(|(known, _)| *known == name).expect("a target for each check");
    check(input);
}
