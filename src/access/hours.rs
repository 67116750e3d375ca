//! The hours in which windows may lie: minutes of a time zone's calendar, written as cron expressions. A minute is open if
//! any of the expressions matches it, and a window lies in the hours if every minute that it touches is open.
//!
//! Instants are looked at, not times of day, so nothing is unclear when clocks are set: the hour that a zone repeats is
//! open twice, and the one that it skips never was.

use std::{fmt, time::Duration};

use chrono::{DateTime, Datelike, DurationRound, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;
use cron::TimeUnitSpec;

use super::window::Window;

/// How far ahead an opening is looked for: longer than any request waits.
const AHEAD_MAX: TimeDelta = TimeDelta::days(62);

const MINUTE: TimeDelta = TimeDelta::minutes(1);

/// Hours of a time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    zone: Tz,
    written: Vec<String>,
    open: Vec<Calendar>,
}

/// The minutes that one expression matches; a bit for each value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Calendar {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    /// From Sunday = 1.
    weekdays: u64,
}

impl Hours {
    /// The minutes in which an expression comes true, for each of them, with what was written. Years and seconds aren't
    /// looked at.
    #[must_use]
    pub fn new(zone: Tz, expressions: Vec<(String, cron::Schedule)>) -> Self {
        let (written, schedules): (Vec<_>, Vec<_>) = expressions.into_iter().unzip();
        Self { zone, written, open: schedules.iter().map(Calendar::of).collect() }
    }

    /// Whether the window lies in them as a whole.
    #[must_use]
    pub fn contain(&self, window: Window) -> bool {
        let mut minute = start_of_minute(window.opens_at());
        while minute < window.closes_at() {
            if !self.is_open(minute) {
                return false;
            }
            minute += MINUTE;
        }
        true
    }

    /// When, from this instant on and before that one, a window of this length may open first.
    #[must_use]
    pub fn first_fit(
        &self,
        from: DateTime<Utc>,
        before: DateTime<Utc>,
        duration: Duration,
    ) -> Option<DateTime<Utc>> {
        let before = before.min(from + AHEAD_MAX);
        let (mut opens_at, mut minute) = (from, start_of_minute(from));
        while opens_at < before {
            let next = minute + MINUTE;
            if !self.is_open(minute) {
                opens_at = next;
            } else if next >= opens_at + duration {
                return Some(opens_at);
            }
            minute = next;
        }
        None
    }

    fn is_open(&self, minute: DateTime<Utc>) -> bool {
        let there = minute.with_timezone(&self.zone);
        self.open.iter().any(|open| open.include(&there))
    }
}

impl Calendar {
    fn of(schedule: &cron::Schedule) -> Self {
        Self {
            minutes: bits(schedule.minutes()),
            hours: bits(schedule.hours()),
            days: bits(schedule.days_of_month()),
            months: bits(schedule.months()),
            weekdays: bits(schedule.days_of_week()),
        }
    }

    fn include(&self, there: &DateTime<Tz>) -> bool {
        let fields = [
            (self.minutes, there.minute()),
            (self.hours, there.hour()),
            (self.days, there.day()),
            (self.months, there.month()),
            (self.weekdays, there.weekday().number_from_sunday()),
        ];
        fields.into_iter().all(|(bits, value)| bits & (1 << value) != 0)
    }
}

fn bits(field: &impl TimeUnitSpec) -> u64 {
    (0..60).filter(|value| field.includes(*value)).fold(0, |bits, value| bits | 1 << value)
}

fn start_of_minute(at: DateTime<Utc>) -> DateTime<Utc> {
    // Fails for years that no clock shows only.
    at.duration_trunc(MINUTE).unwrap_or(at)
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written: Vec<String> = self.written.iter().map(|text| format!("'{text}'")).collect();
        write!(f, "{} ({})", written.join(" or "), self.zone)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hours(zone: &str, expressions: &[&str]) -> Hours {
        let read = |text: &&str| ((*text).to_owned(), format!("0 {text}").parse().unwrap());
        Hours::new(zone.parse().unwrap(), expressions.iter().map(read).collect())
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn window(opens_at: &str, closes_at: &str) -> Window {
        Window::recorded(at(opens_at), at(closes_at)).unwrap()
    }

    fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(60 * minutes)
    }

    #[test]
    fn every_minute_of_a_window_has_to_be_open() {
        let office = hours("Europe/Berlin", &["* 9-16 * * Mon-Fri"]);
        // Berlin is an hour ahead in November; the 6th is a Friday.
        for (opens_at, closes_at, lies_in) in [
            ("2026-11-06T08:00:00Z", "2026-11-06T16:00:00Z", true),
            ("2026-11-06T07:59:59.999Z", "2026-11-06T09:00:00Z", false),
            ("2026-11-06T15:00:00Z", "2026-11-06T16:00:00.001Z", false),
            ("2026-11-06T15:59:59Z", "2026-11-06T16:00:00Z", true),
            ("2026-11-07T10:00:00Z", "2026-11-07T11:00:00Z", false),
            ("2026-11-06T10:00:00Z", "2026-11-09T10:00:00Z", false),
        ] {
            assert_eq!(office.contain(window(opens_at, closes_at)), lies_in, "{opens_at} to {closes_at}");
        }
    }

    #[test]
    fn one_expression_may_go_on_where_another_ends() {
        let nights = hours("UTC", &["* 22-23 * * Fri", "* 0-3 * * Sat"]);
        assert!(nights.contain(window("2026-11-06T22:00:00Z", "2026-11-07T04:00:00Z")));
        assert!(!nights.contain(window("2026-11-07T22:00:00Z", "2026-11-07T23:00:00Z")));
        assert_eq!(nights.to_string(), "'* 22-23 * * Fri' or '* 0-3 * * Sat' (UTC)");
    }

    #[test]
    fn hours_follow_the_zone_when_clocks_are_set() {
        let office = hours("Europe/Berlin", &["* 9-16 * * *"]);
        assert!(office.contain(window("2026-10-24T07:00:00Z", "2026-10-24T15:00:00Z")), "summer time");
        assert!(office.contain(window("2026-10-25T08:00:00Z", "2026-10-25T16:00:00Z")), "winter time");
        // 02:00 to 03:00 comes twice on the 25th of October, and not at all on the 29th of March.
        let small = hours("Europe/Berlin", &["* 2 * * *"]);
        assert!(small.contain(window("2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z")));
        assert_eq!(
            small.first_fit(at("2026-03-29T00:00:00Z"), at("2026-03-31T00:00:00Z"), minutes(60)),
            Some(at("2026-03-30T00:00:00Z")),
        );
    }

    #[test]
    fn the_first_fit_is_now_or_the_start_of_a_minute() {
        let office = hours("UTC", &["* 9-16 * * Mon-Fri"]);
        let fit = |from: &str, before: &str, length| office.first_fit(at(from), at(before), minutes(length));
        let friday = "2026-11-06T16:00:00.500Z";
        assert_eq!(fit(friday, "2026-11-06T16:01:00Z", 59), Some(at(friday)));
        assert_eq!(fit(friday, "2026-11-10T00:00:00Z", 60), Some(at("2026-11-09T09:00:00Z")));
        assert_eq!(fit(friday, "2026-11-09T09:00:00Z", 60), None, "it must open before the bound");
        assert_eq!(fit(friday, "2026-12-24T00:00:00Z", 8 * 60), Some(at("2026-11-09T09:00:00Z")));
        assert_eq!(fit(friday, "2026-12-24T00:00:00Z", 8 * 60 + 1), None, "longer than any day's hours");
        assert_eq!(fit(friday, friday, 1), None);
    }

    proptest! {
        /// Against the crate's own idea of when an expression comes true.
        #[test]
        fn minutes_are_those_that_cron_knows(
            minute in 29_000_000_i64..31_000_000,
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe"]),
            expression in prop::sample::select(vec!["* 9-16 * * Mon-Fri", "*/7 0,23 1-7 * *", "30-59 * 31 12 *", "* * * 2 Sun"]),
        ) {
            let zone: Tz = zone.parse().unwrap();
            let schedule: cron::Schedule = format!("0 {expression}").parse().unwrap();
            let there = DateTime::from_timestamp(minute * 60, 0).unwrap().with_timezone(&zone);
            let open = Hours::new(zone, vec![(expression.to_owned(), schedule.clone())]).is_open(there.to_utc());
            prop_assert_eq!(open, schedule.includes(there));
        }

        /// A fit is one, and nothing before it is.
        #[test]
        fn the_first_fit_fits(start in 29_000_000_i64..29_100_000, offset in 0_i64..60_000, length in 1_u64..500) {
            let office = hours("America/New_York", &["* 9-16 * * Mon-Fri", "15-44 20 * * *"]);
            let from = DateTime::from_timestamp_millis(start * 60_000 + offset).unwrap();
            let end = from + TimeDelta::days(3);
            let found = office.first_fit(from, end, minutes(length));
            if let Some(opens_at) = found {
                prop_assert!(office.contain(Window::open(opens_at, minutes(length))));
            }
            let mut before = from;
            while before < found.unwrap_or(end) {
                prop_assert!(!office.contain(Window::open(before, minutes(length))), "{before}");
                before = start_of_minute(before) + MINUTE;
            }
        }
    }
}
