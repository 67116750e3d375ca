//! Text that others wrote, made safe for a terminal, and values made safe for a shell.
//!
//! A reason may hold escape sequences that repaint the screen an approver reads, or marks that turn the order of the
//! letters around. They are shown as what they are; nothing is dropped silently.

use std::fmt::Write;

use crate::access::text::is_obeyed;

/// Escapes what a terminal would obey; line feeds and tabs stay.
#[must_use]
pub fn lines(text: &str) -> String {
    escape(text, |c| c == '\n' || c == '\t')
}

/// Escapes what a terminal would obey, line feeds and tabs included.
#[must_use]
pub fn line(text: &str) -> String {
    escape(text, |_| false)
}

/// Whether a terminal would show the text as it is.
#[must_use]
pub fn is_plain(text: &str) -> bool {
    !text.chars().any(is_obeyed)
}

/// A shell's word that stands for exactly this text: nothing inside single quotes means anything to `sh`, `bash` or
/// `zsh`, and a quote itself is closed, escaped and opened again.
#[must_use]
pub fn shell(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

fn escape(text: &str, keep: impl Fn(char) -> bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if !is_obeyed(c) || keep(c) => safe.push(c),
            '\n' => safe.push_str("\\n"),
            '\t' => safe.push_str("\\t"),
            c => {
                // Writing to a string can't fail.
                let _ = write!(safe, "\\u{{{:x}}}", u32::from(c));
            }
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn control_characters_are_shown_not_obeyed() {
        assert_eq!(lines("\u{1b}[2Jhello\r\n\tworld"), "\\u{1b}[2Jhello\\u{d}\n\tworld");
        assert_eq!(line("a\nb\tc"), "a\\nb\\tc");
        assert_eq!(line("\u{9b}31m\u{7f}\u{8}\0"), "\\u{9b}31m\\u{7f}\\u{8}\\u{0}");
        assert_eq!(line("\u{202e}evil\u{2066}"), "\\u{202e}evil\\u{2066}");
        assert_eq!(line("naïve – 日本 🔑"), "naïve – 日本 🔑");
    }

    #[test]
    fn nothing_obeyed_is_left() {
        for c in '\0'..='\u{ffff}' {
            assert!(is_plain(&line(&c.to_string())), "{c:?}");
        }
    }

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        let evil = [
            "plain",
            "",
            "it's",
            "'",
            "''",
            "$(id)",
            "`id`",
            "a b\tc",
            "two\nlines\n",
            "\\",
            "\\'",
            "\"$HOME\"",
            "!!",
            "-n",
            "; rm -rf /",
            "#x",
            "~",
            "*",
            "\u{1b}[0m",
            "日本",
            "a'$(id)'b",
        ];
        for value in evil {
            let script = format!("export X={}; printf %s \"$X\"; printf .", shell(value));
            let output = Command::new("sh").arg("-c").arg(&script).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{value}."), "{script}");
            assert!(output.stderr.is_empty(), "{script}");
        }
    }
}
