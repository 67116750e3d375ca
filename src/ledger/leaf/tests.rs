//! The vectors of `docs/ledger.md`, and what isn't taken for a leaf.

use std::collections::BTreeMap;

use super::*;
use crate::access::event::Fact;

/// What `docs/ledger.md` shows, one example after the other: a leaf, its texts, its hash.
fn vectors() -> Vec<BTreeMap<String, String>> {
    let blocks = include_str!("../../../docs/ledger.md").split("```leaf\n").skip(1);
    let read = |block: &str| {
        let block = block.split("```").next().unwrap();
        let lines = block.lines().map(|line| line.split_once(": ").unwrap());
        lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    blocks.map(read).collect()
}

fn leaf(line: &str, texts: &str) -> Leaf {
    Leaf { line: line.to_owned(), texts: serde_json::from_str(texts).unwrap() }
}

fn example() -> Recorded {
    let fact =
        Fact::RequestDenied { statement: "not tonight\n\"ünder\" no\u{7f}thing".into(), digest: "d".into() };
    let (kind, detail) = fact.parts();
    Recorded {
        sequence: 7,
        at: DateTime::from_timestamp_millis(1_767_225_600_007).unwrap(),
        actor: Actor::Person(Person { subject: "corp:1".into(), name: "Olivia".into() }),
        about: About { request: Some("01jdz5m2k3n4p5q6r7s8t9v0w1".parse().unwrap()), ..About::default() },
        kind,
        detail,
    }
}

#[test]
fn the_documented_vectors_hold() {
    let vectors = vectors();
    assert!(vectors.len() >= 3, "{}", vectors.len());
    for vector in vectors {
        let leaf = leaf(&vector["leaf"], &vector["texts"]);
        let event = leaf.event().unwrap();
        assert_eq!(Leaf::of(&event), leaf);
        assert_eq!(hex::encode(leaf.hash().0), vector["hash"]);
        let without = Leaf { texts: Map::new(), ..leaf.clone() };
        assert_eq!(Leaf::of(&without.event().unwrap()), without, "texts may go, and the leaf is the same");
    }
}

#[test]
fn a_leaf_reads_back() {
    let (event, leaf) = (example(), Leaf::of(&example()));
    assert_eq!(leaf.event(), Ok(event));
    assert!(!leaf.line.contains('\n') && !leaf.line.contains("tonight"), "{}", leaf.line);
    assert_eq!(leaf.texts["statement"], "not tonight\n\"ünder\" no\u{7f}thing");
}

#[test]
fn another_spelling_is_no_leaf() {
    let line = Leaf::of(&example()).line;
    let spelled = |from: &str, to: &str| {
        assert!(line.contains(from), "{line}");
        leaf(&line.replace(from, to), "{}").event()
    };
    for (from, to) in [
        (",\"at\"", ", \"at\""),
        ("Olivia", "\\u004flivia"),
        (".007Z", ".0070Z"),
        (".007Z", ".007+00:00"),
        ("\"sequence\":7", "\"sequence\":7.0"),
        ("\"v\":1}", "\"v\":1,\"grant\":null}"),
    ] {
        assert!(spelled(from, to).is_err(), "{to}");
    }
    assert_eq!(spelled(",\"v\":1}", ",\"v\":1} "), Err(Malformed::NotCanonical));
    for (from, to) in
        [("\"v\":1", "\"v\":2"), ("\"v\":1", "\"v\":1,\"x\":1"), ("\"kind\"", "\"at\""), ("}", "")]
    {
        assert_eq!(spelled(from, to), Err(Malformed::NoLeaf), "{to}");
    }
}

#[test]
fn another_text_is_not_taken_for_what_was_written() {
    let line = Leaf::of(&example()).line;
    for texts in
        [r#"{"statement":"tonight"}"#, r#"{"reason":"x"}"#, r#"{"statement":1}"#, r#"{"digest":"d"}"#]
    {
        assert_eq!(leaf(&line, texts).event(), Err(Malformed::OtherText), "{texts}");
    }
}
