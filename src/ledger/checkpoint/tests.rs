//! Published checkpoints, the documentation's, and everything that is none.

use proptest::prelude::*;
use tlog_tiles::checkpoint::Checkpoint as TheirCheckpoint;

use super::*;
use crate::ledger::{
    note::{Kind, Note, Signature, SigningKey, Untrusted, VerifierKey, cosigned_text},
    tree::Frontier,
};

/// The example of the specification of cosignatures, whose keys aren't published.
const EXAMPLE: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
    — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
    — witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";

/// A log of certificates, with the signatures of four witnesses, by another implementation each; the log's first signature is
/// of a type that isn't known here.
const PUBLISHED: &str = "arche2025h1.staging.ct.transparency.dev\n1432088532\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n\n\
    — arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=\n\
    — arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=\n\
    — transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==\n\
    — witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==\n\
    — remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==\n\
    — witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==\n";
const PUBLISHED_LOG: &str =
    "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f";
const PUBLISHED_WITNESSES: [&str; 4] = [
    "transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
    "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
];

const DOCUMENTATION: &str = include_str!("../../../docs/ledger.md");

fn parse(note: &str) -> Signed {
    Signed::parse(note.as_bytes()).unwrap_or_else(|error| panic!("{note:?} {error}"))
}

fn keys(texts: &[&str]) -> Vec<VerifierKey> {
    texts.iter().map(|text| VerifierKey::parse(text).unwrap()).collect()
}

fn key(name: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(name, &[seed; 32]).unwrap()
}

fn log(key: &SigningKey) -> Log {
    Log::of_key(&key.verifier(Kind::Plain).to_string()).unwrap()
}

fn at(seconds: i64) -> chrono::DateTime<chrono::Utc> {
    chrono::DateTime::from_timestamp(seconds, 0).unwrap()
}

/// What stands in the block of that number below a heading of the documentation.
fn block(heading: &str, number: usize) -> &'static str {
    let (_, section) = DOCUMENTATION.split_once(&format!("\n{heading}\n")).unwrap();
    section.split("```text\n").nth(number).unwrap().split_once("```").unwrap().0
}

/// Of the documentation's three leaves.
fn documented_root() -> Hash {
    let mut frontier = Frontier::default();
    let hashes = DOCUMENTATION.lines().filter_map(|line| line.strip_prefix("hash: "));
    for hash in hashes {
        frontier.push(Hash(hex::decode(hash).unwrap().try_into().unwrap()), |_| {});
    }
    assert_eq!(frontier.size(), 3);
    frontier.root()
}

#[test]
fn the_specification_s_example_is_read() {
    let signed = parse(EXAMPLE);
    let checkpoint = signed.checkpoint();
    assert_eq!((checkpoint.origin(), checkpoint.size()), ("example.com/behind-the-sofa", 20_852_163));
    assert_eq!(checkpoint.root().to_string(), "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=");
    assert_eq!(checkpoint.to_string(), signed.note().text());
    assert_eq!(signed.to_string(), EXAMPLE);
}

#[test]
fn a_published_checkpoint_verifies_with_its_witnesses() {
    let (signed, log) = (parse(PUBLISHED), Log::of_key(PUBLISHED_LOG).unwrap());
    let witnesses = keys(&PUBLISHED_WITNESSES);
    let endorsed = signed.verify(&log, &witnesses).unwrap();
    assert_eq!(endorsed.signed.iter().map(|one| &one.key).collect::<Vec<_>>(), [&log.keys()[0]]);
    let seen: Vec<_> =
        endorsed.cosigned.iter().map(|one| (one.witness.as_str(), one.cosigned_at.to_rfc3339())).collect();
    let time = "2026-05-23T21:50:24+00:00".to_owned();
    let expected: Vec<_> = witnesses.iter().map(|key| (key.name(), time.clone())).collect();
    assert_eq!(seen, expected);
    // With one of them known, as its key is written for either kind of signature.
    for key in [witnesses[2].clone(), witnesses[2].of_kind(Kind::Plain)] {
        let endorsed = signed.verify(&log, &[key]).unwrap();
        assert_eq!(endorsed.cosigned.len(), 1);
        assert_eq!(endorsed.cosigned[0].witness, "remora.n621.de");
    }
    assert_eq!(signed.verify(&log, &[]).unwrap().cosigned, []);
}

#[test]
fn nothing_of_a_published_checkpoint_can_be_changed() {
    let (log, witnesses) = (Log::of_key(PUBLISHED_LOG).unwrap(), keys(&PUBLISHED_WITNESSES));
    let changes = [
        ("1432088532", "1432088533"),
        ("U7WM", "U7WN"),
        // A second later.
        ("2net5wAAAABqEiEg", "2net5wAAAABqEiEh"),
        ("ui8GwCF1", "ui8GwCF2"),
        ("stagemole.eu Z/euoAAAAABq", "stagemole.eu Z/euoAAAAABr"),
        ("C4Ro=\n\n", "C4Ro=\nan extension\n\n"),
    ];
    for (from, to) in changes {
        assert!(PUBLISHED.contains(from));
        let verified = parse(&PUBLISHED.replace(from, to)).verify(&log, &witnesses);
        assert!(matches!(verified, Err(Untrusted::Forged(_))), "{to}: {verified:?}");
    }
}

#[test]
fn the_documentation_s_checkpoint_is_made() {
    let key = SigningKey::parse(block("## Checkpoints", 4)).unwrap();
    let (text, note) = (block("## Checkpoints", 3), block("## Checkpoints", 6));
    let checkpoint = Checkpoint::new("hallpass", 3, documented_root()).unwrap();
    assert_eq!(checkpoint.to_string(), text);
    assert_eq!(Signed::sign(checkpoint, &key).unwrap().to_string(), note);
    assert_eq!(format!("{}\n", key.verifier(Kind::Plain)), block("## Checkpoints", 5));
    assert!(parse(note).verify(&log(&key), &[]).is_ok());
}

#[test]
fn the_documentation_s_cosignature_is_made() {
    let key = SigningKey::parse(block("## Cosignatures", 2)).unwrap();
    let (signed, line) = (block("## Cosignatures", 1), block("## Cosignatures", 4));
    let checkpoint = parse(block("## Checkpoints", 6));
    let text = checkpoint.note().text();
    let time = chrono::DateTime::parse_from_rfc3339("2026-11-26T08:00:00Z").unwrap().to_utc();
    assert_eq!(cosigned_text(text, time), signed);
    assert_eq!(format!("{}\n", key.cosign(text, time).unwrap()), line);
    assert_eq!(format!("{}\n", key.verifier(Kind::Cosignature)), block("## Cosignatures", 3));
    let witness = VerifierKey::parse(block("## Cosignatures", 3).trim_end()).unwrap();
    let signature = Signature::parse(line.trim_end()).unwrap();
    assert_eq!(checkpoint.cosigned(&[signature], &[witness]).unwrap()[0].cosigned_at, time);
}

#[test]
fn what_is_no_checkpoint_is_refused() {
    let good = "example.com/log\n8\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    assert!(Checkpoint::parse(good).is_ok());
    let bad = [
        String::new(),
        "\n".to_owned(),
        "\n\n\n".to_owned(),
        good.trim_end().to_owned(),
        format!("{good}\n"),
        format!("{good}\nextension\n"),
        format!("{good}one\n\ntwo\n"),
        format!("\n{good}"),
        good.replace("example.com/log", ""),
        good.replace("example.com/log", "a\tb"),
        good.replace("example.com/log", &"o".repeat(ORIGIN_MAX_BYTES + 1)),
        good.replace("\n8\n", "\n\n"),
        good.replace("\n8\n", "\n08\n"),
        good.replace("\n8\n", "\n00\n"),
        good.replace("\n8\n", "\n+8\n"),
        good.replace("\n8\n", "\n-8\n"),
        good.replace("\n8\n", "\n 8\n"),
        good.replace("\n8\n", "\n8 \n"),
        good.replace("\n8\n", "\n0x8\n"),
        good.replace("\n8\n", "\n8.0\n"),
        good.replace("\n8\n", "\n٨\n"),
        good.replace("\n8\n", "\n9223372036854775808\n"),
        good.replace("\n8\n", "\n99999999999999999999\n"),
        good.replace("CsUY", "CsU"),
        good.replace("CsUY", ""),
        good.replace("CsUY", "CsUYCsUY"),
        good.replace("q2I=", "q2J="),
        good.replace("q2I=", "q2I"),
        good.replace("q2I=", "q2I=="),
        good.replace("q2I=", "q2I= "),
        good.replace('\n', "\r\n"),
    ];
    for text in bad {
        assert!(Checkpoint::parse(&text).is_err(), "{text:?}");
    }
    for (origin, size) in [("", 1), ("a\nb", 1), ("a", SIZE_MAX + 1)] {
        assert!(Checkpoint::new(origin, size, Hash([0; 32])).is_err());
    }
    let most = Checkpoint::new(&"o".repeat(ORIGIN_MAX_BYTES), SIZE_MAX, Hash([0; 32])).unwrap();
    assert_eq!(Checkpoint::parse(&most.to_string()), Ok(most));
}

#[test]
fn extension_lines_are_passed_over_and_stay_signed() {
    let (key, witness) = (key("example.com/log", 1), key("w", 2));
    let text = "example.com/log\n8\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\nan extension\nanother\n";
    let note = Note::new(text.to_owned()).unwrap().with(key.sign(text)).unwrap();
    let note = note.with(witness.cosign(text, at(1_700_000_000)).unwrap()).unwrap().to_string();
    let signed = parse(&note);
    assert_eq!(signed.to_string(), note);
    assert!(!signed.checkpoint().to_string().contains("extension"));
    let witnesses = [witness.verifier(Kind::Cosignature)];
    assert_eq!(signed.verify(&log(&key), &witnesses).unwrap().cosigned.len(), 1);
    let other = parse(&note.replace("another", "an other"));
    assert!(other.verify(&log(&key), &witnesses).is_err());
}

#[test]
fn a_log_is_known_by_its_origin_and_keys() {
    let (first, second, stranger) = (key("log", 1), key("log", 2), key("log", 3));
    let checkpoint = Checkpoint::new("log", 8, Hash([4; 32])).unwrap();
    let by = |key| Signed::sign(checkpoint.clone(), key).unwrap();
    let both = Log::new("log", vec![first.verifier(Kind::Plain), second.verifier(Kind::Plain)]).unwrap();
    for signed in [by(&first), by(&second)] {
        assert_eq!(signed.verify(&both, &[]).unwrap().signed.len(), 1);
    }
    let text = checkpoint.to_string();
    let twice = by(&first).with(second.sign(&text)).unwrap().with(stranger.sign(&text)).unwrap();
    assert_eq!(twice.verify(&both, &[]).unwrap().signed.len(), 2);
    assert_eq!(by(&stranger).verify(&both, &[]), Err(Untrusted::Unsigned));

    // The same key signs for another log.
    let other = Signed::sign(Checkpoint::new("another log", 8, Hash([4; 32])).unwrap(), &first).unwrap();
    assert_eq!(other.verify(&both, &[]), Err(Untrusted::OtherLog("another log".to_owned())));

    assert_eq!(Log::new("log", Vec::new()), Err(LogError::NoKey));
    assert_eq!(Log::new("", vec![first.verifier(Kind::Plain)]), Err(LogError::Origin));
    assert_eq!(Log::new("log", vec![first.verifier(Kind::Cosignature)]), Err(LogError::Kind));
    assert!(Log::of_key(&first.verifier(Kind::Cosignature).to_string()).is_err());
}

#[test]
fn a_witness_alone_is_no_log() {
    let (key, witness) = (key("log", 1), key("w", 2));
    let checkpoint = Checkpoint::new("log", 8, Hash([4; 32])).unwrap();
    let line = witness.cosign(&checkpoint.to_string(), at(1_700_000_000)).unwrap();
    let signed = Signed::of(checkpoint, line).unwrap();
    let witnesses = [witness.verifier(Kind::Cosignature)];
    assert_eq!(signed.verify(&log(&key), &witnesses), Err(Untrusted::Unsigned));
}

#[test]
fn cosignatures_may_come_apart_from_their_checkpoint() {
    let (key, witness) = (key("log", 1), key("w", 2));
    let signed = Signed::sign(Checkpoint::new("log", 8, Hash([4; 32])).unwrap(), &key).unwrap();
    let cosign = |text: &str| witness.cosign(text, at(1_700_000_000)).unwrap();
    let line = cosign(signed.note().text());
    let witnesses = [witness.verifier(Kind::Plain)];
    let cosigned = signed.cosigned(std::slice::from_ref(&line), &witnesses).unwrap();
    assert_eq!((cosigned[0].witness.as_str(), &cosigned[0].signature), ("w", &line));
    assert_eq!(signed.cosigned(std::slice::from_ref(&line), &[]), Ok(Vec::new()), "who is that?");
    assert!(matches!(signed.cosigned(&[cosign("other\n")], &witnesses), Err(Untrusted::Forged(_))));
    let whole = signed.with(line).unwrap();
    assert_eq!(whole.verify(&log(&key), &witnesses).unwrap().cosigned, cosigned);
}

proptest! {
    #[test]
    fn a_checkpoint_has_one_spelling(
        origin in "[!-~é][ -~é]{0,60}", size in 0..=SIZE_MAX, root: [u8; 32], seed: [u8; 32],
    ) {
        let checkpoint = Checkpoint::new(&origin, size, Hash(root)).unwrap();
        prop_assert_eq!(Checkpoint::parse(&checkpoint.to_string()), Ok(checkpoint.clone()));
        let theirs = TheirCheckpoint::new(&origin, size, tlog_tiles::Hash(root), "").unwrap();
        prop_assert_eq!(checkpoint.to_string().into_bytes(), theirs.to_bytes());
        let key = SigningKey::from_seed("log", &seed).unwrap();
        let signed = Signed::sign(checkpoint, &key).unwrap();
        prop_assert_eq!(parse(&signed.to_string()), signed);
    }

    /// What we take, others take, and the other way.
    #[test]
    fn what_is_a_checkpoint_isn_t_ours_to_say(
        at in any::<prop::sample::Index>(), with in "[\n0-9 +=A]{0,3}", cut in 0_usize..4,
    ) {
        let good = "example.com/log\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\nextension\n";
        let at = at.index(good.len());
        let text = format!("{}{with}{}", &good[..at], good.get(at + cut..).unwrap_or_default());
        match (Checkpoint::parse(&text), TheirCheckpoint::from_bytes(text.as_bytes())) {
            (Ok(ours), Ok(theirs)) => {
                prop_assert_eq!((ours.origin(), ours.size()), (theirs.origin(), theirs.size()));
                prop_assert_eq!(ours.root().0, theirs.hash().0);
            }
            (ours, theirs) => prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?}", text),
        }
    }
}
