//! Logging in through Vault: a method gives a token of Vault's, which gives an identity token and is revoked.
//!
//! Vault's token is used once and not kept; one that was made by this login is revoked, also if it is interrupted, and one
//! that was given isn't.

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use url::Url;

use super::{
    super::{
        App, address,
        error::Failure,
        vault::{Vault, VaultError},
    },
    args::{CallbackHost, LoginArgs, Method},
    callback::{Answer, Listener},
    page, secret, to_the_end, unless_interrupted,
};

/// Where Vault's own client listens for the browser; operators of Vault allow it to roles as a matter of course.
const CALLBACK_PORT: u16 = 8250;
/// What comes behind the port.
const CALLBACK_PATH: &str = "/oidc/callback";

/// Logs in, and fetches the identity token.
///
/// # Errors
///
/// If Vault refuses.
pub async fn log_in(app: &App, args: &LoginArgs, method: Method) -> Result<SecretString, Failure> {
    let vault = Vault::new(&app.options, app.options.call_timeout())?;
    let role = args.vault.role();
    match method {
        Method::Userpass => by_password(app, args, &vault, "userpass").await,
        Method::Ldap => by_password(app, args, &vault, "ldap").await,
        Method::Approle => by_secret_id(app, args, &vault).await,
        Method::Oidc => by_browser(app, args, &vault).await,
        _ => {
            let token = secret::token(app, args)?;
            vault.identity_token(&token, role).await.map_err(|error| no_identity(&error, role))
        }
    }
}

async fn by_password(
    app: &App,
    args: &LoginArgs,
    vault: &Vault,
    method: &'static str,
) -> Result<SecretString, Failure> {
    let (user, mount) = (args.vault.username()?, args.vault.mount(method));
    let password = secret::given_or_asked(app, args, &format!("Password of {user} in Vault: "))?;
    let body = json!({ "password": password.expose_secret() });
    let hint =
        format!("check the name and the password, and that {method} is mounted at `{mount}` (`--mount`)");
    let login =
        async { vault.login(mount, &["login", user], &body).await.map_err(|error| refused(&error, &hint)) };
    exchange(app, args, vault, login).await
}

async fn by_secret_id(app: &App, args: &LoginArgs, vault: &Vault) -> Result<SecretString, Failure> {
    let (role_id, mount) = (args.vault.role_id()?, args.vault.mount("approle"));
    let secret_id = secret::given_or_asked(app, args, "Secret id of the AppRole: ")?;
    let body = json!({ "role_id": role_id, "secret_id": secret_id.expose_secret() });
    let hint = format!(
        "check the role id, that the secret id is still good, and that approle is mounted at `{mount}` (`--mount`)"
    );
    let login = async { vault.login(mount, &["login"], &body).await.map_err(|error| refused(&error, &hint)) };
    exchange(app, args, vault, login).await
}

/// The browser goes to the identity provider that Vault trusts, and Vault exchanges the code. `client_nonce` ties the two
/// calls to Vault together: a code that somebody else caught is of no use without it.
async fn by_browser(app: &App, args: &LoginArgs, vault: &Vault) -> Result<SecretString, Failure> {
    let mount = args.vault.mount("oidc");
    let host = args.callback_host.unwrap_or(CallbackHost::Name);
    let port = args.callback_port.unwrap_or(CALLBACK_PORT);
    let listener = Listener::bind(host, port, CALLBACK_PATH).await?;
    let nonce = page::unguessable(app);
    let body = json!({
        "role": args.vault.login_role(), "redirect_uri": listener.redirect_uri(), "client_nonce": nonce,
    });
    let hint = format!("check that oidc is mounted at `{mount}` (`--mount`), and its role (`--login-role`)");
    let asked = vault.oidc_page(mount, &body).await.map_err(|error| refused(&error, &hint))?;
    if asked.is_empty() {
        let message = format!("the role doesn't let the browser come back to {}", listener.redirect_uri());
        return Err(Failure::local(message).hint(
            "the operators of Vault put that address into the role's `allowed_redirect_uris`; or use another one, with \
             `--callback-host` and `--callback-port`",
        ));
    }
    let (page, state) = page_and_state(&asked)?;
    let answer = unless_interrupted(page::visit(app, args, &listener, &page, &state)).await?;
    drop(listener);
    let Answer { code, .. } = answer;
    let query = [("state", state.as_str()), ("code", code.expose_secret()), ("client_nonce", &nonce)];
    let hint = "the identity provider let you in, and Vault didn't: its operators see why in its log";
    let login = async { vault.oidc_login(mount, &query).await.map_err(|error| refused(&error, hint)) };
    exchange(app, args, vault, login).await
}

/// The page that Vault names, and the state in it, which has to come back.
fn page_and_state(text: &str) -> Result<(Url, String), Failure> {
    let odd = |why: &str| {
        Failure::local(format!("Vault names a page to log in at that can't be used: {why}"))
            .hint("tell the operators of Vault")
    };
    let page = Url::parse(text).map_err(|error| odd(&error.to_string()))?;
    address::check_scheme(&page).map_err(odd)?;
    let state = page.query_pairs().find(|(name, _)| name == "state").map(|(_, value)| value.into_owned());
    let state = state.filter(|state| !state.is_empty()).ok_or_else(|| odd("there is no state in it"))?;
    Ok((page, state))
}

/// Logs in, fetches the identity token and revokes the login. Ctrl-C doesn't come between.
async fn exchange(
    app: &App,
    args: &LoginArgs,
    vault: &Vault,
    login: impl Future<Output = Result<SecretString, Failure>>,
) -> Result<SecretString, Failure> {
    let role = args.vault.role();
    to_the_end(async {
        let token = login.await?;
        let identity = vault.identity_token(&token, role).await;
        // Also when the identity token was refused: the login's token has all the rights of its owner.
        if let Err(error) = vault.revoke_self(&token).await {
            app.out.note(&format!("warning: the login's token in Vault lives on until it expires: {error}"));
        }
        identity.map_err(|error| no_identity(&error, role))
    })
    .await
}

fn refused(error: &VaultError, hint: &str) -> Failure {
    let failure = error.failure();
    match error {
        VaultError::Refused { .. } => failure.hint(hint),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_state_and_is_guarded() {
        let (page, state) = page_and_state("https://login.example/x?a=b&state=st%3D1").unwrap();
        assert_eq!((page.host_str(), state.as_str()), (Some("login.example"), "st=1"));
        for text in [
            "https://login.example/x",
            "https://x/?state=",
            "http://login.example/?state=x",
            "file:///x?state=y",
            "",
        ] {
            assert!(page_and_state(text).is_err(), "{text}");
        }
    }
}
