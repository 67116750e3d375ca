//! Reads a table of the file key by key, and goes on where something is wrong, so that all problems are found at once.
//! What nobody asked for is a problem too: an unlisted key is denied, not ignored.
//!
//! A reader returns `None` where it has reported a problem; whoever reads puts a value together only if it has all its
//! parts.
//!
//! The same readers can be *questioned* instead: then there is no file, and what is put down is which keys they ask for,
//! and what each of them takes. The schema is made of that, so there is no second list.

use std::{cell::RefCell, collections::BTreeMap};

use serde_json::Value as Json;
use toml::de::{DeTable, DeValue};

use super::{
    found::{Found, Read, json},
    problem::Problem,
};

/// What is asked for at one place of the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Asked {
    /// A value.
    Key {
        /// What it takes: a JSON schema.
        shape: Json,
        /// Whether it must be there.
        is_required: bool,
        /// What it is otherwise.
        default: Option<Json>,
    },
    /// A table.
    Section,
    /// A table that needn't be there, whatever has to be in it.
    Optional,
    /// Values with names of their own choice, which match this regular expression, and what they take: a JSON schema.
    Entries(&'static str, Json),
    /// Tables with names of their own choice, which match this regular expression.
    Named(&'static str),
}

/// By the places' paths, with `<name>` for the names that the file chooses.
pub(super) type Questions = BTreeMap<String, Asked>;

/// What the sections of one file have in common.
pub(super) struct Report<'a> {
    text: &'a str,
    problems: RefCell<Vec<Problem>>,
    /// There only if the readers are questioned.
    questions: Option<RefCell<Questions>>,
}

impl<'a> Report<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, problems: RefCell::default(), questions: None }
    }

    /// One for questions.
    pub(super) fn questions() -> Self {
        Self { text: "", problems: RefCell::default(), questions: Some(RefCell::default()) }
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

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    pub(super) fn into_questions(self) -> Questions {
        self.questions.map(RefCell::into_inner).unwrap_or_default()
    }
}

/// What stands for a name that the file chooses.
pub(super) const NAME: &str = "<name>";

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
        read: impl FnOnce(&Found<'_>) -> Read<T>,
    ) -> Option<T> {
        if self.is_questioned() {
            return self.put_down(key, read, true, None);
        }
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
        read: impl FnOnce(&Found<'_>) -> Read<T>,
    ) -> Option<Option<T>> {
        if self.is_questioned() {
            return self.put_down(key, read, false, None);
        }
        match self.take(key) {
            Some((_, value)) => self.checked(key, read(&Found::Value(value))).map(Some),
            None => Some(None),
        }
    }

    /// A value that has a default, which is what the file would say (`'30s'`, `1`, `false`) and is read like it.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        default: &'static str,
        read: impl FnOnce(&Found<'_>) -> Read<T>,
    ) -> Option<T> {
        let default = DeValue::parse(default).map_err(|error| error.to_string());
        let default = self.checked(key, default)?;
        if self.is_questioned() {
            return self.put_down(key, read, false, Some(json(default.get_ref())));
        }
        let value = self.take(key).map_or(default.get_ref(), |(_, value)| value);
        self.checked(key, read(&Found::Value(value)))
    }

    /// Whether the file has a key that wasn't asked for yet.
    pub(super) fn has(&self, key: &str) -> bool {
        self.left.contains_key(key)
    }

    fn is_questioned(&self) -> bool {
        self.report.questions.is_some()
    }

    /// Puts down what is asked for. There is no value, as if a problem had been reported.
    fn put_down<T, U>(
        &self,
        key: &str,
        read: impl FnOnce(&Found<'_>) -> Read<U>,
        is_required: bool,
        default: Option<Json>,
    ) -> Option<T> {
        let shape = Found::shape_of(read);
        self.ask(join(&self.documented, key), Asked::Key { shape, is_required, default });
        None
    }

    fn ask(&self, path: String, asked: Asked) {
        if let Some(questions) = &self.report.questions {
            questions.borrow_mut().insert(path, asked);
        }
    }

    /// A table in this one; one that isn't there reads as empty, so that what it lacks is reported key by key.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'a> {
        self.ask(join(&self.documented, key), Asked::Section);
        let entry = self.take(key);
        self.below(key, key, entry)
    }

    /// All tables in this one that nobody asked for by name: those whose names the file chooses. Only names that match the
    /// regular expression are good ones; to say so is the reader's matter.
    pub(super) fn sections(&mut self, names: &'static str) -> Vec<(&'a str, Section<'a>)> {
        if self.is_questioned() {
            self.ask(join(&self.documented, NAME), Asked::Named(names));
            return vec![("any", self.below("any", NAME, None))];
        }
        let left = std::mem::take(&mut self.left);
        left.into_iter().map(|(name, entry)| (name, self.below(name, NAME, Some(entry)))).collect()
    }

    /// All values of this one, whose keys the file chooses; each is read with its key. A table that isn't there has none.
    pub(super) fn entries<T>(
        mut self,
        read: impl Fn(&str, &Found<'_>) -> Read<T>,
    ) -> Option<BTreeMap<String, T>> {
        if self.is_questioned() {
            let shape = Found::shape_of(|found| read("any", found));
            self.ask(join(&self.documented, NAME), Asked::Entries("^.+$", shape));
            return None;
        }
        let mut all = Some(BTreeMap::new());
        for (key, (line, value)) in std::mem::take(&mut self.left) {
            match (read(key, &Found::Value(value)), &mut all) {
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

    /// Whether the file has it, for one that needn't be there.
    pub(super) fn is_there(&self) -> bool {
        self.ask(self.documented.clone(), Asked::Optional);
        self.line.is_some() || self.is_questioned()
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
