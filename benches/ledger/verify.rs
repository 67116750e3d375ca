//! Verifying an export, beside a bare SHA-256 of its bytes.

use std::{
    env,
    fs::File,
    io::{BufWriter, Read as _, Write as _},
    path::Path,
};

use hallpass::verify::{LEAVES, TEXTS, Trust, directory, texts_line};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    common::{millis, now, percentile},
    log::{EVENTS_EACH, exception},
};

const EVENTS: u64 = 1_000_000;
const ROUNDS: usize = 7;

pub fn measure() {
    let events = env::var("LEDGER_EVENTS").ok().map_or(EVENTS, |text| text.parse().unwrap());
    let export = tempfile::tempdir().unwrap();
    let events = write(export.path(), events / EVENTS_EACH);
    let bytes: u64 =
        [LEAVES, TEXTS].iter().map(|name| export.path().join(name).metadata().unwrap().len()).sum();
    println!("an export of {events} events, {} MB", bytes / 1_000_000);
    let (mut bare, mut verified) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begun = now();
        hash(export.path());
        bare.push(millis(begun.elapsed()));
        let begun = now();
        let report = directory(export.path(), Trust::default()).unwrap().report;
        verified.push(millis(begun.elapsed()));
        assert!(report.holds() && report.counts.events == events, "{}", report.text());
    }
    bare.sort_by(f64::total_cmp);
    verified.sort_by(f64::total_cmp);
    let (bare, verified) = (percentile(&bare, 50), percentile(&verified, 50));
    println!("{:<58}{:>12}", "", "ms");
    println!("{:<58}{bare:>12.0}", "a bare SHA-256 of the same bytes");
    println!("{:<58}{verified:>12.0}", "verified: tree, texts, digests, states");
    println!("{:<58}{:>12.2}\n", "times as long", verified / bare);
}

fn write(export: &Path, exceptions: u64) -> u64 {
    let file = |name: &str| BufWriter::new(File::create(export.join(name)).unwrap());
    let (mut leaves, mut texts) = (file(LEAVES), file(TEXTS));
    let mut sequence = 0;
    for leaf in (0..exceptions).flat_map(exception) {
        sequence += 1;
        writeln!(leaves, "{}", leaf.line).unwrap();
        if !leaf.texts.is_empty() {
            texts.write_all(texts_line(sequence, &Value::from(leaf.texts).to_string()).as_bytes()).unwrap();
        }
    }
    leaves.flush().unwrap();
    texts.flush().unwrap();
    sequence
}

fn hash(export: &Path) {
    let (mut hash, mut chunk) = (Sha256::new(), vec![0; 1024 * 1024]);
    for name in [LEAVES, TEXTS] {
        let mut file = File::open(export.join(name)).unwrap();
        loop {
            let read = file.read(&mut chunk).unwrap();
            if read == 0 {
                break;
            }
            hash.update(&chunk[..read]);
        }
    }
    std::hint::black_box(hash.finalize());
}
