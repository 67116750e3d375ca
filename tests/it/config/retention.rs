//! `[retention]`: nobody erases by mistake what is hardly over.

use chrono::{DateTime, Utc};

use super::{GOOD, Place, refused};

#[test]
fn texts_are_kept_for_ever_or_for_a_month_at_least() {
    assert_eq!(Place::new().load(GOOD).unwrap().retention.texts_for, None);
    let retention = |lines: &str| format!("{GOOD}[retention]\n{lines}\n");
    for (text, days) in [("30days", 30), ("100years", 36_525), ("3years", 1095)] {
        let config = Place::new().load(&retention(&format!("texts_for = \"{text}\""))).unwrap();
        let kept_for = config.retention.texts_for.unwrap();
        assert_eq!(kept_for.as_secs() / (24 * 3600), days, "{text}");
    }
    for bad in ["29days 23h", "0s", "101years"] {
        let text = retention(&format!("texts_for = \"{bad}\""));
        refused(&text, "retention.texts_for", "must be from 30days to 100years");
    }
    let daily = retention("schedule = \"0 3 * * *\"");
    let noon = "2026-11-03T12:00:00Z".parse().unwrap();
    let next_after = |text: &str| Place::new().load(text).unwrap().retention.schedule.next_after(noon);
    assert_eq!(next_after(&daily), "2026-11-04T03:00:00Z".parse::<DateTime<Utc>>().unwrap());
    assert_eq!(next_after(GOOD), "2026-11-04T03:40:00Z".parse::<DateTime<Utc>>().unwrap());
    refused(&retention("schedule = \"0 0 30 2 *\""), "retention.schedule", "never comes true");
}
