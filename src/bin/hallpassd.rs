//! The daemon: arguments -> configuration -> telemetry -> [`hallpass::daemon`]. Nothing is decided here.

use std::{
    env,
    error::Error,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Parser, Subcommand, ValueEnum};
use hallpass::{
    clock::SystemClock,
    config::{self, Config, Log},
    control::{Outcome, Question},
    daemon, keyfile,
    ledger::note::{Kind, VerifierKey},
    memory, telemetry,
};
use tokio::runtime::Runtime;

/// A bad configuration: `EX_USAGE` of sysexits(3).
const BAD_CONFIGURATION: u8 = 64;

/// What was verified doesn't hold, as of `hallpass audit verify`.
const BROKEN: u8 = 6;

/// Issues time-boxed production credentials through Vault after a written approval.
#[derive(Debug, Parser)]
#[command(
    name = "hallpassd",
    version,
    after_help = "Exit status: 0 done; 1 failed; 2 bad usage; 6 what was verified doesn't hold; 64 bad configuration."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until told to stop. Brings the database to this version's schema first.
    #[command(after_help = "Example: hallpassd serve --config /etc/hallpass/hallpassd.toml")]
    Serve(File),
    /// Report every problem of a configuration at once, and do nothing else.
    #[command(after_help = "Example: hallpassd check --config /etc/hallpass/hallpassd.toml")]
    Check(File),
    /// Have the running daemon read its configuration again: all of it takes effect, or nothing does.
    ///
    /// Running grants keep their windows. If the file takes out a target that grants are held of, it is refused with
    /// their list, unless --end-removed says that they end. So it is if it changes a key that takes a restart.
    #[command(after_help = "Example: hallpassd reload --config /etc/hallpass/hallpassd.toml\n\n\
                      Exit status: 0 it is in force; 1 refused, or no daemon answers; 64 bad configuration. \
                      Other than with 0, nothing was changed.")]
    Reload {
        #[command(flatten)]
        file: File,
        /// End the grants whose target the file doesn't have any more.
        #[arg(long)]
        end_removed: bool,
        /// Only say what would happen.
        #[arg(long)]
        check: bool,
    },
    /// Print the JSON schema of the configuration, for editors.
    #[command(after_help = "Example: hallpassd schema > hallpassd.schema.json")]
    Schema,
    /// Bring the database to this version's schema, and do nothing else.
    #[command(after_help = "Example: hallpassd migrate --config /etc/hallpass/hallpassd.toml")]
    Migrate(File),
    /// Copy the database to a new file, whether or not the daemon runs, and check the copy: every page, and the log's tree
    /// from its leaves. A daemon that runs is asked to sign a checkpoint first, so that the copy has one of now.
    ///
    /// Nothing is written over, and there is no file unless it is whole. Run it as the user that hallpassd runs as, or as
    /// root.
    #[command(
        after_help = "Example: hallpassd backup --config /etc/hallpass/hallpassd.toml /var/backups/hallpass/2026-11-26.db\n\n\
                      Exit status: 0 the copy is there and sound; 1 there is none; 64 bad configuration."
    )]
    Backup {
        #[command(flatten)]
        file: File,
        /// The file to make. Its directory has to be there, and be private: the copy is as sensitive as the database.
        #[arg(value_name = "FILE")]
        to: PathBuf,
    },
    /// Work on the records themselves.
    Store {
        #[command(subcommand)]
        command: Store,
    },
    /// Compare Vault with the records now, and say what was found: leases that no grant knows of, grants that lost their
    /// lease, leases that Vault gave up revoking, and how far the clocks are apart. Asks the daemon if it runs.
    #[command(after_help = "Example: hallpassd reconcile --config /etc/hallpass/hallpassd.toml\n\n\
                      Exit status: 0 all is in order; 1 something is not; 64 bad configuration.")]
    Reconcile(File),
    /// The key that signs the log: print what auditors and witnesses know it by, or make one that is in a file.
    Ledger {
        #[command(subcommand)]
        command: Ledger,
    },
    /// Look at everything around the daemon, in Vault and on this machine, and say what is wrong and what to do about
    /// it. Changes nothing, and can be run while the daemon runs.
    #[command(after_help = "Example: hallpassd doctor --config /etc/hallpass/hallpassd.toml\n\n\
                      Exit status: 0 nothing is wrong, though there may be warnings; 1 something is; 64 bad configuration.")]
    Doctor {
        #[command(flatten)]
        file: File,
        /// What standard output is for: people, or programs.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Verify the whole database: the file, the log's tree and its checkpoints, whether states follow from events, and
    /// whether every row says what its events say. Changes nothing, and can be run while the daemon runs.
    #[command(after_help = "Example: hallpassd fsck --config /etc/hallpass/hallpassd.toml\n\n\
                      Exit status: 0 everything holds; 6 something doesn't; 1 it can't be looked at; \
                      64 bad configuration.")]
    Fsck(Fsck),
}

#[derive(Debug, clap::Args)]
struct Fsck {
    #[command(flatten)]
    file: File,
    /// Another database than the configuration's: a backup.
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
    /// A verifier key of the log, as `hallpassd ledger key` prints it: one of those that are named has to have signed each
    /// checkpoint. Without any, no signature is looked at.
    #[arg(long, value_name = "VKEY", value_parser = VerifierKey::parse)]
    log_key: Vec<VerifierKey>,
    /// What standard output is for: people, or programs.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Store {
    /// Move the records of a SQLite database to the PostgreSQL database that the configuration names, which must be empty: every
    /// row in one transaction, which is kept only if each table arrived as it was. Then both are verified, and their logs have to
    /// be the same tree. Stop hallpassd first; the file stays as it is.
    #[command(
        after_help = "Example: hallpassd store copy --config /etc/hallpass/hallpassd.toml --from /var/lib/hallpass/hallpass.db\n\n\
                      Exit status: 0 it arrived whole; 6 it did, and doesn't hold; 1 nothing was copied; 64 bad configuration."
    )]
    Copy {
        #[command(flatten)]
        file: File,
        /// The SQLite database.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum Ledger {
    /// Print the verifier keys of the log, the present one first. Give them to auditors and witnesses, by another way than
    /// the daemon's own.
    #[command(after_help = "Example: hallpassd ledger key --config /etc/hallpass/hallpassd.toml")]
    Key(File),
    /// Make a key that is in a file, where Vault's transit engine isn't to sign, and print its verifier key.
    #[command(
        after_help = "Example: hallpassd ledger new-key --origin hallpass --file /etc/hallpass/ledger-key"
    )]
    NewKey {
        /// The log's origin, as in the configuration.
        #[arg(long, value_name = "NAME")]
        origin: String,
        /// The file. It must not be there yet.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    #[default]
    Text,
    Json,
}

#[derive(Debug, clap::Args)]
struct File {
    /// The configuration, TOML; every key is explained in docs/configuration.md.
    #[arg(long = "config", value_name = "FILE")]
    path: PathBuf,
}

fn main() -> ExitCode {
    if let Err(failure) = memory::keep_private() {
        eprintln!("hallpassd: cannot turn core dumps off: {failure}");
        return ExitCode::FAILURE;
    }
    let done = match Arguments::parse().command {
        Command::Serve(file) => with(&file, serve),
        Command::Check(file) => with(&file, |_| Ok(checked(&file.path))),
        Command::Migrate(file) => with(&file, |config| migrate(&config.store.database)),
        Command::Backup { file, to } => backup(&file.path, &to),
        Command::Store { command: Store::Copy { file, from } } => {
            with(&file, |config| copy_store(&config, &from))
        }
        Command::Reconcile(file) => with(&file, reconcile),
        Command::Fsck(Fsck { file, database, log_key, output }) => {
            with(&file, |config| fsck(&config, database.as_deref(), log_key, output))
        }
        Command::Doctor { file, output } => with(&file, |config| doctor(config, output)),
        Command::Reload { file, end_removed, check } => reload(&file.path, end_removed, check),
        Command::Ledger { command: Ledger::Key(file) } => with(&file, ledger_key),
        Command::Ledger { command: Ledger::NewKey { origin, file } } => new_ledger_key(&origin, &file),
        Command::Schema => print_schema(),
    };
    done.unwrap_or_else(|failure| {
        eprintln!("hallpassd: {}", telemetry::chain(&*failure));
        ExitCode::FAILURE
    })
}

/// Does something with the configuration, if it is good.
fn with(
    file: &File,
    work: impl FnOnce(Config) -> Result<ExitCode, Box<dyn Error>>,
) -> Result<ExitCode, Box<dyn Error>> {
    // Where systemd put the files that LoadCredential= names.
    let credentials = env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    match Config::load(&file.path, credentials.as_deref()) {
        Ok(config) => work(config),
        Err(problems) => {
            eprintln!("{problems}");
            Ok(BAD_CONFIGURATION.into())
        }
    }
}

fn print_schema() -> Result<ExitCode, Box<dyn Error>> {
    writeln!(io::stdout(), "{:#}", config::schema())?;
    Ok(ExitCode::SUCCESS)
}

/// Only the daemon can check the file as it sees it, with its credentials; so here it is only looked for the daemon.
fn reload(file: &Path, end_removed: bool, check: bool) -> Result<ExitCode, Box<dyn Error>> {
    let Some((_, control)) = places(file) else { return Ok(BAD_CONFIGURATION.into()) };
    let question = Question::Reload { config: std::path::absolute(file)?, end_removed, check };
    let answer = Runtime::new()?.block_on(daemon::reload(&control, &question))?;
    Ok(match answer.outcome {
        Outcome::Done => {
            write!(io::stdout(), "{}", answer.text)?;
            ExitCode::SUCCESS
        }
        Outcome::Problems => {
            eprint!("{}", answer.text);
            BAD_CONFIGURATION.into()
        }
        Outcome::Refused | Outcome::Unavailable => {
            eprint!("{}", answer.text);
            ExitCode::FAILURE
        }
    })
}

/// Where the database is, if that is a file, and where its daemon is asked, for commands that need nothing else of the file and
/// may not have the daemon's credentials; or what is wrong.
fn places(file: &Path) -> Option<(Option<PathBuf>, PathBuf)> {
    let places = config::store_places(file);
    if places.is_none() {
        let problems = Config::load(file, None).err();
        eprintln!("{}", problems.map(|problems| problems.to_string()).unwrap_or_default());
    }
    places
}

fn backup(file: &Path, to: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let Some((database, control)) = places(file) else { return Ok(BAD_CONFIGURATION.into()) };
    let Some(database) = database else {
        return Err(
            "the database is on a server, whose own backups are what to restore from; docs/store.md says how"
                .into(),
        );
    };
    let to = std::path::absolute(to)?;
    let tell = |what: &str| eprintln!("hallpassd: {what}");
    let copy = Runtime::new()?.block_on(daemon::backup(&database, &control, &to, tell))?;
    writeln!(io::stdout(), "{}: {} bytes, {}", to.display(), copy.bytes, copy.log)?;
    Ok(ExitCode::SUCCESS)
}

fn copy_store(config: &Config, from: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let to = &config.store.database;
    if matches!(to, config::Database::File(_)) {
        return Err("the configuration names a file; name the PostgreSQL database as store.url".into());
    }
    let tell = |what: &str| eprintln!("hallpassd: {what}");
    let (counts, report) = Runtime::new()?.block_on(daemon::copy_store(from, to, tell))?;
    let mut standard = io::stdout();
    for (table, count) in counts {
        writeln!(standard, "{table}: {count} rows")?;
    }
    write!(standard, "{}", report.text())?;
    Ok(if report.holds() { ExitCode::SUCCESS } else { BROKEN.into() })
}

fn checked(path: &Path) -> ExitCode {
    println!("{}: no problems", path.display());
    ExitCode::SUCCESS
}

fn migrate(database: &config::Database) -> Result<ExitCode, Box<dyn Error>> {
    let applied = Runtime::new()?.block_on(daemon::migrate(database))?;
    match applied[..] {
        [] => println!("{database}: nothing to do"),
        [..] => println!("{database}: applied {applied:?}"),
    }
    Ok(ExitCode::SUCCESS)
}

fn reconcile(config: Config) -> Result<ExitCode, Box<dyn Error>> {
    let found = Runtime::new()?.block_on(daemon::reconcile(config))?;
    println!("{found:#}");
    let said = |key: &str| found.get(key).unwrap_or(&serde_json::Value::Null);
    let is_zero = |key: &str| said(key) == 0;
    let clocks_agree = said("vault_clock_ahead_ms").as_i64().is_some_and(|ahead| ahead.abs() <= 1000);
    let answered = said("unanswered").as_array().is_some_and(Vec::is_empty);
    let in_order =
        is_zero("unknown") && is_zero("vanished") && is_zero("gave_up") && clocks_agree && answered;
    Ok(if in_order { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn doctor(config: Config, output: Output) -> Result<ExitCode, Box<dyn Error>> {
    let runtime = Runtime::new()?;
    let report = runtime.block_on(daemon::doctor(config))?;
    // A check of the database that took too long is left behind.
    runtime.shutdown_background();
    let mut standard = io::stdout();
    let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let text = match output {
        Output::Json => format!("{:#}\n", report.json()),
        Output::Text => report.text(wanted && standard.is_terminal()),
    };
    standard.write_all(text.as_bytes())?;
    Ok(if report.is_wrong() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn ledger_key(config: Config) -> Result<ExitCode, Box<dyn Error>> {
    for key in Runtime::new()?.block_on(daemon::ledger_keys(config))? {
        writeln!(io::stdout(), "{key}")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn new_ledger_key(origin: &str, file: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let key = keyfile::make(&SystemClock, origin, file)?;
    writeln!(io::stdout(), "{}", key.verifier(Kind::Plain))?;
    Ok(ExitCode::SUCCESS)
}

fn fsck(
    config: &Config,
    database: Option<&Path>,
    log_keys: Vec<VerifierKey>,
    output: Output,
) -> Result<ExitCode, Box<dyn Error>> {
    let report = Runtime::new()?.block_on(daemon::fsck(config, database, log_keys))?;
    let text = match output {
        Output::Json => format!("{:#}\n", report.json()),
        Output::Text => report.text(),
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(if report.holds() { ExitCode::SUCCESS } else { BROKEN.into() })
}

fn serve(config: Config) -> Result<ExitCode, Box<dyn Error>> {
    let Log { level, format } = config.log;
    telemetry::init(level, format, Arc::new(SystemClock))?;
    let runtime = Runtime::new()?;
    let ended = runtime.block_on(daemon::run(config));
    // Whatever didn't finish in its time is left behind; the next start picks it up.
    runtime.shutdown_background();
    Ok(ended?.exit_status().into())
}
