//! Vault without hallpass: what a claim asks of it, asked directly, to be measured beside hallpass.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use super::text;
use crate::support::world::World;

/// How long one call may take.
const CALL: Duration = Duration::from_secs(30);

/// What a claim asks of Vault, asked without hallpass: the same calls in the same order, with the rights of the daemon,
/// over connections that stay open like the daemon's.
#[derive(Debug)]
pub struct Direct {
    http: Client,
    vault: String,
    token: String,
    token_role: String,
    policy: String,
    credential_path: String,
}

/// What was issued, to be ended again.
#[derive(Debug)]
pub struct Issued {
    pub accessor: String,
    wrapping: String,
    wrapping_token: String,
    lease: String,
}

impl Direct {
    /// Logs in as the daemon does.
    pub async fn log_in(world: &World) -> Self {
        let (bao, name) = (&world.bao, &world.name);
        let role = format!("auth/approle/role/hallpassd-{name}");
        let role_id = bao.read(&format!("{role}/role-id")).await["data"]["role_id"].clone();
        let secret_id = bao.write(&format!("{role}/secret-id"), json!({})).await["data"]["secret_id"].clone();
        let login = json!({ "role_id": role_id, "secret_id": secret_id });
        let login = bao.write("auth/approle/login", login).await;
        Self {
            http: hallpass::http::client(None, CALL).unwrap(),
            vault: bao.address.clone(),
            token: text(&login["auth"]["client_token"]),
            token_role: format!("hallpass-grant-{name}"),
            policy: format!("cred-orders-ro-{name}"),
            credential_path: world.credential_path(),
        }
    }

    /// Makes a token, lists, reads wrapped, lists, looks the lease up, and sets both ends.
    pub async fn issue(&self, end: Duration) -> Issued {
        let create = json!({
            "display_name": "direct", "meta": { "grant": "direct" }, "policies": [self.policy], "ttl": "60s",
            "no_default_policy": true, "renewable": true, "type": "service",
        });
        let create_path = format!("auth/token/create/{}", self.token_role);
        let made = self.answer(self.request(&self.token, Method::POST, &create_path).json(&create)).await;
        let accessor = text(&made["auth"]["accessor"]);
        let before = self.leases().await;
        let grant_token = text(&made["auth"]["client_token"]);
        let read = self.request(&grant_token, Method::GET, &self.credential_path);
        let wrapped = self.answer(read.header("X-Vault-Wrap-TTL", "300s")).await;
        let after = self.leases().await;
        let lease = after.into_iter().find(|lease| !before.contains(lease)).expect("a lease appeared");
        self.post("sys/leases/lookup", json!({ "lease_id": lease })).await;
        let end = end.as_secs();
        tokio::join!(
            self.post("auth/token/renew-accessor", json!({ "accessor": accessor, "increment": end })),
            self.post("sys/leases/renew", json!({ "lease_id": lease, "increment": end })),
        );
        let info = &wrapped["wrap_info"];
        let (wrapping, wrapping_token) = (text(&info["accessor"]), text(&info["token"]));
        Issued { accessor, wrapping, wrapping_token, lease }
    }

    /// Opens the credential, as its holder does at once.
    pub async fn open(&self, issued: &Issued) {
        let unwrap = self.request(&issued.wrapping_token, Method::POST, "sys/wrapping/unwrap");
        self.answer(unwrap).await;
    }

    /// Ends it; that isn't measured.
    pub async fn end(&self, issued: &Issued) {
        self.post("auth/token/revoke-accessor", json!({ "accessor": issued.wrapping })).await;
        self.post("auth/token/revoke-accessor", json!({ "accessor": issued.accessor })).await;
        self.post("sys/leases/revoke", json!({ "lease_id": issued.lease, "sync": true })).await;
    }

    /// The credentials' leases below the path; those of wrapping tokens have long names that begin with `h`.
    async fn leases(&self) -> Vec<String> {
        let path = format!("sys/leases/lookup/{}/", self.credential_path);
        let list = self.request(&self.token, Method::from_bytes(b"LIST").unwrap(), &path);
        // An empty list is a 404.
        let keys = self.answer(list).await["data"]["keys"].take();
        let names = keys.as_array().map(Vec::as_slice).unwrap_or_default().iter().map(text);
        let credentials = names.filter(|name| !(name.starts_with('h') && name.len() > 64));
        credentials.map(|name| format!("{}/{name}", self.credential_path)).collect()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.answer(self.request(&self.token, Method::POST, path).json(&body)).await
    }

    fn request(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}/v1/{path}", self.vault)).header("X-Vault-Token", token)
    }

    async fn answer(&self, request: RequestBuilder) -> Value {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let body = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default();
        assert!(status < 300 || status == 404, "{status} {body}");
        body
    }
}
