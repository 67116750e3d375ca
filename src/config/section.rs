//! Reads a table of the file key by key, and goes on where something is wrong, so that all problems are found at once.
//! What nobody asked for is a problem too: an unlisted key is denied, not ignored.
//!
//! A reader returns `None` where it has reported a problem; whoever reads puts a value together only if it has all its
//! parts.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use toml::de::{DeTable, DeValue};

use super::problem::Problem;

/// What a reader of one value says: the value, or what is wrong with it and what to write instead.
pub(super) type Read<T> = Result<T, String>;

/// What the sections of one file have in common.
pub(super) struct Report<'a> {
    text: &'a str,
    problems: RefCell<Vec<Problem>>,
    keys: RefCell<BTreeSet<String>>,
}

impl<'a> Report<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, problems: RefCell::default(), keys: RefCell::default() }
    }

    /// The line and the column of a byte, counted from 1; the column in characters.
    pub(super) fn position(&self, byte: usize) -> (usize, usize) {
        let before = self.text.get(..byte).unwrap_or(self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }

    pub(super) fn add(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(super) fn into_parts(self) -> (Vec<Problem>, BTreeSet<String>) {
        (self.problems.into_inner(), self.keys.into_inner())
    }
}

/// A value, and the line of its key.
type Entry<'a> = (usize, &'a DeValue<'a>);

/// A table of the file, or one that isn't there and reads as empty.
pub(super) struct Section<'a> {
    report: &'a Report<'a>,
    /// Its path, as problems name it.
    path: String,
    /// Its path, as the documentation names it: with `<name>` for a name that the file chooses.
    documented: String,
    line: Option<usize>,
    left: BTreeMap<&'a str, Entry<'a>>,
    taken: BTreeMap<&'static str, Option<usize>>,
}

impl<'a> Section<'a> {
    /// The file as a whole.
    pub(super) fn root(report: &'a Report<'a>, table: &'a DeTable<'a>) -> Self {
        Self::new(report, String::new(), String::new(), None, Some(table))
    }

    fn new(
        report: &'a Report<'a>,
        path: String,
        documented: String,
        line: Option<usize>,
        table: Option<&'a DeTable<'a>>,
    ) -> Self {
        let entry = |(key, value): (&'a toml::Spanned<_>, &'a toml::Spanned<_>)| {
            let key: &'a toml::Spanned<toml::de::DeString<'a>> = key;
            (key.get_ref().as_ref(), (report.position(key.span().start).0, value.get_ref()))
        };
        let left = table.into_iter().flatten().map(entry).collect();
        Self { report, path, documented, line, left, taken: BTreeMap::new() }
    }

    /// A value that must be there. `write` completes the sentence "is missing; write …".
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        write: &str,
        read: impl FnOnce(&DeValue<'_>) -> Read<T>,
    ) -> Option<T> {
        let found = self.optional(key, read)?;
        if found.is_none() {
            self.problem(key, format!("is missing; write {write}"));
        }
        found
    }

    /// A value that may be left out: `Some(None)` then.
    #[expect(clippy::option_option, reason = "the outer one says whether a problem was reported")]
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'_>) -> Read<T>,
    ) -> Option<Option<T>> {
        match self.take(key) {
            Some((_, value)) => self.checked(key, read(value)).map(Some),
            None => Some(None),
        }
    }

    /// A value that has a default.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&DeValue<'_>) -> Read<T>,
    ) -> Option<T> {
        self.optional(key, read).map(|found| found.unwrap_or(default))
    }

    /// A table in this one; one that isn't there reads as empty, so that what it lacks is reported key by key.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'a> {
        let entry = self.take(key);
        self.below(key, key, entry)
    }

    /// All tables in this one that nobody asked for by name: those whose names the file chooses.
    pub(super) fn sections(&mut self) -> Vec<(&'a str, Section<'a>)> {
        let left = std::mem::take(&mut self.left);
        left.into_iter().map(|(name, entry)| (name, self.below(name, "<name>", Some(entry)))).collect()
    }

    /// All values of this one, whose keys the file chooses; each is read with its key. A table that isn't there has none.
    pub(super) fn entries<T>(
        mut self,
        read: impl Fn(&str, &DeValue<'_>) -> Read<T>,
    ) -> Option<BTreeMap<String, T>> {
        self.report.keys.borrow_mut().insert(join(&self.documented, "<name>"));
        let mut all = Some(BTreeMap::new());
        for (key, (line, value)) in std::mem::take(&mut self.left) {
            match (read(key, value), &mut all) {
                (Ok(read), Some(all)) => drop(all.insert(key.to_owned(), read)),
                (Ok(_), None) => {}
                (Err(problem), _) => {
                    let path = join(&self.path, &quoted(key));
                    self.report.add(Problem { path, line: Some(line), problem });
                    all = None;
                }
            }
        }
        all
    }

    /// Whether the file has it.
    pub(super) const fn is_there(&self) -> bool {
        self.line.is_some()
    }

    fn below(&self, name: &str, documented: &str, entry: Option<Entry<'a>>) -> Section<'a> {
        let path = join(&self.path, &quoted(name));
        let documented = join(&self.documented, documented);
        let line = entry.map(|(line, _)| line);
        let table = entry.and_then(|(_, value)| value.as_table());
        if entry.is_some() && table.is_none() {
            let problem = format!("must be a table; write [{path}] above its keys");
            self.report.add(Problem { path: path.clone(), line, problem });
        }
        Section::new(self.report, path, documented, line, table)
    }

    /// Reports a problem of this section as a whole.
    pub(super) fn own_problem(&self, problem: impl Into<String>) {
        self.report.add(Problem { path: self.path.clone(), line: self.line, problem: problem.into() });
    }

    /// Reports a problem of a key, at its line, or at the section's if the key isn't there.
    pub(super) fn problem(&self, key: &str, problem: impl Into<String>) {
        let line = self.taken.get(key).copied().flatten().or(self.line);
        self.report.add(Problem { path: join(&self.path, key), line, problem: problem.into() });
    }

    /// Reports what went wrong with a key, if anything did.
    pub(super) fn checked<T>(&self, key: &str, result: Result<T, impl ToString>) -> Option<T> {
        result.map_err(|problem| self.problem(key, problem.to_string())).ok()
    }

    /// Reports what is wrong with this section's name, if anything is.
    pub(super) fn own_checked<T>(&self, result: Read<T>) -> Option<T> {
        result.map_err(|problem| self.own_problem(problem)).ok()
    }

    /// Reports every key that was not asked for.
    pub(super) fn finish(self) {
        let known = self.taken.keys().copied().collect::<Vec<_>>().join(", ");
        for (key, (line, _)) in self.left {
            let problem = format!("is not a key that is known here; there are: {known}");
            self.report.add(Problem { path: join(&self.path, &quoted(key)), line: Some(line), problem });
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Entry<'a>> {
        self.report.keys.borrow_mut().insert(join(&self.documented, key));
        let entry = self.left.remove(key);
        self.taken.insert(key, entry.map(|(line, _)| line));
        entry
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// A key as TOML writes it: quoted and escaped where it isn't a bare one, so that it can't play tricks on a terminal.
fn quoted(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { format!("{key:?}") }
}
