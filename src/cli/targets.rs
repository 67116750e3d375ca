//! `hallpass targets`: what there is to ask for, and on what terms.

use clap::{Args, Subcommand};

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
  hallpass targets show orders-ro";

/// The arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct TargetsArgs {
    /// What about them; the list of them if nothing is said.
    #[command(subcommand)]
    what: Option<What>,
}

/// What about the targets.
#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Show everything about one, and what it would take to get access to it.
    Show {
        /// The target.
        target: String,
    },
}

/// Runs the verb.
///
/// # Errors
///
/// If the server refuses.
pub async fn run(app: &App, args: TargetsArgs) -> Result<(), Failure> {
    let server = app.server()?;
    let mut client = server.targets();
    if let Some(What::Show { target }) = args.what {
        let name = name::target(&target)?;
        let call = client.get_target(server.call(GetTargetRequest { name }));
        return app.out.message(&server.answer(call).await?, view::target);
    }
    let (targets, _) = super::pages::pages(TARGETS_MAX, async |page_size, page_token| {
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
        let blocked = match (&target.freeze, target.issue_blockers.is_empty()) {
            (Some(_), _) => "(frozen) ",
            (None, false) => "(blocked) ",
            (None, true) => "",
        };
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
