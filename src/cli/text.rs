//! Reasons and statements: what people write, from a flag, a file, standard input or an editor.
//!
//! Nothing is asked for without a terminal, and nothing is sent that was cut short: a text that is too long is refused.

use std::{
    env,
    fs::File,
    io::{self, BufRead, Read, Write},
    path::Path,
    process::Command,
};

use clap::Args;

use super::{App, error::Failure, escape};
use crate::access::text::PROSE_MAX_BYTES;

/// What an editor may leave behind: the text, and what was shown below it.
const EDITED_MAX_BYTES: usize = 64 * 1024;
/// The longest answer to a yes-or-no question that is read.
const ANSWER_MAX_BYTES: u64 = 1024;
/// What is below this line is not part of the text.
const SCISSORS: &str = "# ------------------------ >8 ------------------------";

/// A reason, however it is given.
#[derive(Args, Clone, Debug, Default)]
pub struct ReasonArgs {
    /// Why, in words; `-` reads standard input.
    #[arg(long, value_name = "TEXT", conflicts_with = "reason_file")]
    pub reason: Option<String>,
    /// A file that says why; `-` stands for standard input.
    #[arg(long, value_name = "FILE")]
    pub reason_file: Option<String>,
}

/// A statement, however it is given.
#[derive(Args, Clone, Debug, Default)]
pub struct StatementArgs {
    /// The statement; `-` reads standard input.
    #[arg(long, value_name = "TEXT", conflicts_with = "statement_file")]
    pub statement: Option<String>,
    /// A file that holds the statement; `-` stands for standard input.
    #[arg(long, value_name = "FILE")]
    pub statement_file: Option<String>,
}

/// Where a text comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The arguments themselves.
    Flag(String),
    /// A file.
    File(String),
    /// Standard input.
    Stdin,
    /// Nowhere: an editor has to be opened.
    Editor,
}

impl Source {
    /// Which of them the arguments name.
    #[must_use]
    pub fn of(text: Option<String>, file: Option<String>) -> Self {
        match (text, file) {
            (Some(dash), _) | (None, Some(dash)) if dash == "-" => Self::Stdin,
            (Some(text), _) => Self::Flag(text),
            (None, Some(file)) => Self::File(file),
            (None, None) => Self::Editor,
        }
    }
}

/// The text, from wherever it comes. `what` names it; `context` is shown below it in the editor.
///
/// # Errors
///
/// If it is blank, too long or can't be read, or if an editor would be needed and nobody is there.
pub fn get(app: &App, source: &Source, what: &str, context: &str) -> Result<String, Failure> {
    let text = match source {
        Source::Flag(text) => text.clone(),
        Source::Stdin => read(io::stdin().lock(), PROSE_MAX_BYTES, what)?,
        Source::File(path) => {
            let file =
                File::open(path).map_err(|error| Failure::local(format!("cannot read {path}: {error}")))?;
            read(file, PROSE_MAX_BYTES, what)?
        }
        Source::Editor if app.interactive => edit(what, context)?,
        Source::Editor => {
            let failure = Failure::usage(format!("a {what} is needed, and there is no terminal to ask on"));
            return Err(failure.hint(format!(
                "give it with `--{what} TEXT` or `--{what}-file FILE`; `-` is standard input"
            )));
        }
    };
    check(&text, what)
}

/// Asks a question that `y` or `yes` agrees to, and anything else does not.
///
/// # Errors
///
/// If the terminal can't be read.
pub fn confirm(question: &str) -> Result<bool, Failure> {
    let failed = |error: io::Error| Failure::local(format!("cannot ask: {error}"));
    write!(io::stderr().lock(), "{question} [y/N] ").map_err(failed)?;
    let mut answer = String::new();
    io::stdin().lock().take(ANSWER_MAX_BYTES).read_line(&mut answer).map_err(failed)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Reads a text, and one byte more than it may have, to notice that it is too long.
fn read(source: impl Read, max: usize, what: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    let failed = |error: io::Error| Failure::local(format!("cannot read the {what}: {error}"));
    source.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > max {
        return Err(too_long(what, max));
    }
    String::from_utf8(bytes).map_err(|_| Failure::local(format!("the {what} is not UTF-8 text")))
}

fn check(text: &str, what: &str) -> Result<String, Failure> {
    let text = text.replace("\r\n", "\n").trim().to_owned();
    if text.is_empty() {
        return Err(
            Failure::usage(format!("the {what} is blank")).hint("write why, in words others will read later")
        );
    }
    if text.len() > PROSE_MAX_BYTES {
        return Err(too_long(what, PROSE_MAX_BYTES));
    }
    Ok(text)
}

fn too_long(what: &str, max: usize) -> Failure {
    Failure::usage(format!("the {what} is longer than {} KiB", max / 1024))
        .hint("shorten it, and name a ticket or a document that has the rest")
}

fn edit(what: &str, context: &str) -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::local(format!("cannot open an editor for the {what}: {error}"));
    let directory = tempfile::tempdir().map_err(failed)?;
    let path = directory.path().join(format!("{what}.txt"));
    let note =
        format!("\n\n{SCISSORS}\n# Write the {what} above this line. Nothing written: nothing is done.\n");
    std::fs::write(&path, format!("{note}\n{}\n", escape::lines(context))).map_err(failed)?;
    open_editor(&path, what)?;
    let text = read(File::open(&path).map_err(failed)?, EDITED_MAX_BYTES, what)?;
    let text = above_scissors(&text).to_owned();
    if text.trim().is_empty() {
        return Err(Failure::local(format!("no {what} was written, so nothing was done")));
    }
    Ok(text)
}

/// The editor's name may have arguments, so a shell splits it, as git and cron have it done.
fn open_editor(path: &Path, what: &str) -> Result<(), Failure> {
    let chosen = ["VISUAL", "EDITOR"].into_iter().filter_map(|key| env::var(key).ok());
    let editor = chosen.into_iter().find(|value| !value.trim().is_empty()).unwrap_or_else(|| "vi".into());
    let status = Command::new("sh").arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(path).status();
    if status.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    Err(Failure::local(format!("the editor `{editor}` failed, so nothing was done"))
        .hint(format!("set EDITOR, or give the {what} with `--{what}` or `--{what}-file`")))
}

fn above_scissors(text: &str) -> &str {
    text.split_once(SCISSORS).map_or(text, |(above, _)| above)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_name_one_source() {
        let of =
            |text: Option<&str>, file: Option<&str>| Source::of(text.map(Into::into), file.map(Into::into));
        assert_eq!(of(Some("why"), None), Source::Flag("why".into()));
        assert_eq!(of(Some("-"), None), Source::Stdin);
        assert_eq!(of(None, Some("-")), Source::Stdin);
        assert_eq!(of(None, Some("f")), Source::File("f".into()));
        assert_eq!(of(None, None), Source::Editor);
    }

    #[test]
    fn a_text_may_have_eight_kib_and_not_a_byte_more() {
        let most = "x".repeat(PROSE_MAX_BYTES);
        assert_eq!(read(most.as_bytes(), PROSE_MAX_BYTES, "reason").unwrap().len(), PROSE_MAX_BYTES);
        let more = format!("{most}x");
        let failure = read(more.as_bytes(), PROSE_MAX_BYTES, "reason").unwrap_err();
        assert!(failure.message.contains("longer than 8 KiB"), "{failure:?}");
        assert!(check(&more, "reason").is_err());
        assert!(read([0xff_u8].as_slice(), PROSE_MAX_BYTES, "reason").is_err());
    }

    #[test]
    fn an_endless_source_is_not_read_to_its_end() {
        assert!(read(io::repeat(b'x'), PROSE_MAX_BYTES, "reason").is_err());
    }

    #[test]
    fn blank_texts_are_refused_and_lines_unified() {
        for text in ["", " \n\t "] {
            assert!(check(text, "statement").is_err());
        }
        assert_eq!(check("\none\r\ntwo \n", "statement").unwrap(), "one\ntwo");
    }

    #[test]
    fn what_was_shown_in_the_editor_is_not_part_of_the_text() {
        let edited = format!("# a heading stays\nbecause\n{SCISSORS}\nrequest  requests/r\n");
        assert_eq!(above_scissors(&edited).trim(), "# a heading stays\nbecause");
        assert_eq!(above_scissors("the line was deleted"), "the line was deleted");
    }
}
