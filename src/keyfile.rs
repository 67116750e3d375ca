//! Files with a key for signing notes: of the daemon where Vault doesn't sign, and of an auditor's witness. One line in the
//! form of Go's `note` package ([`SigningKey`]), for nobody's eyes but their owner's.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret as _, zeroize::Zeroizing};

use crate::{
    clock::Clock,
    ledger::note::{KeyError, SigningKey},
};

/// The longest file: a name and a key are some 400 bytes at most.
const MAX_BYTES: u64 = 1024;

/// Read and write for its owner.
const MODE: u32 = 0o600;

/// Any right of others.
const OTHERS: u32 = 0o007;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It can't be read.
    #[error("cannot read the key in {file}; check that it exists and that this user may read it", file = .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may read it.
    #[error(
        "the key in {file} is open to everybody; make another one, since somebody may have this, with mode 0600",
        file = .file.display()
    )]
    Open {
        /// The file.
        file: PathBuf,
    },
    /// It isn't a key, or there can't be such a key.
    #[error("the key in {file} {problem}", file = .file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        problem: KeyError,
    },
    /// It can't be written.
    #[error("cannot write a new key to {file}; it must not be there yet, and its directory must", file = .file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Reads a key from its file.
///
/// # Errors
///
/// If there is none, or it isn't kept from others. Nothing of what is there is told.
pub fn read(file: &Path) -> Result<SigningKey, KeyFileError> {
    let failed = |source| KeyFileError::Read { file: file.to_owned(), source };
    let found = fs::metadata(file).map_err(failed)?;
    if found.permissions().mode() & OTHERS != 0 {
        return Err(KeyFileError::Open { file: file.to_owned() });
    }
    if !found.is_file() || found.len() > MAX_BYTES {
        return Err(failed(io::Error::other("it isn't a file of one line")));
    }
    let line = Zeroizing::new(fs::read_to_string(file).map_err(failed)?);
    SigningKey::parse(&line).map_err(|problem| KeyFileError::Key { file: file.to_owned(), problem })
}

/// Makes a key of this name and keeps it in a new file.
///
/// # Errors
///
/// If a key can't be called that, or the file is there already or can't be written.
pub fn make(clock: &dyn Clock, name: &str, file: &Path) -> Result<SigningKey, KeyFileError> {
    let mut seed = Zeroizing::new([0; 32]);
    for half in seed.as_chunks_mut::<16>().0 {
        *half = clock.random().to_le_bytes();
    }
    let key = SigningKey::from_seed(name, &seed)
        .map_err(|problem| KeyFileError::Key { file: file.to_owned(), problem })?;
    let write = || {
        let mut new = OpenOptions::new().write(true).create_new(true).mode(MODE).open(file)?;
        // A umask only takes away.
        new.set_permissions(Permissions::from_mode(MODE))?;
        new.write_all(key.to_line().expose_secret().as_bytes())?;
        new.sync_all()
    };
    write().map_err(|source| KeyFileError::Write { file: file.to_owned(), source })?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::SystemClock, ledger::note::Kind};

    #[test]
    fn a_key_is_made_once_and_kept_from_others() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("key");
        let made = make(&SystemClock, "log.example", &file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(read(&file).unwrap().verifier(Kind::Plain), made.verifier(Kind::Plain));
        assert!(matches!(make(&SystemClock, "log.example", &file), Err(KeyFileError::Write { .. })));
        fs::set_permissions(&file, Permissions::from_mode(0o604)).unwrap();
        assert!(matches!(read(&file), Err(KeyFileError::Open { .. })));
    }

    #[test]
    fn what_is_no_key_is_not_shown() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("key");
        fs::write(&file, "PRIVATE+KEY+secret").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(MODE)).unwrap();
        let told = read(&file).unwrap_err().to_string();
        assert!(!told.contains("secret"), "{told}");
        assert!(matches!(
            make(&SystemClock, "a b", &file.with_extension("x")),
            Err(KeyFileError::Key { .. })
        ));
        assert!(!file.with_extension("x").exists());
    }
}
