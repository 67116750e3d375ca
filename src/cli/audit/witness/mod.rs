//! `hallpass audit witness`: an auditor's own witness. It keeps the last checkpoint that it has seen of a log, takes no other
//! than one that this one begins, and says so with its key.
//!
//! ```text
//! hallpassd --checkpoint, proof--> judge --> keep, durably --> cosign --> hallpassd, for targets that want it
//!                                    '--> ALARM: put back, forked, another key, or nothing new for too long
//! ```
//!
//! It never takes anything back: after an alarm it stays with what it kept, and alarms again, until somebody has understood
//! what happened and gives it another file to keep.

mod listen;
mod round;
mod state;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use serde_json::json;

use self::{
    round::{Alarm, Unseen},
    state::{Kept, State},
};
use crate::{
    cli::{
        App, args,
        error::{Exit, Failure},
        time,
    },
    keyfile,
    ledger::{
        checkpoint::Log,
        note::{Kind, SigningKey},
    },
};

const AFTER_HELP: &str = "\
Examples:
  hallpass audit witness --new-key audit.example --key witness.key
  hallpass audit witness --key witness.key --state hallpass.state --log-key hallpass+3f0c…+AQ… --once
  hallpass audit witness --key witness.key --state hallpass.state --every 1m
  hallpass audit witness --key witness.key --state hallpass.state --listen 192.0.2.7:7644

The first look pins the log's verifier key, which `hallpassd ledger key` prints; take it from there by a way that isn't
hallpassd's. Standard output has one line of JSON for each round; an alarm has \"problem\": ROLLBACK, FORK, KEY or STALE.

Exits with 6 on an alarm. With --every and --listen it goes on over what passes, such as a hallpassd that doesn't answer.";

/// The arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct WitnessArgs {
    /// The witness's key, in a file that only its owner reads.
    #[arg(long = "key", value_name = "FILE", value_parser = args::file())]
    key: PathBuf,
    /// Make a key of this name in the file of `--key`, print its verifier key, and do nothing else.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["state", "log_key", "once", "every", "listen"])]
    new_key: Option<String>,
    /// Where the last checkpoint is kept. It is made at the first look.
    #[arg(long, value_name = "FILE", required_unless_present = "new_key", value_parser = args::file())]
    state: Option<PathBuf>,
    /// The log's verifier key, at the first look; from then on it is in the state.
    #[arg(long, value_name = "KEY")]
    log_key: Option<String>,
    /// Look once. It is so unless something else is said.
    #[arg(long, conflicts_with_all = ["every", "listen"])]
    once: bool,
    /// Look again and again, so long after another.
    #[arg(long, value_name = "DURATION", conflicts_with = "listen", value_parser = time::parse_length)]
    every: Option<Duration>,
    /// Alarm if the log hasn't grown for so long.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = time::parse_length)]
    stale_after: Duration,
    /// Let hallpassd bring its checkpoints to this address instead, by C2SP's tlog-witness: its `url` has the same address.
    /// Put something that speaks TLS before it, unless hallpassd is on this machine.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

/// A witness that knows its log.
struct Watch {
    key: SigningKey,
    log: Log,
    state: State,
    stale_after: Duration,
}

/// Runs the verb.
///
/// # Errors
///
/// On an alarm; if the key or the state can't be used; and, of a single look, if hallpassd doesn't answer.
pub async fn run(app: &App, args: WitnessArgs) -> Result<(), Failure> {
    if let Some(name) = &args.new_key {
        let key = keyfile::make(&*app.clock, name, &args.key).map_err(|error| unusable(&error))?;
        return app.out.raw(&format!("{}\n", key.verifier(Kind::Cosignature)));
    }
    let key = keyfile::read(&args.key).map_err(|error| unusable(&error))?;
    let Some(path) = args.state else { return Err(Failure::usage("`--state` is missing")) };
    let state = State::open(&path, args.log_key.as_deref())?;
    let log = state.log()?;
    let mut watch = Watch { key, log, state, stale_after: args.stale_after };
    if let Some(address) = args.listen {
        return listen::serve(app, watch, address).await;
    }
    loop {
        let seen = round::look(app, &mut watch).await;
        match (seen, args.every) {
            (Ok(seen), _) => app.out.json_line(&seen.json(&watch.log))?,
            (Err(Unseen::Alarm(alarm)), _) => return Err(raise(app, &watch, &alarm)?),
            (Err(Unseen::Failed(failure)), None) => return Err(failure),
            (Err(Unseen::Failed(failure)), Some(_)) => app.out.fail(&failure),
        }
        let Some(every) = args.every else { return Ok(()) };
        app.clock.sleep(every).await;
    }
}

/// Tells of an alarm on standard output, and makes the failure of it.
fn raise(app: &App, watch: &Watch, alarm: &Alarm) -> Result<Failure, Failure> {
    let kept = watch.state.kept.as_ref().map(Kept::size);
    app.out.json_line(&json!({
        "event": "alarm",
        "problem": alarm.problem(),
        "origin": watch.log.origin(),
        "message": alarm.to_string(),
        "keptSize": kept,
        "at": app.clock.now(),
    }))?;
    let hint = "keep the state's file, it is evidence; ask the operators, and compare with other witnesses";
    Ok(Failure::new(Exit::Broken, alarm.to_string()).hint(hint))
}

fn unusable(error: &keyfile::KeyFileError) -> Failure {
    Failure::local(crate::cli::error::chain(error))
}
