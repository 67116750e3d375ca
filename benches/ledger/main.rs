//! What the log costs: verifying a long one, beside a bare SHA-256 of the same bytes; and the record of an approval, beside
//! one whose leaf and hashes are there already. `cargo bench --bench ledger -- verify approval` chooses, and
//! `LEDGER_EVENTS=100000` makes the log that long.
//!
//! It asserts nothing about speed: numbers of a shared machine prove nothing.

#![cfg(test)]

mod approval;
#[expect(dead_code, reason = "the other benchmarks use the rest of it")]
#[path = "../common/mod.rs"]
mod common;
mod log;
#[expect(dead_code, reason = "the tests use the rest of it")]
#[path = "../../tests/it/support/mod.rs"]
mod support;
mod verify;

use common::slow;

#[tokio::main]
async fn main() {
    let wanted = common::chosen();
    if !slow::is_here() {
        println!("{}\n", common::machine());
    }
    if wanted("verify") {
        verify::measure();
    }
    if wanted("approval") {
        approval::measure().await;
        slow::again("approval");
    }
}
