//! The way by which `hallpassd reload`, `backup` and `reconcile` ask the running daemon: a socket, beside the database if that is
//! a file, for the daemon's own user and root.
//!
//! A question is a line of JSON, an answer another one. What can be asked for is only what the configuration file says
//! already, so whoever reaches this can decide when, and what becomes of grants whose target is gone. It never carries a
//! secret, and one peer is served at a time, each for a bounded while.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::Notify,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    broker::{Broker, Extent, Occasion, Removed},
    clock::Clock,
    reload::{Refused, Reloader, Wish},
};

/// Only the owner.
const MODE: u32 = 0o600;
/// The longest question: a path and two flags.
const QUESTION_MAX_BYTES: u64 = 8 * 1024;
/// The longest text of an answer: some thousand problems. JSON may make it several times as long.
const TEXT_MAX_BYTES: usize = 256 * 1024;
const ANSWER_MAX_BYTES: u64 = 8 * TEXT_MAX_BYTES as u64;
/// How long a peer may take to ask and to read.
const PEER_MAX: Duration = Duration::from_secs(5);
/// How long an answer may take: the daemon reads files, waits for commits under way, and records.
const ANSWER_MAX: Duration = Duration::from_mins(1);
/// The pause after a peer that can't be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// What is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// To read the configuration again: `hallpassd reload`.
    Reload {
        /// The configuration file, in full.
        config: PathBuf,
        /// Whether grants end whose target is taken out.
        end_removed: bool,
        /// Whether it is only looked at what would happen.
        check: bool,
    },
    /// To compare Vault with the records now: `hallpassd reconcile`. Answered at once; what was found gets on record.
    Reconcile {},
    /// To sign a checkpoint of the log as it is: `hallpassd backup`, so that the copy has one.
    Checkpoint {},
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As wished.
    Done,
    /// The file has problems.
    Problems,
    /// The file is good, and can't take effect by a reload.
    Refused,
    /// This daemon doesn't do such a thing.
    Unavailable,
}

/// What the daemon answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// How it went.
    pub outcome: Outcome,
    /// The same, for people.
    pub text: String,
}

/// Where questions come in. With it the socket's name goes.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Nobody else listens there before the database's lock is free. What stays is removed by the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// Takes questions at this path. Whoever listened there before is gone: either he would have the database's lock, or he would
/// answer.
///
/// # Errors
///
/// If it can't be listened there, or if somebody does.
pub fn listen(path: &Path) -> io::Result<Listener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another hallpassd is asked there"));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixListener::bind(path)?;
    let listener = Listener { socket, path: path.to_owned() };
    // Who comes before this is asked who he is, like everybody.
    fs::set_permissions(&listener.path, Permissions::from_mode(MODE))?;
    Ok(listener)
}

/// What is asked by signals as well.
#[derive(Debug)]
pub struct Asked {
    /// To read the configuration again: SIGHUP.
    pub reload: Arc<Notify>,
    /// To compare Vault with the records: SIGUSR1.
    pub reconcile: Arc<Notify>,
}

/// Reloads whenever SIGHUP or a peer asks for it. Without a listener only SIGHUP can.
pub async fn serve(
    listener: Option<Listener>,
    asked: Asked,
    reloader: Reloader,
    clock: Arc<dyn Clock>,
    stopping: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = asked.reload.notified() => {
                let wish = Wish { occasion: Occasion::Signal, removed: Removed::Refuse, check: false };
                // The log has been told.
                drop(reloader.reload(wish).await);
            }
            peer = accept(listener.as_ref(), &*clock) => if let Err(error) = answer(peer, &reloader, &asked.reconcile).await {
                told(&error, "a peer of the control socket was not answered");
            }
        }
    }
}

async fn accept(listener: Option<&Listener>, clock: &dyn Clock) -> UnixStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        match listener.socket.accept().await {
            Ok((stream, _)) => return stream,
            Err(failure) => {
                told(&failure, "a peer of the control socket can't be accepted; going on");
                clock.sleep(PAUSE).await;
            }
        }
    }
}

fn told(failure: &io::Error, what: &'static str) {
    let failure: &dyn std::error::Error = failure;
    warn!("event.action" = "control-failed", error = failure, "{what}");
}

async fn answer(mut peer: UnixStream, reloader: &Reloader, reconcile: &Notify) -> io::Result<()> {
    let uid = peer.peer_cred()?.uid();
    if uid != 0 && uid != geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("user {uid} may not ask")));
    }
    let question: Question = in_time(PEER_MAX, read(&mut peer, QUESTION_MAX_BYTES)).await?;
    let done = match question {
        Question::Reload { config, end_removed, check } => {
            let removed = if end_removed { Removed::End } else { Removed::Refuse };
            reload(reloader, &config, Wish { occasion: Occasion::Command, removed, check }).await
        }
        Question::Reconcile {} => {
            reconcile.notify_one();
            Answer { outcome: Outcome::Done, text: "asked\n".to_owned() }
        }
        Question::Checkpoint {} => sign_checkpoint(&reloader.broker()).await,
    };
    in_time(PEER_MAX, write(&mut peer, &done)).await
}

async fn reload(reloader: &Reloader, config: &Path, wish: Wish) -> Answer {
    match reloader.other_file(config).await {
        Some(file) => Answer {
            outcome: Outcome::Refused,
            text: format!("refused: hallpassd was started with {}; nothing was changed\n", file.display()),
        },
        None => reloader.reload(wish).await.into(),
    }
}

/// Signs the log as it is now, unless the last checkpoint is about all of it.
async fn sign_checkpoint(broker: &Broker) -> Answer {
    let unavailable = |text| Answer { outcome: Outcome::Unavailable, text };
    if !broker.signs_the_log() {
        return unavailable("this hallpassd signs no checkpoints\n".to_owned());
    }
    match broker.sign_log(Extent::SinceLast).await {
        Ok(()) => Answer { outcome: Outcome::Done, text: "signed\n".to_owned() },
        Err(failure) => unavailable(cut(format!("{}\n", crate::telemetry::chain(&failure)))),
    }
}

impl From<Result<crate::reload::Done, Refused>> for Answer {
    fn from(done: Result<crate::reload::Done, Refused>) -> Self {
        match done {
            Ok(done) => Self { outcome: Outcome::Done, text: done.text() },
            Err(refused) => {
                let is_bad = matches!(refused, Refused::Problems(_));
                let outcome = if is_bad { Outcome::Problems } else { Outcome::Refused };
                Self { outcome, text: cut(refused.text()) }
            }
        }
    }
}

/// The text, or as much of it as anybody reads.
fn cut(mut text: String) -> String {
    if text.len() > TEXT_MAX_BYTES {
        text.truncate(text.floor_char_boundary(TEXT_MAX_BYTES));
        text.push_str("…\nand more; nothing was changed\n");
    }
    text
}

/// Asks the daemon that is asked at this path.
///
/// # Errors
///
/// If there is none, or it doesn't answer.
pub async fn ask(path: &Path, question: &Question) -> io::Result<Answer> {
    let mut daemon = UnixStream::connect(path).await?;
    in_time(PEER_MAX, write(&mut daemon, question)).await?;
    in_time(ANSWER_MAX, read(&mut daemon, ANSWER_MAX_BYTES)).await
}

async fn read<T: for<'de> Deserialize<'de>>(stream: &mut UnixStream, max: u64) -> io::Result<T> {
    let mut line = String::new();
    BufReader::new(stream.take(max)).read_line(&mut line).await?;
    serde_json::from_str(&line).map_err(io::Error::from)
}

async fn write(stream: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    let line = serde_json::to_string(message)? + "\n";
    stream.write_all(line.as_bytes()).await
}

async fn in_time<T>(max: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(max, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_bound() {
        assert_eq!(cut("ü".to_owned()), "ü");
        let text = cut(format!("x{}", "ü".repeat(TEXT_MAX_BYTES)));
        assert!(text.len() < TEXT_MAX_BYTES + 100 && text.ends_with("nothing was changed\n"));
    }

    #[tokio::test]
    async fn messages_have_a_bound_and_an_end() {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let question = Question::Reload { config: "/x".into(), end_removed: true, check: false };
        write(&mut one, &question).await.unwrap();
        let read_back: Question = read(&mut other, QUESTION_MAX_BYTES).await.unwrap();
        assert!(matches!(read_back, Question::Reload { end_removed: true, check: false, .. }));
        for other in [r#"{"ask":"checkpoint","more":1}"#, r#"{"ask":"password"}"#, "{}"] {
            assert!(serde_json::from_str::<Question>(other).is_err(), "{other}");
        }
        write(&mut one, &Question::Checkpoint {}).await.unwrap();
        assert!(matches!(read(&mut other, QUESTION_MAX_BYTES).await.unwrap(), Question::Checkpoint {}));
        write(&mut one, &"x".repeat(100)).await.unwrap();
        assert!(read::<String>(&mut other, 50).await.is_err());
        drop(one);
        assert!(read::<String>(&mut other, 50).await.is_err());
    }

    #[test]
    fn the_socket_is_for_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _in_runtime = runtime.enter();
        let socket = directory.path().join("hallpass.db.control");
        // What a crash left is no hindrance.
        fs::write(&socket, "").unwrap();
        let listener = listen(&socket).unwrap();
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(listen(&socket).unwrap_err().kind(), io::ErrorKind::AddrInUse, "somebody is asked there");
        drop(listener);
        assert!(!socket.exists());
    }
}
