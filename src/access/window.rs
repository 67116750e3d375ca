//! The time in which access is allowed: half-open, fixed when it opens, never moved.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// `[opens_at, closes_at)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    opens_at: DateTime<Utc>,
    closes_at: DateTime<Utc>,
}

impl Window {
    /// Opens a window.
    #[must_use]
    pub fn open(opens_at: DateTime<Utc>, duration: Duration) -> Self {
        Self { opens_at, closes_at: opens_at + duration }
    }

    /// Puts a recorded window together again; `None` if it would be empty or run backwards.
    #[must_use]
    pub fn recorded(opens_at: DateTime<Utc>, closes_at: DateTime<Utc>) -> Option<Self> {
        (opens_at < closes_at).then_some(Self { opens_at, closes_at })
    }

    /// The first instant in the window.
    #[must_use]
    pub const fn opens_at(&self) -> DateTime<Utc> {
        self.opens_at
    }

    /// The first instant after the window.
    #[must_use]
    pub const fn closes_at(&self) -> DateTime<Utc> {
        self.closes_at
    }

    /// Whether the window is over.
    #[must_use]
    pub fn is_closed(&self, now: DateTime<Utc>) -> bool {
        now >= self.closes_at
    }

    /// How much of the window is left; zero once it is closed.
    #[must_use]
    pub fn left(&self, now: DateTime<Utc>) -> Duration {
        (self.closes_at - now).to_std().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn the_end_is_outside_by_the_millisecond() {
        let opens_at = DateTime::from_timestamp_millis(1_000_000).unwrap();
        let window = Window::open(opens_at, Duration::from_mins(1));
        let before = window.closes_at() - TimeDelta::milliseconds(1);
        assert!(!window.is_closed(before));
        assert_eq!(window.left(before), Duration::from_millis(1));
        for late in [window.closes_at(), window.closes_at() + TimeDelta::seconds(1)] {
            assert!(window.is_closed(late));
            assert_eq!(window.left(late), Duration::ZERO);
        }
    }

    #[test]
    fn a_window_is_never_empty() {
        let at = DateTime::from_timestamp_millis(5).unwrap();
        assert_eq!(Window::recorded(at, at), None);
    }
}
