//! `hallpass login`: Vault says who somebody is, and its word, a JWT, is kept for the other verbs.
//!
//! Vault's own token is used once and not kept; one that was made by this login is revoked, one that was given isn't. The
//! password or token is never an argument, and never asked for without a terminal.

use std::{
    env,
    fs::{self, File},
    io::{self, BufRead},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use secrecy::SecretString;
use serde_json::json;

use super::{
    App,
    error::Failure,
    session::{self, Claims},
    table::Block,
    time,
    vault::{Vault, VaultError},
};

/// The longest password or token that is read.
const SECRET_MAX_BYTES: u64 = 8 * 1024;

const AFTER_HELP: &str = "\
Examples:
  hallpass login --username alice
  hallpass login --method token
  hallpass login --username alice --secret-stdin < password-file";

/// How to log in to Vault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// A user's name and password.
    #[default]
    Userpass,
    /// A token that you have already: `VAULT_TOKEN`, `~/.vault-token`, or typed.
    Token,
}

/// The arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct LoginArgs {
    /// How to log in to Vault.
    #[arg(long, value_enum, default_value = "userpass")]
    method: Method,
    /// Your name in Vault.
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true)]
    username: Option<String>,
    /// The role of Vault's identity provider that hallpassd trusts.
    #[arg(long, value_name = "ROLE", default_value = "hallpass")]
    role: String,
    /// Where the method is mounted in Vault.
    #[arg(long, value_name = "PATH", default_value = "userpass")]
    mount: String,
    /// Read the password or token from the first line of standard input.
    #[arg(long, conflicts_with = "secret_file")]
    secret_stdin: bool,
    /// Read the password or token from the first line of a file.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

/// Runs the verb.
///
/// # Errors
///
/// If Vault refuses, or the login can't be kept.
pub async fn run(app: &App, args: LoginArgs) -> Result<(), Failure> {
    let path = session::path(&app.options)?;
    let vault = Vault::new(&app.options, app.options.call_timeout())?;
    let token = match args.method {
        Method::Userpass => by_password(app, &vault, &args).await?,
        Method::Token => {
            let token = given_token(app, &args)?;
            vault.identity_token(&token, &args.role).await.map_err(|error| no_identity(&error, &args.role))?
        }
    };
    let claims = Claims::of(&token).ok_or_else(|| {
        Failure::local("Vault's identity token is not a JWT").hint("tell the operators of Vault")
    })?;
    session::write(&path, &token)?;
    tell(app, &claims, &path)
}

async fn by_password(app: &App, vault: &Vault, args: &LoginArgs) -> Result<SecretString, Failure> {
    let user = args.username.as_deref().filter(|name| !name.is_empty());
    let user =
        user.ok_or_else(|| Failure::usage("who are you?").hint("give your name in Vault with `--username`"))?;
    let password = given(args)?.map_or_else(|| ask(app, &format!("Password of {user} in Vault: ")), Ok)?;
    let token =
        vault.login(&args.mount, user, &password).await.map_err(|error| refused_login(&error, args))?;
    let identity = vault.identity_token(&token, &args.role).await;
    // Also when the identity token was refused: the login's token has all the rights of its owner.
    if let Err(error) = vault.revoke_self(&token).await {
        app.out.note(&format!("warning: the login's token in Vault lives on until it expires: {error}"));
    }
    identity.map_err(|error| no_identity(&error, &args.role))
}

fn refused_login(error: &VaultError, args: &LoginArgs) -> Failure {
    let failure = error.failure();
    match error {
        VaultError::Refused { .. } => failure.hint(format!(
            "check the name and the password, and that userpass is mounted at `{}` (`--mount`)",
            args.mount
        )),
        _ => failure,
    }
}

fn no_identity(error: &VaultError, role: &str) -> Failure {
    let failure = error.failure();
    match error {
        VaultError::Refused { .. } => {
            failure.detail(format!("while asking for identity/oidc/token/{role}")).hint(
                "the operators of Vault define the role (`--role`) and give your policy `read` on that path; \
             a root token has no identity",
            )
        }
        _ => failure,
    }
}

/// The secret that the arguments point to, if they do.
fn given(args: &LoginArgs) -> Result<Option<SecretString>, Failure> {
    if args.secret_stdin {
        return first_line(io::stdin().lock(), "standard input").map(Some);
    }
    args.secret_file.as_deref().map(from_file).transpose()
}

fn given_token(app: &App, args: &LoginArgs) -> Result<SecretString, Failure> {
    if let Some(token) = given(args)? {
        return Ok(token);
    }
    if let Some(token) = env::var("VAULT_TOKEN").ok().filter(|token| !token.trim().is_empty()) {
        return Ok(SecretString::from(token.trim()));
    }
    let file = env::var_os("HOME").map(|home| PathBuf::from(home).join(".vault-token"));
    match file.filter(|path| fs::metadata(path).is_ok()) {
        Some(path) => from_file(&path),
        None => ask(app, "Token of Vault: "),
    }
}

fn from_file(path: &Path) -> Result<SecretString, Failure> {
    let file = File::open(path)
        .map_err(|error| Failure::local(format!("cannot read {}: {error}", path.display())))?;
    first_line(io::BufReader::new(file), &path.display().to_string())
}

fn first_line(source: impl BufRead, name: &str) -> Result<SecretString, Failure> {
    let mut line = String::new();
    let read = source.take(SECRET_MAX_BYTES + 1).read_line(&mut line);
    let read = read.map_err(|error| Failure::local(format!("cannot read {name}: {error}")))?;
    let secret = line.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(
            Failure::local(format!("the first line of {name} is empty")).hint("write the secret there")
        );
    }
    if u64::try_from(read).is_ok_and(|read| read > SECRET_MAX_BYTES) {
        return Err(Failure::local(format!(
            "the first line of {name} is too long for a password or a token"
        )));
    }
    Ok(SecretString::from(secret))
}

fn ask(app: &App, prompt: &str) -> Result<SecretString, Failure> {
    if !app.interactive {
        let failure = Failure::usage("a password or token is needed, and there is no terminal to ask on");
        return Err(failure.hint("use `--secret-stdin` or `--secret-file FILE`"));
    }
    let secret = rpassword::prompt_password(super::escape::line(prompt));
    let secret = secret.map_err(|error| Failure::local(format!("cannot ask: {error}")))?;
    if secret.is_empty() {
        return Err(Failure::local("nothing was typed, so nothing was done"));
    }
    Ok(SecretString::from(secret))
}

fn tell(app: &App, claims: &Claims, path: &Path) -> Result<(), Failure> {
    if claims.groups.is_empty() {
        app.out.note("warning: the identity token names no groups; hallpassd will refuse it (the role's template is wrong)");
    }
    let expires_at = claims.expires_at();
    if app.out.is_json() {
        return app.out.json(&json!({
            "name": claims.name,
            "sub": claims.sub,
            "groups": claims.groups,
            "expiresAt": expires_at.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)),
            "tokenFile": path.display().to_string(),
        }));
    }
    let block = Block::new()
        .field("logged in as", if claims.name.is_empty() { &claims.sub } else { &claims.name })
        .field("groups", claims.groups.join(", "))
        .at("until", expires_at.map(time::timestamp).as_ref(), &app.times())
        .field("kept in", path.display().to_string());
    app.out.block(&block)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_secret_is_the_first_line_as_it_is() {
        let read =
            |text: &str| first_line(text.as_bytes(), "it").map(|secret| secret.expose_secret().to_owned());
        assert_eq!(read(" with spaces \r\nnext").unwrap(), " with spaces ");
        assert_eq!(read("no line feed").unwrap(), "no line feed");
        assert!(read("").is_err());
        assert!(read("\nsecond").is_err());
        assert!(read(&"x".repeat(9_000)).is_err());
    }
}
