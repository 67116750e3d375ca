//! The Unix socket: a file that is there with its owner and permissions from its first moment, in place of one that nobody
//! listens on, and gone when the daemon stops.

use std::{
    fs::{self, Metadata, Permissions},
    io,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt, chown},
        net::{UnixListener as StdListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use nix::unistd::{Group, User};
use tokio::net::UnixListener;

/// Write for everybody.
const OTHERS_WRITE: u32 = 0o002;

/// Where the socket is, and who may open it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketPlace {
    /// The file.
    pub path: PathBuf,
    /// Its permissions; whoever may write to it may connect.
    pub mode: u32,
    /// Its owner, by name or id; the daemon's user if unset.
    pub owner: Option<String>,
    /// Its group, by name or id; the daemon's group if unset.
    pub group: Option<String>,
}

/// Why the socket can't be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The directory isn't there, or can't be looked at.
    #[error("cannot look at {path}, where the socket has to be; under systemd, RuntimeDirectory= makes it")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Anybody could put another socket in the place of this one.
    #[error("{path} is writable by everybody, who could put another socket there; choose another directory")]
    Open {
        /// The directory.
        path: PathBuf,
    },
    /// Something else has the name.
    #[error("{path} is there and isn't a socket; remove it, or choose another path")]
    NoSocket {
        /// The file.
        path: PathBuf,
    },
    /// Somebody listens there.
    #[error("somebody else listens on {path}, or may do so; stop that first")]
    InUse {
        /// The file.
        path: PathBuf,
        /// What the system said, if it wasn't just that.
        source: Option<io::Error>,
    },
    /// There is no such user or group.
    #[error("there is no {kind} {name} for the socket's file")]
    NoOwner {
        /// `user` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
        /// What the user database said, if it failed.
        source: Option<nix::Error>,
    },
    /// The file can't be made.
    #[error(
        "cannot make the socket {path} with its owner and permissions; the owner has to be one that the daemon may give it"
    )]
    Make {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A socket that is listened on.
#[derive(Debug)]
pub struct SocketDoor {
    pub(super) listener: UnixListener,
    _file: SocketFile,
}

/// The file of a socket, removed when this is dropped: unless it is another one by then.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketDoor {
    /// Makes the socket and listens.
    ///
    /// # Errors
    ///
    /// If something is in the way, or if the file can't be as it has to be.
    pub fn open(place: &SocketPlace) -> Result<Self, SocketError> {
        let path = &place.path;
        let directory = path.parent().unwrap_or(Path::new("/"));
        let about = fs::metadata(directory)
            .map_err(|source| SocketError::Directory { path: directory.to_owned(), source })?;
        if about.permissions().mode() & OTHERS_WRITE != 0 {
            return Err(SocketError::Open { path: directory.to_owned() });
        }
        is_free(path)?;
        let owner = place.owner.as_deref().map(user).transpose()?;
        let group = place.group.as_deref().map(group).transpose()?;
        let make = || {
            // Made where nobody else can reach it, and moved once it is as it has to be.
            let private = tempfile::Builder::new().prefix(".s").rand_bytes(6).tempdir_in(directory)?;
            let made = private.path().join("s");
            let listener = StdListener::bind(&made)?;
            fs::set_permissions(&made, Permissions::from_mode(place.mode))?;
            if owner.is_some() || group.is_some() {
                chown(&made, owner, group)?;
            }
            let identity = identity(&fs::symlink_metadata(&made)?);
            listener.set_nonblocking(true)?;
            let listener = UnixListener::from_std(listener)?;
            fs::rename(&made, path)?;
            Ok(Self { listener, _file: SocketFile { path: path.clone(), identity } })
        };
        make().map_err(|source| SocketError::Make { path: path.clone(), source })
    }
}

/// Whether the name is free, or that of a socket on which nobody listens any more, as `kill -9` leaves it.
fn is_free(path: &Path) -> Result<(), SocketError> {
    let in_use = |source| SocketError::InUse { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(in_use(Some(error))),
        Ok(about) if !about.file_type().is_socket() => Err(SocketError::NoSocket { path: path.to_owned() }),
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) => Err(in_use(Some(error))),
            Ok(_) => Err(in_use(None)),
        },
    }
}

fn user(name: &str) -> Result<u32, SocketError> {
    named("user", name, |name| User::from_name(name).map(|user| user.map(|user| user.uid.as_raw())))
}

fn group(name: &str) -> Result<u32, SocketError> {
    named("group", name, |name| Group::from_name(name).map(|group| group.map(|group| group.gid.as_raw())))
}

/// An id as it is, a name as the system's user database has it.
fn named(
    kind: &'static str,
    name: &str,
    ask: impl FnOnce(&str) -> nix::Result<Option<u32>>,
) -> Result<u32, SocketError> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let unknown = |source| SocketError::NoOwner { kind, name: name.to_owned(), source };
    ask(name).map_err(|error| unknown(Some(error)))?.ok_or_else(|| unknown(None))
}

fn identity(about: &Metadata) -> (u64, u64) {
    (about.dev(), about.ino())
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|about| identity(&about) == self.identity) {
            // If it can't be removed, the next start replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(directory: &Path) -> SocketPlace {
        SocketPlace { path: directory.join("hallpass.sock"), mode: 0o620, owner: None, group: None }
    }

    #[tokio::test]
    async fn it_has_its_permissions_and_goes_with_the_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let place = place(directory.path());
        let door = SocketDoor::open(&place).unwrap();
        assert_eq!(fs::metadata(&place.path).unwrap().permissions().mode() & 0o7777, 0o620);
        UnixStream::connect(&place.path).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
        drop(door);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn owner_and_group_are_set_by_name_or_id() {
        let directory = tempfile::tempdir().unwrap();
        let about = fs::metadata(directory.path()).unwrap();
        let own = User::from_uid(about.uid().into()).unwrap().unwrap();
        let group = Group::from_gid(about.gid().into()).unwrap().unwrap();
        for (owner, group) in [(own.name, about.gid().to_string()), (about.uid().to_string(), group.name)] {
            let place = SocketPlace { owner: Some(owner), group: Some(group), ..place(directory.path()) };
            let _door = SocketDoor::open(&place).unwrap();
            let made = fs::metadata(&place.path).unwrap();
            assert_eq!((made.uid(), made.gid()), (about.uid(), about.gid()));
        }
        let nobody = SocketPlace { owner: Some("no such user".to_owned()), ..place(directory.path()) };
        assert!(matches!(SocketDoor::open(&nobody), Err(SocketError::NoOwner { .. })));
        let nobody = SocketPlace { group: Some("no such group".to_owned()), ..place(directory.path()) };
        assert!(matches!(SocketDoor::open(&nobody), Err(SocketError::NoOwner { .. })));
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let place = place(directory.path());
        drop(StdListener::bind(&place.path).unwrap());
        let door = SocketDoor::open(&place).unwrap();
        assert!(matches!(SocketDoor::open(&place), Err(SocketError::InUse { source: None, .. })));
        UnixStream::connect(&place.path).expect("it is still there");
        // Another one has its place when it goes: that one stays.
        fs::remove_file(&place.path).unwrap();
        let other = StdListener::bind(&place.path).unwrap();
        drop(door);
        UnixStream::connect(&place.path).expect("the other one is untouched");
        drop(other);
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let place = place(directory.path());
        fs::write(&place.path, "precious").unwrap();
        assert!(matches!(SocketDoor::open(&place), Err(SocketError::NoSocket { .. })));
        assert_eq!(fs::read_to_string(&place.path).unwrap(), "precious");
        fs::remove_file(&place.path).unwrap();
        std::os::unix::fs::symlink(directory.path().join("elsewhere"), &place.path).unwrap();
        assert!(matches!(SocketDoor::open(&place), Err(SocketError::NoSocket { .. })));
    }

    #[tokio::test]
    async fn a_directory_that_anybody_can_write_to_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o1777)).unwrap();
        assert!(matches!(SocketDoor::open(&place(directory.path())), Err(SocketError::Open { .. })));
        let missing = place(&directory.path().join("missing"));
        assert!(matches!(SocketDoor::open(&missing), Err(SocketError::Directory { .. })));
    }
}
