//! The addresses of hallpassd and Vault, and of identity providers.
//!
//! Tokens and credentials travel there, so plain HTTP is refused unless the address is this very machine.

use std::path::{Path, PathBuf};

use url::{Host, Url};

use super::error::Failure;

/// Reads an address. `what` names it in the error, `hint` says where it is set.
///
/// # Errors
///
/// If it is no URL, is neither HTTPS nor plain HTTP to this machine, or has parts that would be ignored.
pub fn parse(text: &str, what: &str, hint: &str) -> Result<Url, Failure> {
    let refuse = |why: &str| Failure::local(format!("`{text}` can't be {what}: {why}")).hint(hint);
    let url = Url::parse(text.trim()).map_err(|error| refuse(&error.to_string()))?;
    check_scheme(&url).map_err(refuse)?;
    let bare = url.username().is_empty() && url.password().is_none() && url.path() == "/";
    if !bare || url.query().is_some() || url.fragment().is_some() {
        // The address itself isn't repeated: it may hold a password.
        let failure =
            Failure::local(format!("{what} must be a host and a port only, like https://host:1234"));
        return Err(failure.hint(hint));
    }
    Ok(url)
}

/// The socket's file, if that is what the address is: `unix:` and an absolute path.
///
/// # Errors
///
/// If it begins so and isn't one.
pub fn socket(text: &str, hint: &str) -> Result<Option<PathBuf>, Failure> {
    let Some(rest) = text.trim().strip_prefix("unix:") else { return Ok(None) };
    // With an empty host, as URLs have it, or without.
    let path = Path::new(rest.strip_prefix("//").unwrap_or(rest));
    if path.is_absolute() && path.file_name().is_some() {
        return Ok(Some(path.to_owned()));
    }
    let failure = "a socket's address is unix: and an absolute path, like unix:/run/hallpass/hallpass.sock";
    Err(Failure::local(failure).hint(hint))
}

/// Reads the address of an identity provider, which may have a path.
///
/// # Errors
///
/// As [`parse`].
pub fn parse_issuer(text: &str, hint: &str) -> Result<Url, Failure> {
    let refuse = |why: &str| {
        Failure::local(format!("that can't be the identity provider's address: {why}")).hint(hint)
    };
    let url = Url::parse(text).map_err(|error| refuse(&error.to_string()))?;
    check_scheme(&url).map_err(refuse)?;
    let bare = url.username().is_empty() && url.password().is_none();
    if !bare || url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("it must be a host and a path only, like https://login.example/realms/staff"));
    }
    Ok(url)
}

/// Plain HTTP is for this machine only.
///
/// # Errors
///
/// What is wrong.
pub fn check_scheme(url: &Url) -> Result<(), &'static str> {
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_this_machine(url) => Ok(()),
        "http" => Err("plain HTTP is for this machine only; use https://"),
        _ => Err("it has to begin with https://"),
    }
}

/// Whether it is this very machine that is named.
#[must_use]
pub fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Url, Failure> {
        parse(text, "the server's address", "set HALLPASS_SERVER")
    }

    #[test]
    fn plain_http_is_for_this_machine() {
        for text in
            ["https://vault.example:8200", "http://127.0.0.1:7643", "http://localhost:1", "http://[::1]:2/"]
        {
            assert!(read(text).is_ok(), "{text}");
        }
        for text in
            ["http://vault.example", "http://10.0.0.1", "http://localhost.example", "ftp://x", "x:1", ""]
        {
            assert_eq!(read(text).unwrap_err().hint.as_deref(), Some("set HALLPASS_SERVER"), "{text}");
        }
    }

    #[test]
    fn a_socket_is_named_by_its_path() {
        let path = |text| socket(text, "set HALLPASS_SERVER").map_err(|failure| failure.hint);
        for text in ["unix:/run/x.sock", "unix:///run/x.sock", " unix:/run/x.sock\n"] {
            assert_eq!(path(text).unwrap().unwrap(), Path::new("/run/x.sock"), "{text}");
        }
        for text in ["unix:", "unix:x.sock", "unix://host/x.sock", "unix:/", "unix:///"] {
            assert_eq!(path(text).unwrap_err().as_deref(), Some("set HALLPASS_SERVER"), "{text}");
        }
        assert_eq!(path("https://host:1").unwrap(), None);
    }

    #[test]
    fn an_identity_provider_may_have_a_path() {
        let read = |text| parse_issuer(text, "set it");
        for text in
            ["https://login.example", "https://login.example/realms/staff", "http://127.0.0.1:1/v1/x/"]
        {
            assert_eq!(read(text).unwrap().as_str().trim_end_matches('/'), text.trim_end_matches('/'));
        }
        for text in [
            "http://login.example/realms/staff",
            "https://a:hunter2@h/x",
            "https://h/?x=1",
            "https://h/#x",
            "x",
        ] {
            let failure = read(text).unwrap_err();
            assert!(!failure.text().contains("hunter2"), "{text}");
            assert_eq!(failure.hint.as_deref(), Some("set it"), "{text}");
        }
    }

    #[test]
    fn parts_that_would_be_ignored_are_refused_and_passwords_not_repeated() {
        for text in ["https://a:hunter2@host", "https://host/path", "https://host?x=1", "https://host/#x"] {
            assert!(!read(text).unwrap_err().text().contains("hunter2"), "{text}");
        }
    }
}
