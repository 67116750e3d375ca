//! Who calls: checks a JWT against the keys of the issuers that the daemon trusts.
//!
//! The order is fixed: size, header, issuer, pinned algorithm, key, signature; only then is anything believed that the
//! token says. What a token says about its own issuer and algorithm never chooses more than one of those that the
//! configuration names (<https://www.rfc-editor.org/rfc/rfc8725#section-3.1>). Nothing here decides what a caller may do,
//! and nothing ever shows a token: neither an error nor a log line holds any part of one.

mod claims;
mod error;
mod issuer;
mod json;
mod jwk;
mod keys;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, de::DeserializeOwned};

use self::issuer::Issuer;
pub use self::{
    claims::{ClaimPath, ClaimPaths},
    error::IdentityError,
    issuer::{Algorithm, KeySource, Settings},
};
use crate::{
    access::actor::{Caller, Person, Persons},
    clock::Clock,
    http::HttpError,
};

/// The longest token. Vault's tokens with a hundred groups have about 4 KiB, and HTTP/2 peers rarely take more headers
/// than 16 KiB.
pub const TOKEN_MAX_BYTES: usize = 8 * 1024;

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
    issuers: Vec<Issuer>,
    persons: Persons,
    clock: Arc<dyn Clock>,
}

/// What is read of a header. The rest (`typ`, `jku`, `jwk`, `x5u`) chooses nothing here.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

/// What is read of the claims before the signature is checked: which of the issuers has to have made it.
#[derive(Deserialize)]
struct Said {
    iss: Option<serde_json::Value>,
}

impl Verifier {
    /// Sets up the verifier. Each issuer's keys are fetched when its first token comes.
    ///
    /// # Errors
    ///
    /// If an HTTP client can't be built, which is about a `ca_file`.
    pub fn new(issuers: Vec<Settings>, persons: Persons, clock: Arc<dyn Clock>) -> Result<Self, HttpError> {
        let issuer = |settings| Issuer::new(settings, Arc::clone(&clock), None);
        let issuers = issuers.into_iter().map(issuer).collect::<Result<_, _>>()?;
        Ok(Self { issuers, persons, clock })
    }

    /// One of another configuration. Keys that were fetched from where they still come from stay known, so that an issuer
    /// which is down now locks out nobody whom it wouldn't have locked out before.
    ///
    /// # Errors
    ///
    /// Like [`Self::new`].
    pub fn renewed(&self, issuers: Vec<Settings>, persons: Persons) -> Result<Self, HttpError> {
        let issuer = |settings: Settings| {
            let before = self.issuers.iter().find(|issuer| issuer.has_keys_of(&settings));
            Issuer::new(settings, Arc::clone(&self.clock), before)
        };
        let issuers = issuers.into_iter().map(issuer).collect::<Result<_, _>>()?;
        Ok(Self { issuers, persons, clock: Arc::clone(&self.clock) })
    }

    /// Checks a token.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with it, or [`IdentityError::KeysUnavailable`] if that can't be known.
    pub async fn verify(&self, jwt: &str) -> Result<Verified, IdentityError> {
        let (header, said) = parts(jwt)?;
        if header.crit.is_some() {
            // RFC 7515, section 4.1.11: extensions that aren't understood must be refused.
            return Err(IdentityError::Malformed("it has critical extensions"));
        }
        let kid = header.kid.ok_or(IdentityError::Malformed("it names no key"))?;
        let named = said.iss.as_ref().and_then(serde_json::Value::as_str);
        let is_it = |issuer: &&Issuer| Some(issuer.settings().issuer.as_str()) == named;
        let issuer = self.issuers.iter().find(is_it).ok_or(IdentityError::Issuer)?;
        let claims = issuer.claims(jwt, &header.alg, &kid).await?;
        // The time is asked after the keys, which may have taken a while.
        let verified = claims.verified(issuer.settings(), self.clock.now())?;
        let caller = Caller { person: self.person(verified.caller.person), ..verified.caller };
        Ok(Verified { caller, ..verified })
    }

    /// The person behind an identity, under one subject whichever way he came in.
    fn person(&self, identity: Person) -> Person {
        let subject = self.persons.subject(&identity.subject).to_owned();
        Person { subject, ..identity }
    }
}

fn parts(jwt: &str) -> Result<(Header, Said), IdentityError> {
    if jwt.len() > TOKEN_MAX_BYTES {
        return Err(IdentityError::Malformed("it is too long"));
    }
    let mut parts = jwt.split('.');
    let (Some(header), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(IdentityError::Malformed("it doesn't have three parts"));
    };
    let header = part(header).ok_or(IdentityError::Malformed("its header is broken"))?;
    let claims = part(claims).ok_or(IdentityError::Malformed("its claims are broken"))?;
    Ok((header, claims))
}

fn part<T: DeserializeOwned>(base64url: &str) -> Option<T> {
    let json = URL_SAFE_NO_PAD.decode(base64url).ok()?;
    serde_json::from_slice(&json).ok()
}
