//! `[server]`: where the daemon listens, how connections are protected, and how much they may ask for. Unprotected
//! connections exist only on loopback addresses, and only where the file asks for them.

use std::{net::SocketAddr, path::PathBuf};

use super::{files::Files, section::Section, value};
use crate::grpc::{Limits, SocketPlace};

/// Where `hallpass` looks for the daemon unless told otherwise.
const LISTEN: &str = "'127.0.0.1:7643'";

/// Where to listen.
#[derive(Clone, Debug)]
pub struct Server {
    /// The address; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// How connections are protected.
    pub tls: Tls,
    /// The Unix socket beside it, if there is one.
    pub socket: Option<SocketPlace>,
    /// How much connections and callers may ask for.
    pub limits: Limits,
}

/// How connections are protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// By TLS.
    Files {
        /// The certificate chain, PEM, the server's own certificate first.
        cert: PathBuf,
        /// Its private key, PEM.
        key: PathBuf,
    },
    /// Not at all; the address is a loopback one.
    PlaintextOnLoopback,
}

/// A file's path: `None` if what stands there is a problem already, `Some(None)` if nothing stands there.
type Given = Option<Option<PathBuf>>;

pub(super) fn read(mut section: Section<'_>, files: Files<'_>) -> Option<Server> {
    let listen = section.or("listen", LISTEN, value::socket);
    let plaintext = section.or("plaintext", "false", value::flag);
    let cert = section.optional("tls_cert_file", |found| files.public(&value::file(found)?));
    let key = section.optional("tls_key_file", |found| files.secret(&value::file(found)?));
    let fault = fault(listen, plaintext, &cert, &key);
    if let Some((key, problem)) = fault {
        section.problem(key, problem);
    }
    let tls = match (fault, plaintext, cert, key) {
        (None, Some(true), Some(None), Some(None)) => Some(Tls::PlaintextOnLoopback),
        (None, Some(false), Some(Some(cert)), Some(Some(key))) => Some(Tls::Files { cert, key }),
        _ => None,
    };
    let socket = socket(section.section("socket"));
    let limits = limits(section.section("limits"));
    section.finish();
    Some(Server { listen: listen?, tls: tls?, socket: socket?, limits: limits? })
}

#[expect(clippy::option_option, reason = "the outer one says whether a problem was reported")]
fn socket(mut section: Section<'_>) -> Option<Option<SocketPlace>> {
    if !section.is_there() {
        return Some(None);
    }
    let path =
        section.required("path", "the socket's file, like \"/run/hallpass/hallpass.sock\"", value::absolute);
    // The daemon's user and its group: the system's groups decide who may open it.
    let mode = section.or("mode", "\"0660\"", value::mode);
    let owner = section.optional("owner", value::text);
    let group = section.optional("group", value::text);
    section.finish();
    Some(Some(SocketPlace { path: path?, mode: mode?, owner: owner?, group: group? }))
}

fn limits(mut section: Section<'_>) -> Option<Limits> {
    // No more than the files that the unit lets the daemon open.
    let connections = section.or("connections_max", "1000", value::count(1..=7000));
    let each = section.or("connections_per_peer_max", "200", value::count(1..=7000));
    let calls = section.or("calls_per_minute_max", "600", value::count(10..=100_000));
    let watches = section.or("watches_per_person_max", "16", value::count(1..=256));
    section.finish();
    Some(Limits {
        connections_max: connections?,
        connections_per_peer_max: each?,
        calls_per_minute_max: calls?,
        watches_per_person_max: watches?,
    })
}

/// What doesn't go together: the key, and what to write instead.
fn fault(
    listen: Option<SocketAddr>,
    plaintext: Option<bool>,
    cert: &Given,
    key: &Given,
) -> Option<(&'static str, &'static str)> {
    let loopback = listen.is_none_or(|listen| listen.ip().is_loopback());
    match (plaintext, cert, key) {
        (Some(true), Some(None), Some(None)) if loopback => None,
        (Some(true), Some(None), Some(None)) => Some((
            "plaintext",
            "is allowed on loopback addresses only (127.0.0.1, [::1]); write tls_cert_file and tls_key_file",
        )),
        (Some(true), ..) => {
            Some(("plaintext", "contradicts tls_cert_file and tls_key_file; remove it or them"))
        }
        (Some(false), Some(None), Some(None)) => Some((
            "tls_cert_file",
            "is missing; write the certificate's file, and tls_key_file (or, on a loopback address only, \
             plaintext = true)",
        )),
        // Whether files are needed can't be told before `plaintext` is mended.
        (None, Some(None), Some(None)) => None,
        (_, Some(None), _) => {
            Some(("tls_cert_file", "is missing; write the file of the certificate for tls_key_file"))
        }
        (_, _, Some(None)) => {
            Some(("tls_key_file", "is missing; write the file of the private key for tls_cert_file"))
        }
        _ => None,
    }
}
