//! A corner of Vault of a test's own, and what its people do there.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use hallpass::{
    access::{handle::LeaseId, id::GrantId},
    clock::{Clock, SystemClock},
    vault::{GrantToken, Issuer, Settings, VaultIssuer, Wrapped},
};
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_postgres::Client;

use crate::support::servers::{Bao, Postgres, openbao, postgres};

/// The first TTL of a grant's token, and how long a credential stays wrapped.
pub const MINUTE: Duration = Duration::from_mins(1);

/// One test's mounts, policies, roles and daemon.
pub struct World {
    pub bao: &'static Bao,
    pub postgres: &'static Postgres,
    pub issuer: VaultIssuer,
    pub settings: Settings,
    /// The name that everything of this test begins with.
    pub name: &'static str,
    /// The credential path.
    pub path: String,
    /// The policy of its grants' tokens.
    pub policy: String,
    /// The namespace with a slash at its end, or nothing.
    namespace: String,
    _dir: TempDir,
}

/// What a holder got by unwrapping.
pub struct Credential {
    pub lease: LeaseId,
    pub username: String,
    pub password: String,
}

/// Makes a world on the shared servers. `name` must be the test's own.
pub async fn world(name: &'static str) -> World {
    World::new(name, "", openbao(), postgres(), Arc::new(SystemClock)).await
}

impl World {
    pub async fn new(
        name: &'static str,
        namespace: &str,
        bao: &'static Bao,
        postgres: &'static Postgres,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(name, namespace, bao, &dir);
        let issuer = VaultIssuer::new(settings.clone(), clock).unwrap();
        let (path, policy) = (format!("{name}-db/creds/hp-orders-ro"), format!("cred-{name}"));
        let namespace = namespace.to_owned();
        let mut world = Self { bao, postgres, issuer, settings, name, path, policy, namespace, _dir: dir };
        world.mount_database().await;
        world.load_policies().await;
        world.load_app_role().await;
        world
    }

    /// Writes as root, in the world's namespace.
    pub async fn write(&self, path: &str, body: Value) -> Value {
        self.bao.write(&format!("{}{path}", self.namespace), body).await
    }

    async fn mount_database(&self) {
        let member = "DO $$ BEGIN CREATE ROLE orders_ro; \
                      EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$";
        self.superuser().await.batch_execute(member).await.unwrap();
        self.write(&format!("sys/mounts/{}-db", self.name), json!({ "type": "database" })).await;
        let port = self.postgres.port;
        let mut connection = deploy_json("database-connection.json");
        connection["connection_url"] = format!(
            "postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{port}/postgres?sslmode=disable"
        )
        .into();
        connection["username"] = self.postgres.superuser.into();
        connection["password"] = self.postgres.password.into();
        self.write(&format!("{}-db/config/orders", self.name), connection).await;
        self.write(&format!("{}-db/roles/hp-orders-ro", self.name), deploy_json("database-role.json")).await;
    }

    async fn load_policies(&self) {
        self.write_policy(&self.policy, &self.own(&deploy("cred-orders-ro.hcl"))).await;
        self.write_policy(&self.daemon_policy(), &self.own(&deploy("hallpassd.hcl"))).await;
        self.write(&format!("auth/token/roles/{}", self.settings.token_role), deploy_json("token-role.json"))
            .await;
    }

    /// The name of the daemon's policy.
    pub fn daemon_policy(&self) -> String {
        format!("{}-hallpassd", self.name)
    }

    /// A file of `deploy/vault` with this world's names.
    pub fn own(&self, policy: &str) -> String {
        let own = policy.replace("database/creds/", &format!("{}-db/creds/", self.name));
        assert_ne!(own, policy);
        own.replace("hallpass-grant", &self.settings.token_role)
    }

    pub async fn write_policy(&self, name: &str, text: &str) {
        self.write(&format!("sys/policies/acl/{name}"), json!({ "policy": text })).await;
    }

    async fn load_app_role(&mut self) {
        let mount = self.settings.approle_mount.clone();
        self.write(&format!("sys/auth/{mount}"), json!({ "type": "approle" })).await;
        let mut role = deploy_json("approle.json");
        role["token_policies"] = json!([self.daemon_policy()]);
        self.write(&format!("auth/{mount}/role/hallpassd"), role).await;
        let role_id = json!({ "role_id": self.settings.role_id });
        self.write(&format!("auth/{mount}/role/hallpassd/role-id"), role_id).await;
        self.rotate_secret_id().await;
    }

    /// Makes a new secret id and puts it into the daemon's file.
    pub async fn rotate_secret_id(&self) -> String {
        let path = format!("auth/{}/role/hallpassd/secret-id", self.settings.approle_mount);
        let made = self.write(&path, json!({})).await;
        let secret_id = text(&made["data"]["secret_id"]);
        fs::write(&self.settings.secret_id_file, format!("{secret_id}\n")).unwrap();
        secret_id
    }

    /// The accessors of the daemon's logins.
    pub async fn logins(&self) -> Vec<String> {
        let role = format!("auth/{}/login", self.settings.approle_mount);
        self.tokens(|token| token["path"] == role.as_str()).await
    }

    /// The accessors of the tokens that were made for a grant.
    pub async fn tokens_of(&self, grant: GrantId) -> Vec<String> {
        self.tokens(|token| token["meta"]["grant"] == grant.to_string()).await
    }

    async fn tokens(&self, wanted: impl Fn(&Value) -> bool) -> Vec<String> {
        let listed = self.bao.list(&format!("{}auth/token/accessors/", self.namespace)).await;
        let mut found = Vec::new();
        for accessor in listed["data"]["keys"].as_array().unwrap() {
            let accessor = text(accessor);
            if self.token(&accessor).await.is_some_and(|token| wanted(&token)) {
                found.push(accessor);
            }
        }
        found
    }

    /// A token as root sees it, if it lives.
    pub async fn token(&self, accessor: &str) -> Option<Value> {
        let path = format!("{}auth/token/lookup-accessor", self.namespace);
        let body = json!({ "accessor": accessor });
        let (status, answer) = self.bao.call(&self.bao.root_token, Method::POST, &path, Some(body)).await;
        (status == 200).then(|| answer["data"].clone())
    }

    /// A lease as root sees it, if it exists.
    pub async fn lease(&self, lease: &LeaseId) -> Option<Value> {
        let path = format!("{}sys/leases/lookup", self.namespace);
        let body = json!({ "lease_id": lease.expose() });
        let (status, answer) = self.bao.call(&self.bao.root_token, Method::POST, &path, Some(body)).await;
        (status == 200).then(|| answer["data"].clone())
    }

    pub async fn mint(&self) -> (GrantId, GrantToken) {
        let grant = new_grant();
        (grant, self.issuer.mint(grant, &self.policy, MINUTE).await.unwrap())
    }

    /// A grant as far as its wrapped credential; `token` is its token's handle.
    pub async fn issue(&self) -> Issued {
        let (grant, token) = self.mint().await;
        let accessor = token.accessor.clone();
        let wrapped = self.issuer.read_wrapped(token, &self.path, MINUTE).await.unwrap();
        Issued { grant, token: accessor, wrapped }
    }

    /// What the holder does. None if the wrapping is gone.
    pub async fn unwrap(&self, token: &SecretString) -> Option<Credential> {
        let path = format!("{}sys/wrapping/unwrap", self.namespace);
        let (status, answer) = self.bao.call(token.expose_secret(), Method::POST, &path, None).await;
        (status == 200).then(|| Credential {
            lease: LeaseId::new(text(&answer["lease_id"])),
            username: text(&answer["data"]["username"]),
            password: text(&answer["data"]["password"]),
        })
    }

    pub async fn superuser(&self) -> Client {
        self.postgres.connect_as_superuser("postgres").await
    }

    /// The database accounts of a grant.
    pub async fn accounts(&self, grant: GrantId) -> Vec<String> {
        let query = "SELECT rolname FROM pg_roles WHERE strpos(rolname, $1) > 0";
        let rows = self.superuser().await.query(query, &[&grant.to_string()]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// How many seconds are left until the database itself refuses the grant's account.
    pub async fn valid_for(&self, grant: GrantId) -> f64 {
        let query = "SELECT extract(epoch FROM rolvaliduntil - now())::float8 FROM pg_roles \
                     WHERE strpos(rolname, $1) > 0";
        self.superuser().await.query_one(query, &[&grant.to_string()]).await.unwrap().get(0)
    }
}

/// A grant whose credential is wrapped.
pub struct Issued {
    pub grant: GrantId,
    pub token: hallpass::access::handle::Accessor,
    pub wrapped: Wrapped,
}

pub fn new_grant() -> GrantId {
    GrantId::new(now(), SystemClock.random())
}

pub fn now() -> DateTime<Utc> {
    SystemClock.now()
}

pub fn settings(name: &str, namespace: &str, bao: &Bao, dir: &TempDir) -> Settings {
    Settings {
        address: bao.address.parse().unwrap(),
        ca_file: None,
        namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
        approle_mount: format!("{name}-approle"),
        role_id: format!("{name}-role-id"),
        secret_id_file: dir.path().join("secret-id"),
        token_role: format!("{name}-grant"),
        timeout: Duration::from_secs(30),
    }
}

/// A file of `deploy/vault`, as an operator loads it.
pub fn deploy(file: &str) -> String {
    let dir = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/vault"));
    fs::read_to_string(dir.join(file)).unwrap()
}

pub fn deploy_json(file: &str) -> Value {
    serde_json::from_str(&deploy(file)).unwrap()
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// A server of the test's own that lives as long as the test process, for those who stop and start it.
pub fn leaked<T>(server: T) -> &'static T {
    Box::leak(Box::new(server))
}
