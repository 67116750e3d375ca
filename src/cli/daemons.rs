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
    let mut grid = Grid::new(&["DAEMON", "STATE", "VERSION", "SINCE", "SEEN", "CLOCK", "AT"]);
    for daemon in &status.daemons {
        grid.row([
            daemon.name.clone(),
            state(daemon).to_owned(),
            daemon.version.clone(),
            app.times().short(daemon.started_at.as_ref()),
            app.times().short(daemon.seen_at.as_ref()),
            clock(daemon),
            held(daemon),
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

/// What it is at: chores by their names, and how many there are of all else.
fn held(daemon: &Daemon) -> String {
    let (chores, others): (Vec<_>, Vec<_>) =
        daemon.held.iter().filter_map(|duty| duty.split_once(' ')).partition(|(kind, _)| *kind == "chore");
    let mut said: Vec<String> = chores.into_iter().map(|(_, name)| name.to_owned()).collect();
    let unnamed = daemon.duties.saturating_sub(i64::try_from(daemon.held.len()).unwrap_or_default());
    for kind in ["grant", "path", "target"] {
        let count = others.iter().filter(|(other, _)| *other == kind).count();
        if count > 0 {
            said.push(format!("{count} {kind}{}", if count == 1 { "" } else { "s" }));
        }
    }
    if unnamed > 0 {
        said.push(format!("{unnamed} more"));
    }
    said.join(", ")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_daemon_is_at_is_named_or_counted() {
        let held_of = |held: &[&str], duties| {
            let held = held.iter().map(|duty| (*duty).to_owned()).collect();
            super::held(&Daemon { held, duties, ..Daemon::default() })
        };
        assert_eq!(held_of(&[], 0), "");
        let some = ["chore checkpoints", "grant a", "grant b", "path database/creds/x", "chore lapses"];
        assert_eq!(held_of(&some, 5), "checkpoints, lapses, 2 grants, 1 path");
        assert_eq!(held_of(&some, 105), "checkpoints, lapses, 2 grants, 1 path, 100 more");
    }

    #[test]
    fn clocks_are_shown_with_their_sign() {
        let of = |seconds, nanos| {
            clock(&Daemon {
                clock_ahead: Some(prost_types::Duration { seconds, nanos }),
                ..Daemon::default()
            })
        };
        assert_eq!(of(0, 20_000_000), "+20 ms");
        assert_eq!(of(-1, -500_000_000), "-1500 ms");
        assert_eq!(of(0, 0), "+0 ms");
    }
}
