//! How long lists take, for real: pages of 50 over gRPC, of a thousand exceptions and of a million, by turns in the same
//! rounds, without a filter and with each; the numbers of all of them; and the export as CSV by the client, with the memory
//! that it takes. `cargo bench --bench listing -- pages summary export` chooses, and `LISTING_EXCEPTIONS=100000` makes the long
//! list that long. `LISTING_STORE=postgres` keeps them in PostgreSQL.
//!
//! It asserts nothing about speed: numbers of a shared machine prove nothing.

#![cfg(test)]

#[expect(dead_code, reason = "the other benchmarks use the rest of it")]
#[path = "../common/mod.rs"]
mod common;
mod export;
mod fill;
mod pages;
#[expect(dead_code, reason = "the tests use the rest of it")]
#[path = "../../tests/it/support/mod.rs"]
mod support;

use self::{
    common::{millis, now, surroundings},
    fill::{fill, fill_shared},
    support::{
        servers::Postgres,
        world::{Wishes, World},
    },
};

/// How many exceptions there are.
const FEW: u32 = 1_000;
const MANY: u32 = 1_000_000;

#[tokio::main]
async fn main() {
    let wanted = common::chosen();
    let is_shared = std::env::var("LISTING_STORE").is_ok_and(|store| store == "postgres");
    let wishes = || Wishes {
        shared: is_shared.then_some(""),
        database: is_shared.then_some(Postgres::start_durable),
        ..Wishes::default()
    };
    let (few, many) = (World::with(wishes()).await, World::with(wishes()).await);
    println!("{}\n", surroundings(&few).await);
    let exceptions = std::env::var("LISTING_EXCEPTIONS").ok().map_or(MANY, |text| text.parse().unwrap());
    for (world, count) in [(&few, FEW), (&many, exceptions)] {
        world.stop_daemon("TERM").await;
        let begun = now();
        let bytes = if is_shared { fill_shared(world, count).await } else { fill(world, count).await };
        println!("{count} exceptions in {} MiB, written in {:.0} ms", bytes >> 20, millis(begun.elapsed()));
        world.start_daemon().await;
    }
    println!();
    if wanted("pages") {
        pages::measure(&few, &many).await;
    }
    if wanted("summary") {
        pages::summary(&many).await;
    }
    if wanted("export") {
        export::measure(&many);
    }
}
