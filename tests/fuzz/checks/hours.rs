//! Hours and schedules: twelve bytes say when and how long; behind them stand a time zone and cron expressions, one on each
//! line.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;
use hallpass::{
    access::{hours::Hours, window::Window},
    schedule::{Schedule, minutes},
};

/// From 1971 to 2099: the calendar of the `cron` crate goes from 1970 to 2100, in any zone.
const MINUTES: std::ops::Range<u32> = 525_600..67_800_000;
/// Two days, so that a thousand inputs take no minute.
const BEFORE_MAX: u16 = 2 * 24 * 60;

pub fn check(input: &[u8]) {
    let Some((head, text)) = input.split_first_chunk::<12>() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let [m0, m1, m2, m3, ms0, ms1, len0, len1, ahead0, ahead1, other0, other1] = *head;
    let minute = MINUTES.start + u32::from_le_bytes([m0, m1, m2, m3]) % (MINUTES.end - MINUTES.start);
    let millis = u16::from_le_bytes([ms0, ms1]) % 60_000;
    let from = at(minute) + TimeDelta::milliseconds(i64::from(millis));
    let length = Duration::from_secs(u64::from(u16::from_le_bytes([len0, len1]).max(1)) * 3);
    let before = from + TimeDelta::minutes(i64::from(u16::from_le_bytes([ahead0, ahead1]) % BEFORE_MAX));
    let other = i64::from(u16::from_le_bytes([other0, other1]));
    let mut lines = text.split('\n');
    let zone = lines.next().unwrap_or_default().parse::<Tz>();
    let expressions: Vec<&str> = lines.take(4).collect();
    for expression in &expressions {
        check_schedule(expression, from);
    }
    let read = |text: &&str| minutes(text).map(|read| ((*text).to_owned(), read));
    let (Ok(zone), Ok(open)) = (zone, expressions.iter().map(read).collect::<Result<Vec<_>, _>>()) else {
        return;
    };
    check_minute(zone, &open, minute);
    check_fit(&Hours::new(zone, open), from, before, length, other);
}

fn at(minute: u32) -> DateTime<Utc> {
    DateTime::from_timestamp(i64::from(minute) * 60, 0).unwrap()
}

fn check_schedule(expression: &str, now: DateTime<Utc>) {
    let Ok(schedule) = expression.parse::<Schedule>() else {
        assert!(minutes(expression).is_err(), "minutes of no schedule");
        return;
    };
    let (first, five) = (schedule.next_after(now), expression.split_whitespace().count() == 5);
    // The calendar may end before it comes true again, as the 29th of February does in 2096: an hour later then.
    let is_beyond = first == now + TimeDelta::hours(1);
    assert!(first > now && (is_beyond || first.nanosecond() == 0));
    assert!(
        !schedule.is_hourly() || first - now <= TimeDelta::hours(1),
        "hourly, and {first} comes after {now}"
    );
    assert_eq!(minutes(expression).is_ok(), five, "five fields, and no others, say minutes");
    assert!(!five || is_beyond || first.second() == 0);
}

/// Whether a minute is open, against the crate's own idea of when an expression comes true.
fn check_minute(zone: Tz, open: &[(String, cron::Schedule)], minute: u32) {
    let there = at(minute).with_timezone(&zone);
    // A zone that is some seconds off has minutes that begin in the middle; expressions have no seconds.
    if there.second() != 0 {
        return;
    }
    let is_open = open.iter().any(|(_, schedule)| schedule.includes(there));
    let window = Window::open(at(minute), Duration::from_mins(1));
    assert_eq!(Hours::new(zone, open.to_vec()).contain(window), is_open, "{there}");
}

/// The first fit fits, and nothing before it does.
fn check_fit(hours: &Hours, from: DateTime<Utc>, before: DateTime<Utc>, length: Duration, other: i64) {
    let found = hours.first_fit(from, before, length);
    if let Some(opens_at) = found {
        assert!(from <= opens_at && opens_at < before);
        assert!(hours.contain(Window::open(opens_at, length)), "{opens_at} doesn't fit");
        assert!(hours.contain(Window::open(opens_at, length / 2 + Duration::from_millis(1))), "half of it");
    }
    let end = found.unwrap_or(before);
    let span = (end - from).num_milliseconds();
    let some = |nth: i64| from + TimeDelta::milliseconds(span * nth / 65_536);
    for earlier in [from, some(other), some(65_535)].into_iter().filter(|earlier| *earlier < end) {
        assert!(!hours.contain(Window::open(earlier, length)), "{earlier} fits, before {found:?}");
    }
}
