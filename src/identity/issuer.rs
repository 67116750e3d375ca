//! One issuer: which tokens it can have made, and with which keys they have to be signed.

use std::{collections::BTreeSet, fmt, path::PathBuf, sync::Arc, time::Duration};

use jsonwebtoken::{Validation, errors::ErrorKind};
use url::Url;

use super::{
    claims::{ClaimPaths, Claims},
    error::IdentityError,
    keys::Keys,
};
use crate::{
    clock::Clock,
    http::{HttpError, client},
};

/// How long each download may take, of the keys or of what says where they are: a caller waits for it.
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

    pub(super) const fn library(self) -> jsonwebtoken::Algorithm {
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

/// Where an issuer's keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// From wherever the document at this address says (`OpenID` Connect Discovery 1.0, section 4).
    Discovery(Url),
    /// From this address: a JWK set (RFC 7517, section 5).
    Url(Url),
    /// From this file: a JWK set. It is read again like an address.
    File(PathBuf),
}

/// What is trusted of one issuer.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it is called here. The subjects of its people begin with it.
    pub name: String,
    /// What `iss` must be, for example `https://vault.example.com/v1/identity/oidc`.
    pub issuer: String,
    /// The only `aud`: with Vault the client id of the role that tokens are made with.
    pub audience: String,
    /// The only algorithms; at least one.
    pub algorithms: Vec<Algorithm>,
    /// Where its keys come from.
    pub keys: KeySource,
    /// The certificate authorities of that address; the system's if unset.
    pub ca_file: Option<PathBuf>,
    /// Where its tokens say who somebody is.
    pub claims: ClaimPaths,
    /// The groups that its word counts for; all if unset.
    pub groups: Option<BTreeSet<String>>,
}

/// An issuer with its keys.
#[derive(Debug)]
pub(super) struct Issuer {
    settings: Settings,
    keys: Arc<Keys>,
}

impl Issuer {
    /// An issuer, with the keys that are known from `before`.
    pub(super) fn new(
        settings: Settings,
        clock: Arc<dyn Clock>,
        before: Option<&Self>,
    ) -> Result<Self, HttpError> {
        let http = client(settings.ca_file.as_deref(), FETCH_TIMEOUT)?;
        let keys = Keys::new(http, &settings, clock, before.map(|before| &*before.keys));
        Ok(Self { settings, keys: Arc::new(keys) })
    }

    /// Whether what is known of this one's keys would be known with these settings as well. A file may say something else
    /// by now, and can be read at any time.
    pub(super) fn has_keys_of(&self, other: &Settings) -> bool {
        let Settings { issuer, algorithms, keys, ca_file, .. } = &self.settings;
        let is_file = matches!(keys, KeySource::File(_));
        !is_file
            && (issuer, algorithms, keys, ca_file)
                == (&other.issuer, &other.algorithms, &other.keys, &other.ca_file)
    }

    pub(super) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What the token says, once its signature holds.
    pub(super) async fn claims(&self, jwt: &str, alg: &str, kid: &str) -> Result<Claims, IdentityError> {
        let pinned = self.settings.algorithms.iter().find(|algorithm| algorithm.name() == alg);
        let pinned = pinned.ok_or(IdentityError::Algorithm)?;
        let key = self.keys.get(*pinned, kid).await?;
        let mut validation = Validation::new(pinned.library());
        // The library checks the signature, and nothing else: it would ask the system for the time, and it takes a claim
        // that is missing or of another type for none.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let token = jsonwebtoken::decode::<Claims>(jwt, &key, &validation).map_err(broken)?;
        Ok(token.claims)
    }
}

fn broken(error: jsonwebtoken::errors::Error) -> IdentityError {
    match error.into_kind() {
        ErrorKind::Json(_) | ErrorKind::Utf8(_) => IdentityError::Malformed("its claims are broken"),
        // A signature that can't even be read proves as little as a wrong one.
        _ => IdentityError::Signature,
    }
}
