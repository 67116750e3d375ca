//! `hallpass freeze`, `thaw` and `freezes`: operators stop new grants at once, of one target or of all.

use clap::Args;

use super::{
    App,
    error::Failure,
    name,
    output::to_json_list,
    table::{Block, Grid, brief},
    text::{self, ReasonArgs, Source},
    view,
};
use crate::wire::{Freeze, FreezeTargetsRequest, ListFreezesRequest, ThawTargetsRequest};

/// How all targets are named together.
const ALL: &str = "targets/-";

const FREEZE_AFTER_HELP: &str = "\
Examples:
  hallpass freeze orders-ro --reason 'the replica is being rebuilt'
  hallpass freeze --all --end-grants --reason 'a laptop was stolen'";

const THAW_AFTER_HELP: &str = "\
Examples:
  hallpass thaw orders-ro --reason 'the replica is back'
  hallpass thaw --all --reason 'all keys are changed'";

const LIST_AFTER_HELP: &str = "\
Example:
  hallpass freezes";

/// One target, or all.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
struct Which {
    /// The target.
    target: Option<String>,
    /// All targets, also those that are configured later.
    #[arg(long)]
    all: bool,
}

/// The arguments of `freeze`.
#[derive(Args, Clone, Debug)]
#[command(after_help = FREEZE_AFTER_HELP)]
pub struct FreezeArgs {
    /// What to freeze.
    #[command(flatten)]
    which: Which,
    /// End what is held as well.
    #[arg(long)]
    end_grants: bool,
    /// The reason, however it is given; whose claim is refused reads it.
    #[command(flatten)]
    reason: ReasonArgs,
}

/// The arguments of `thaw`.
#[derive(Args, Clone, Debug)]
#[command(after_help = THAW_AFTER_HELP)]
pub struct ThawArgs {
    /// What to thaw.
    #[command(flatten)]
    which: Which,
    /// The reason, however it is given.
    #[command(flatten)]
    reason: ReasonArgs,
}

/// The arguments of `freezes`: none.
#[derive(Args, Clone, Debug)]
#[command(after_help = LIST_AFTER_HELP)]
pub struct FreezesArgs {}

impl Which {
    fn name(&self) -> Result<String, Failure> {
        self.target.as_deref().map_or_else(|| Ok(ALL.to_owned()), name::target)
    }
}

/// Runs `freeze`.
///
/// # Errors
///
/// If the server refuses.
pub async fn freeze(app: &App, args: FreezeArgs) -> Result<(), Failure> {
    let target = args.which.name()?;
    let reason = reason(app, args.reason, &format!("freeze    {}", shown(&target)))?;
    let server = app.server()?;
    let message = FreezeTargetsRequest { target, reason, end_grants: args.end_grants };
    let mut client = server.freezes();
    let freeze = server.answer(client.freeze_targets(server.call(message))).await?;
    app.out.message(&freeze, |freeze| block(app, freeze))
}

/// Runs `thaw`.
///
/// # Errors
///
/// If the server refuses.
pub async fn thaw(app: &App, args: ThawArgs) -> Result<(), Failure> {
    let target = args.which.name()?;
    let reason = reason(app, args.reason, &format!("thaw      {}", shown(&target)))?;
    let server = app.server()?;
    let mut client = server.freezes();
    let call = client.thaw_targets(server.call(ThawTargetsRequest { target, reason }));
    app.out.message(&server.answer(call).await?, |freeze| block(app, freeze))
}

/// Runs `freezes`.
///
/// # Errors
///
/// If the server refuses.
pub async fn list(app: &App, FreezesArgs {}: FreezesArgs) -> Result<(), Failure> {
    let server = app.server()?;
    let mut client = server.freezes();
    let freezes = server.answer(client.list_freezes(server.call(ListFreezesRequest {}))).await?.freezes;
    if app.out.is_json() {
        return app.out.json(&serde_json::json!({ "freezes": to_json_list(&freezes)? }));
    }
    let mut grid = Grid::new(&["TARGET", "FROZEN", "BY", "GRANTS", "REASON"]);
    for freeze in &freezes {
        grid.row([
            shown(&freeze.target).to_owned(),
            app.times().short(freeze.frozen_at.as_ref()),
            view::person(freeze.frozen_by.as_ref()),
            grants(freeze).to_owned(),
            brief(&freeze.reason),
        ]);
    }
    app.out.grid(&grid)
}

fn reason(app: &App, args: ReasonArgs, context: &str) -> Result<String, Failure> {
    text::get(app, &Source::of(args.reason, args.reason_file), "reason", context)
}

fn block(app: &App, freeze: &Freeze) -> Block {
    Block::new()
        .field(if freeze.thawed_at.is_some() { "thawed" } else { "frozen" }, shown(&freeze.target))
        .field("reason", &freeze.reason)
        .field("by", view::person(freeze.frozen_by.as_ref()))
        .at("since", freeze.frozen_at.as_ref(), &app.times())
        .at("until", freeze.thawed_at.as_ref(), &app.times())
        .field("grants", grants(freeze))
}

fn shown(target: &str) -> &str {
    if target == ALL { "all targets" } else { name::last(target) }
}

fn grants(freeze: &Freeze) -> &'static str {
    if freeze.ends_grants { "ended" } else { "go on" }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::args::Cli;

    #[test]
    fn one_target_or_all_never_neither_and_never_both() {
        let parse = |words: &[&str]| Cli::try_parse_from(["hallpass"].iter().chain(words)).is_ok();
        assert!(parse(&["freeze", "orders", "--reason", "x"]) && parse(&["thaw", "--all"]));
        for verb in ["freeze", "thaw"] {
            assert!(!parse(&[verb, "--reason", "x"]), "{verb}");
            assert!(!parse(&[verb, "orders", "--all"]), "{verb}");
        }
    }
}
