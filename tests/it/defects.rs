//! Every defect of `docs/defects.md` has a test with its number, and every such test a row there.

use std::{collections::BTreeSet, fs, path::Path};

/// The first numbers of the table's rows.
fn rows() -> BTreeSet<u32> {
    let table = include_str!("../../docs/defects.md").lines().filter_map(|line| line.strip_prefix("| "));
    table.filter_map(|row| row.split(' ').next()?.parse().ok()).collect()
}

/// The numbers in the names of tests, in each source file below a folder.
fn tests(below: &Path, numbers: &mut BTreeSet<u32>) {
    for entry in fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests(&path, numbers);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(path).unwrap();
            let names = source.split("fn defect_").skip(1);
            numbers.extend(names.filter_map(|name| name.split('_').next()?.parse::<u32>().ok()));
        }
    }
}

#[test]
fn every_known_defect_has_a_test() {
    let mut tested = BTreeSet::new();
    for folder in ["src", "tests"] {
        tests(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut tested);
    }
    let rows = rows();
    assert_eq!(rows, (1..=20).collect(), "a row is never taken out");
    assert_eq!(tested, rows);
}
