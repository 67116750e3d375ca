//! Whose keys count: `allowed_signers` and the list of revoked keys. Both are read anew for each signature, so that what an
//! operator writes counts at once, and a list that has become unreadable lets nobody sign.

use std::{
    fmt,
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};

use super::{
    NAMESPACE, Verified,
    allowed::{self, Allowed, Fault},
    key::PublicKey,
    sshsig,
};
use crate::access::signing::Problem;

/// The longest list, in bytes: some thousand keys.
const LIST_MAX_BYTES: u64 = 1024 * 1024;
/// How OpenSSH's binary lists of revoked keys begin.
const KRL: &[u8] = b"SSHKRL\n";

/// A list can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ListError {
    path: PathBuf,
    /// The line that is wrong, if it is one.
    line: Option<usize>,
    problem: String,
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))?;
        write!(f, ": {}", self.problem)
    }
}

/// Where the lists are. Without any, nobody's signature can be verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signers {
    /// Whose keys count, as `ssh-keygen -Y verify -f` takes it.
    pub allowed_file: Option<PathBuf>,
    /// Which keys count no more: one public key on each line, as `ssh-keygen -Y verify -r` takes it.
    pub revoked_file: Option<PathBuf>,
}

impl Signers {
    /// Reads the lists; `None` if there are none. Blocks as long as reading two files takes.
    ///
    /// # Errors
    ///
    /// If a file can't be read, is too long, or has a line that can't be understood.
    pub fn read(&self) -> Result<Option<Lists>, ListError> {
        let lists = self.check()?;
        Ok(self.allowed_file.as_ref().map(|_| lists))
    }

    /// Reads whichever lists there are: one alone can be wrong, too.
    ///
    /// # Errors
    ///
    /// Like [`Self::read`].
    pub fn check(&self) -> Result<Lists, ListError> {
        let allowed = self.allowed_file.as_deref().map(|path| lines(path, allowed::allowed)).transpose()?;
        let revoked = self.revoked_file.as_deref().map(|path| lines(path, allowed::key_of)).transpose()?;
        Ok(Lists { allowed: allowed.unwrap_or_default(), revoked: revoked.unwrap_or_default() })
    }
}

/// Whose signature is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Signer<'a> {
    /// The person, as hallpass knows him: what `-I` is for `ssh-keygen`.
    pub principal: &'a str,
    /// When his key has to be valid: at each of these times.
    pub at: &'a [DateTime<Utc>],
}

/// Whose keys count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    allowed: Vec<Allowed>,
    revoked: Vec<PublicKey>,
}

impl Lists {
    /// Reads the lists from their texts: for those who have them from elsewhere.
    ///
    /// # Errors
    ///
    /// If there is a line that can't be understood.
    pub fn parse(allowed_signers: &str, revoked_keys: &str) -> Result<Self, ListError> {
        let allowed = each_line(Path::new("allowed_signers"), allowed_signers, allowed::allowed)?;
        let revoked = each_line(Path::new("revoked_keys"), revoked_keys, allowed::key_of)?;
        Ok(Self { allowed, revoked })
    }

    /// Whether this is that person's signature of the text, made for approvals, with a key that counts.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn verify(&self, text: &str, armored: &str, signer: &Signer<'_>) -> Result<Verified, Problem> {
        let signature = sshsig::parse(armored).map_err(|_| Problem::Malformed)?;
        if signature.namespace() != NAMESPACE {
            return Err(Problem::OtherNamespace);
        }
        let present = signature.verify(text.as_bytes()).ok_or(Problem::OtherText)?;
        let key = signature.key();
        self.counts(key, signer)?;
        Ok(Verified { key: key.fingerprint(), present })
    }

    /// Whether the person may sign approvals with this key.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn counts(&self, key: &PublicKey, signer: &Signer<'_>) -> Result<(), Problem> {
        if self.revoked.iter().any(|revoked| revoked.is(key)) {
            return Err(Problem::KeyRevoked);
        }
        self.allows(key, signer)
    }

    /// One line that lets the person use the key is enough, whatever the others say.
    fn allows(&self, key: &PublicKey, signer: &Signer<'_>) -> Result<(), Problem> {
        let mut problem = Problem::OtherKey;
        let of_both =
            |line: &&Allowed| line.is_for(signer.principal) && line.key.is(key) && line.takes(NAMESPACE);
        for line in self.allowed.iter().filter(of_both) {
            // In whole seconds, as OpenSSH does, which knows no others.
            let second = DateTime::<Utc>::timestamp;
            let early = |at| line.valid_after.is_some_and(|after| second(at) < second(&after));
            let late = |at| line.valid_before.is_some_and(|before| second(at) > second(&before));
            if signer.at.iter().any(late) {
                problem = Problem::KeyExpired;
            } else if signer.at.iter().any(early) {
                problem = Problem::KeyNotYetValid;
            } else {
                return Ok(());
            }
        }
        Err(problem)
    }
}

fn lines<T>(path: &Path, read: fn(&str) -> Result<T, Fault>) -> Result<Vec<T>, ListError> {
    let bad = |problem: String| ListError { path: path.to_owned(), line: None, problem };
    let bytes = contents(path).map_err(bad)?;
    if bytes.starts_with(KRL) {
        return Err(bad("is a binary list (KRL); write one public key on each line instead".to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|_| bad("is not UTF-8 text".to_owned()))?;
    each_line(path, &text, read)
}

fn each_line<T>(path: &Path, text: &str, read: fn(&str) -> Result<T, Fault>) -> Result<Vec<T>, ListError> {
    let numbered =
        text.split('\n').zip(1..).filter_map(|(line, number)| Some((allowed::content(line)?, number)));
    let one = |(line, number)| {
        read(line).map_err(|problem| ListError { path: path.to_owned(), line: Some(number), problem })
    };
    numbered.map(one).collect()
}

fn contents(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("can't be read: {error}");
    // Before opening, because opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("is not a file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(LIST_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LIST_MAX_BYTES {
        return Err(format!("is longer than {LIST_MAX_BYTES} bytes"));
    }
    Ok(bytes)
}
