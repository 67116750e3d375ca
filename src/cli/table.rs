//! Tables and blocks of labelled values, for people.
//!
//! A table has aligned columns and no borders, which would take the room that ids and reasons need. On a terminal it is
//! no wider than that; elsewhere each row is one line.
//! What goes in is escaped here; a value that is empty has no line.

use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, presets};
use prost_types::Timestamp;

use super::{escape, output::Dress, time::Times};

/// How many characters of a long text a table shows; `hallpass show` has the rest.
const CELL_MAX_CHARS: usize = 60;

/// The space between columns.
const GAP: u16 = 2;
/// The narrowest last column of a table whose other columns aren't wrapped.
const LAST_MIN_CHARS: usize = 10;

/// How a value is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    #[default]
    Plain,
    /// Good: access is allowed or ended as it should.
    Good,
    /// Somebody has to act, or something is under way.
    Open,
    /// Bad: refused or failed.
    Bad,
}

impl Tone {
    /// The tone of a state's word.
    #[must_use]
    pub fn of_state(state: &str) -> Self {
        match state {
            "APPROVED" | "ACTIVE" | "CLAIMED" => Self::Good,
            "PENDING" | "ISSUING" | "REVOKING" => Self::Open,
            "DENIED" | "FAILED" => Self::Bad,
            _ => Self::Plain,
        }
    }

    fn colour(self) -> Option<Color> {
        match self {
            Self::Plain => None,
            Self::Good => Some(Color::Green),
            Self::Open => Some(Color::Yellow),
            Self::Bad => Some(Color::Red),
        }
    }

    /// The SGR sequence (ECMA-48) that begins the colour.
    fn sequence(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\u{1b}[32m",
            Self::Open => "\u{1b}[33m",
            Self::Bad => "\u{1b}[31m",
        }
    }
}

/// Labelled values, one below the other.
#[derive(Clone, Debug, Default)]
pub struct Block(Vec<(String, String, Tone)>);

impl Block {
    /// One without lines.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value, unless it is empty.
    #[must_use]
    pub fn field(self, label: &str, value: impl Into<String>) -> Self {
        self.toned(label, value, Tone::Plain)
    }

    /// Adds a state's word in its colour.
    #[must_use]
    pub fn state(self, label: &str, word: &str) -> Self {
        self.toned(label, word, Tone::of_state(word))
    }

    /// Adds a time, unless it isn't set.
    #[must_use]
    pub fn at(self, label: &str, at: Option<&Timestamp>, times: &Times) -> Self {
        self.field(label, times.show(at).unwrap_or_default())
    }

    /// Adds a value in a colour, unless it is empty.
    #[must_use]
    pub fn toned(mut self, label: &str, value: impl Into<String>, tone: Tone) -> Self {
        let value = value.into();
        if !value.is_empty() {
            self.0.push((label.to_owned(), value, tone));
        }
        self
    }

    /// The labels with their values.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str, Tone)> {
        self.0.iter().map(|(label, value, tone)| (label.as_str(), value.as_str(), *tone))
    }

    /// The lines. A value of several lines goes on below itself, so that it can't pass for a label.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let width = self.0.iter().map(|(label, ..)| label.chars().count()).max().unwrap_or_default();
        let mut text = String::new();
        for (label, value, tone) in &self.0 {
            let value = escape::lines(value).replace('\n', &format!("\n{:width$}  ", ""));
            let dressed = colour && *tone != Tone::Plain;
            let value = if dressed { format!("{}{value}\u{1b}[0m", tone.sequence()) } else { value };
            text.push_str(format!("{:width$}  {value}", escape::line(label)).trim_end());
            text.push('\n');
        }
        text
    }
}

/// A table.
#[derive(Clone, Debug)]
pub struct Grid {
    head: Vec<&'static str>,
    rows: Vec<Vec<(String, Tone)>>,
    extra: bool,
}

impl Grid {
    /// One with these columns and no rows yet.
    #[must_use]
    pub fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new(), extra: false }
    }

    /// The last column is shown where there is room for it; another verb has what stands there.
    #[must_use]
    pub fn with_extra(mut self, title: &'static str) -> Self {
        self.head.push(title);
        self.extra = true;
        self
    }

    /// Adds a row. A cell that is a state's word gets its colour.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().map(|cell| {
            let tone = Tone::of_state(&cell);
            (cell, tone)
        });
        self.rows.push(cells.collect());
    }

    /// The columns' titles.
    #[must_use]
    pub fn head(&self) -> &[&'static str] {
        &self.head
    }

    /// The rows.
    #[must_use]
    pub fn rows(&self) -> &[Vec<(String, Tone)>] {
        &self.rows
    }

    /// The lines; without rows just a word that says so.
    #[must_use]
    pub fn render(&self, dress: Dress) -> String {
        if self.rows.is_empty() && dress.terminal {
            return "none\n".into();
        }
        let mut table = self.table(dress.colour);
        if dress.terminal {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            let width = table.width();
            self.fit(&mut table, width.map(usize::from));
        } else {
            table.force_no_tty().set_content_arrangement(ContentArrangement::Disabled);
        }
        table.trim_fmt() + "\n"
    }
}

impl Grid {
    fn table(&self, colour: bool) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(self.head.iter().map(|title| {
            let title = Cell::new(*title);
            if colour { title.add_attribute(Attribute::Bold) } else { title }
        }));
        table.add_rows(self.rows.iter().map(|row| row.iter().map(|(text, tone)| cell(text, *tone, colour))));
        for column in table.column_iter_mut() {
            column.set_padding((0, GAP));
        }
        table
    }

    /// What names a row is copied from the first column, so it stays in one piece; so do the others if the last one, which
    /// has the long texts, is left enough to be read, or isn't shown.
    fn fit(&self, table: &mut Table, width: Option<usize>) {
        let Some(width) = width else { return };
        let last = self.head.len().saturating_sub(1);
        let widths: Vec<usize> = (0..=last).map(|column| self.width(column) + usize::from(GAP)).collect();
        let taken: usize = widths.iter().take(last).sum();
        let hidden = self.extra && taken + LAST_MIN_CHARS > width;
        let whole = if taken + if hidden { 0 } else { LAST_MIN_CHARS } <= width { last } else { 1 };
        for (index, column) in table.column_iter_mut().enumerate() {
            if index < whole {
                column.set_constraint(ColumnConstraint::ContentWidth);
            } else if index == last && hidden {
                column.set_constraint(ColumnConstraint::Hidden);
            }
        }
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|(text, _)| text.chars().count());
        cells.chain(self.head.get(column).map(|title| title.len())).max().unwrap_or_default()
    }
}

fn cell(text: &str, tone: Tone, colour: bool) -> Cell {
    let cell = Cell::new(escape::line(text));
    match tone.colour().filter(|_| colour) {
        Some(tone) => cell.fg(tone),
        None => cell,
    }
}

/// The first line of a text, cut to fit a table's cell.
#[must_use]
pub fn brief(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    let cut: String = line.chars().take(CELL_MAX_CHARS).collect();
    if cut.len() < text.trim().len() { format!("{cut}…") } else { cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Dress {
        Dress::default()
    }

    #[test]
    fn elsewhere_than_on_a_terminal_columns_are_bare() {
        let mut grid = Grid::new(&["REQUEST", "STATE"]);
        grid.row(["a".into(), "PENDING".into()]);
        grid.row(["longer-name".into(), "DENIED".into()]);
        assert_eq!(grid.render(plain()), "REQUEST      STATE\na            PENDING\nlonger-name  DENIED\n");
        assert_eq!(Grid::new(&["REQUEST", "STATE"]).render(plain()), "REQUEST  STATE\n");
    }

    #[test]
    fn on_a_terminal_the_id_stays_in_one_piece_and_an_extra_column_gives_way() {
        let id = "01kb0x3v9m2d4e5f6g7h8j9kab";
        let mut grid = Grid::new(&["REQUEST", "WHO"]).with_extra("REASON");
        grid.row([id.into(), "alice".into(), "long ".repeat(20)]);
        let shown = |width: u16| {
            let mut table = grid.table(false);
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
            grid.fit(&mut table, Some(width.into()));
            table.trim_fmt()
        };
        let wide = shown(60);
        assert!(wide.lines().count() > 2 && wide.contains("REASON"), "{wide}");
        assert!(wide.lines().any(|line| line.starts_with(id)), "{wide}");
        for narrow in [shown(36), shown(30)] {
            assert!(!narrow.contains("REASON") && narrow.contains(id), "{narrow}");
        }
    }

    #[test]
    fn a_cell_cant_command_the_terminal() {
        let mut grid = Grid::new(&["REASON"]);
        grid.row(["\u{1b}]0;owned\u{7}\nPENDING".into()]);
        let text = grid.render(Dress { terminal: true, colour: true });
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert!(text.contains("\\u{1b}]0;owned\\u{7}\\nPENDING"), "{text}");
    }

    #[test]
    fn a_block_aligns_and_leaves_out_what_is_empty() {
        let block =
            Block::new().field("request", "requests/r").field("ticket", "").field("reason", "one\ntwo");
        assert_eq!(block.render(true), "request  requests/r\nreason   one\n         two\n");
        let state = Block::new().state("state", "DENIED");
        assert_eq!(state.render(true), "state  \u{1b}[31mDENIED\u{1b}[0m\n");
        assert_eq!(state.render(false), "state  DENIED\n");
    }

    #[test]
    fn a_value_of_several_lines_cant_pass_for_a_label() {
        let block = Block::new().field("reason", "x\nstate    APPROVED\r\u{1b}[1A").field("state", "PENDING");
        let text = block.render(false);
        assert!(text.lines().all(|line| !line.starts_with("state    APPROVED")), "{text}");
        assert!(text.contains("\\u{d}\\u{1b}[1A"));
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(brief("short"), "short");
        assert_eq!(brief("\n first\nsecond"), "first…");
        assert_eq!(brief(&"x".repeat(70)), format!("{}…", "x".repeat(60)));
        assert_eq!(brief(""), "");
    }
}
