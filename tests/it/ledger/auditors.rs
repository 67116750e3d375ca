//! Witnesses that make cosignatures: an auditor's own, which looks by itself or is brought the checkpoints, and somebody
//! else's, which isn't ours.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tonic::Code;

use super::witnesses::{SOON, approved, copy, edit_config, events, log, log_key, open, put_back};
use crate::support::{
    refusals::reason,
    servers::{eventually, free_port, process::find_program},
    shell::Shell,
    world::{Wishes, World},
};

/// An auditor with a key and a place for what he saw.
struct Auditor<'a> {
    shell: Shell<'a>,
    key: PathBuf,
    state: PathBuf,
    log_key: String,
}

impl<'a> Auditor<'a> {
    fn new(world: &'a World, name: &str, key: &Path) -> Self {
        let shell = Shell::log_in(world, "audrey");
        let state = world.dir.join(&format!("{name}.state"));
        Self { shell, key: key.to_owned(), state, log_key: log_key(world) }
    }

    /// Looks once: the exit code, and the line that it prints, if it does.
    fn looks(&self) -> (i32, Value) {
        let pinned = self.state.exists();
        let mut arguments =
            vec!["audit", "witness", "--once", "--key", self.key.to_str().unwrap(), "--state"];
        arguments.push(self.state.to_str().unwrap());
        if !pinned {
            arguments.extend(["--log-key", &self.log_key]);
        }
        let done = self.shell.run(&arguments);
        let line = String::from_utf8(done.stdout.clone()).unwrap();
        let said =
            serde_json::from_str(&line).unwrap_or_else(|_| json!(String::from_utf8_lossy(&done.stderr)));
        (done.status.code().unwrap(), said)
    }

    /// Looks until all that there is now was cosigned.
    async fn catches_up(&self, world: &World) {
        let size = events(world).await;
        eventually("the auditor has seen it all", async || {
            let (code, said) = self.looks();
            code == 0 && said["size"].as_u64().unwrap() >= size
        })
        .await;
    }
}

/// Makes a witness's key, and answers with its verifier key.
fn new_key(file: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
    command.args(["audit", "witness", "--new-key", "audit.example", "--key"]).arg(file);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// Tells the daemon of a witness, and has the target want its word.
async fn introduce(world: &World, witness: &str) {
    world.stop_daemon("KILL").await;
    let section = format!("[ledger.witnesses.audit]\n{witness}\n[identity.oidc.vault]");
    edit_config(world, "[identity.oidc.vault]", &section);
    let demand = "early_revocation = \"ends_sessions\"";
    edit_config(world, demand, &format!("{demand}\ncosigned_within = \"1m\""));
    world.start_daemon().await;
}

async fn world() -> World {
    World::with(Wishes { ledger: SOON.to_owned(), ..Wishes::default() }).await
}

#[tokio::test]
async fn a_target_that_wants_a_witness_grants_when_one_has_come() {
    let world = world().await;
    let key = world.dir.join("witness-key");
    introduce(&world, &format!("verifier_key = \"{}\"", new_key(&key))).await;
    let mut alice = world.person("alice").await;
    let request = approved(&world, &mut alice).await;
    let refused = alice.claim(&request).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::FailedPrecondition, "NOT_COSIGNED".to_owned()), "{refused:?}");
    assert!(refused.message().contains("within 1 min, and none has"), "{refused:?}");

    Auditor::new(&world, "audit", &key).catches_up(&world).await;
    alice.claim(&request).await.unwrap();

    // Another's key, of the same name, is nobody's.
    let other = world.dir.join("other-key");
    new_key(&other);
    let (code, said) = Auditor::new(&world, "other", &other).looks();
    assert_eq!(code, 3, "{said}");
    assert!(said.as_str().unwrap().contains("no cosignature is by its key"), "{said}");
}

#[tokio::test]
async fn what_was_put_back_split_or_signed_by_another_is_an_alarm() {
    let world = world().await;
    let key = world.dir.join("witness-key");
    introduce(&world, &format!("verifier_key = \"{}\"", new_key(&key))).await;
    let mut alice = world.person("alice").await;
    let first = Auditor::new(&world, "first", &key);
    first.catches_up(&world).await;
    world.stop_daemon("KILL").await;
    copy(&world, "early");
    world.start_daemon().await;
    for _ in 0..20 {
        alice.submit(super::witnesses::MINUTE, "what one auditor sees").await.unwrap();
    }
    first.catches_up(&world).await;
    let kept = fs::read_to_string(&first.state).unwrap();
    world.stop_daemon("KILL").await;
    copy(&world, "one");

    // An earlier copy.
    put_back(&world, "early");
    world.start_daemon().await;
    let (code, said) = first.looks();
    assert_eq!((code, &said["problem"]), (6, &json!("ROLLBACK")), "{said}");

    // The earlier copy, in which other things happened: what a second auditor is shown. He only comes now.
    for _ in 0..40 {
        alice.submit(super::witnesses::MINUTE, "what another sees").await.unwrap();
    }
    let second = Auditor::new(&world, "second", &key);
    second.catches_up(&world).await;
    let (code, said) = first.looks();
    assert_eq!((code, &said["problem"]), (6, &json!("FORK")), "{said}");
    assert_eq!(fs::read_to_string(&first.state).unwrap(), kept, "he stays with what he knows");

    // What the first one knows, shown to the second.
    world.stop_daemon("KILL").await;
    put_back(&world, "one");
    world.start_daemon().await;
    let (code, said) = second.looks();
    assert!(code == 6 && ["ROLLBACK", "FORK"].contains(&said["problem"].as_str().unwrap()), "{said}");
    assert_eq!(first.looks().0, 0, "it is his log");

    // Another key signs under the same name; who has the database takes away what the former one signed.
    world.stop_daemon("KILL").await;
    let path = format!("transit-{}/keys/hallpass-ledger", world.name);
    world.bao.write(&format!("{path}/config"), json!({ "deletion_allowed": true })).await;
    world.bao.delete(&path).await;
    world.bao.write(&path, json!({ "type": "ed25519" })).await;
    world.start_daemon().await;
    eventually("the daemon doesn't go on", async || world.log().contains("ledger-broken")).await;
    world.stop_daemon("KILL").await;
    forget_checkpoints(&world).await;
    world.start_daemon().await;
    let mut seen = (0, Value::Null);
    eventually("it is signed anew", async || {
        seen = first.looks();
        seen.0 == 6
    })
    .await;
    let (_, said) = seen;
    assert!(["ROLLBACK", "KEY"].contains(&said["problem"].as_str().unwrap()), "{said}");
    eventually("it is signed by the other key", async || first.looks().1["problem"] == "KEY").await;
}

async fn forget_checkpoints(world: &World) {
    let mut connection = open(world, false).await;
    let tables = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN ('checkpoints', 'cosignatures')";
    let triggers: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut connection).await.unwrap();
    for trigger in triggers {
        let drop = sqlx::AssertSqlSafe(format!("DROP TRIGGER {trigger}"));
        sqlx::query(drop).execute(&mut connection).await.unwrap();
    }
    sqlx::query("DELETE FROM cosignatures").execute(&mut connection).await.unwrap();
    sqlx::query("DELETE FROM checkpoints").execute(&mut connection).await.unwrap();
}

/// A server that ends with the test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn checkpoints_are_brought_to_an_auditor_who_listens() {
    let world = world().await;
    let key = world.dir.join("witness-key");
    let verifier_key = new_key(&key);
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
    command.args(["audit", "witness", "--listen", "127.0.0.1:0", "--log-key", &log_key(&world), "--key"]);
    command.arg(&key).arg("--state").arg(world.dir.join("audit.state")).stdout(Stdio::piped());
    let mut serving = Serving(command.spawn().unwrap());
    let mut lines = BufReader::new(serving.0.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let address = next()["address"].as_str().unwrap().to_owned();
    brought(&world, &address, &verifier_key, "").await;
    assert_eq!(next()["event"], "cosigned");
}

/// The daemon brings its checkpoints to a witness, grants by its word, and is told by it that its database was put back.
async fn brought(world: &World, address: &str, verifier_key: &str, prefix: &str) {
    world.stop_daemon("KILL").await;
    copy(world, "early");
    world.start_daemon().await;
    introduce(world, &format!("url = \"http://{address}{prefix}\"\nverifier_key = \"{verifier_key}\"")).await;
    let mut alice = world.person("alice").await;
    let request = approved(world, &mut alice).await;
    eventually("it is granted by the witness's word", async || alice.claim(&request).await.is_ok()).await;
    let waiting = approved(world, &mut alice).await;
    for _ in 0..20 {
        alice.submit(super::witnesses::MINUTE, "what will be lost").await.unwrap();
    }
    let size = events(world).await;
    let mut connection = open(world, true).await;
    eventually("the witness has seen it all", async || {
        let last: Option<i64> = sqlx::query_scalar("SELECT max(size) FROM cosignatures")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        last.is_some_and(|last| last.unsigned_abs() >= size)
    })
    .await;
    drop(connection);
    assert!(world.audit("LedgerContradicted").await.is_empty());

    world.stop_daemon("KILL").await;
    put_back(world, "early");
    world.start_daemon().await;
    eventually("the witness contradicts", async || !world.audit("LedgerContradicted").await.is_empty()).await;
    let told = &world.audit("LedgerContradicted").await[0];
    assert_eq!((&told["detail"]["witness"], &told["detail"]["problem"]), (&json!("audit"), &json!("BEHIND")));
    assert!(alice.claim(&waiting).await.is_err());
}

#[tokio::test]
async fn a_witness_that_is_not_ours_cosigns_and_contradicts() {
    let world = world().await;
    let tools = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/witness/bin"));
    let program = find_program("aics-witness", "HALLPASS_WITNESS", &[tools]);
    let config = world.dir.join("witness.json");
    let with_config = |verb: &str, arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.arg(verb).args(["--config", config.to_str().unwrap()]).args(arguments);
        command.current_dir(world.dir.join(""));
        command
    };
    let done = with_config("init", &["--name", "witness.example/w1"]).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let said = String::from_utf8(done.stdout).unwrap();
    let verifier_key =
        said.split_whitespace().find(|word| word.matches('+').count() >= 2).unwrap().to_owned();
    let log = log(&world);
    let known = log_key(&world);
    let done = with_config("add-log", &["--origin", log.origin(), "--vkey", &known]).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = with_config("serve", &["--listen", &address]);
    let _serving = Serving(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    eventually("the witness serves", async || std::net::TcpStream::connect(&address).is_ok()).await;
    brought(&world, &address, &verifier_key, "").await;
}
