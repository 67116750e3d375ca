//! `hallpass audit`: what auditors do with the log, so that they needn't take anybody's word for it.

use clap::{Args, Subcommand};

use super::{App, error::Failure, witness};

const AFTER_HELP: &str = "\
Example:
  hallpass audit witness --key witness.key --state hallpass.state --every 1m";

/// The arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP, arg_required_else_help = true)]
pub struct AuditArgs {
    /// What to do.
    #[command(subcommand)]
    verb: AuditVerb,
}

/// What to do with the log.
#[derive(Clone, Debug, Subcommand)]
pub enum AuditVerb {
    /// Be a witness: keep the last checkpoint, see that the log only grows, cosign, and alarm.
    Witness(witness::WitnessArgs),
}

/// Runs the verb.
///
/// # Errors
///
/// As the verb below it.
pub async fn run(app: &App, args: AuditArgs) -> Result<(), Failure> {
    match args.verb {
        AuditVerb::Witness(args) => witness::run(app, args).await,
    }
}
