//! `hallpass audit list`: past exceptions that match, printed page by page while they come, so that a million take no more
//! memory than a page; or only their numbers.

use clap::{Args, ValueEnum};

use super::{cells, filter::FilterArgs, sheet, summary};
use crate::{
    cli::{
        App,
        connect::Server,
        error::Failure,
        name,
        output::{Mode, to_json},
        pages::each_page,
        table::Grid,
        view,
    },
    wire::{Decision, Exception, ListExceptionsRequest, ListOrder, RequestFilter},
};

const AFTER_HELP: &str = "\
Examples:
  hallpass audit list --since 2026-11-01 --until 2026-12-01 --all --output csv > november.csv
  hallpass audit list --text 'order 4711' --order oldest
  hallpass audit list --held-since 2026-11-20T02:00:00Z --held-until 2026-11-20T03:00:00Z --target orders-ro
  hallpass audit list --unsigned --late=10m --output jsonl
  hallpass audit list --since 2026-01-01 --summary

States of requests: pending, approved, denied, withdrawn, lapsed, claimed.
States of grants: issuing, active, revoking, revoked, failed.
Causes: window-closed, released, revoked-by-operator, frozen, target-removed, ended-outside, issue-failed, reissued.";

/// From which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// The newest first.
    #[default]
    Newest,
    /// The oldest first.
    Oldest,
}

/// The arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Which come first.
    #[arg(long, value_name = "WHICH", value_enum, default_value = "newest")]
    order: Order,
    /// How many at most.
    #[arg(long, value_name = "COUNT", default_value = "50", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "all")]
    limit: u32,
    /// All that there are.
    #[arg(long)]
    all: bool,
    /// Only how many they are, how many hours were granted, and how long decisions took: in all, by target and by group.
    #[arg(long, conflicts_with_all = ["order", "limit", "all"])]
    summary: bool,
}

/// Runs the verb.
///
/// # Errors
///
/// If the server refuses, or the filter makes no sense.
pub async fn run(app: &App, args: ListArgs) -> Result<(), Failure> {
    let filter = args.filter.read()?;
    if args.summary {
        return summary::run(app, filter).await;
    }
    let server = app.server()?;
    let order = match args.order {
        Order::Newest => ListOrder::NewestFirst,
        Order::Oldest => ListOrder::OldestFirst,
    };
    let limit = (!args.all).then_some(args.limit);
    let mut printer = Printer::new(app);
    printer.begin()?;
    let more = each_page(limit, page(&server, &filter, order), |page| printer.page(&page)).await?;
    printer.end(more)
}

/// Fetches a page.
fn page<'a>(
    server: &'a Server,
    filter: &'a RequestFilter,
    order: ListOrder,
) -> impl AsyncFnMut(i32, String) -> Result<(Vec<Exception>, String), Failure> + 'a {
    let mut client = server.exceptions();
    async move |page_size, page_token| {
        let (filter, order) = (Some(filter.clone()), order.into());
        let message = ListExceptionsRequest { page_size, page_token, filter, order };
        let page = server.answer(client.list_exceptions(server.call(message))).await?;
        Ok((page.exceptions, page.next_page_token))
    }
}

/// Prints exceptions as they come, and keeps none.
struct Printer<'a> {
    app: &'a App,
    printed: bool,
}

impl<'a> Printer<'a> {
    const fn new(app: &'a App) -> Self {
        Self { app, printed: false }
    }

    fn begin(&self) -> Result<(), Failure> {
        match self.app.out.mode {
            Mode::Json => self.app.out.raw("{\n  \"exceptions\": ["),
            Mode::Csv => self.app.out.raw(&cells::lines([sheet::HEAD.map(cells::text)])?),
            Mode::Table | Mode::Jsonl => Ok(()),
        }
    }

    fn page(&mut self, page: &[Exception]) -> Result<(), Failure> {
        let out = &self.app.out;
        match out.mode {
            Mode::Json => {
                for exception in page {
                    let comma = if self.printed { "," } else { "" };
                    out.raw(&format!("{comma}\n    {}", to_json(exception)?))?;
                    self.printed = true;
                }
                Ok(())
            }
            Mode::Jsonl => page.iter().try_for_each(|exception| out.json_line(&to_json(exception)?)),
            Mode::Csv => out.raw(&cells::lines(page.iter().map(sheet::row))?),
            // What comes with a later page can't change how an earlier one is laid out.
            Mode::Table if page.is_empty() => Ok(()),
            Mode::Table => {
                self.printed = true;
                out.grid(&grid(self.app, page))
            }
        }
    }

    /// A list that was cut must not pass for a whole one.
    fn end(&self, more: bool) -> Result<(), Failure> {
        let out = &self.app.out;
        match out.mode {
            Mode::Json if more => out.raw("\n  ],\n  \"more\": true\n}\n")?,
            Mode::Json => out.raw("\n  ]\n}\n")?,
            Mode::Table if !self.printed => out.grid(&grid(self.app, &[]))?,
            Mode::Table | Mode::Jsonl | Mode::Csv => {}
        }
        if more {
            out.note("there are more; raise `--limit`, ask for `--all`, or narrow the filter");
        }
        Ok(())
    }
}

/// Who decided; the key of who signed is in the dossier.
fn decider(decision: &Decision) -> String {
    let signed = if decision.signed_with.is_empty() { "" } else { " (signed)" };
    format!("{}{signed}", view::person(decision.approver.as_ref()))
}

fn grid(app: &App, exceptions: &[Exception]) -> Grid {
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
