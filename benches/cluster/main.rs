//! How much the store bears, and how long the others need for one that is lost: approvals with many clients at once, on SQLite and
//! on PostgreSQL with one, two and three daemons, and of the store alone, beside what store and database commit one by one; and from SIGKILL to the confirmed ends
//! of the windows that closed meanwhile. `cargo bench --bench cluster -- approvals failover` chooses.
//!
//! It asserts nothing about speed: numbers of a shared machine prove nothing.

#![cfg(test)]

mod approvals;
#[expect(dead_code, reason = "the other benchmarks use the rest of it")]
#[path = "../common/mod.rs"]
mod common;
#[expect(dead_code, reason = "the tests use the rest of it")]
#[path = "../../tests/it/cluster/daemons.rs"]
mod daemons;
mod failover;
mod store;
#[expect(dead_code, reason = "the tests use the rest of it")]
#[path = "../../tests/it/support/mod.rs"]
mod support;

#[expect(dead_code, reason = "the tests use the rest of it")]
#[path = "../../tests/it/store/values.rs"]
mod values;

use common::slow;

#[tokio::main]
async fn main() {
    let wanted = common::chosen();
    if !slow::is_here() {
        println!("{}", common::machine());
    }
    if wanted("approvals") {
        approvals::measure().await;
        slow::again("approvals");
    }
    if wanted("failover") {
        failover::measure().await;
    }
}
