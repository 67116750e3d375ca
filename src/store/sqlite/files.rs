//! The database file and its lock: one process at a time, and nobody but the owner. SQLite gives the `-wal` and `-shm`
//! files the mode of the database file.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::store::{Migrate, OpenError};

/// Only the owner reads and writes.
const MODE: u32 = 0o600;

/// Takes the lock, which lasts as long as the file that this answers with, and sees that the database file is there.
pub(super) fn claim(file: &Path, migrate: Migrate) -> Result<File, OpenError> {
    let directory = directory(file);
    // Opened rather than looked at, because a new file's name has to reach the disk through it.
    let opened = File::open(&directory)
        .map_err(|source| OpenError::Directory { directory: directory.clone(), source })?;
    if migrate == Migrate::No && !file.exists() {
        return Err(OpenError::Missing { file: file.to_owned() });
    }
    let lock = lock(file)?;
    sign(&lock).map_err(|source| OpenError::File { file: lock_path(file), source })?;
    match create(file) {
        Ok(()) => opened.sync_all().map_err(|source| OpenError::Directory { directory, source })?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(OpenError::File { file: file.to_owned(), source }),
    }
    check_mode(file)?;
    Ok(lock)
}

/// Which file this is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

/// Which file has this name now.
pub(super) fn identity(file: &Path) -> io::Result<Identity> {
    let metadata = fs::metadata(file)?;
    Ok(Identity { device: metadata.dev(), inode: metadata.ino() })
}

/// The directory that a file is in.
pub(super) fn directory(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The lock file stays when the lock goes: removing it would let two processes lock two files of one name.
pub(in crate::store) fn lock(file: &Path) -> Result<File, OpenError> {
    let path = lock_path(file);
    let failed = |source| OpenError::File { file: path.clone(), source };
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(MODE).open(&path);
    let lock = lock.map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { lock: path }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// The lock file's path.
pub(super) fn lock_path(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".lock");
    PathBuf::from(name)
}

/// Writes down who has the lock, for commands that have something to ask of him.
fn sign(mut lock: &File) -> io::Result<()> {
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())
}

fn create(file: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(MODE).open(file).map(drop)
}

fn check_mode(file: &Path) -> Result<(), OpenError> {
    let metadata = fs::metadata(file).map_err(|source| OpenError::File { file: file.to_owned(), source })?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & !MODE == 0 { Ok(()) } else { Err(OpenError::Exposed { file: file.to_owned(), mode }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_directory_is_here() {
        assert_eq!(directory(Path::new("hallpass.db")), Path::new("."));
        assert_eq!(directory(Path::new("/var/lib/hallpass/db")), Path::new("/var/lib/hallpass"));
    }
}
