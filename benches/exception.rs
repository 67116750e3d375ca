//! How fast an exception is, for real: the daemon that `make release` builds, a real OpenBao and a real PostgreSQL, all
//! on this machine. Run it with `make bench`.
//!
//! It measures from outside, as a client sees it, and it measures a claim beside the same calls made to Vault without
//! hallpass, in the same rounds, so that whatever else the machine does burdens both alike. The ends of grants are taken
//! from the daemon's own record: from the window's end to the moment at which Vault's confirmation was in hand.
//!
//! It asserts nothing about speed: numbers of a shared machine prove nothing, and a test that fails on a slow one
//! teaches people to ignore it.

#![cfg(test)]

#[expect(dead_code, reason = "the other benchmarks use the rest of it")]
mod common;
#[expect(dead_code, reason = "the tests use the rest of it")]
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::time::Duration;

use hallpass::wire::{Grant, GrantFilter, GrantState, ListGrantsRequest, Request, RevocationCause};

use self::{
    common::{between, direct::Direct, now, print, surroundings, timed},
    support::{people::Person, servers::eventually, world::World},
};

/// How many exceptions are measured one after another, and how long that may take altogether: a slow machine measures
/// fewer of them, and the table says how many.
const ROUNDS_MAX: usize = 300;
const ROUNDS_LAST: Duration = Duration::from_mins(1);

/// Rounds that come first and don't count: connections, caches and the first login are not what is measured.
const ROUNDS_BEFORE: usize = 5;

/// How many windows close by themselves, and how long they are, in turn.
const WINDOWS: usize = 100;
const WINDOW_LENGTHS: [Duration; 3] =
    [Duration::from_secs(3), Duration::from_secs(4), Duration::from_secs(5)];

/// Longer than a round takes, so that no window closes by itself there.
const LONG_WINDOW: Duration = Duration::from_mins(10);

#[tokio::main]
async fn main() {
    let world = World::start().await;
    println!("{}\n", surroundings(&world).await);

    let mut rounds = Rounds::default();
    measure_rounds(&world, &mut rounds).await;
    let closed = measure_windows(&world).await;

    let added = rounds.claim.iter().zip(&rounds.direct).map(|(claim, direct)| claim - direct).collect();
    println!("{:<58}{:>6}{:>12}{:>12}", "", "N", "median", "p99");
    print("submit a request", rounds.submit);
    print("approve it", rounds.approve);
    print("claim it: a wrapped credential, on record", rounds.claim);
    print("the same calls to Vault, made directly", rounds.direct);
    print("what hallpass adds to them, round by round", added);
    print("release: from its commit to the confirmed end", rounds.release);
    print("lag: from the window's end to the confirmed end", closed.lag);
    println!(
        "\nMilliseconds. With fewer than 100 values, p99 is the largest. The windows, of 3 to 5 s, were open at once and \
         closed\none after another; Vault counts whole seconds, so its own clock ends a lease up to a second before the \
         window does,\nand much of the work may be done when the daemon comes."
    );
    if closed.otherwise > 0 {
        println!("{} more windows were not ended by the daemon's timer and don't count.", closed.otherwise);
    }
}

/// What was measured in rounds, in milliseconds.
#[derive(Debug, Default)]
struct Rounds {
    submit: Vec<f64>,
    approve: Vec<f64>,
    claim: Vec<f64>,
    direct: Vec<f64>,
    release: Vec<f64>,
}

/// One exception after another, from the request to the confirmed end, and beside each claim the bare calls.
async fn measure_rounds(world: &World, rounds: &mut Rounds) {
    let (mut alice, mut olivia) = (world.person("alice").await, world.person("olivia").await);
    let direct = Direct::log_in(world).await;
    let begun = now();
    for round in 0..ROUNDS_BEFORE + ROUNDS_MAX {
        let mut times = Rounds::default();
        one_round(&mut alice, &mut olivia, &direct, &mut times).await;
        if round >= ROUNDS_BEFORE {
            rounds.submit.append(&mut times.submit);
            rounds.approve.append(&mut times.approve);
            rounds.claim.append(&mut times.claim);
            rounds.direct.append(&mut times.direct);
            rounds.release.append(&mut times.release);
        }
        if begun.elapsed() > ROUNDS_LAST {
            return;
        }
    }
}

async fn one_round(alice: &mut Person, olivia: &mut Person, direct: &Direct, times: &mut Rounds) {
    let request = timed(&mut times.submit, alice.submit(LONG_WINDOW, "order 4711 is stuck")).await.unwrap();
    let request = timed(&mut times.approve, olivia.approve(&request, "as discussed")).await.unwrap();
    let claimed = timed(&mut times.claim, alice.claim(&request)).await.unwrap();
    let grant = claimed.grant.unwrap();
    alice.release(&grant).await.unwrap();
    let revoked = alice.sees(&grant, GrantState::Revoked).await;
    times.release.push(between(revoked.revocation_begun_at, revoked.ended_at));
    let issued = timed(&mut times.direct, direct.issue(LONG_WINDOW)).await;
    direct.end(&issued).await;
}

/// Windows that closed.
#[derive(Debug, Default)]
struct Closed {
    /// From the window's end to the confirmed end, in milliseconds.
    lag: Vec<f64>,
    /// How many ended for another cause.
    otherwise: usize,
}

/// Opens short windows one after another, so that many are open at once, and looks when all are over: nothing but the
/// daemon is at work while they close.
async fn measure_windows(world: &World) -> Closed {
    let (mut alice, mut olivia) = (world.person("alice").await, world.person("olivia").await);
    let mut requests = Vec::new();
    for number in 0..WINDOWS {
        let length = WINDOW_LENGTHS[number % WINDOW_LENGTHS.len()];
        let request = alice.submit(length, "order 4711 is stuck").await.unwrap();
        requests.push(olivia.approve(&request, "as discussed").await.unwrap());
    }
    for request in &requests {
        alice.claim(request).await.unwrap();
    }
    let open = [GrantState::Issuing, GrantState::Active, GrantState::Revoking];
    eventually("all windows are over", async || list(&mut alice, &open, 1).await.is_empty()).await;
    let page = i32::try_from(WINDOWS).unwrap();
    let grants = list(&mut alice, &[GrantState::Revoked], page).await;
    let ours = grants.iter().filter(|grant| requests.iter().any(|request| belongs(grant, request)));
    let mut closed = Closed::default();
    for grant in ours {
        match grant.cause() {
            RevocationCause::WindowClosed => closed.lag.push(between(grant.closes_at, grant.ended_at)),
            _ => closed.otherwise += 1,
        }
    }
    assert_eq!(closed.lag.len() + closed.otherwise, WINDOWS, "every window is over and on record");
    closed
}

fn belongs(grant: &Grant, request: &Request) -> bool {
    grant.request == request.name
}

async fn list(person: &mut Person, states: &[GrantState], page_size: i32) -> Vec<Grant> {
    let states = states.iter().map(|state| i32::from(*state)).collect();
    let filter = Some(GrantFilter { states, ..GrantFilter::default() });
    let list = ListGrantsRequest { page_size, filter, ..ListGrantsRequest::default() };
    person.grants.list_grants(list).await.unwrap().into_inner().grants
}
