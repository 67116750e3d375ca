//! How well access ends, for real: a burst, single deadlines, an outage, and a start with a long history, each beside what
//! there is to compare it with, in the same run. `cargo bench --bench endings -- burst isolated start outage` chooses.
//!
//! It asserts nothing about speed: numbers of a shared machine prove nothing.

#![cfg(test)]

mod burst;
#[expect(dead_code, reason = "the other benchmarks use the rest of it")]
#[path = "../common/mod.rs"]
mod common;
mod isolated;
mod outage;
mod start;
#[expect(dead_code, reason = "the tests use the rest of it")]
#[path = "../../tests/it/support/mod.rs"]
mod support;

use self::{common::surroundings, support::world::World};

#[tokio::main]
async fn main() {
    let wanted = common::chosen();
    println!("{}\n", surroundings(&World::start().await).await);
    if wanted("isolated") {
        isolated::measure().await;
    }
    if wanted("burst") {
        burst::measure().await;
    }
    if wanted("start") {
        start::measure().await;
    }
    if wanted("outage") {
        outage::measure().await;
    }
}
