//! The configuration as a JSON schema (draft 2020-12), for editors and whoever writes the file by a program: made of what
//! the reader asks for and what it takes, so it can't say anything else.
//!
//! It is necessary and not sufficient. What goes with what, files, bytes and lengths of time are the reader's to check, by
//! `hallpassd check`. What the keys mean stands in one place, the tables of `docs/configuration.md`, and is taken from
//! there.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::section::{Asked, Questions};

const DOCUMENTATION: &str = include_str!("../../docs/configuration.md");
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema.
#[must_use]
pub fn schema() -> Json {
    let mut whole = section(&super::questions(), "", &meanings(DOCUMENTATION));
    whole.insert("$schema".to_owned(), json!(DIALECT));
    whole.insert("title".to_owned(), json!("The configuration of hallpassd"));
    whole.insert(
        "description".to_owned(),
        json!("What is good here may still lack something that only `hallpassd check` can know"),
    );
    Json::Object(whole)
}

/// A table: what stands in it by name, and what by names of the file's choice. Nothing else may.
fn section(questions: &Questions, above: &str, meanings: &BTreeMap<&str, String>) -> Map<String, Json> {
    let (mut properties, mut patterns, mut required) = (Map::new(), Map::new(), Vec::new());
    for (path, asked) in questions {
        let Some(name) = name_below(path, above) else { continue };
        match asked {
            Asked::Key { shape, is_required, default } => {
                properties.insert(name.to_owned(), key(shape, default.as_ref(), meanings.get(path.as_str())));
                required.extend(is_required.then_some(name));
            }
            Asked::Section | Asked::Optional => {
                let below = section(questions, path, meanings);
                // One that isn't there reads as empty, so it has to be there where it lacks something.
                let lacks = *asked == Asked::Section && below.contains_key("required");
                required.extend(lacks.then_some(name));
                properties.insert(name.to_owned(), Json::Object(below));
            }
            Asked::Entries(pattern, shape) => {
                patterns.insert((*pattern).to_owned(), key(shape, None, meanings.get(path.as_str())));
            }
            Asked::Named(pattern) => {
                patterns.insert((*pattern).to_owned(), Json::Object(section(questions, path, meanings)));
            }
        }
    }
    let mut whole = Map::new();
    whole.insert("type".to_owned(), json!("object"));
    let parts = [("properties", Json::Object(properties)), ("patternProperties", Json::Object(patterns))];
    let there = parts.into_iter().filter(|(_, part)| part.as_object().is_some_and(|part| !part.is_empty()));
    whole.extend(there.map(|(name, part)| (name.to_owned(), part)));
    whole.insert("additionalProperties".to_owned(), json!(false));
    if !required.is_empty() {
        whole.insert("required".to_owned(), json!(required));
    }
    whole
}

/// The last part of a path, if all before it is this one.
fn name_below<'a>(path: &'a str, above: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(above)?;
    let name = if above.is_empty() { rest } else { rest.strip_prefix('.')? };
    (!name.is_empty() && !name.contains('.')).then_some(name)
}

fn key(shape: &Json, default: Option<&Json>, meaning: Option<&String>) -> Json {
    let mut key = shape.as_object().cloned().unwrap_or_default();
    key.extend(default.map(|default| ("default".to_owned(), default.clone())));
    key.extend(meaning.map(|meaning| ("description".to_owned(), json!(meaning))));
    Json::Object(key)
}

/// What each key means and which bounds it has, by its path: the second and the last cell of its row.
fn meanings(documentation: &str) -> BTreeMap<&str, String> {
    documentation.lines().filter_map(meaning).collect()
}

fn meaning(row: &str) -> Option<(&str, String)> {
    let cells: Vec<&str> = row.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
    let [path, meaning, _, bounds] = cells.as_slice() else { return None };
    let path = path.strip_prefix('`')?.strip_suffix('`')?;
    let joined = if bounds.is_empty() { (*meaning).to_owned() } else { format!("{meaning} ({bounds})") };
    path.contains('.').then_some((path, joined))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_its_key_means() {
        let rows = "| key | meaning | default | bounds |\n|---|---|---|---|\n\
                    | `a.b` | how much | `1` | 1 to 2 |\n| `a.<name>.c` | whether | | |\n| `a` | x | y | z |";
        let expected = [("a.b", "how much (1 to 2)"), ("a.<name>.c", "whether")];
        assert_eq!(meanings(rows), expected.map(|(path, text)| (path, text.to_owned())).into());
    }

    #[test]
    fn every_key_has_its_meaning() {
        let (meanings, questions) = (meanings(DOCUMENTATION), crate::config::questions());
        let is_value = |asked: &Asked| matches!(asked, Asked::Key { .. } | Asked::Entries(..));
        for (path, _) in questions.iter().filter(|(_, asked)| is_value(asked)) {
            assert!(meanings.contains_key(path.as_str()), "{path}");
        }
    }
}
