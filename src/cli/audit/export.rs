//! `hallpass audit export`: the whole log as three files, however long it is.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::pull::{self, Leaves};
use crate::{
    cli::{App, error::Failure},
    verify::{CHECKPOINT, LEAVES, TEXTS, texts_line},
    wire::Leaf,
};

const AFTER_HELP: &str = "\
Example:
  hallpass audit export november";

/// The arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct ExportArgs {
    /// The directory, which is made; one that is there has to be empty.
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
}

/// Writes what the last checkpoint is about, or all of it if nothing was signed yet.
///
/// # Errors
///
/// If the server refuses, or the files can't be written.
pub async fn run(app: &App, args: ExportArgs) -> Result<(), Failure> {
    let server = app.server()?;
    let checkpoint = pull::checkpoint(&server, 0).await?;
    let mut files = Files::new(&args.directory)?;
    let size = checkpoint.as_ref().map(|checkpoint| checkpoint.size.unsigned_abs());
    let bar = bar(app, size);
    let mut leaves = Leaves::new(&server, size);
    let mut written = 0;
    while let Some(page) = leaves.next().await? {
        for leaf in &page {
            written += 1;
            files.write(written, leaf)?;
        }
        bar.set_position(written);
    }
    bar.finish_and_clear();
    files.finish(checkpoint.as_ref().map(|checkpoint| checkpoint.note.as_str()))?;
    let shown = args.directory.display();
    if app.out.is_json() {
        let directory = shown.to_string();
        let signed = checkpoint.is_some();
        return app
            .out
            .json(&serde_json::json!({ "directory": directory, "events": written, "signed": signed }));
    }
    if checkpoint.is_none() {
        app.out.note("nothing was signed yet, so there is no checkpoint with it");
    }
    app.out.text(&format!("{shown}: {written} events"))
}

/// People see how far it is; programs and files don't.
fn bar(app: &App, size: Option<u64>) -> ProgressBar {
    let target = if app.interactive && !app.out.is_json() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} events, {eta} left");
    let bar = ProgressBar::with_draw_target(size, target);
    match style {
        Ok(style) if size.is_some() => bar.with_style(style),
        _ => bar,
    }
}

struct Files<'a> {
    directory: &'a Path,
    leaves: BufWriter<File>,
    texts: BufWriter<File>,
}

impl<'a> Files<'a> {
    fn new(directory: &'a Path) -> Result<Self, Failure> {
        fs::create_dir_all(directory).map_err(|error| not_written(directory, &error))?;
        let mut there = fs::read_dir(directory).map_err(|error| not_written(directory, &error))?;
        if there.next().is_some() {
            let failure = Failure::local(format!("{} isn't empty", directory.display()));
            return Err(failure.hint("name a directory that isn't there yet: nothing is written over"));
        }
        let (leaves, texts) = (new_file(directory, LEAVES)?, new_file(directory, TEXTS)?);
        Ok(Self { directory, leaves: BufWriter::new(leaves), texts: BufWriter::new(texts) })
    }

    fn write(&mut self, sequence: u64, leaf: &Leaf) -> Result<(), Failure> {
        let written = writeln!(self.leaves, "{}", leaf.line).and_then(|()| match pull::texts(leaf) {
            Some(texts) => self.texts.write_all(texts_line(sequence, &texts).as_bytes()),
            None => Ok(()),
        });
        written.map_err(|error| not_written(self.directory, &error))
    }

    /// On the disk before it is said to be there. The checkpoint is written last: with it the export is whole.
    fn finish(self, note: Option<&str>) -> Result<(), Failure> {
        let directory = self.directory;
        let synced = |file: BufWriter<File>| file.into_inner().map_err(io::Error::from)?.sync_all();
        let written = synced(self.leaves).and_then(|()| synced(self.texts));
        written.map_err(|error| not_written(directory, &error))?;
        let Some(note) = note else { return Ok(()) };
        let mut file = new_file(directory, CHECKPOINT)?;
        let written = file.write_all(note.as_bytes()).and_then(|()| file.sync_all());
        written.map_err(|error| not_written(directory, &error))
    }
}

fn new_file(directory: &Path, name: &str) -> Result<File, Failure> {
    let path = directory.join(name);
    OpenOptions::new().write(true).create_new(true).open(&path).map_err(|error| not_written(&path, &error))
}

fn not_written(path: &Path, error: &io::Error) -> Failure {
    Failure::local(format!("cannot write {}: {error}", path.display()))
        .hint("look at the disk, or name another directory")
}
