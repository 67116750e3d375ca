//! An export: a directory with the leaves, the texts and the last checkpoint. `docs/ledger.md` says what is in the files.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{
    batch::Batch,
    beside::Beside,
    engine::{Done, Engine},
    report::Fault,
    trust::Trust,
};

/// The leaves, one on each line.
pub const LEAVES: &str = "leaves.jsonl";
/// The texts beside them, one line for each leaf that has some.
pub const TEXTS: &str = "texts.jsonl";
/// The last checkpoint, with what witnesses said of it.
pub const CHECKPOINT: &str = "checkpoint";

/// How much is read at a time: enough that what each batch costs doesn't tell, and no more than a processor keeps at hand.
pub(super) const READ_BYTES: usize = 512 * 1024;
/// The longest line. A leaf has a few KiB at most, and its texts some more.
pub(super) const LINE_MAX_BYTES: usize = 1024 * 1024;
/// The longest checkpoint: what a note may have.
const CHECKPOINT_MAX_BYTES: u64 = 1_000_000;

/// Why an export can't be read at all.
#[derive(Debug, thiserror::Error)]
#[error("{} can't be read", .path.display())]
pub struct Unusable {
    path: PathBuf,
    source: io::Error,
}

/// Verifies an export.
///
/// # Errors
///
/// If its files can't be read. What is wrong with what they say is in the report.
pub fn directory(directory: &Path, trust: Trust) -> Result<Done, Unusable> {
    let place = |name: &str| directory.join(name);
    let unusable = |name: &str| {
        let path = place(name);
        move |source| Unusable { path, source }
    };
    let checkpoint = checkpoint(&place(CHECKPOINT)).map_err(unusable(CHECKPOINT))?;
    let named = checkpoint.as_deref().map(|bytes| (CHECKPOINT, bytes));
    let leaves = File::open(place(LEAVES)).map_err(unusable(LEAVES))?;
    let mut texts = Beside::open(&place(TEXTS)).map_err(unusable(TEXTS))?;
    let mut engine = Engine::new(trust, named).map_err(unusable(LEAVES))?;
    let mut lines = Lines { file: leaves, rest: Vec::new(), is_over: false };
    while let Some(mut batch) = lines.next().map_err(unusable(LEAVES))? {
        texts.join(&mut batch, &mut engine).map_err(unusable(TEXTS))?;
        engine.take(batch);
    }
    if !lines.rest.is_empty() {
        engine.add(of_file(LEAVES, "ends in the middle of a line"));
    }
    texts.finish(&mut engine).map_err(unusable(TEXTS))?;
    engine.finish(&directory.display().to_string()).map_err(unusable(LEAVES))
}

/// The line of a leaf's texts, which are a JSON object.
#[must_use]
pub fn texts_line(sequence: u64, texts: &str) -> String {
    format!("{{\"sequence\":{sequence},\"texts\":{texts}}}\n")
}

pub(super) fn of_file(name: &str, problem: &str) -> Fault {
    Fault { sequence: None, about: name.to_owned(), problem: problem.to_owned() }
}

/// A log of which nothing was signed yet has no checkpoint.
fn checkpoint(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(CHECKPOINT_MAX_BYTES + 1).read_to_end(&mut bytes).map(|_| Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file's lines, some at a time.
struct Lines {
    file: File,
    /// What was read behind the last line's end.
    rest: Vec<u8>,
    is_over: bool,
}

impl Lines {
    fn next(&mut self) -> io::Result<Option<Batch>> {
        let mut bytes = std::mem::take(&mut self.rest);
        while !self.is_over {
            let begun = bytes.len();
            bytes.reserve_exact(READ_BYTES);
            let read = (&self.file).take(READ_BYTES as u64).read_to_end(&mut bytes)?;
            self.is_over = read == 0;
            let end = bytes.get(begun..).and_then(|new| memchr::memrchr(b'\n', new));
            if let Some(end) = end {
                self.rest = bytes.split_off(begun + end + 1);
                return Ok(Some(Batch::of_lines(bytes)));
            }
            if bytes.len() > LINE_MAX_BYTES {
                return Err(io::Error::other("a line is longer than any leaf"));
            }
        }
        self.rest = bytes;
        Ok(None)
    }
}
