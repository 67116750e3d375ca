//! Exports of a small log, with a key, a witness and what may be done to them.

use std::{fs, path::Path};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::*;
use crate::ledger::{
    canonical_json,
    checkpoint::{Checkpoint, Signed},
    note::{Kind, SigningKey, VerifierKey},
    tree::{Frontier, Hash, Plan},
};

const SIZE: usize = 21;

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(name, &[name.as_bytes()[0] ^ name.as_bytes()[name.len() - 1]; 32]).unwrap()
}

fn public(name: &str) -> VerifierKey {
    key(name).verifier(Kind::Plain)
}

/// Refusals, of which a log may have as many as it likes.
fn leaf(sequence: usize) -> String {
    canonical_json(&json!({
        "at": "2026-11-26T08:00:00.000Z",
        "detail": { "error": "expired", "method": "/x", "unrecorded": 0 },
        "kind": "IdentityRefused",
        "sequence": sequence,
        "v": 1,
    }))
}

fn frontier(leaves: &[String]) -> Frontier {
    let mut frontier = Frontier::default();
    for leaf in leaves {
        frontier.push(Hash::of_leaf(leaf.as_bytes()), |_| {});
    }
    frontier
}

fn note(leaves: &[String]) -> Signed {
    let frontier = frontier(leaves);
    let checkpoint = Checkpoint::new("hallpass", frontier.size(), frontier.root()).unwrap();
    Signed::sign(checkpoint, &key("hallpass")).unwrap()
}

fn cosigned(leaves: &[String]) -> Signed {
    let note = note(leaves);
    let cosignature = key("witness").cosign(note.note().text(), at()).unwrap();
    note.with(cosignature).unwrap()
}

fn leaves() -> Vec<String> {
    (1..=SIZE).map(leaf).collect()
}

fn export(leaves: &[String], checkpoint: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(
        directory.path().join(LEAVES),
        leaves.join(
            "
",
        ) + "
",
    )
    .unwrap();
    fs::write(directory.path().join(TEXTS), "").unwrap();
    fs::write(directory.path().join(CHECKPOINT), checkpoint).unwrap();
    directory
}

fn trust() -> Trust {
    Trust { log_keys: vec![public("hallpass")], witness_keys: vec![public("witness")], ..Trust::default() }
}

fn report(path: &Path, trust: Trust) -> Report {
    directory(path, trust).unwrap().report
}

fn problems(leaves: &[String], checkpoint: &str, trust: Trust) -> String {
    let directory = export(leaves, checkpoint);
    report(directory.path(), trust).text()
}

#[test]
fn an_export_holds_with_its_key_its_witness_and_each_old_checkpoint() {
    let leaves = leaves();
    let directory = export(&leaves, &cosigned(&leaves).to_string());
    let former = (0..=SIZE)
        .map(|size| Former { name: format!("old-{size}"), bytes: note(&leaves[..size]).to_string().into() });
    let report = report(directory.path(), Trust { former: former.collect(), ..trust() });
    assert!(report.holds(), "{}", report.text());
    assert_eq!((report.tree.0, report.former.len()), (SIZE as u64, SIZE + 1));
    let checkpoint = report.checkpoint.as_ref().unwrap();
    assert_eq!(checkpoint.signed_by, ["hallpass"]);
    assert_eq!(checkpoint.cosigned, [("witness".to_owned(), at())]);
    assert!(report.text().ends_with("everything holds\n"), "{}", report.text());
    assert_eq!(report.json()["holds"], true);
}

#[test]
fn what_differs_from_a_checkpoint_is_told() {
    let (all, signed) = (leaves(), cosigned(&leaves()).to_string());
    let with = |edit: &dyn Fn(&mut Vec<String>)| {
        let mut edited = leaves();
        edit(&mut edited);
        problems(&edited, &signed, trust())
    };
    let another = "has another root of the first 21 events";
    assert!(with(&|log| log[3] = log[3].replace("expired", "Expired")).contains(another));
    let swapped = with(&|log| log.swap(3, 4));
    assert!(swapped.contains(another) && swapped.contains("event 4 names another place"), "{swapped}");
    assert!(with(&|log| drop(log.pop())).contains("and there are 20 only: the log was cut off"));
    assert!(with(&|log| log.push(leaf(22))).contains("is about 1 events less than there are"));
    assert!(with(&|log| log[0].push(' ')).contains("in its one spelling"));
    let former =
        |leaves: &[String]| vec![Former { name: "old".into(), bytes: note(leaves).to_string().into() }];
    let fork: Vec<String> = (1..=9).map(|sequence| leaf(sequence).replace("expired", "forged")).collect();
    let forked = problems(&all, &signed, Trust { former: former(&fork), ..trust() });
    assert!(forked.contains("old has another root of the first 9 events"), "{forked}");
    let shorter =
        problems(&all[..5], &cosigned(&all[..5]).to_string(), Trust { former: former(&all[..9]), ..trust() });
    assert!(shorter.contains("old is about 9 events, and there are 5 only"), "{shorter}");
}

#[test]
fn who_signed_is_looked_at() {
    let all = leaves();
    let by_another = Signed::sign(note(&all).checkpoint().clone(), &key("hallpasz")).unwrap();
    let told = problems(&all, &by_another.to_string(), trust());
    assert!(told.contains("checkpoint isn't signed by any known key"), "{told}");
    let told = problems(&all, &note(&all).to_string(), trust());
    assert!(told.contains("checkpoint isn't cosigned by the witness witness"), "{told}");
    let forged = cosigned(&all).to_string().replacen("hallpass\n21\n", "hallpass\n20\n", 1);
    assert!(problems(&all, &forged, trust()).contains("doesn't fit"));
    let told = problems(&all, "nonsense", trust());
    assert!(told.contains("checkpoint isn't a checkpoint") && told.contains("has no checkpoint"), "{told}");
    let told = problems(&all, &cosigned(&all).to_string(), Trust::default());
    assert!(told.contains("everything holds") && told.contains("--log-key"), "{told}");
    let other = Trust { log_keys: vec![public("another")], ..Trust::default() };
    assert!(
        problems(&all, &cosigned(&all).to_string(), other).contains("which none of the keys is called by")
    );
}

/// A directory can be opened, and not be read.
#[test]
fn texts_that_can_not_be_read_are_no_texts_that_are_missing() {
    let leaves = leaves();
    let directory = export(&leaves, &cosigned(&leaves).to_string());
    let texts = directory.path().join(TEXTS);
    fs::remove_file(&texts).unwrap();
    fs::create_dir(&texts).unwrap();
    let unusable = super::directory(directory.path(), trust()).unwrap_err();
    assert_eq!(unusable.to_string(), format!("{} can't be read", texts.display()));
}

#[test]
fn files_that_are_not_whole_are_told_of() {
    let all = leaves();
    let whole = || export(&all, &cosigned(&all).to_string());
    let directory = whole();
    let path = directory.path().join(LEAVES);
    let mut bytes = fs::read(&path).unwrap();
    bytes.pop();
    fs::write(&path, bytes).unwrap();
    assert!(report(directory.path(), trust()).text().contains("leaves.jsonl ends in the middle of a line"));
    for (texts, problem) in [
        ("{}\n", "has a line that isn't one"),
        ("{\"sequence\":3,\"texts\":{}}\n{\"sequence\":2,\"texts\":{}}\n", "out of order"),
        ("{\"sequence\":99,\"texts\":{}}\n", "texts of events that aren't there"),
        ("{\"sequence\":3,\"texts\":{\"reason\":\"x\"}}\n", "event 3 has a text beside it"),
        ("{\"sequence\":3,\"texts\":[]}\n", "event 3 has texts beside it that can't be read"),
    ] {
        let directory = whole();
        fs::write(directory.path().join(TEXTS), texts).unwrap();
        let told = report(directory.path(), trust()).text();
        assert!(told.contains(problem), "{texts}: {told}");
    }
    let directory = whole();
    fs::remove_file(directory.path().join(TEXTS)).unwrap();
    assert!(report(directory.path(), trust()).holds(), "texts may go");
    fs::remove_file(directory.path().join(LEAVES)).unwrap();
    assert!(super::directory(directory.path(), trust()).is_err());
}

/// More than is read at once, and a checkpoint in the midst of it.
#[test]
fn a_long_export_is_read_in_parts() {
    let all: Vec<String> = (1..=12_000).map(leaf).collect();
    let directory = export(&all, &cosigned(&all).to_string());
    let former = [1, 4_000, 11_999]
        .map(|size| Former { name: "old".into(), bytes: note(&all[..size]).to_string().into() });
    let report = report(directory.path(), Trust { former: former.into(), ..trust() });
    assert!(report.holds() && report.counts.events == 12_000, "{}", report.text());
}

fn proof(sequences: &[usize]) -> ProofFile {
    let all: Vec<String> = (1..=SIZE)
        .map(|sequence| {
            leaf(sequence).replace("\"sequence\"", "\"request\":\"01jdz5m2k3n4p5q6r7s8t9v0w1\",\"sequence\"")
        })
        .collect();
    let nodes: std::collections::BTreeMap<_, _> = {
        let (mut frontier, mut nodes) = (Frontier::default(), std::collections::BTreeMap::new());
        for (index, leaf) in (0_u64..).zip(&all) {
            let mut level = 0;
            frontier.push(Hash::of_leaf(leaf.as_bytes()), |hash| {
                nodes.insert((level, index >> level), hash);
                level += 1;
            });
        }
        nodes
    };
    let proved = |sequence: &usize| {
        let plan = Plan::inclusion(*sequence as u64 - 1, SIZE as u64).unwrap();
        let needed: Vec<Hash> = plan.nodes().map(|node| nodes[&(node.level, node.index)]).collect();
        let proof = plan.hashes(&needed).unwrap().iter().map(ToString::to_string).collect();
        Proved { leaf: all[sequence - 1].clone(), texts: Map::new(), proof }
    };
    ProofFile {
        v: 1,
        exception: "01jdz5m2k3n4p5q6r7s8t9v0w1".into(),
        checkpoint: cosigned(&all).to_string(),
        events: sequences.iter().map(proved).collect(),
    }
}

#[test]
fn a_proof_file_stands_for_itself() {
    let verified =
        |file: &ProofFile| proof_file("proof", &serde_json::to_string(file).unwrap(), &trust()).unwrap();
    let whole = proof(&[1, 2, 17, 21]);
    assert!(verified(&whole).holds(), "{}", verified(&whole).text());
    let with = |edit: &dyn Fn(&mut ProofFile)| {
        let mut edited = whole.clone();
        edit(&mut edited);
        verified(&edited).text()
    };
    let not_in = "isn't proved to be in the log";
    assert!(
        with(&|file| file.events[2].leaf = file.events[2].leaf.replace("expired", "Expired"))
            .contains(not_in)
    );
    assert!(with(&|file| drop(file.events[2].proof.pop())).contains(not_in));
    assert!(with(&|file| file.events[2].proof[0] = "x".into()).contains(not_in));
    assert!(with(&|file| file.events.swap(1, 2)).contains("names another place"));
    assert!(
        with(&|file| file.exception = "01jdz5m2k3n4p5q6r7s8t9v0w2".into())
            .contains("is of another exception")
    );
    assert!(with(&|file| file.events[0].leaf = "{}".into()).contains("isn't one of this version"));
    assert!(
        with(&|file| file.checkpoint = file.checkpoint.replace("\n21\n", "\n22\n")).contains("doesn't fit")
    );
    assert!(
        with(&|file| drop(file.events[0].texts.insert("reason".into(), Value::from("x"))))
            .contains("has a text")
    );
    assert_eq!(proof_file("proof", "{}", &trust()), None);
    let later = serde_json::to_string(&ProofFile { v: 2, ..whole }).unwrap();
    assert_eq!(proof_file("proof", &later, &trust()), None);
}
