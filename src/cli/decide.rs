//! `hallpass approve` and `hallpass deny`: a written decision on somebody's request.
//!
//! A decision names the digest of the request that was read. On a terminal the request is shown and its digest taken;
//! elsewhere the digest has to be given, because nobody has read anything. An approval may be signed (`sign.rs`).

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, Utc};
use clap::Args;

use super::{
    App,
    connect::Server,
    error::Failure,
    name, output,
    sign::{self, Signed},
    table::Block,
    text::{self, Source, StatementArgs},
    time, view,
};
use crate::{
    access::terms::Terms,
    wire::{
        ApproveRequestRequest, DenyRequestRequest, GetRequestRequest, GetTargetRequest, Request,
        RequestState, Target,
    },
};

const APPROVE_AFTER_HELP: &str = "\
Examples:
  hallpass approve 01kb0x3v9m2d4e5f6g7h8j9kab
  hallpass approve 01kb0x3v9m2d4e5f6g7h8j9kab --for 30m --not-before 2026-11-23T22:00:00+01:00
  hallpass approve 01kb0x3v9m2d4e5f6g7h8j9kab --digest sha256:9f86d081… --statement 'read-only is enough for this'
  hallpass approve 01kb0x3v9m2d4e5f6g7h8j9kab --sign ~/.ssh/id_ed25519_sk";

const DENY_AFTER_HELP: &str = "\
Examples:
  hallpass deny 01kb0x3v9m2d4e5f6g7h8j9kab
  hallpass deny 01kb0x3v9m2d4e5f6g7h8j9kab --digest sha256:9f86d081… --statement-file why.txt";

/// The arguments of `approve`.
#[derive(Args, Clone, Debug)]
#[command(after_help = APPROVE_AFTER_HELP)]
pub struct ApproveArgs {
    /// What `deny` takes, too.
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
    /// Sign the approval with this SSH key: a private key, a hardware key's file, or a public key whose private half is in
    /// your agent.
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
}

/// The arguments of both.
#[derive(Args, Clone, Debug)]
struct DecideArgs {
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
    /// What `approve` takes, too.
    #[command(flatten)]
    decide: DecideArgs,
}

/// What is decided.
#[derive(Clone, Copy, PartialEq)]
enum Decided {
    Approved(Terms),
    Denied,
}

/// Runs `approve`.
///
/// # Errors
///
/// If the server refuses, or nobody is there to read the request.
pub async fn approve(app: &App, args: ApproveArgs) -> Result<(), Failure> {
    let terms = Terms { duration: args.duration, not_before: args.not_before, not_after: args.not_after };
    run(app, args.decide, Decided::Approved(terms), args.sign).await
}

/// Runs `deny`.
///
/// # Errors
///
/// As [`approve`].
pub async fn deny(app: &App, args: DenyArgs) -> Result<(), Failure> {
    run(app, args.decide, Decided::Denied, None).await
}

/// A decision, before it is sent.
struct Written {
    name: String,
    digest: String,
    statement: String,
    /// What was shown, if it was.
    shown: Option<Request>,
}

async fn run(app: &App, args: DecideArgs, decided: Decided, key: Option<PathBuf>) -> Result<(), Failure> {
    let name = name::request(&args.request)?;
    let server = app.server()?;
    let source = Source::of(args.statement.statement, args.statement.statement_file);
    let written = match args.digest {
        Some(digest) if source != Source::Editor => {
            let statement = text::get(app, &source, "statement", "")?;
            Written { name, digest, statement, shown: None }
        }
        digest => {
            let asked = Asked { name, digest, decided, signs: key.is_some() };
            read_and_write(app, &server, asked, &source).await?
        }
    };
    let request = match (key, decided) {
        (Some(key), Decided::Approved(terms)) => sign_and_send(app, &server, written, terms, &key).await?,
        _ => send(&server, written, decided).await?,
    };
    app.out.message(&request, |request| outcome(app, request))
}

/// What the arguments ask for.
struct Asked {
    name: String,
    digest: Option<String>,
    decided: Decided,
    signs: bool,
}

/// Shows the request, and takes the digest of what was shown.
async fn read_and_write(
    app: &App,
    server: &Server,
    asked: Asked,
    source: &Source,
) -> Result<Written, Failure> {
    let Asked { name, digest, decided, signs } = asked;
    // A statement from standard input leaves nothing to answer the question with.
    if !app.interactive || *source == Source::Stdin {
        return Err(needs_digest(&name));
    }
    let request = get(server, name, digest.as_deref()).await?;
    // An approver may decide without it; what can't be had isn't shown.
    let target = target(server, &request).await.unwrap_or_default();
    if decided != Decided::Denied && !signs {
        may_be_unsigned(&target)?;
    }
    let shown = view::request(&request, &app.times())
        .field("ending early", view::early(target.early_revocation()))
        .field("to be signed", view::signing(target.approval_signing()));
    output::ask_to_read(&shown);
    let statement = text::get(app, source, "statement", &shown.render(false))?;
    if *source != Source::Editor && !text::confirm(question(decided))? {
        return Err(Failure::local("not confirmed, so nothing was decided"));
    }
    let (name, digest) = (request.name.clone(), request.digest.clone());
    Ok(Written { name, digest, statement, shown: Some(request) })
}

/// The request, if it is the one with the digest that was read.
async fn get(server: &Server, name: String, digest: Option<&str>) -> Result<Request, Failure> {
    let request =
        server.answer(server.requests().get_request(server.call(GetRequestRequest { name }))).await?;
    if digest.is_some_and(|digest| digest != request.digest) {
        return Err(other_digest(&request));
    }
    Ok(request)
}

/// Signs what was shown. Where nothing was, the digest says what was read, and what is signed is computed to have it.
async fn sign_and_send(
    app: &App,
    server: &Server,
    written: Written,
    terms: Terms,
    key: &Path,
) -> Result<Request, Failure> {
    let Written { name, digest, statement, shown } = written;
    let shown = match shown {
        Some(shown) => shown,
        None => get(server, name, Some(&digest)).await?,
    };
    match sign::approval(app, server, &shown, (&statement, terms), key).await? {
        Signed::Approval(message) => {
            server.answer(server.requests().approve_request(server.call(*message))).await
        }
        Signed::Unneeded(request) => {
            app.out.note("you have approved this request before, so nothing was signed");
            Ok(*request)
        }
    }
}

async fn target(server: &Server, request: &Request) -> Result<Target, Failure> {
    let mut client = server.targets();
    let call = client.get_target(server.call(GetTargetRequest { name: request.target.clone() }));
    server.answer(call).await
}

/// Before anybody writes a statement that hallpassd would refuse.
fn may_be_unsigned(target: &Target) -> Result<(), Failure> {
    match view::signing(target.approval_signing()) {
        "" => Ok(()),
        how => Err(Failure::usage(format!("approvals for {} must be signed {how}", target.name))
            .hint("add `--sign KEY`, with a key that the operators listed for you")),
    }
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
    let Written { name, digest, statement, shown: _ } = written;
    let mut client = server.requests();
    if let Decided::Approved(terms) = decided {
        let message = ApproveRequestRequest { name, digest, statement, ..sign::on(terms)? };
        return server.answer(client.approve_request(server.call(message))).await;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ApprovalSigning;

    #[test]
    fn who_has_to_sign_learns_it_before_he_writes() {
        let target = |signing: ApprovalSigning| Target {
            name: "targets/orders-ro".into(),
            approval_signing: signing.into(),
            ..Target::default()
        };
        for fine in [ApprovalSigning::Unspecified, ApprovalSigning::Optional] {
            assert!(may_be_unsigned(&target(fine)).is_ok());
        }
        for (demand, how) in
            [(ApprovalSigning::Required, "an SSH key"), (ApprovalSigning::Present, "a hardware key")]
        {
            let failure = may_be_unsigned(&target(demand)).unwrap_err();
            assert!(failure.message.contains(how) && failure.hint.unwrap().contains("--sign"));
        }
    }
}
