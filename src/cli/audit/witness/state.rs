//! What a witness keeps: the log's key, pinned at the first look, and the last checkpoint. It is worth what this file is, so
//! each is written as a whole and is durable before anything is said of it; and one process at a time has it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::cli::error::Failure;
use crate::ledger::{
    checkpoint::{Checkpoint, Log, Signed},
    note::NOTE_MAX_BYTES,
};

/// The longest file: a note, spelt as JSON.
const MAX_BYTES: u64 = 2 * NOTE_MAX_BYTES as u64 + 4096;

/// The last checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The signed note.
    note: String,
    /// Since when the log hasn't grown, as far as was seen.
    pub grown_at: DateTime<Utc>,
}

impl Kept {
    /// A checkpoint that was taken.
    pub fn new(signed: &Signed, grown_at: DateTime<Utc>) -> Self {
        Self { note: signed.to_string(), grown_at }
    }

    /// What it says. It was verified before it was kept, and read when the file was.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        Signed::parse(self.note.as_bytes()).ok().map(|signed| signed.checkpoint().clone())
    }

    /// Of how many events it is.
    pub fn size(&self) -> u64 {
        self.checkpoint().map_or(0, |checkpoint| checkpoint.size())
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    log_key: String,
    #[serde(default)]
    kept: Option<Kept>,
}

/// See the module.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    log_key: String,
    /// The last checkpoint, if there is any.
    pub kept: Option<Kept>,
    /// Held for as long as this is.
    _lock: File,
}

impl State {
    /// Opens the file, or begins with this key of the log.
    pub fn open(path: &Path, log_key: Option<&str>) -> Result<Self, Failure> {
        let lock = lock(path)?;
        let contents = read(path)?;
        let log_key = log_key.map(str::trim);
        let Contents { log_key, kept } = match (contents, log_key) {
            (Some(contents), None) => contents,
            (Some(contents), Some(key)) if contents.log_key == key => contents,
            (Some(_), Some(_)) => {
                return Err(Failure::local(format!("{} is of a log with another key", path.display())).hint(
                    "leave `--log-key` out to go on with the pinned one; another log gets another file",
                ));
            }
            (None, Some(key)) => Contents { log_key: key.to_owned(), kept: None },
            (None, None) => {
                return Err(Failure::usage(format!("{} isn't there yet", path.display())).hint(
                    "name the log's key at the first look: `--log-key`; hallpassd ledger key prints it",
                ));
            }
        };
        Ok(Self { path: path.to_owned(), log_key, kept, _lock: lock })
    }

    /// The log.
    pub fn log(&self) -> Result<Log, Failure> {
        Log::of_key(&self.log_key).map_err(|bad| Failure::local(format!("the log's key {bad}")))
    }

    /// Keeps a checkpoint; when this returns it is durable.
    pub fn keep(&mut self, kept: Kept) -> Result<(), Failure> {
        let contents = Contents { log_key: self.log_key.clone(), kept: Some(kept.clone()) };
        write(&self.path, &contents)
            .map_err(|error| Failure::local(format!("cannot write {}: {error}", self.path.display())))?;
        self.kept = Some(kept);
        Ok(())
    }
}

fn lock(path: &Path) -> Result<File, Failure> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let shown = Path::new(&name).display();
    let failed = |error: io::Error| Failure::local(format!("cannot lock {shown}: {error}"));
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&name).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::local(format!("another witness has {}", path.display())).hint(
                "one process at a time keeps a state; end the other one, or give this one a file of its own",
            ))
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn read(path: &Path) -> Result<Option<Contents>, Failure> {
    let failed = |why: String| {
        Failure::local(format!("cannot use {}: {why}", path.display())).hint(
            "a witness is worth what it keeps: put the file back from a copy rather than beginning anew",
        )
    };
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
        Ok(length) if length as u64 > MAX_BYTES => return Err(failed("it is too long".to_owned())),
        Ok(_) => {}
    }
    let contents: Contents = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    if contents.kept.as_ref().is_some_and(|kept| kept.checkpoint().is_none()) {
        return Err(failed("its checkpoint isn't one".to_owned()));
    }
    Ok(Some(contents))
}

fn write(path: &Path, contents: &Contents) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(directory)?;
    serde_json::to_writer_pretty(&mut file, contents)?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{
        note::{Kind, SigningKey},
        tree::Hash,
    };

    fn key(name: &str) -> SigningKey {
        SigningKey::from_seed(name, &[3; 32]).unwrap()
    }

    #[test]
    fn a_key_is_pinned_and_a_checkpoint_kept_by_one_at_a_time() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("state");
        let pinned = key("log").verifier(Kind::Plain).to_string();
        assert!(State::open(&path, None).unwrap_err().hint.unwrap().contains("--log-key"));
        let mut state = State::open(&path, Some(&pinned)).unwrap();
        assert!(State::open(&path, Some(&pinned)).unwrap_err().message.contains("another witness"));
        let signed = Signed::sign(Checkpoint::new("log", 3, Hash([1; 32])).unwrap(), &key("log")).unwrap();
        let kept = Kept::new(&signed, DateTime::UNIX_EPOCH);
        state.keep(kept.clone()).unwrap();
        drop(state);
        let state = State::open(&path, None).unwrap();
        assert_eq!((state.kept.as_ref(), state.log().unwrap().origin()), (Some(&kept), "log"));
        assert_eq!(state.kept.as_ref().map(Kept::size), Some(3));
        drop(state);
        let other = key("other").verifier(Kind::Plain).to_string();
        assert!(State::open(&path, Some(&other)).unwrap_err().message.contains("another key"));
    }

    #[test]
    fn a_broken_file_is_not_begun_anew() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("state");
        let pinned = key("log").verifier(Kind::Plain).to_string();
        for text in
            ["", "{}", "{\"log_key\":\"x\",\"kept\":{\"note\":\"y\",\"grown_at\":\"2026-01-01T00:00:00Z\"}}"]
        {
            std::fs::write(&path, text).unwrap();
            assert!(State::open(&path, Some(&pinned)).is_err(), "{text}");
        }
    }
}
