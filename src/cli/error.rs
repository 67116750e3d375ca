//! What went wrong, for a person or a script: a message, what to do next, and an exit code that stays what it is.
//!
//! A [`Failure`] is made where the operation is known and printed once, in [`super::main`]. It never holds a secret.

use std::process::ExitCode;

use serde_json::{Value, json};

/// The exit codes. They are an interface: scripts rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Files, the network, Vault, the configuration.
    Local = 1,
    /// The arguments don't fit together; clap uses the same number.
    Usage = 2,
    /// hallpassd refused.
    Refused = 3,
    /// The request was denied, lapsed or was withdrawn.
    Settled = 4,
    /// The time to wait is over; nothing was refused.
    TimedOut = 5,
    /// The audit log, or what was verified, doesn't hold.
    Broken = 6,
    /// Ctrl-C while waiting: 128 and the signal's number, as shells have it.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a verb did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// One sentence, without a full stop.
    pub message: String,
    /// More of it, one line each: the fields that were wrong, for example.
    pub details: Vec<String>,
    /// What to do next.
    pub hint: Option<String>,
    /// The reason of `errors.proto`, if hallpassd gave one.
    pub reason: Option<String>,
}

impl Failure {
    /// A failure with a message and nothing else.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), details: Vec::new(), hint: None, reason: None }
    }

    /// Something on this side went wrong.
    #[must_use]
    pub fn local(message: impl Into<String>) -> Self {
        Self::new(Exit::Local, message)
    }

    /// The arguments don't fit together.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Says what to do next, instead of what was said before.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a line.
    #[must_use]
    pub fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }

    /// Whether hallpassd gave this reason.
    #[must_use]
    pub fn is(&self, reason: &str) -> bool {
        self.reason.as_deref() == Some(reason)
    }

    /// The lines for a person. What they hold is still to be escaped.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("error: {}", self.message);
        for line in &self.details {
            text.push_str("\n  ");
            text.push_str(line);
        }
        if let Some(hint) = &self.hint {
            text.push_str("\nhint: ");
            text.push_str(hint);
        }
        text
    }

    /// The object for a program. Fields that say nothing are left out.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut error = json!({ "exitCode": self.exit as u8, "message": self.message });
        if let Some(object) = error.as_object_mut() {
            if !self.details.is_empty() {
                object.insert("details".into(), json!(self.details));
            }
            if let Some(hint) = &self.hint {
                object.insert("hint".into(), json!(hint));
            }
            if let Some(reason) = &self.reason {
                object.insert("reason".into(), json!(reason));
            }
        }
        json!({ "error": error })
    }
}

/// An error's own text and those of its causes, innermost last, without repetition.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_to_do_next() {
        let failure = Failure::usage("no such state").detail("state: `gone`").hint("use `pending`");
        assert_eq!(failure.text(), "error: no such state\n  state: `gone`\nhint: use `pending`");
        assert_eq!(failure.json()["error"]["exitCode"], 2);
        assert_eq!(failure.json()["error"]["hint"], "use `pending`");
        assert!(failure.json()["error"].get("reason").is_none());
    }

    #[test]
    fn the_numbers_stay_what_they_are() {
        let codes = [
            Exit::Local,
            Exit::Usage,
            Exit::Refused,
            Exit::Settled,
            Exit::TimedOut,
            Exit::Broken,
            Exit::Interrupted,
        ];
        assert_eq!(codes.map(|code| code as u8), [1, 2, 3, 4, 5, 6, 130]);
    }

    #[test]
    fn a_chain_doesnt_repeat_itself() {
        let inner = std::io::Error::other("refused");
        let outer = std::io::Error::other(inner);
        assert_eq!(chain(&outer), "refused");
    }
}
