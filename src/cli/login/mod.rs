//! `hallpass login`: somebody who knows says who it is, and its word, a JWT, is kept for the other verbs.
//!
//! ```text
//! Vault    userpass ldap approle oidc token -> Vault's token -> identity token (the JWT) -> Vault's token revoked
//! issuer   browser                          -> code ---------'-> ID token (the JWT)
//!          device                           -> poll --------'
//! ```
//!
//! Nothing but the JWT is kept: Vault's own token is revoked if this login made it, and access and refresh tokens are
//! dropped, so that whoever reads the file can be its owner until the JWT expires and no longer. Whether the JWT is true
//! is for hallpassd to check; what is checked here only turns mistakes and exchanged answers into errors that say so. No
//! secret is an argument, and without a terminal nothing is asked for.

mod args;
mod browser;
mod callback;
mod device;
mod id_token;
mod issuer;
mod page;
mod secret;
mod vault_methods;

#[cfg(test)]
mod tests;

use std::{path::Path, pin::pin};

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::signal::ctrl_c;

pub use self::args::LoginArgs;
use self::{args::Method, issuer::Issuer};
use super::{
    App,
    error::{Exit, Failure},
    session::{self, Claims},
    table::Block,
    time,
};
use crate::identity::TOKEN_MAX_BYTES;

/// Runs the verb.
///
/// # Errors
///
/// If whoever should know refuses, or the login can't be kept.
pub async fn run(app: &App, args: LoginArgs) -> Result<(), Failure> {
    let path = session::path(&app.options)?;
    let token = match args.vault_method() {
        Some(method) => vault_methods::log_in(app, &args, method).await?,
        None => at_issuer(app, &args).await?,
    };
    let claims = Claims::of(&token).ok_or_else(|| {
        Failure::local("Vault's identity token is not a JWT").hint("tell the operators of Vault")
    })?;
    warn(app, &args, &token, &claims);
    session::write(&path, &token)?;
    tell(app, &claims, &path)
}

/// Leaves nothing behind when it is interrupted: the issuer has given out a code at most, and its answer isn't waited for.
async fn at_issuer(app: &App, args: &LoginArgs) -> Result<SecretString, Failure> {
    unless_interrupted(async {
        let issuer = Issuer::discover(app, &args.issuer).await?;
        let here = app.interactive && page::is_browser_here(&page::of_process);
        if is_by_device(args.method, here, issuer.has_device_login()) {
            device::log_in(app, args, &issuer).await
        } else {
            browser::log_in(app, args, &issuer).await
        }
    })
    .await
}

/// Whether somebody types a code elsewhere: if he wants to, or hasn't got a browser here and the issuer lets him.
fn is_by_device(wanted: Option<Method>, has_browser: bool, is_offered: bool) -> bool {
    match wanted {
        Some(method) => method == Method::Device,
        None => !has_browser && is_offered,
    }
}

/// Waits for people, until Ctrl-C.
async fn unless_interrupted<T>(wait: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::select! {
        done = wait => done,
        _ = ctrl_c() => Err(interrupted()),
    }
}

/// Finishes what must not be left half-done, also after Ctrl-C. Whatever this calls has its own time limit.
async fn to_the_end<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let mut work = pin!(work);
    tokio::select! {
        done = &mut work => done,
        _ = ctrl_c() => {
            // Whatever came of it: nobody waits for it any more.
            drop(work.await);
            Err(interrupted())
        }
    }
}

fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, "interrupted; nobody is logged in by this")
}

/// Says already now what hallpassd would refuse.
fn warn(app: &App, args: &LoginArgs, token: &SecretString, claims: &Claims) {
    if args.vault_method().is_some() && claims.groups.is_empty() {
        app.out.note("warning: the identity token names no groups; hallpassd will refuse it (Vault knows you in no group, or the role's template is wrong)");
    }
    let bytes = token.expose_secret().len();
    if bytes > TOKEN_MAX_BYTES {
        app.out.note(&format!(
            "warning: the token has {bytes} bytes, and hallpassd takes {TOKEN_MAX_BYTES} at most: fewer groups have to \
             be in it, see docs/configuration.md"
        ));
    }
    if claims.expires_at().is_some_and(|at| at <= app.clock.now()) {
        app.out.note("warning: by this machine's clock the token has expired already; check the clock");
    }
}

fn tell(app: &App, claims: &Claims, path: &Path) -> Result<(), Failure> {
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
        .field("logged in as", claims.shown_name())
        .field("groups", claims.groups.join(", "))
        .at("until", expires_at.map(time::timestamp).as_ref(), &app.times())
        .field("kept in", path.display().to_string());
    app.out.block(&block)
}
