//! `hallpass show`: everything about one exception: the request, the decisions, the grants, and what happened when, for
//! those who have to do with it. `hallpass audit show` prints it to be handed over.

use std::path::PathBuf;

use clap::Args;

use super::{
    App,
    connect::Server,
    error::Failure,
    evidence,
    name::{self, Name},
    table::Grid,
    time::Times,
    view,
};
use crate::wire::{AuditEvent, Exception, GetExceptionRequest, GetGrantRequest};

const AFTER_HELP: &str = "\
Examples:
  hallpass show 01kb0x3v9m2d4e5f6g7h8j9kab
  hallpass show grants/01kb0x3v9m2d4e5f6g7h8j9kab --output json
  hallpass show 01kb0x3v9m2d4e5f6g7h8j9kab --signatures evidence";

/// The arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct ShowArgs {
    /// A request, a grant or an exception; an id alone is looked for as a request first.
    name: String,
    /// Also write its signed approvals and their signatures to this directory, for `ssh-keygen -Y verify`.
    #[arg(long, value_name = "DIRECTORY")]
    signatures: Option<PathBuf>,
}

/// Runs the verb.
///
/// # Errors
///
/// If the server refuses, or there is no such thing.
pub async fn run(app: &App, args: ShowArgs) -> Result<(), Failure> {
    present(app, &args.name, args.signatures, print).await
}

/// Shows an exception, printed for people in this way, and writes its signatures to a directory if there is one.
///
/// # Errors
///
/// If the server refuses, or there is no such thing.
pub async fn present(
    app: &App,
    name: &str,
    signatures: Option<PathBuf>,
    print: impl FnOnce(&App, &Exception) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let exception = fetch(&app.server()?, name).await?;
    if app.out.is_json() {
        app.out.json(&super::output::to_json(&exception)?)?;
    } else {
        print(app, &exception)?;
    }
    match (signatures, &exception.request) {
        (Some(directory), Some(request)) => evidence::write(app, request, &directory),
        _ => Ok(()),
    }
}

/// The exception that somebody names by its own name, its request's or a grant's.
///
/// # Errors
///
/// If the server refuses, or there is no such thing.
async fn fetch(server: &Server, name: &str) -> Result<Exception, Failure> {
    match name::any(name)? {
        Name::Request(id) => exception(server, &id).await,
        Name::Grant(id) => exception_of_grant(server, &id).await,
        Name::Bare(id) => match exception(server, &id).await {
            Err(failure) if failure.is("NOT_FOUND") => {
                exception_of_grant(server, &id).await.map_err(|_| failure)
            }
            answer => answer,
        },
    }
}

async fn exception(server: &Server, id: &str) -> Result<Exception, Failure> {
    let message = GetExceptionRequest { name: format!("exceptions/{id}") };
    server.answer(server.exceptions().get_exception(server.call(message))).await
}

async fn exception_of_grant(server: &Server, id: &str) -> Result<Exception, Failure> {
    let message = GetGrantRequest { name: format!("grants/{id}") };
    let grant = server.answer(server.grants().get_grant(server.call(message))).await?;
    exception(server, name::last(&grant.request)).await
}

fn print(app: &App, exception: &Exception) -> Result<(), Failure> {
    let times = app.times();
    let request = exception.request.clone().unwrap_or_default();
    app.out.block(&view::request(&request, &times))?;
    for decision in &request.decisions {
        app.out.text("")?;
        app.out.block(&view::decision(decision, &times))?;
    }
    for grant in &exception.grants {
        app.out.text("")?;
        let proof = view::proof(grant, &exception.timeline);
        app.out.block(&view::grant(grant, &times).field("proof of the end", proof))?;
    }
    if exception.timeline.is_empty() {
        return Ok(());
    }
    app.out.text("")?;
    app.out.grid(&timeline(&times, &exception.timeline))
}

/// What happened, one line for each event, with its place in the log.
#[must_use]
pub fn timeline(times: &Times, events: &[AuditEvent]) -> Grid {
    let mut grid = Grid::new(&["SEQUENCE", "TIME", "WHAT", "WHO", "DETAIL"]);
    for event in events {
        grid.row([
            event.sequence.to_string(),
            times.short(event.recorded_at.as_ref()),
            event.kind.clone(),
            view::actor(event),
            view::detail(event, times),
        ]);
    }
    grid
}
