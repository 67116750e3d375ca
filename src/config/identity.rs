//! `[identity]`: whose word counts for who a caller is. One issuer, one audience, one algorithm; a token can't choose.

use std::path::PathBuf;

use url::Url;

use super::{
    files::Files,
    section::{Read, Section},
    value,
};
use crate::identity::Algorithm;

/// Where Vault's identity provider keeps its keys, below the issuer.
const KEYS: &str = "/.well-known/keys";
/// Signatures by key pairs only: with a shared secret, whoever checks a token could make one.
const ALGORITHMS: &[(&str, Algorithm)] = &[
    (Algorithm::EdDsa.name(), Algorithm::EdDsa),
    (Algorithm::Es256.name(), Algorithm::Es256),
    (Algorithm::Rs256.name(), Algorithm::Rs256),
];

/// Who says who a caller is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// What a token's `iss` must be, to the letter.
    pub issuer: String,
    /// What a token's `aud` must be, and no other audience beside it.
    pub audience: String,
    /// The only algorithm that a token may be signed with.
    pub algorithm: Algorithm,
    /// Where the issuer's public keys are: HTTPS, or HTTP on a loopback address.
    pub keys_url: Url,
    /// The authorities that the certificate behind `keys_url` may come from, PEM; the system's if there is none.
    pub ca_file: Option<PathBuf>,
}

pub(super) fn read(mut section: Section<'_>, files: Files<'_>) -> Option<Identity> {
    let issuer = section.required(
        "issuer",
        "the \"iss\" of the tokens, like \"https://vault.example:8200/v1/identity/oidc\"",
        value::text,
    );
    let audience =
        section.required("audience", "the \"aud\" of the tokens: the client id at the issuer", value::text);
    let algorithm = section.or("algorithm", Algorithm::EdDsa, value::choice(ALGORITHMS));
    let given = section.optional("keys_url", value::address);
    let keys_url = match given {
        Some(None) => issuer.as_deref().and_then(|issuer| section.checked("keys_url", below(issuer))),
        given => given.flatten(),
    };
    let ca_file = section.optional("ca_file", |found| files.public(&value::text(found)?));
    section.finish();
    Some(Identity {
        issuer: issuer?,
        audience: audience?,
        algorithm: algorithm?,
        keys_url: keys_url?,
        ca_file: ca_file?,
    })
}

fn below(issuer: &str) -> Read<Url> {
    let url = format!("{}{KEYS}", issuer.trim_end_matches('/'));
    value::address(&toml::de::DeValue::String(url.into()))
        .map_err(|why| format!("is missing, and the issuer with {KEYS} behind it won't do: it {why}"))
}
