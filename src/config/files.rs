//! The files that a configuration names: they must be there, readable, and where they hold a secret, kept from others.
//! What is in them is not looked at here and never shown.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use super::found::Read;

/// What stands for systemd's credentials directory at the beginning of a path.
const CREDENTIAL: &str = "credential:";
/// Read, write and search for everybody.
const OTHERS: u32 = 0o007;
/// Write for everybody.
const OTHERS_WRITE: u32 = 0o002;

/// Finds and checks files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Files<'a> {
    /// Where systemd puts the credentials (`$CREDENTIALS_DIRECTORY`), if it started the daemon.
    pub(super) credentials: Option<&'a Path>,
}

impl Files<'_> {
    /// A file that anybody may read, but not write: certificates.
    pub(super) fn public(&self, text: &str) -> Read<PathBuf> {
        let path = self.find(text)?;
        check(&path, OTHERS_WRITE, "is writable by everybody; run chmod o-w on it")?;
        Ok(path)
    }

    /// A file with a secret: nothing for others, and not empty.
    pub(super) fn secret(&self, text: &str) -> Read<PathBuf> {
        let path = self.find(text)?;
        let size = check(
            &path,
            OTHERS,
            "holds a secret and is open to everybody; replace the secret, then run chmod o-rwx on it",
        )?;
        if size == 0 {
            return Err(format!("{} is empty", path.display()));
        }
        Ok(path)
    }

    fn find(&self, text: &str) -> Read<PathBuf> {
        let Some(name) = text.strip_prefix(CREDENTIAL) else {
            // The text isn't shown: it could be the secret itself.
            let path = Path::new(text);
            let absolute = path.is_absolute().then(|| path.to_owned());
            return absolute.ok_or_else(|| {
                "must be an absolute path, or \"credential:NAME\" for a credential from systemd".to_owned()
            });
        };
        let mut parts = Path::new(name).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(only)), None) if only == name) {
            return Err("must have one file's name after \"credential:\", without '/'".to_owned());
        }
        let directory = self.credentials.ok_or(
            "asks for a credential, but $CREDENTIALS_DIRECTORY is not set; start the daemon by its systemd unit with \
             LoadCredential=, or, to check by hand, set it to a directory with such files",
        )?;
        Ok(directory.join(name))
    }
}

/// Whether the configuration itself could be rewritten by anybody, who would then appoint himself approver.
pub(super) fn rewritable(file: &Path) -> Option<String> {
    let metadata = fs::metadata(file).ok().filter(fs::Metadata::is_file)?;
    let open = metadata.permissions().mode() & OTHERS_WRITE != 0;
    open.then(|| {
        "is writable by everybody, who could appoint themselves approvers; run chmod o-w on it".to_owned()
    })
}

/// The file's size in bytes, if it is a readable file that has none of the `forbidden` permission bits.
fn check(path: &Path, forbidden: u32, fault: &str) -> Read<u64> {
    let shown = path.display();
    let metadata = fs::metadata(path).map_err(|error| format!("{shown} can't be read: {error}"))?;
    // Before opening, because opening a pipe would wait for its writer.
    if !metadata.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    if metadata.permissions().mode() & forbidden != 0 {
        return Err(format!("{shown} {fault}"));
    }
    File::open(path).map_err(|error| format!("{shown} can't be read: {error}"))?;
    Ok(metadata.len())
}
