//! `hallpass withdraw`: takes one's own request back, before it is claimed.

use clap::Args;

use super::{App, error::Failure, name, view};
use crate::wire::WithdrawRequestRequest;

const AFTER_HELP: &str = "\
Example:
  hallpass withdraw 01kb0x3v9m2d4e5f6g7h8j9kab";

/// The arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct WithdrawArgs {
    /// The request: its id, with or without `requests/`.
    request: String,
}

/// Runs the verb.
///
/// # Errors
///
/// If the server refuses.
pub async fn run(app: &App, args: WithdrawArgs) -> Result<(), Failure> {
    let name = name::request(&args.request)?;
    let server = app.server()?;
    let mut client = server.requests();
    let call = client.withdraw_request(server.call(WithdrawRequestRequest { name }));
    app.out.message(&server.answer(call).await?, |request| view::request(request, &app.times()))
}
