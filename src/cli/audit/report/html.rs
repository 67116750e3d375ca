//! Text into HTML, and nothing out of it.

use std::fmt::Write as _;

use crate::cli::{
    escape,
    table::{Block, Grid, Tone},
};

/// A text in which nothing is a tag, an entity or an attribute's end, and no character is hidden.
pub(super) fn text(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in escape::lines(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// Labelled values.
pub(super) fn block(block: &Block) -> String {
    let mut page = "<dl>\n".to_owned();
    for (label, value, tone) in block.fields() {
        // Writing to a string can't fail.
        let _ = writeln!(page, "<dt>{}</dt><dd{}>{}</dd>", text(label), class(tone), text(value));
    }
    page + "</dl>\n"
}

/// A table.
pub(super) fn grid(grid: &Grid) -> String {
    let mut page = "<table>\n<tr>".to_owned();
    for title in grid.head() {
        let _ = write!(page, "<th>{}</th>", text(title));
    }
    page.push_str("</tr>\n");
    for row in grid.rows() {
        page.push_str("<tr>");
        for (cell, tone) in row {
            let _ = write!(page, "<td{}>{}</td>", class(*tone), text(cell));
        }
        page.push_str("</tr>\n");
    }
    page + "</table>\n"
}

fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "",
        Tone::Good => " class=\"good\"",
        Tone::Open => " class=\"open\"",
        Tone::Bad => " class=\"bad\"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_was_written_becomes_a_part_of_the_page() {
        let evil = "<script>alert('x')</script> & \"q\" \u{202e}x\u{1b}[31m";
        let shown = text(evil);
        for forbidden in ['<', '>', '"', '\'', '\u{202e}', '\u{1b}'] {
            assert!(!shown.contains(forbidden), "{shown}");
        }
        let page = block(&Block::new().field("reason <", evil))
            + &{
                let mut grid = Grid::new(&["A"]);
                grid.row([evil.to_owned()]);
                self::grid(&grid)
            };
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"), "{page}");
        assert!(page.contains("<dt>reason &lt;</dt>"), "{page}");
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(text("two\nlines"), "two\nlines");
    }
}
