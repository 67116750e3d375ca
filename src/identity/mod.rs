//! Who calls: checks a JWT against the keys of the one identity provider that the daemon trusts.
//!
//! The order is fixed: size, header, pinned algorithm, key, signature; only then is anything believed that the token
//! says. What a token says about its own algorithm never chooses how it is checked; it only has to agree
//! (<https://www.rfc-editor.org/rfc/rfc8725#section-3.1>). Nothing here decides what a caller may do, and nothing ever
//! shows a token: neither an error nor a log line holds any part of one.

mod claims;
mod error;
mod jwk;
mod keys;
#[cfg(test)]
mod tests;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use jsonwebtoken::Validation;
use serde::Deserialize;
use url::Url;

pub use self::error::IdentityError;
use self::{claims::Claims, keys::Keys};
use crate::{
    access::actor::Caller,
    clock::Clock,
    http::{HttpError, client},
};

/// The longest token. Vault's tokens with a hundred groups have about 4 KiB, and HTTP/2 peers rarely take more headers
/// than 16 KiB.
pub const TOKEN_MAX_BYTES: usize = 8 * 1024;

/// How long fetching the keys may take: a caller waits for it.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// How tokens are signed. There are no others: symmetric algorithms and `none` can't be named, let alone used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519, the best choice with Vault.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSA PKCS #1 v1.5 with SHA-256, which is what many providers offer alone.
    Rs256,
}

impl Algorithm {
    /// The name in a token's header and in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    const fn library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is trusted.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The only `iss`, for example `https://vault.example.com/v1/identity/oidc`.
    pub issuer: String,
    /// The only `aud`: with Vault the client id of the role that tokens are made with.
    pub audience: String,
    /// The only algorithm.
    pub algorithm: Algorithm,
    /// Where the issuer publishes its keys, for example `<issuer>/.well-known/keys`.
    pub keys_url: Url,
    /// The certificate authorities of that address; the system's if unset.
    pub ca_file: Option<PathBuf>,
}

/// A caller whose token holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Who calls, and the groups.
    pub caller: Caller,
    /// From when on the token no longer holds.
    pub expires_at: DateTime<Utc>,
}

/// Checks tokens.
#[derive(Debug)]
pub struct Verifier {
    settings: Settings,
    validation: Validation,
    keys: Arc<Keys>,
    clock: Arc<dyn Clock>,
}

/// What is read of a header. The rest (`typ`, `jku`, `jwk`, `x5u`) chooses nothing here.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

impl Verifier {
    /// Sets up the verifier. The keys are fetched when the first token comes.
    ///
    /// # Errors
    ///
    /// If the HTTP client can't be built, which is about `ca_file`.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, HttpError> {
        let http = client(settings.ca_file.as_deref(), FETCH_TIMEOUT)?;
        let keys = Keys::new(http, settings.keys_url.clone(), settings.algorithm, Arc::clone(&clock));
        let mut validation = Validation::new(settings.algorithm.library());
        // The library checks the signature, and nothing else: it would ask the system for the time, and it takes a claim
        // that is missing or of another type for none.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        Ok(Self { settings, validation, keys: Arc::new(keys), clock })
    }

    /// Checks a token.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with it, or [`IdentityError::KeysUnavailable`] if that can't be known.
    pub async fn verify(&self, jwt: &str) -> Result<Verified, IdentityError> {
        let kid = self.key_id(jwt)?;
        let key = self.keys.get(&kid).await?;
        // The time is asked after the keys, which may have taken a while.
        let now = self.clock.now();
        let claims = jsonwebtoken::decode::<Claims>(jwt, &key, &self.validation).map_err(broken)?.claims;
        claims.verified(&self.settings.issuer, &self.settings.audience, now)
    }

    /// Which key the token says it was signed with, if it is one that could be checked at all.
    fn key_id(&self, jwt: &str) -> Result<String, IdentityError> {
        if jwt.len() > TOKEN_MAX_BYTES {
            return Err(IdentityError::Malformed("it is too long"));
        }
        let mut parts = jwt.split('.');
        let (Some(header), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(IdentityError::Malformed("it doesn't have three parts"));
        };
        let json =
            URL_SAFE_NO_PAD.decode(header).map_err(|_| IdentityError::Malformed("its header is broken"))?;
        let header: Header =
            serde_json::from_slice(&json).map_err(|_| IdentityError::Malformed("its header is broken"))?;
        if header.alg != self.settings.algorithm.name() {
            return Err(IdentityError::Algorithm { pinned: self.settings.algorithm });
        }
        if header.crit.is_some() {
            // RFC 7515, section 4.1.11: extensions that aren't understood must be refused.
            return Err(IdentityError::Malformed("it has critical extensions"));
        }
        header.kid.ok_or(IdentityError::Malformed("it names no key"))
    }
}

fn broken(error: jsonwebtoken::errors::Error) -> IdentityError {
    use jsonwebtoken::errors::ErrorKind;
    match error.into_kind() {
        ErrorKind::Json(_) | ErrorKind::Utf8(_) => IdentityError::Malformed("its claims are broken"),
        // A signature that can't even be read proves as little as a wrong one.
        _ => IdentityError::Signature,
    }
}
