//! One line of the report, and the report: how it is shown, and whether anything is wrong.

use std::fmt::{self, Write as _};

use serde_json::{Value, json};

/// How one thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// As it has to be.
    Ok,
    /// It works; or it couldn't be looked at.
    Warn,
    /// A promise can't be kept, or nothing can be issued.
    Fail,
}

impl Status {
    /// For people.
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }

    /// For programs.
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }

    /// The terminal's code: green, yellow, red.
    const fn colour(self) -> &'static str {
        match self {
            Self::Ok => "\x1b[32m",
            Self::Warn => "\x1b[33m",
            Self::Fail => "\x1b[31m",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How it stands.
    pub status: Status,
    /// What it is: `token role hallpass-grant`.
    pub about: String,
    /// What was found.
    pub said: String,
    /// What to do about it, if it isn't as it has to be: a sentence, a command, or lines of a policy.
    pub advice: Option<String>,
}

impl Finding {
    /// Something that is as it has to be.
    pub(super) fn ok(about: impl Into<String>, said: impl Into<String>) -> Self {
        Self { status: Status::Ok, about: about.into(), said: said.into(), advice: None }
    }

    /// Something to think about.
    pub(super) fn warn(about: impl Into<String>, said: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { status: Status::Warn, about: about.into(), said: said.into(), advice: Some(advice.into()) }
    }

    /// Something that is wrong.
    pub(super) fn fail(about: impl Into<String>, said: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { status: Status::Fail, ..Self::warn(about, said, advice) }
    }

    /// An error of ours, which says after its last semicolon what to do; `otherwise` if it doesn't.
    pub(super) fn error(about: impl Into<String>, error: &str, otherwise: &str) -> Self {
        let (said, advice) = error.rsplit_once("; ").unwrap_or((error, otherwise));
        Self::fail(about, said, advice)
    }
}

/// Everything that was looked at, nothing twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report(Vec<Finding>);

impl Report {
    pub(super) fn new(found: Vec<Finding>) -> Self {
        let mut once = Vec::with_capacity(found.len());
        for finding in found {
            if !once.contains(&finding) {
                once.push(finding);
            }
        }
        Self(once)
    }

    /// The findings, in the order in which one would mend them.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.0
    }

    /// Whether anything is wrong. Warnings aren't.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        self.count(Status::Fail) > 0
    }

    /// For people, a line for each finding and its advice below it.
    #[must_use]
    pub fn text(&self, colour: bool) -> String {
        let mut text = String::new();
        for finding in &self.0 {
            // Writing to a string does not fail.
            let _ = line(&mut text, finding, colour);
        }
        let [ok, warn, fail] = [Status::Ok, Status::Warn, Status::Fail].map(|status| self.count(status));
        let _ = writeln!(text, "{ok} ok, {warn} to think about, {fail} wrong");
        text
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let findings = self.0.iter().map(|finding| {
            json!({
                "status": finding.status.name(),
                "about": finding.about,
                "said": finding.said,
                "advice": finding.advice,
            })
        });
        let worst = self.0.iter().map(|finding| finding.status).max().unwrap_or(Status::Ok);
        json!({ "status": worst.name(), "findings": findings.collect::<Vec<_>>() })
    }

    fn count(&self, status: Status) -> usize {
        self.0.iter().filter(|finding| finding.status == status).count()
    }
}

fn line(text: &mut String, finding: &Finding, colour: bool) -> fmt::Result {
    let word = finding.status.word();
    let (on, off) = if colour { (finding.status.colour(), "\x1b[0m") } else { ("", "") };
    writeln!(text, "{on}{word:<4}{off}  {}: {}", plain(&finding.about), plain(&finding.said))?;
    let advice = finding.advice.iter().flat_map(|advice| advice.lines());
    for (number, advice) in advice.enumerate() {
        let mark = if number == 0 { "->" } else { "  " };
        writeln!(text, "      {mark} {}", plain(advice))?;
    }
    Ok(())
}

/// Names and texts come from elsewhere, and must not steer the terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let wrong = Finding::fail("b", "is \x1b[1mbad", "do this\nand that");
        Report::new(vec![Finding::ok("a", "is good"), wrong.clone(), wrong, Finding::warn("c", "hm", "look")])
    }

    #[test]
    fn each_finding_is_one_line_and_its_advice_stands_below() {
        let text = "ok    a: is good\nFAIL  b: is \u{fffd}[1mbad\n      -> do this\n         and that\n\
                    warn  c: hm\n      -> look\n1 ok, 1 to think about, 1 wrong\n";
        assert_eq!(report().text(false), text);
    }

    #[test]
    fn only_the_word_is_coloured() {
        assert!(report().text(true).starts_with("\x1b[32mok  \x1b[0m  a: is good\n\x1b[31mFAIL\x1b[0m  b"));
    }

    #[test]
    fn warnings_are_not_wrong() {
        assert!(report().is_wrong());
        assert!(!Report::new(vec![Finding::warn("c", "hm", "look")]).is_wrong());
    }

    #[test]
    fn programs_get_the_same() {
        let json = report().json();
        assert_eq!((&json["status"], &json["findings"][2]["advice"]), (&json!("fail"), &json!("look")));
    }

    #[test]
    fn the_end_of_an_error_is_its_advice() {
        let finding = Finding::error("a", "no; yes; mend it", "");
        assert_eq!((finding.said.as_str(), finding.advice.as_deref()), ("no; yes", Some("mend it")));
        assert_eq!(Finding::error("a", "no", "try").advice.as_deref(), Some("try"));
    }
}
