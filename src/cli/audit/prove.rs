//! `hallpass audit prove`: one exception in a file that anybody verifies without hallpassd.

use std::{fs::OpenOptions, io::Write as _, path::PathBuf};

use clap::Args;

use super::pull;
use crate::{
    cli::{
        App,
        connect::Server,
        error::Failure,
        name::{self, Name},
    },
    ledger::tree::Hash,
    verify::{ProofFile, Proved},
    wire::{GetExceptionRequest, ListLeavesRequest, ProveInclusionRequest},
};

const AFTER_HELP: &str = "\
Examples:
  hallpass audit prove 01kb0x3v9m2d4e5f6g7h8j9kab > exception.json
  hallpass audit prove exceptions/01kb0x3v9m2d4e5f6g7h8j9kab -o exception.json";

/// The arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct ProveArgs {
    /// The exception, by its request's id.
    exception: String,
    /// The file, which must not be there yet [default: standard output].
    #[arg(short = 'o', long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// Puts the proof together.
///
/// # Errors
///
/// If the server refuses, or the last events aren't signed yet.
pub async fn run(app: &App, args: ProveArgs) -> Result<(), Failure> {
    let id = match name::any(&args.exception)? {
        Name::Request(id) | Name::Bare(id) => id,
        Name::Grant(_) => return Err(Failure::usage("an exception is named by its request's id")),
    };
    let server = app.server()?;
    let message = GetExceptionRequest { name: format!("exceptions/{id}") };
    let exception = server.answer(server.exceptions().get_exception(server.call(message))).await?;
    let places: Vec<i64> = exception.timeline.iter().map(|event| event.sequence).collect();
    let last = places.last().copied().unwrap_or_default();
    let Some(checkpoint) = pull::checkpoint(&server, last.unsigned_abs()).await? else {
        let failure = Failure::local(format!("no checkpoint is about event {last} yet"));
        return Err(failure.hint("hallpassd signs one every `[ledger] interval`; try again then"));
    };
    let mut events = Vec::with_capacity(places.len());
    for sequence in places {
        events.push(proved(&server, sequence, checkpoint.size).await?);
    }
    let file = ProofFile { v: 1, exception: id, checkpoint: checkpoint.note, events };
    let json = serde_json::to_string_pretty(&file)
        .map_err(|error| Failure::local(format!("cannot write the proof: {error}")))?;
    match args.to {
        None => app.out.raw(&format!("{json}\n")),
        Some(path) => {
            let opened = OpenOptions::new().write(true).create_new(true).open(&path);
            let written = opened.and_then(|mut file| writeln!(file, "{json}"));
            written.map_err(|error| Failure::local(format!("cannot write {}: {error}", path.display())))
        }
    }
}

async fn proved(server: &Server, sequence: i64, size: i64) -> Result<Proved, Failure> {
    let list = ListLeavesRequest { after_sequence: sequence - 1, page_size: 1 };
    let page = server.answer(server.ledger().list_leaves(server.call(list))).await?;
    let leaf = page.leaves.into_iter().next().unwrap_or_default();
    let prove = ProveInclusionRequest { sequence, size };
    let proof = server.answer(server.ledger().prove_inclusion(server.call(prove))).await?;
    let hash = |bytes: Vec<u8>| bytes.try_into().ok().map(|bytes| Hash(bytes).to_string());
    let proof = proof.hashes.into_iter().filter_map(hash).collect();
    let texts = leaf.texts.into_iter().map(|(field, text)| (field, text.into())).collect();
    Ok(Proved { leaf: leaf.line, texts, proof })
}
