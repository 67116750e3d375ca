//! One line of CSV (RFC 4180), safe to open in a spreadsheet.
//!
//! Spreadsheets take a cell that begins with one of a few characters for a formula, which can call programs and send what
//! stands elsewhere to anybody (<https://owasp.org/www-community/attacks/CSV_Injection>). What people wrote is put behind
//! an apostrophe there, which spreadsheets don't show. So it is wherever a cell could begin: some split lines at semicolons
//! and tabs, whatever the quotes say. What is a number here is one, and is left alone.

use csv::{QuoteStyle, Terminator, WriterBuilder};

use crate::cli::error::Failure;

/// What a cell holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// What people wrote, or might have.
    Text(String),
    /// A number, which may be negative; nothing, if it isn't known.
    Number(Option<i64>),
}

/// A text.
pub fn text(text: impl Into<String>) -> Cell {
    Cell::Text(text.into())
}

/// The cells as lines: one for each row.
///
/// # Errors
///
/// Never, but that the writer says so.
pub fn lines<R: IntoIterator<Item = Cell>>(rows: impl IntoIterator<Item = R>) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::local(format!("cannot write CSV: {error}"));
    let mut writer = WriterBuilder::new()
        .quote_style(QuoteStyle::Necessary)
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new());
    for row in rows {
        writer.write_record(row.into_iter().map(render)).map_err(|error| failed(&error))?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(&error))?;
    String::from_utf8(bytes).map_err(|error| failed(&error))
}

fn render(cell: Cell) -> String {
    match cell {
        Cell::Text(text) => harmless(&text),
        Cell::Number(number) => number.map(|number| number.to_string()).unwrap_or_default(),
    }
}

/// The text with an apostrophe before whatever a spreadsheet would compute.
fn harmless(text: &str) -> String {
    let pieces = text.split_inclusive([';', '\t', '\r', '\n']);
    // A tab or a line's end at the very beginning is one of those characters by itself.
    let first = if text.starts_with(['\t', '\r', '\n']) { "'" } else { "" };
    pieces.fold(first.to_owned(), |mut safe, piece| {
        if piece.trim_start_matches(is_passed_over).starts_with(is_dangerous) {
            safe.push('\'');
        }
        safe.push_str(piece);
        safe
    })
}

/// What programs may skip before they look at a cell: spaces of all kinds, marks that aren't seen, and quotes.
fn is_passed_over(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '"')
}

/// What a formula begins with, also in full width, and the minus sign.
fn is_dangerous(c: char) -> bool {
    matches!(c, '=' | '+' | '-' | '@' | '\u{ff1d}' | '\u{ff0b}' | '\u{ff0d}' | '\u{ff20}' | '\u{2212}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_spreadsheet_would_compute_is_put_behind_an_apostrophe() {
        let cases = [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("  =1", "'  =1"),
            ("\u{a0}=1", "'\u{a0}=1"),
            ("\u{feff}=1", "'\u{feff}=1"),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            ("\u{ff0b}1", "'\u{ff0b}1"),
            ("\u{ff0d}1", "'\u{ff0d}1"),
            ("\u{ff20}a", "'\u{ff20}a"),
            ("\u{2212}1", "'\u{2212}1"),
            ("\tx", "'\tx"),
            ("\rx", "'\rx"),
            ("a;=1", "a;'=1"),
            ("a\t=1", "a\t'=1"),
            ("a\n=1", "a\n'=1"),
            ("a; \"=1", "a;' \"=1"),
            ("a = b", "a = b"),
            ("why - because", "why - because"),
            ("", ""),
        ];
        for (written, safe) in cases {
            assert_eq!(harmless(written), safe, "{written:?}");
        }
    }

    #[test]
    fn lines_are_as_the_rfc_says() {
        let row = [text("a"), text("b,c"), text("say \"no\""), text("two\nlines"), Cell::Number(Some(-5))];
        assert_eq!(lines([row]).unwrap(), "a,\"b,c\",\"say \"\"no\"\"\",\"two\nlines\",-5\r\n");
        assert_eq!(lines([[Cell::Number(None), text("")]]).unwrap(), ",\r\n");
    }

    proptest! {
        /// However a reader splits the line, no cell begins with what is computed.
        #[test]
        fn no_cell_begins_a_formula(written in "[=+@;,\t\n\r \"'a-c＝－\u{feff}-]{0,12}") {
            let line = lines([[text("x"), text(&written)]]).unwrap();
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
            let cell = reader.records().next().unwrap().unwrap()[1].to_owned();
            prop_assert_eq!(cell.replace('\'', ""), written.replace('\'', ""));
            for piece in cell.split([';', '\t', '\r', '\n']) {
                prop_assert!(!piece.trim_start_matches(is_passed_over).starts_with(is_dangerous), "{:?}", cell);
            }
        }
    }
}
