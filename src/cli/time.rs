//! Times and lengths of time, as people read and write them.
//!
//! The present and the zone are handed in. A time that isn't set is never rendered: not as 1970, not as "never".

use std::time::Duration;

use chrono::{DateTime, FixedOffset, Local, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use prost_types::Timestamp;

/// The longest length of time that is accepted anywhere: ten years, so that no addition can overflow.
const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);
/// Units, largest first, in seconds.
const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];

/// What is needed to show a time: the present and the zone.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    now: DateTime<Utc>,
    zone: fn(DateTime<Utc>) -> DateTime<FixedOffset>,
    /// Whether it is said how far a time is from the present.
    relative: bool,
}

impl Times {
    /// Shows times in the local zone.
    #[must_use]
    pub fn local(now: DateTime<Utc>) -> Self {
        Self { now, zone: |at| at.with_timezone(&Local).fixed_offset(), relative: true }
    }

    /// Shows times in UTC, for what is read long after it was made.
    #[must_use]
    pub fn utc(now: DateTime<Utc>) -> Self {
        Self { now, zone: |at| at.fixed_offset(), relative: false }
    }

    /// `2026-11-23 14:05:09 +01:00 (in 42m)`, or nothing if the time isn't set.
    #[must_use]
    pub fn show(&self, at: Option<&Timestamp>) -> Option<String> {
        let at = instant(at)?;
        let absolute = self.absolute(at);
        Some(if self.relative { format!("{absolute} ({})", relative(at, self.now, 2)) } else { absolute })
    }

    /// `in 23h` or `3m ago`, for narrow columns: one unit only; empty if the time isn't set.
    #[must_use]
    pub fn distance(&self, at: Option<&Timestamp>) -> String {
        instant(at).map(|at| relative(at, self.now, 1)).unwrap_or_default()
    }

    /// `2026-11-23 14:05:09`, for columns of past times; empty if the time isn't set.
    #[must_use]
    pub fn short(&self, at: Option<&Timestamp>) -> String {
        let at = instant(at);
        at.map(|at| (self.zone)(at).format("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default()
    }

    fn absolute(&self, at: DateTime<Utc>) -> String {
        (self.zone)(at).format("%Y-%m-%d %H:%M:%S %:z").to_string()
    }
}

/// A time from the wire. The zero value is what a program sends that forgot to set it, so it counts as not set.
#[must_use]
pub fn instant(at: Option<&Timestamp>) -> Option<DateTime<Utc>> {
    let at = at.filter(|at| at.seconds != 0 || at.nanos != 0)?;
    DateTime::from_timestamp(at.seconds, u32::try_from(at.nanos).ok()?)
}

/// A time for the wire.
#[must_use]
pub fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: at.timestamp(), nanos: at.timestamp_subsec_nanos().cast_signed() }
}

/// `1h 30m`: days, hours, minutes and seconds, without those that are zero.
#[must_use]
pub fn length(duration: Duration) -> String {
    parts(duration.as_secs(), UNITS.len())
}

/// A length of time from the wire; nothing if it isn't set or negative.
#[must_use]
pub fn wire_length(duration: Option<&prost_types::Duration>) -> Option<String> {
    duration.and_then(|duration| Duration::try_from(*duration).ok()).map(length)
}

/// Reads a length of time: `90m`, `1h30m`, `2 days`.
///
/// # Errors
///
/// If it isn't one, is zero, or is beyond ten years.
pub fn parse_length(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write for example `90m`, `1h30m` or `45s`"))?;
    if duration.is_zero() || duration > LONGEST {
        return Err("it has to be more than nothing and at most ten years".into());
    }
    Ok(duration)
}

/// Reads the length of a window: whole seconds.
///
/// # Errors
///
/// As [`parse_length`], and if it has a fraction of a second.
pub fn parse_window(text: &str) -> Result<Duration, String> {
    let duration = parse_length(text)?;
    if duration.subsec_nanos() != 0 {
        return Err("it has to be whole seconds".into());
    }
    Ok(duration)
}

/// A length of time as it is sent.
///
/// # Errors
///
/// If it is longer than can be sent: millennia.
pub fn wire_duration(length: Duration) -> Result<prost_types::Duration, String> {
    prost_types::Duration::try_from(length).map_err(|_| "the duration is too long".into())
}

/// Reads a time: RFC 3339, or a date, which stands for its first instant in the local zone.
///
/// # Errors
///
/// If it is neither.
pub fn parse_instant(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.to_utc());
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .map_err(|_| "write a date like 2026-11-23 or a time like 2026-11-23T14:05:00+01:00".to_owned())?;
    start_of_day(date, &Local).ok_or_else(|| "there is no such day in the local zone".into())
}

/// Some zones skip midnight when summer time begins; the day starts an hour later there.
fn start_of_day<Z: TimeZone>(date: NaiveDate, zone: &Z) -> Option<DateTime<Utc>> {
    let midnight = date.and_time(NaiveTime::MIN);
    let start = |at| zone.from_local_datetime(&at).earliest();
    start(midnight).or_else(|| start(midnight + TimeDelta::hours(1))).map(|at| at.to_utc())
}

/// Rounded down to so many units, so that "in 42m" never promises more than there is.
fn relative(at: DateTime<Utc>, now: DateTime<Utc>, units: usize) -> String {
    let distance = at - now;
    let text = parts(distance.abs().num_seconds().unsigned_abs(), units);
    if distance >= TimeDelta::zero() { format!("in {text}") } else { format!("{text} ago") }
}

fn parts(mut seconds: u64, most: usize) -> String {
    let mut parts = Vec::new();
    for (unit, suffix) in UNITS {
        let count = seconds / unit;
        seconds %= unit;
        if count > 0 {
            parts.push(format!("{count}{suffix}"));
        } else if !parts.is_empty() && most == 2 {
            // "1d 5s" would pretend to a precision that the rounding doesn't have.
            break;
        }
        if parts.len() == most {
            break;
        }
    }
    if parts.is_empty() { "0s".into() } else { parts.join(" ") }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Times an hour ahead of UTC.
    pub fn times(now: &str) -> Times {
        let zone = |at: DateTime<Utc>| at.with_timezone(&FixedOffset::east_opt(3600).unwrap());
        Times { now: now.parse().unwrap(), zone, relative: true }
    }

    fn at(text: &str) -> Timestamp {
        timestamp(text.parse().unwrap())
    }

    #[test]
    fn times_come_with_the_zone_and_the_time_left() {
        let times = times("2026-11-23T12:23:09Z");
        let closes = at("2026-11-23T13:05:09Z");
        assert_eq!(times.show(Some(&closes)).unwrap(), "2026-11-23 14:05:09 +01:00 (in 42m)");
        let begun = at("2026-11-23T12:20:09Z");
        assert_eq!(times.show(Some(&begun)).unwrap(), "2026-11-23 13:20:09 +01:00 (3m ago)");
        assert_eq!(times.short(Some(&begun)), "2026-11-23 13:20:09");
    }

    /// Defect 17: unset times rendered as years.
    #[test]
    fn defect_17_a_time_that_is_not_set_is_never_rendered() {
        let times = times("2026-11-23T12:00:00Z");
        for unset in [None, Some(Timestamp::default()), Some(Timestamp { seconds: i64::MAX, nanos: 0 })] {
            assert_eq!(times.show(unset.as_ref()), None, "{unset:?}");
            assert_eq!(times.distance(unset.as_ref()), "");
            assert_eq!(times.short(unset.as_ref()), "");
        }
        assert_eq!(wire_length(None), None);
        assert_eq!(wire_length(Some(&prost_types::Duration { seconds: -5, nanos: 0 })), None);
    }

    #[test]
    fn distances_have_two_neighbouring_units_and_never_round_up() {
        let now: DateTime<Utc> = "2026-11-23T12:00:00Z".parse().unwrap();
        let cases =
            [(0, "in 0s"), (59, "in 59s"), (5_459, "in 1h 30m"), (86_405, "in 1d"), (-61, "1m 1s ago")];
        for (seconds, text) in cases {
            assert_eq!(relative(now + TimeDelta::seconds(seconds), now, 2), text);
        }
        assert_eq!(relative(now + TimeDelta::milliseconds(1_999), now, 2), "in 1s");
        assert_eq!(relative(now + TimeDelta::seconds(5_459), now, 1), "in 1h");
    }

    #[test]
    fn lengths_are_read_and_shown() {
        for text in ["90m", "1h30m", "1h 30m", "5400s"] {
            assert_eq!(length(parse_length(text).unwrap()), "1h 30m", "{text}");
        }
        assert_eq!(length(Duration::from_secs(86_405)), "1d 5s");
        for text in ["", "90", "-5m", "0s", "20years", "soon"] {
            assert!(parse_length(text).is_err(), "{text}");
        }
        assert!(parse_window("1500ms").is_err());
        assert!(parse_window("1500s").is_ok());
    }

    #[test]
    fn a_date_is_its_first_instant() {
        let zone = FixedOffset::east_opt(3600).unwrap();
        let date = NaiveDate::from_ymd_opt(2026, 11, 23).unwrap();
        assert_eq!(start_of_day(date, &zone).unwrap().to_rfc3339(), "2026-11-22T23:00:00+00:00");
        assert_eq!(
            parse_instant("2026-11-23T14:05:00+01:00").unwrap().to_rfc3339(),
            "2026-11-23T13:05:00+00:00"
        );
        assert!(parse_instant("2026-11-23").is_ok());
        for text in ["", "yesterday", "2026-02-30", "2026-11-23 14:05"] {
            assert!(parse_instant(text).is_err(), "{text}");
        }
    }
}
