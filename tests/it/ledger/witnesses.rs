//! The log as witnesses see it: the real daemon, signed for by a real Vault, and what becomes of it when somebody puts its
//! database back, or edits it, or is somebody else.

use std::{fs, net::TcpListener, path::PathBuf, process::Command, time::Duration};

use hallpass::{
    access::event::digest_of,
    ledger::{
        checkpoint::{Log, Signed},
        note::{Kind, SigningKey, VerifierKey},
    },
    wire::{GrantState, Request},
};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tonic::Code;

use crate::support::{
    people::Person,
    refusals::reason,
    servers::{eventually, free_port},
    world::{Wishes, World},
};

pub const MINUTE: Duration = Duration::from_mins(1);
/// A checkpoint as soon as there is something new.
pub const SOON: &str = "interval = \"1s\"\n";

/// A company whose log is witnessed by a directory in the world's.
async fn with_archive() -> World {
    let world = World::with(Wishes { ledger: SOON.to_owned(), ..Wishes::default() }).await;
    world.stop_daemon("KILL").await;
    let archive = format!("[ledger.witnesses.archive]\ndirectory = {:?}\n", archive(&world));
    edit_config(&world, "[identity.oidc.vault]", &format!("{archive}[identity.oidc.vault]"));
    world.start_daemon().await;
    world
}

fn archive(world: &World) -> PathBuf {
    world.dir.join("archive")
}

pub fn edit_config(world: &World, from: &str, to: &str) {
    let text = fs::read_to_string(world.config_file()).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(world.config_file(), text.replace(from, to)).unwrap();
}

/// The log, as `hallpassd ledger key` tells of it.
pub fn log(world: &World) -> Log {
    Log::of_key(&log_key(world)).unwrap()
}

pub fn log_key(world: &World) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpassd"));
    let done = command.args(["ledger", "key", "--config"]).arg(world.config_file()).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// The last checkpoint in the archive, if there is one.
fn archived(world: &World) -> Option<Signed> {
    fs::read(archive(world).join("checkpoint")).ok().map(|bytes| Signed::parse(&bytes).unwrap())
}

/// How many events there are.
pub async fn events(world: &World) -> u64 {
    let mut connection = open(world, true).await;
    let size: i64 = sqlx::query_scalar("SELECT max(sequence) FROM audit_events")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    size.unsigned_abs()
}

pub async fn open(world: &World, read_only: bool) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(world.database_file()).read_only(read_only);
    SqliteConnection::connect_with(&options).await.unwrap()
}

/// Waits until the archive has a checkpoint of all that there is now.
async fn archive_catches_up(world: &World) -> Signed {
    let size = events(world).await;
    let mut last = None;
    eventually("the archive has it all", async || {
        last = archived(world);
        last.as_ref().is_some_and(|signed| signed.checkpoint().size() >= size)
    })
    .await;
    last.unwrap()
}

pub async fn approved(world: &World, alice: &mut Person) -> Request {
    let request = alice.submit(MINUTE * 10, "order 4711 is stuck").await.unwrap();
    world.person("olivia").await.approve(&request, "fine").await.unwrap()
}

/// The database as files, without its daemon.
pub fn copy(world: &World, to: &str) {
    for ending in ["", "-wal", "-shm"] {
        let from = world.dir.join(&format!("hallpass.db{ending}"));
        let to = world.dir.join(&format!("{to}{ending}"));
        if from.exists() {
            fs::copy(from, to).unwrap();
        } else {
            drop(fs::remove_file(to));
        }
    }
}

/// Puts a copy in the database's place.
pub fn put_back(world: &World, copy: &str) {
    for ending in ["", "-wal", "-shm"] {
        let from = world.dir.join(&format!("{copy}{ending}"));
        let to = world.dir.join(&format!("hallpass.db{ending}"));
        if from.exists() {
            fs::copy(from, to).unwrap();
        } else {
            drop(fs::remove_file(to));
        }
    }
}

#[tokio::test]
async fn the_log_is_signed_by_vault_and_kept_in_a_directory() {
    let world = with_archive().await;
    let mut alice = world.person("alice").await;
    approved(&world, &mut alice).await;
    let signed = archive_catches_up(&world).await;
    let endorsed = signed.verify(&log(&world), &[]).unwrap();
    assert_eq!(endorsed.signed[0].key.name(), format!("hallpass.example/{}", world.name));
    let kept = archive(&world).join("checkpoints").join(signed.checkpoint().size().to_string());
    assert_eq!(fs::read_to_string(kept).unwrap(), signed.to_string());
    assert!(world.log().contains("checkpoint-signed"), "the log's line is a witness, too");
    assert!(world.log().contains(&signed.checkpoint().root().to_string()));
}

/// One hears and never answers, one isn't there, and one answers what no witness does.
#[tokio::test]
async fn a_witness_that_hangs_keeps_no_other_waiting() {
    let world = with_archive().await;
    world.stop_daemon("KILL").await;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let urls = [
        format!("http://{}", silent.local_addr().unwrap()),
        format!("http://127.0.0.1:{}", free_port()),
        world.bao.address.clone(),
    ];
    let sections: Vec<String> = urls
        .iter()
        .enumerate()
        .map(|(number, url)| {
            let seed = [u8::try_from(number).unwrap(); 32];
            let key = SigningKey::from_seed(&format!("w{number}.example"), &seed).unwrap();
            let key = key.verifier(Kind::Cosignature);
            format!("[ledger.witnesses.w{number}]\nurl = {url:?}\nverifier_key = \"{key}\"\n")
        })
        .collect();
    edit_config(&world, "[identity.oidc.vault]", &format!("{}[identity.oidc.vault]", sections.concat()));
    world.start_daemon().await;
    let mut alice = world.person("alice").await;
    let request = approved(&world, &mut alice).await;
    archive_catches_up(&world).await;
    eventually("two of them are told of", async || world.log().matches("witness-failed").count() >= 2).await;
    alice
        .claim(&request)
        .await
        .expect("nothing is granted later because of them than when they were given up");
}

#[tokio::test]
async fn a_database_that_was_put_back_grants_nothing_until_the_loss_is_acknowledged() {
    let world = with_archive().await;
    let mut alice = world.person("alice").await;
    let request = approved(&world, &mut alice).await;
    archive_catches_up(&world).await;
    world.stop_daemon("KILL").await;
    copy(&world, "copy");
    world.start_daemon().await;
    alice.submit(MINUTE, "what will be lost").await.unwrap();
    let lost = archive_catches_up(&world).await;
    world.stop_daemon("KILL").await;
    put_back(&world, "copy");
    world.start_daemon().await;

    let refused = alice.claim(&request).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::FailedPrecondition, "ISSUE_BLOCKED".to_owned()), "{refused:?}");
    assert!(refused.message().contains("archive"), "{refused:?}");
    let told = world.audit("LedgerContradicted").await;
    let [told] = told.as_slice() else { panic!("told of once: {told:?}") };
    assert_eq!(told["detail"]["problem"], "BEHIND");
    assert_eq!(told["detail"]["witness_size"], lost.checkpoint().size());
    assert!(world.log().contains("ledger-contradicted"));
    assert_eq!(archived(&world), Some(lost), "the witness keeps what it knows");

    // Without the witness it is on record all the same.
    world.stop_daemon("KILL").await;
    let named = format!("[ledger.witnesses.archive]\ndirectory = {:?}\n", archive(&world));
    edit_config(&world, &named, "");
    world.start_daemon().await;
    let refused = alice.claim(&request).await.unwrap_err();
    assert_eq!(reason(&refused).1, "ISSUE_BLOCKED", "{refused:?}");

    // The log gets another name: its old one stays with what was lost.
    world.stop_daemon("KILL").await;
    let origin = format!("hallpass.example/{}", world.name);
    edit_config(&world, &format!("origin = \"{origin}\""), &format!("origin = \"{origin}/2\""));
    world.start_daemon().await;
    let mut claimed = None;
    eventually("Vault and the records were compared", async || {
        claimed = alice.claim(&request).await.ok();
        claimed.is_some()
    })
    .await;
}

#[tokio::test]
async fn an_edited_database_is_not_signed_and_grants_nothing_but_ends_what_it_granted() {
    let world = World::with(Wishes { ledger: SOON.to_owned(), ..Wishes::default() }).await;
    let mut alice = world.person("alice").await;
    let request = approved(&world, &mut alice).await;
    let grant = alice.claim(&request).await.unwrap().grant.unwrap();
    let waiting = approved(&world, &mut alice).await;
    eventually("it is signed", async || world.log().contains("checkpoint-signed")).await;
    world.stop_daemon("KILL").await;

    // Whoever edits knows how: text and digest fit, and the leaf is spelt as it must be.
    let mut connection = open(&world, false).await;
    let digest = |text: &str| digest_of(text);
    let edit = format!(
        "UPDATE audit_events SET leaf = replace(leaf, '{}', '{}'), texts = replace(texts, '4711', '4712') \
         WHERE kind = 'RequestSubmitted' AND sequence = (SELECT min(sequence) FROM audit_events WHERE kind = 'RequestSubmitted')",
        digest("order 4711 is stuck"),
        digest("order 4712 is stuck")
    );
    let triggers: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit_events'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    for trigger in triggers {
        sqlx::query(sqlx::AssertSqlSafe(format!("DROP TRIGGER {trigger}")))
            .execute(&mut connection)
            .await
            .unwrap();
    }
    let edited = sqlx::query(sqlx::AssertSqlSafe(edit)).execute(&mut connection).await.unwrap();
    assert_eq!(edited.rows_affected(), 1);
    connection.close().await.unwrap();
    let signed = world.log().matches("checkpoint-signed").count();

    world.start_daemon().await;
    let refused = alice.claim(&waiting).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::FailedPrecondition, "ISSUE_BLOCKED".to_owned()), "{refused:?}");
    assert!(refused.message().contains("changed"), "{refused:?}");
    eventually("it is told of", async || world.log().contains("ledger-broken")).await;
    let ended = alice.release(&grant).await.unwrap();
    alice.sees(&ended, GrantState::Revoked).await;
    assert_eq!(world.log().matches("checkpoint-signed").count(), signed, "nothing more is signed");
}

#[tokio::test]
async fn a_daemon_that_starts_without_vault_signs_when_it_is_back() {
    let wishes = Wishes { own_vault: true, ledger: SOON.to_owned(), ..Wishes::default() };
    let world = World::with(wishes).await;
    eventually("it is signed", async || world.log().contains("checkpoint-signed")).await;
    world.stop_daemon("KILL").await;
    world.bao.stop();
    world.start_daemon().await;
    eventually("it can't be signed", async || world.log().contains("checkpoint-failed")).await;
    let before = world.log().matches("checkpoint-signed").count();
    world.bao.start().await;
    eventually("it is signed again", async || world.log().matches("checkpoint-signed").count() > before)
        .await;
}

#[tokio::test]
async fn the_log_can_be_signed_by_a_key_in_a_file() {
    let world = World::with(Wishes { ledger: SOON.to_owned(), ..Wishes::default() }).await;
    world.stop_daemon("KILL").await;
    let (file, origin) = (world.dir.join("ledger-key"), format!("hallpass.example/{}/file", world.name));
    let new_key = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hallpassd"));
        command.args(["ledger", "new-key", "--origin", &origin, "--file"]).arg(&file).output().unwrap()
    };
    let made = new_key();
    assert!(made.status.success(), "{made:?}");
    let key = VerifierKey::parse(String::from_utf8(made.stdout).unwrap().trim()).unwrap();
    assert_eq!((key.name(), key.kind()), (origin.as_str(), Kind::Plain));
    assert!(!new_key().status.success(), "a key is never written over");
    let transit = format!("transit_mount = \"transit-{}\"", world.name);
    edit_config(&world, &transit, &format!("key_file = {file:?}"));
    edit_config(
        &world,
        &format!("origin = \"hallpass.example/{}\"", world.name),
        &format!("origin = \"{origin}\""),
    );
    world.start_daemon().await;
    assert_eq!(log_key(&world), key.to_string());
    eventually("it is signed", async || world.log().contains(&format!("\"{origin}\""))).await;
}
