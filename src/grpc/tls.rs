//! The server's certificate and key, and the only way they are used: TLS 1.3, HTTP/2. There is no switch for less.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    version::TLS13,
};
use tokio_rustls::TlsAcceptor;

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

/// A certificate chain with its key, ready to serve. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Tls(Arc<RwLock<Arc<ServerConfig>>>);

impl Tls {
    /// Loads a certificate chain and its key.
    ///
    /// # Errors
    ///
    /// If a file can't be read or the two can't be used together; the error names the file.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let chain = chain(certificate)?;
        let private =
            PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::Key { path: key.into(), source })?;
        let pair = |source| TlsError::Pair { certificate: certificate.into(), key: key.into(), source };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(pair)?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(pair)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self(Arc::new(RwLock::new(Arc::new(config)))))
    }

    /// From now on connections begin with the other one's; those that there are go on.
    pub fn replace(&self, other: &Self) {
        let config = other.config();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config())
    }

    fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
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

    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    #[test]
    fn each_file_is_named_when_it_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let pair = || generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let CertifiedKey { cert, signing_key } = pair();
        let good_cert = file("cert.pem", &cert.pem());
        let good_key = file("key.pem", &signing_key.serialize_pem());
        let tls = Tls::load(&good_cert, &good_key).unwrap();
        assert_eq!(tls.config().alpn_protocols, [b"h2"]);
        let other_key = file("other.pem", &pair().signing_key.serialize_pem());
        let empty = file("empty.pem", "");
        let missing = directory.path().join("missing.pem");
        for bad in [&missing, &empty, &good_key] {
            let error = Tls::load(bad, &good_key).unwrap_err();
            assert!(matches!(error, TlsError::Certificate { .. }), "{error}");
            assert!(error.to_string().contains(&bad.display().to_string()));
        }
        for bad in [&missing, &empty, &good_cert] {
            let error = Tls::load(&good_cert, bad).unwrap_err();
            assert!(matches!(error, TlsError::Key { .. }), "{error}");
            assert!(error.to_string().contains(&bad.display().to_string()));
        }
        assert!(matches!(Tls::load(&good_cert, &other_key), Err(TlsError::Pair { .. })));
    }
}
