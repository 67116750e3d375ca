//! `hallpass audit`: looking through past exceptions; and the whole log, with proofs out of it, for those who take nobody's
//! word for it.

mod cells;
mod dossier;
mod export;
mod filter;
mod list;
mod prove;
mod pull;
pub mod report;
mod sheet;
mod summary;
mod verify;
mod witness;

use clap::{Args, Subcommand};

use super::{App, error::Failure};

const AFTER_HELP: &str = "\
Examples:
  hallpass audit list --since 2026-01-01 --target orders-ro
  hallpass audit show 01kb0x3v9m2d4e5f6g7h8j9kab
  hallpass audit report --month 2026-10
  hallpass audit export november
  hallpass audit verify november --log-key hallpass+1a2b3c4d+AYd… --checkpoint october/checkpoint
  hallpass audit prove 01kb0x3v9m2d4e5f6g7h8j9kab -o exception.json
  hallpass audit verify exception.json --log-key hallpass+1a2b3c4d+AYd…
  hallpass audit witness --key witness.key --state hallpass.state --every 1m";

/// The arguments.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP, arg_required_else_help = true)]
pub struct AuditArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: AuditVerb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    /// List past exceptions, or count them.
    List(Box<list::ListArgs>),
    /// Print the dossier of one exception, to be handed over.
    Show(dossier::DossierArgs),
    /// Write the report of a month as one HTML page, fit to print.
    Report(report::ReportArgs),
    /// Write the whole log to a directory: leaves, texts and the last checkpoint.
    Export(export::ExportArgs),
    /// Write one exception with the proof that it is in the log.
    Prove(prove::ProveArgs),
    /// Verify an export, a proof, or the log as hallpassd gives it.
    Verify(verify::VerifyArgs),
    /// Be a witness: keep the last checkpoint, see that the log only grows, cosign, and alarm.
    Witness(witness::WitnessArgs),
}

/// Runs the verb.
///
/// # Errors
///
/// If the server refuses, the arguments make no sense, a file can't be read or written, or what was verified doesn't hold.
pub async fn run(app: &App, args: AuditArgs) -> Result<(), Failure> {
    match args.verb {
        AuditVerb::List(args) => list::run(app, *args).await,
        AuditVerb::Show(args) => dossier::run(app, args).await,
        AuditVerb::Report(args) => report::run(app, args).await,
        AuditVerb::Export(args) => export::run(app, args).await,
        AuditVerb::Prove(args) => prove::run(app, args).await,
        AuditVerb::Verify(args) => verify::run(app, args).await,
        AuditVerb::Witness(args) => witness::run(app, args).await,
    }
}
