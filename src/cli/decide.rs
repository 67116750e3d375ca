//! `hallpass approve` and `hallpass deny`: a written decision on somebody's request.
//!
//! A decision names the digest of the request that was read. On a terminal the request is shown and its digest taken;
//! elsewhere the digest has to be given, because nobody has read anything.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use prost_types::Timestamp;

use super::{
    App,
    connect::Server,
    error::Failure,
    name, output,
    table::Block,
    text::{self, Source, StatementArgs},
    time, view,
};
use crate::wire::{
    ApproveRequestRequest, DenyRequestRequest, GetRequestRequest, GetTargetRequest, Request, RequestState,
};

const APPROVE_AFTER_HELP: &str = "\
Examples:
  hallpass approve 01kb0x3v9m2d4e5f6g7h8j9kab
  hallpass approve 01kb0x3v9m2d4e5f6g7h8j9kab --for 30m --not-before 2026-11-23T22:00:00+01:00
  hallpass approve 01kb0x3v9m2d4e5f6g7h8j9kab --digest sha256:9f86d081… --statement 'read-only is enough for this'";

const DENY_AFTER_HELP: &str = "\
Examples:
  hallpass deny 01kb0x3v9m2d4e5f6g7h8j9kab
  hallpass deny 01kb0x3v9m2d4e5f6g7h8j9kab --digest sha256:9f86d081… --statement-file why.txt";

/// The arguments of `approve`.
#[derive(Args, Clone, Debug)]
#[command(after_help = APPROVE_AFTER_HELP)]
pub struct ApproveArgs {
    /// What both decisions take.
    #[command(flatten)]
    decide: DecideArgs,
    /// Allow a shorter window than was asked, like 30m.
    #[arg(long = "for", value_name = "DURATION", value_parser = time::parse_window)]
    duration: Option<Duration>,
    /// When the window may open first, like 2026-11-23T22:00:00+01:00.
    #[arg(long, value_name = "TIME", value_parser = time::parse_instant)]
    not_before: Option<DateTime<Utc>>,
    /// By when the window must have opened.
    #[arg(long, value_name = "TIME", value_parser = time::parse_instant)]
    not_after: Option<DateTime<Utc>>,
}

/// What both decisions take.
#[derive(Args, Clone, Debug)]
pub struct DecideArgs {
    /// The request: its id, with or without `requests/`.
    request: String,
    /// The statement, however it is given.
    #[command(flatten)]
    statement: StatementArgs,
    /// The digest of the request that you read; needed where the request can't be shown.
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
}

/// The arguments of `deny`.
#[derive(Args, Clone, Debug)]
#[command(after_help = DENY_AFTER_HELP)]
pub struct DenyArgs {
    /// What both decisions take.
    #[command(flatten)]
    decide: DecideArgs,
}

/// What is decided.
#[derive(Clone, Copy, PartialEq)]
enum Decided {
    Approved(Terms),
    Denied,
}

/// What an approver allows of what was asked.
#[derive(Clone, Copy, PartialEq)]
struct Terms {
    duration: Option<prost_types::Duration>,
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
}

/// Runs `approve`.
///
/// # Errors
///
/// If the server refuses, or nobody is there to read the request.
pub async fn approve(app: &App, args: ApproveArgs) -> Result<(), Failure> {
    let terms = Terms {
        duration: args.duration.map(time::wire_duration).transpose().map_err(Failure::usage)?,
        not_before: args.not_before.map(time::timestamp),
        not_after: args.not_after.map(time::timestamp),
    };
    run(app, args.decide, Decided::Approved(terms)).await
}

/// Runs `deny`.
///
/// # Errors
///
/// As [`approve`].
pub async fn deny(app: &App, args: DenyArgs) -> Result<(), Failure> {
    run(app, args.decide, Decided::Denied).await
}

/// A decision, as it is sent.
struct Written {
    name: String,
    digest: String,
    statement: String,
}

async fn run(app: &App, args: DecideArgs, decided: Decided) -> Result<(), Failure> {
    let name = name::request(&args.request)?;
    let server = app.server()?;
    let source = Source::of(args.statement.statement, args.statement.statement_file);
    let written = match args.digest {
        Some(digest) if source != Source::Editor => {
            let statement = text::get(app, &source, "statement", "")?;
            Written { name, digest, statement }
        }
        digest => read_and_write(app, &server, name, &source, digest, decided).await?,
    };
    let request = send(&server, written, decided).await?;
    app.out.message(&request, |request| outcome(app, request))
}

/// Shows the request, and takes the digest of what was shown.
async fn read_and_write(
    app: &App,
    server: &Server,
    name: String,
    source: &Source,
    digest: Option<String>,
    decided: Decided,
) -> Result<Written, Failure> {
    // A statement from standard input leaves nothing to answer the question with.
    if !app.interactive || *source == Source::Stdin {
        return Err(needs_digest(&name));
    }
    let request =
        server.answer(server.requests().get_request(server.call(GetRequestRequest { name }))).await?;
    if digest.is_some_and(|digest| digest != request.digest) {
        return Err(other_digest(&request));
    }
    let shown = describe(app, server, &request).await;
    output::ask_to_read(&shown);
    let statement = text::get(app, source, "statement", &shown.render(false))?;
    if *source != Source::Editor && !text::confirm(question(decided))? {
        return Err(Failure::local("not confirmed, so nothing was decided"));
    }
    Ok(Written { name: request.name, digest: request.digest, statement })
}

/// The request, and what ending the grant early would be worth.
async fn describe(app: &App, server: &Server, request: &Request) -> Block {
    let mut client = server.targets();
    let call = client.get_target(server.call(GetTargetRequest { name: request.target.clone() }));
    // An approver may decide without it; what can't be had isn't shown.
    let early =
        server.answer(call).await.map(|target| view::early(target.early_revocation())).unwrap_or_default();
    view::request(request, &app.times()).field("ending early", early)
}

fn question(decided: Decided) -> &'static str {
    if decided == Decided::Denied { "Deny this request?" } else { "Approve this request?" }
}

fn needs_digest(name: &str) -> Failure {
    Failure::usage("without a terminal a decision needs `--digest`: the digest of the request that was read")
        .hint(format!(
            "`hallpass show {name}` shows it; then give `--digest` and `--statement` or `--statement-file`"
        ))
}

fn other_digest(request: &Request) -> Failure {
    Failure::local(format!("the request isn't the one that you read: its digest is {}", request.digest))
        .hint(format!("read it again with `hallpass show {}`", request.name))
}

async fn send(server: &Server, written: Written, decided: Decided) -> Result<Request, Failure> {
    let Written { name, digest, statement } = written;
    let mut client = server.requests();
    if let Decided::Approved(Terms { duration, not_before, not_after }) = decided {
        let approval = ApproveRequestRequest { name, digest, statement, duration, not_before, not_after };
        return server.answer(client.approve_request(server.call(approval))).await;
    }
    let call = client.deny_request(server.call(DenyRequestRequest { name, digest, statement }));
    server.answer(call).await
}

fn outcome(app: &App, request: &Request) -> Block {
    let more = if request.state() == RequestState::Pending { "more approvals are needed" } else { "" };
    Block::new()
        .field("request", &request.name)
        .state("state", &view::request_state(request))
        .field("approvals", view::approvals(request))
        .field("note", more)
        .field("window", view::window(request))
        .at("not before", request.window_not_before.as_ref(), &app.times())
        .at("not after", request.window_not_after.as_ref(), &app.times())
        .at("lapses", request.lapses_at.as_ref(), &app.times())
}
