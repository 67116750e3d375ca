//! What a reader of a value is handed: a value of the file, or the question what it takes.
//!
//! A reader gets at a value only by saying what it takes ([`Found::as_of`]), so that none can be without its line in the
//! schema. What it says is necessary and needn't be sufficient: a schema knows no files and counts no bytes, and what it
//! lets through the reader may still refuse.

use std::cell::RefCell;

use serde_json::{Value as Json, json};
use toml::de::DeValue;

/// What a reader of one value says: the value, or what is wrong with it and what to write instead.
pub(super) type Read<T> = Result<T, String>;

/// See the module.
pub(super) enum Found<'a> {
    /// A value.
    Value(&'a DeValue<'a>),
    /// The question what is taken, with the place for its answer.
    Question(&'a RefCell<Json>),
}

impl<'a> Found<'a> {
    /// The value, for a reader that takes what this JSON schema says. Of several that are said of one value, the first
    /// counts: a reader that is made of others says the strictest.
    pub(super) fn as_of(&self, shape: impl FnOnce() -> Json) -> Read<&'a DeValue<'a>> {
        match self {
            Self::Value(value) => Ok(value),
            Self::Question(answer) => {
                answer.replace(shape());
                Err("nothing is read, because this is a question".to_owned())
            }
        }
    }

    /// What a reader takes.
    pub(super) fn shape_of<T>(read: impl FnOnce(&Found<'_>) -> Read<T>) -> Json {
        let answer = RefCell::new(Json::Bool(true));
        drop(read(&Found::Question(&answer)));
        answer.into_inner()
    }
}

/// A value as JSON has it. Dates and floats are their texts: no key takes any.
pub(super) fn json(value: &DeValue<'_>) -> Json {
    match value {
        DeValue::String(text) => json!(text),
        DeValue::Boolean(flag) => json!(flag),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| json!(number.as_str()), |number| json!(number)),
        DeValue::Float(number) => json!(number.as_str()),
        DeValue::Datetime(instant) => json!(instant.to_string()),
        DeValue::Array(list) => list.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => {
            let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<_>)| {
                let key: &toml::Spanned<toml::de::DeString<'_>> = key;
                (key.get_ref().to_string(), json(value.get_ref()))
            };
            Json::Object(table.iter().map(entry).collect())
        }
    }
}
