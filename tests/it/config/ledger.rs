//! How the log is signed and witnessed.

use std::time::Duration;

use hallpass::config::{Place as Where, Signer};

use super::{GOOD, Place, problems, refused, with};

/// Both are of one key: tools write witnesses' keys in either kind.
const KEY: &str = "witness.security.example+38e481de+BDesbnTG/8ZuNPX8cNo9QWBZvqpJM+NIoabb6n1Mh1Ck";
const SAME: &str = "witness.security.example+a8ff27b7+ATesbnTG/8ZuNPX8cNo9QWBZvqpJM+NIoabb6n1Mh1Ck";

fn ledger(keys: &str) -> String {
    with("[schedule]", &format!("[ledger]\n{keys}\n[schedule]"))
}

fn witness(keys: &str) -> String {
    ledger(&format!("[ledger.witnesses.w]\n{keys}"))
}

#[test]
fn vaults_own_key_signs_unless_a_file_does() {
    let read = |text: &str| Place::new().load(text).unwrap().ledger;
    let usual = read(GOOD);
    assert_eq!((usual.origin.as_str(), usual.interval), ("hallpass", Duration::from_mins(1)));
    assert!(usual.witnesses.is_empty() && usual.witness_keys().is_empty());
    let transit = |mount: &str, key: &str| Signer::Transit { mount: mount.to_owned(), key: key.to_owned() };
    assert_eq!(usual.signer, transit("transit", "hallpass-ledger"));
    assert_eq!(
        read(&ledger("transit_mount = 'team/transit'")).signer,
        transit("team/transit", "hallpass-ledger")
    );
    assert!(matches!(read(&ledger("key_file = 'credential:tls-key'")).signer, Signer::File(_)));
    let both = ledger("key_file = 'credential:tls-key'\ntransit_key = 'x'");
    refused(&both, "ledger.key_file", "contradicts transit_mount and transit_key");
    refused(&ledger("key_file = 'credential:nothing'"), "ledger.key_file", "can't be read");
}

#[test]
fn an_origin_is_a_name_for_keys() {
    for bad in ["''", "'a b'", "'a+b'", "'a\u{a0}b'", "1", &format!("'{}'", "x".repeat(256))] {
        assert_eq!(problems(&ledger(&format!("origin = {bad}"))).len(), 1, "{bad}");
    }
    let good = "hallpass.example/production";
    assert_eq!(Place::new().load(&ledger(&format!("origin = '{good}'"))).unwrap().ledger.origin, good);
    refused(&ledger("interval = '2h'"), "ledger.interval", "must be from 1s to 1h");
}

#[test]
fn a_witness_is_a_directory_a_server_or_somebody_who_comes() {
    let read = |text: &str| Place::new().load(text).unwrap().ledger;
    let directory = read(&witness("directory = '/mnt/archive'"));
    assert!(matches!(directory.witnesses[0].place, Where::Directory(_)));
    assert!(directory.witness_keys().is_empty(), "it cosigns nothing");
    let url = read(&witness(&format!("url = 'https://w.example/x'\nverifier_key = '{KEY}'")));
    assert!(matches!(url.witnesses[0].place, Where::Url { .. }));
    let comes = read(&witness(&format!("verifier_key = '{SAME}'")));
    assert!(matches!(comes.witnesses[0].place, Where::Comes { .. }));
    assert_eq!(comes.witness_keys(), url.witness_keys());

    let key = "ledger.witnesses.w.verifier_key";
    refused(&witness(""), key, "is missing; write directory, or url");
    refused(&witness("url = 'https://w.example'"), key, "is missing");
    refused(&witness(&format!("directory = '/mnt/a'\nverifier_key = '{KEY}'")), key, "cosigns nothing");
    let both = witness(&format!("directory = '/mnt/a'\nurl = 'https://w.example'\nverifier_key = '{KEY}'"));
    refused(&both, "ledger.witnesses.w.directory", "contradicts url");
    let lonely = witness(&format!("ca_file = 'credential:tls-cert'\nverifier_key = '{KEY}'"));
    refused(&lonely, "ledger.witnesses.w.ca_file", "is of no use without url");
    refused(
        &witness(&format!("url = 'http://w.example'\nverifier_key = '{KEY}'")),
        "ledger.witnesses.w.url",
        "https://",
    );
    let mistyped = KEY.replace("38e481de", "38e481df");
    refused(&witness(&format!("verifier_key = '{mistyped}'")), key, "has an id that doesn't belong");
    let twice = ledger(&format!(
        "[ledger.witnesses.v]\nverifier_key = '{KEY}'\n[ledger.witnesses.w]\nverifier_key = '{KEY}'"
    ));
    refused(&twice, key, "has the name of another witness's key");
    let odd = ledger("[ledger.witnesses.\"a b\"]\ndirectory = '/mnt/a'");
    refused(&odd, "ledger.witnesses.\"a b\"", "is not a witness's name");
}

#[test]
fn a_target_can_demand_cosignatures_if_somebody_makes_any() {
    let line = "early_revocation = \"ends_sessions\"";
    let demand = |within: &str| format!("{line}\ncosigned_within = '{within}'");
    let key = "targets.orders-ro.cosigned_within";
    refused(&with(line, &demand("10m")), key, "no witness is known that makes any");
    let kept = witness("directory = '/mnt/archive'").replace(line, &demand("10m"));
    refused(&kept, key, "no witness is known that makes any");
    let cosigned = |within: &str| witness(&format!("verifier_key = '{KEY}'")).replace(line, &demand(within));
    refused(&cosigned("1s"), key, "must be from 10s to 1day");
    let config = Place::new().load(&cosigned("10m")).unwrap();
    let target = config.policy.targets.values().next().unwrap();
    assert_eq!(target.cosigned_within, Some(Duration::from_mins(10)));
}
