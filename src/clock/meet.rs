//! Meeting a deadline by the wall clock, on timers that may end for other reasons.
//!
//! A timer's end proves nothing here: only a look at the clock does. So nobody is woken early by a timer that is, and
//! nobody for ever late by one that the kernel forgot.

use std::{io, time::Duration};

use chrono::{DateTime, Utc};

use super::{millis_up, timer::Woken};

/// How long nobody looks at the clock at most. A timer is told of a clock that is set from its making on; one that was set
/// a moment before, after the caller's last look, would go unnoticed.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// The same, while there is no timer to be had.
const LOOK_AGAIN_WITHOUT: Duration = Duration::from_secs(1);

/// Returns when `now() >= at`, or when the clock was set or wasn't looked at for long. `ring` waits as the kernel's timer
/// does; where there is none, it makes do with a `pause`.
pub(super) async fn meet<R, P>(
    at: DateTime<Utc>,
    now: impl Fn() -> DateTime<Utc>,
    ring: impl Fn(DateTime<Utc>) -> R,
    pause: impl Fn(Duration) -> P,
) where
    R: Future<Output = io::Result<Woken>>,
    P: Future<Output = ()>,
{
    // A timer set for less would ring again and again while a clock of whole milliseconds is just short of `at`.
    let at = millis_up(at);
    while let Ok(left) = (at - now()).to_std()
        && !left.is_zero()
    {
        let woken = tokio::select! {
            biased;
            woken = ring(at) => woken,
            () = pause(LOOK_AGAIN) => return,
        };
        match woken {
            Ok(Woken::Fired) => {}
            Ok(Woken::ClockSet) => return,
            // Out of file descriptors, most likely, which the listener tells to whoever reads the log.
            Err(_) => return pause(left.min(LOOK_AGAIN_WITHOUT)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use chrono::TimeDelta;

    use super::*;

    const FIRED: End = || Some(Ok(Woken::Fired));
    const SET: End = || Some(Ok(Woken::ClockSet));
    const NO_TIMER: End = || Some(Err(io::ErrorKind::Other.into()));
    const NEVER: End = || None;

    type End = fn() -> Option<io::Result<Woken>>;

    /// What became of a deadline.
    #[derive(Debug, PartialEq)]
    struct Met {
        /// What the clock shows afterwards.
        at: DateTime<Utc>,
        /// What timers were set for.
        set_for: Vec<DateTime<Utc>>,
        /// How long it paused beside them.
        paused: Duration,
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// Meets `until`, from `from` on, with timers that end like that, each at what the clock shows then. All are used.
    async fn met(from: &str, until: &str, timers: &[(End, &str)]) -> Met {
        let (shows, paused) = (Cell::new(at(from)), Cell::new(Duration::ZERO));
        let set_for = RefCell::new(Vec::new());
        let ring = |until| {
            let (end, now) = timers[set_for.borrow().len()];
            set_for.borrow_mut().push(until);
            shows.set(at(now));
            async move {
                match end() {
                    Some(end) => end,
                    None => std::future::pending().await,
                }
            }
        };
        let (shows, now_paused) = (&shows, &paused);
        let pause = |length| async move {
            now_paused.set(now_paused.get() + length);
            shows.set(shows.get() + length);
        };
        let meeting = meet(at(until), || shows.get(), ring, pause);
        tokio::time::timeout(Duration::from_secs(10), meeting).await.expect("it returns by itself");
        let set_for = set_for.into_inner();
        assert_eq!(set_for.len(), timers.len(), "timers that were used");
        Met { at: shows.get(), set_for, paused: paused.get() }
    }

    /// The same, where nothing is to be said but when it returned.
    async fn met_at(from: &str, until: &str, timers: &[(End, &str)]) -> DateTime<Utc> {
        met(from, until, timers).await.at
    }

    #[tokio::test]
    async fn a_timer_that_fires_is_the_end() {
        let met =
            met("2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z", &[(FIRED, "2026-01-01T11:00:00Z")]).await;
        let end = at("2026-01-01T11:00:00Z");
        assert_eq!(met, Met { at: end, set_for: vec![end], paused: Duration::ZERO });
    }

    #[tokio::test]
    async fn what_is_due_needs_no_timer() {
        met("2026-01-01T11:00:00Z", "2026-01-01T11:00:00Z", &[]).await;
        met("2026-01-01T11:00:00.001Z", "2026-01-01T11:00:00.000999Z", &[]).await;
    }

    #[tokio::test]
    async fn a_timer_is_set_for_whole_milliseconds() {
        let fired = (FIRED, "2026-01-01T10:00:00.002Z");
        let met = met("2026-01-01T10:00:00Z", "2026-01-01T10:00:00.001000001Z", &[fired]).await;
        assert_eq!(met.set_for, [at("2026-01-01T10:00:00.002Z")]);
    }

    #[tokio::test]
    async fn a_timer_that_fires_early_is_not_believed() {
        let timers = [(FIRED, "2026-01-01T10:59:59.999Z"), (FIRED, "2026-01-01T11:00:00Z")];
        met("2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z", &timers).await;
    }

    #[tokio::test]
    async fn whoever_waits_is_told_that_the_clock_was_set() {
        for set_to in ["2026-01-01T09:30:00Z", "2026-01-01T10:45:00Z", "2026-01-01T11:30:00Z"] {
            let woken_at = met_at("2026-01-01T10:30:00Z", "2026-01-01T11:00:00Z", &[(SET, set_to)]).await;
            assert_eq!(woken_at, at(set_to));
        }
    }

    #[tokio::test]
    async fn a_machine_that_slept_over_the_end_is_late_and_awake() {
        for end in [FIRED, SET] {
            let timers = [(end, "2026-01-03T07:00:00Z")];
            met("2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z", &timers).await;
        }
    }

    /// The clock was set back after the caller's last look, and before there was a timer to be cancelled.
    #[tokio::test]
    async fn nobody_sleeps_for_long_without_a_look() {
        let met =
            met("2026-01-01T10:00:00Z", "2026-01-01T10:30:00Z", &[(NEVER, "2026-01-01T09:00:00Z")]).await;
        assert_eq!(met.paused, LOOK_AGAIN);
    }

    #[tokio::test]
    async fn without_a_timer_there_is_a_pause() {
        let timers = [(NO_TIMER, "2026-01-01T10:00:00Z")];
        assert_eq!(
            met("2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z", &timers).await.paused,
            LOOK_AGAIN_WITHOUT
        );
        let soon = met("2026-01-01T10:00:00Z", "2026-01-01T10:00:00.005Z", &timers).await;
        assert_eq!(soon.paused, Duration::from_millis(5));
    }

    /// The system's clock shows the last second of such a day twice, so a timer for midnight may fire before the repetition.
    #[tokio::test]
    async fn an_end_after_a_leap_second_waits_for_it() {
        let timers = [(FIRED, "2016-12-31T23:59:59Z"), (FIRED, "2017-01-01T00:00:00Z")];
        met("2016-12-31T23:59:58Z", "2017-01-01T00:00:00Z", &timers).await;
    }

    #[tokio::test]
    async fn an_end_within_a_leap_second_is_in_the_second_after_it() {
        let timers = [(FIRED, "2017-01-01T00:00:00Z"), (FIRED, "2017-01-01T00:00:00.500Z")];
        let met = met("2016-12-31T23:59:59Z", "2016-12-31T23:59:60.500Z", &timers).await;
        assert_eq!(met.set_for, [at("2017-01-01T00:00:00.500Z"); 2]);
    }

    /// Central Europe goes from 02:00 to 03:00 in March, and from 03:00 to 02:00 in October.
    #[tokio::test]
    async fn summer_time_makes_no_window_longer_or_shorter() {
        for (from, until) in [
            ("2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"),
            ("2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"),
        ] {
            assert_eq!(at(until) - at(from), TimeDelta::hours(1));
            let met = met(from, until, &[(FIRED, until)]).await;
            assert_eq!(met.set_for, [at(from) + TimeDelta::hours(1)]);
        }
    }
}
