//! `hallpass watch`: follows what happens, one line per event, until it is interrupted.

use clap::Args;

use super::{App, error::Failure, escape, name, output::to_json, view, wait::Events};
use crate::wire::{AuditEvent, WatchRequestsResponse};

const AFTER_HELP: &str = "\
Examples:
  hallpass watch
  hallpass watch 01kb0x3v9m2d4e5f6g7h8j9kab
  hallpass watch --after 4711 --output json";

/// The arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct WatchArgs {
    /// Only this request: its id, with or without `requests/`.
    request: Option<String>,
    /// Start after the event with this sequence number, instead of with the present.
    #[arg(long, value_name = "SEQUENCE", value_parser = clap::value_parser!(i64).range(0..))]
    after: Option<i64>,
}

/// Runs the verb. It ends with an error only.
///
/// # Errors
///
/// If the server refuses, or can't be reached in the first place.
pub async fn run(app: &App, args: WatchArgs) -> Result<(), Failure> {
    let name = args.request.map(|request| name::request(&request)).transpose()?.unwrap_or_default();
    let server = app.server()?;
    let mut events = Events::new(app, &server, &name, args.after, false);
    let mut last = args.after;
    loop {
        let message = events.next().await.map_err(|failure| go_on(failure, last))?;
        if message.sequence > 0 {
            last = Some(message.sequence);
        }
        if app.out.is_json() {
            app.out.json_line(&to_json(&message)?)?;
        } else {
            app.out.text(&line(app, &message))?;
        }
    }
}

/// Says where to go on, so that nothing is missed.
fn go_on(failure: Failure, last: Option<i64>) -> Failure {
    let Some(sequence) = last else { return failure };
    let hint = failure.hint.clone().map(|hint| format!("{hint}; ")).unwrap_or_default();
    failure.hint(format!("{hint}go on with `--after {sequence}`"))
}

/// One line, whatever the texts in it hold.
fn line(app: &App, message: &WatchRequestsResponse) -> String {
    let words = match &message.event {
        Some(event) => event_words(app, event),
        None => present_words(message),
    };
    escape::line(&words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("  "))
}

fn event_words(app: &App, event: &AuditEvent) -> Vec<String> {
    let times = app.times();
    let subject = if event.grant.is_empty() { &event.request } else { &event.grant };
    vec![
        times.short(event.recorded_at.as_ref()),
        event.sequence.to_string(),
        event.kind.clone(),
        view::actor(event),
        subject.clone(),
        event.target.clone(),
        view::detail(event, &times),
    ]
}

fn present_words(message: &WatchRequestsResponse) -> Vec<String> {
    let mut words = vec!["now".to_owned()];
    if let Some(request) = &message.request {
        words.extend([request.name.clone(), view::request_state(request), request.target.clone()]);
    }
    if let Some(grant) = &message.grant {
        words.extend([grant.name.clone(), view::grant_state(grant)]);
    }
    words
}
