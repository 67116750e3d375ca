//! `hallpass list`: requests or grants, the newest first, page after page up to a limit. What is past is looked through with
//! `hallpass audit list`.

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use super::{
    App,
    connect::Server,
    error::Failure,
    name,
    output::to_json_list,
    pages::pages,
    table::{Grid, brief},
    time::{self, Times},
    view,
};
use crate::wire::{
    Grant, GrantFilter, GrantState, ListGrantsRequest, ListRequestsRequest, Request, RequestFilter,
    RequestState,
};

/// More than anybody reads, and little enough to hold in memory.
const LIMIT_MAX: i64 = 100_000;

const AFTER_HELP: &str = "\
Examples:
  hallpass list --state pending
  hallpass list grants --state active,revoking
  hallpass list --overdue
  hallpass list --since 2026-11-01 --until 2026-12-01 --limit 1000 --output json

States of requests: pending, approved, denied, withdrawn, lapsed, claimed.
States of grants: issuing, active, revoking, revoked, failed.";

/// What to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Requests.
    #[default]
    Requests,
    /// Grants.
    Grants,
}

/// The arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct ListArgs {
    /// What to list [default: requests, or grants with `--overdue`].
    #[arg(value_enum)]
    what: Option<What>,
    /// Only grants that should be over and aren't, with what is in the way.
    #[arg(long)]
    overdue: bool,
    /// Only these states, separated by commas.
    #[arg(long, value_name = "STATES", value_delimiter = ',')]
    state: Vec<String>,
    /// Only this target.
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Only this person's, by name or subject: the requester's, or the grant's holder's.
    #[arg(long, value_name = "PERSON", visible_alias = "holder")]
    requester: Option<String>,
    /// Only what was submitted then or later: a time, or a date, which stands for its first instant.
    #[arg(long, value_name = "TIME", value_parser = time::parse_instant)]
    since: Option<DateTime<Utc>>,
    /// Only what was submitted before: a time, or a date, which stands for its first instant.
    #[arg(long, value_name = "TIME", value_parser = time::parse_instant)]
    until: Option<DateTime<Utc>>,
    /// How many at most.
    #[arg(long, value_name = "COUNT", default_value = "50", value_parser = clap::value_parser!(u32).range(1..=LIMIT_MAX))]
    limit: u32,
}

impl ListArgs {
    fn what(&self) -> Result<What, Failure> {
        match self.what {
            None if self.overdue => Ok(What::Grants),
            Some(What::Requests) if self.overdue => {
                let failure = Failure::usage("only grants can be overdue");
                Err(failure.hint("`hallpass list --overdue` lists them"))
            }
            what => Ok(what.unwrap_or_default()),
        }
    }
}

/// Runs the verb.
///
/// # Errors
///
/// If the server refuses, or the filter makes no sense.
pub async fn run(app: &App, args: ListArgs) -> Result<(), Failure> {
    let limit = args.limit;
    match args.what()? {
        What::Requests => {
            let filter = request_filter(args)?;
            let (items, more) = requests(&app.server()?, &filter, limit).await?;
            print(app, "requests", to_json_list(&items), || request_grid(app, &items), more)
        }
        What::Grants => {
            let filter = grant_filter(args)?;
            let (items, more) = grants(&app.server()?, &filter, limit).await?;
            let grid = if filter.overdue { overdue_grid } else { grant_grid };
            print(app, "grants", to_json_list(&items), || grid(app, &items), more)
        }
    }
}

async fn requests(
    server: &Server,
    filter: &RequestFilter,
    limit: u32,
) -> Result<(Vec<Request>, bool), Failure> {
    let mut client = server.requests();
    pages(limit, async |page_size, page_token| {
        let message = ListRequestsRequest { page_size, page_token, filter: Some(filter.clone()) };
        let page = server.answer(client.list_requests(server.call(message))).await?;
        Ok((page.requests, page.next_page_token))
    })
    .await
}

async fn grants(server: &Server, filter: &GrantFilter, limit: u32) -> Result<(Vec<Grant>, bool), Failure> {
    let mut client = server.grants();
    pages(limit, async |page_size, page_token| {
        let message = ListGrantsRequest { page_size, page_token, filter: Some(filter.clone()) };
        let page = server.answer(client.list_grants(server.call(message))).await?;
        Ok((page.grants, page.next_page_token))
    })
    .await
}

fn print(
    app: &App,
    key: &str,
    json: Result<Value, Failure>,
    grid: impl FnOnce() -> Grid,
    more: bool,
) -> Result<(), Failure> {
    if app.out.is_json() {
        let mut object = Map::from_iter([(key.to_owned(), json?)]);
        if more {
            // A list that was cut must not pass for a whole one.
            object.insert("more".into(), true.into());
        }
        return app.out.json(&Value::Object(object));
    }
    app.out.grid(&grid())?;
    if more {
        app.out.note("there are more; raise `--limit`, or narrow the filter");
    }
    Ok(())
}

fn request_filter(args: ListArgs) -> Result<RequestFilter, Failure> {
    let state = |text: &str| RequestState::from_str_name(&format!("REQUEST_STATE_{text}")).map(i32::from);
    Ok(RequestFilter {
        states: states(&args.state, "pending, approved, denied, withdrawn, lapsed or claimed", state)?,
        target: target(args.target)?,
        requester: args.requester.unwrap_or_default(),
        submitted_from: args.since.map(time::timestamp),
        submitted_until: args.until.map(time::timestamp),
        ..RequestFilter::default()
    })
}

fn grant_filter(args: ListArgs) -> Result<GrantFilter, Failure> {
    if args.since.is_some() || args.until.is_some() {
        return Err(Failure::usage(
            "grants have no `--since` and `--until`: they go by when a request was submitted",
        )
        .hint("`hallpass audit list` takes them, and `--held-since` and `--held-until`"));
    }
    let state = |text: &str| GrantState::from_str_name(&format!("GRANT_STATE_{text}")).map(i32::from);
    Ok(GrantFilter {
        states: states(&args.state, "issuing, active, revoking, revoked or failed", state)?,
        target: target(args.target)?,
        holder: args.requester.unwrap_or_default(),
        request: String::new(),
        overdue: args.overdue,
    })
}

/// A target's resource name; empty if there is none.
///
/// # Errors
///
/// If it can't be one.
pub fn target(target: Option<String>) -> Result<String, Failure> {
    target.map_or(Ok(String::new()), |target| name::target(&target))
}

/// The numbers of states by their names.
///
/// # Errors
///
/// If one isn't `known`.
pub fn states(
    texts: &[String],
    known: &str,
    state: impl Fn(&str) -> Option<i32>,
) -> Result<Vec<i32>, Failure> {
    let read = |text: &String| {
        let upper = text.trim().to_ascii_uppercase();
        let state = state(&upper).filter(|state| *state != 0);
        state.ok_or_else(|| Failure::usage(format!("`{text}` is no state here")).hint(format!("use {known}")))
    };
    texts.iter().map(read).collect()
}

fn request_grid(app: &App, requests: &[Request]) -> Grid {
    let times = app.times();
    let mut grid =
        Grid::new(&["REQUEST", "STATE", "TARGET", "WHO", "FOR", "SUBMITTED", "LAPSES"]).with_extra("REASON");
    for request in requests {
        grid.row([
            name::last(&request.name).to_owned(),
            view::request_state(request),
            name::last(&request.target).to_owned(),
            view::person(request.requester.as_ref()),
            time::wire_length(request.duration.as_ref()).unwrap_or_default(),
            times.distance(request.submitted_at.as_ref()),
            times.distance(request.lapses_at.as_ref()),
            reason(request, &times),
        ]);
    }
    grid
}

/// The reason, or since when there is none.
fn reason(request: &Request, times: &Times) -> String {
    match &request.reason_erased {
        None => brief(&request.reason),
        Some(erased) => format!("(erased {})", times.short(erased.erased_at.as_ref())),
    }
}

fn grant_grid(app: &App, grants: &[Grant]) -> Grid {
    let times = app.times();
    let mut grid = Grid::new(&["GRANT", "STATE", "TARGET", "HOLDER", "OPENED", "CLOSES", "ENDED"]);
    for grant in grants {
        // Of what is over, the window's end says nothing any more.
        let closes_at = grant.closes_at.as_ref().filter(|_| grant.ended_at.is_none());
        grid.row([
            name::last(&grant.name).to_owned(),
            view::grant_state(grant),
            name::last(&grant.target).to_owned(),
            view::person(grant.holder.as_ref()),
            times.distance(grant.opens_at.as_ref()),
            times.distance(closes_at),
            times.distance(grant.ended_at.as_ref()),
        ]);
    }
    grid
}

fn overdue_grid(app: &App, grants: &[Grant]) -> Grid {
    let times = app.times();
    let columns = ["GRANT", "STATE", "TARGET", "HOLDER", "CLOSES", "ENDING SINCE", "ALARMS"];
    let mut grid = Grid::new(&columns).with_extra("IN THE WAY");
    for grant in grants {
        grid.row([
            name::last(&grant.name).to_owned(),
            view::grant_state(grant),
            name::last(&grant.target).to_owned(),
            view::person(grant.holder.as_ref()),
            times.distance(grant.closes_at.as_ref()),
            times.distance(grant.revocation_begun_at.as_ref()),
            grant.alarms.to_string(),
            brief(&view::in_the_way(grant)),
        ]);
    }
    grid
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Harness {
        #[command(flatten)]
        list: ListArgs,
    }

    fn args(words: &[&str]) -> ListArgs {
        Harness::try_parse_from([&["list"], words].concat()).unwrap().list
    }

    #[test]
    fn filters_are_read() {
        let filter = request_filter(args(&["--state", "pending,DENIED", "--target", "orders-ro"])).unwrap();
        assert_eq!(filter.states, [i32::from(RequestState::Pending), i32::from(RequestState::Denied)]);
        assert_eq!(filter.target, "targets/orders-ro");
        let filter = grant_filter(args(&["grants", "--state", "revoking", "--holder", "alice"])).unwrap();
        assert_eq!((filter.states.as_slice(), filter.holder.as_str()), ([3].as_slice(), "alice"));
    }

    #[test]
    fn states_of_others_are_refused() {
        let failure = request_filter(args(&["--state", "active"])).unwrap_err();
        assert!(failure.hint.unwrap().contains("pending"));
        assert!(grant_filter(args(&["grants", "--state", "pending"])).is_err());
        assert!(request_filter(args(&["--state", "unspecified"])).is_err());
        assert!(grant_filter(args(&["grants", "--since", "2026-11-01"])).is_err());
    }
}
