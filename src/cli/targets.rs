//! `hallpass targets`: what there is to ask for, and on what terms.

use clap::Args;

use super::{
    App,
    error::Failure,
    name,
    output::to_json_list,
    table::{Grid, brief},
    time, view,
};
use crate::wire::{GetTargetRequest, ListTargetsRequest, Target};

/// More targets than any installation has.
const TARGETS_MAX: u32 = 10_000;

const AFTER_HELP: &str = "\
Examples:
  hallpass targets
  hallpass targets orders-ro";

/// The arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct TargetsArgs {
    /// Show only this one, with everything about it.
    target: Option<String>,
}

/// Runs the verb.
///
/// # Errors
///
/// If the server refuses.
pub async fn run(app: &App, args: TargetsArgs) -> Result<(), Failure> {
    let server = app.server()?;
    let mut client = server.targets();
    if let Some(target) = args.target {
        let name = name::target(&target)?;
        let call = client.get_target(server.call(GetTargetRequest { name }));
        return app.out.message(&server.answer(call).await?, view::target);
    }
    let (targets, _) = super::list::pages(TARGETS_MAX, async |page_size, page_token| {
        let call = client.list_targets(server.call(ListTargetsRequest { page_size, page_token }));
        server.answer(call).await.map(|page| (page.targets, page.next_page_token))
    })
    .await?;
    if app.out.is_json() {
        return app.out.json(&serde_json::json!({ "targets": to_json_list(&targets)? }));
    }
    app.out.grid(&grid(&targets))
}

fn grid(targets: &[Target]) -> Grid {
    let mut grid = Grid::new(&["TARGET", "YOU MAY", "WINDOW", "APPROVALS", "DESCRIPTION"]);
    for target in targets {
        let blocked = if target.issue_blockers.is_empty() { "" } else { "(blocked) " };
        grid.row([
            name::last(&target.name).to_owned(),
            view::rights(target).to_owned(),
            time::wire_length(target.window_max.as_ref()).unwrap_or_default(),
            target.approvals_required.to_string(),
            format!("{blocked}{}", brief(&target.description)),
        ]);
    }
    grid
}
