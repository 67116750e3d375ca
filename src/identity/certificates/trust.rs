//! Which authorities are trusted and what they have revoked: two files, read again while the daemon runs.
//!
//! Both count together, and only as long as both are good. A revocation list that was good once says nothing of what was
//! revoked since, so that the last good one isn't kept: nobody comes in by a certificate until the file is mended.

use std::{
    error::Error as StdError,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use rustls::{
    CertificateError, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{
        CertificateDer, CertificateRevocationListDer,
        pem::{self, PemObject},
    },
    server::{VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use sha2::{Digest, Sha256};
use x509_parser::{prelude::FromDer as _, revocation_list::CertificateRevocationList};

use crate::identity::IdentityError;

/// More than the authorities of any company have.
const CA_FILE_MAX_BYTES: u64 = 1024 * 1024;
/// Some hundred thousand revoked certificates.
const CRL_FILE_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Why certificates can't be checked.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file can't be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What stands in a file isn't what belongs there.
    #[error("{path} must hold {what}, PEM")]
    Content {
        /// The file.
        path: PathBuf,
        /// What belongs there.
        what: &'static str,
        /// What is wrong; `None` if there is none in it.
        source: Option<pem::Error>,
    },
    /// An authority's certificate can't be used.
    #[error("an authority in {path} can't be used")]
    Authority {
        /// The file.
        path: PathBuf,
        /// What the library says.
        source: rustls::Error,
    },
    /// The authorities and the lists can't be used together.
    #[error("the authorities or the revocation lists can't be used")]
    Lists(#[from] VerifierBuilderError),
}

/// What is trusted now.
#[derive(Debug)]
pub(super) struct Trust {
    ca_file: PathBuf,
    crl_file: Option<PathBuf>,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    /// What the files held, or that they couldn't be read.
    seen: Option<Seen>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// When the first of the lists is out of date, until that was told.
    ends_at: Option<DateTime<Utc>>,
}

type Seen = [u8; 32];

impl Trust {
    pub(super) fn load(ca_file: PathBuf, crl_file: Option<PathBuf>) -> Result<Self, TrustError> {
        let files = Files::read(&ca_file, crl_file.as_deref())?;
        let verifier = files.verifier(&ca_file, crl_file.as_deref())?;
        let current =
            Current { seen: Some(files.digest()), verifier: Some(verifier), ends_at: files.ends_at() };
        Ok(Self { ca_file, crl_file, current: Mutex::new(current) })
    }

    /// What checks, unless it isn't known what to check against.
    pub(super) fn verifier(&self) -> Option<Arc<dyn ClientCertVerifier>> {
        self.current().verifier.clone()
    }

    /// Looks whether the files hold something else, or a list is out of date by now, and says so once for each change.
    pub(super) fn reload(&self, now: DateTime<Utc>) {
        self.take_up();
        if self.current().ends_at.take_if(|ends_at| *ends_at <= now).is_some() {
            tracing::error!(
                event.action = "revocation-list-expired",
                "a revocation list is out of date; nobody comes in by a certificate of its authority until there is a \
                 new one"
            );
        }
    }

    fn take_up(&self) {
        let crl_file = self.crl_file.as_deref();
        let read = Files::read(&self.ca_file, crl_file);
        let seen = read.as_ref().ok().map(Files::digest);
        if seen == self.current().seen {
            return;
        }
        let ends_at = read.as_ref().ok().and_then(Files::ends_at);
        let verifier = read.and_then(|files| files.verifier(&self.ca_file, crl_file));
        match &verifier {
            Ok(_) => tracing::info!(
                event.action = "certificate-trust-loaded",
                event.outcome = "success",
                "the authorities and revocation lists of client certificates were read anew"
            ),
            Err(error) => tracing::error!(
                event.action = "certificate-trust-loaded",
                event.outcome = "failure",
                error = error as &dyn StdError,
                "the authorities or revocation lists of client certificates can't be used; nobody comes in by a \
                 certificate until that is mended"
            ),
        }
        *self.current() = Current { seen, verifier: verifier.ok(), ends_at };
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Files {
    authorities: Vec<u8>,
    lists: Option<Vec<u8>>,
}

impl Files {
    fn read(ca_file: &Path, crl_file: Option<&Path>) -> Result<Self, TrustError> {
        let authorities = bounded(ca_file, CA_FILE_MAX_BYTES)?;
        let lists = crl_file.map(|path| bounded(path, CRL_FILE_MAX_BYTES)).transpose()?;
        Ok(Self { authorities, lists })
    }

    fn digest(&self) -> Seen {
        let parts = [Some(&self.authorities), self.lists.as_ref()];
        let mut all = Sha256::new();
        for part in parts.into_iter().flatten() {
            all.update(Sha256::digest(part));
        }
        all.finalize().into()
    }

    /// When the first of the lists is out of date; of what is no list, never.
    fn ends_at(&self) -> Option<DateTime<Utc>> {
        let lists =
            CertificateRevocationListDer::pem_slice_iter(self.lists.as_deref()?).filter_map(Result::ok);
        let end = |list: CertificateRevocationListDer<'_>| {
            let (_, list) = CertificateRevocationList::from_der(list.as_ref()).ok()?;
            DateTime::from_timestamp(list.next_update()?.timestamp(), 0)
        };
        lists.filter_map(end).min()
    }

    fn verifier(
        &self,
        ca_file: &Path,
        crl_file: Option<&Path>,
    ) -> Result<Arc<dyn ClientCertVerifier>, TrustError> {
        let mut roots = RootCertStore::empty();
        for authority in all::<CertificateDer<'_>>(&self.authorities, ca_file, "certificates")? {
            let unusable = |source| TrustError::Authority { path: ca_file.to_owned(), source };
            roots.add(authority).map_err(unusable)?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = match (&self.lists, crl_file) {
            (Some(lists), Some(path)) => {
                // The whole chain below the authorities, no certificate that no list speaks of, and no list that is out of
                // date: the first two are the library's own choice.
                let lists: Vec<CertificateRevocationListDer<'_>> = all(lists, path, "revocation lists")?;
                builder.with_crls(lists).enforce_revocation_expiration()
            }
            _ => builder,
        };
        Ok(builder.build()?)
    }
}

fn bounded(path: &Path, max: u64) -> Result<Vec<u8>, TrustError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(max + 1).read_to_end(&mut bytes));
    let read = read.and_then(|_| {
        let is_whole = bytes.len() as u64 <= max;
        is_whole.then_some(()).ok_or_else(|| io::Error::other(format!("it has more than {max} bytes")))
    });
    read.map_err(|source| TrustError::Read { path: path.to_owned(), source })?;
    Ok(bytes)
}

fn all<T: PemObject>(pem: &[u8], path: &Path, what: &'static str) -> Result<Vec<T>, TrustError> {
    let bad = |source| TrustError::Content { path: path.to_owned(), what, source };
    let all: Vec<T> = T::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|source| bad(Some(source)))?;
    if all.is_empty() { Err(bad(None)) } else { Ok(all) }
}

/// What is wrong with a certificate, in our words. Nothing of it is repeated.
pub(super) fn fault(error: &rustls::Error) -> IdentityError {
    use CertificateError as Bad;
    let rustls::Error::InvalidCertificate(bad) = error else {
        // A list whose own signature is wrong, for example: then nothing is known about the certificate.
        return IdentityError::TrustUnavailable;
    };
    IdentityError::Certificate(match bad {
        Bad::Expired | Bad::ExpiredContext { .. } => "is expired",
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            "isn't valid yet; check the clocks of its issuer and of this host"
        }
        Bad::Revoked => "is revoked",
        Bad::UnknownIssuer | Bad::BadSignature => "is from an authority that isn't trusted here",
        Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. } => "isn't one for clients",
        Bad::UnknownRevocationStatus => "is from an authority whose revocation list isn't known here",
        Bad::ExpiredRevocationList | Bad::ExpiredRevocationListContext { .. } => {
            return IdentityError::TrustUnavailable;
        }
        _ => "can't be used",
    })
}
