//! What the rules may not ask for themselves: the time, and chance.
//!
//! Everything that needs either is handed a [`Clock`]; a lint forbids asking elsewhere. Instants have whole
//! milliseconds, because that is what the store keeps: a value read back equals the value written.
//!
//! ```text
//! sleep         a length of time, which nobody can set             a pause, a limit to one call
//! sleep_until   a time by the wall clock, and no longer than       what nobody shall wait longer for, because the
//!               it seemed at first                                 clock was set back
//! meet          a time by the wall clock, to a fraction of a       what must come neither early nor late: the end of
//!               millisecond; or that this clock was set            a window
//! ```
//!
//! An instant is a number of milliseconds since 1970 and nothing else. Zones and summer time are for people who read; a
//! leap second, which that number doesn't have, is the first second of the next day.

mod manual;
mod meet;
mod timer;

use std::{
    fmt::Debug,
    sync::LazyLock,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

pub use self::manual::ManualClock;

/// How long the system clock sleeps at most before it looks again, so that a clock that was set is noticed.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// The time and chance, as seen by everything that isn't allowed to ask the system.
#[async_trait]
pub trait Clock: Debug + Send + Sync {
    /// The present, in whole milliseconds, rounded down. The clock can be set, so a later call may give an earlier time.
    fn now(&self) -> DateTime<Utc>;

    /// Returns when `length` has passed, however the clock is set. What a machine sleeps itself doesn't count. Two years at
    /// most. Safe to cancel.
    async fn sleep(&self, length: Duration);

    /// Returns when `now() >= at`, at once if that is so already; or when as much time has passed as was left when it was
    /// called, so that a clock that is set back keeps nobody waiting. Safe to cancel.
    async fn sleep_until(&self, at: DateTime<Utc>);

    /// Returns when `now() >= at`, to a fraction of a millisecond. It also returns as soon as the clock was set, since then
    /// the caller has to look again at whatever `at` was reckoned from, and after a minute at most, should that have been
    /// missed: so whoever is woken asks whether it is time. Safe to cancel. It is for the few deadlines that access ends
    /// at: each costs a file descriptor while it waits.
    async fn meet(&self, at: DateTime<Utc>);

    /// How much time has passed since a moment in this process's life, however the clock was set. What a machine sleeps
    /// itself doesn't count.
    fn elapsed(&self) -> Duration;

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
        millis_down(Utc::now())
    }

    async fn sleep(&self, length: Duration) {
        tokio::time::sleep(length).await;
    }

    async fn sleep_until(&self, at: DateTime<Utc>) {
        sleep_until(at, Utc::now, tokio::time::sleep).await;
    }

    async fn meet(&self, at: DateTime<Utc>) {
        meet::meet(at, || self.now(), timer::wait, tokio::time::sleep).await;
    }

    fn elapsed(&self) -> Duration {
        static SINCE: LazyLock<Instant> = LazyLock::new(Instant::now);
        SINCE.elapsed()
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

/// The last whole millisecond that isn't after `at`.
fn millis_down(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at.timestamp_millis()).unwrap_or(at)
}

/// The first whole millisecond that isn't before `at`: a clock of whole milliseconds shows it no sooner.
fn millis_up(at: DateTime<Utc>) -> DateTime<Utc> {
    let begun = !at.timestamp_subsec_nanos().is_multiple_of(1_000_000);
    DateTime::from_timestamp_millis(at.timestamp_millis() + i64::from(begun)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::ready};

    use chrono::TimeDelta;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

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

    #[test]
    fn a_leap_second_is_the_first_second_of_the_next_day() {
        let leap = at("2016-12-31T23:59:60.250Z");
        assert_ne!(leap, at("2017-01-01T00:00:00.250Z"), "that it needs converting");
        for whole in [millis_down, millis_up] {
            assert_eq!(whole(leap), at("2017-01-01T00:00:00.250Z"));
            assert_eq!(whole(at("2016-12-31T23:59:59.250Z")), at("2016-12-31T23:59:59.250Z"));
        }
        assert_eq!(millis_up(at("2016-12-31T23:59:60.999000001Z")), at("2017-01-01T00:00:01Z"));
    }

    #[test]
    fn part_of_a_millisecond_belongs_to_the_past_or_the_future() {
        for (exact, down, up) in [
            ("2026-01-01T00:00:00.001Z", "2026-01-01T00:00:00.001Z", "2026-01-01T00:00:00.001Z"),
            ("2026-01-01T00:00:00.001000001Z", "2026-01-01T00:00:00.001Z", "2026-01-01T00:00:00.002Z"),
            ("2026-01-01T00:00:00.999999999Z", "2026-01-01T00:00:00.999Z", "2026-01-01T00:00:01Z"),
            ("1969-12-31T23:59:59.998000001Z", "1969-12-31T23:59:59.998Z", "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!((millis_down(at(exact)), millis_up(at(exact))), (at(down), at(up)), "{exact}");
        }
        assert_eq!(millis_up(DateTime::<Utc>::MAX_UTC), DateTime::<Utc>::MAX_UTC);
    }

    /// Whole milliseconds and parts of them, many at a time.
    #[tokio::test]
    async fn nobody_is_woken_early() {
        let began = SystemClock.now();
        let sleepers = (0..40_u64).map(|n| async move {
            let at = began + Duration::from_micros(n * 777);
            SystemClock.meet(at).await;
            (at, SystemClock.now())
        });
        let sleepers: Vec<_> = sleepers.map(tokio::spawn).collect();
        for sleeper in sleepers {
            let (at, woken_at) = sleeper.await.unwrap();
            assert!(woken_at >= at, "{at}: {woken_at}");
        }
    }

    #[tokio::test]
    async fn what_is_past_is_met_at_once() {
        SystemClock.meet(DateTime::UNIX_EPOCH).await;
        SystemClock.meet(DateTime::<Utc>::MIN_UTC).await;
        SystemClock.sleep_until(DateTime::UNIX_EPOCH).await;
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "the test looks at the timer's own clock")]
    async fn a_length_of_time_is_slept_whole() {
        let (length, began) = (Duration::from_millis(5), std::time::Instant::now());
        SystemClock.sleep(length).await;
        assert!(began.elapsed() >= length);
    }
}
