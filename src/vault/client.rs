//! One call to Vault: our own HTTP client behind vaultrs' `Client`, and rustify's endpoints through both.
//!
//! The client holds no token; each call says which one it goes with, and where no token belongs, none goes. It asks no
//! environment variable, follows no redirect, and retries nothing. vaultrs' own functions are not used: they write
//! Vault's error texts and warnings to the log, handles included.

use std::{error::Error, fmt, time::Duration};

use async_trait::async_trait;
use http::{HeaderValue, Request, Response};
use rustify::{clients::reqwest::Client as HttpClient, endpoint::Endpoint, errors::ClientError};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use url::Url;
use vaultrs::{
    api::EndpointMiddleware,
    client::{Client as _, VaultClientSettings},
};

use super::{endpoints::Answer, error::Failure};

/// What a call carries besides its request.
#[derive(Clone, Copy, Default)]
pub(super) struct Carried<'a> {
    /// The token that it goes with; a login goes without.
    pub(super) token: Option<&'a SecretString>,
    /// Asks for the answer to be wrapped, for this long.
    pub(super) wrap: Option<Duration>,
}

/// The way to one Vault.
pub(super) struct Client {
    http: HttpClient,
    middle: EndpointMiddleware,
    settings: VaultClientSettings,
}

impl Client {
    /// Sets up the way without going it: Vault may be down.
    pub(super) fn new(
        http: reqwest::Client,
        address: &Url,
        namespace: Option<String>,
        timeout: Duration,
    ) -> Self {
        let settings = settings(address, namespace.clone(), timeout);
        let middle = EndpointMiddleware { token: String::new(), version: "v1".into(), wrap: None, namespace };
        Self { http: HttpClient::new(address.as_str(), http), middle, settings }
    }

    /// Sends the request once and reads the answer.
    pub(super) async fn send<E: Endpoint>(
        &self,
        carried: Carried<'_>,
        endpoint: E,
    ) -> Result<Answer<E::Response>, Failure> {
        let middle = self.middle_for(carried)?;
        let sent = endpoint.with_middleware(&middle).exec(&AnyStatus(self.http())).await;
        let result = sent.map_err(|e| unsent(&e))?;
        read(result.response.status().as_u16(), result.response.body())
    }

    /// vaultrs' middleware panics on a text that can't stand in a header, so such a text is refused here.
    fn middle_for(&self, carried: Carried<'_>) -> Result<EndpointMiddleware, Failure> {
        let mut middle = self.middle().clone();
        if let Some(token) = carried.token {
            if !fits_header(token.expose_secret()) {
                return Err(Failure::Unsent("Vault's token has characters that none can have".into()));
            }
            token.expose_secret().clone_into(&mut middle.token);
        }
        middle.wrap = carried.wrap.map(|ttl| format!("{}s", ttl.as_secs()));
        Ok(middle)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("address", &self.settings.address.as_str()).finish_non_exhaustive()
    }
}

#[async_trait]
impl vaultrs::client::Client for Client {
    fn http(&self) -> &HttpClient {
        &self.http
    }

    fn middle(&self) -> &EndpointMiddleware {
        &self.middle
    }

    fn settings(&self) -> &VaultClientSettings {
        &self.settings
    }

    /// Does nothing: tokens go with calls.
    fn set_token(&mut self, _token: &str) {}
}

/// Whether a text can stand in an HTTP header.
pub(super) fn fits_header(text: &str) -> bool {
    HeaderValue::from_str(text).is_ok()
}

/// Every field is set, because vaultrs would take what is left out from the environment: one odd variable turns
/// verification off. Only the trait wants these settings; the HTTP client has its own.
fn settings(address: &Url, namespace: Option<String>, timeout: Duration) -> VaultClientSettings {
    VaultClientSettings {
        address: address.clone(),
        ca_certs: Vec::new(),
        identity: None,
        timeout: Some(timeout),
        token: String::new(),
        verify: true,
        version: 1,
        wrapping: false,
        namespace,
        proxy: None,
    }
}

/// Hands back answers of any status: rustify makes an error of most, and logs it as one, while a 404 or 400 of Vault's
/// is often the good news.
struct AnyStatus<'a>(&'a HttpClient);

#[async_trait]
impl rustify::client::Client for AnyStatus<'_> {
    async fn send(&self, req: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, ClientError> {
        self.0.send(req).await
    }

    fn base(&self) -> &str {
        self.0.base()
    }

    async fn execute(&self, mut req: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, ClientError> {
        // Keeps it out of what the layers below may log, and out of the compression of headers.
        if let Some(token) = req.headers_mut().get_mut("X-Vault-Token") {
            token.set_sensitive(true);
        }
        self.send(req).await
    }
}

/// The form of all of Vault's error answers.
#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

fn read<D: DeserializeOwned>(status: u16, body: &[u8]) -> Result<Answer<D>, Failure> {
    match status {
        200..=299 if body.is_empty() => Ok(Answer::empty()),
        200..=299 => serde_json::from_slice(body).map_err(|_| Failure::Unreadable),
        _ => Err(match serde_json::from_slice::<Errors>(body) {
            Ok(Errors { errors }) => Failure::Said { status, errors },
            Err(_) => Failure::Foreign { status },
        }),
    }
}

/// Only an error in connecting is sure to have sent nothing; any other may have come after the request arrived.
fn unsent(error: &ClientError) -> Failure {
    let (ClientError::RequestError { source, .. } | ClientError::ResponseError { source }) = error else {
        return Failure::Unsent("the request can't be built from this path or text".into());
    };
    match source.downcast_ref::<reqwest::Error>() {
        Some(e) if e.is_connect() => Failure::Unreached(innermost(e)),
        Some(e) if e.is_timeout() => Failure::Silent,
        Some(e) => Failure::Cut(innermost(e)),
        None => Failure::Cut("the connection failed".into()),
    }
}

/// The last of the causes, which says what happened; the outer ones repeat the address.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_unit(status: u16, body: &str) -> Result<Answer<()>, Failure> {
        read(status, body.as_bytes())
    }

    #[test]
    fn an_empty_success_is_one() {
        assert!(read_unit(204, "").is_ok());
    }

    #[test]
    fn an_error_in_vaults_form_is_vaults() {
        assert!(matches!(read_unit(404, r#"{"errors":[]}"#), Err(Failure::Said { status: 404, .. })));
    }

    #[test]
    fn anything_else_is_not() {
        assert!(matches!(read_unit(502, "<html>"), Err(Failure::Foreign { status: 502 })));
        assert!(matches!(read_unit(307, ""), Err(Failure::Foreign { status: 307 })));
        assert!(matches!(read_unit(200, "<html>"), Err(Failure::Unreadable)));
    }
}
