//! What can be said to `hallpass login`. What doesn't change from day to day can stand in variables instead.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::super::{args::file, error::Failure, time};

/// What is asked of an ordinary issuer: who it is, and the name; groups come with either, as it is set up there.
const SCOPE: &str = "openid profile";
/// The role of Vault's identity provider, as `deploy/vault` names it.
const ROLE: &str = "hallpass";
/// How long somebody may take to log in elsewhere. Codes of the device login rarely hold longer.
const WAIT: Duration = Duration::from_mins(10);

const AFTER_HELP: &str = "\
Through Vault, which is the way unless an issuer is named:
  userpass, ldap  name and password
  oidc            the browser, at the identity provider behind Vault
  token           a token that you have already: VAULT_TOKEN, ~/.vault-token, or typed
  approle         for machines: a role id, and a secret id by file or standard input

At an ordinary issuer (Keycloak, Entra ID, Okta, …), with --issuer and --client-id:
  browser         the browser on this machine
  device          any browser, also on another machine; you type a code there

Examples:
  hallpass login --username alice
  hallpass login --method ldap --username alice --secret-stdin < password-file
  hallpass login --method oidc
  hallpass login --method token
  hallpass login --method approle --role-id ci-deploy --secret-file /run/secret-id
  hallpass login --issuer https://login.example/realms/staff --client-id hallpass
  hallpass login --issuer https://login.example/realms/staff --client-id hallpass --method device";

/// How to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// Vault: a user's name and password.
    Userpass,
    /// Vault: the name and password of a directory.
    Ldap,
    /// Vault: the browser, at the identity provider that Vault trusts.
    Oidc,
    /// Vault: a token that you have already: `VAULT_TOKEN`, `~/.vault-token`, or typed.
    Token,
    /// Vault: a machine's role id and secret id.
    Approle,
    /// An issuer: the browser on this machine.
    Browser,
    /// An issuer: any browser, and a code to type there.
    Device,
}

/// The name of this machine that a browser is sent back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CallbackHost {
    /// The address, which nothing has to resolve (RFC 8252, section 7.3).
    #[value(name = "127.0.0.1")]
    Address,
    /// The name, where an issuer insists on it.
    #[value(name = "localhost")]
    Name,
}

impl CallbackHost {
    /// As it stands in an address.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Address => "127.0.0.1",
            Self::Name => "localhost",
        }
    }
}

/// The arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct LoginArgs {
    /// How to log in [default: userpass; with an issuer: browser if there is one here, else device].
    #[arg(long, value_enum, env = "HALLPASS_LOGIN_METHOD")]
    pub method: Option<Method>,
    /// Read the password, token or secret id from the first line of standard input.
    #[arg(long, conflicts_with = "secret_file")]
    pub secret_stdin: bool,
    /// Read the password, token or secret id from the first line of a file.
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// How long to wait for a login elsewhere [default: 10m].
    #[arg(long, value_name = "DURATION", value_parser = time::parse_length)]
    wait_timeout: Option<Duration>,
    /// Open no browser; only say which page to open.
    #[arg(long)]
    pub no_browser: bool,
    /// The port that the browser comes back to [default: any free one; with `oidc`: 8250].
    #[arg(long, value_name = "PORT", env = "HALLPASS_CALLBACK_PORT")]
    pub callback_port: Option<u16>,
    /// The name of this machine that the browser comes back to [default: 127.0.0.1; with `oidc`: localhost].
    #[arg(long, value_enum, value_name = "HOST", env = "HALLPASS_CALLBACK_HOST")]
    pub callback_host: Option<CallbackHost>,
    /// What Vault has to know.
    #[command(flatten)]
    pub vault: VaultArgs,
    /// What an issuer has to know.
    #[command(flatten)]
    pub issuer: IssuerArgs,
}

/// What Vault has to know.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Through Vault")]
pub struct VaultArgs {
    /// Your name in Vault or in the directory.
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true)]
    username: Option<String>,
    /// The role of Vault's identity provider that hallpassd trusts.
    #[arg(long, value_name = "ROLE", env = "HALLPASS_ROLE", default_value = ROLE)]
    role: String,
    /// Where the method is mounted in Vault [default: the method's name].
    #[arg(long, value_name = "PATH", env = "HALLPASS_MOUNT")]
    mount: Option<String>,
    /// The role of the `oidc` method itself [default: the method's own default].
    #[arg(long, value_name = "ROLE", env = "HALLPASS_LOGIN_ROLE")]
    login_role: Option<String>,
    /// The machine's role id, for `approle`.
    #[arg(long, value_name = "ID", env = "HALLPASS_ROLE_ID")]
    role_id: Option<String>,
}

/// What an issuer has to know.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "At an ordinary issuer")]
pub struct IssuerArgs {
    /// The issuer, written exactly as it writes itself.
    #[arg(long = "issuer", value_name = "URL", env = "HALLPASS_ISSUER")]
    url: Option<String>,
    /// The client id that hallpass has there.
    #[arg(long, value_name = "ID", env = "HALLPASS_CLIENT_ID")]
    client_id: Option<String>,
    /// The file with the client's secret, if it isn't a public client.
    #[arg(long, value_name = "FILE", env = "HALLPASS_CLIENT_SECRET_FILE", value_parser = file())]
    client_secret_file: Option<PathBuf>,
    /// What is asked for, with blanks between.
    #[arg(long, value_name = "SCOPES", env = "HALLPASS_SCOPE", default_value = SCOPE)]
    scope: String,
    /// The certificate authorities that the issuer's certificate is checked against, instead of the system's.
    #[arg(long, value_name = "FILE", env = "HALLPASS_ISSUER_CA_FILE", value_parser = file())]
    issuer_ca_file: Option<PathBuf>,
}

fn set(text: Option<&String>) -> Option<&str> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty())
}

fn named(path: Option<&PathBuf>) -> Option<&PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

impl LoginArgs {
    /// The way through Vault, or none if it is an issuer's.
    #[must_use]
    pub fn vault_method(&self) -> Option<Method> {
        match self.method {
            None => self.issuer.url().is_none().then_some(Method::Userpass),
            Some(Method::Browser | Method::Device) => None,
            method => method,
        }
    }

    /// How long somebody may take to log in elsewhere.
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.wait_timeout.unwrap_or(WAIT)
    }
}

impl VaultArgs {
    /// Who logs in.
    ///
    /// # Errors
    ///
    /// If nobody said so.
    pub fn username(&self) -> Result<&str, Failure> {
        let missing = || Failure::usage("who are you?").hint("give your name in Vault with `--username`");
        set(self.username.as_ref()).ok_or_else(missing)
    }

    /// The role of Vault's identity provider.
    #[must_use]
    pub fn role(&self) -> &str {
        if self.role.trim().is_empty() { ROLE } else { self.role.trim() }
    }

    /// Where the method is mounted, below `auth/`.
    #[must_use]
    pub fn mount(&self, method: &'static str) -> &str {
        set(self.mount.as_ref()).unwrap_or(method)
    }

    /// The role of the OIDC method; empty for its default.
    #[must_use]
    pub fn login_role(&self) -> &str {
        set(self.login_role.as_ref()).unwrap_or_default()
    }

    /// The machine's role id.
    ///
    /// # Errors
    ///
    /// If nobody said so.
    pub fn role_id(&self) -> Result<&str, Failure> {
        let missing = || Failure::usage("which AppRole is it?").hint("give its role id with `--role-id`");
        set(self.role_id.as_ref()).ok_or_else(missing)
    }
}

impl IssuerArgs {
    /// The issuer, if there is one.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        set(self.url.as_ref())
    }

    /// The client id.
    ///
    /// # Errors
    ///
    /// If nobody said so.
    pub fn client_id(&self) -> Result<&str, Failure> {
        let missing = || {
            Failure::usage("the client id is not known")
                .hint("set HALLPASS_CLIENT_ID or `--client-id`; the issuer's operators know it")
        };
        set(self.client_id.as_ref()).ok_or_else(missing)
    }

    /// The file with the client's secret.
    #[must_use]
    pub fn client_secret_file(&self) -> Option<&PathBuf> {
        named(self.client_secret_file.as_ref())
    }

    /// What is asked for.
    #[must_use]
    pub fn scope(&self) -> &str {
        if self.scope.trim().is_empty() { SCOPE } else { self.scope.trim() }
    }

    /// The certificate authorities for the issuer's certificate.
    #[must_use]
    pub fn ca_file(&self) -> Option<&PathBuf> {
        named(self.issuer_ca_file.as_ref())
    }
}
