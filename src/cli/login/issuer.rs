//! An ordinary issuer: found by its own document (`OpenID` Connect Discovery 1.0), and asked for an ID token.
//!
//! What the document says is used only if it is this issuer's own, to the letter (section 4.3), and names addresses that
//! are as safe as the issuer's. Nothing that an issuer says is repeated but in a quote.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{
    Client, RequestBuilder, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use url::{Url, form_urlencoded};

use super::{
    super::{
        App, address,
        answer::{self, quote},
        error::{Failure, chain},
    },
    args::IssuerArgs,
    secret,
};
use crate::http;

/// The longest answer. A document has some 10 KiB, and so has a token of a few hundred groups.
const ANSWER_MAX_BYTES: usize = 256 * 1024;
/// The longest address that is shown or opened.
const ADDRESS_MAX_BYTES: usize = 4 * 1024;
/// Where the document is, below the issuer.
const DOCUMENT: &str = "/.well-known/openid-configuration";
/// How a client with a secret says it, if the issuer doesn't say how (Discovery, section 3).
const BASIC: &str = "client_secret_basic";

/// What is read of the document.
#[derive(Debug, Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: Option<Url>,
    token_endpoint: Url,
    device_authorization_endpoint: Option<Url>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl Document {
    fn endpoints(&self) -> impl Iterator<Item = &Url> {
        let perhaps = [&self.authorization_endpoint, &self.device_authorization_endpoint];
        perhaps.into_iter().flatten().chain([&self.token_endpoint])
    }
}

/// What an issuer answers instead of what it was asked for (RFC 6749, section 5.2).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: String,
    error_description: String,
}

/// What is read of a token's answer. Access and refresh tokens aren't.
#[derive(Deserialize)]
struct Tokens {
    id_token: Option<SecretString>,
}

/// Why an issuer didn't answer as it was asked to.
#[derive(Debug)]
pub enum IssuerError {
    /// It couldn't be reached, is broken for the moment, or the connection is.
    Unavailable(String),
    /// It refused, with a code that says why and perhaps words.
    Refused {
        /// The code, like `access_denied`; not yet quoted.
        code: String,
        /// The words; not yet quoted.
        words: String,
    },
    /// The answer isn't what an issuer sends.
    Malformed(&'static str),
}

impl fmt::Display for IssuerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(why) => write!(f, "cannot reach the identity provider: {why}"),
            Self::Refused { code, .. } => write!(f, "the identity provider refused: {}", quote(code)),
            Self::Malformed(why) => write!(f, "the identity provider's answer can't be used: {why}"),
        }
    }
}

impl IssuerError {
    /// As a failure of this side, with what helps most often.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let failure = Failure::local(self.to_string());
        match self {
            Self::Unavailable(_) => {
                failure.hint("check `--issuer` and `--issuer-ca-file`, and that the identity provider runs")
            }
            Self::Refused { code, words } => {
                let failure = if words.is_empty() { failure } else { failure.detail(quote(words)) };
                match code.as_str() {
                    "invalid_client" | "unauthorized_client" => failure.hint(
                        "check `--client-id`, that the client is a public one or `--client-secret-file` is given, and \
                         that this way to log in is allowed to it",
                    ),
                    "invalid_scope" => failure.hint("check `--scope`"),
                    _ => failure,
                }
            }
            Self::Malformed(_) => failure.hint("tell the operators of the identity provider"),
        }
    }
}

/// An issuer that can be asked.
pub struct Issuer {
    http: Client,
    name: String,
    client_id: String,
    secret: Option<SecretString>,
    is_https: bool,
    document: Document,
}

impl Issuer {
    /// Finds out where to ask.
    ///
    /// # Errors
    ///
    /// If it isn't known which issuer, it can't be reached, or its document is another's or unsafe.
    pub async fn discover(app: &App, args: &IssuerArgs) -> Result<Self, Failure> {
        let hint =
            "set HALLPASS_ISSUER or `--issuer` to the issuer's address, as hallpassd's configuration has it";
        let name = args.url().ok_or_else(|| Failure::usage("the issuer is not known").hint(hint))?;
        let client_id = args.client_id()?.to_owned();
        let url = address::parse_issuer(name, hint)?;
        let http = http::client(args.ca_file().map(AsRef::as_ref), app.options.call_timeout());
        let http = http.map_err(|error| Failure::local(chain(&error)).hint("check `--issuer-ca-file`"))?;
        let secret = args.client_secret_file().map(|file| secret::from_file(file)).transpose()?;
        let is_https = url.scheme() == "https";
        let document = document(&http, name, is_https).await?;
        Ok(Self { http, name: name.to_owned(), client_id, secret, is_https, document })
    }

    /// What it calls itself.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it calls hallpass.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Whether answers of the browser have to say who gave them (RFC 9207).
    #[must_use]
    pub const fn names_itself(&self) -> bool {
        self.document.authorization_response_iss_parameter_supported
    }

    /// Whether it has the device login.
    #[must_use]
    pub const fn has_device_login(&self) -> bool {
        self.document.device_authorization_endpoint.is_some()
    }

    /// Where the browser logs in.
    ///
    /// # Errors
    ///
    /// If there is no such place.
    pub fn authorization_endpoint(&self) -> Result<&Url, Failure> {
        self.document.authorization_endpoint.as_ref().ok_or_else(|| {
            Failure::local("the identity provider has no login by browser").hint("use `--method device`")
        })
    }

    /// Asks for a device login.
    ///
    /// # Errors
    ///
    /// If there is none, or the issuer refuses.
    pub async fn device_login<T: DeserializeOwned>(&self, scope: &str) -> Result<T, Failure> {
        let endpoint = self.document.device_authorization_endpoint.as_ref().ok_or_else(|| {
            Failure::local("the identity provider has no device login, or doesn't say so")
                .hint("use `--method browser`; or its operators turn the device login on")
        })?;
        let form = [("client_id", self.client_id.as_str()), ("scope", scope)];
        let asked = self.ask(endpoint, &form).await;
        asked.map_err(|error| error.failure())
    }

    /// Asks for an ID token.
    ///
    /// # Errors
    ///
    /// Whatever the issuer says instead.
    pub async fn id_token(&self, form: &[(&str, &str)]) -> Result<SecretString, IssuerError> {
        let tokens: Tokens = self.ask(&self.document.token_endpoint, form).await?;
        let missing = "there is no ID token in it; the scope has to contain `openid`";
        tokens.id_token.ok_or(IssuerError::Malformed(missing))
    }

    /// Whether an address that the issuer named is as safe as the issuer's own.
    #[must_use]
    pub fn trusts(&self, url: &Url) -> bool {
        is_as_safe(url, self.is_https)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        endpoint: &Url,
        form: &[(&str, &str)],
    ) -> Result<T, IssuerError> {
        let request = self.http.post(endpoint.clone());
        let (status, body) = send(self.authenticated(request, form)?).await?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body)
                .map_err(|_| IssuerError::Malformed("it lacks something, or isn't JSON"));
        }
        let refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();
        match (refusal.error.as_str(), status) {
            ("", status) if status.is_redirection() => Err(IssuerError::Malformed("it redirects elsewhere")),
            ("", StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) => {
                Err(IssuerError::Unavailable(format!("it answered {status}")))
            }
            ("", status) if status.is_client_error() => {
                Err(IssuerError::Refused { code: status.to_string(), words: String::new() })
            }
            ("" | "server_error" | "temporarily_unavailable", status) => {
                Err(IssuerError::Unavailable(format!("it answered {status}")))
            }
            _ => Err(IssuerError::Refused { code: refusal.error, words: refusal.error_description }),
        }
    }

    /// Puts the form on the request, and who asks (RFC 6749, section 2.3.1).
    fn authenticated(
        &self,
        request: RequestBuilder,
        form: &[(&str, &str)],
    ) -> Result<RequestBuilder, IssuerError> {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(form.iter().filter(|(name, _)| *name != "client_id"));
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let methods = self.document.token_endpoint_auth_methods_supported.as_ref();
        let is_basic = methods.is_none_or(|methods| methods.iter().any(|method| method == BASIC));
        let Some(secret) = self.secret.as_ref().map(ExposeSecret::expose_secret) else {
            return Ok(request.body(body.append_pair("client_id", &self.client_id).finish()));
        };
        if !is_basic {
            let body = body.append_pair("client_id", &self.client_id).append_pair("client_secret", secret);
            return Ok(request.body(body.finish()));
        }
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = STANDARD.encode(format!("{}:{}", encoded(&self.client_id), encoded(secret)));
        let value = HeaderValue::from_str(&format!("Basic {pair}"));
        let mut value = value.map_err(|_| IssuerError::Malformed("the client's secret can't be one"))?;
        value.set_sensitive(true);
        Ok(request.header(AUTHORIZATION, value).body(body.finish()))
    }
}

async fn document(http: &Client, name: &str, is_https: bool) -> Result<Document, Failure> {
    let url = format!("{}{DOCUMENT}", name.trim_end_matches('/'));
    let (status, body) = send(http.get(&url)).await.map_err(|error| error.failure())?;
    let hint = "check `--issuer`: the document has to be below it";
    if status != StatusCode::OK {
        return Err(Failure::local(format!("{url} answered {status}")).hint(hint));
    }
    let document: Document = serde_json::from_slice(&body)
        .map_err(|_| Failure::local(format!("{url} isn't an issuer's document")).hint(hint))?;
    if document.issuer != name {
        let said = quote(&document.issuer);
        return Err(Failure::local(format!("the document is of another issuer: `{said}`"))
            .detail(format!("asked for: `{name}`"))
            .hint("if that is the one you mean, set `--issuer` to exactly what it calls itself"));
    }
    let odd = document.endpoints().find(|url| !is_as_safe(url, is_https)).map(|url| quote(url.as_str()));
    if let Some(said) = odd {
        let failure = Failure::local(format!("the issuer names an address that isn't safe: `{said}`"));
        return Err(failure.hint("tell the operators of the identity provider"));
    }
    Ok(document)
}

/// HTTPS; or what is safe on this machine, if the issuer is there too: an issuer elsewhere has no business here.
pub(super) fn is_as_safe(url: &Url, is_https: bool) -> bool {
    let is_good = if is_https { url.scheme() == "https" } else { address::check_scheme(url).is_ok() };
    let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    is_good && bare && url.as_str().len() <= ADDRESS_MAX_BYTES
}

async fn send(request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), IssuerError> {
    let broken = |error| IssuerError::Unavailable(answer::network(error));
    let mut response = request.header("accept", "application/json").send().await.map_err(broken)?;
    let body = answer::read(&mut response, ANSWER_MAX_BYTES).await.map_err(broken)?;
    Ok((response.status(), body.ok_or(IssuerError::Malformed("it is too long"))?))
}
