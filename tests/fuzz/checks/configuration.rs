//! A configuration: it is good, or something is wrong with it, at a line that there is, said in lines that a terminal can
//! show, and without the value: that may be a secret in the wrong place.

use hallpass::{
    access::text::is_obeyed,
    config::{Difference, Problem, of_text},
};
use toml::de::{DeTable, DeValue};

/// What stands for a secret: it may be shown as a key, or in the name of a file, and nowhere else.
const SECRET: &str = "s3cr3t-7f1c";

pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match of_text(text) {
        Ok(config) => assert_eq!(config.origin.difference(&config.origin), Difference::default()),
        Err(problems) => {
            assert!(!problems.list().is_empty(), "it is no configuration, and nothing is wrong with it");
            let lines = text.split('\n').count();
            problems.list().iter().for_each(|problem| must_be_good(problem, lines));
            for line in problems.lines() {
                assert!(!line.contains(is_obeyed), "a terminal would obey {line:?}");
            }
            if !may_be_shown(text) {
                assert!(!problems.to_string().contains(SECRET), "a value is shown: {problems}");
            }
        }
    }
}

fn must_be_good(problem: &Problem, lines: usize) {
    assert!(!problem.problem.is_empty());
    assert!(problem.line.is_none_or(|line| (1..=lines).contains(&line)), "{problem:?} of {lines} lines");
}

/// Whether the secret stands where it may be shown.
fn may_be_shown(text: &str) -> bool {
    DeTable::parse(text).is_ok_and(|table| in_table(table.get_ref()))
}

fn in_table(table: &DeTable<'_>) -> bool {
    table.iter().any(|(key, value)| key.get_ref().contains(SECRET) || in_value(value.get_ref()))
}

fn in_value(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::String(text) => text.contains(SECRET) && text.starts_with(['/']),
        DeValue::Array(list) => list.iter().any(|item| in_value(item.get_ref())),
        DeValue::Table(table) => in_table(table),
        _ => false,
    }
}
