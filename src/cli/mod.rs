//! The command-line client: one file per verb, each of which makes its calls and prints what came of them.
//!
//! The client has no rules of its own: whether something is allowed, hallpassd decides. It refuses to ask questions
//! without a terminal, to print a secret anywhere but on standard output, and to trust what it prints.

mod address;
mod answer;
mod args;
mod audit;
mod claim;
mod connect;
mod daemons;
mod decide;
mod error;
mod escape;
mod evidence;
mod freeze;
mod list;
mod login;
mod name;
mod output;
mod pages;
mod release;
mod request;
mod revoke;
mod session;
mod show;
mod sign;
mod status;
mod table;
mod targets;
mod text;
mod time;
mod vault;
mod view;
mod wait;
mod watch;
mod withdraw;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod journey;

pub use self::audit::report;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    sync::Arc,
};

use clap::Parser;

use self::{
    args::{Cli, Options, Verb},
    connect::Server,
    error::Failure,
    output::Output,
    time::Times,
};
use crate::clock::{Clock, SystemClock};

/// What every verb is handed.
struct App {
    options: Options,
    out: Output,
    clock: Arc<dyn Clock>,
    /// Somebody can be asked: standard input and standard error are terminals.
    interactive: bool,
}

impl App {
    /// How times are shown now.
    fn times(&self) -> Times {
        Times::local(self.clock.now())
    }

    /// The server, with the stored token.
    fn server(&self) -> Result<Server, Failure> {
        Server::new(&self.options, self.options.call_timeout())
    }
}

/// The program: reads the arguments, runs one verb, and says how it went.
#[must_use]
pub fn main() -> ExitCode {
    let Cli { options, verb } = Cli::parse();
    let app = App {
        out: Output::of_process(options.output),
        clock: Arc::new(SystemClock),
        interactive: io::stdin().is_terminal() && io::stderr().is_terminal(),
        options,
    };
    match run(&app, verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            app.out.fail(&failure);
            failure.exit.into()
        }
    }
}

/// One call after the other needs one thread only.
fn run(app: &App, verb: Verb) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::local(format!("cannot start: {error}")))?;
    runtime.block_on(dispatch(app, verb))
}

async fn dispatch(app: &App, verb: Verb) -> Result<(), Failure> {
    if app.out.mode.is_for_lists_only() && !verb.lists_exceptions() {
        let failure = Failure::usage("only `hallpass audit list` has the outputs `jsonl` and `csv`");
        return Err(failure.hint("use `--output json`"));
    }
    match verb {
        Verb::Login(args) => login::run(app, args).await,
        Verb::Targets(args) => targets::run(app, args).await,
        Verb::Request(args) => request::run(app, args).await,
        Verb::Withdraw(args) => withdraw::run(app, args).await,
        Verb::Approve(args) => decide::approve(app, args).await,
        Verb::Deny(args) => decide::deny(app, args).await,
        Verb::Claim(args) => claim::run(app, args).await,
        Verb::Release(args) => release::run(app, args).await,
        Verb::Revoke(args) => revoke::run(app, args).await,
        Verb::Freeze(args) => freeze::freeze(app, args).await,
        Verb::Thaw(args) => freeze::thaw(app, args).await,
        Verb::Freezes(args) => freeze::list(app, args).await,
        Verb::Status(args) => daemons::status(app, args).await,
        Verb::Show(args) => show::run(app, args).await,
        Verb::List(args) => list::run(app, args).await,
        Verb::Watch(args) => watch::run(app, args).await,
        Verb::Audit(args) => audit::run(app, args).await,
    }
}
