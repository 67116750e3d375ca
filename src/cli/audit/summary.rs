//! `hallpass audit list --summary`: exceptions in numbers.

use std::time::Duration;

use super::cells::{self, Cell, text};
use crate::{
    cli::{
        App,
        connect::Server,
        error::Failure,
        name,
        output::{Mode, to_json},
        table::{Block, Grid},
        time,
    },
    wire::{
        ExceptionTotals, NamedTotals, RequestFilter, RequestState, SummarizeExceptionsRequest,
        SummarizeExceptionsResponse,
    },
};

/// How long the answer may take: longer than the server takes at most.
const TIMEOUT: Duration = Duration::from_secs(90);

const HEAD: [&str; 7] =
    ["kind", "name", "count", "granted", "planned_seconds", "held_seconds", "deciding_median_seconds"];

/// Counts what matches and prints the numbers.
///
/// # Errors
///
/// If the server refuses, or the numbers can't be printed.
pub async fn run(app: &App, filter: RequestFilter) -> Result<(), Failure> {
    let server = Server::new(&app.options, app.options.timeout.unwrap_or(TIMEOUT))?;
    let message = SummarizeExceptionsRequest { filter: Some(filter) };
    let totals = server.answer(server.exceptions().summarize_exceptions(server.call(message))).await?;
    match app.out.mode {
        Mode::Json => app.out.json(&to_json(&totals)?),
        Mode::Jsonl => app.out.json_line(&to_json(&totals)?),
        Mode::Csv => app.out.raw(&cells::lines(rows(&totals))?),
        Mode::Table => print(app, &totals),
    }
}

fn print(app: &App, totals: &SummarizeExceptionsResponse) -> Result<(), Failure> {
    let all = totals.all.unwrap_or_default();
    let mut block = Block::new()
        .field("exceptions", all.count.to_string())
        .field("granted", all.granted.to_string())
        .field("granted hours", hours(all.planned.as_ref()))
        .field("held hours", hours(all.held.as_ref()))
        .field("median time to decide", time::wire_length(all.deciding_median.as_ref()).unwrap_or_default());
    for state in &totals.states {
        block = block.field(&word(state.state()).to_ascii_lowercase(), state.count.to_string());
    }
    app.out.block(&block)?;
    for (title, named) in [("TARGET", &totals.targets), ("GROUP", &totals.groups)] {
        app.out.text("")?;
        app.out.grid(&grid(title, named))?;
    }
    Ok(())
}

fn grid(title: &'static str, named: &[NamedTotals]) -> Grid {
    let mut grid =
        Grid::new(&[title, "EXCEPTIONS", "GRANTED", "GRANTED HOURS", "HELD HOURS", "MEDIAN TO DECIDE"]);
    for one in named {
        let totals = one.totals.unwrap_or_default();
        grid.row([
            name::last(&one.name).to_owned(),
            totals.count.to_string(),
            totals.granted.to_string(),
            hours(totals.planned.as_ref()),
            hours(totals.held.as_ref()),
            time::wire_length(totals.deciding_median.as_ref()).unwrap_or_default(),
        ]);
    }
    grid
}

fn rows(totals: &SummarizeExceptionsResponse) -> Vec<Vec<Cell>> {
    let mut rows = vec![HEAD.map(text).to_vec(), row("all", "", &totals.all.unwrap_or_default())];
    for state in &totals.states {
        let counted = ExceptionTotals { count: state.count, ..ExceptionTotals::default() };
        let mut cells = row("state", word(state.state()), &counted);
        // Of a state nothing else is counted.
        cells.truncate(3);
        cells.resize(HEAD.len(), Cell::Number(None));
        rows.push(cells);
    }
    for (kind, named) in [("target", &totals.targets), ("group", &totals.groups)] {
        rows.extend(named.iter().map(|one| row(kind, &one.name, &one.totals.unwrap_or_default())));
    }
    rows
}

fn row(kind: &str, name: &str, totals: &ExceptionTotals) -> Vec<Cell> {
    let seconds = |length: Option<prost_types::Duration>| Cell::Number(length.map(|length| length.seconds));
    vec![
        text(kind),
        text(name::last(name)),
        Cell::Number(Some(totals.count)),
        Cell::Number(Some(totals.granted)),
        seconds(totals.planned),
        seconds(totals.held),
        seconds(totals.deciding_median),
    ]
}

fn word(state: RequestState) -> &'static str {
    state.as_str_name().strip_prefix("REQUEST_STATE_").unwrap_or_default()
}

/// Hours with two digits behind the point.
fn hours(length: Option<&prost_types::Duration>) -> String {
    let seconds = length.map_or(0, |length| length.seconds);
    let hundredths = (seconds * 100 + 1800) / 3600;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_rounded_to_hundredths() {
        let hours = |seconds| hours(Some(&prost_types::Duration { seconds, nanos: 0 }));
        assert_eq!(
            [hours(0), hours(3600), hours(5400), hours(18), hours(17)],
            ["0.00", "1.00", "1.50", "0.01", "0.00"]
        );
    }

    #[test]
    fn every_row_has_all_columns() {
        let totals = SummarizeExceptionsResponse {
            states: vec![crate::wire::StateCount { state: RequestState::Denied.into(), count: 1 }],
            targets: vec![NamedTotals { name: "targets/=x".into(), totals: None }],
            ..SummarizeExceptionsResponse::default()
        };
        assert!(rows(&totals).iter().all(|row| row.len() == HEAD.len()));
        assert!(cells::lines(rows(&totals)).unwrap().contains("target,'=x,0,0,,,\r\n"));
    }
}
