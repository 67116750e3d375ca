//! Where results, notes and errors go: results to standard output, the rest to standard error.
//!
//! All text passes through here and is escaped on its way, so that no verb can forget it. Colour is for a terminal that
//! wants it, and only for our own words.

use std::{
    env,
    io::{self, IsTerminal, Write},
    sync::{LazyLock, Mutex, PoisonError},
};

use clap::ValueEnum;
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::Value;

use super::{
    error::Failure,
    escape,
    table::{Block, Grid},
};
use crate::wire;

/// What standard output is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// For people.
    #[default]
    Table,
    /// For programs: protobuf's canonical JSON.
    Json,
    /// For programs, one JSON value a line: only for `audit list`.
    Jsonl,
    /// For spreadsheets: only for `audit list`.
    Csv,
}

impl Mode {
    /// Whether only a list that is printed while it comes has it.
    #[must_use]
    pub const fn is_for_lists_only(self) -> bool {
        matches!(self, Self::Jsonl | Self::Csv)
    }
}

/// How text may be dressed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dress {
    /// Standard output is a terminal: lines are no longer than it is wide.
    pub terminal: bool,
    /// Colours are welcome.
    pub colour: bool,
}

impl Dress {
    /// Colour needs a terminal that isn't dumb, and nobody who said no (`NO_COLOR`, set and not empty).
    fn detect(terminal: bool, no_color: Option<&str>, term: Option<&str>) -> Self {
        let refused = no_color.is_some_and(|value| !value.is_empty());
        Self { terminal, colour: terminal && !refused && term != Some("dumb") }
    }
}

/// Standard output and standard error, with what is known about them.
pub struct Output {
    /// What standard output is for.
    pub mode: Mode,
    dress: Dress,
    results: Mutex<Box<dyn Write + Send>>,
    notes: Mutex<Box<dyn Write + Send>>,
}

impl Output {
    /// The process's own.
    #[must_use]
    pub fn of_process(mode: Mode) -> Self {
        let [no_color, term] = ["NO_COLOR", "TERM"].map(|key| env::var(key).ok());
        let dress = Dress::detect(io::stdout().is_terminal(), no_color.as_deref(), term.as_deref());
        Self {
            mode,
            dress,
            results: Mutex::new(Box::new(io::stdout())),
            notes: Mutex::new(Box::new(io::stderr())),
        }
    }

    /// One that writes elsewhere, as if it weren't a terminal.
    #[cfg(test)]
    pub fn to(mode: Mode, results: Box<dyn Write + Send>, notes: Box<dyn Write + Send>) -> Self {
        Self { mode, dress: Dress::default(), results: Mutex::new(results), notes: Mutex::new(notes) }
    }

    /// Whether programs read the results.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.mode == Mode::Json
    }

    /// Prints one message: as JSON, or as the block that `view` makes of it.
    ///
    /// # Errors
    ///
    /// If standard output can't be written.
    pub fn message<M: Message + Name>(
        &self,
        message: &M,
        view: impl FnOnce(&M) -> Block,
    ) -> Result<(), Failure> {
        match self.mode {
            Mode::Json => self.json(&to_json(message)?),
            Mode::Jsonl => self.json_line(&to_json(message)?),
            Mode::Table | Mode::Csv => self.block(&view(message)),
        }
    }

    /// Prints lines for people.
    ///
    /// # Errors
    ///
    /// If standard output can't be written.
    pub fn text(&self, text: &str) -> Result<(), Failure> {
        self.raw(&format!("{}\n", escape::lines(text)))
    }

    /// Prints a block of labelled values.
    ///
    /// # Errors
    ///
    /// If standard output can't be written.
    pub fn block(&self, block: &Block) -> Result<(), Failure> {
        self.raw(&block.render(self.dress.colour))
    }

    /// Prints a table.
    ///
    /// # Errors
    ///
    /// If standard output can't be written.
    pub fn grid(&self, grid: &Grid) -> Result<(), Failure> {
        self.raw(&grid.render(self.dress))
    }

    /// Prints one JSON value, on several lines.
    ///
    /// # Errors
    ///
    /// If standard output can't be written.
    pub fn json(&self, value: &Value) -> Result<(), Failure> {
        self.raw(&format!("{value:#}\n"))
    }

    /// Prints one JSON value on one line.
    ///
    /// # Errors
    ///
    /// If standard output can't be written.
    pub fn json_line(&self, value: &Value) -> Result<(), Failure> {
        self.raw(&format!("{value}\n"))
    }

    /// Prints text as it is. Whoever calls this has escaped it, or is about to be read by a program.
    ///
    /// # Errors
    ///
    /// If standard output can't be written.
    pub fn raw(&self, text: &str) -> Result<(), Failure> {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        let written = results.write_all(text.as_bytes()).and_then(|()| results.flush());
        written.map_err(|error| Failure::local(format!("cannot write to standard output: {error}")))
    }

    /// Tells people something that isn't the result. Programs aren't told: they read the exit code.
    pub fn note(&self, text: &str) {
        if !self.is_json() {
            self.complain(&escape::lines(text));
        }
    }

    /// Tells whoever is there what only a person can do now, such as logging in elsewhere. Programs get it as one line of
    /// JSON, to pass it on.
    pub fn ask_to_act(&self, text: &str, object: &Value) {
        match self.mode {
            Mode::Json | Mode::Jsonl => self.complain(&object.to_string()),
            Mode::Table | Mode::Csv => self.complain(&escape::lines(text)),
        }
    }

    /// Reports a failure on standard error.
    pub fn fail(&self, failure: &Failure) {
        match self.mode {
            Mode::Json | Mode::Jsonl => self.complain(&failure.json().to_string()),
            Mode::Table | Mode::Csv => self.complain(&escape::lines(&failure.text())),
        }
    }

    /// Writes a line to standard error. If even that can't be written, nobody is left to be told.
    fn complain(&self, line: &str) {
        let _ = writeln!(self.notes.lock().unwrap_or_else(PoisonError::into_inner), "{line}");
    }
}

/// Shows a block on standard error, because somebody has to read it before he answers.
pub fn ask_to_read(block: &Block) {
    complain(block.render(false).trim_end());
}

/// The same, of a text of several lines.
pub fn ask_to_read_text(text: &str) {
    complain(&escape::lines(text));
}

/// Writes a line to standard error. If even that can't be written, nobody is left to be told.
fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// The compiled descriptors, read once: lists are long.
static POOL: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(wire::DESCRIPTORS).ok());

/// A message in protobuf's canonical JSON.
///
/// # Errors
///
/// If the message isn't among the compiled descriptors, which would be a defect.
pub fn to_json<M: Message + Name>(message: &M) -> Result<Value, Failure> {
    let defect = |what: &str| Failure::local(format!("cannot render {} as JSON: {what}", M::NAME));
    let pool = POOL.as_ref().ok_or_else(|| defect("the descriptors can't be read"))?;
    let descriptor = pool.get_message_by_name(&M::full_name()).ok_or_else(|| defect("no descriptor"))?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .map_err(|error| defect(&error.to_string()))?;
    dynamic
        .serialize_with_options(serde_json::value::Serializer, &SerializeOptions::new())
        .map_err(|error| defect(&error.to_string()))
}

/// Messages in protobuf's canonical JSON.
///
/// # Errors
///
/// As [`to_json`].
pub fn to_json_list<M: Message + Name>(messages: &[M]) -> Result<Value, Failure> {
    messages.iter().map(to_json).collect::<Result<Vec<_>, _>>().map(Value::Array)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Person, Request, RequestState};

    #[test]
    fn colour_needs_a_willing_terminal() {
        let colour = |terminal, no_color, term| Dress::detect(terminal, no_color, term).colour;
        assert!(colour(true, None, Some("xterm")));
        assert!(colour(true, Some(""), None));
        assert!(!colour(true, Some("1"), Some("xterm")));
        assert!(!colour(true, None, Some("dumb")));
        assert!(!colour(false, None, Some("xterm")));
    }

    #[test]
    fn a_request_is_canonical_json() {
        let request = Request {
            name: "requests/r".into(),
            requester: Some(Person { subject: "s".into(), name: "alice".into() }),
            duration: Some(prost_types::Duration { seconds: 5400, nanos: 0 }),
            state: RequestState::Pending.into(),
            submitted_at: Some(prost_types::Timestamp { seconds: 1_795_438_800, nanos: 0 }),
            approvals_required: 2,
            ..Request::default()
        };
        let expected = serde_json::json!({
            "name": "requests/r",
            "requester": { "subject": "s", "name": "alice" },
            "duration": "5400s",
            "state": "REQUEST_STATE_PENDING",
            "submittedAt": "2026-11-23T13:00:00Z",
            "approvalsRequired": 2,
        });
        assert_eq!(to_json(&request).unwrap(), expected);
        assert_eq!(to_json_list::<Request>(&[]).unwrap(), serde_json::json!([]));
    }
}
