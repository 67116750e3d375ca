//! `hallpass revoke`: ends anybody's grant, as an operator, and waits until Vault has confirmed it.

use clap::Args;

use super::{
    App,
    error::Failure,
    name,
    release::{self, WaitArgs},
    text::{self, ReasonArgs, Source},
};
use crate::wire::RevokeGrantRequest;

const AFTER_HELP: &str = "\
Example:
  hallpass revoke grants/01kb0x3v9m2d4e5f6g7h8j9kab --reason 'the incident is over'

Exits with 0 when the grant has ended, 5 when that isn't confirmed yet.";

/// The arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct RevokeArgs {
    /// The grant: its id, with or without `grants/`.
    grant: String,
    /// The reason, however it is given.
    #[command(flatten)]
    reason: ReasonArgs,
    /// How to wait.
    #[command(flatten)]
    wait: WaitArgs,
}

/// Runs the verb.
///
/// # Errors
///
/// If the server refuses, or the end isn't confirmed in time.
pub async fn run(app: &App, args: RevokeArgs) -> Result<(), Failure> {
    let name = name::grant(&args.grant)?;
    let server = app.server()?;
    let source = Source::of(args.reason.reason, args.reason.reason_file);
    let reason = text::get(app, &source, "reason", &format!("revoke    {name}"))?;
    let mut client = server.grants();
    let grant = server.answer(client.revoke_grant(server.call(RevokeGrantRequest { name, reason }))).await?;
    release::finish(app, &server, grant, &args.wait).await
}
