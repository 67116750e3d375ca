//! A whole small company for one test: its own Vault mounts, people and groups, its own database, and its own hallpassd,
//! the real binary. Set up from the files that operators load (`deploy/vault`), under names that no other test has.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Connection as _;

use super::{
    people::Person,
    servers::{Bao, Dir, Pipe, Postgres, Process, Proxy, eventually, openbao, postgres},
};

/// The policies and roles that operators load, by their file names.
const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/vault/");

/// The servers that a world lives on: the shared ones, or its own to stop and start.
#[derive(Debug)]
pub enum Server<T: 'static> {
    Shared(&'static T),
    Own(T),
}

impl<T> std::ops::Deref for Server<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Shared(server) => server,
            Self::Own(server) => server,
        }
    }
}

/// What a test may want otherwise.
#[derive(Debug)]
pub struct Wishes {
    /// The keys of `[targets.orders-ro]` below the groups.
    pub target: String,
    /// More of the file.
    pub more: String,
    /// A Vault of its own.
    pub own_vault: bool,
    /// A Vault of another kind, of its own.
    pub vault: Option<fn() -> Bao>,
    /// A database server of its own.
    pub database: Option<fn() -> Postgres>,
    /// What the file grants to the daemon in Vault; edited by tests of missing rights.
    pub daemon_policy: fn(String) -> String,
    /// A statement that the database runs before it makes an account.
    pub before_account: Option<&'static str>,
    /// A way to Vault for the daemon on which things can go wrong ([`World::proxy`]).
    pub through_proxy: bool,
    /// How long the daemon gives a call to Vault.
    pub timeout: &'static str,
    /// How long a wrapped credential waits to be opened.
    pub wrap_ttl: &'static str,
    /// More keys of the issuer's section.
    pub issuer: &'static str,
    /// More keys of the ledger's section, and its witnesses.
    pub ledger: String,
    /// More keys of the store's section, which is on the world's database server then.
    pub shared: Option<&'static str>,
    /// The operations leads.
    pub leads: &'static [&'static str],
    /// A way to that server on which things can go wrong ([`World::pipe`]).
    pub pipe: Option<fn(u16) -> Pipe>,
}

impl Default for Wishes {
    fn default() -> Self {
        let target = "window_max = \"1h\"\ndecide_within = \"1h\"\nclaim_within = \"1h\"\n".to_owned();
        let daemon_policy = |policy| policy;
        let more = String::new();
        Self {
            target,
            more,
            own_vault: false,
            vault: None,
            database: None,
            daemon_policy,
            before_account: None,
            through_proxy: false,
            timeout: "10s",
            wrap_ttl: "5m",
            issuer: "",
            ledger: String::new(),
            shared: None,
            leads: &["olivia", "oscar"],
            pipe: None,
        }
    }
}

/// A company.
#[derive(Debug)]
pub struct World {
    pub bao: Server<Bao>,
    pub postgres: Server<Postgres>,
    /// What its names in shared servers end with.
    pub name: String,
    pub dir: Dir,
    pub address: String,
    proxy: Option<Proxy>,
    pipe: Option<Pipe>,
    daemon: Mutex<Option<Process>>,
}

impl World {
    /// The usual one.
    pub async fn start() -> Self {
        Self::with(Wishes::default()).await
    }

    /// One with wishes.
    pub async fn with(wishes: Wishes) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("w{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let bao = if wishes.own_vault {
            Server::Own(Bao::start_private().await)
        } else if let Some(start) = wishes.vault {
            Server::Own(start())
        } else {
            Server::Shared(openbao())
        };
        let postgres = match wishes.database {
            Some(start) => Server::Own(start()),
            None => Server::Shared(postgres()),
        };
        let port = super::servers::free_port();
        let address = format!("http://127.0.0.1:{port}");
        let dir = Dir::new("world");
        let proxy = wishes.through_proxy.then(|| Proxy::start(&bao.address));
        let pipe = wishes.pipe.map(|lay| lay(postgres.port));
        let world = Self { bao, postgres, name, dir, address, proxy, pipe, daemon: Mutex::new(None) };
        world.set_up_database().await;
        if wishes.shared.is_some() {
            world.set_up_shared_store().await;
        }
        world.set_up_vault(&wishes).await;
        world.set_up_people(wishes.leads).await;
        world.write_config(&wishes, port).await;
        world.start_daemon().await;
        world
    }

    /// The path that credentials are read from.
    pub fn credential_path(&self) -> String {
        format!("database-{}/creds/hp-orders-ro", self.name)
    }

    /// The database's name, and the role that its credentials are members of.
    pub fn database(&self) -> String {
        format!("orders_{}", self.name)
    }

    /// The daemon's way to Vault, of a world that wished for one.
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("wished for")
    }

    /// The daemons' way to the server with their records, of a world that wished for one.
    pub fn pipe(&self) -> &Pipe {
        self.pipe.as_ref().expect("wished for")
    }

    /// Everything that the daemon printed.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("hallpassd.log")).unwrap()
    }

    pub fn database_file(&self) -> PathBuf {
        self.dir.join("hallpass.db")
    }

    pub fn config_file(&self) -> PathBuf {
        self.dir.join("hallpassd.toml")
    }

    /// The audit events of a kind, as the database has them.
    pub async fn audit(&self, kind: &str) -> Vec<Value> {
        let options =
            sqlx::sqlite::SqliteConnectOptions::new().filename(self.database_file()).read_only(true);
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        let query = "SELECT json_object('actor', leaf ->> '$.actor.name', 'request', request_id, \
                     'target', leaf ->> '$.target', \
                     'detail', json_patch(leaf -> '$.detail', coalesce(texts, '{}'))) \
                     FROM audit_events WHERE kind = ? ORDER BY sequence";
        let rows =
            sqlx::query_scalar::<_, String>(query).bind(kind).fetch_all(&mut connection).await.unwrap();
        rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect()
    }

    /// Starts the daemon and waits until it serves.
    pub async fn start_daemon(&self) {
        self.start_daemon_with(&[]).await;
    }

    /// The same, with these variables in its environment.
    pub async fn start_daemon_with(&self, variables: &[(&str, &str)]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hallpassd"));
        command.args(["serve", "--config"]).arg(self.config_file()).envs(variables.iter().copied());
        self.start_process(&command).await;
    }

    /// Starts the daemon by a program that is given it and its arguments, and becomes it.
    pub async fn start_daemon_under(&self, mut program: Command) {
        program.arg(env!("CARGO_BIN_EXE_hallpassd")).args(["serve", "--config"]).arg(self.config_file());
        self.start_process(&program).await;
    }

    async fn start_process(&self, command: &Command) {
        let mut process = Process::start(command, "KILL", None, &self.dir.join("hallpassd.log"));
        let address = self.address.clone();
        eventually("the daemon serves", async || {
            assert!(process.runs(), "the daemon ended: {}", self.log());
            super::people::serves(&address).await
        })
        .await;
        *self.daemon.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
    }

    /// The daemon's process id.
    pub fn daemon_pid(&self) -> u32 {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner).as_ref().expect("it runs").pid()
    }

    /// Waits until the daemon has died by itself, and answers with the signal that it died of.
    pub async fn daemon_dies(&self) -> Option<i32> {
        let daemon = || self.daemon.lock().unwrap_or_else(PoisonError::into_inner);
        eventually("the daemon dies", async || !daemon().as_mut().expect("it was started").runs()).await;
        daemon().take().and_then(|mut process| process.ended_by())
    }

    /// The credentials' leases that Vault has below the path; wrapping tokens have long names that begin with `h`.
    pub async fn leases(&self) -> Vec<String> {
        let path = format!("sys/leases/lookup/{}/", self.credential_path());
        let list = Method::from_bytes(b"LIST").unwrap();
        // An empty list is a 404.
        let (_, answer) = self.bao.call(&self.bao.root_token, list, &path, None).await;
        let keys = answer["data"]["keys"].as_array().cloned().unwrap_or_default();
        let names = keys.iter().map(|key| key.as_str().unwrap().to_owned());
        names.filter(|name| !(name.starts_with('h') && name.len() > 64)).collect()
    }

    /// Ends the daemon with a signal and waits for its end; meanwhile the callers' connections notice it too.
    pub async fn stop_daemon(&self, signal: &'static str) {
        let running = self.daemon.lock().unwrap_or_else(PoisonError::into_inner).take();
        tokio::task::spawn_blocking(move || running.expect("it runs").end(signal)).await.unwrap();
    }

    /// Somebody of the company, logged in.
    pub async fn person(&self, name: &str) -> Person {
        Person::log_in(self, name).await
    }

    /// The accounts on the database server that grants of this world made.
    pub async fn accounts(&self) -> Vec<String> {
        let client = self.postgres.connect_as_superuser("postgres").await;
        let query = "SELECT m.rolname FROM pg_auth_members JOIN pg_roles m ON m.oid = member \
                     JOIN pg_roles r ON r.oid = roleid WHERE r.rolname = $1";
        let rows = client.query(query, &[&self.database()]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    async fn set_up_database(&self) {
        let database = self.database();
        let postgres = self.postgres.connect_as_superuser("postgres").await;
        postgres.batch_execute(&format!("CREATE ROLE {database}")).await.unwrap();
        postgres.batch_execute(&format!("CREATE DATABASE {database}")).await.unwrap();
        let orders = self.postgres.connect_as_superuser(&database).await;
        let statements = format!(
            "CREATE TABLE orders (id int, item text); INSERT INTO orders VALUES (1, 'a bell'); \
             GRANT SELECT ON orders TO {database}"
        );
        orders.batch_execute(&statements).await.unwrap();
    }

    /// A database for the records, owned by a role that is nobody else's.
    async fn set_up_shared_store(&self) {
        let (name, store) = (&self.name, self.shared_store());
        let postgres = self.postgres.connect_as_superuser("postgres").await;
        postgres
            .batch_execute(&format!("CREATE ROLE {store} LOGIN PASSWORD 'records-of-{name}'"))
            .await
            .unwrap();
        postgres.batch_execute(&format!("CREATE DATABASE {store} OWNER {store}")).await.unwrap();
        fs::write(self.store_password_file(), format!("records-of-{name}\n")).unwrap();
        fs::set_permissions(self.store_password_file(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// The database of the records on the server, and its owner.
    pub fn shared_store(&self) -> String {
        format!("hallpass_{}", self.name)
    }

    /// The file with its owner's password.
    pub fn store_password_file(&self) -> PathBuf {
        self.dir.join("store-password")
    }

    /// `[store]`, with keys that differ from daemon to daemon.
    fn store_section(&self, shared: Option<&str>) -> String {
        let Some(keys) = shared else { return format!("path = \"{}\"", self.database_file().display()) };
        let port = self.pipe.as_ref().map_or(self.postgres.port, |pipe| pipe.port);
        let store = self.shared_store();
        format!(
            "url = \"postgres://{store}@127.0.0.1:{port}/{store}\"\npassword_file = \"{}\"\ncontrol = \"{}\"\n{keys}",
            self.store_password_file().display(),
            self.dir.join("control").display(),
        )
    }

    /// What `docs/vault.md` tells operators to do.
    async fn set_up_vault(&self, wishes: &Wishes) {
        let (bao, name) = (&*self.bao, &self.name);
        let mount = format!("database-{name}");
        bao.write(&format!("sys/mounts/{mount}"), json!({ "type": "database" })).await;
        let mut connection = self.deployed("database-connection.json");
        connection["connection_url"] = json!(format!(
            "postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/{}?sslmode=disable",
            self.postgres.port,
            self.database()
        ));
        connection["username"] = json!(self.postgres.superuser);
        connection["password"] = json!(self.postgres.password);
        bao.write(&format!("{mount}/config/orders"), connection).await;
        let mut role = self.deployed("database-role.json");
        if let Some(statement) = wishes.before_account {
            role["creation_statements"].as_array_mut().unwrap().insert(0, json!(statement));
        }
        bao.write(&format!("{mount}/roles/hp-orders-ro"), role).await;

        self.write_policy(&format!("cred-orders-ro-{name}"), &self.deployed_text("cred-orders-ro.hcl")).await;
        self.write_policy(
            &format!("hallpassd-{name}"),
            &(wishes.daemon_policy)(self.deployed_text("hallpassd.hcl")),
        )
        .await;
        bao.write(&format!("auth/token/roles/hallpass-grant-{name}"), self.deployed("token-role.json")).await;
        bao.write(&format!("sys/mounts/transit-{name}"), json!({ "type": "transit" })).await;
        let key = json!({ "type": "ed25519" });
        bao.write(&format!("transit-{name}/keys/hallpass-ledger"), key).await;
        // Shared by all worlds of a server, so it may be there already.
        bao.call(&bao.root_token, Method::POST, "sys/auth/approle", Some(json!({ "type": "approle" }))).await;
        bao.write(&format!("auth/approle/role/hallpassd-{name}"), self.deployed("approle.json")).await;

        bao.write(&format!("identity/oidc/key/hallpass-{name}"), self.deployed("oidc-key.json")).await;
        bao.write(&format!("identity/oidc/role/hallpass-{name}"), self.deployed("oidc-role.json")).await;
        bao.write(&format!("sys/auth/userpass-{name}"), json!({ "type": "userpass" })).await;
    }

    pub async fn write_policy(&self, name: &str, policy: &str) {
        self.bao.write(&format!("sys/policies/acl/{name}"), json!({ "policy": policy })).await;
    }

    /// A file that operators load, with this world's names in it.
    pub fn deployed_text(&self, file: &str) -> String {
        let name = &self.name;
        let text = fs::read_to_string(format!("{DEPLOY}{file}")).unwrap();
        text.replace("database/", &format!("database-{name}/"))
            .replace("transit/", &format!("transit-{name}/"))
            .replace("role/hallpassd/", &format!("role/hallpassd-{name}/"))
            .replace("hallpass-grant", &format!("hallpass-grant-{name}"))
            .replace("\"hallpassd\"", &format!("\"hallpassd-{name}\""))
            .replace("\"hallpass\"", &format!("\"hallpass-{name}\""))
            .replace("IN ROLE orders_ro", &format!("IN ROLE {}", self.database()))
    }

    pub fn deployed(&self, file: &str) -> Value {
        serde_json::from_str(&self.deployed_text(file)).unwrap()
    }

    async fn set_up_people(&self, leads: &[&str]) {
        let (bao, name) = (&*self.bao, &self.name);
        let mounts = bao.read("sys/auth").await;
        let accessor = mounts["data"][format!("userpass-{name}/")]["accessor"].clone();
        let groups = [
            ("developers", &["alice", "bob"][..]),
            ("operations-leads", leads),
            ("auditors", &["audrey"]),
            ("operators", &["oren"]),
            ("nobodies", &["nick"]),
        ];
        for (group, people) in groups {
            let mut members = Vec::new();
            for person in people {
                bao.write(
                    &format!("auth/userpass-{name}/users/{person}"),
                    json!({ "password": "open sesame" }),
                )
                .await;
                let entity =
                    bao.write("identity/entity", json!({ "name": format!("{person}-{name}") })).await;
                let id = entity["data"]["id"].clone();
                let alias = json!({ "name": person, "canonical_id": id, "mount_accessor": accessor });
                bao.write("identity/entity-alias", alias).await;
                members.push(id);
            }
            let group = json!({ "name": format!("{group}-{name}"), "member_entity_ids": members });
            bao.write("identity/group", group).await;
        }
        self.write_policy(
            &format!("login-{name}"),
            &format!("path \"identity/oidc/token/hallpass-{name}\" {{ capabilities = [\"read\"] }}"),
        )
        .await;
        for person in ["alice", "bob", "audrey", "oren", "nick"].iter().chain(leads) {
            let policies = json!({ "token_policies": [format!("login-{name}")] });
            bao.write(&format!("auth/userpass-{name}/users/{person}/policies"), policies).await;
        }
    }

    async fn write_config(&self, wishes: &Wishes, port: u16) {
        let (name, bao) = (&self.name, &self.bao);
        let role = format!("auth/approle/role/hallpassd-{name}");
        let role_id = bao.read(&format!("{role}/role-id")).await["data"]["role_id"].clone();
        let secret_id = bao.write(&format!("{role}/secret-id"), json!({})).await["data"]["secret_id"].clone();
        let secret_file = self.dir.join("vault-secret-id");
        fs::write(&secret_file, secret_id.as_str().unwrap()).unwrap();
        fs::set_permissions(&secret_file, fs::Permissions::from_mode(0o600)).unwrap();
        let config = format!(
            r#"
[server]
listen = "127.0.0.1:{port}"
plaintext = true
# Tests and benchmarks have few people do much.
limits = {{ calls_per_minute_max = 100000 }}

[store]
{store}

[vault]
address = "{address}"
role_id = {role_id}
secret_id_file = "{secret_file}"
token_role = "hallpass-grant-{name}"
timeout = "{timeout}"
wrap_ttl = "{wrap_ttl}"

[ledger]
origin = "hallpass.example/{name}"
transit_mount = "transit-{name}"
{ledger}

[identity.oidc.vault]
issuer = "{vault}/v1/identity/oidc"
audience = "hallpass-{name}"
{issuer}

[roles]
auditors = ["auditors-{name}"]
operators = ["operators-{name}"]

[targets.orders-ro]
description = "The orders database, read only"
credential_path = "{path}"
vault_policy = "cred-orders-ro-{name}"
requesters = ["developers-{name}"]
approvers = ["operations-leads-{name}"]
early_revocation = "ends_sessions"
{target}
{more}
"#,
            store = self.store_section(wishes.shared),
            address = self.proxy.as_ref().map_or(&bao.address, |proxy| &proxy.address),
            timeout = wishes.timeout,
            wrap_ttl = wishes.wrap_ttl,
            ledger = wishes.ledger.replace('@', name),
            issuer = wishes.issuer.replace('@', name),
            vault = bao.address,
            secret_file = secret_file.display(),
            path = self.credential_path(),
            target = wishes.target,
            more = wishes.more.replace('@', name),
        );
        fs::write(self.config_file(), config).unwrap();
    }
}
