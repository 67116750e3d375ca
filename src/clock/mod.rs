//! What the rules may not ask for themselves: the time, and chance.
//!
//! Everything that needs either is handed a [`Clock`]; a lint forbids asking elsewhere. Instants have whole
//! milliseconds, because that is what the store keeps: a value read back equals the value written.

mod timer;

use std::{
    fmt::Debug,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Notify;

use self::timer::{Timer, Woken};

/// How long the system clock sleeps at most before it looks again, so that a clock that was set is noticed.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// The time and chance, as seen by everything that isn't allowed to ask the system.
#[async_trait]
pub trait Clock: Debug + Send + Sync {
    /// The present, in whole milliseconds.
    fn now(&self) -> DateTime<Utc>;

    /// Returns when `now() >= at`, at once if that is so already; or when as much time has passed as was left when it was
    /// called, so that a clock that is set back keeps nobody waiting. Safe to cancel.
    async fn sleep_until(&self, at: DateTime<Utc>);

    /// Returns when `now() >= at`, to a fraction of a millisecond; or as soon as the clock was set, since then the caller
    /// has to look again at whatever `at` was reckoned from. Safe to cancel. It is for the few deadlines that access ends
    /// at: each costs a file descriptor while it waits.
    async fn meet(&self, at: DateTime<Utc>);

    /// 128 unpredictable bits, from the system's generator or from a test's seed.
    fn random(&self) -> u128;
}

/// The system's clock and generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
#[expect(clippy::disallowed_methods, reason = "this is the place that asks the system")]
impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        whole_millis(Utc::now())
    }

    async fn sleep_until(&self, at: DateTime<Utc>) {
        sleep_until(at, Utc::now, tokio::time::sleep).await;
    }

    async fn meet(&self, at: DateTime<Utc>) {
        while self.now() < at {
            let woken = match Timer::armed(at) {
                Ok(timer) => timer.wait().await,
                Err(error) => Err(error),
            };
            match woken {
                Ok(Woken::Fired) => {}
                Ok(Woken::ClockSet) => return,
                // Without such a timer, a coarser one has to do.
                Err(_) => return self.sleep_until(at).await,
            }
        }
    }

    fn random(&self) -> u128 {
        let mut bytes = [0; 16];
        // A system without randomness can't hand out secrets; there is nothing to fall back to.
        #[expect(clippy::expect_used, reason = "no safe way to go on exists")]
        getrandom::fill(&mut bytes).expect("the system's random number generator must work");
        u128::from_le_bytes(bytes)
    }
}

/// Looks at the clock again and again, since it may be set; and at a timer that nobody can set.
async fn sleep_until<S: Future<Output = ()>>(
    at: DateTime<Utc>,
    now: impl Fn() -> DateTime<Utc>,
    sleep: impl Fn(Duration) -> S,
) {
    let mut slept = Duration::ZERO;
    let Ok(whole) = (at - now()).to_std() else { return };
    while let Ok(left) = (at - now()).to_std()
        && slept <= whole
    {
        // A millisecond more, because `now` rounds down and must not be found just short of `at`.
        let next = left.min(whole.saturating_sub(slept)).min(LOOK_AGAIN) + Duration::from_millis(1);
        sleep(next).await;
        slept += next;
    }
}

/// A clock that stands until it is told to move: for tests and simulations.
#[derive(Debug)]
pub struct ManualClock {
    state: Mutex<ManualState>,
    moved: Notify,
}

#[derive(Debug)]
struct ManualState {
    now: DateTime<Utc>,
    drawn: u128,
}

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub fn new(now: DateTime<Utc>) -> Self {
        let state = ManualState { now: whole_millis(now), drawn: 0 };
        Self { state: Mutex::new(state), moved: Notify::new() }
    }

    /// Moves the clock and wakes whoever slept until then.
    pub fn advance(&self, by: TimeDelta) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).now += by;
        self.moved.notify_waiters();
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).now
    }

    async fn sleep_until(&self, at: DateTime<Utc>) {
        loop {
            // Listen first, so that a move between the look and the wait is not missed.
            let moved = self.moved.notified();
            if self.now() >= at {
                return;
            }
            moved.await;
        }
    }

    /// Any move is a setting of the clock.
    async fn meet(&self, at: DateTime<Utc>) {
        let moved = self.moved.notified();
        if self.now() < at {
            moved.await;
        }
    }

    /// Different at each call, and the same sequence in each run.
    fn random(&self) -> u128 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.drawn += 1;
        state.drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }
}

fn whole_millis(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at.timestamp_millis()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::ready};

    use super::*;

    /// How long it sleeps for 90 s by a clock that somebody sets by so much after the first look.
    async fn slept(set_by: TimeDelta) -> Duration {
        let (passed, looked) = (Cell::new(Duration::ZERO), Cell::new(false));
        let now = || {
            let set = if looked.replace(true) { set_by } else { TimeDelta::zero() };
            DateTime::UNIX_EPOCH + passed.get() + set
        };
        let sleep = |pause| {
            passed.set(passed.get() + pause);
            ready(())
        };
        sleep_until(DateTime::UNIX_EPOCH + TimeDelta::seconds(90), now, sleep).await;
        passed.get()
    }

    #[tokio::test]
    async fn a_clock_that_is_set_keeps_nobody_waiting() {
        let second = Duration::from_secs(1);
        let as_it_should_be = 90 * second..91 * second;
        assert!(as_it_should_be.contains(&slept(TimeDelta::zero()).await));
        assert!(as_it_should_be.contains(&slept(TimeDelta::hours(-1)).await), "set back");
        assert!(slept(TimeDelta::hours(1)).await < second, "set forward");
    }
}
