//! The text of a policy, HCL or JSON, as rules; and which paths a rule means.
//!
//! Vault reads the first version of HCL, of which the parser here knows all but an oddity: several settings on one line.

use std::time::Duration;

use serde_json::{Map, Value};

/// What a path's block may hold.
const KNOWN: [&str; 5] = ["capabilities", "comment", "max_wrapping_ttl", "min_wrapping_ttl", "policy"];

/// The policy's block for one path.
#[derive(Debug)]
pub(super) struct Rule {
    /// The path, which may have wildcards.
    pub(super) path: String,
    /// In lower case.
    pub(super) capabilities: Vec<String>,
    /// `min_wrapping_ttl`.
    pub(super) wrapping_min: Bound,
    /// `max_wrapping_ttl`.
    pub(super) wrapping_max: Bound,
    /// Settings that this check doesn't know.
    pub(super) more: Vec<String>,
}

/// A bound of the wrapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    None,
    At(Duration),
    Unclear,
}

impl Rule {
    pub(super) fn has(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|held| held == capability)
    }
}

/// Whether a policy's path means this one too: `+` stands for one part, and `*` at the end for anything.
pub(super) fn covers(pattern: &str, path: &str) -> bool {
    let (pattern, open) = pattern.strip_suffix('*').map_or((pattern, false), |prefix| (prefix, true));
    let (mut left, mut parts) = (path.split('/'), pattern.split('/').peekable());
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match left.next() {
            Some(_) if part == "+" => {}
            Some(name) if last && open && name.starts_with(part) => return true,
            Some(name) if name == part => {}
            _ => return false,
        }
    }
    left.next().is_none()
}

/// Of several paths that mean the same, Vault takes the most precise: one without wildcards, else the longest.
pub(super) fn precision(pattern: &str) -> (bool, usize) {
    (!pattern.contains(['*', '+']), pattern.len())
}

/// Reads a policy, HCL or JSON.
pub(super) fn rules(text: &str) -> Result<Vec<Rule>, String> {
    let parsed: Value = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|error| error.to_string())?
    } else {
        hcl::from_str(text).map_err(|error| place(&error))?
    };
    let mut rules = Vec::new();
    each(parsed.get("path").unwrap_or(&Value::Null), &mut |paths| {
        for (path, blocks) in paths {
            each(blocks, &mut |block| rules.push(rule(path, block)));
        }
    });
    Ok(rules)
}

/// Where the parser stopped, without the text there.
fn place(error: &hcl::Error) -> String {
    match error {
        hcl::Error::Parse(error) => {
            let at = error.location();
            format!("line {}, column {}", at.line(), at.column())
        }
        _ => "it isn't of the usual form".to_owned(),
    }
}

/// Blocks of one name are one object, or a list of them.
fn each<'a>(value: &'a Value, visit: &mut impl FnMut(&'a Map<String, Value>)) {
    match value {
        Value::Object(one) => visit(one),
        Value::Array(several) => several.iter().filter_map(Value::as_object).for_each(visit),
        _ => {}
    }
}

fn rule(path: &str, block: &Map<String, Value>) -> Rule {
    let listed = block.get("capabilities").and_then(Value::as_array);
    let listed = listed.into_iter().flatten().filter_map(Value::as_str).map(str::to_lowercase);
    let old = block.get("policy").and_then(Value::as_str).map(of_old_word).unwrap_or_default();
    Rule {
        path: path.trim_start_matches('/').to_owned(),
        capabilities: listed.chain(old.iter().map(|&capability| capability.to_owned())).collect(),
        wrapping_min: bound(block.get("min_wrapping_ttl")),
        wrapping_max: bound(block.get("max_wrapping_ttl")),
        more: block.keys().filter(|key| !KNOWN.contains(&key.as_str())).cloned().collect(),
    }
}

/// What the one word stood for that came before lists of capabilities.
fn of_old_word(word: &str) -> &'static [&'static str] {
    match word {
        "read" => &["read", "list"],
        "write" => &["create", "read", "update", "delete", "list"],
        "sudo" => &["create", "read", "update", "delete", "list", "sudo"],
        _ => &["deny"],
    }
}

/// Vault takes seconds as a number or a text, and Go's durations. 0 is none.
fn bound(value: Option<&Value>) -> Bound {
    let length = match value {
        None | Some(Value::Null) => return Bound::None,
        Some(Value::String(text)) => {
            text.parse().map(Duration::from_secs).or_else(|_| humantime::parse_duration(text)).ok()
        }
        Some(other) => other.as_u64().map(Duration::from_secs),
    };
    match length {
        None => Bound::Unclear,
        Some(Duration::ZERO) => Bound::None,
        Some(length) => Bound::At(length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_can_be_meant_in_three_ways() {
        let path = "db/creds/hp-x";
        for pattern in
            ["db/creds/hp-x", "db/creds/hp-*", "db/*", "*", "+/creds/hp-x", "db/+/hp-*", "db/creds/+"]
        {
            assert!(covers(pattern, path), "{pattern}");
        }
        for pattern in ["db/creds/hp", "db/creds/hp-x/y", "db/creds", "+/hp-x", "db/+", "dbx/*", ""] {
            assert!(!covers(pattern, path), "{pattern}");
        }
        assert!(covers("db/*", "db/creds/deep/x"));
    }

    #[test]
    fn the_most_precise_path_decides() {
        let rules = rules(
            "path \"db/*\" {\n capabilities = [\"read\"]\n}\npath \"db/x\" { capabilities = [\"deny\"] }",
        );
        let rules = rules.unwrap();
        let decides = rules.iter().max_by_key(|rule| precision(&rule.path)).unwrap();
        assert!(decides.has("deny"));
    }

    #[test]
    fn both_forms_of_a_policy_are_read() {
        for text in [
            "# a comment\npath \"a\" {\n policy = \"read\"\n}\npath \"a\" { capabilities = [\"SUDO\"] }",
            r#"{"path": {"a": [{"policy": "read"}, {"capabilities": ["SUDO"]}]}}"#,
            r#"{"path": [{"a": {"policy": "read"}}, {"a": {"capabilities": ["sudo"]}}]}"#,
        ] {
            let read = rules(text).unwrap();
            let capabilities: Vec<_> = read.iter().flat_map(|rule| rule.capabilities.clone()).collect();
            assert_eq!(capabilities, ["read", "list", "sudo"], "{text}");
        }
    }

    #[test]
    fn lengths_come_as_numbers_and_as_texts() {
        let read = |value: Value| bound(Some(&value));
        let second = Bound::At(Duration::from_secs(1));
        assert_eq!([read(1.into()), read("1".into()), read("1s".into())], [second; 3]);
        assert_eq!(read("1h30m".into()), Bound::At(Duration::from_mins(90)));
        assert_eq!([read(0.into()), read("0".into()), bound(None)], [Bound::None; 3]);
        assert_eq!([read("soon".into()), read((-1).into()), read(true.into())], [Bound::Unclear; 3]);
    }

    #[test]
    fn what_cannot_be_read_says_where() {
        assert_eq!(rules("path \"a\" { b = 1 c = 2 }").unwrap_err(), "line 1, column 18");
    }
}
