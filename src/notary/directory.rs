//! A witness that is a directory: a mount that only takes new files, a share of another machine, a checkout that somebody
//! pushes. It has the last checkpoint as `checkpoint`, and each one as `checkpoints/<size>`, so that it can be compared by
//! hand and by any tool. It cosigns nothing: it remembers.
//!
//! It takes what a witness takes, by what it has kept itself, so a database that was put back or changed shows here as well
//! as anywhere.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use async_trait::async_trait;

use crate::{
    broker::{Witness, WitnessError},
    ledger::{
        checkpoint::Signed,
        note::{NOTE_MAX_BYTES, VerifierKey},
        tree::is_consistent,
        witness::{AddCheckpoint, Answer},
    },
};

/// What the last checkpoint is called.
const LAST: &str = "checkpoint";
/// Where each of them is.
const ALL: &str = "checkpoints";

/// See the module.
#[derive(Clone, Debug)]
pub struct Directory {
    name: String,
    path: PathBuf,
}

impl Directory {
    /// A witness of this name that is this directory. It is made with the first checkpoint, its parent isn't.
    #[must_use]
    pub const fn new(name: String, path: PathBuf) -> Self {
        Self { name, path }
    }

    /// Takes what doesn't contradict what is kept.
    fn take(&self, request: &AddCheckpoint) -> Result<Answer, WitnessError> {
        let last = self.path.join(LAST);
        let kept = read(&last).map_err(|error| failed("read", &last, &error))?;
        let kept = kept.as_deref().map(Signed::parse).transpose();
        let kept =
            kept.map_err(|bad| WitnessError(format!("{}: {bad}; look who wrote it", last.display())))?;
        let asked = request.signed().checkpoint();
        if let Some(kept) = kept {
            let kept = kept.checkpoint();
            let (old, new) = ((kept.size(), kept.root()), (asked.size(), asked.root()));
            if kept.origin() != asked.origin() {
                return Ok(Answer::UnknownLog);
            }
            if request.old_size() != kept.size() {
                return Ok(Answer::OtherSize(kept.size()));
            }
            if old == new {
                return Ok(Answer::Cosigned(Vec::new()));
            }
            if kept.size() == asked.size() {
                return Ok(Answer::OtherRoot);
            }
            if !is_consistent(old, new, request.proof()) {
                return Ok(Answer::NotProved);
            }
        } else if request.old_size() != 0 {
            return Ok(Answer::OtherSize(0));
        }
        self.keep(request.signed()).map_err(|error| failed("write", &self.path, &error))?;
        Ok(Answer::Cosigned(Vec::new()))
    }

    /// Each as a file of its own first, so that the last one never is one that isn't there.
    fn keep(&self, signed: &Signed) -> io::Result<()> {
        let all = self.path.join(ALL);
        fs::create_dir_all(&all)?;
        let (note, size) = (signed.to_string(), signed.checkpoint().size().to_string());
        if read(&all.join(&size))?.as_deref() != Some(note.as_bytes()) {
            put(&all, &size, &note)?;
        }
        put(&self.path, LAST, &note)
    }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> WitnessError {
    WitnessError(format!("can't {what} {}: {error}; check that the daemon's user may", path.display()))
}

/// What a file holds; none if it isn't there.
fn read(file: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::metadata(file) {
        Ok(found) if found.len() > NOTE_MAX_BYTES as u64 => {
            Err(io::Error::other("it is too long for a checkpoint"))
        }
        Ok(_) => fs::read(file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts a file there as a whole, durably, whatever was there before.
fn put(directory: &Path, name: &str, contents: &str) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(".checkpoint").tempfile_in(directory)?;
    file.write_all(contents.as_bytes())?;
    // For whoever compares.
    fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(directory.join(name)).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

#[async_trait]
impl Witness for Directory {
    fn name(&self) -> &str {
        &self.name
    }

    fn key(&self) -> Option<&VerifierKey> {
        None
    }

    async fn add(&self, request: &AddCheckpoint) -> Result<Answer, WitnessError> {
        let (directory, request) = (self.clone(), request.clone());
        // A share may hang.
        tokio::task::spawn_blocking(move || directory.take(&request))
            .await
            .unwrap_or_else(|_| Err(WitnessError("looking at it broke off".to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{
        checkpoint::Checkpoint,
        note::SigningKey,
        tree::{Frontier, Hash},
    };

    /// A log of so many leaves of one kind, signed.
    fn log(origin: &str, leaves: &[u8]) -> Signed {
        let mut tree = Frontier::default();
        for leaf in leaves {
            tree.push(Hash::of_leaf(&[*leaf]), |_| {});
        }
        let key = SigningKey::from_seed(origin, &[7; 32]).unwrap();
        Signed::sign(Checkpoint::new(origin, tree.size(), tree.root()).unwrap(), &key).unwrap()
    }

    fn add(directory: &Directory, old: u64, proof: &[&[u8]], signed: Signed) -> Answer {
        let proof = proof.iter().map(|leaf| Hash::of_leaf(leaf)).collect();
        directory.take(&AddCheckpoint::new(old, proof, signed).unwrap()).unwrap()
    }

    #[test]
    fn it_takes_what_only_grew_and_keeps_each() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::new("d".into(), place.path().join("log"));
        assert_eq!(add(&directory, 3, &[], log("a", b"xyz")), Answer::OtherSize(0));
        assert_eq!(add(&directory, 0, &[], log("a", b"x")), Answer::Cosigned(Vec::new()));
        assert_eq!(add(&directory, 0, &[], log("a", b"xy")), Answer::OtherSize(1));
        assert_eq!(add(&directory, 1, &[b"z"], log("a", b"xy")), Answer::NotProved);
        assert_eq!(add(&directory, 1, &[b"y"], log("a", b"xy")), Answer::Cosigned(Vec::new()));
        assert_eq!(add(&directory, 2, &[], log("a", b"xy")), Answer::Cosigned(Vec::new()), "again");
        assert_eq!(add(&directory, 2, &[], log("a", b"xz")), Answer::OtherRoot);
        assert_eq!(add(&directory, 1, &[], log("a", b"x")), Answer::OtherSize(2), "it was put back");
        assert_eq!(add(&directory, 2, &[], log("b", b"xy")), Answer::UnknownLog);
        let kept = |name: &str| fs::read_to_string(place.path().join("log").join(name)).unwrap();
        assert_eq!(kept("checkpoint"), log("a", b"xy").to_string());
        assert_eq!(kept("checkpoints/1"), log("a", b"x").to_string());
        assert_eq!(kept("checkpoints/2"), kept("checkpoint"));
    }

    #[test]
    fn what_is_no_checkpoint_is_not_written_over() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("checkpoint"), "something").unwrap();
        let directory = Directory::new("d".into(), place.path().to_owned());
        let request = AddCheckpoint::new(0, Vec::new(), log("a", b"x")).unwrap();
        assert!(directory.take(&request).is_err());
        assert_eq!(fs::read_to_string(place.path().join("checkpoint")).unwrap(), "something");
    }
}
