//! `hallpass status`: who shares the records, and what the daemons have before them.

use clap::Args;

use super::{
    App,
    error::Failure,
    table::{Block, Grid, Tone},
};
use crate::wire::{Daemon, GetStatusRequest, GetStatusResponse};

const AFTER_HELP: &str = "\
Example:
  hallpass status";

/// The arguments of `status`: none.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct StatusArgs {}

/// Runs `status`.
///
/// # Errors
///
/// If the server refuses.
pub async fn status(app: &App, StatusArgs {}: StatusArgs) -> Result<(), Failure> {
    let server = app.server()?;
    let mut client = server.daemons();
    let status = server.answer(client.get_status(server.call(GetStatusRequest {}))).await?;
    app.out.message(&status, |status| block(app, status))?;
    if app.out.is_json() || status.daemons.is_empty() {
        return Ok(());
    }
    let mut grid = Grid::new(&["DAEMON", "STATE", "VERSION", "SINCE", "SEEN", "CLOCK", "DUTIES"]);
    for daemon in &status.daemons {
        grid.row([
            daemon.name.clone(),
            state(daemon).to_owned(),
            daemon.version.clone(),
            app.times().short(daemon.started_at.as_ref()),
            app.times().short(daemon.seen_at.as_ref()),
            clock(daemon),
            daemon.duties.to_string(),
        ]);
    }
    app.out.text("")?;
    app.out.grid(&grid)
}

const fn state(daemon: &Daemon) -> &'static str {
    match (daemon.gone, daemon.here) {
        (true, _) => "gone",
        (false, true) => "asked",
        (false, false) => "there",
    }
}

fn clock(daemon: &Daemon) -> String {
    let ahead = daemon.clock_ahead.unwrap_or_default();
    let millis = ahead.seconds.saturating_mul(1000) + i64::from(ahead.nanos / 1_000_000);
    format!("{millis:+} ms")
}

fn block(app: &App, status: &GetStatusResponse) -> Block {
    let records = if status.daemons.is_empty() { "in a file, for one daemon" } else { "on a server" };
    let unsigned = status.events.saturating_sub(status.events_signed);
    let block = Block::new()
        .field("version", &status.version)
        .field("records", records)
        .field("log", format!("{} events, {unsigned} of them not signed yet", status.events))
        .at("cosigned", status.cosigned_at.as_ref(), &app.times())
        .field("ending", status.grants_ending.to_string())
        .field("closing", status.grants_closing.to_string())
        .toned("overdue", status.grants_overdue.to_string(), tone(status.grants_overdue > 0))
        .field("lapsing", status.requests_lapsing.to_string());
    if status.problem.is_empty() { block } else { block.toned("problem", &status.problem, tone(true)) }
}

const fn tone(is_bad: bool) -> Tone {
    if is_bad { Tone::Bad } else { Tone::Plain }
}
