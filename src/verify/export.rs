//! An export: a directory with the leaves, the texts and the last checkpoint. `docs/ledger.md` says what is in the files.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read},
    path::{Path, PathBuf},
    sync::mpsc::sync_channel,
    thread,
};

use super::{
    batch::Batch,
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

/// How much is read at a time. Threads that wake each other cost more than what doesn't fit into a processor's caches.
const READ_BYTES: usize = 1024 * 1024;
/// How many parts wait to be looked at, at most.
const WAITING_MAX: usize = 8;
/// The longest line. A leaf has a few KiB at most, and its texts some more.
const LINE_MAX_BYTES: usize = 1024 * 1024;
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
    let unusable = |name: &str| unusable(directory, name);
    let checkpoint = checkpoint(&directory.join(CHECKPOINT)).map_err(unusable(CHECKPOINT))?;
    let named = checkpoint.as_deref().map(|bytes| (CHECKPOINT, bytes));
    let mut engine = Engine::new(trust, named).map_err(unusable(LEAVES))?;
    let reader = Reader::open(directory)?;
    let (to, parts) = sync_channel(WAITING_MAX);
    // It ends when there is no more, or nobody takes it any more.
    let read = move || drop(reader.map(|part| to.send(part)).find(Result::is_err));
    let reading = thread::Builder::new().name("reading".into()).spawn(read).map_err(unusable(LEAVES))?;
    for part in parts {
        let Part { batch, faults } = part?;
        for fault in faults {
            engine.add(fault);
        }
        engine.take(batch);
    }
    let ended = reading.join().map_err(|_| io::Error::other("the reading ended early"));
    ended.map_err(unusable(LEAVES))?;
    engine.finish(&directory.display().to_string()).map_err(unusable(LEAVES))
}

/// Some leaves with their texts, and what is wrong with the files there.
struct Part {
    batch: Batch,
    faults: Vec<Fault>,
}

/// Reads both files side by side.
struct Reader {
    directory: PathBuf,
    leaves: Lines,
    texts: Texts,
    sequence: u64,
    is_over: bool,
}

impl Reader {
    fn open(directory: &Path) -> Result<Self, Unusable> {
        let leaves = File::open(directory.join(LEAVES)).map_err(unusable(directory, LEAVES))?;
        let leaves = Lines { file: leaves, rest: Vec::new(), is_over: false };
        let texts = Texts::open(&directory.join(TEXTS)).map_err(unusable(directory, TEXTS))?;
        Ok(Self { directory: directory.to_owned(), leaves, texts, sequence: 0, is_over: false })
    }

    fn part(&mut self) -> Result<Part, Unusable> {
        let mut faults = Vec::new();
        let of_texts = unusable(&self.directory, TEXTS);
        let Some(mut batch) = self.leaves.next().map_err(unusable(&self.directory, LEAVES))? else {
            self.is_over = true;
            if !self.leaves.rest.is_empty() {
                faults.push(of_file(LEAVES, "ends in the middle of a line"));
            }
            self.texts.finish(&mut faults).map_err(of_texts)?;
            return Ok(Part { batch: Batch::default(), faults });
        };
        self.texts.join(self.sequence, &mut batch, &mut faults).map_err(of_texts)?;
        self.sequence += batch.len() as u64;
        Ok(Part { batch, faults })
    }
}

impl Iterator for Reader {
    type Item = Result<Part, Unusable>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.is_over).then(|| {
            let part = self.part();
            self.is_over |= part.is_err();
            part
        })
    }
}

fn unusable(directory: &Path, name: &str) -> impl FnOnce(io::Error) -> Unusable + use<> {
    let path = directory.join(name);
    move |source| Unusable { path, source }
}

/// The line of a leaf's texts, which are a JSON object.
#[must_use]
pub fn texts_line(sequence: u64, texts: &str) -> String {
    format!("{{\"sequence\":{sequence},\"texts\":{texts}}}\n")
}

fn of_file(name: &str, problem: &str) -> Fault {
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

/// The texts' lines, in the order of the leaves.
struct Texts {
    file: Option<BufReader<File>>,
    line: String,
    /// The next leaf that has some, and they.
    next: Option<(u64, String)>,
    last: u64,
    /// Whether it was told that a line is none: once, however many there are.
    is_told: bool,
}

impl Texts {
    /// An export whose texts were taken out is one without this file.
    fn open(path: &Path) -> io::Result<Self> {
        let file = match File::open(path) {
            Ok(file) => Some(BufReader::with_capacity(READ_BYTES, file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Self { file, line: String::new(), next: None, last: 0, is_told: false })
    }

    /// Puts the texts beside the leaves of a batch, behind so many others.
    fn join(&mut self, before: u64, batch: &mut Batch, faults: &mut Vec<Fault>) -> io::Result<()> {
        let until = before + batch.len() as u64;
        loop {
            if self.next.is_none() {
                self.next = self.read(faults)?;
            }
            match self.next.take_if(|(sequence, _)| *sequence <= until) {
                Some((sequence, texts)) => {
                    let number = usize::try_from(sequence - before - 1).unwrap_or(usize::MAX);
                    batch.put_texts(number, texts);
                }
                None => return Ok(()),
            }
        }
    }

    /// The next line that is one. Those that aren't, or are out of order, are told of.
    fn read(&mut self, faults: &mut Vec<Fault>) -> io::Result<Option<(u64, String)>> {
        let Some(file) = &mut self.file else { return Ok(None) };
        loop {
            self.line.clear();
            if file.take(LINE_MAX_BYTES as u64).read_line(&mut self.line)? == 0 {
                return Ok(None);
            }
            match parse(&self.line) {
                Some((sequence, texts)) if sequence > self.last => {
                    self.last = sequence;
                    return Ok(Some((sequence, texts.to_owned())));
                }
                _ if self.is_told => {}
                _ => {
                    self.is_told = true;
                    faults.push(of_file(TEXTS, "has a line that isn't one, or is out of order"));
                }
            }
        }
    }

    fn finish(&mut self, faults: &mut Vec<Fault>) -> io::Result<()> {
        if self.next.is_some() || self.read(faults)?.is_some() {
            faults.push(of_file(TEXTS, "has texts of events that aren't there"));
        }
        Ok(())
    }
}

fn parse(line: &str) -> Option<(u64, &str)> {
    let rest = line.strip_suffix("}\n")?.strip_prefix("{\"sequence\":")?;
    let (sequence, texts) = rest.split_once(",\"texts\":")?;
    Some((sequence.parse().ok()?, texts))
}
