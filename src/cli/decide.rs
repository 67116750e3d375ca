//! `hallpass approve` and `hallpass deny`: a written decision on somebody's request.
//!
//! A decision names the digest of the request that was read. On a terminal the request is shown and its digest taken;
//! elsewhere the digest has to be given, because nobody has read anything.

use clap::Args;

use super::{
    App,
    connect::Server,
    error::Failure,
    name, output,
    table::Block,
    text::{self, Source, StatementArgs},
    view,
};
use crate::wire::{
    ApproveRequestRequest, DenyRequestRequest, GetRequestRequest, GetTargetRequest, Request, RequestState,
    Verdict,
};

const APPROVE_AFTER_HELP: &str = "\
Examples:
  hallpass approve 01kb0x3v9m2d4e5f6g7h8j9kab
  hallpass approve 01kb0x3v9m2d4e5f6g7h8j9kab --digest sha256:9f86d081… --statement 'read-only is enough for this'";

const DENY_AFTER_HELP: &str = "\
Examples:
  hallpass deny 01kb0x3v9m2d4e5f6g7h8j9kab
  hallpass deny 01kb0x3v9m2d4e5f6g7h8j9kab --digest sha256:9f86d081… --statement-file why.txt";

/// The arguments of `approve`.
#[derive(Args, Clone, Debug)]
#[command(after_help = APPROVE_AFTER_HELP)]
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

/// The arguments of `deny`: the same.
#[derive(Args, Clone, Debug)]
#[command(after_help = DENY_AFTER_HELP)]
pub struct DenyArgs {
    /// The same arguments.
    #[command(flatten)]
    decide: DecideArgs,
}

/// Runs `approve`.
///
/// # Errors
///
/// If the server refuses, or nobody is there to read the request.
pub async fn approve(app: &App, args: DecideArgs) -> Result<(), Failure> {
    run(app, args, Verdict::Approved).await
}

/// Runs `deny`.
///
/// # Errors
///
/// As [`approve`].
pub async fn deny(app: &App, args: DenyArgs) -> Result<(), Failure> {
    run(app, args.decide, Verdict::Denied).await
}

/// A decision, as it is sent.
struct Written {
    name: String,
    digest: String,
    statement: String,
}

async fn run(app: &App, args: DecideArgs, verdict: Verdict) -> Result<(), Failure> {
    let name = name::request(&args.request)?;
    let server = app.server()?;
    let source = Source::of(args.statement.statement, args.statement.statement_file);
    let written = match args.digest {
        Some(digest) if source != Source::Editor => {
            let statement = text::get(app, &source, "statement", "")?;
            Written { name, digest, statement }
        }
        digest => read_and_write(app, &server, name, &source, digest, verdict).await?,
    };
    let request = send(&server, written, verdict).await?;
    app.out.message(&request, |request| outcome(app, request))
}

/// Shows the request, and takes the digest of what was shown.
async fn read_and_write(
    app: &App,
    server: &Server,
    name: String,
    source: &Source,
    digest: Option<String>,
    verdict: Verdict,
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
    if *source != Source::Editor && !text::confirm(question(verdict))? {
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

fn question(verdict: Verdict) -> &'static str {
    if verdict == Verdict::Approved { "Approve this request?" } else { "Deny this request?" }
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

async fn send(server: &Server, written: Written, verdict: Verdict) -> Result<Request, Failure> {
    let Written { name, digest, statement } = written;
    let mut client = server.requests();
    if verdict == Verdict::Approved {
        let call = client.approve_request(server.call(ApproveRequestRequest { name, digest, statement }));
        return server.answer(call).await;
    }
    let call = client.deny_request(server.call(DenyRequestRequest { name, digest, statement }));
    server.answer(call).await
}

fn outcome(app: &App, request: &Request) -> Block {
    let approvals =
        request.decisions.iter().filter(|decision| decision.verdict() == Verdict::Approved).count();
    let more = if request.state() == RequestState::Pending { "more approvals are needed" } else { "" };
    Block::new()
        .field("request", &request.name)
        .state("state", &view::request_state(request))
        .field("approvals", format!("{approvals} of {}", request.approvals_required))
        .field("note", more)
        .at("lapses", request.lapses_at.as_ref(), &app.times())
}
