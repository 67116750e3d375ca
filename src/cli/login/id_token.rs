//! What an ID token has to say before it is kept. hallpassd checks it for good, signature included; here mistakes and
//! exchanged answers are caught while somebody still knows what he did.

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::{
    super::{answer::quote, error::Failure, session},
    issuer::Issuer,
};

/// Checks that the token is an answer to this login (`OpenID` Connect Core 1.0, section 3.1.3.7).
///
/// # Errors
///
/// If it is of another issuer, for another client or from another login.
pub fn check(token: &SecretString, issuer: &Issuer, nonce: Option<&str>) -> Result<(), Failure> {
    let claims = session::claims(token).ok_or_else(|| {
        Failure::local("the ID token is not a JWT that can be read; is it encrypted?")
            .hint("the issuer's operators have to let it be signed, and not encrypted, for this client")
    })?;
    check_claims(&claims, issuer.name(), issuer.client_id(), nonce)
}

fn check_claims(
    claims: &Map<String, Value>,
    issuer: &str,
    client_id: &str,
    nonce: Option<&str>,
) -> Result<(), Failure> {
    let said = |name: &str| claims.get(name).map(|value| quote(value.as_str().unwrap_or(&value.to_string())));
    let said = |name: &str| said(name).unwrap_or_else(|| "nothing".into());
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(issuer) {
        return Err(Failure::local(format!("the ID token is of another issuer: `{}`", said("iss")))
            .detail(format!("asked for: `{issuer}`"))
            .hint("set `--issuer` to exactly what the issuer calls itself in its tokens"));
    }
    // The nonce before the audience: it tells an attack, the other a wrong setting.
    if nonce.is_some() && text("nonce") != nonce {
        return Err(Failure::local(
            "the ID token is from another login: its nonce is not the one that was sent",
        )
        .hint("somebody may have tampered with the login: inform the operators"));
    }
    let is_only = match claims.get("aud") {
        Some(Value::String(audience)) => audience == client_id,
        Some(Value::Array(audiences)) => {
            matches!(audiences.as_slice(), [Value::String(only)] if only == client_id)
        }
        _ => false,
    };
    if !is_only {
        return Err(Failure::local(format!("the ID token is not for `{client_id}` alone: `{}`", said("aud"))).hint(
            "hallpassd refuses what could be shown elsewhere too: the issuer's operators take the other audiences out",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fault(change: &Value) -> Option<String> {
        let mut claims = json!({ "iss": "https://i", "aud": "c", "nonce": "n", "sub": "alice" });
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let checked = check_claims(claims.as_object().unwrap(), "https://i", "c", Some("n"));
        checked.err().map(|failure| failure.message)
    }

    #[test]
    fn a_token_is_this_issuers_for_this_client_from_this_login() {
        assert_eq!(fault(&json!({})), None);
        assert_eq!(fault(&json!({ "aud": ["c"] })), None);
        for (change, expected) in [
            (json!({ "iss": "https://i/" }), "another issuer: `https://i/`"),
            (json!({ "iss": null }), "another issuer"),
            (json!({ "iss": "\u{1b}[2J" }), "another issuer: `\\u{1b}[2J`"),
            (json!({ "nonce": "m" }), "another login"),
            (json!({ "nonce": null }), "another login"),
            (json!({ "aud": "d" }), "not for `c` alone: `d`"),
            (json!({ "aud": ["c", "d"] }), "not for `c` alone"),
            (json!({ "aud": [] }), "not for `c` alone"),
            (json!({ "aud": 7 }), "not for `c` alone: `7`"),
        ] {
            let fault = fault(&change).unwrap_or_else(|| panic!("{change}"));
            assert!(fault.contains(expected), "{fault}");
        }
    }
}
