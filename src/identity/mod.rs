//! Who calls: by a JWT that an issuer which the daemon trusts has signed, by a client's certificate, or by the user behind a
//! Unix socket. Whichever it is, the same person has the same subject (`[identity.persons]`).
//!
//! Of a JWT the order is fixed: size, header, issuer, pinned algorithm, key, signature; only then is anything believed that the
//! token says. What a token says about its own issuer and algorithm never chooses more than one of those that the
//! configuration names (<https://www.rfc-editor.org/rfc/rfc8725#section-3.1>). Nothing here decides what a caller may do,
//! and nothing ever shows a token: neither an error nor a log line holds any part of one.

mod certificates;
mod claims;
mod error;
mod issuer;
mod json;
mod jwk;
mod keys;
mod socket;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, de::DeserializeOwned};

pub use self::{
    certificates::{
        BadRule, CERTIFICATE_SOURCE, CertificateSettings, Certificates, ClientChain, NameRule, TrustError,
    },
    claims::{ClaimPath, ClaimPaths},
    error::IdentityError,
    issuer::{Algorithm, KeySource, Settings},
    socket::{NOBODY, SOCKET_SOURCE, SocketSettings},
};
use self::{issuer::Issuer, socket::Socket};
use crate::{
    access::actor::{Caller, Person, Persons},
    clock::Clock,
    http::HttpError,
};

/// The longest token. Vault's tokens with a hundred groups have about 4 KiB, and HTTP/2 peers rarely take more headers
/// than 16 KiB.
pub const TOKEN_MAX_BYTES: usize = 8 * 1024;

/// A caller whose identity holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Who calls, and the groups.
    pub caller: Caller,
    /// From when on the token or the certificate no longer holds.
    pub expires_at: DateTime<Utc>,
}

/// What can stop to hold before its time, and be looked at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A certificate, which can be revoked.
    Certificate(ClientChain),
    /// The id of a user of this machine, who can be taken out of a group.
    User(u32),
}

/// Checks identities.
#[derive(Debug)]
pub struct Verifier {
    issuers: Vec<Issuer>,
    certificates: Option<Arc<Certificates>>,
    socket: Option<Socket>,
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
        Ok(Self { issuers, certificates: None, socket: None, persons, clock })
    }

    /// Also knows people by their certificates.
    #[must_use]
    pub fn with_certificates(self, certificates: Option<Arc<Certificates>>) -> Self {
        Self { certificates, ..self }
    }

    /// Also knows people by the users that they are on this machine.
    #[must_use]
    pub fn with_socket(self, settings: Option<SocketSettings>) -> Self {
        let socket = settings.map(|settings| Socket::new(settings, Arc::clone(&self.clock)));
        Self { socket, ..self }
    }

    /// Checks what the connection itself says of who calls.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with it, or that it can't be known.
    pub async fn verify_evidence(&self, evidence: &Evidence) -> Result<Verified, IdentityError> {
        let verified = match (evidence, &self.certificates, &self.socket) {
            (Evidence::Certificate(chain), Some(certificates), _) => certificates.verify(chain)?,
            (Evidence::User(uid), _, Some(socket)) => socket.verify(*uid).await?,
            (Evidence::Certificate(_), None, _) => {
                return Err(IdentityError::Certificate("isn't asked for here"));
            }
            (Evidence::User(_), _, None) => return Err(IdentityError::User),
        };
        Ok(self.known(verified))
    }

    /// One of another configuration, which knows nobody but by tokens yet. Keys that were fetched from where they still come from stay known, so that an issuer
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
        Ok(Self { issuers, certificates: None, socket: None, persons, clock: Arc::clone(&self.clock) })
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
        Ok(self.known(claims.verified(issuer.settings(), self.clock.now())?))
    }

    /// The person behind an identity, under one subject whichever way he came in.
    fn known(&self, identity: Verified) -> Verified {
        let Verified { caller: Caller { person, groups }, expires_at } = identity;
        let subject = self.persons.subject(&person.subject).to_owned();
        Verified { caller: Caller { person: Person { subject, ..person }, groups }, expires_at }
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
