//! PostgreSQL with passwords, mostly without durability: nothing in tests has to survive a power cut.
//!
//! The server refuses to run as root, so root runs it as `postgres`, whom Debian's package makes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio_postgres::{Client, Config, Error, NoTls};

use super::process::{Dir, Process, comes_up, find_program, is_root, on_free_port, run_as};

/// The superuser's name and password.
const SUPERUSER: (&str, &str) = ("hallpass_root", "correct-horse");

/// What the server is told besides its port: TCP on this machine only, and speed over safety.
const SETTINGS: [&str; 3] = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200"];
const NOT_DURABLE: [&str; 3] = ["fsync=off", "full_page_writes=off", "synchronous_commit=off"];

/// A server and its superuser.
#[derive(Debug)]
pub struct Postgres {
    /// On 127.0.0.1.
    pub port: u16,
    /// A role that may do everything.
    pub superuser: &'static str,
    /// Its password.
    pub password: &'static str,
    process: Mutex<Option<Process>>,
    dir: Dir,
    is_durable: bool,
}

/// The server that all tests of this process share, started by the first call.
pub fn postgres() -> &'static Postgres {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    SHARED.get_or_init(Postgres::start_private)
}

impl Postgres {
    /// A server of the caller's own.
    pub fn start_private() -> Self {
        Self::with(false)
    }

    /// The same, and it waits for the disk.
    pub fn start_durable() -> Self {
        Self::with(true)
    }

    fn with(is_durable: bool) -> Self {
        let dir = Dir::new("postgres");
        init(&dir);
        let (port, process) = on_free_port(&dir.join("log"), |port| run(&dir, port, is_durable), accepts);
        let (superuser, password) = SUPERUSER;
        Self { port, superuser, password, process: Mutex::new(Some(process)), dir, is_durable }
    }

    /// Stops the server and throws everybody out.
    pub fn stop(&self) {
        let running = self.process.lock().unwrap_or_else(PoisonError::into_inner).take();
        running.expect("it runs").end("INT");
    }

    /// Starts the server again, on the same port and with its data.
    pub fn start(&self) {
        let mut process = run(&self.dir, self.port, self.is_durable);
        let log = self.dir.join("log");
        let up = comes_up(&mut process, || accepts(self.port));
        assert!(up, "the server does not start again; its log:\n{}", fs::read_to_string(log).unwrap());
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
    }

    /// Lets the server hang: all of its processes stop where they are.
    pub fn freeze(&self) {
        self.signal_all(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal_all(Signal::CONT);
    }

    fn signal_all(&self, signal: Signal) {
        let running = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let server = running.as_ref().expect("it runs").pid();
        for pid in [server].into_iter().chain(children(server)) {
            // A child may have ended meanwhile.
            let _ = kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal);
        }
    }

    /// Logs in.
    ///
    /// # Errors
    ///
    /// If the server refuses, or isn't there.
    pub async fn connect(&self, user: &str, password: &str, database: &str) -> Result<Client, Error> {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).user(user).password(password).dbname(database);
        let (client, connection) = config.connect(NoTls).await?;
        // It ends with the client, or with an error that the client sees too.
        tokio::spawn(connection);
        Ok(client)
    }

    /// Logs in as the superuser, who may do everything.
    pub async fn connect_as_superuser(&self, database: &str) -> Client {
        self.connect(self.superuser, self.password, database).await.unwrap()
    }
}

/// The processes whose parent this is.
fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().any(|line| line == format!("PPid:\t{parent}")).then_some(pid)
    });
    processes.collect()
}

fn init(dir: &Dir) {
    let (superuser, password) = SUPERUSER;
    let password_file = dir.join("password");
    fs::write(&password_file, password).unwrap();
    let data = dir.join("data");
    fs::create_dir(&data).unwrap();
    if let Some(user) = user() {
        assert!(Command::new("chown").arg(user).arg(&data).status().unwrap().success());
    }
    let mut initdb = Command::new("setpriv");
    initdb.args(user().map(run_as).into_iter().flatten()).arg("--").arg(program("initdb"));
    initdb.args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]);
    initdb.args(["-U", superuser]).arg("--pwfile").arg(&password_file).arg("-D").arg(&data);
    let output = initdb.current_dir(&data).output().unwrap();
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
}

fn run(dir: &Dir, port: u16, is_durable: bool) -> Process {
    let mut server = Command::new(program("postgres"));
    server.arg("-D").arg(dir.join("data")).args(["-p", &port.to_string()]);
    let speed: &[&str] = if is_durable { &[] } else { &NOT_DURABLE };
    server.args(SETTINGS.iter().chain(speed).flat_map(|setting| ["-c", setting]));
    // At the tests' end it is asked to quit at once and not killed, or it would leave shared memory behind.
    Process::start(&server, "QUIT", user(), &dir.join("log"))
}

/// Whether logins are possible, and not only connections.
fn accepts(port: u16) -> bool {
    let mut ask = Command::new(program("pg_isready"));
    ask.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]).stderr(Stdio::null());
    ask.status().unwrap().success()
}

fn user() -> Option<&'static str> {
    is_root().then_some("postgres")
}

/// A program of the newest PostgreSQL here. Debian keeps the server's programs off the PATH.
fn program(name: &str) -> PathBuf {
    let mut dirs: Vec<PathBuf> = fs::read_dir(Path::new("/usr/lib/postgresql"))
        .into_iter()
        .flatten()
        .map(|version| version.unwrap().path().join("bin"))
        .collect();
    dirs.sort();
    dirs.reverse();
    find_program(name, &format!("HALLPASS_{}", name.to_uppercase()), &dirs)
}
