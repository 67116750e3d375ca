//! The passwords, tokens and secret ids that a login begins with: from a file, from standard input, or typed. Never an
//! argument, and never asked for without a terminal.

use std::{
    env,
    fs::{self, File},
    io::{self, BufRead},
    path::{Path, PathBuf},
};

use secrecy::SecretString;

use super::{
    super::{App, error::Failure, escape},
    args::LoginArgs,
};

/// The longest secret that is read.
const SECRET_MAX_BYTES: u64 = 8 * 1024;

/// The secret that the arguments point to, if they do.
///
/// # Errors
///
/// If it can't be read.
pub fn given(args: &LoginArgs) -> Result<Option<SecretString>, Failure> {
    if args.secret_stdin {
        return first_line(io::stdin().lock(), "standard input").map(Some);
    }
    args.secret_file.as_deref().map(from_file).transpose()
}

/// Vault's token: given, in Vault's own places, or asked for.
///
/// # Errors
///
/// If there is none.
pub fn token(app: &App, args: &LoginArgs) -> Result<SecretString, Failure> {
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

/// The first line of a file.
///
/// # Errors
///
/// If it can't be read, or is empty or too long.
pub fn from_file(path: &Path) -> Result<SecretString, Failure> {
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
        return Err(Failure::local(format!("the first line of {name} is too long for a secret")));
    }
    Ok(SecretString::from(secret))
}

/// The secret that the arguments point to, or what is typed.
///
/// # Errors
///
/// If there is none, and nobody to ask.
pub fn given_or_asked(app: &App, args: &LoginArgs, prompt: &str) -> Result<SecretString, Failure> {
    given(args)?.map_or_else(|| ask(app, prompt), Ok)
}

fn ask(app: &App, prompt: &str) -> Result<SecretString, Failure> {
    if !app.interactive {
        let failure = Failure::usage(
            "a password, a token or a secret id is needed, and there is no terminal to ask on",
        );
        return Err(failure.hint("use `--secret-stdin` or `--secret-file FILE`"));
    }
    let secret = rpassword::prompt_password(escape::line(prompt));
    let secret = secret.map_err(|error| Failure::local(format!("cannot ask: {error}")))?;
    if secret.is_empty() {
        return Err(Failure::local("nothing was typed, so nothing was done"));
    }
    Ok(SecretString::from(secret))
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
