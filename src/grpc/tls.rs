//! The server's certificate and key, and the only way they are used: TLS 1.3, HTTP/2. There is no switch for less. The files
//! are looked at again while the server runs, because certificates are renewed.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
    version::TLS13,
};
use tokio::task::spawn_blocking;
use tokio_rustls::TlsAcceptor;

use crate::{clock::Clock, identity::Certificates, telemetry::chain as chain_of};

/// Why TLS can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate file can't be read, or has no certificate in it.
    #[error(
        "cannot read the certificates in {path}; it takes a readable PEM file, the server's own certificate first"
    )]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong; `None` if there simply is no certificate in it.
        source: Option<pem::Error>,
    },
    /// The key file can't be read, or has no private key in it.
    #[error("cannot read the private key in {path}; it takes a readable PEM file with an unencrypted key")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// They are readable, but not a pair, or of a kind that can't be used.
    #[error(
        "cannot use the certificate in {certificate} with the key in {key}; check that they belong together"
    )]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What the library says.
        source: rustls::Error,
    },
}

/// How often the files are looked at. A renewed certificate, and a revoked one, count after no more than this.
const RELOAD_EVERY: Duration = Duration::from_secs(10);

/// A certificate chain with its key, ready to serve, and what is trusted of clients' certificates. Clones are handles to the
/// same one.
#[derive(Clone, Debug)]
pub struct Tls(Arc<RwLock<Served>>);

/// What connections begin with.
#[derive(Clone, Debug)]
struct Served {
    config: Arc<ServerConfig>,
    own: Arc<Own>,
    clients: Option<Arc<Certificates>>,
}

impl Tls {
    /// Loads a certificate chain and its key. Clients are asked for a certificate if anything is trusted of theirs.
    ///
    /// # Errors
    ///
    /// If a file can't be read or the two can't be used together; the error names the file.
    pub fn load(
        certificate: &Path,
        key: &Path,
        clients: Option<Arc<Certificates>>,
    ) -> Result<Self, TlsError> {
        let own = Arc::new(Own::load(certificate, key)?);
        let pair = |source| TlsError::Pair { certificate: certificate.into(), key: key.into(), source };
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .map_err(pair)?;
        let builder = match &clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(Arc::clone(clients) as _),
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&own) as _);
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A session that is taken up again skips the look at the client's certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self(Arc::new(RwLock::new(Served { config: Arc::new(config), own, clients }))))
    }

    /// From now on connections begin with the other one's; those that there are go on.
    pub fn replace(&self, other: &Self) {
        let served = other.served();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = served;
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.served().config)
    }

    fn served(&self) -> Served {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the files again and again, until it is dropped.
    pub(super) async fn keep(&self, clock: &dyn Clock) {
        loop {
            clock.sleep(RELOAD_EVERY).await;
            let this = self.clone();
            // A look that panicked is made up by the next one.
            let _ = spawn_blocking(move || this.reload()).await;
        }
    }

    fn reload(&self) {
        let Served { own, clients, .. } = self.served();
        own.reload();
        if let Some(clients) = clients {
            clients.reload();
        }
    }
}

/// The server's own certificate, as it was when it was last good: an unusable file is no reason to turn everybody away.
#[derive(Debug)]
struct Own {
    certificate: PathBuf,
    key: PathBuf,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    /// The certificates in the file, and the trouble with it that was told of.
    chain: Vec<CertificateDer<'static>>,
    trouble: Option<String>,
    serving: Arc<CertifiedKey>,
}

impl Own {
    fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let serving = Arc::new(pair(certificate, key)?);
        let current = Current { chain: serving.cert.clone(), trouble: None, serving };
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), current: Mutex::new(current) })
    }

    /// Takes up what the files hold, if it is something else, and says so once.
    fn reload(&self) {
        let read = pair(&self.certificate, &self.key);
        let mut current = self.current();
        match read {
            Ok(serving) => {
                if serving.cert != current.chain || current.trouble.is_some() {
                    tracing::info!(
                        event.action = "server-certificate-loaded",
                        event.outcome = "success",
                        "the server's certificate was read anew"
                    );
                }
                let chain = serving.cert.clone();
                *current = Current { chain, trouble: None, serving: Arc::new(serving) };
            }
            Err(error) => {
                let trouble = chain_of(&error);
                if current.trouble.as_ref() != Some(&trouble) {
                    tracing::error!(
                        event.action = "server-certificate-loaded",
                        event.outcome = "failure",
                        error.message = trouble,
                        "the server's certificate can't be read anew; the one before is served as long as it holds"
                    );
                    current.trouble = Some(trouble);
                }
            }
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Own {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current().serving))
    }
}

fn pair(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = chain(certificate)?;
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::Key { path: key.into(), source })?;
    let pair = |source| TlsError::Pair { certificate: certificate.into(), key: key.into(), source };
    CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider()).map_err(pair)
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bad = |source| TlsError::Certificate { path: path.into(), source };
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let chain: Vec<_> = read.map_err(|source| bad(Some(source)))?;
    if chain.is_empty() { Err(bad(None)) } else { Ok(chain) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::generate_simple_self_signed;

    use tracing::Level;

    use super::*;
    use crate::telemetry::{Format, tests::logged};

    #[test]
    fn each_file_is_named_when_it_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let pair = || generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let good = pair();
        let good_cert = file("cert.pem", &good.cert.pem());
        let good_key = file("key.pem", &good.signing_key.serialize_pem());
        let tls = Tls::load(&good_cert, &good_key, None).unwrap();
        assert_eq!(tls.served().config.alpn_protocols, [b"h2"]);
        let other_key = file("other.pem", &pair().signing_key.serialize_pem());
        let empty = file("empty.pem", "");
        let missing = directory.path().join("missing.pem");
        for bad in [&missing, &empty, &good_key] {
            let error = Tls::load(bad, &good_key, None).unwrap_err();
            assert!(matches!(error, TlsError::Certificate { .. }), "{error}");
            assert!(error.to_string().contains(&bad.display().to_string()));
        }
        for bad in [&missing, &empty, &good_cert] {
            let error = Tls::load(&good_cert, bad, None).unwrap_err();
            assert!(matches!(error, TlsError::Key { .. }), "{error}");
            assert!(error.to_string().contains(&bad.display().to_string()));
        }
        assert!(matches!(Tls::load(&good_cert, &other_key, None), Err(TlsError::Pair { .. })));
    }

    #[test]
    fn a_renewed_certificate_is_taken_up_and_a_bad_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| directory.path().join(name));
        let write = || {
            let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            fs::write(&certificate, made.cert.pem()).unwrap();
            fs::write(&key, made.signing_key.serialize_pem()).unwrap();
            made.cert.der().clone()
        };
        let first = write();
        let tls = Tls::load(&certificate, &key, None).unwrap();
        let served = || tls.served().own.current().serving.cert.clone();
        assert_eq!(served(), [first]);
        let second = write();
        let look = || logged(Level::INFO, Format::Json, || tls.reload());
        assert!(look().contains("was read anew"));
        assert_eq!(served(), std::slice::from_ref(&second));
        assert_eq!(look(), "", "nothing new");
        let good = fs::read(&certificate).unwrap();
        let mut told = 0;
        for bad in ["", "nonsense", &generate_simple_self_signed(["x".to_owned()]).unwrap().cert.pem()] {
            fs::write(&certificate, bad).unwrap();
            told += look().matches("can't be read anew").count();
            assert_eq!(served(), std::slice::from_ref(&second), "{bad}");
        }
        assert_eq!(told, 2, "no certificate, and one that doesn't fit the key: each is told once");
        assert_eq!(look(), "");
        fs::write(&certificate, good).unwrap();
        assert!(look().contains("was read anew"));
    }
}
