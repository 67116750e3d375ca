//! What the way to Vault is set up with, and what can't be right about it.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use url::{Host, Url};

use super::client::fits_header;
use crate::http::HttpError;

/// Where Vault is and how the daemon logs in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Vault's address, for example `https://vault.example.net:8200`: no path, and HTTPS unless it is this machine.
    pub address: Url,
    /// The certificate authorities to trust instead of the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// The namespace, if there is one.
    pub namespace: Option<String>,
    /// Where the `AppRole` method is mounted, below `auth/`; usually `approle`.
    pub approle_mount: String,
    /// The `AppRole`'s role id.
    pub role_id: String,
    /// The file with the `AppRole`'s secret id. It is read at each login.
    pub secret_id_file: PathBuf,
    /// The token role that the grants' tokens are made by.
    pub token_role: String,
    /// The time limit of each call as a whole. A lease's revocation takes as long as its database does.
    pub timeout: Duration,
}

/// Why Vault can't be called with these settings.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The address has a part that it can't have.
    #[error("Vault's address takes a scheme, a host and a port, and nothing more")]
    Address,
    /// Tokens would cross the network in the clear.
    #[error("Vault's address must begin with https:// unless it is this machine's own")]
    Plain,
    /// The named setting isn't a plain name.
    #[error("{0} for Vault must be a plain name or path: letters, digits and -_./")]
    Name(&'static str),
    /// The HTTP client can't be set up.
    #[error(transparent)]
    Http(#[from] HttpError),
}

pub(super) fn check(settings: &Settings) -> Result<(), SetupError> {
    check_address(&settings.address)?;
    let names = [("approle_mount", &settings.approle_mount), ("token_role", &settings.token_role)];
    let wrong = names.into_iter().find(|(_, name)| !is_plain(name));
    if let Some((setting, _)) = wrong {
        return Err(SetupError::Name(setting));
    }
    match &settings.namespace {
        Some(namespace) if !fits_header(namespace) || !is_plain(namespace.trim_end_matches('/')) => {
            Err(SetupError::Name("namespace"))
        }
        _ => Ok(()),
    }
}

/// A path before Vault's own `/v1` isn't possible with vaultrs' middleware, and a user name would end in errors.
fn check_address(address: &Url) -> Result<(), SetupError> {
    let bare = address.path() == "/" && address.query().is_none() && address.fragment().is_none();
    let nobody = address.username().is_empty() && address.password().is_none();
    match address.scheme() {
        "https" | "http" if !bare || !nobody => Err(SetupError::Address),
        "https" => Ok(()),
        "http" if is_this_machine(address) => Ok(()),
        "http" => Err(SetupError::Plain),
        _ => Err(SetupError::Address),
    }
}

fn is_this_machine(address: &Url) -> bool {
    match address.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
        None => false,
    }
}

fn is_plain(name: &str) -> bool {
    let segment = |s: &str| !matches!(s, "" | "." | "..");
    name.split('/').all(segment) && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_./".contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Result<(), SetupError> {
        check_address(&Url::parse(text).unwrap())
    }

    #[test]
    fn https_or_this_machine() {
        for good in [
            "https://vault.example.net:8200",
            "http://127.0.0.1:8200",
            "http://[::1]:8200",
            "http://localhost",
        ] {
            assert!(address(good).is_ok(), "{good}");
        }
        assert!(matches!(address("http://vault.example.net"), Err(SetupError::Plain)));
        assert!(matches!(address("http://127.0.0.1.example.net"), Err(SetupError::Plain)));
    }

    #[test]
    fn an_address_is_nothing_but_one() {
        for bad in
            ["https://v/vault", "https://u:p@v", "https://v/?a=b", "https://v/#a", "ftp://v", "unix:/run/v"]
        {
            assert!(matches!(address(bad), Err(SetupError::Address)), "{bad}");
        }
    }

    #[test]
    fn names_are_plain() {
        for (name, plain) in
            [("approle", true), ("team/approle", true), ("a/../b", false), ("", false), ("a?b", false)]
        {
            assert_eq!(is_plain(name), plain, "{name}");
        }
    }
}
