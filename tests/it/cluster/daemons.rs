//! A company whose records several daemons share.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::{Mutex, PoisonError},
};

use crate::support::{
    people::{Person, serves},
    servers::{Process, eventually, free_port},
    world::{Wishes, World},
};

/// How long the others wait for one that isn't heard of.
pub const TAKEOVER_AFTER: &str = "takeover_after = \"2s\"";

/// A world whose own daemon has number 0, and the others.
pub struct Cluster {
    pub world: World,
    others: Vec<Daemon>,
}

struct Daemon {
    address: String,
    config: PathBuf,
    log: PathBuf,
    process: Mutex<Option<Process>>,
}

impl Cluster {
    pub async fn start(daemons: usize) -> Self {
        Self::with(daemons, Wishes { shared: Some(TAKEOVER_AFTER), ..Wishes::default() }).await
    }

    pub async fn with(daemons: usize, wishes: Wishes) -> Self {
        let world = World::with(wishes).await;
        let mut others = Vec::new();
        for number in 1..daemons {
            let daemon = Daemon::of(&world, number);
            daemon.start().await;
            others.push(daemon);
        }
        Self { world, others }
    }

    /// Where a daemon is called.
    pub fn address(&self, daemon: usize) -> &str {
        match daemon.checked_sub(1) {
            None => &self.world.address,
            Some(other) => &self.others[other].address,
        }
    }

    /// Somebody of the company, calling this daemon.
    pub async fn person(&self, name: &str, daemon: usize) -> Person {
        self.world.person(name).await.calling(&self.world, self.address(daemon))
    }

    /// Ends a daemon with a signal.
    pub async fn stop(&self, daemon: usize, signal: &'static str) {
        match daemon.checked_sub(1) {
            None => self.world.stop_daemon(signal).await,
            Some(other) => self.others[other].stop(signal).await,
        }
    }

    /// Starts a daemon again.
    pub async fn start_again(&self, daemon: usize) {
        match daemon.checked_sub(1) {
            None => self.world.start_daemon().await,
            Some(other) => self.others[other].start().await,
        }
    }

    /// A daemon's process.
    pub fn pid(&self, daemon: usize) -> u32 {
        match daemon.checked_sub(1) {
            None => self.world.daemon_pid(),
            Some(other) => self.others[other].pid(),
        }
    }

    /// Everything that a daemon printed.
    pub fn log(&self, daemon: usize) -> String {
        match daemon.checked_sub(1) {
            None => self.world.log(),
            Some(other) => fs::read_to_string(&self.others[other].log).unwrap(),
        }
    }

    /// `hallpassd fsck` finds nothing.
    pub async fn is_sound(&self) {
        let mut fsck = Command::new(env!("CARGO_BIN_EXE_hallpassd"));
        fsck.args(["fsck", "--config"]).arg(self.world.config_file());
        let output = tokio::task::spawn_blocking(move || fsck.output().unwrap()).await.unwrap();
        let (said, failed) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}{failed}");
    }
}

impl Daemon {
    /// The world's configuration, but for what each daemon has for itself.
    fn of(world: &World, number: usize) -> Self {
        let own = fs::read_to_string(world.config_file()).unwrap();
        let address = format!("http://127.0.0.1:{}", free_port());
        let (listen, others) = (address.replace("http://", ""), world.address.replace("http://", ""));
        let control = world.dir.join("control").display().to_string();
        let text = own.replace(&others, &listen).replace(&control, &format!("{control}-{number}"));
        let config = world.dir.join(&format!("hallpassd-{number}.toml"));
        fs::write(&config, text).unwrap();
        let log = world.dir.join(&format!("hallpassd-{number}.log"));
        Self { address, config, log, process: Mutex::default() }
    }

    async fn start(&self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hallpassd"));
        command.args(["serve", "--config"]).arg(&self.config);
        let mut process = Process::start(&command, "KILL", None, &self.log);
        eventually("another daemon serves", async || {
            assert!(process.runs(), "it ended: {}", fs::read_to_string(&self.log).unwrap());
            serves(&self.address).await
        })
        .await;
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
    }

    async fn stop(&self, signal: &'static str) {
        let running = self.process.lock().unwrap_or_else(PoisonError::into_inner).take();
        tokio::task::spawn_blocking(move || running.expect("it runs").end(signal)).await.unwrap();
    }

    fn pid(&self) -> u32 {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).as_ref().expect("it runs").pid()
    }
}
