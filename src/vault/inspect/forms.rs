//! The calls that only an inspection makes.

use rustify_derive::Endpoint;

use super::answers::SecretId;

/// Reads settings: `GET` of any path. Only paths that hold no secret are asked for.
#[derive(Endpoint)]
#[endpoint(path = "{self.path}", method = "GET", response = "serde_json::Value")]
pub(super) struct ReadSettings {
    #[endpoint(skip)]
    pub(super) path: String,
}

/// Looks a secret id up by itself: `POST auth/<mount>/role/<role>/secret-id/lookup`.
///
/// Source: <https://developer.hashicorp.com/vault/api-docs/auth/approle#read-approle-secret-id>.
#[derive(Endpoint)]
#[endpoint(
    path = "auth/{self.mount}/role/{self.role}/secret-id/lookup",
    method = "POST",
    response = "SecretId"
)]
pub(super) struct LookUpSecretId {
    #[endpoint(skip)]
    pub(super) mount: String,
    #[endpoint(skip)]
    pub(super) role: String,
    pub(super) secret_id: String,
}
