//! The texts of an export, which stand in a file of their own: read beside the leaves, where these are followed.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    ops::Range,
    path::Path,
};

use super::{
    batch::Batch,
    engine::Faults,
    export::{LINE_MAX_BYTES, READ_BYTES, TEXTS, of_file},
};

/// The texts' lines, in the order of the leaves.
#[derive(Debug, Default)]
pub(super) struct Beside {
    file: Option<BufReader<File>>,
    /// Why no more of it is read.
    error: Option<io::Error>,
    line: String,
    /// The next leaf that has some, and where they are in the line.
    next: Option<(u64, Range<usize>)>,
    last: u64,
    /// How many leaves came.
    leaves: u64,
}

impl Beside {
    /// An export whose texts were taken out is one without this file.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        match File::open(path) {
            Ok(file) => {
                Ok(Self { file: Some(BufReader::with_capacity(READ_BYTES, file)), ..Self::default() })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Puts the texts beside the leaves of the next batch.
    pub(super) fn join(&mut self, batch: &mut Batch<String>, faults: &mut Faults) {
        let before = self.leaves;
        self.leaves += batch.len() as u64;
        loop {
            if self.next.is_none() {
                self.next = self.read(faults);
            }
            match self.next.take_if(|(sequence, _)| *sequence <= self.leaves) {
                Some((sequence, texts)) => {
                    let number = usize::try_from(sequence - before - 1).unwrap_or(usize::MAX);
                    batch.put_texts(number, self.line.get(texts).unwrap_or_default());
                }
                None => return,
            }
        }
    }

    /// The next line that is one. Those that aren't, or are out of order, are told of.
    fn read(&mut self, faults: &mut Faults) -> Option<(u64, Range<usize>)> {
        let file = self.file.as_mut().filter(|_| self.error.is_none())?;
        loop {
            self.line.clear();
            match file.take(LINE_MAX_BYTES as u64).read_line(&mut self.line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => {
                    self.error = Some(error);
                    return None;
                }
            }
            match parse(&self.line) {
                Some((sequence, texts)) if sequence > self.last => {
                    self.last = sequence;
                    return Some((sequence, texts));
                }
                _ => faults.add(of_file(TEXTS, "has a line that isn't one, or is out of order")),
            }
        }
    }

    /// Looks whether there are more than leaves.
    pub(super) fn finish(&mut self, faults: &mut Faults) {
        if self.next.is_some() || self.read(faults).is_some() {
            faults.add(of_file(TEXTS, "has texts of events that aren't there"));
        }
    }

    /// Why they couldn't be read to their end, if they couldn't.
    pub(super) fn into_error(self) -> Option<io::Error> {
        self.error
    }
}

fn parse(line: &str) -> Option<(u64, Range<usize>)> {
    let rest = line.strip_suffix("}\n")?.strip_prefix("{\"sequence\":")?;
    let (sequence, texts) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
    let texts = texts.strip_prefix(",\"texts\":")?;
    let end = line.len() - "}\n".len();
    Some((sequence.parse().ok()?, end - texts.len()..end))
}
