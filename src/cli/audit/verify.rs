//! `hallpass audit verify`: whether a log is the one that was signed, has only grown, and tells what can have happened.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;

use super::pull::{self, Leaves};
use crate::{
    cli::{
        App,
        error::{Exit, Failure, chain},
    },
    ledger::note::VerifierKey,
    signature::Signers,
    verify::{self, Batch, Engine, Former, Report, Trust},
};

const AFTER_HELP: &str = "\
Examples:
  hallpass audit verify november --log-key hallpass+1a2b3c4d+AYd… --checkpoint october/checkpoint
  hallpass audit verify exception.json --log-key hallpass+1a2b3c4d+AYd…
  hallpass audit verify --live --checkpoint october/checkpoint

Exit codes: 0 everything holds; 6 something doesn't; 1 and the others: it couldn't be looked at.";

/// The longest file that is read whole: a proof with its texts has some hundred KiB, a checkpoint one.
const FILE_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct VerifyArgs {
    /// A directory that `hallpass audit export` wrote, or a file by `hallpass audit prove`.
    #[arg(value_name = "PATH", required_unless_present = "live", conflicts_with = "live")]
    path: Option<PathBuf>,
    /// The log as hallpassd gives it now. Nothing is kept of it.
    #[arg(long)]
    live: bool,
    /// The log's verifier key; several while one follows another.
    #[arg(long, value_name = "VKEY")]
    log_key: Vec<String>,
    /// The verifier key of a witness who has to have cosigned.
    #[arg(long, value_name = "VKEY")]
    witness_key: Vec<String>,
    /// A checkpoint that you kept: the log has to begin with it.
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// Whose signatures of approvals count, as `ssh-keygen -Y verify -f` takes it.
    #[arg(long, value_name = "FILE")]
    allowed_signers: Option<PathBuf>,
    /// Which keys count no more, one public key on each line.
    #[arg(long, value_name = "FILE", requires = "allowed_signers")]
    revoked_keys: Option<PathBuf>,
}

/// Verifies.
///
/// # Errors
///
/// If something doesn't hold, or it couldn't be looked at.
pub async fn run(app: &App, args: VerifyArgs) -> Result<(), Failure> {
    let trust = trust(&args)?;
    let report = match &args.path {
        Some(path) if path.is_dir() => {
            verify::directory(path, trust).map_err(|error| Failure::local(chain(&error)))?.report
        }
        Some(path) => proof(path, &trust)?,
        None => live(app, trust).await?,
    };
    if app.out.is_json() {
        app.out.json(&report.json())?;
    } else {
        app.out.text(report.text().trim_end())?;
    }
    if report.holds() {
        return Ok(());
    }
    Err(Failure::new(Exit::Broken, format!("{} doesn't hold", report.source))
        .hint("keep what you verified and your old checkpoints: they are the evidence"))
}

fn trust(args: &VerifyArgs) -> Result<Trust, Failure> {
    let keys = |texts: &[String], option: &str| {
        let key = |text: &String| {
            VerifierKey::parse(text).map_err(|error| Failure::usage(format!("what {option} names {error}")))
        };
        texts.iter().map(key).collect::<Result<Vec<_>, _>>()
    };
    let former = |path: &PathBuf| {
        let (name, bytes) = (path.display().to_string(), contents(path)?);
        Ok(Former { name, bytes })
    };
    let signers =
        Signers { allowed_file: args.allowed_signers.clone(), revoked_file: args.revoked_keys.clone() };
    Ok(Trust {
        log_keys: keys(&args.log_key, "--log-key")?,
        witness_keys: keys(&args.witness_key, "--witness-key")?,
        former: args.checkpoint.iter().map(former).collect::<Result<_, Failure>>()?,
        signers: signers.read().map_err(|error| Failure::local(error.to_string()))?,
    })
}

fn proof(path: &Path, trust: &Trust) -> Result<Report, Failure> {
    let shown = path.display().to_string();
    let no_proof = || {
        let failure = Failure::local(format!("{shown} isn't a proof that `hallpass audit prove` writes"));
        failure.hint("name that file, or the directory of an export")
    };
    let json = String::from_utf8(contents(path)?).map_err(|_| no_proof())?;
    verify::proof_file(&shown, &json, trust).ok_or_else(no_proof)
}

fn contents(path: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable = |error| Failure::local(format!("cannot read {}: {error}", path.display()));
    let size = fs::metadata(path).map_err(unreadable)?.len();
    if size > FILE_MAX_BYTES {
        return Err(Failure::local(format!("{} is too large for a proof or a checkpoint", path.display())));
    }
    fs::read(path).map_err(unreadable)
}

async fn live(app: &App, trust: Trust) -> Result<Report, Failure> {
    let server = app.server()?;
    let checkpoint = pull::checkpoint(&server, 0).await?;
    let failed = |error: std::io::Error| Failure::local(format!("cannot verify: {error}"));
    let note = checkpoint.as_ref().map(|checkpoint| ("checkpoint", checkpoint.note.as_bytes()));
    let mut engine = Engine::new(trust, note).map_err(failed)?;
    let mut leaves =
        Leaves::new(&server, checkpoint.as_ref().map(|checkpoint| checkpoint.size.unsigned_abs()));
    while let Some(page) = leaves.next().await? {
        let mut batch = Batch::default();
        for leaf in page {
            batch.push(leaf.line.as_bytes(), pull::texts(&leaf).as_deref());
        }
        engine.take(batch);
    }
    Ok(engine.finish(&server.address).map_err(failed)?.report)
}
