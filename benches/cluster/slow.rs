//! The same on a disk that is slower. What sharing a sync gains depends on what a sync takes, and that is anything from a tenth of a
//! millisecond (a drive with a protected cache) to ten (one that turns); the machine at hand has but one of them.

use std::{env, process::Command};

const DELAY: &str = "SLOW_SYNC_MS";

/// By how many milliseconds each sync is delayed here, if it is.
pub fn delay() -> Option<String> {
    env::var(DELAY).ok()
}

/// Runs a part of this benchmark once more, with each sync of it and its servers taking so many milliseconds longer.
pub fn again(part: &str, delay_ms: u32) {
    let directory = tempfile::tempdir().unwrap();
    let library = directory.path().join("slow_sync.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/cluster/slow_sync.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl");
    assert!(compiler.status().expect("cc, which SQLite is built with, starts").success(), "cc fails");
    let mut again = Command::new(env::current_exe().unwrap());
    again.args(["--bench", part]).env("LD_PRELOAD", &library).env(DELAY, delay_ms.to_string());
    assert!(again.status().unwrap().success(), "it fails with slow syncs");
}
