//! What is wrong with a configuration, all of it at once. Values are never repeated here, because a secret may have
//! been written where it doesn't belong; names of files and keys are.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, for example `targets.orders-ro.window_max`; empty where the file as a whole is meant.
    pub path: String,
    /// The line, counted from 1, where there is one.
    pub line: Option<usize>,
    /// What is wrong and what to write instead.
    pub problem: String,
}

/// Everything that is wrong with a file, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    file: PathBuf,
    list: Vec<Problem>,
}

impl Problems {
    pub(super) fn new(file: &Path, mut list: Vec<Problem>) -> Self {
        let whole_file_first = |problem: &Problem| !problem.path.is_empty();
        // What has no line is what isn't there; it comes last.
        list.sort_by_cached_key(|problem| {
            (whole_file_first(problem), problem.line.unwrap_or(usize::MAX), problem.path.clone())
        });
        list.dedup();
        Self { file: file.to_owned(), list }
    }

    /// A line for each, as compilers write them: `FILE:LINE: KEY: PROBLEM`.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.list.iter().map(|Problem { path, line, problem }| {
            let line = line.map(|line| format!("{line}:")).unwrap_or_default();
            let colon = if path.is_empty() { "" } else { ": " };
            format!("{}:{line} {path}{colon}{problem}", self.file.display())
        })
    }

    /// The problems, in the file's order.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.list
    }
}

/// A line for each problem, and one with their number.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.lines() {
            writeln!(f, "{line}")?;
        }
        match self.list.len() {
            1 => f.write_str("1 problem"),
            many => write!(f, "{many} problems"),
        }
    }
}

impl std::error::Error for Problems {}
