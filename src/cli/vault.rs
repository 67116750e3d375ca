//! Vault, as the client needs it: log in, fetch an identity token, and open a wrapped credential.
//!
//! Everything else in Vault is hallpassd's. Tokens travel in headers and bodies, never in a URL (the single-use code of an
//! OIDC login does, as Vault will have it); an answer that isn't the expected one is reported by its status and Vault's own
//! error texts, never by its contents.

use std::time::Duration;

use reqwest::{
    Client, Method, RequestBuilder, StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::{
    address, answer,
    args::Options,
    error::{Failure, chain},
};
use crate::http;

/// The largest answer that is read: a credential with a certificate chain has some 10 KiB.
const ANSWER_MAX_BYTES: usize = 1024 * 1024;
/// What Vault says of a wrapping token that was opened, or never was one (400).
const NOT_VALID: &str = "wrapping token is not valid or does not exist";

/// Why Vault didn't do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Vault couldn't be reached, or the connection broke.
    #[error("cannot reach Vault: {0}")]
    Network(String),
    /// Vault refused.
    #[error("Vault refused ({status}): {errors}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// Vault's own words, in one line.
        errors: String,
    },
    /// The login is good so far, and Vault wants to see a second factor.
    #[error("Vault asks for a second factor, which can't be given here")]
    SecondFactor,
    /// The answer isn't what Vault sends.
    #[error("Vault's answer can't be understood: {0}")]
    Malformed(&'static str),
}

impl VaultError {
    /// Whether Vault says that the wrapping token can't be opened any more.
    #[must_use]
    pub fn is_spent_wrapping_token(&self) -> bool {
        matches!(self, Self::Refused { errors, .. } if errors.contains(NOT_VALID))
    }

    /// As a failure of this side, without a hint.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let failure = Failure::local(self.to_string());
        match self {
            Self::Network(_) => failure.hint("check VAULT_ADDR and VAULT_CACERT, and that Vault runs"),
            Self::SecondFactor => failure.hint(
                "use `--method oidc`, where the identity provider asks for it; or log in with Vault's own client, and \
                 then use `--method token`",
            ),
            _ => failure,
        }
    }
}

/// A client of one Vault.
pub struct Vault {
    http: Client,
    address: Url,
    namespace: Option<HeaderValue>,
}

impl Vault {
    /// Prepares the client; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// If the address isn't known or can't be used, or the certificate authorities can't be read.
    pub fn new(options: &Options, timeout: Duration) -> Result<Self, Failure> {
        let hint = "set VAULT_ADDR or `--vault-addr` to Vault's address";
        let text = options.vault_addr();
        let text = text.ok_or_else(|| Failure::local("the address of Vault is not known").hint(hint))?;
        let address = address::parse(text, "the address of Vault", hint)?;
        let http = http::client(options.vault_ca_file(), timeout)
            .map_err(|error| Failure::local(chain(&error)).hint("check VAULT_CACERT or `--vault-ca-file`"))?;
        let namespace = options.vault_namespace();
        let namespace = namespace.map(HeaderValue::from_str).transpose();
        let namespace = namespace.map_err(|_| Failure::local("VAULT_NAMESPACE can't be a namespace"))?;
        Ok(Self { http, address, namespace })
    }

    /// Logs in at an auth method, and returns Vault's token. `rest` is the path below the mount.
    ///
    /// # Errors
    ///
    /// If Vault refuses, or wants a second factor, which isn't supported.
    pub async fn login(&self, mount: &str, rest: &[&str], body: &Value) -> Result<SecretString, VaultError> {
        let answer = self.call(Method::POST, &auth(mount, rest), None, Some(body)).await?;
        token_of(&answer)
    }

    /// Asks the OIDC method for the page to log in at, which is empty if the role doesn't allow the address to come back to.
    ///
    /// # Errors
    ///
    /// If Vault refuses, or the role is for another way than through the browser's machine.
    pub async fn oidc_page(&self, mount: &str, body: &Value) -> Result<String, VaultError> {
        let path = auth(mount, &["oidc", "auth_url"]);
        let answer = self.call(Method::POST, &path, None, Some(body)).await?;
        if answer.pointer("/data/poll_interval").is_some_and(|interval| !interval.is_null()) {
            return Err(VaultError::Malformed("the role's callback_mode is not `client`"));
        }
        let page = answer.pointer("/data/auth_url").and_then(Value::as_str);
        page.map(str::to_owned).ok_or(VaultError::Malformed("there is no page to log in at in it"))
    }

    /// Ends a login of the OIDC method with what the browser brought, and returns Vault's token.
    ///
    /// # Errors
    ///
    /// If Vault or the identity provider behind it refuses.
    pub async fn oidc_login(&self, mount: &str, query: &[(&str, &str)]) -> Result<SecretString, VaultError> {
        let mut url = self.url(&auth(mount, &["oidc", "callback"]));
        url.query_pairs_mut().extend_pairs(query);
        token_of(&self.send(self.http.get(url), None).await?)
    }

    /// Fetches a JWT from Vault's identity provider (`GET identity/oidc/token/{role}`).
    ///
    /// # Errors
    ///
    /// If Vault refuses.
    pub async fn identity_token(&self, token: &SecretString, role: &str) -> Result<SecretString, VaultError> {
        let path = ["identity", "oidc", "token", role];
        let answer = self.call(Method::GET, &path, Some(token), None).await?;
        secret(&answer, "/data/token").ok_or(VaultError::Malformed("there is no identity token in it"))
    }

    /// Revokes a token, by itself.
    ///
    /// # Errors
    ///
    /// If Vault refuses.
    pub async fn revoke_self(&self, token: &SecretString) -> Result<(), VaultError> {
        self.call(Method::POST, &["auth", "token", "revoke-self"], Some(token), None).await.map(|_| ())
    }

    /// The path that a wrapped credential was read from. Doesn't open it.
    ///
    /// # Errors
    ///
    /// If the wrapping token was opened already, or never was one.
    pub async fn wrapped_path(&self, wrapping: &SecretString) -> Result<String, VaultError> {
        let body = json!({ "token": wrapping.expose_secret() });
        let answer = self.call(Method::POST, &["sys", "wrapping", "lookup"], None, Some(&body)).await?;
        let path = answer.pointer("/data/creation_path").and_then(Value::as_str);
        path.map(str::to_owned).ok_or(VaultError::Malformed("the wrapping token has no path"))
    }

    /// Opens a wrapped credential. That works once.
    ///
    /// # Errors
    ///
    /// If the wrapping token was opened already. After a network error it may have been opened by this very call.
    pub async fn unwrap(&self, wrapping: &SecretString) -> Result<Credential, VaultError> {
        let mut answer =
            self.call(Method::POST, &["sys", "wrapping", "unwrap"], Some(wrapping), None).await?;
        match answer.get_mut("data").map(Value::take) {
            Some(Value::Object(data)) if !data.is_empty() => Ok(Credential::new(data)),
            _ => Err(VaultError::Malformed("there is no credential in it")),
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        token: Option<&SecretString>,
        body: Option<&Value>,
    ) -> Result<Value, VaultError> {
        let mut request = self.http.request(method, self.url(path));
        if let Some(body) = body {
            request = request.json(body);
        }
        self.send(request, token).await
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.address.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().push("v1").extend(path);
        }
        url
    }

    async fn send(&self, request: RequestBuilder, token: Option<&SecretString>) -> Result<Value, VaultError> {
        let mut response = request.headers(self.headers(token)?).send().await.map_err(network)?;
        let bytes = answer::read(&mut response, ANSWER_MAX_BYTES).await.map_err(network)?;
        let bytes = bytes.ok_or(VaultError::Malformed("it is too long"))?;
        let answer = serde_json::from_slice(&bytes);
        match response.status() {
            StatusCode::NO_CONTENT => Ok(Value::Null),
            status if status.is_success() => answer.map_err(|_| VaultError::Malformed("it is not JSON")),
            status => {
                Err(VaultError::Refused { status, errors: errors(status, &answer.unwrap_or_default()) })
            }
        }
    }

    fn headers(&self, token: Option<&SecretString>) -> Result<HeaderMap, VaultError> {
        let mut headers = HeaderMap::new();
        // Vault's own agent refuses what comes without it, as a guard against forged requests.
        headers.insert(HeaderName::from_static("x-vault-request"), HeaderValue::from_static("true"));
        if let Some(namespace) = &self.namespace {
            headers.insert(HeaderName::from_static("x-vault-namespace"), namespace.clone());
        }
        if let Some(token) = token {
            let value = HeaderValue::from_str(token.expose_secret());
            let mut value = value.map_err(|_| VaultError::Malformed("the token can't be a token"))?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static("x-vault-token"), value);
        }
        Ok(headers)
    }
}

/// What was unwrapped: the fields of a credential, each of them secret, in the order of their names.
pub struct Credential(Vec<(String, Field)>);

/// One field of a credential.
pub enum Field {
    /// A text: a name, a password, a key.
    Text(SecretString),
    /// Anything else, as JSON.
    Other(SecretString),
}

impl Credential {
    fn new(data: serde_json::Map<String, Value>) -> Self {
        let field = |value| match value {
            Value::String(text) => Field::Text(SecretString::from(text)),
            other => Field::Other(SecretString::from(other.to_string())),
        };
        Self(data.into_iter().map(|(key, value)| (key, field(value))).collect())
    }

    /// The fields that say something: `null` is left out.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Field)> {
        self.0.iter().filter(|(_, field)| field.expose() != "null").map(|(key, field)| (key.as_str(), field))
    }

    /// The credential as it came. The value is secret.
    #[must_use]
    pub fn expose_json(&self) -> Value {
        let value = |field: &Field| match field {
            Field::Text(text) => Value::from(text.expose_secret()),
            Field::Other(json) => serde_json::from_str(json.expose_secret()).unwrap_or_default(),
        };
        Value::Object(self.0.iter().map(|(key, field)| (key.clone(), value(field))).collect())
    }
}

impl Field {
    /// The value, which is secret: the text itself, or the JSON.
    #[must_use]
    pub fn expose(&self) -> &str {
        match self {
            Self::Text(secret) | Self::Other(secret) => secret.expose_secret(),
        }
    }
}

fn network(error: reqwest::Error) -> VaultError {
    VaultError::Network(answer::network(error))
}

/// A path of an auth method, which may be mounted below another name.
fn auth<'a>(mount: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    let mut path = vec!["auth"];
    path.extend(mount.split('/').filter(|part| !part.is_empty()));
    path.extend(rest);
    path
}

fn token_of(answer: &Value) -> Result<SecretString, VaultError> {
    if answer.pointer("/auth/mfa_requirement").is_some_and(|mfa| !mfa.is_null()) {
        return Err(VaultError::SecondFactor);
    }
    secret(answer, "/auth/client_token").ok_or(VaultError::Malformed("the login has no token"))
}

/// Vault's own error texts in one line. A redirect has none: it is never followed, because it could carry a token to
/// another host.
fn errors(status: StatusCode, answer: &Value) -> String {
    if status.is_redirection() {
        return "it redirects to another address; set VAULT_ADDR to the active server".into();
    }
    let texts = answer.get("errors").and_then(Value::as_array).into_iter().flatten();
    let texts: Vec<&str> = texts.filter_map(Value::as_str).map(str::trim).collect();
    if texts.is_empty() {
        "it gave no reason".into()
    } else {
        texts.join("; ").split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

fn secret(answer: &Value, pointer: &str) -> Option<SecretString> {
    let text = answer.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())?;
    Some(SecretString::from(text))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A credential with these fields.
    pub fn credential(data: Value) -> Credential {
        let Value::Object(data) = data else { panic!("an object is needed") };
        Credential::new(data)
    }

    #[test]
    fn vaults_words_are_kept_and_joined() {
        let said = json!({ "errors": ["1 error occurred:\n\t* permission denied\n\n", "more"] });
        assert_eq!(errors(StatusCode::FORBIDDEN, &said), "1 error occurred: * permission denied; more");
        assert_eq!(errors(StatusCode::FORBIDDEN, &Value::Null), "it gave no reason");
        assert!(errors(StatusCode::TEMPORARY_REDIRECT, &said).contains("active server"));
    }

    #[test]
    fn only_vaults_text_says_that_a_wrapping_token_is_spent() {
        let refused =
            |errors: &str| VaultError::Refused { status: StatusCode::BAD_REQUEST, errors: errors.into() };
        assert!(refused(NOT_VALID).is_spent_wrapping_token());
        assert!(!refused("permission denied").is_spent_wrapping_token());
        assert!(!VaultError::Network(NOT_VALID.into()).is_spent_wrapping_token());
    }

    #[test]
    fn a_credential_gives_back_what_came() {
        let data = json!({ "password": "p'w", "port": 5432, "none": null, "list": ["a"] });
        let credential = credential(data.clone());
        assert_eq!(credential.expose_json(), data);
        let fields: Vec<_> = credential.fields().map(|(key, field)| (key, field.expose())).collect();
        assert_eq!(fields, [("list", "[\"a\"]"), ("password", "p'w"), ("port", "5432")]);
    }
}
