//! The daemon: arguments -> configuration -> telemetry -> [`hallpass::daemon`]. Nothing is decided here.

use std::{
    env,
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Parser, Subcommand};
use hallpass::{clock::SystemClock, config::Config, daemon, telemetry};

/// A bad configuration: `EX_USAGE` of sysexits(3).
const BAD_CONFIGURATION: u8 = 64;

/// Issues time-boxed production credentials through Vault after a written approval.
#[derive(Debug, Parser)]
#[command(version, after_help = "Exit status: 0 done; 1 failed; 2 bad usage; 64 bad configuration.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until told to stop.
    #[command(after_help = "Example: hallpassd serve --config /etc/hallpass/hallpassd.toml")]
    Serve(File),
    /// Report every problem of a configuration at once, and do nothing else.
    #[command(after_help = "Example: hallpassd check --config /etc/hallpass/hallpassd.toml")]
    Check(File),
    /// Bring the database to this version's schema; `serve` does so too.
    #[command(after_help = "Example: hallpassd migrate --config /etc/hallpass/hallpassd.toml")]
    Migrate(File),
}

#[derive(Debug, clap::Args)]
struct File {
    /// The configuration, TOML.
    #[arg(long = "config", value_name = "FILE")]
    path: PathBuf,
}

fn main() -> ExitCode {
    let (Command::Serve(file) | Command::Check(file) | Command::Migrate(file)) = &Arguments::parse().command;
    let arguments = Arguments::parse();
    let (Command::Serve(file) | Command::Check(file) | Command::Migrate(file)) = &arguments.command;
    // The one thing that the environment tells: where systemd put the secrets that LoadCredential= names.
    let credentials = env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let config = match Config::load(&file.path, credentials.as_deref()) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return BAD_CONFIGURATION.into();
        }
    };
    let done = match arguments.command {
        Command::Check(_) => checked(&file.path),
        Command::Migrate(_) => migrate(&config),
        Command::Serve(_) => serve(config),
    };
    done.unwrap_or_else(|failure| {
        eprintln!("hallpassd: {}", chain(&*failure));
        ExitCode::FAILURE
    })
}
