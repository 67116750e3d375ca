//! `hallpass list`: requests, grants or exceptions, the newest first, page after page up to a limit.

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use super::{
    App,
    connect::Server,
    error::Failure,
    name,
    output::to_json_list,
    table::{Grid, brief},
    time::{self, Times},
    view,
};
use crate::wire::{
    Decision, Exception, Grant, GrantFilter, GrantState, ListExceptionsRequest, ListGrantsRequest,
    ListRequestsRequest, Request, RequestFilter, RequestState,
};

/// What the server gives in one page at most.
const PAGE_SIZE_MAX: u32 = 200;
/// More than anybody reads, and little enough to hold in memory.
const LIMIT_MAX: i64 = 100_000;

const AFTER_HELP: &str = "\
Examples:
  hallpass list --state pending
  hallpass list grants --state active,revoking
  hallpass list --overdue
  hallpass list exceptions --since 2026-11-01 --until 2026-12-01 --limit 1000 --output json

States of requests and exceptions: pending, approved, denied, withdrawn, lapsed, claimed.
States of grants: issuing, active, revoking, revoked, failed.";

/// What to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Requests.
    #[default]
    Requests,
    /// Grants.
    Grants,
    /// Exceptions: requests with their grants.
    Exceptions,
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
            Some(What::Requests | What::Exceptions) if self.overdue => {
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
        What::Exceptions => {
            let filter = request_filter(args)?;
            let (items, more) = exceptions(&app.server()?, &filter, limit).await?;
            print(app, "exceptions", to_json_list(&items), || exception_grid(app, &items), more)
        }
    }
}

/// Fetches pages until there is no more, or `limit` is reached; says whether more was left.
///
/// # Errors
///
/// If a page can't be had, or the pages lead nowhere.
pub async fn pages<T>(
    limit: u32,
    mut fetch: impl AsyncFnMut(i32, String) -> Result<(Vec<T>, String), Failure>,
) -> Result<(Vec<T>, bool), Failure> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut items = Vec::new();
    let mut token = String::new();
    loop {
        let size = u32::try_from(limit - items.len()).unwrap_or(PAGE_SIZE_MAX).min(PAGE_SIZE_MAX);
        let (page, next) = fetch(size.cast_signed(), token).await?;
        if page.is_empty() && !next.is_empty() {
            return Err(Failure::local("the server's pages lead nowhere").hint("tell the operators"));
        }
        items.extend(page);
        if next.is_empty() || items.len() >= limit {
            let more = !next.is_empty() || items.len() > limit;
            items.truncate(limit);
            return Ok((items, more));
        }
        token = next;
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

async fn exceptions(
    server: &Server,
    filter: &RequestFilter,
    limit: u32,
) -> Result<(Vec<Exception>, bool), Failure> {
    let mut client = server.exceptions();
    pages(limit, async |page_size, page_token| {
        let message = ListExceptionsRequest { page_size, page_token, filter: Some(filter.clone()) };
        let page = server.answer(client.list_exceptions(server.call(message))).await?;
        Ok((page.exceptions, page.next_page_token))
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
    })
}

fn grant_filter(args: ListArgs) -> Result<GrantFilter, Failure> {
    if args.since.is_some() || args.until.is_some() {
        return Err(Failure::usage(
            "grants have no `--since` and `--until`: they go by when a request was submitted",
        )
        .hint("`hallpass list exceptions` takes them, and has the grants"));
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

fn target(target: Option<String>) -> Result<String, Failure> {
    target.map_or(Ok(String::new()), |target| name::target(&target))
}

fn states(texts: &[String], known: &str, state: impl Fn(&str) -> Option<i32>) -> Result<Vec<i32>, Failure> {
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

/// Who decided; the key of who signed is shown by `hallpass show`.
fn decider(decision: &Decision) -> String {
    let signed = if decision.signed_with.is_empty() { "" } else { " (signed)" };
    format!("{}{signed}", view::person(decision.approver.as_ref()))
}

fn exception_grid(app: &App, exceptions: &[Exception]) -> Grid {
    let times = app.times();
    let mut grid = Grid::new(&["EXCEPTION", "REQUEST", "TARGET", "WHO", "SUBMITTED", "DECIDED BY", "GRANT"]);
    for exception in exceptions {
        let request = exception.request.clone().unwrap_or_default();
        let deciders: Vec<_> = request.decisions.iter().map(decider).collect();
        grid.row([
            name::last(&exception.name).to_owned(),
            view::request_state(&request),
            name::last(&request.target).to_owned(),
            view::person(request.requester.as_ref()),
            times.short(request.submitted_at.as_ref()),
            deciders.join(", "),
            exception.grants.first().map(view::grant_state).unwrap_or_default(),
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

    #[tokio::test]
    async fn pages_are_followed_up_to_the_limit() {
        for (limit, expected, more) in [(3, 3, true), (4, 4, true), (5, 5, false), (50, 5, false)] {
            let mut sizes = Vec::new();
            let (items, left) = pages(limit, async |size: i32, token: String| {
                sizes.push(size);
                let start: usize = token.parse().unwrap_or(0);
                let end = 5.min(start + 2);
                let next = if end < 5 { end.to_string() } else { String::new() };
                Ok(((start..end).collect(), next))
            })
            .await
            .unwrap();
            assert_eq!((items.len(), left), (expected, more), "{limit}");
            assert!(sizes.iter().all(|size| (1..=200).contains(size)), "{sizes:?}");
        }
    }

    #[tokio::test]
    async fn pages_that_lead_nowhere_end() {
        let endless = pages(10, async |_, _| Ok((Vec::<u8>::new(), "again".into()))).await;
        assert!(endless.is_err());
    }
}
