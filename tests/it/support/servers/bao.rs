//! OpenBao, which stands for every Vault, and a small client with all rights to set it up with.
//!
//! The client asserts that what it asked for was done; tests of hallpass's own client don't use it. It keeps no
//! connection, because each test has a runtime of its own and a connection dies with its runtime.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::process::{Dir, Process, comes_up, find_program, free_port, on_free_port};

/// The root token of the shared server.
const DEV_ROOT_TOKEN: &str = "root";

/// How long one call may take.
const CALL: Duration = Duration::from_secs(30);

/// A server and the right to do anything on it.
#[derive(Debug)]
pub struct Bao {
    /// For example `http://127.0.0.1:18200`, without a slash at its end.
    pub address: String,
    /// A token that may do everything.
    pub root_token: String,
    /// What opens a private server after each start. The shared one is open.
    unseal_key: Option<String>,
    http: Client,
    port: u16,
    process: Mutex<Option<Process>>,
    dir: Dir,
}

/// The server that all tests of this process share: in memory, unsealed, started by the first call.
pub fn openbao() -> &'static Bao {
    static SHARED: OnceLock<Bao> = OnceLock::new();
    SHARED.get_or_init(|| Bao::start_dev(&program()))
}

impl Bao {
    fn new(port: u16, process: Process, dir: Dir) -> Self {
        Self {
            address: format!("http://127.0.0.1:{port}"),
            root_token: DEV_ROOT_TOKEN.to_owned(),
            unseal_key: None,
            http: Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(CALL).build().unwrap(),
            port,
            process: Mutex::new(Some(process)),
            dir,
        }
    }

    /// In memory, and unsealed.
    fn start_dev(program: &Path) -> Self {
        let dir = Dir::new("bao");
        let start = |port: u16| {
            let listen = format!("-dev-listen-address=127.0.0.1:{port}");
            let root = format!("-dev-root-token-id={DEV_ROOT_TOKEN}");
            run(program, &dir, &["-dev", "-dev-no-store-token", &listen, &root])
        };
        let (port, process) = on_free_port(&dir.join("log"), start, |port| health(port) == Some(200));
        Self::new(port, process, dir)
    }

    /// A server of the caller's own that still has the `ldap` method, in memory.
    pub fn start_with_ldap() -> Self {
        let tools = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/openbao-ldap/bin"));
        Self::start_dev(&find_program("bao", "HALLPASS_BAO_LDAP", &[tools]))
    }

    /// A server of the caller's own that keeps what it knows on disk, so that it can be stopped and started.
    pub async fn start_private() -> Self {
        let dir = Dir::new("bao");
        let start = |port| {
            configure(&dir, port);
            run_with_storage(&dir)
        };
        let (port, process) = on_free_port(&dir.join("log"), start, answers);
        let mut bao = Self::new(port, process, dir);
        let init = bao.write("sys/init", json!({ "secret_shares": 1, "secret_threshold": 1 })).await;
        bao.root_token = text(&init["root_token"]);
        bao.unseal_key = Some(text(&init["keys"][0]));
        bao.unseal().await;
        bao
    }

    /// Kills the server, as a crash would. Leases and tokens stay on disk, and nothing counts them down.
    pub fn stop(&self) {
        let running = self.process.lock().unwrap_or_else(PoisonError::into_inner).take();
        running.expect("it runs").end("KILL");
    }

    /// Starts the server again, on the same port and with what it knew, and opens it.
    pub async fn start(&self) {
        self.start_sealed();
        self.unseal().await;
    }

    /// Starts the server again but leaves it sealed, as it is after a reboot until somebody comes.
    pub fn start_sealed(&self) {
        let mut process = run_with_storage(&self.dir);
        let log = self.dir.join("log");
        let up = comes_up(&mut process, || answers(self.port));
        assert!(up, "the server does not start again; its log:\n{}", fs::read_to_string(log).unwrap());
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
    }

    /// Opens a sealed server, and waits until it serves.
    pub async fn unseal(&self) {
        let key = self.unseal_key.as_ref().expect("a private server");
        self.write("sys/unseal", json!({ "key": key })).await;
        super::eventually("the server is unsealed", async || health(self.port) == Some(200)).await;
    }

    /// Reads a path; what isn't there is `null`.
    pub async fn read(&self, path: &str) -> Value {
        self.must(Method::GET, path, None).await
    }

    /// Writes to a path; an answer without a body is `null`.
    pub async fn write(&self, path: &str, body: Value) -> Value {
        self.must(Method::POST, path, Some(body)).await
    }

    /// Lists a path; what isn't there is `null`.
    pub async fn list(&self, path: &str) -> Value {
        self.must(Method::from_bytes(b"LIST").unwrap(), path, None).await
    }

    /// Deletes a path, whether or not it is there.
    pub async fn delete(&self, path: &str) -> Value {
        self.must(Method::DELETE, path, None).await
    }

    /// Runs lines of the shell as an operator with all rights, for whom `bao` is the client that operators use.
    pub fn shell(&self, lines: &str) {
        let mut shell = Command::new("sh");
        shell.args(["-euc", &format!("bao() {{ \"$BAO\" \"$@\"; }}\n{lines}")]).env("BAO", program());
        shell
            .env("BAO_ADDR", &self.address)
            .env("BAO_TOKEN", &self.root_token)
            .env("HOME", self.dir.join(""));
        let done = shell.output().unwrap();
        assert!(done.status.success(), "{lines}: {done:?}");
    }

    async fn must(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.call(&self.root_token, method.clone(), path, body).await;
        assert!(status < 300 || status == 404, "{method} {path}: {status} {answer}");
        if status == 404 { Value::Null } else { answer }
    }

    /// One call with any token, below `/v1/`: its status and its body, whatever they are.
    pub async fn call(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = self.http.request(method, format!("{}/v1/{path}", self.address));
        let request = request.header("X-Vault-Token", token);
        let request = if let Some(body) = body { request.json(&body) } else { request };
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
    }
}

/// Raft with one member, because OpenBao has no storage that is a plain file.
fn configure(dir: &Dir, port: u16) {
    let (data, members) = (dir.join("data"), free_port());
    let text = format!(
        "storage \"raft\" {{ path = {data:?}  node_id = \"only\"  performance_multiplier = 1 }}\n\
         listener \"tcp\" {{\n\
           address = \"127.0.0.1:{port}\"\n\
           cluster_address = \"127.0.0.1:{members}\"\n\
           tls_disable = true\n\
         }}\n\
         api_addr = \"http://127.0.0.1:{port}\"\n\
         cluster_addr = \"https://127.0.0.1:{members}\"\n"
    );
    fs::create_dir_all(data).unwrap();
    fs::write(dir.join("bao.hcl"), text).unwrap();
}

fn run_with_storage(dir: &Dir) -> Process {
    run(&program(), dir, &["-config", dir.join("bao.hcl").to_str().unwrap()])
}

fn run(program: &Path, dir: &Dir, args: &[&str]) -> Process {
    let mut server = Command::new(program);
    // Its home, because it would write a token file there.
    server.arg("server").args(args).env("HOME", dir.join(""));
    Process::start(&server, "KILL", None, &dir.join("log"))
}

/// `bao`, which is server and client in one.
fn program() -> PathBuf {
    let tools = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/openbao/bin"));
    find_program("bao", "HALLPASS_BAO", &[tools])
}

/// Whether anything answers: a server that is not initialised or sealed does.
fn answers(port: u16) -> bool {
    health(port).is_some()
}

/// The status of `sys/health`. By hand, since it is needed where nothing can be awaited.
fn health(port: u16) -> Option<u16> {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    server.set_read_timeout(Some(CALL)).ok()?;
    server.write_all(b"GET /v1/sys/health HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    server.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
