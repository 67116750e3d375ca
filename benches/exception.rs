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

#[expect(dead_code, reason = "the tests use the rest of it")]
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::{
    fs, thread,
    time::{Duration, SystemTime},
};

use hallpass::wire::{Grant, GrantFilter, GrantState, ListGrantsRequest, Request, RevocationCause};
use prost_types::Timestamp;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use sqlx::Connection as _;

use self::support::{people::Person, servers::eventually, world::World};

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

/// How long one call may take.
const CALL: Duration = Duration::from_secs(30);

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
    let issued = timed(&mut times.direct, direct.issue()).await;
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

/// What a claim asks of Vault, asked without hallpass: the same calls in the same order, with the rights of the daemon,
/// over connections that stay open like the daemon's.
#[derive(Debug)]
struct Direct {
    http: Client,
    vault: String,
    token: String,
    token_role: String,
    policy: String,
    credential_path: String,
}

/// What was issued, to be ended again.
#[derive(Debug)]
struct Issued {
    accessor: String,
    wrapping: String,
    lease: String,
}

impl Direct {
    /// Logs in as the daemon does.
    async fn log_in(world: &World) -> Self {
        let (bao, name) = (&world.bao, &world.name);
        let role = format!("auth/approle/role/hallpassd-{name}");
        let role_id = bao.read(&format!("{role}/role-id")).await["data"]["role_id"].clone();
        let secret_id = bao.write(&format!("{role}/secret-id"), json!({})).await["data"]["secret_id"].clone();
        let login = json!({ "role_id": role_id, "secret_id": secret_id });
        let login = bao.write("auth/approle/login", login).await;
        Self {
            http: hallpass::http::client(None, CALL).unwrap(),
            vault: bao.address.clone(),
            token: text(&login["auth"]["client_token"]),
            token_role: format!("hallpass-grant-{name}"),
            policy: format!("cred-orders-ro-{name}"),
            credential_path: world.credential_path(),
        }
    }

    /// Makes a token, lists, reads wrapped, lists, looks the lease up, and sets both ends.
    async fn issue(&self) -> Issued {
        let create = json!({
            "display_name": "direct", "meta": { "grant": "direct" }, "policies": [self.policy], "ttl": "60s",
            "no_default_policy": true, "renewable": true, "type": "service",
        });
        let create_path = format!("auth/token/create/{}", self.token_role);
        let made = self.answer(self.request(&self.token, Method::POST, &create_path).json(&create)).await;
        let accessor = text(&made["auth"]["accessor"]);
        let before = self.leases().await;
        let grant_token = text(&made["auth"]["client_token"]);
        let read = self.request(&grant_token, Method::GET, &self.credential_path);
        let wrapped = self.answer(read.header("X-Vault-Wrap-TTL", "300s")).await;
        let after = self.leases().await;
        let lease = after.into_iter().find(|lease| !before.contains(lease)).expect("a lease appeared");
        self.post("sys/leases/lookup", json!({ "lease_id": lease })).await;
        let end = LONG_WINDOW.as_secs();
        tokio::join!(
            self.post("auth/token/renew-accessor", json!({ "accessor": accessor, "increment": end })),
            self.post("sys/leases/renew", json!({ "lease_id": lease, "increment": end })),
        );
        Issued { accessor, wrapping: text(&wrapped["wrap_info"]["accessor"]), lease }
    }

    /// Ends it; that isn't measured.
    async fn end(&self, issued: &Issued) {
        self.post("auth/token/revoke-accessor", json!({ "accessor": issued.wrapping })).await;
        self.post("auth/token/revoke-accessor", json!({ "accessor": issued.accessor })).await;
        self.post("sys/leases/revoke", json!({ "lease_id": issued.lease, "sync": true })).await;
    }

    /// The credentials' leases below the path; those of wrapping tokens have long names that begin with `h`.
    async fn leases(&self) -> Vec<String> {
        let path = format!("sys/leases/lookup/{}/", self.credential_path);
        let list = self.request(&self.token, Method::from_bytes(b"LIST").unwrap(), &path);
        // An empty list is a 404.
        let keys = self.answer(list).await["data"]["keys"].take();
        let names = keys.as_array().map(Vec::as_slice).unwrap_or_default().iter().map(text);
        let credentials = names.filter(|name| !(name.starts_with('h') && name.len() > 64));
        credentials.map(|name| format!("{}/{name}", self.credential_path)).collect()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.answer(self.request(&self.token, Method::POST, path).json(&body)).await
    }

    fn request(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}/v1/{path}", self.vault)).header("X-Vault-Token", token)
    }

    async fn answer(&self, request: RequestBuilder) -> Value {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let body = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default();
        assert!(status < 300 || status == 404, "{status} {body}");
        body
    }
}

/// Appends how long it took, in milliseconds.
async fn timed<T>(times: &mut Vec<f64>, work: impl Future<Output = T>) -> T {
    let begun = now();
    let done = work.await;
    times.push(millis(begun.elapsed()));
    done
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// The milliseconds from one recorded instant to another that isn't earlier.
fn between(from: Option<Timestamp>, until: Option<Timestamp>) -> f64 {
    let instant = |at: Option<Timestamp>| SystemTime::try_from(at.unwrap()).unwrap();
    millis(instant(until).duration_since(instant(from)).expect("the later is not before the earlier"))
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn print(what: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    let (median, p99) = (percentile(&times, 50), percentile(&times, 99));
    println!("{what:<58}{:>6}{median:>12.1}{p99:>12.1}", times.len());
}

/// The smallest value that so many in a hundred don't exceed.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// What the numbers were measured on.
async fn surroundings(world: &World) -> String {
    let health = world.bao.read("sys/health").await;
    let client = world.postgres.connect_as_superuser("postgres").await;
    let postgres: String = client.query_one("SHOW server_version", &[]).await.unwrap().get(0);
    let mut memory = sqlx::SqliteConnection::connect("sqlite::memory:").await.unwrap();
    let sqlite: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut memory).await.unwrap();
    let cores = thread::available_parallelism().unwrap();
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    let load = load.split(' ').next().unwrap();
    let build = if cfg!(debug_assertions) { "NOT OPTIMISED" } else { "optimised" };
    format!(
        "hallpassd {} ({build}), OpenBao {} in memory, PostgreSQL {postgres} with fsync off,\n\
         SQLite {sqlite} with synchronous=FULL on {}; {cores} cores ({}), load {load} at the start",
        env!("CARGO_PKG_VERSION"),
        text(&health["version"]),
        file_system(world.database_file().to_str().unwrap()),
        processor(),
    )
}

/// The kind of file system that a file is on, and where that is mounted.
fn file_system(file: &str) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let (point, kind) = mounts
        .filter(|(point, _)| {
            file.strip_prefix(point.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
        })
        .max_by_key(|(point, _)| point.len())
        .unwrap_or(("?", "?"));
    format!("{kind} ({point})")
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name"));
    model.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown processor").to_owned()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
