//! What the fuzzers found worth keeping, checked again: each file of `tests/fuzz/corpus` by the check of its target.

#[path = "../fuzz/checks/mod.rs"]
mod checks;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Fewer than this would not be what ten minutes leave.
const INPUTS_MIN: usize = 50;

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn names(paths: &[PathBuf]) -> BTreeSet<String> {
    let stem = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(stem).collect()
}

#[test]
fn what_was_found_once_stays_found() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let mut failed = Vec::new();
    for (name, _) in checks::ALL {
        let inputs = entries(&fuzz.join("corpus").join(name));
        assert!(inputs.len() >= INPUTS_MIN, "{name} has {} inputs", inputs.len());
        for input in inputs {
            let bytes = fs::read(&input).unwrap();
            let checked = std::panic::catch_unwind(|| checks::check(name, &bytes));
            failed.extend(checked.is_err().then_some(input));
        }
    }
    assert!(failed.is_empty(), "what must hold doesn't, for {failed:#?}; the reasons stand above");
}

#[test]
fn each_check_has_its_target_and_its_corpus() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let checks = checks::ALL.map(|(name, _)| name.to_owned()).into();
    assert_eq!(names(&entries(&fuzz.join("targets"))), checks);
    assert_eq!(names(&entries(&fuzz.join("corpus"))), checks);
    for target in entries(&fuzz.join("targets")) {
        let stem = target.file_stem().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&target).unwrap();
        assert!(text.contains(&format!("checks::check({stem:?}, input)")), "{}", target.display());
    }
}
