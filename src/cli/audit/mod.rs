//! `hallpass audit`: looking through past exceptions, and standing witness for the log that has them.

mod cells;
mod dossier;
mod filter;
mod list;
mod sheet;
mod summary;
mod witness;

use clap::{Args, Subcommand};

use super::{App, error::Failure};

const AFTER_HELP: &str = "\
Examples:
  hallpass audit list --since 2026-01-01 --target orders-ro
  hallpass audit show 01kb0x3v9m2d4e5f6g7h8j9kab
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
    /// Be a witness: keep the last checkpoint, see that the log only grows, cosign, and alarm.
    Witness(witness::WitnessArgs),
}

/// Runs the verb.
///
/// # Errors
///
/// If the server refuses, or the arguments make no sense.
pub async fn run(app: &App, args: AuditArgs) -> Result<(), Failure> {
    match args.verb {
        AuditVerb::List(args) => list::run(app, *args).await,
        AuditVerb::Show(args) => dossier::run(app, args).await,
        AuditVerb::Witness(args) => witness::run(app, args).await,
    }
}
