//! The lifecycle with signals from a channel and a datagram socket in systemd's place. What it does as a process is in `tests/it/process.rs`.

use std::{
    future::pending,
    sync::atomic::{AtomicBool, Ordering},
};

use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

use super::*;

/// Long enough for anything that is to happen, so that a test which hangs fails instead.
const PATIENCE: Duration = Duration::from_secs(20);

/// Short enough to wait for in a test.
const SHORT: Duration = Duration::from_millis(50);

impl Signals for mpsc::UnboundedReceiver<Signal> {
    async fn next(&mut self) -> Signal {
        match self.recv().await {
            Some(signal) => signal,
            None => pending().await,
        }
    }
}

/// A channel that has these signals in it already.
fn signals(sent: &[Signal]) -> mpsc::UnboundedReceiver<Signal> {
    let (to, from) = mpsc::unbounded_channel();
    for signal in sent {
        to.send(*signal).unwrap();
    }
    from
}

/// systemd's end of the notification socket.
struct Manager {
    dir: TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { dir, socket }
    }

    fn notifier(&self, watchdog: Option<Duration>) -> Notifier {
        Notifier::new(self.dir.path().join("notify"), watchdog)
    }

    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn is_silent(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let nothing = self.socket.recv(&mut [0; 1]).is_err();
        self.socket.set_nonblocking(false).unwrap();
        nothing
    }
}

#[tokio::test]
async fn a_signal_asks_every_task_to_stop_and_waits_for_it() {
    let manager = Manager::new();
    let lifecycle = Lifecycle::new();
    let (done, finished) = oneshot::channel();
    let stopping = lifecycle.stopping();
    lifecycle.supervise("work", async move {
        stopping.cancelled().await;
        done.send(()).unwrap();
    });
    let ended = lifecycle.run(&mut signals(&[Signal::Hangup, Signal::Stop]), &manager.notifier(None)).await;
    assert_eq!(ended, Ended::Clean);
    assert_eq!(ended.exit_status(), 0);
    finished.await.unwrap();
    assert_eq!(manager.next(), "STOPPING=1\n");
    assert!(manager.is_silent(), "no watchdog, no ping");
}

#[tokio::test]
async fn hangup_stops_nothing() {
    let lifecycle = Lifecycle::new();
    let run = timeout(SHORT, async {
        lifecycle.run(&mut signals(&[Signal::Hangup, Signal::Hangup]), &Notifier::default()).await
    });
    assert!(run.await.is_err());
    assert!(!lifecycle.stopping().is_cancelled());
    timeout(PATIENCE, lifecycle.reload().notified()).await.expect("it asks for a reload");
}

#[tokio::test]
async fn a_second_signal_ends_the_drain_at_once() {
    let lifecycle = Lifecycle::new();
    drop(lifecycle.spawn(pending::<()>()));
    let mut twice = signals(&[Signal::Stop, Signal::Hangup, Signal::Stop]);
    let ended = lifecycle.run(&mut twice, &Notifier::default()).await;
    assert_eq!(ended, Ended::Forced);
}

#[tokio::test]
async fn the_drain_has_a_bound() {
    let lifecycle = Lifecycle::new();
    drop(lifecycle.spawn(pending::<()>()));
    assert_eq!(lifecycle.drain(&mut signals(&[]), SHORT).await, Ended::TimedOut);
}

#[tokio::test]
async fn a_supervised_task_that_ends_or_panics_stops_the_process() {
    let returns = Lifecycle::new();
    returns.supervise("sweep", async {});
    assert_eq!(returns.run(&mut signals(&[]), &Notifier::default()).await, Ended::Failed("sweep"));

    let panics = Lifecycle::new();
    panics.supervise("outbox", async { panic!("a bug") });
    let ended = panics.run(&mut signals(&[]), &Notifier::default()).await;
    assert_eq!((ended, ended.exit_status()), (Ended::Failed("outbox"), 1));
}

#[test]
fn systemd_hears_what_it_is_told_and_nothing_else() {
    let manager = Manager::new();
    let notifier = manager.notifier(None);
    notifier.ready();
    assert_eq!(manager.next(), "READY=1\n");
    notifier.reloading();
    let (reloading, since) = (manager.next(), "RELOADING=1\nMONOTONIC_USEC=");
    let since = reloading.strip_prefix(since).and_then(|rest| rest.trim_end().parse::<u64>().ok());
    assert!(since.is_some_and(|since| since > 0), "{reloading}");
    notifier.status("2 grants\nWATCHDOG=1");
    assert_eq!(manager.next(), "STATUS=2 grants\n");
    notifier.status(&"ä".repeat(STATUS_MAX));
    assert_eq!(manager.next(), format!("STATUS={}\n", "ä".repeat(STATUS_MAX / 2)));
    manager.notifier(Some(PATIENCE)).stopping();
    assert_eq!((manager.next(), manager.next()), ("STOPPING=1\n".to_owned(), "WATCHDOG=1\n".to_owned()));
}

#[test]
fn without_systemd_or_with_a_broken_socket_nothing_happens() {
    Notifier::default().ready();
    Notifier::new("/nonexistent/notify".into(), None).ready();
}

#[tokio::test]
async fn the_watchdog_is_fed_only_while_healthy() {
    let manager = Manager::new();
    let healthy = Arc::new(AtomicBool::new(true));
    let (asked, mut answers) = mpsc::unbounded_channel();
    let stopping = CancellationToken::new();
    let check = {
        let healthy = healthy.clone();
        move || {
            let answer = healthy.load(Ordering::SeqCst);
            asked.send(answer).unwrap();
            async move { answer }
        }
    };
    let notifier = manager.notifier(Some(SHORT));
    let watch = tokio::spawn({
        let stopping = stopping.clone();
        async move { notifier.watch(stopping, check).await }
    });
    assert!(answers.recv().await.unwrap());
    assert!(answers.recv().await.unwrap());
    healthy.store(false, Ordering::SeqCst);
    while answers.recv().await.unwrap() {}
    // Every ping there will be has been sent: each answer is followed by its ping before the next question.
    while !manager.is_silent() {}
    assert!(!answers.recv().await.unwrap());
    assert!(!answers.recv().await.unwrap());
    assert!(manager.is_silent());
    healthy.store(true, Ordering::SeqCst);
    while !answers.recv().await.unwrap() {}
    assert!(answers.recv().await.unwrap());
    assert_eq!(manager.next(), "WATCHDOG=1\n");
    stopping.cancel();
    watch.await.unwrap();
}

#[tokio::test]
async fn a_health_check_that_hangs_is_no_sign_of_life() {
    let manager = Manager::new();
    let watch = manager.notifier(Some(SHORT));
    let watching = timeout(SHORT * 4, watch.watch(CancellationToken::new(), pending));
    assert!(watching.await.is_err());
    assert!(manager.is_silent());
}

#[tokio::test]
async fn without_a_watchdog_watching_just_waits() {
    let stopping = CancellationToken::new();
    let zero = Manager::new().notifier(Some(Duration::ZERO));
    assert!(timeout(SHORT, zero.watch(stopping.clone(), pending)).await.is_err());
    stopping.cancel();
    zero.watch(stopping, pending).await;
}
