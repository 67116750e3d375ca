//! The one HTTP client that calls to Vault, to the identity provider and to witnesses go through.
//!
//! It follows no redirect (one could carry a token to another host), asks no environment variable (a proxy or a
//! switched-off verification must not come from there), and every call has a time limit.

use std::{fs, path::Path, path::PathBuf, time::Duration};

use reqwest::{Certificate, Client, redirect::Policy};
use url::{Host, Url};

/// How long setting up a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the other side's kernel may be silent. It acknowledges what was sent however long the server works on it; if
/// it doesn't, the network is cut, and waiting for the call's whole time limit would put off the next try.
const UNHEARD_MAX: Duration = Duration::from_secs(5);

/// Why a client could not be built.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The file with the certificate authorities can't be read.
    #[error("cannot read the certificate authorities in {path}; check that the file exists and is readable")]
    ReadCa {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file has no certificate, or a broken one.
    #[error("{path} holds no valid PEM certificate")]
    ParseCa {
        /// The file.
        path: PathBuf,
        /// What the parser said, if the file isn't just empty.
        source: Option<reqwest::Error>,
    },
    /// The library refused the settings.
    #[error("cannot set up the HTTP client")]
    Build(#[source] reqwest::Error),
}

/// Whether nobody on the way can read or change what is said: HTTPS, or HTTP that doesn't leave this machine. By address,
/// not by the name "localhost", which is whatever the resolver says.
#[must_use]
pub fn is_guarded(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(_)) | None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && loopback)
}

/// Builds a client that trusts the authorities in `ca_file`, and only those, or the system's if there is none.
/// `timeout` bounds each call as a whole.
///
/// # Errors
///
/// If the file can't be read or holds no certificate.
pub fn client(ca_file: Option<&Path>, timeout: Duration) -> Result<Client, HttpError> {
    let builder = Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_user_timeout(UNHEARD_MAX)
        .tcp_keepalive(UNHEARD_MAX)
        .tcp_keepalive_interval(UNHEARD_MAX)
        .timeout(timeout);
    let builder = match ca_file {
        Some(path) => builder.tls_certs_only(authorities(path)?),
        None => builder,
    };
    builder.build().map_err(HttpError::Build)
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, HttpError> {
    let pem = fs::read(path).map_err(|source| HttpError::ReadCa { path: path.into(), source })?;
    let parsed = Certificate::from_pem_bundle(&pem);
    let certificates =
        parsed.map_err(|source| HttpError::ParseCa { path: path.into(), source: Some(source) })?;
    if certificates.is_empty() {
        return Err(HttpError::ParseCa { path: path.into(), source: None });
    }
    Ok(certificates)
}
