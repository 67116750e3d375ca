//! `hallpass release`: ends one's own grant early, and waits until Vault has confirmed it.

use std::time::Duration;

use clap::Args;

use super::{
    App,
    connect::Server,
    error::Failure,
    name::{self, Name},
    time, view, wait,
};
use crate::wire::{GetRequestRequest, Grant, ReleaseGrantRequest};

const AFTER_HELP: &str = "\
Examples:
  hallpass release grants/01kb0x3v9m2d4e5f6g7h8j9kab
  hallpass release requests/01kb0x3v9m2d4e5f6g7h8j9kab --no-wait

Exits with 0 when the grant has ended, 5 when that isn't confirmed yet.";

/// How to wait for the end of a grant.
#[derive(Args, Clone, Debug)]
pub struct WaitArgs {
    /// Don't wait until the end is confirmed.
    #[arg(long)]
    no_wait: bool,
    /// How long to wait until the end is confirmed.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = time::parse_length)]
    wait_timeout: Duration,
}

/// The arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct ReleaseArgs {
    /// The grant, or the request that it was claimed with; an id alone may be either.
    #[arg(value_name = "GRANT|REQUEST")]
    grant: String,
    /// How to wait.
    #[command(flatten)]
    wait: WaitArgs,
}

/// Runs the verb.
///
/// # Errors
///
/// If the server refuses, or the end isn't confirmed in time.
pub async fn run(app: &App, args: ReleaseArgs) -> Result<(), Failure> {
    let named = name::any(&args.grant)?;
    let server = app.server()?;
    let grant = match named {
        Name::Grant(id) => release(&server, format!("grants/{id}")).await?,
        Name::Request(id) => release(&server, grant_of(&server, format!("requests/{id}")).await?).await?,
        Name::Bare(id) => match release(&server, format!("grants/{id}")).await {
            Err(failure) if failure.is("NOT_FOUND") => {
                release(&server, grant_of(&server, format!("requests/{id}")).await?).await?
            }
            answer => answer?,
        },
    };
    finish(app, &server, grant, &args.wait).await
}

async fn release(server: &Server, name: String) -> Result<Grant, Failure> {
    let message = ReleaseGrantRequest { name, wrapping_opened: false };
    server.answer(server.grants().release_grant(server.call(message))).await
}

async fn grant_of(server: &Server, name: String) -> Result<String, Failure> {
    let request =
        server.answer(server.requests().get_request(server.call(GetRequestRequest { name }))).await?;
    if request.grant.is_empty() {
        let failure = Failure::local(format!("{} was never claimed: there is no grant to end", request.name));
        return Err(failure.hint(format!("`hallpass withdraw {}` takes the request back", request.name)));
    }
    Ok(request.grant)
}

/// Waits for the end, if that is wanted, and prints how the grant stands then.
///
/// # Errors
///
/// If the end isn't confirmed in time. What is known is printed all the same.
pub async fn finish(app: &App, server: &Server, grant: Grant, args: &WaitArgs) -> Result<(), Failure> {
    if args.no_wait || wait::has_ended(&grant) {
        return app.out.message(&grant, |grant| view::grant(grant, &app.times()));
    }
    let state = view::grant_state(&grant);
    app.out.note(&format!("{} is {state}; waiting until Vault confirms that it has ended", grant.name));
    let mut latest = grant;
    let outcome = wait::for_end(app, server, &mut latest, args.wait_timeout).await;
    app.out.message(&latest, |grant| view::grant(grant, &app.times()))?;
    outcome
}
