//! `hallpass audit show`: the dossier of one exception, as one would hand it over: who asked what and why, the decisions
//! word for word with their signatures, when access really began and really ended and what proves it, and every event with
//! its place in the log. Nothing in it is shortened, and no time is relative to today.

use std::path::PathBuf;

use chrono::TimeDelta;
use clap::Args;

use crate::{
    cli::{
        App,
        error::Failure,
        show::{present, timeline},
        table::{Block, Grid},
        time::{self, Times},
        view,
    },
    wire::{AuditEvent, Decision, Exception, Grant},
};

const AFTER_HELP: &str = "\
Examples:
  hallpass audit show 01kb0x3v9m2d4e5f6g7h8j9kab
  hallpass audit show 01kb0x3v9m2d4e5f6g7h8j9kab --output json --signatures evidence";

/// The arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct DossierArgs {
    /// An exception, a request or a grant; an id alone is looked for as a request first.
    name: String,
    /// Also write its signed approvals and their signatures to this directory, for `ssh-keygen -Y verify`.
    #[arg(long, value_name = "DIRECTORY")]
    signatures: Option<PathBuf>,
}

/// Runs the verb.
///
/// # Errors
///
/// If the server refuses, or there is no such thing.
pub async fn run(app: &App, args: DossierArgs) -> Result<(), Failure> {
    present(app, &args.name, args.signatures, print).await
}

fn print(app: &App, exception: &Exception) -> Result<(), Failure> {
    app.out.block(&Block::new().field("exception", &exception.name))?;
    for (title, part) in dossier(exception, &Times::utc(app.clock.now())) {
        app.out.text(&format!("\n{title}\n{}", "-".repeat(title.len())))?;
        match part {
            Part::Block(block) => app.out.block(&block)?,
            Part::Grid(grid) => app.out.grid(&grid)?,
            Part::Text(text) => app.out.text(&text)?,
        }
    }
    Ok(())
}

/// What stands below a title.
pub(super) enum Part {
    /// Labelled values.
    Block(Block),
    /// A table.
    Grid(Grid),
    /// A sentence.
    Text(String),
}

/// The dossier, part by part, each with its title.
pub(super) fn dossier(exception: &Exception, times: &Times) -> Vec<(&'static str, Part)> {
    let request = exception.request.clone().unwrap_or_default();
    let asked = view::request(&request, times).field("requester's groups", request.groups.join(", "));
    let mut parts = vec![("What was asked", Part::Block(asked))];
    for decision in &request.decisions {
        parts.push(("Decision", Part::Block(signature(view::decision(decision, times), decision))));
    }
    if request.decisions.is_empty() {
        parts.push(("Decision", Part::Text("nobody decided on it".to_owned())));
    }
    for grant in exception.grants.iter().rev() {
        parts.push(("Access", Part::Block(access(grant, &exception.timeline, times))));
    }
    if exception.grants.is_empty() {
        parts.push(("Access", Part::Text("none was given".to_owned())));
    }
    parts.push(("What happened, by its place in the log", Part::Grid(timeline(times, &exception.timeline))));
    parts
}

/// The groups that counted, and what was signed, byte by byte.
fn signature(block: Block, decision: &Decision) -> Block {
    block
        .field("approver's groups", decision.groups.join(", "))
        .field("signed text", decision.signed_text.trim_end())
        .field("signature", decision.signature.trim_end())
}

/// When access really began and ended, and how that compares with what was allowed.
fn access(grant: &Grant, timeline: &[AuditEvent], times: &Times) -> Block {
    let (began, ended) = (time::instant(grant.activated_at.as_ref()), time::instant(grant.ended_at.as_ref()));
    let closed = time::instant(grant.closes_at.as_ref());
    let held = began.zip(ended).map(|(began, ended)| length(ended - began));
    let planned = closed.zip(ended).map(|(closed, ended)| match ended - closed {
        late if late >= TimeDelta::zero() => format!("{} after the window closed", length(late)),
        early => format!("{} before the window closed", length(-early)),
    });
    let began = if began.is_none() { "it never did: no credential was delivered" } else { "" };
    view::grant(grant, times)
        .field("access began", began)
        .field("access was held for", held.unwrap_or_default())
        .field("it ended", planned.unwrap_or_default())
        .field("proof of the end", view::proof(grant, timeline))
}

/// To the millisecond below a second, so that "at once" is told from "a moment later".
fn length(length: TimeDelta) -> String {
    match length.num_milliseconds() {
        short @ ..1000 => format!("{short}ms"),
        _ => time::length(length.to_std().unwrap_or_default()),
    }
}
