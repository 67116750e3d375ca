//! The login by a browser on this machine: an authorization code with PKCE (RFC 7636), which the browser brings to a port
//! of this machine (RFC 8252).
//!
//! A code that somebody else catches can't be exchanged without the verifier; one that somebody else slips in is refused
//! for its state, and a token that somebody else slips in for its nonce.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::{
    super::{App, answer::quote, error::Failure},
    args::{CallbackHost, LoginArgs},
    callback::{Answer, Listener},
    id_token,
    issuer::Issuer,
    page,
};

/// What comes behind the port; it is registered at the issuer with the rest of the address.
const CALLBACK_PATH: &str = "/callback";

/// Logs in, and answers with the ID token.
///
/// # Errors
///
/// If the person or the issuer refuses, or it takes too long.
pub async fn log_in(app: &App, args: &LoginArgs, issuer: &Issuer) -> Result<SecretString, Failure> {
    let mut page = issuer.authorization_endpoint()?.clone();
    let host = args.callback_host.unwrap_or(CallbackHost::Address);
    let listener = Listener::bind(host, args.callback_port.unwrap_or(0), CALLBACK_PATH).await?;
    let [state, nonce] = [(); 2].map(|()| page::unguessable(app));
    // 44 letters and digits; RFC 7636 wants 43 at least.
    let verifier = format!("{}{}", page::unguessable(app), page::unguessable(app));
    page.query_pairs_mut().extend_pairs([
        ("response_type", "code"),
        ("client_id", issuer.client_id()),
        ("redirect_uri", listener.redirect_uri()),
        ("scope", args.issuer.scope()),
        ("state", &state),
        ("nonce", &nonce),
        ("code_challenge", &challenge(&verifier)),
        ("code_challenge_method", "S256"),
    ]);
    let answer = page::visit(app, args, &listener, &page, &state).await?;
    check_giver(&answer, issuer)?;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", answer.code.expose_secret()),
        ("redirect_uri", listener.redirect_uri()),
        ("code_verifier", &verifier),
    ];
    let token = issuer.id_token(&form).await.map_err(|error| error.failure())?;
    id_token::check(&token, issuer, Some(&nonce))?;
    Ok(token)
}

/// RFC 7636, section 4.2.
pub(super) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

/// RFC 9207, section 2.4: a code of another issuer isn't shown to this one.
fn check_giver(answer: &Answer, issuer: &Issuer) -> Result<(), Failure> {
    match &answer.issuer {
        Some(giver) if giver != issuer.name() => {
            let message = format!("the browser brought an answer of another issuer: `{}`", quote(giver));
            Err(Failure::local(message)
                .hint("somebody may have tampered with the login: inform the operators"))
        }
        None if issuer.names_itself() => Err(Failure::local(
            "the browser's answer doesn't say which issuer it is of, and this one always does",
        )
        .hint("somebody may have tampered with the login: inform the operators")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_the_standards() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
