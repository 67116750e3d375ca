//! `hallpass audit`: the whole log, and proofs out of it, for those who take nobody's word for it.

mod export;
mod prove;
mod pull;
mod verify;

use clap::{Args, Subcommand};

use super::{App, error::Failure};

const AFTER_HELP: &str = "\
Examples:
  hallpass audit export november
  hallpass audit verify november --log-key hallpass+1a2b3c4d+AYd… --checkpoint october/checkpoint
  hallpass audit prove 01kb0x3v9m2d4e5f6g7h8j9kab -o exception.json
  hallpass audit verify exception.json --log-key hallpass+1a2b3c4d+AYd…";

/// The arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct AuditArgs {
    #[command(subcommand)]
    what: What,
}

/// What of the log.
#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Write the whole log to a directory: leaves, texts and the last checkpoint.
    Export(export::ExportArgs),
    /// Write one exception with the proof that it is in the log.
    Prove(prove::ProveArgs),
    /// Verify an export, a proof, or the log as hallpassd gives it.
    Verify(verify::VerifyArgs),
}

/// Runs the verb.
///
/// # Errors
///
/// If the server refuses, a file can't be read or written, or what was verified doesn't hold.
pub async fn run(app: &App, args: AuditArgs) -> Result<(), Failure> {
    match args.what {
        What::Export(args) => export::run(app, args).await,
        What::Prove(args) => prove::run(app, args).await,
        What::Verify(args) => verify::run(app, args).await,
    }
}
