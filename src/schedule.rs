//! When work that recurs is due, by a cron expression. In UTC, so that no change to or from summer time skips or
//! repeats anything. It computes instants; it neither asks for the time nor sleeps.
//!
//! The `cron` crate reads six fields, seconds first, or seven, with years at the end, and `@hourly` and its like. The
//! five fields of `crontab(5)` are read too, as if a `0` for the seconds stood in front. Two differences to `crontab(5)`
//! are left:
//!
//! - Days of the week have names only (`Mon`, `Mon-Fri`): cron counts them from Sunday = 0, the crate from Sunday = 1,
//!   and a number would silently mean another day.
//! - Where both the day of the month and the day of the week are restricted, both must match, not either.

use std::{str::FromStr, time::Duration};

use chrono::{DateTime, Utc};
use cron::TimeUnitSpec;

/// What is assumed beyond the end of the crate's calendar, the year 2100.
const AFTER_THE_CALENDAR: Duration = Duration::from_hours(1);

/// Why a text is no schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSchedule {
    /// It can't be read.
    #[error(
        "is not a cron expression: write minute, hour, day, month and weekday, like \"*/5 * * * *\", with seconds \
         before them if need be"
    )]
    Syntax,
    /// It doesn't have the five fields that say which minutes are meant.
    #[error("must have the five fields minute, hour, day, month and weekday, like \"* 9-16 * * Mon-Fri\"")]
    Minutes,
    /// It has the number of a day of the week.
    #[error("must name days of the week (Sun, Mon-Fri), because crons disagree about their numbers")]
    NumberedWeekday,
    /// It is bound to some years.
    #[error("must not be bound to years, or one day it would stop; leave the seventh field out")]
    Ends,
    /// No day matches.
    #[error("never comes true; check the day and the month")]
    Never,
}

/// A schedule that never stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(cron::Schedule);

impl Schedule {
    /// The first due instant after `now`, in whole seconds. After 2100, where the crate knows no more: an hour later.
    #[must_use]
    pub fn next_after(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.0.after(&now).next().unwrap_or_else(|| now + AFTER_THE_CALENDAR)
    }

    /// Whether it comes true at least once in each hour of each day: no more than an hour lies between two instants
    /// then, and only then.
    #[must_use]
    pub fn is_hourly(&self) -> bool {
        let days =
            self.0.months().is_all() && self.0.days_of_month().is_all() && self.0.days_of_week().is_all();
        days && self.0.hours().is_all()
    }
}

impl FromStr for Schedule {
    type Err = BadSchedule;

    fn from_str(text: &str) -> Result<Self, BadSchedule> {
        parse(text).map(Self)
    }
}

/// Reads the minutes that an expression of five fields matches.
///
/// # Errors
///
/// If it isn't one, or never comes true.
pub fn minutes(text: &str) -> Result<cron::Schedule, BadSchedule> {
    if text.split_whitespace().count() == 5 { parse(text) } else { Err(BadSchedule::Minutes) }
}

fn parse(text: &str) -> Result<cron::Schedule, BadSchedule> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    // The crate reads on across blanks beside these, so that fields could be counted wrongly.
    if fields.iter().any(|field| field.starts_with([',', '-', '/']) || field.ends_with([',', '-', '/'])) {
        return Err(BadSchedule::Syntax);
    }
    let (expression, weekday) = match fields.as_slice() {
        [shorthand] => ((*shorthand).to_owned(), ""),
        [_, _, _, _, weekday] => (format!("0 {}", fields.join(" ")), *weekday),
        [_, _, _, _, _, weekday] | [_, _, _, _, _, weekday, _] => (fields.join(" "), *weekday),
        _ => return Err(BadSchedule::Syntax),
    };
    if weekday.contains(|c: char| c.is_ascii_digit()) {
        return Err(BadSchedule::NumberedWeekday);
    }
    let schedule: cron::Schedule = expression.parse().map_err(|_| BadSchedule::Syntax)?;
    if !schedule.years().is_all() {
        return Err(BadSchedule::Ends);
    }
    match schedule.after(&DateTime::UNIX_EPOCH).next() {
        Some(_) => Ok(schedule),
        None => Err(BadSchedule::Never),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn next(expression: &str, now: &str) -> DateTime<Utc> {
        expression.parse::<Schedule>().unwrap().next_after(at(now))
    }

    #[test]
    fn the_next_instant_lies_strictly_after_now() {
        for (expression, now, then) in [
            ("0 * * * * *", "2026-11-03T10:00:00Z", "2026-11-03T10:01:00Z"),
            ("0 * * * * *", "2026-11-03T10:00:00.001Z", "2026-11-03T10:01:00Z"),
            ("0 * * * * *", "2026-11-03T09:59:59.999Z", "2026-11-03T10:00:00Z"),
            ("* * * * * *", "2026-11-03T10:00:00.999Z", "2026-11-03T10:00:01Z"),
            ("*/30 * * * * *", "2026-11-03T10:00:00Z", "2026-11-03T10:00:30Z"),
            ("@hourly", "2026-11-03T10:59:59Z", "2026-11-03T11:00:00Z"),
        ] {
            assert_eq!(next(expression, now), at(then), "{expression} after {now}");
        }
    }

    #[test]
    fn five_fields_are_those_of_crontab() {
        assert_eq!(next("*/5 * * * *", "2026-11-03T10:02:30Z"), at("2026-11-03T10:05:00Z"));
        assert_eq!(next("  30   4 * * Mon ", "2026-11-03T10:00:00Z"), at("2026-11-09T04:30:00Z"));
    }

    #[test]
    fn years_months_and_leap_days_end() {
        for (expression, now, then) in [
            ("0 * * * *", "2026-12-31T23:30:00Z", "2027-01-01T00:00:00Z"),
            ("0 0 * * *", "2028-02-28T12:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 * * *", "2027-02-28T12:00:00Z", "2027-03-01T00:00:00Z"),
            ("0 0 29 2 *", "2026-03-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 29 2 *", "2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"),
            ("0 0 31 * *", "2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z"),
            ("59 23 31 12 *", "2026-12-31T23:59:00Z", "2027-12-31T23:59:00Z"),
        ] {
            assert_eq!(next(expression, now), at(then), "{expression} after {now}");
        }
    }

    #[test]
    fn the_end_of_the_calendar_stops_nothing() {
        assert_eq!(next("0 * * * * *", "2101-01-01T00:00:00Z"), at("2101-01-01T01:00:00Z"));
    }

    #[test]
    fn what_is_unclear_or_ends_is_refused() {
        for (text, why) in [
            ("", BadSchedule::Syntax),
            ("often", BadSchedule::Syntax),
            ("@often", BadSchedule::Syntax),
            ("* * * *", BadSchedule::Syntax),
            ("60 * * * *", BadSchedule::Syntax),
            ("*/0 * * * *", BadSchedule::Syntax),
            ("1 , 2 * * * *", BadSchedule::Syntax),
            ("0 0 * * * * * *", BadSchedule::Syntax),
            ("0 0 * * 1", BadSchedule::NumberedWeekday),
            ("0 0 0 * * 1-5", BadSchedule::NumberedWeekday),
            ("0 0 0 * * * 2027", BadSchedule::Ends),
            ("0 0 30 2 *", BadSchedule::Never),
        ] {
            assert_eq!(text.parse::<Schedule>().unwrap_err(), why, "{text}");
        }
    }

    #[test]
    fn hourly_means_no_longer_pause_than_an_hour() {
        for (text, hourly) in [
            ("0 * * * * *", true),
            ("17 * * * *", true),
            ("@hourly", true),
            ("0 0 0-23 * * Sun-Sat *", true),
            ("* 0-22 * * *", false),
            ("*/5 * * * Mon-Fri", false),
            ("*/5 * 1-30 * *", false),
            ("@daily", false),
        ] {
            assert_eq!(text.parse::<Schedule>().unwrap().is_hourly(), hourly, "{text}");
        }
    }

    proptest! {
        /// Against the plainest search there is: minute by minute.
        #[test]
        fn nothing_due_is_skipped(
            minute in 28_000_000_i64..66_000_000,
            expression in prop::sample::select(vec!["* * * * *", "*/7 * * * *", "5,40 */5 * * *", "30 3,22 * * *"]),
        ) {
            let schedule: Schedule = expression.parse().unwrap();
            let now = DateTime::from_timestamp(minute * 60, 0).unwrap();
            let plain =
                (1..=1440).map(|step| now + TimeDelta::minutes(step)).find(|&at| schedule.0.includes(at));
            prop_assert_eq!(Some(schedule.next_after(now)), plain);
        }
    }
}
