//! How the process starts, stays alive and ends: signals, the bounded drain, and what systemd is told.
//!
//! ```text
//! RUNNING --SIGTERM, SIGINT, or a supervised task ended--> DRAINING --all tasks done--> Clean or Failed
//!                                                             |------30 s over--------> TimedOut
//!                                                             '------second signal----> Forced
//! ```
//!
//! Stopping loses nothing, since every half-done step is in the store and the next start finishes it; so the drain is
//! a courtesy to callers and has a bound. SIGHUP and SIGUSR1 only tell whoever waits for them: what a reload or a
//! reconciliation is isn't known here. What it refuses to do: tell the watchdog that all is well without having asked, and
//! run on as half a daemon after one of its tasks died.
//!
//! Durations here are measured by tokio's monotonic timer and not by the [`Clock`](crate::clock::Clock): systemd
//! counts the same way, and setting the system's clock must neither prolong a drain nor starve the watchdog.

use std::{
    env, io,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use sd_notify::NotifyState;
use tokio::{
    signal::unix::{Signal as Stream, SignalKind, signal},
    sync::Notify,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long tasks may take to finish once the process is told to stop. Less than `TimeoutStopSec` and `WatchdogSec` of
/// `systemd/hallpassd.service`, so that it is hallpassd that says what it left undone.
pub const DRAIN: Duration = Duration::from_secs(30);

/// The longest status line that systemd is sent, in bytes; it is for people to read.
const STATUS_MAX: usize = 256;

/// How the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop, and every task finished.
    Clean,
    /// This task, which must run as long as the process, ended by itself.
    Failed(&'static str),
    /// Tasks were left behind when [`DRAIN`] was over.
    TimedOut,
    /// A second signal cut the drain short.
    Forced,
}

impl Ended {
    /// The exit status: zero only for [`Ended::Clean`], so that systemd restarts what failed.
    ///
    /// Whoever gets anything else must leave without waiting for the runtime (`Runtime::shutdown_background`), because
    /// tasks may still be there.
    #[must_use]
    pub fn exit_status(self) -> u8 {
        u8::from(self != Self::Clean)
    }
}

/// The tasks of the process, and the one token that asks all of them to stop. Clones are handles to the same thing.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    stopping: CancellationToken,
    tasks: TaskTracker,
    failed: Arc<OnceLock<&'static str>>,
    reconcile: Arc<Notify>,
    reload: Arc<Notify>,
}

impl Lifecycle {
    /// Nothing runs yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled once the process is to stop. Whoever waits for anything waits for this too.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// The tasks that the drain waits for, to hand to whoever starts some.
    #[must_use]
    pub fn tasks(&self) -> TaskTracker {
        self.tasks.clone()
    }

    /// Notified when somebody asks for a reconciliation by [`Signal::Reconcile`].
    #[must_use]
    pub fn reconcile(&self) -> Arc<Notify> {
        Arc::clone(&self.reconcile)
    }

    /// Notified when somebody asks for the configuration to be read again by [`Signal::Hangup`].
    #[must_use]
    pub fn reload(&self) -> Arc<Notify> {
        Arc::clone(&self.reload)
    }

    /// Runs work that has an end of its own; the drain waits for it.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Runs work that must go on until [`Lifecycle::stopping`]. If it ends earlier, by returning or by a panic, the
    /// whole process stops and systemd starts it anew: a daemon whose sweep is dead would look alive and revoke
    /// nothing.
    pub fn supervise(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let watch = Supervised { name, of: self.clone() };
        self.tasks.spawn(async move {
            let _watch = watch;
            task.await;
        });
    }

    /// Waits until the process is to stop, then drains it.
    pub async fn run(&self, signals: &mut impl Signals, notifier: &Notifier) -> Ended {
        tokio::select! {
            () = self.until_stop(signals) => {}
            () = self.stopping.cancelled() => {}
        }
        tracing::info!(event.action = "stopping", "stopping: {} tasks to finish", self.tasks.len());
        notifier.stopping();
        self.stopping.cancel();
        let ended = self.drain(signals, DRAIN).await;
        tracing::info!(event.action = "stopped", hallpass.ended = ?ended, "stopped");
        ended
    }

    async fn drain(&self, signals: &mut impl Signals, within: Duration) -> Ended {
        self.tasks.close();
        tokio::select! {
            drained = timeout(within, self.tasks.wait()) => match (self.failed.get(), drained) {
                (Some(task), _) => Ended::Failed(task),
                (None, Ok(())) => Ended::Clean,
                (None, Err(_)) => Ended::TimedOut,
            },
            () = self.until_stop(signals) => Ended::Forced,
        }
    }
}

impl Lifecycle {
    async fn until_stop(&self, signals: &mut impl Signals) {
        loop {
            match signals.next().await {
                Signal::Stop => return,
                Signal::Reconcile => self.reconcile.notify_one(),
                Signal::Hangup => self.reload.notify_one(),
            }
        }
    }
}

/// Notices the end of a supervised task, a panic included: it is dropped either way.
#[derive(Debug)]
struct Supervised {
    name: &'static str,
    of: Lifecycle,
}

impl Drop for Supervised {
    fn drop(&mut self) {
        if self.of.stopping.is_cancelled() {
            return;
        }
        tracing::error!(
            event.action = "task-ended",
            hallpass.task = self.name,
            "a task that must not end has ended; stopping"
        );
        // The first one is the cause, the others are consequences.
        let _ = self.of.failed.set(self.name);
        self.of.stopping.cancel();
    }
}

/// What the outside asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP: read the configuration again, now.
    Hangup,
    /// SIGUSR1: compare Vault with the records, now.
    Reconcile,
}

/// Where signals come from: the system, or a test.
pub trait Signals {
    /// The next signal. Safe to cancel.
    fn next(&mut self) -> impl Future<Output = Signal> + Send;
}

/// The signals that the system sends to this process.
#[derive(Debug)]
pub struct SystemSignals {
    terminate: Stream,
    interrupt: Stream,
    hangup: Stream,
    reconcile: Stream,
}

impl SystemSignals {
    /// Takes the signals over. Before this call they end the process at once, so call it before anything is begun.
    ///
    /// # Errors
    ///
    /// If the system refuses the handlers.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            reconcile: signal(SignalKind::user_defined1())?,
        })
    }
}

impl Signals for SystemSignals {
    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hangup.recv() => Signal::Hangup,
            _ = self.reconcile.recv() => Signal::Reconcile,
        }
    }
}

/// What tells systemd how the process is; without systemd it does nothing.
///
/// Nothing depends on the answer, so a message that can't be sent is logged and forgotten.
#[derive(Clone, Debug, Default)]
pub struct Notifier {
    socket: Option<PathBuf>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// What systemd handed to this process: `NOTIFY_SOCKET`, and `WATCHDOG_USEC` if it is meant for this process
    /// ([sd_notify(3)](https://www.freedesktop.org/software/systemd/man/sd_notify.html)).
    #[must_use]
    pub fn from_env() -> Self {
        let socket = env::var_os("NOTIFY_SOCKET").map(PathBuf::from);
        Self { socket, watchdog: sd_notify::watchdog_enabled() }
    }

    /// Sends to this socket, and pings so that one ping falls into each `watchdog`.
    #[must_use]
    pub fn new(socket: PathBuf, watchdog: Option<Duration>) -> Self {
        Self { socket: Some(socket), watchdog }
    }

    /// The service works: listening, and the store and Vault were reached as far as the start demands.
    pub fn ready(&self) {
        self.send(&NotifyState::Ready);
    }

    /// The service reads its configuration again; [`Self::ready`] says that it is done, whether or not it took it. Both in
    /// one message, as systemd demands for `Type=notify-reload`.
    pub fn reloading(&self) {
        let text =
            NotifyState::monotonic_usec_now().map(|now| format!("{}\n{now}\n", NotifyState::Reloading));
        match text {
            Ok(text) => self.send_text(&text),
            // Without its time the message is still good for `Type=notify`.
            Err(_) => self.send(&NotifyState::Reloading),
        }
    }

    /// What the service is doing, for `systemctl status`. Cut at 256 bytes, and to the first line: what follows would
    /// be read as another message.
    pub fn status(&self, text: &str) {
        let line = text.lines().next().unwrap_or_default();
        let end = line.floor_char_boundary(STATUS_MAX);
        self.send(&NotifyState::Status(line.get(..end).unwrap_or_default()));
    }

    /// The service drains. One last ping goes with it: the drain is shorter than the watchdog's patience, so nobody has
    /// to vouch for tasks that are ending.
    fn stopping(&self) {
        self.send(&NotifyState::Stopping);
        if self.watchdog.is_some() {
            self.send(&NotifyState::Watchdog);
        }
    }

    /// Pings the watchdog twice per period as long as `healthy` says so, until `stopping`. Without a watchdog it only
    /// waits for that, so that it can be supervised either way.
    ///
    /// An answer later than a quarter of the period counts as no: then the worst distance between two pings, half a
    /// period and the wait for the second answer, stays below a period.
    pub async fn watch<F>(&self, stopping: CancellationToken, healthy: impl Fn() -> F + Send)
    where
        F: Future<Output = bool> + Send,
    {
        // An interval of zero panics; a zero from systemd means that there is no watchdog.
        let Some(period) = self.watchdog.filter(|period| !period.is_zero()) else {
            return stopping.cancelled().await;
        };
        let mut beat = interval(period / 2);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stopping.run_until_cancelled(beat.tick()).await.is_some() {
            match timeout(period / 4, healthy()).await {
                Ok(true) => self.send(&NotifyState::Watchdog),
                Ok(false) => withhold("the daemon says that it is not well"),
                Err(_) => withhold("the daemon gives no sign of life"),
            }
        }
    }

    fn send(&self, state: &NotifyState<'_>) {
        self.send_text(&format!("{state}\n"));
    }

    fn send_text(&self, text: &str) {
        let Some(socket) = &self.socket else { return };
        let sent = UnixDatagram::unbound().and_then(|from| {
            // A full queue must not stop the daemon; a lost ping shows at the next one.
            from.set_nonblocking(true)?;
            from.send_to(text.as_bytes(), socket)
        });
        if let Err(error) = sent {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(event.action = "systemd-not-notified", error, "cannot notify systemd");
        }
    }
}

fn withhold(reason: &str) {
    tracing::error!(event.action = "watchdog-withheld", event.reason = reason, "the watchdog is not fed");
}

#[cfg(test)]
mod tests;
