//! A timer on the system's wall clock: it fires when that clock reaches an instant, to a fraction of a millisecond, after
//! a suspension too, and it is cancelled by the kernel when the clock is set (`timerfd_create(2)`).
//!
//! tokio's own timers count from when they are made, in whole milliseconds, and know nothing of a clock that is set.

use std::io;

use chrono::{DateTime, Utc};
use rustix::{
    fd::OwnedFd,
    io::Errno,
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};
use tokio::io::unix::AsyncFd;

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// The instant came.
    Fired,
    /// The clock was set.
    ClockSet,
}

/// Waits until the wall clock shows `at`, or until it is set. Safe to cancel.
///
/// # Errors
///
/// If the system has no timer left for us, that is: no file descriptor.
pub(super) async fn wait(at: DateTime<Utc>) -> io::Result<Woken> {
    match Timer::armed(at) {
        Ok(timer) => timer.wait().await,
        Err(error) => not_armed(error),
    }
}

/// The clock may be set while a timer is being armed, and then that says so.
fn not_armed(error: io::Error) -> io::Result<Woken> {
    match Errno::from_io_error(&error) {
        Some(Errno::CANCELED) => Ok(Woken::ClockSet),
        _ => Err(error),
    }
}

/// A timer that is armed.
#[derive(Debug)]
struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    /// Arms a timer; for an instant that is past, it fires at once.
    ///
    /// # Errors
    ///
    /// If the system has no timer left for us, that is: no file descriptor.
    fn armed(at: DateTime<Utc>) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Realtime, flags)?;
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: timespec(at) };
        let absolute = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        timerfd_settime(&timer, absolute, &once)?;
        #[expect(deprecated, reason = "its replacement is unsafe; an OwnedFd keeps what both ask for")]
        Ok(Self(AsyncFd::new(timer)?))
    }

    /// Waits. Safe to cancel.
    ///
    /// # Errors
    ///
    /// If the timer can't be read, for which no reason is known.
    async fn wait(&self) -> io::Result<Woken> {
        loop {
            let mut ready = self.0.readable().await?;
            let mut expirations = [0; 8];
            match rustix::io::read(self.0.get_ref(), &mut expirations) {
                Ok(_) => return Ok(Woken::Fired),
                Err(Errno::CANCELED) => return Ok(Woken::ClockSet),
                Err(Errno::AGAIN | Errno::INTR) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Through a number of milliseconds, which has no leap seconds; the kernel has none either. Before 1970 is long ago, and an
/// instant of zero would disarm the timer.
fn timespec(at: DateTime<Utc>) -> Timespec {
    let millis = at.timestamp_millis();
    if millis <= 0 {
        return Timespec { tv_sec: 0, tv_nsec: 1 };
    }
    Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the timer is compared with the system's clock")]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::clock::millis_up;

    #[tokio::test]
    async fn it_fires_and_never_early() {
        for millis in [-1000, 0, 1, 2, 3, 5, 8, 13, 21] {
            let at = millis_up(Utc::now() + TimeDelta::milliseconds(millis));
            assert_eq!(wait(at).await.unwrap(), Woken::Fired);
            assert!(Utc::now() >= at, "{millis}");
        }
    }

    #[test]
    fn instants_are_those_of_the_kernel() {
        let spec = |text: &str| timespec(text.parse().unwrap());
        let of = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
        assert_eq!(spec("2026-11-24T10:00:00.123Z"), of(1_795_514_400, 123_000_000));
        assert_eq!(spec("2016-12-31T23:59:59.500Z"), of(1_483_228_799, 500_000_000));
        assert_eq!(spec("2016-12-31T23:59:60.500Z"), of(1_483_228_800, 500_000_000));
        assert_eq!(spec("1970-01-01T00:00:00Z"), of(0, 1));
        assert_eq!(spec("1969-07-20T20:17:40Z"), of(0, 1));
        assert_eq!(timespec(DateTime::<Utc>::MAX_UTC).tv_sec, DateTime::<Utc>::MAX_UTC.timestamp());
    }

    #[test]
    fn a_clock_that_was_set_while_arming_is_no_error() {
        assert_eq!(not_armed(Errno::CANCELED.into()).unwrap(), Woken::ClockSet);
        assert_eq!(
            not_armed(Errno::MFILE.into()).unwrap_err().raw_os_error(),
            Some(Errno::MFILE.raw_os_error())
        );
    }
}
