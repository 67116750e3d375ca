//! The same on a disk that is slower. What else tells beside a sync, and what sharing one gains, depends on what it takes, and that
//! is anything from a tenth of a millisecond (a drive with a protected cache) to ten (one that turns); the machine at hand has but
//! one of them.

use std::{env, process::Command};

const DELAY: &str = "SLOW_SYNC_MS";
const DELAY_MS: &str = "5";

/// Whether syncs take longer here.
pub fn is_here() -> bool {
    env::var_os(DELAY).is_some()
}

/// Runs a part of this benchmark once more, with each sync of it and its servers taking longer; not if that is how it runs.
pub fn again(part: &str) {
    if is_here() {
        return;
    }
    println!("\nThe same where each sync takes {DELAY_MS} ms longer:\n");
    let directory = tempfile::tempdir().unwrap();
    let library = directory.path().join("slow_sync.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/common/slow_sync.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl");
    assert!(compiler.status().expect("cc, which SQLite is built with, starts").success(), "cc fails");
    let mut again = Command::new(env::current_exe().unwrap());
    again.args(["--bench", part]).env("LD_PRELOAD", &library).env(DELAY, DELAY_MS);
    assert!(again.status().unwrap().success(), "it fails with slow syncs");
}
