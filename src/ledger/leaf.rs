//! Events as leaves: one spelling for each, and back.
//!
//! A leaf is one line of canonical JSON (RFC 8785), so that an export is a file of lines that any tool reads and whose
//! hashes anybody computes. What people wrote isn't in it: the leaf has the digest of each text, and the texts stand
//! beside it, where they can be taken away without the log becoming another one. `docs/ledger.md` has all of it, byte by
//! byte.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{canonical, tree::Hash};
use crate::access::{
    actor::{Actor, Person},
    event::{About, Recorded, digest_field, digest_of, texts_of},
    id::{GrantId, RequestId},
    target::TargetName,
};

/// The version of the encoding, which each leaf names.
pub const VERSION: u64 = 1;

/// An event as the tree has it, and what of it the tree has only the digests of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Canonical JSON, without a line's end.
    pub line: String,
    /// The texts that are kept, by field.
    pub texts: Map<String, Value>,
}

/// Why a leaf isn't one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It isn't JSON with a leaf's members, or one of them isn't what it has to be.
    #[error("it isn't a leaf of this version")]
    NoLeaf,
    /// The same could be said in another spelling.
    #[error("its JSON isn't canonical (RFC 8785)")]
    NotCanonical,
    /// A text isn't the one that the leaf has the digest of.
    #[error("a text isn't the one that was recorded")]
    OtherText,
}

/// A leaf's members. Those that are left out say that there is none; without an actor it was the daemon.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    actor: Option<Who>,
    at: String,
    detail: Map<String, Value>,
    grant: Option<String>,
    kind: String,
    request: Option<String>,
    sequence: i64,
    target: Option<String>,
    v: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Who {
    name: String,
    subject: String,
}

impl Leaf {
    /// The one spelling of an event.
    #[must_use]
    pub fn of(event: &Recorded) -> Self {
        let mut detail = event.detail.as_object().cloned().unwrap_or_default();
        let mut texts = Map::new();
        for text in texts_of(&event.kind) {
            if let Some(found) = detail.remove(*text) {
                texts.insert((*text).to_owned(), found);
            }
        }
        let mut members = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                members.insert(name.to_owned(), value);
            }
        };
        if let Actor::Person(Person { name, subject }) = &event.actor {
            put("actor", Some(json!({ "name": name, "subject": subject })));
        }
        put("at", Some(event.at.to_rfc3339_opts(SecondsFormat::Millis, true).into()));
        put("detail", Some(detail.into()));
        put("grant", event.about.grant.map(|id| id.to_string().into()));
        put("kind", Some(event.kind.as_str().into()));
        put("request", event.about.request.map(|id| id.to_string().into()));
        put("sequence", Some(event.sequence.into()));
        put("target", event.about.target.as_ref().map(|target| target.as_str().into()));
        put("v", Some(VERSION.into()));
        Self { line: canonical::of(&members.into()), texts }
    }

    /// The event, with the texts that are kept.
    ///
    /// # Errors
    ///
    /// If the line isn't a leaf in its one spelling, or a text isn't one that the leaf has the digest of.
    pub fn event(&self) -> Result<Recorded, Malformed> {
        let members: Members = serde_json::from_str(&self.line).map_err(|_| Malformed::NoLeaf)?;
        let mut event = members.event()?;
        if Self::of(&event).line != self.line {
            return Err(Malformed::NotCanonical);
        }
        if let Value::Object(detail) = &mut event.detail {
            for (field, text) in &self.texts {
                let is_known = texts_of(&event.kind).contains(&field.as_str());
                let digest = text.as_str().filter(|_| is_known).map(digest_of);
                if digest.is_none()
                    || detail.get(&digest_field(field)).and_then(Value::as_str) != digest.as_deref()
                {
                    return Err(Malformed::OtherText);
                }
                detail.insert(field.clone(), text.clone());
            }
        }
        Ok(event)
    }

    /// Its hash in the tree.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of_leaf(self.line.as_bytes())
    }
}

impl Members {
    fn event(self) -> Result<Recorded, Malformed> {
        if self.v != VERSION {
            return Err(Malformed::NoLeaf);
        }
        let at = DateTime::parse_from_rfc3339(&self.at).map_err(|_| Malformed::NoLeaf)?;
        let about = About {
            request: read::<RequestId>(self.request)?,
            grant: read::<GrantId>(self.grant)?,
            target: read::<TargetName>(self.target)?,
        };
        let person = |who: Who| Actor::Person(Person { subject: who.subject, name: who.name });
        Ok(Recorded {
            sequence: self.sequence,
            at: at.with_timezone(&Utc),
            actor: self.actor.map_or(Actor::Daemon, person),
            about,
            kind: self.kind,
            detail: Value::Object(self.detail),
        })
    }
}

fn read<T: std::str::FromStr>(text: Option<String>) -> Result<Option<T>, Malformed> {
    text.map(|text| text.parse().map_err(|_| Malformed::NoLeaf)).transpose()
}

#[cfg(test)]
mod tests;
