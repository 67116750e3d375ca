//! `[vault]`: where Vault is and how the daemon logs in. The secret comes by file and isn't read here.

use std::{path::PathBuf, time::Duration};

use url::Url;

use super::{files::Files, section::Section, value};

/// Less than a second fails on a busy network; after five minutes nobody waits for a claim any more.
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
const TIMEOUT_MAX: Duration = Duration::from_mins(5);
const TIMEOUT: &str = "'30s'";
/// A holder needs some seconds to open what was wrapped for him; the policies of the grants' tokens
/// (`max_wrapping_ttl`) allow ten minutes, because what nobody opened is better gone.
const WRAP_TTL_MIN: Duration = Duration::from_secs(10);
const WRAP_TTL_MAX: Duration = Duration::from_mins(10);
const WRAP_TTL: &str = "'5m'";

/// How to reach Vault.
#[derive(Clone, Debug)]
pub struct Vault {
    /// The server: HTTPS, or HTTP on a loopback address.
    pub address: Url,
    /// The authorities that its certificate may come from, PEM; the system's if there is none.
    pub ca_file: Option<PathBuf>,
    /// The namespace that everything happens in.
    pub namespace: Option<String>,
    /// Where the `AppRole` method is mounted, without `auth/`.
    pub approle_mount: String,
    /// The daemon's role id.
    pub role_id: String,
    /// The file with the secret id. White space around it is not part of it.
    pub secret_id_file: PathBuf,
    /// The token role that makes grants' tokens.
    pub token_role: String,
    /// How long a call may take as a whole.
    pub timeout: Duration,
    /// How long a wrapped credential waits to be opened.
    pub wrap_ttl: Duration,
}

pub(super) fn read(mut section: Section<'_>, files: Files<'_>) -> Option<Vault> {
    let address =
        section.required("address", "where Vault is, like \"https://vault.example:8200\"", value::address);
    let ca_file = section.optional("ca_file", |found| files.public(&value::file(found)?));
    let namespace = section.optional("namespace", value::vault_path);
    let approle_mount = section.or("approle_mount", "'approle'", value::vault_path);
    let role_id = section.required("role_id", "the role id of the daemon's AppRole", value::text);
    let secret_id_file = section.required(
        "secret_id_file",
        "the file with the AppRole's secret id, like \"credential:vault-secret-id\"",
        |found| files.secret(&value::file(found)?),
    );
    let token_role = section.or("token_role", "'hallpass-grant'", value::vault_name);
    let timeout = section.or("timeout", TIMEOUT, value::duration(TIMEOUT_MIN..=TIMEOUT_MAX));
    let wrap_ttl = section.or("wrap_ttl", WRAP_TTL, value::duration(WRAP_TTL_MIN..=WRAP_TTL_MAX));
    section.finish();
    Some(Vault {
        address: address?,
        ca_file: ca_file?,
        namespace: namespace?,
        approle_mount: approle_mount?,
        role_id: role_id?,
        secret_id_file: secret_id_file?,
        token_role: token_role?,
        timeout: timeout?,
        wrap_ttl: wrap_ttl?,
    })
}
