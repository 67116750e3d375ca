//! Child processes and directories that don't outlive the test process, even if it is killed.
//!
//! Two things see to that, since `unsafe` is forbidden and nothing runs in a killed process: the kernel sends the child a
//! signal when the thread that started it is gone (`setpriv --pdeathsig`), and a shell that waits for the end of a pipe
//! removes the directory.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, TcpListener},
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU16, Ordering},
        mpsc::{Sender, channel},
    },
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{LOOK, PATIENCE};

/// The first port that is tried, and how many there are. They end below 32768, where the kernel begins to take ports for
/// outgoing connections: a server that stops for a while finds its port free again.
const PORTS: (u16, u16) = (18_000, 14_000);

/// How many ports to try when somebody else takes the one that was just free.
const PORT_ATTEMPTS: usize = 5;

/// Waits for the end of its standard input, which comes when the test process is gone or lets go. A server
/// may still be writing its last files then, so removing is tried again. Signals from a terminal are for the tests.
const REMOVE_AT_THE_END: &str = r#"
trap '' INT TERM HUP
cat > /dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf -- "$1" 2> /dev/null && exit
    sleep 0.2
done
"#;

/// A child process, ended when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    last_signal: &'static str,
}

impl Process {
    /// Starts a program that gets `last_signal` when this is dropped or the test process ends, under another user if
    /// `user` is given. What it prints goes to `log`.
    pub fn start(program: &Command, last_signal: &'static str, user: Option<&str>, log: &Path) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", last_signal]).args(user.map(run_as).into_iter().flatten()).arg("--");
        command.arg(program.get_program()).args(program.get_args());
        let envs = program.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let log = File::options().create(true).append(true).open(log).unwrap();
        command.envs(envs).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = spawn(command).expect("setpriv must be there; run .ci/setup test");
        Self { child, last_signal }
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The signal that ended it, if one did.
    pub fn ended_by(&mut self) -> Option<i32> {
        self.child.try_wait().unwrap().and_then(|status| status.signal())
    }

    /// Its process id, which `setpriv` hands on to the program.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal and doesn't wait.
    pub fn signal(&self, signal: &str) {
        let known = [
            ("HUP", Signal::HUP),
            ("INT", Signal::INT),
            ("QUIT", Signal::QUIT),
            ("KILL", Signal::KILL),
            ("TERM", Signal::TERM),
        ];
        let (_, signal) = known.into_iter().find(|(name, _)| *name == signal).expect("a known signal");
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Sends this signal instead of the last one, and waits until the process has ended.
    pub fn end(mut self, signal: &'static str) {
        self.last_signal = signal;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Not a child that was waited for: its number may be another process's by now.
        if self.runs() {
            self.signal(self.last_signal);
            drop(self.child.wait());
        }
    }
}

/// The arguments with which `setpriv` gives up root. The signal at the parent's death is set after that, because a
/// change of user takes it back.
pub fn run_as(user: &str) -> Vec<String> {
    vec![format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()]
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    status.lines().any(|line| line.starts_with("Uid:\t0\t"))
}

type Job = (Command, Sender<io::Result<Child>>);

/// Starts a child from the one thread that lives as long as the process: the kernel means the thread when it says
/// "parent", and a test's own thread ends with the test.
fn spawn(command: Command) -> io::Result<Child> {
    static KEEPER: OnceLock<Sender<Job>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (jobs, taken) = channel::<Job>();
        thread::spawn(move || {
            for (mut command, answer) in taken {
                answer.send(command.spawn()).unwrap();
            }
        });
        jobs
    });
    let (answer, answered) = channel();
    keeper.send((command, answer)).unwrap();
    answered.recv().unwrap()
}

/// A temporary directory, removed when this is dropped or the process is gone.
#[derive(Debug)]
pub struct Dir {
    path: PathBuf,
    remover: Child,
}

impl Dir {
    /// An empty directory that any user may enter.
    pub fn new(name: &str) -> Self {
        let path = tempfile::Builder::new().prefix(&format!("hallpass-{name}-")).tempdir().unwrap().keep();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let mut remover = Command::new("sh");
        remover.args(["-c", REMOVE_AT_THE_END, "sh"]).arg(&path).stdin(Stdio::piped());
        // Whoever reads the tests' output must not have to wait for it.
        remover.stdout(Stdio::null()).stderr(Stdio::null());
        Self { path, remover: remover.spawn().unwrap() }
    }

    /// A path inside.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(self.remover.stdin.take());
        drop(self.remover.wait());
    }
}

/// Starts a server on a free port. `start` gets the port; `ready` says whether the server answers there. If it ends
/// instead, which it does when somebody was quicker on that port, the next port is tried.
pub fn on_free_port(
    log: &Path,
    start: impl Fn(u16) -> Process,
    ready: impl Fn(u16) -> bool,
) -> (u16, Process) {
    for _ in 0..PORT_ATTEMPTS {
        let port = free_port();
        let mut process = start(port);
        if comes_up(&mut process, || ready(port)) {
            return (port, process);
        }
    }
    panic!("the server does not start; its log:\n{}", fs::read_to_string(log).unwrap_or_default());
}

/// Waits until the server answers, or ends.
///
/// # Panics
///
/// If it does neither within a minute.
pub fn comes_up(process: &mut Process, ready: impl Fn() -> bool) -> bool {
    let looks = PATIENCE.as_millis() / LOOK.as_millis();
    for _ in 0..looks {
        if !process.runs() {
            return false;
        }
        if ready() {
            return true;
        }
        thread::sleep(LOOK);
    }
    panic!("the server neither answers nor ends");
}

/// A port that was free a moment ago, as was the next one, which OpenBao takes too (for its cluster). Each process begins
/// elsewhere, and asks for no port twice.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let (first, count) = PORTS;
    let begin = u16::try_from(process::id().wrapping_mul(97) % u32::from(count / 2)).unwrap();
    let free = |port: &u16| {
        [*port, port + 1].iter().all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
    };
    (0..count / 2)
        .map(|_| first + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % (count / 2) * 2)
        .find(free)
        .expect("some port is free")
}

/// The first program that exists: the one that `variable` names, then those in `dirs`, then those on the PATH.
///
/// # Panics
///
/// If there is none, with what to do.
pub fn find_program(name: &str, variable: &str, dirs: &[PathBuf]) -> PathBuf {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join(name));
    let found = named.into_iter().chain(dirs.iter().map(|dir| dir.join(name))).chain(on_path);
    found.into_iter().find(|program| program.is_file()).unwrap_or_else(|| {
        panic!("{name} is missing: run .ci/setup test, or name it in {variable}");
    })
}
