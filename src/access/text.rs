//! What people write: reasons, statements, tickets, keys. A value of these types has passed its checks.

use std::fmt;

/// The longest reason or statement, in bytes: enough for a page, too little to hide in.
pub const PROSE_MAX_BYTES: usize = 8 * 1024;
/// The longest line, in bytes: a ticket, a person's name, a group.
pub const LINE_MAX_BYTES: usize = 256;
/// The longest idempotency key, in bytes.
pub const KEY_MAX_BYTES: usize = 64;

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    /// Nothing but white space.
    #[error("must not be blank")]
    Blank,
    /// White space around what must stand for itself.
    #[error("must not have white space around it")]
    Padded,
    /// More bytes than allowed.
    #[error("must have at most {max} bytes")]
    TooLong {
        /// How many are allowed.
        max: usize,
    },
    /// A character that a terminal or a log might obey, or that hides what a text says.
    #[error(
        "must not contain control characters, text direction overrides or invisible characters (U+{found:04X})"
    )]
    ControlCharacter {
        /// Its code point.
        found: u32,
    },
    /// A character outside the alphabet of a key.
    #[error("must consist of A-Z, a-z, 0-9, '-' and '_'")]
    NotAKey,
}

/// A reason or a statement: not blank, at most 8 KiB, no control characters but line feeds and tabs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prose(String);

impl Prose {
    /// Checks a text. White space around it is cut off, and CR LF becomes LF, as editors and terminals differ there.
    ///
    /// # Errors
    ///
    /// If it is blank, too long, or has a forbidden character.
    pub fn new(text: &str) -> Result<Self, BadText> {
        let text = text.replace("\r\n", "\n");
        let text = text.trim();
        if text.is_empty() {
            return Err(BadText::Blank);
        }
        check(text, PROSE_MAX_BYTES, |c| matches!(c, '\n' | '\t')).map(|text| Self(text.to_owned()))
    }

    /// A text as it is on record, perhaps from when less was refused. `None` if it never can have been taken: reading
    /// repairs nothing.
    #[must_use]
    pub fn recorded(text: &str) -> Option<Self> {
        let fits = is_recorded(text, PROSE_MAX_BYTES, |c| matches!(c, '\n' | '\t'));
        fits.then(|| Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Prose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text of one line, at most 256 bytes: not blank, without control characters and without white space around it, by
/// which two names that look alike would be two.
///
/// # Errors
///
/// If it is anything else.
pub fn line(text: &str) -> Result<&str, BadText> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(BadText::Blank);
    }
    if trimmed != text {
        return Err(BadText::Padded);
    }
    check(text, LINE_MAX_BYTES, |_| false)
}

/// The ticket that a request belongs to: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket(String);

impl Ticket {
    /// Checks a text; a blank one is no ticket, and white space around it is cut off.
    ///
    /// # Errors
    ///
    /// If it isn't one [`line()`].
    pub fn new(text: &str) -> Result<Option<Self>, BadText> {
        match text.trim() {
            "" => Ok(None),
            text => Ok(Some(Self(line(text)?.to_owned()))),
        }
    }

    /// A ticket as it is on record, like [`Prose::recorded`].
    #[must_use]
    pub fn recorded(text: &str) -> Option<Self> {
        is_recorded(text, LINE_MAX_BYTES, |_| false).then(|| Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A client's name for one submission, so that a retry doesn't submit twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Checks a text; an empty one is no key.
    ///
    /// # Errors
    ///
    /// If it is too long, or has a character outside `A-Z a-z 0-9 - _`.
    pub fn new(text: &str) -> Result<Option<Self>, BadText> {
        if text.is_empty() {
            return Ok(None);
        }
        if text.len() > KEY_MAX_BYTES {
            return Err(BadText::TooLong { max: KEY_MAX_BYTES });
        }
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if text.chars().all(known) { Ok(Some(Self(text.to_owned()))) } else { Err(BadText::NotAKey) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(text: &str, max: usize, allowed: impl Fn(char) -> bool) -> Result<&str, BadText> {
    if text.len() > max {
        return Err(BadText::TooLong { max });
    }
    match text.chars().find(|&c| is_obeyed(c) && !allowed(c)) {
        Some(c) => Err(BadText::ControlCharacter { found: c.into() }),
        None => Ok(text),
    }
}

/// Whether a text was taken at some time: what was refused from the first, and no more.
fn is_recorded(text: &str, max: usize, allowed: impl Fn(char) -> bool) -> bool {
    let is_plain = |c: char| !c.is_control() || allowed(c);
    !text.is_empty() && text.trim() == text && text.len() <= max && text.chars().all(is_plain)
}

/// Control characters, line and paragraph separators, what reorders text on a screen, and what takes no room there, so
/// that what an approver reads is what was written
/// (<https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters>). The joiners that some scripts are written
/// with are left.
#[must_use]
pub fn is_obeyed(c: char) -> bool {
    let reorders = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    let hides = matches!(
        c,
        '\u{ad}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
    );
    c.is_control() || reorders || hides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_trimmed_and_keeps_its_lines() {
        assert_eq!(Prose::new("  one\r\n\ttwo \n").unwrap().as_str(), "one\n\ttwo");
    }

    #[test]
    fn prose_refuses_what_is_blank_long_or_obeyed_by_terminals() {
        assert_eq!(Prose::new(" \n\t"), Err(BadText::Blank));
        assert_eq!(
            Prose::new(&"x".repeat(PROSE_MAX_BYTES + 1)),
            Err(BadText::TooLong { max: PROSE_MAX_BYTES })
        );
        assert!(Prose::new(&"x".repeat(PROSE_MAX_BYTES)).is_ok());
        assert_eq!(PROSE_MAX_BYTES, 8192, "the documentation and the database say so, too");
        for c in [
            '\0',
            '\x1b',
            '\r',
            '\u{7f}',
            '\u{85}',
            '\u{202e}',
            '\u{2066}',
            '\u{2028}',
            '\u{200b}',
            '\u{e0041}',
        ] {
            assert_eq!(
                Prose::new(&format!("a{c}b")),
                Err(BadText::ControlCharacter { found: c.into() }),
                "{c:?}"
            );
        }
    }

    #[test]
    fn what_is_on_record_is_read_even_if_it_would_not_be_taken_today() {
        assert_eq!(Prose::recorded("a\u{200b}b\n\tc").unwrap().as_str(), "a\u{200b}b\n\tc");
        assert_eq!(Ticket::recorded("OPS\u{ad}-7").unwrap().as_str(), "OPS\u{ad}-7");
        for never in ["", " a", "a ", "a\r\nb", "a\0b", &"x".repeat(PROSE_MAX_BYTES + 1)] {
            assert!(Prose::recorded(never).is_none(), "{never:?}");
        }
        assert!(Ticket::recorded("a\nb").is_none());
    }

    #[test]
    fn tickets_are_one_line() {
        assert_eq!(Ticket::new(" ").unwrap(), None);
        assert_eq!(Ticket::new("OPS-7").unwrap().unwrap().as_str(), "OPS-7");
        assert!(Ticket::new("a\nb").is_err());
        assert!(Ticket::new(&"x".repeat(LINE_MAX_BYTES + 1)).is_err());
    }

    #[test]
    fn a_line_stands_for_itself() {
        assert_eq!(line("dana o'neill"), Ok("dana o'neill"));
        assert_eq!(line(&"x".repeat(LINE_MAX_BYTES)).map(str::len), Ok(LINE_MAX_BYTES));
        assert_eq!(line(&"x".repeat(LINE_MAX_BYTES + 1)), Err(BadText::TooLong { max: LINE_MAX_BYTES }));
        for blank in ["", " ", "\u{a0}\t"] {
            assert_eq!(line(blank), Err(BadText::Blank), "{blank:?}");
        }
        for padded in [" dana", "dana ", "dana\n", "\u{2003}dana"] {
            assert_eq!(line(padded), Err(BadText::Padded), "{padded:?}");
        }
        for c in ['\t', '\n', '\u{202e}'] {
            assert_eq!(line(&format!("a{c}b")), Err(BadText::ControlCharacter { found: c.into() }), "{c:?}");
        }
    }

    #[test]
    fn keys_have_a_small_alphabet() {
        assert_eq!(IdempotencyKey::new("").unwrap(), None);
        assert_eq!(IdempotencyKey::new("a-B_9").unwrap().unwrap().as_str(), "a-B_9");
        assert_eq!(IdempotencyKey::new("a b"), Err(BadText::NotAKey));
        assert!(IdempotencyKey::new(&"x".repeat(KEY_MAX_BYTES + 1)).is_err());
    }
}
