//! `hallpass request`: asks for access, and waits for the answer.
//!
//! A submission carries a key, so that sending it again after a broken connection makes no second request. The wait ends
//! with the decision, and the exit code says which.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;

use super::{
    App,
    connect::Server,
    error::{Exit, Failure},
    name, status,
    table::Block,
    text::{self, ReasonArgs, Source},
    time, view,
    wait::{self, Events},
};
use crate::wire::{Request, RequestState, SubmitRequestRequest, Verdict};

/// How often a submission is sent at most.
const TRIES_MAX: u32 = 3;
/// The pause before a submission is sent again.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

const AFTER_HELP: &str = "\
Examples:
  hallpass request orders-ro --for 90m --reason 'stuck order 4711' --ticket OPS-4711
  hallpass request orders-ro --for 90m --reason-file why.txt --no-wait
  hallpass request orders-ro --for 90m --reason - < why.txt
  hallpass request orders-ro --for 90m --reason-file why.txt --dry-run
  hallpass request orders-ro --for 1h --not-before 2026-11-23T22:00:00+01:00 --reason 'index rebuild'

Exits with 0 when the request is approved (or submitted, or found good, if that was all that was asked for), 4 when it is denied, lapses or is withdrawn, 5 when the wait is over.";

/// The arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct SubmitArgs {
    /// What to get access to; `hallpass targets` lists them.
    target: String,
    /// How long the window shall be, from the claim on [default: the target's, if it has one].
    #[arg(long = "for", value_name = "DURATION", value_parser = time::parse_window)]
    length: Option<Duration>,
    /// When the window may open first, like 2026-11-23T22:00:00+01:00 [default: as soon as it is approved].
    #[arg(long, value_name = "TIME", value_parser = time::parse_instant)]
    not_before: Option<DateTime<Utc>>,
    /// The reason, however it is given.
    #[command(flatten)]
    reason: ReasonArgs,
    /// The ticket that it belongs to.
    #[arg(long, value_name = "TICKET")]
    ticket: Option<String>,
    /// Only have it checked: say what would be submitted, or why it would be refused.
    #[arg(long)]
    dry_run: bool,
    /// Don't wait for the decision.
    #[arg(long)]
    no_wait: bool,
    /// How long to wait for the decision.
    #[arg(long, value_name = "DURATION", default_value = "8h", value_parser = time::parse_length)]
    wait_timeout: Duration,
    /// Makes it safe to run the same command again: the same key and text answer with the same request.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// Runs the verb.
///
/// # Errors
///
/// If the server refuses, the request isn't approved, or the wait is over.
pub async fn run(app: &App, args: SubmitArgs) -> Result<(), Failure> {
    let target = name::target(&args.target)?;
    let server = app.server()?;
    let until = wait::deadline(app.clock.now(), args.wait_timeout)?;
    let source = Source::of(args.reason.reason, args.reason.reason_file);
    let length = args.length.map_or_else(|| "the target's default".to_owned(), time::length);
    let context = format!("target    {target}\nduration  {length}");
    let submission = SubmitRequestRequest {
        target,
        duration: args.length.map(time::wire_duration).transpose().map_err(Failure::usage)?,
        not_before: args.not_before.map(time::timestamp),
        reason: text::get(app, &source, "reason", &context)?,
        ticket: args.ticket.unwrap_or_default(),
        idempotency_key: args.idempotency_key.unwrap_or_else(|| format!("{:032x}", app.clock.random())),
        validate_only: args.dry_run,
    };
    let submitted = submit(app, &server, submission).await?;
    if args.dry_run {
        app.out.message(&submitted, |request| view::request(request, &app.times()))?;
        app.out.note("nothing was submitted");
        return Ok(());
    }
    if args.no_wait {
        return app.out.message(&submitted, |request| summary(app, request));
    }
    if !app.out.is_json() {
        app.out.block(&summary(app, &submitted))?;
    }
    let mut latest = submitted;
    let outcome = tokio::select! {
        settled = wait_for_decision(app, &server, &mut latest) => settled,
        () = app.clock.sleep_until(until) => Err(Failure::new(Exit::TimedOut, "nobody decided in time")),
        _ = tokio::signal::ctrl_c() => Err(Failure::new(Exit::Interrupted, "interrupted while waiting")),
    };
    finish(app, &latest, outcome)
}

async fn submit(app: &App, server: &Server, submission: SubmitRequestRequest) -> Result<Request, Failure> {
    let mut tries = 1;
    loop {
        let mut client = server.requests();
        match server.try_answer(client.submit_request(server.call(submission.clone()))).await {
            Ok(request) => return Ok(request),
            Err(status) if tries < TRIES_MAX && status::is_transient(&status) => tries += 1,
            Err(status) => return Err(server.failure(&status)),
        }
        app.clock.sleep(TRY_AGAIN_AFTER).await;
    }
}

/// Returns when the request is no longer PENDING. `latest` is kept up to date, for whoever gives up before.
async fn wait_for_decision(app: &App, server: &Server, latest: &mut Request) -> Result<(), Failure> {
    let mut events = Events::new(app, server, &latest.name, None, true);
    let mut decisions = latest.decisions.len();
    while latest.state() == RequestState::Pending {
        let Some(request) = events.next().await?.request else { continue };
        for decision in request.decisions.iter().skip(decisions) {
            if request.state() == RequestState::Pending && decision.verdict() == Verdict::Approved {
                let who = view::person(decision.approver.as_ref());
                app.out
                    .note(&format!("approved by {who}; {} approvals are needed", request.approvals_required));
            }
        }
        decisions = request.decisions.len();
        *latest = request;
    }
    Ok(())
}

/// Prints how it stands, whatever came of it, so that a program always learns the request's name.
fn finish(app: &App, latest: &Request, outcome: Result<(), Failure>) -> Result<(), Failure> {
    if app.out.is_json() {
        app.out.message(latest, |request| summary(app, request))?;
    } else if outcome.is_ok() {
        app.out.text("")?;
        for decision in &latest.decisions {
            app.out.block(&view::decision(decision, &app.times()))?;
        }
        app.out.block(&outcome_block(app, latest))?;
    }
    let name = &latest.name;
    outcome.map_err(|failure| {
        let text = format!(
            "{name} goes on without you: `hallpass watch {name}` follows it, `hallpass withdraw {name}` takes it back"
        );
        let hint = failure.hint.clone().map_or_else(|| text.clone(), |first| format!("{first}; {text}"));
        failure.hint(hint)
    })?;
    verdict(latest)
}

fn summary(app: &App, request: &Request) -> Block {
    Block::new()
        .field("request", &request.name)
        .state("state", &view::request_state(request))
        .field("digest", &request.digest)
        .at("lapses", request.lapses_at.as_ref(), &app.times())
}

fn outcome_block(app: &App, request: &Request) -> Block {
    let next = match request.state() {
        RequestState::Approved => format!("hallpass claim {}", request.name),
        _ => String::new(),
    };
    Block::new()
        .state("state", &view::request_state(request))
        .at("lapses", request.lapses_at.as_ref(), &app.times())
        .field("next", next)
}

/// Success means that the request was approved.
fn verdict(request: &Request) -> Result<(), Failure> {
    match request.state() {
        RequestState::Approved | RequestState::Claimed => Ok(()),
        _ => {
            let state = view::request_state(request);
            let failure = Failure::new(Exit::Settled, format!("{} is {state}", request.name));
            Err(failure.hint(format!("`hallpass show {}` says why", request.name)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_approval_is_success() {
        let verdict = |state: RequestState| verdict(&Request { state: state.into(), ..Request::default() });
        assert!(verdict(RequestState::Approved).is_ok() && verdict(RequestState::Claimed).is_ok());
        for state in [RequestState::Denied, RequestState::Withdrawn, RequestState::Lapsed] {
            assert_eq!(verdict(state).unwrap_err().exit, Exit::Settled, "{state:?}");
        }
    }
}
