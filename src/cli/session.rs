//! The login that is kept between calls: one JWT in a file that only its owner can read.
//!
//! A file that others can read is refused, because they may have read it already. Vault's token is never kept. The JWT's
//! claims are read to tell people who they are; whether they are true is for hallpassd to check.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tempfile::NamedTempFile;

use super::{args::Options, error::Failure};

/// The largest token file that is read; a JWT of many groups has a few KiB.
const FILE_MAX_BYTES: u64 = 64 * 1024;
/// The permission bits that let others in.
const OTHERS: u32 = 0o077;

/// What a token says about its bearer. Issuers differ, so whatever isn't as expected counts as not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// The identity provider's own id.
    pub sub: String,
    /// The name that people know.
    pub name: String,
    /// The groups that the targets' roles name, if the issuer puts them where Vault does.
    pub groups: Vec<String>,
    /// When the token expires, in seconds since 1970.
    exp: i64,
}

impl Claims {
    /// Reads the claims of a JWT (RFC 7519) without checking its signature.
    #[must_use]
    pub fn of(token: &SecretString) -> Option<Self> {
        let claims = claims(token)?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = ["name", "preferred_username"].map(text).into_iter().find(|name| !name.is_empty());
        let groups = claims.get("groups").and_then(Value::as_array).into_iter().flatten();
        Some(Self {
            sub: text("sub"),
            name: name.unwrap_or_default(),
            groups: groups.filter_map(Value::as_str).map(str::to_owned).collect(),
            exp: claims.get("exp").and_then(Value::as_i64).unwrap_or_default(),
        })
    }

    /// What to call somebody.
    #[must_use]
    pub fn shown_name(&self) -> &str {
        if self.name.is_empty() { &self.sub } else { &self.name }
    }

    /// When the token expires, if it says so.
    #[must_use]
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(self.exp, 0).filter(|_| self.exp > 0)
    }
}

/// The claims of a JWT, as they came.
#[must_use]
pub fn claims(token: &SecretString) -> Option<Map<String, Value>> {
    let mut parts = token.expose_secret().split('.');
    let (_, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

/// Where the login is kept.
///
/// # Errors
///
/// If there is no home directory to keep it in.
pub fn path(options: &Options) -> Result<PathBuf, Failure> {
    if let Some(path) = options.token_file() {
        return Ok(path.into());
    }
    let directory = |key| std::env::var_os(key).map(PathBuf::from).filter(|path| path.is_absolute());
    let state =
        directory("XDG_STATE_HOME").or_else(|| directory("HOME").map(|home| home.join(".local/state")));
    let state = state.ok_or_else(|| {
        Failure::local("there is no home directory to keep the login in")
            .hint("name a file with `--token-file`")
    })?;
    Ok(state.join("hallpass/token"))
}

/// Reads the stored token.
///
/// # Errors
///
/// If there is none, or others can read it.
pub fn read(path: &Path) -> Result<SecretString, Failure> {
    let shown = path.display();
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::local("you are not logged in").hint("log in with `hallpass login`")
        }
        _ => {
            Failure::local(format!("cannot read {shown}: {error}")).hint("log in again with `hallpass login`")
        }
    };
    let file = File::open(path).map_err(unreadable)?;
    // The open file is asked, not the path: nobody can exchange it in between.
    let about = file.metadata().map_err(unreadable)?;
    if !about.is_file() {
        return Err(
            Failure::local(format!("{shown} is not a file")).hint("name another one with `--token-file`")
        );
    }
    if about.mode() & OTHERS != 0 {
        let failure = Failure::local(format!("others may have read your login in {shown}"));
        return Err(failure
            .hint(format!("chmod 600 {}; then log in again", super::escape::shell(&shown.to_string()))));
    }
    let mut text = String::new();
    file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    let token = text.trim();
    if token.is_empty() || text.len() as u64 > FILE_MAX_BYTES {
        return Err(broken());
    }
    Ok(SecretString::from(token))
}

/// The stored token can't be used.
#[must_use]
pub fn broken() -> Failure {
    Failure::local("the stored login can't be used").hint("log in again with `hallpass login`")
}

/// Stores a token in place of the one before: wholly, or not at all.
///
/// # Errors
///
/// If the directory or the file can't be written.
pub fn write(path: &Path, token: &SecretString) -> Result<(), Failure> {
    store(path, token).map_err(|error| {
        Failure::local(format!("cannot write {}: {error}", path.display()))
            .hint("name a file elsewhere with `--token-file`")
    })
}

fn store(path: &Path, token: &SecretString) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if fs::metadata(directory).is_err() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    // Born with mode 0600, so that there is no moment at which others could open it.
    let mut file = NamedTempFile::new_in(directory)?;
    file.write_all(token.expose_secret().as_bytes())?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// An unsigned token with these claims.
    pub fn token(claims: &serde_json::Value) -> SecretString {
        let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
        SecretString::from(format!("e30.{payload}.c2ln"))
    }

    #[test]
    fn what_is_written_is_private_and_read_back() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("state/hallpass/token");
        for text in ["first", "second"] {
            write(&path, &SecretString::from(text)).unwrap();
            assert_eq!(read(&path).unwrap().expose_secret(), text);
        }
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        let left = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "no temporary file stays behind");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token");
        write(&path, &SecretString::from("secret")).unwrap();
        for mode in [0o640, 0o604, 0o644, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let failure = read(&path).unwrap_err();
            assert!(failure.hint.unwrap().starts_with("chmod 600 "), "{mode:o}");
        }
    }

    #[test]
    fn a_missing_empty_or_huge_file_says_to_log_in() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token");
        assert_eq!(read(&path).unwrap_err().message, "you are not logged in");
        for text in ["", " \n", &"x".repeat(65_537)] {
            write(&path, &SecretString::from(text)).unwrap();
            assert!(read(&path).unwrap_err().hint.unwrap().contains("hallpass login"));
        }
        assert!(read(home.path()).is_err());
    }

    #[test]
    fn claims_are_read_without_trusting_them() {
        let claims =
            serde_json::json!({ "sub": "s", "name": "alice", "groups": ["dev"], "exp": 1_795_438_800 });
        let read = Claims::of(&token(&claims)).unwrap();
        assert_eq!((read.name.as_str(), read.groups.as_slice()), ("alice", ["dev".to_owned()].as_slice()));
        assert!(read.expires_at().is_some());
        let bare = Claims::of(&token(&serde_json::json!({ "sub": "s" }))).unwrap();
        assert_eq!((bare.expires_at(), bare.groups.len()), (None, 0));
        let odd =
            serde_json::json!({ "sub": "s", "preferred_username": "alice", "groups": "dev", "exp": 1.5 });
        let odd = Claims::of(&token(&odd)).unwrap();
        assert_eq!((odd.shown_name(), odd.groups.len(), odd.expires_at()), ("alice", 0, None));
        for text in ["", "a.b", "a.b.c", "a.e30.c.d"] {
            assert_eq!(Claims::of(&SecretString::from(text)), None, "{text}");
        }
    }
}
