//! The texts of an export, which stand in a file of their own.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    ops::Range,
    path::Path,
};

use super::{
    batch::Batch,
    engine::Engine,
    export::{LINE_MAX_BYTES, READ_BYTES, TEXTS, of_file},
};

/// The texts' lines, in the order of the leaves.
#[derive(Debug, Default)]
pub(super) struct Beside {
    file: Option<BufReader<File>>,
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
    pub(super) fn join(&mut self, batch: &mut Batch, engine: &mut Engine) -> io::Result<()> {
        let before = self.leaves;
        self.leaves += batch.len() as u64;
        loop {
            if self.next.is_none() {
                self.next = self.read(engine)?;
            }
            match self.next.take_if(|(sequence, _)| *sequence <= self.leaves) {
                Some((sequence, texts)) => {
                    let number = usize::try_from(sequence - before - 1).unwrap_or(usize::MAX);
                    batch.put_texts(number, self.line.get(texts).unwrap_or_default());
                }
                None => return Ok(()),
            }
        }
    }

    /// The next line that is one. Those that aren't, or are out of order, are told of.
    fn read(&mut self, engine: &mut Engine) -> io::Result<Option<(u64, Range<usize>)>> {
        let Some(file) = &mut self.file else { return Ok(None) };
        loop {
            self.line.clear();
            if file.take(LINE_MAX_BYTES as u64).read_line(&mut self.line)? == 0 {
                return Ok(None);
            }
            match parse(&self.line) {
                Some((sequence, texts)) if sequence > self.last => {
                    self.last = sequence;
                    return Ok(Some((sequence, texts)));
                }
                _ => engine.add(of_file(TEXTS, "has a line that isn't one, or is out of order")),
            }
        }
    }

    /// Looks whether there are more than leaves.
    pub(super) fn finish(&mut self, engine: &mut Engine) -> io::Result<()> {
        if self.next.is_some() || self.read(engine)?.is_some() {
            engine.add(of_file(TEXTS, "has texts of events that aren't there"));
        }
        Ok(())
    }
}

fn parse(line: &str) -> Option<(u64, Range<usize>)> {
    let rest = line.strip_suffix("}\n")?.strip_prefix("{\"sequence\":")?;
    let (sequence, texts) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
    let texts = texts.strip_prefix(",\"texts\":")?;
    let end = line.len() - "}\n".len();
    Some((sequence.parse().ok()?, end - texts.len()..end))
}
