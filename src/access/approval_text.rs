//! The canonical text of an approval: what an approver signs. It is made to be read, also in ten years and without
//! hallpass, and there is exactly one text for one approval, so that it can't say one thing to a person and another to a
//! program. `docs/approval.md` specifies it byte by byte.
//!
//! ```text
//! hallpass-approval v1
//! request: 01kb0x3v9m2d4e5f6g7h8j9kab
//! digest: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//! target: orders-ro
//! requester: vault:8d1cf5a2-6a0e-4b6e-9d0c-3f1a2b4c5d6e
//! requester-name: alice
//! window-seconds: 5400
//! approver: vault:1b9e77c4-2f3d-4c8a-8e6b-7a5d4c3b2a19
//! time: 2026-11-26T09:00:00Z
//! statement-bytes: 28
//!
//! read only is enough for this
//! ```
//!
//! The statement, the only part that may have several lines, is the last one and counted, so nothing in it can be taken
//! for a line of the head.

use std::{fmt, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};

use super::{
    actor::Person,
    approval::Digest,
    id::RequestId,
    request::Ask,
    target::TargetName,
    terms::Terms,
    text::{PROSE_MAX_BYTES, Prose, line},
};

/// The longest text, in bytes: a statement, three lines of 256 bytes, and much less than a KiB of the rest.
pub const TEXT_MAX_BYTES: usize = PROSE_MAX_BYTES + 2 * 1024;
/// The first line. A text that says other things has another number here.
const VERSION: &str = "hallpass-approval v1";

/// A text that isn't the canonical one of any approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not the canonical text of an approval, at line {line}")]
pub struct NotCanonical {
    /// The first line that isn't as it has to be, counted from 1.
    pub line: usize,
}

/// What an approver signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalText {
    /// The request.
    pub request: RequestId,
    /// Its digest, which covers all that it asks.
    pub digest: Digest,
    /// The target.
    pub target: TargetName,
    /// Who asks.
    pub requester: Person,
    /// How long the window may be, in whole seconds: as was asked, or as the approver shortened it.
    pub window: Duration,
    /// When the window may open at the earliest, if the request or the approver says so; in whole seconds.
    pub window_from: Option<DateTime<Utc>>,
    /// By when it must have opened, if the approver says so; in whole seconds.
    pub window_until: Option<DateTime<Utc>>,
    /// The subject by which hallpass knows the approver.
    pub approver: String,
    /// When he signs, by his clock, in whole seconds.
    pub signed_at: DateTime<Utc>,
    /// What he writes.
    pub statement: Prose,
}

impl ApprovalText {
    /// The text for one person's approval of a request, on his terms.
    #[must_use]
    pub fn of(
        id: RequestId,
        ask: &Ask,
        terms: Terms,
        approver: &str,
        statement: Prose,
        now: DateTime<Utc>,
    ) -> Self {
        let asked = Terms { duration: Some(ask.duration), not_before: ask.not_before, not_after: None };
        let terms = asked.and(terms);
        Self {
            request: id,
            digest: ask.digest(id),
            target: ask.target.clone(),
            requester: ask.requester.clone(),
            window: terms.duration.unwrap_or(ask.duration),
            window_from: terms.not_before.map(whole_seconds),
            window_until: terms.not_after.map(whole_seconds),
            approver: approver.to_owned(),
            signed_at: whole_seconds(now),
            statement,
        }
    }

    /// Whether it is of this request, as it stands, whoever approves, on which terms and whatever he writes.
    #[must_use]
    pub fn is_of(&self, id: RequestId, ask: &Ask) -> bool {
        let head = (self.request, self.digest, &self.target, &self.requester);
        head == (id, ask.digest(id), &ask.target, &ask.requester)
    }

    /// Whether it is of this request on these terms.
    #[must_use]
    pub fn is_on(&self, ask: &Ask, terms: Terms) -> bool {
        *self == Self::of(self.request, ask, terms, &self.approver, self.statement.clone(), self.signed_at)
    }

    /// Reads a text. What is read reads back as the very same bytes.
    ///
    /// # Errors
    ///
    /// If a line is missing, doubled, out of order or not as it has to be, or something comes after the statement.
    pub fn parse(text: &str) -> Result<Self, NotCanonical> {
        let mut lines = Lines { rest: text, number: 0 };
        let read = read(&mut lines).ok_or(NotCanonical { line: lines.number })?;
        // Numbers, times and ids have more than one spelling; only one of them is canonical.
        let spelled = read.to_string();
        let differs =
            || spelled.lines().zip(text.lines()).take_while(|(ours, theirs)| ours == theirs).count();
        if spelled == text { Ok(read) } else { Err(NotCanonical { line: differs() + 1 }) }
    }
}

/// The text itself.
impl fmt::Display for ApprovalText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let statement = self.statement.as_str();
        writeln!(f, "{VERSION}")?;
        writeln!(f, "request: {}", self.request)?;
        writeln!(f, "digest: {}", self.digest)?;
        writeln!(f, "target: {}", self.target)?;
        writeln!(f, "requester: {}", self.requester.subject)?;
        writeln!(f, "requester-name: {}", self.requester.name)?;
        writeln!(f, "window-seconds: {}", self.window.as_secs())?;
        if let Some(from) = self.window_from {
            writeln!(f, "window-from: {}", spelled(from))?;
        }
        if let Some(until) = self.window_until {
            writeln!(f, "window-until: {}", spelled(until))?;
        }
        writeln!(f, "approver: {}", self.approver)?;
        writeln!(f, "time: {}", spelled(self.signed_at))?;
        writeln!(f, "statement-bytes: {}", statement.len())?;
        writeln!(f, "\n{statement}")
    }
}

/// The lines of a text, one after the other.
struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a str> {
        self.number += 1;
        let (line, rest) = self.rest.split_once('\n')?;
        self.rest = rest;
        Some(line)
    }

    /// The value of the next line, which must be this one.
    fn value(&mut self, label: &str) -> Option<&'a str> {
        self.next()?.strip_prefix(label)?.strip_prefix(": ")
    }

    /// The value of the next line, if it is this one.
    fn value_if(&mut self, label: &str) -> Option<&'a str> {
        let here = self.rest.strip_prefix(label).is_some_and(|rest| rest.starts_with(": "));
        if here { self.value(label) } else { None }
    }
}

fn read(lines: &mut Lines<'_>) -> Option<ApprovalText> {
    (lines.next()? == VERSION).then_some(())?;
    let request = lines.value("request")?.parse().ok()?;
    let digest = Digest::parse(lines.value("digest")?)?;
    let target = lines.value("target")?.parse().ok()?;
    let subject = line(lines.value("requester")?).ok()?.to_owned();
    let name = line(lines.value("requester-name")?).ok()?.to_owned();
    let window = Duration::from_secs(lines.value("window-seconds")?.parse().ok()?);
    let window_from = instant_if(lines, "window-from")?;
    let window_until = instant_if(lines, "window-until")?;
    let approver = line(lines.value("approver")?).ok()?.to_owned();
    let signed_at = instant(lines.value("time")?)?;
    let length: usize = lines.value("statement-bytes")?.parse().ok()?;
    lines.next()?.is_empty().then_some(())?;
    lines.number += 1;
    // Exactly as many bytes as were announced, a line feed, and the end.
    let statement = lines.rest.strip_suffix('\n').filter(|statement| statement.len() == length)?;
    let statement = Prose::new(statement).ok()?;
    let requester = Person { subject, name };
    Some(ApprovalText {
        request,
        digest,
        target,
        requester,
        window,
        window_from,
        window_until,
        approver,
        signed_at,
        statement,
    })
}

fn spelled(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The instant of the next line, if it is this one.
#[expect(clippy::option_option, reason = "the outer one says whether it could be read")]
fn instant_if(lines: &mut Lines<'_>, label: &str) -> Option<Option<DateTime<Utc>>> {
    match lines.value_if(label) {
        Some(at) => instant(at).map(Some),
        None => Some(None),
    }
}

fn instant(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc())
}

/// The second that an instant lies in.
pub(super) fn whole_seconds(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(at.timestamp(), 0).unwrap_or(at)
}

#[cfg(test)]
mod tests;
