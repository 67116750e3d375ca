//! A clock that stands until it is told to move: for tests and simulations.
//!
//! It has the two times that a machine has: the wall clock, which can be set, and time itself, which only passes.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Notify;

use super::{Clock, millis_down, millis_up};

/// A clock that stands until it is told to move, and draws the same "random" bits in each run.
#[derive(Debug)]
pub struct ManualClock {
    state: Mutex<State>,
    moved: Notify,
}

#[derive(Debug)]
struct State {
    now: DateTime<Utc>,
    /// How much time has passed since it was made.
    passed: Duration,
    drawn: u128,
}

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub fn new(now: DateTime<Utc>) -> Self {
        let state = State { now: millis_down(now), passed: Duration::ZERO, drawn: 0 };
        Self { state: Mutex::new(state), moved: Notify::new() }
    }

    /// Lets so much time pass: the wall clock and each sleep go on, and whoever is due wakes. Time doesn't run backward, so
    /// a negative value only sets the wall clock back.
    pub fn advance(&self, by: TimeDelta) {
        let mut state = self.state();
        state.now += by;
        state.passed += by.to_std().unwrap_or_default();
        drop(state);
        self.moved.notify_waiters();
    }

    /// Sets the wall clock, in either direction, while no time passes: as an operator or a time server would, and as it looks
    /// to a machine that was suspended.
    pub fn set(&self, now: DateTime<Utc>) {
        self.state().now = millis_down(now);
        self.moved.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait_for(&self, is_over: impl Fn(&State) -> bool) {
        loop {
            // Listen first, so that a move between the look and the wait is not missed.
            let moved = self.moved.notified();
            if is_over(&self.state()) {
                return;
            }
            moved.await;
        }
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        millis_down(self.state().now)
    }

    async fn sleep(&self, length: Duration) {
        let until = self.state().passed.saturating_add(length);
        self.wait_for(|state| state.passed >= until).await;
    }

    async fn sleep_until(&self, at: DateTime<Utc>) {
        let at = millis_up(at);
        let until = {
            let state = self.state();
            state.passed.saturating_add((at - state.now).to_std().unwrap_or_default())
        };
        self.wait_for(|state| millis_down(state.now) >= at || state.passed >= until).await;
    }

    /// Any move is a setting of the clock.
    async fn meet(&self, at: DateTime<Utc>) {
        let moved = self.moved.notified();
        if self.now() < at {
            moved.await;
        }
    }

    fn elapsed(&self) -> Duration {
        self.state().passed
    }

    /// Different at each call, and the same sequence in each run.
    fn random(&self) -> u128 {
        let mut state = self.state();
        state.drawn += 1;
        state.drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::{Pin, pin},
        task::{Context, Poll, Waker},
    };

    use super::*;

    const HOUR: TimeDelta = TimeDelta::hours(1);
    const SECOND: TimeDelta = TimeDelta::seconds(1);

    fn noon() -> DateTime<Utc> {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn is_over(sleep: &mut Pin<&mut impl Future<Output = ()>>) -> bool {
        sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    /// Which of two sleeps for an hour are over after this: for the length, or until the time.
    fn over_after(change: impl Fn(&ManualClock)) -> [bool; 2] {
        let clock = ManualClock::new(noon());
        let mut length = pin!(clock.sleep(HOUR.to_std().unwrap()));
        let mut until = pin!(clock.sleep_until(noon() + HOUR));
        let mut look = || [is_over(&mut length), is_over(&mut until)];
        assert_eq!(look(), [false; 2]);
        change(&clock);
        look()
    }

    #[test]
    fn time_that_passes_ends_every_sleep() {
        assert_eq!(over_after(|clock| clock.advance(HOUR)), [true; 2]);
        assert_eq!(over_after(|clock| clock.advance(HOUR - TimeDelta::nanoseconds(1))), [false; 2]);
    }

    #[test]
    fn a_clock_set_forward_ends_what_waits_for_a_time_and_no_pause() {
        assert_eq!(over_after(|clock| clock.set(noon() + HOUR)), [false, true]);
        assert_eq!(over_after(|clock| clock.set(noon() + HOUR - SECOND)), [false; 2]);
    }

    #[test]
    fn a_clock_set_back_keeps_nobody_waiting() {
        let set_back: [fn(&ManualClock); 2] =
            [|clock| clock.set(noon() - HOUR), |clock| clock.advance(-HOUR)];
        for set_back in set_back {
            let and_then = |passes: TimeDelta| {
                move |clock: &ManualClock| {
                    set_back(clock);
                    clock.advance(passes);
                }
            };
            assert_eq!(over_after(and_then(HOUR - SECOND)), [false; 2]);
            assert_eq!(over_after(and_then(HOUR)), [true; 2]);
        }
    }

    #[test]
    fn whoever_meets_a_deadline_is_told_of_every_move() {
        let moves: [fn(&ManualClock); 4] = [
            |clock| clock.advance(HOUR),
            |clock| clock.advance(SECOND),
            |clock| clock.advance(-HOUR),
            |clock| clock.set(noon() - HOUR),
        ];
        for moves in moves {
            let clock = ManualClock::new(noon());
            let mut met = pin!(clock.meet(noon() + HOUR));
            assert!(!is_over(&mut met));
            moves(&clock);
            assert!(is_over(&mut met));
        }
    }

    #[test]
    fn it_shows_whole_milliseconds_and_loses_no_part_of_one() {
        let (clock, half) = (ManualClock::new(noon()), TimeDelta::microseconds(500));
        clock.advance(half);
        assert_eq!(clock.now(), noon());
        clock.advance(half);
        assert_eq!(clock.now(), noon() + TimeDelta::milliseconds(1));
    }

    #[test]
    fn a_window_s_end_within_a_leap_second_is_in_the_second_after_it() {
        let clock = ManualClock::new("2016-12-31T23:59:59Z".parse().unwrap());
        let mut sleep = pin!(clock.sleep_until("2016-12-31T23:59:60.500Z".parse().unwrap()));
        clock.advance(SECOND);
        assert!(!is_over(&mut sleep));
        clock.advance(SECOND / 2);
        assert!(is_over(&mut sleep));
    }
}
