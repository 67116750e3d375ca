//! Auditors with the client's binary, and with programs that aren't ours, against a daemon in this process.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use chrono::TimeDelta;
use hallpass::{
    clock::Clock as _,
    ledger::{
        checkpoint::{Checkpoint, Signed},
        note::{Kind, SigningKey},
        tree::{Frontier, Hash},
    },
    store::{self, Cosignature, Store as _, Write},
    wire::{
        GetCheckpointRequest, ListLeavesRequest, ProveConsistencyRequest, ProveInclusionRequest,
        ledger_service_client::LedgerServiceClient,
    },
};
use serde_json::Value;
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{check_record, check_tree, checkpoint::Checkpoint as TheirCheckpoint, record_hash};

use crate::{
    support::{servers::Dir, sim::Sim},
    wire::Served,
};

pub fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(name, &[7; 32]).unwrap()
}

pub fn vkey(name: &str, kind: Kind) -> String {
    key(name).verifier(kind).to_string()
}

/// Signs the log as it is, as the daemon does, with a witness.
pub async fn sign(sim: &Sim) -> u64 {
    let (mut frontier, mut last) = (Frontier::default(), 0);
    loop {
        let page = sim.store.ledger().leaves(last, 1000).await.unwrap();
        if page.is_empty() {
            break;
        }
        last += i64::try_from(page.len()).unwrap();
        for leaf in &page {
            frontier.push(leaf.hash(), |_| {});
        }
    }
    let (size, root, at) = (frontier.size(), frontier.root(), sim.clock.now());
    let signed = Signed::sign(Checkpoint::new("hallpass", size, root).unwrap(), &key("hallpass")).unwrap();
    let line = key("w1").cosign(signed.note().text(), at).unwrap().to_string();
    let checkpoint = store::Checkpoint { size, root, note: signed.to_string(), signed_at: at };
    let cosignature = Cosignature { size, witness: "w1".into(), line, cosigned_at: at };
    let writes = [Write::Checkpoint(&checkpoint), Write::Cosignature(&cosignature)];
    sim.store.commit(&writes).await.unwrap();
    size
}

/// A log with two exceptions, signed once in between.
async fn served() -> (Served, u64, u64) {
    let sim = Sim::start().await;
    let request = sim.approved("orders-ro").await;
    sim.claim(request).await.unwrap();
    let first = sign(&sim).await;
    let other = sim.approved("payroll-ro").await;
    sim.claim(other).await.unwrap();
    sim.clock.advance(TimeDelta::hours(2));
    sim.settle().await;
    let second = sign(&sim).await;
    (Served::over(sim, None).await, first, second)
}

struct Auditor<'a> {
    served: &'a Served,
    dir: Dir,
}

impl<'a> Auditor<'a> {
    fn of(served: &'a Served) -> Self {
        let dir = Dir::new("auditor");
        let token = dir.join("token");
        fs::write(&token, served.token_of("audrey", &["auditors"])).unwrap();
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
        Self { served, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
        command.arg("audit").args(arguments).env_clear().current_dir(self.dir.join("."));
        command.env("HALLPASS_SERVER", format!("http://{}", self.served.address()));
        command.env("HALLPASS_TOKEN_FILE", self.path("token"));
        tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
    }

    async fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What doesn't hold exits with 6, and says what.
    async fn broken(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert_eq!(output.status.code(), Some(6), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[tokio::test]
async fn an_export_is_verified_with_an_old_checkpoint() {
    let (served, first, second) = served().await;
    let auditor = Auditor::of(&served);
    let said = auditor.ok(&["export", "all"]).await;
    assert_eq!(said, format!("all: {second} events\n"));
    let old = served.sim.store.ledger().checkpoint_of(first).await.unwrap().unwrap();
    fs::write(auditor.path("old"), old.note).unwrap();
    let (log, witness) = (vkey("hallpass", Kind::Plain), vkey("w1", Kind::Cosignature));
    let trust = ["--log-key", &log, "--witness-key", &witness, "--checkpoint", "old"];
    let verify = [&["verify", "all"][..], &trust].concat();
    let said = auditor.ok(&verify).await;
    for told in
        ["2 requests, 2 approvals (0 signed), 2 grants (0 not over)", "cosigned by w1 at", "everything holds"]
    {
        assert!(said.contains(told), "{told}: {said}");
    }
    let json: Value =
        serde_json::from_str(&auditor.ok(&[&verify[..], &["--output", "json"]].concat()).await).unwrap();
    assert_eq!((&json["holds"], &json["size"]), (&Value::Bool(true), &Value::from(second)));
    auditor.ok(&[&["verify", "--live"][..], &trust].concat()).await;

    edit(&auditor.path("all/texts.jsonl"), "stuck", "Stuck");
    assert!(auditor.broken(&verify).await.contains("event 1 (request "));
    edit(&auditor.path("all/leaves.jsonl"), "alice", "Alice");
    let said = auditor.broken(&verify).await;
    assert!(said.contains("old has another root") && said.contains("checkpoint has another root"), "{said}");

    let refused = auditor.run(&["export", "all"]).await;
    assert_eq!(refused.status.code(), Some(1), "nothing is written over: {refused:?}");
    let nothing = auditor.run(&["verify", "nowhere"]).await;
    assert_eq!(nothing.status.code(), Some(1), "{nothing:?}");
    let no_key = auditor.run(&["verify", "all", "--log-key", "x"]).await;
    assert_eq!(no_key.status.code(), Some(2), "{no_key:?}");
}

#[tokio::test]
async fn an_exception_is_proved_in_one_file() {
    let (served, ..) = served().await;
    let auditor = Auditor::of(&served);
    let id = served.sim.store.ledger().leaves(0, 1).await.unwrap()[0].event().unwrap().about.request.unwrap();
    let id = id.to_string();
    auditor.ok(&["prove", &id, "-o", "proof.json"]).await;
    let printed = auditor.ok(&["prove", &id]).await;
    assert_eq!(printed, fs::read_to_string(auditor.path("proof.json")).unwrap());
    let log = vkey("hallpass", Kind::Plain);
    let verify = ["verify", "proof.json", "--log-key", &log];
    let said = auditor.ok(&verify).await;
    assert!(said.contains("1 requests, 1 approvals (0 signed), 1 grants (0 not over)"), "{said}");
    edit(&auditor.path("proof.json"), "WINDOW_CLOSED", "RELEASED");
    let said = auditor.broken(&verify).await;
    assert!(said.contains("isn't proved to be in the log"), "{said}");
    let unsigned = served.sim.submit("orders-ro").await.request.id.to_string();
    let refused = auditor.run(&["prove", &unsigned]).await;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no checkpoint is about event"), "{refused:?}");
}

/// Cloudflare's implementations of signed notes and of transparency logs, which know nothing of hallpass.
#[tokio::test]
async fn foreign_verifiers_take_what_the_daemon_says() {
    let (served, first, second) = served().await;
    let mut ledger = LedgerServiceClient::new(served.channel());
    macro_rules! ask {
        ($method:ident, $message:expr) => {
            ledger.$method(served.call("audrey", &["auditors"], $message)).await.unwrap().into_inner()
        };
    }
    let their = |bytes: Vec<u8>| tlog_tiles::Hash(bytes.try_into().unwrap());
    let mut checkpoints = Vec::new();
    for size in [first, second] {
        let note = ask!(get_checkpoint, GetCheckpointRequest { size_min: size.cast_signed() }).note;
        let verifier = StandardVerifier::new(&vkey("hallpass", Kind::Plain)).unwrap();
        let note = Note::from_bytes(note.as_bytes()).unwrap();
        let (by_the_log, _) = note.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
        assert_eq!(by_the_log.len(), 1);
        let checkpoint = TheirCheckpoint::from_bytes(note.text()).unwrap();
        assert_eq!((checkpoint.origin(), checkpoint.size()), ("hallpass", size));
        checkpoints.push((size, *checkpoint.hash()));
    }
    let [(first, former), (second, root)] = checkpoints[..] else { panic!("{checkpoints:?}") };
    let list = ListLeavesRequest { after_sequence: 0, page_size: 0 };
    let leaves = ask!(list_leaves, list).leaves;
    assert_eq!(leaves.len() as u64, second);
    for (index, leaf) in (0..second).zip(leaves) {
        let prove = ProveInclusionRequest { sequence: index.cast_signed() + 1, size: second.cast_signed() };
        let proof = ask!(prove_inclusion, prove).hashes.into_iter().map(their).collect();
        check_record(&proof, second, root, index, record_hash(leaf.line.as_bytes())).unwrap();
    }
    let prove = ProveConsistencyRequest { former_size: first.cast_signed(), size: second.cast_signed() };
    let proof = ask!(prove_consistency, prove).hashes.into_iter().map(their).collect();
    check_tree(&proof, second, root, first, former).unwrap();
    let other = Hash([0; 32]);
    assert!(check_tree(&proof, second, root, first, tlog_tiles::Hash(other.0)).is_err());
}
