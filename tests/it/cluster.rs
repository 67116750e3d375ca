//! Several daemons on one PostgreSQL: real ones, with a real OpenBao, that are killed, stopped and cut off.

mod daemons;
mod storm;

use std::{
    collections::HashMap, ffi::OsStr, fs, os::unix::fs::PermissionsExt as _, process::Command, time::Duration,
};

use hallpass::wire::{
    ClaimGrantResponse, GetStatusRequest, GetStatusResponse, GrantState, RequestState, WatchRequestsRequest,
};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use self::{
    daemons::{Cluster, TAKEOVER_AFTER},
    storm::{Trouble, weather},
};
use crate::support::{
    servers::{Pipe, Postgres, eventually},
    world::Wishes,
};

const HOUR: Duration = Duration::from_hours(1);

/// Any of them serves any call, and each sees at once what another did.
#[tokio::test(flavor = "multi_thread")]
async fn a_story_is_told_through_three_daemons() {
    let cluster = Cluster::start(3).await;
    let [alice, olivia, audrey] = ["alice", "olivia", "audrey"];
    let request = cluster.person(alice, 0).await.submit(HOUR, "the queue hangs").await.unwrap();
    let approved = cluster.person(olivia, 1).await.approve(&request, "go ahead").await.unwrap();
    assert_eq!(approved.state(), RequestState::Approved);
    let mut alice_there = cluster.person(alice, 2).await;
    let claimed = alice_there.claim(&approved).await.unwrap();
    let credential = alice_there.unwrap(&claimed).await;
    cluster
        .world
        .postgres
        .connect(&credential.username, &credential.password, &cluster.world.database())
        .await
        .unwrap();
    let grant = claimed.grant.unwrap();
    let ended = cluster.person(alice, 0).await.release(&grant).await.unwrap();
    assert!(matches!(ended.state(), GrantState::Revoking | GrantState::Revoked));
    let mut alice = cluster.person(alice, 1).await;
    eventually("it is revoked", async || {
        alice.grant(&grant.name).await.unwrap().state() == GrantState::Revoked
    })
    .await;
    let exception = cluster.person(audrey, 2).await.exception(&request).await.unwrap();
    let kinds: Vec<String> = exception.timeline.iter().map(|event| event.kind.clone()).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "GrantRevoked").count(), 1, "{kinds:?}");
    cluster.is_sound().await;
}

/// Killed in the middle of whatever it was at, and started again.
#[tokio::test(flavor = "multi_thread")]
async fn people_go_on_while_daemons_are_killed() {
    weather(&[Trouble::Kill(1), Trouble::Kill(0)]).await;
}

/// Stopped for longer than others wait, and let go on with what another has taken over.
#[tokio::test(flavor = "multi_thread")]
async fn people_go_on_while_daemons_stand_still() {
    weather(&[Trouble::Stop(2), Trouble::Stop(0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_go_on_while_the_database_is_restarted_and_cut_off() {
    weather(&[Trouble::Restart, Trouble::Cut, Trouble::Restart]).await;
}

/// The way to the database is there, and nothing goes through.
#[tokio::test(flavor = "multi_thread")]
async fn people_go_on_when_the_database_was_silent() {
    weather(&[Trouble::Silence, Trouble::Cut]).await;
}

/// Of many decisions on one request, through different daemons at once, one counts.
#[tokio::test(flavor = "multi_thread")]
async fn of_decisions_at_once_one_counts() {
    let cluster = Cluster::start(3).await;
    for _ in 0..5 {
        let request = cluster.person("alice", 0).await.submit(HOUR, "the queue hangs").await.unwrap();
        let mut decisions = Vec::new();
        for daemon in 0..3 {
            decisions.push((cluster.person("olivia", daemon).await, cluster.person("oscar", daemon).await));
        }
        let decided = decisions.iter_mut().map(async |(olivia, oscar)| {
            let (yes, no) =
                tokio::join!(olivia.approve(&request, "go ahead"), oscar.deny(&request, "not today"));
            (yes.is_ok(), no.is_ok())
        });
        // Who says the same again is told that it is so.
        let decided = futures_util::future::join_all(decided).await;
        let (yes, no) = (decided.iter().any(|(yes, _)| *yes), decided.iter().any(|(_, no)| *no));
        assert!(yes != no, "{decided:?}");
        let exception = cluster.person("audrey", 1).await.exception(&request).await.unwrap();
        let decisions = |kind: &str| exception.timeline.iter().filter(|event| event.kind == kind).count();
        assert_eq!(decisions("RequestApproved") + decisions("RequestDenied"), 1);
    }
    cluster.is_sound().await;
}

/// Two daemons, and a target on which accounts are made only when this connection lets go of a lock.
async fn where_vault_waits() -> (Cluster, Client) {
    let wishes = Wishes {
        shared: Some(TAKEOVER_AFTER),
        before_account: Some("SELECT pg_advisory_xact_lock(4711);"),
        ..Wishes::default()
    };
    let cluster = Cluster::with(2, wishes).await;
    let in_the_way = cluster.world.postgres.connect_as_superuser(&cluster.world.database()).await;
    in_the_way.batch_execute("SELECT pg_advisory_lock(4711)").await.unwrap();
    (cluster, in_the_way)
}

/// How many accounts Vault waits for.
async fn awaited(target: &Client) -> usize {
    let waiting =
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'";
    target.query(waiting, &[]).await.unwrap().len()
}

/// A claim through a daemon, under way.
async fn claim_through(
    cluster: &Cluster,
    daemon: usize,
) -> JoinHandle<Result<ClaimGrantResponse, tonic::Status>> {
    let mut alice = cluster.person("alice", daemon).await;
    let request = alice.submit(HOUR, "the queue hangs").await.unwrap();
    let approved = cluster.person("olivia", daemon).await.approve(&request, "go ahead").await.unwrap();
    tokio::spawn(async move { alice.claim(&approved).await })
}

/// A lease is found by listing, so through all daemons one credential is read at a time.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_claims_on_one_path_one_reads() {
    let (cluster, in_the_way) = where_vault_waits().await;
    let first = claim_through(&cluster, 0).await;
    eventually("Vault is at work", async || awaited(&in_the_way).await == 1).await;
    let second = claim_through(&cluster, 1).await;
    let records = cluster.world.postgres.connect_as_superuser(&cluster.world.shared_store()).await;
    let minted = "SELECT 1 FROM audit_events WHERE kind = 'GrantTokenMinted'";
    eventually("both may read", async || records.query(minted, &[]).await.unwrap().len() == 2).await;
    // Whatever it would do next, it would have done before this.
    cluster.person("alice", 1).await.submit(HOUR, "and another one").await.unwrap();
    assert_eq!(awaited(&in_the_way).await, 1, "the other one waits for its turn");
    in_the_way.batch_execute("SELECT pg_advisory_unlock(4711)").await.unwrap();
    for claim in [first, second] {
        claim.await.unwrap().unwrap();
    }
    assert_eq!(cluster.world.leases().await.len(), 2);
    cluster.is_sound().await;
}

/// While Vault is made to wait, no transaction waits for it: those that were open when it began end by themselves, and another
/// daemon commits.
#[tokio::test(flavor = "multi_thread")]
async fn no_transaction_is_open_while_vault_is_asked() {
    let (cluster, in_the_way) = where_vault_waits().await;
    let world = &cluster.world;
    let claim = claim_through(&cluster, 0).await;
    eventually("Vault is at work", async || awaited(&in_the_way).await == 1).await;

    let superuser = world.postgres.connect_as_superuser(&world.shared_store()).await;
    let sessions = async || {
        let all = "SELECT pid, xact_start::text FROM pg_stat_activity \
                    WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let rows = superuser.query(all, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect::<HashMap<i32, Option<String>>>()
    };
    let mut open = sessions().await;
    open.retain(|_, begun| begun.is_some());
    eventually("the open transactions end", async || {
        let now = sessions().await;
        // The server ends a session that waits in a transaction for too long.
        open.iter().all(|(pid, begun)| now.get(pid).expect("the session goes on") != begun)
    })
    .await;
    cluster.person("alice", 1).await.submit(HOUR, "and another one").await.unwrap();
    assert!(!claim.is_finished(), "Vault still waits");

    in_the_way.batch_execute("SELECT pg_advisory_unlock(4711)").await.unwrap();
    claim.await.unwrap().unwrap();
    cluster.is_sound().await;
}

/// The window closes while the daemon that gave the grant is dead.
#[tokio::test(flavor = "multi_thread")]
async fn a_window_closes_without_the_daemon_that_opened_it() {
    let cluster = Cluster::start(2).await;
    let request = cluster.person("alice", 1).await.submit(Duration::from_secs(15), "a look").await.unwrap();
    let approved = cluster.person("olivia", 1).await.approve(&request, "go ahead").await.unwrap();
    let claimed = cluster.person("alice", 1).await.claim(&approved).await.unwrap();
    let credential = cluster.person("alice", 0).await.unwrap(&claimed).await;
    cluster.stop(1, "KILL").await;
    let grant = claimed.grant.unwrap();
    let ended = cluster.person("alice", 0).await.sees(&grant, GrantState::Revoked).await;
    assert_eq!(ended.cause(), hallpass::wire::RevocationCause::WindowClosed);
    let postgres = &cluster.world.postgres;
    let refused =
        postgres.connect(&credential.username, &credential.password, &cluster.world.database()).await;
    assert!(refused.is_err());
    cluster.is_sound().await;
}

/// The records can't be reached when the window closes: it ends all the same, and is recorded once, as it happened.
#[tokio::test(flavor = "multi_thread")]
async fn access_ends_while_the_records_are_out_of_reach() {
    let wishes = Wishes { shared: Some(TAKEOVER_AFTER), pipe: Some(Pipe::to), ..Wishes::default() };
    let cluster = Cluster::with(2, wishes).await;
    let (world, mut alice) = (&cluster.world, cluster.person("alice", 0).await);
    let request = alice.submit(Duration::from_secs(15), "a look").await.unwrap();
    let approved = cluster.person("olivia", 0).await.approve(&request, "go ahead").await.unwrap();
    let grant = alice.claim(&approved).await.unwrap().grant.unwrap();
    world.pipe().silence();
    eventually("the account is gone", async || world.accounts().await.is_empty()).await;
    eventually("the end is kept", async || cluster.log(0).contains("grant-ended-unrecorded")).await;
    world.pipe().lift();
    let mut alice = cluster.person("alice", 1).await;
    eventually("it is on record", async || {
        alice.grant(&grant.name).await.is_ok_and(|grant| grant.state() == GrantState::Revoked)
    })
    .await;
    let exception = cluster.person("audrey", 1).await.exception(&request).await.unwrap();
    let count = |kind: &str| exception.timeline.iter().filter(|event| event.kind == kind).count();
    assert_eq!((count("RevocationBegun"), count("GrantRevoked")), (1, 1), "{:#?}", exception.timeline);
    cluster.is_sound().await;
}

/// What the next version's migrations may do while this one is at work: they add something. Who runs goes on with the statements
/// that it prepared before, and who starts again takes the tables as they are.
#[tokio::test(flavor = "multi_thread")]
async fn daemons_go_on_while_a_later_version_migrates() {
    let cluster = Cluster::start(2).await;
    exception(&cluster, 0).await;
    let later = "BEGIN;
        ALTER TABLE requests ADD COLUMN later TEXT COLLATE \"C\" CHECK (later <> '');
        ALTER TABLE decisions ADD COLUMN later BIGINT NOT NULL DEFAULT 1;
        ALTER TABLE grants ADD COLUMN later BIGINT NOT NULL DEFAULT 1;
        ALTER TABLE audit_events ADD COLUMN later TEXT GENERATED ALWAYS AS (leaf::json ->> 'at') STORED;
        ALTER TABLE duties ADD COLUMN later BIGINT;
        ALTER TABLE daemons ADD COLUMN later TEXT;
        CREATE INDEX grants_later ON grants (later, request_id);
        CREATE TABLE of_later (id BIGINT PRIMARY KEY);
        INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (9999, 'later', TRUE, decode('00', 'hex'), 0);
        COMMIT";
    let world = &cluster.world;
    let database = world.postgres.connect_as_superuser(&world.shared_store()).await;
    database.batch_execute(later).await.unwrap();
    exception(&cluster, 0).await;
    cluster.stop(1, "TERM").await;
    cluster.start_again(1).await;
    exception(&cluster, 1).await;
    exception(&cluster, 0).await;
    cluster.is_sound().await;
}

/// One from its request to its confirmed end, through one daemon, where nothing fails.
async fn exception(cluster: &Cluster, daemon: usize) {
    let (mut alice, mut olivia) =
        (cluster.person("alice", daemon).await, cluster.person("olivia", daemon).await);
    let request = alice.submit(HOUR, "the queue hangs").await.unwrap();
    let approved = olivia.approve(&request, "go ahead").await.unwrap();
    let grant = alice.claim(&approved).await.unwrap().grant.unwrap();
    alice.release(&grant).await.unwrap();
    alice.sees(&grant, GrantState::Revoked).await;
}

/// Operators see who shares the records, and who is gone.
#[tokio::test(flavor = "multi_thread")]
async fn operators_see_who_is_there() {
    let cluster = Cluster::start(3).await;
    let ask = async |daemon: usize| {
        let oren = cluster.person("oren", daemon).await;
        let mut client = oren.daemons(cluster.address(daemon));
        client.get_status(GetStatusRequest {}).await.unwrap().into_inner()
    };
    let status = ask(1).await;
    assert_eq!((status.daemons.len(), status.problem.as_str()), (3, ""));
    assert_eq!(status.daemons.iter().filter(|daemon| daemon.here).count(), 1);
    assert!(status.daemons.iter().all(|daemon| daemon.version == status.version && !daemon.gone));
    assert!(status.daemons.iter().all(|daemon| daemon.clock_ahead.is_some() && daemon.seen_at.is_some()));
    cluster.person("alice", 0).await.submit(HOUR, "the queue hangs").await.unwrap();
    let grown = ask(2).await;
    assert!(grown.events > status.events && grown.events >= grown.events_signed, "{grown:?}");
    let signs = async || {
        let held = ask(0).await.daemons.into_iter().flat_map(|daemon| daemon.held);
        held.filter(|duty| duty == "chore checkpoints").count() == 1
    };
    eventually("one of them signs the log", signs).await;
    cluster.stop(2, "KILL").await;
    let gone = |status: &GetStatusResponse| status.daemons.iter().filter(|daemon| daemon.gone).count();
    eventually("one is gone", async || gone(&ask(0).await) == 1).await;
    let refused = cluster.person("alice", 0).await;
    let refused = refused.daemons(cluster.address(0)).get_status(GetStatusRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
}

/// A server that doesn't wait for its disk is none to keep records on.
#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_looks_at_the_server() {
    let told = async |database: Option<fn() -> Postgres>| {
        let cluster = Cluster::with(1, Wishes { shared: Some(""), database, ..Wishes::default() }).await;
        let mut doctor = Command::new(env!("CARGO_BIN_EXE_hallpassd"));
        doctor.args(["doctor", "--config"]).arg(cluster.world.config_file());
        let output = tokio::task::spawn_blocking(move || doctor.output().unwrap()).await.unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let (hasty, durable) = (told(None).await, told(Some(Postgres::start_durable)).await);
    assert!(hasty.contains("fsync is off") && hasty.contains("full_page_writes is off"), "{hasty}");
    assert!(!durable.contains("is off"), "{durable}");
    assert!(durable.contains("its schema is up to date; PostgreSQL"), "{durable}");
    assert!(durable.contains("ahead of this machine's"), "{durable}");
}

/// The environment of whoever runs it has no say in who logs in.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_comes_from_its_file_and_from_nowhere_else() {
    let cluster = Cluster::start(1).await;
    let (store, dir) = (cluster.world.shared_store(), &cluster.world.dir);
    let text = fs::read_to_string(cluster.world.config_file()).unwrap();
    let (without, passes) = (dir.join("without.toml"), dir.join("passes"));
    let lines = text.lines().filter(|line| !line.starts_with("password_file"));
    fs::write(&without, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let password = fs::read_to_string(cluster.world.store_password_file()).unwrap();
    fs::write(&passes, format!("*:*:{store}:{store}:{password}")).unwrap();
    fs::set_permissions(&passes, fs::Permissions::from_mode(0o600)).unwrap();
    for (name, value) in [("PGPASSWORD", OsStr::new(password.trim())), ("PGPASSFILE", passes.as_os_str())] {
        let mut migrate = Command::new(env!("CARGO_BIN_EXE_hallpassd"));
        migrate.args(["migrate", "--config"]).arg(&without).env_clear().env(name, value);
        let output = tokio::task::spawn_blocking(move || migrate.output().unwrap()).await.unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("password authentication failed"), "{name}: {told}");
    }
}

/// Whoever follows at one daemon sees what happens at the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_hears_of_what_another_daemon_did() {
    let cluster = Cluster::start(2).await;
    let mut alice = cluster.person("alice", 0).await;
    let request = alice.submit(HOUR, "the queue hangs").await.unwrap();
    let watch = WatchRequestsRequest { name: request.name.clone(), ..WatchRequestsRequest::default() };
    let mut seen = alice.requests.watch_requests(watch).await.unwrap().into_inner();
    let present = seen.message().await.unwrap().unwrap();
    assert_eq!(present.request.unwrap().state(), RequestState::Pending);
    cluster.person("olivia", 1).await.approve(&request, "go ahead").await.unwrap();
    let next = seen.message().await.unwrap().unwrap();
    assert_eq!(next.event.unwrap().kind, "RequestApproved");
    assert_eq!(next.request.unwrap().state(), RequestState::Approved);
}
