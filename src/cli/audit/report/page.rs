//! The page, from its head to its end.

use std::{collections::BTreeMap, fmt::Write as _, str::FromStr};

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, Utc};

use super::{chart, html};
use crate::{
    cli::{
        audit::{
            dossier::{Part, dossier},
            summary,
        },
        name,
        time::{self, Times},
    },
    wire::{Exception, RequestFilter, RequestState, SummarizeExceptionsResponse},
};

/// No script, nothing from elsewhere, nothing sent anywhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const STYLE: &str = "\
body{font:14px/1.45 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222;background:#fff}
h1{font-size:1.6em}h2{font-size:1.2em;border-bottom:1px solid #bbb;margin-top:2em}h3{font-size:1em;margin-bottom:.3em}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1em 1em;margin:.5em 0}dt{color:#666}
dd{margin:0;white-space:pre-wrap;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}th{text-align:left;color:#666;font-weight:normal}
td,th{padding:.15em .8em .15em 0;vertical-align:top;border-bottom:1px solid #eee;overflow-wrap:anywhere}
.good{color:#176b2c}.open{color:#8a5a00}.bad{color:#a3201c}
svg{width:100%;height:auto}svg text{font-size:11px;fill:#444}
rect.granted{fill:#2f6f9f}rect.denied{fill:#a3201c}rect.otherwise{fill:#bbb}
section{break-inside:avoid-page}footer{margin-top:3em;color:#666}
@page{margin:15mm}@media print{body{max-width:none;margin:0;font-size:11px}h2{break-after:avoid}}
";

/// A month, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Month(NaiveDate);

impl Month {
    /// The one in which this is.
    #[must_use]
    pub fn of(at: DateTime<Utc>) -> Self {
        Self(at.date_naive().with_day(1).unwrap_or_default())
    }

    /// The one before the one in which this is.
    #[must_use]
    pub fn before(at: DateTime<Utc>) -> Self {
        let Self(first) = Self::of(at);
        Self(first.checked_sub_months(Months::new(1)).unwrap_or(first))
    }

    /// Its first instant, and the next month's.
    #[must_use]
    pub fn bounds(self) -> (DateTime<Utc>, DateTime<Utc>) {
        let next = self.0.checked_add_months(Months::new(1)).unwrap_or(self.0);
        (self.0.and_time(NaiveTime::MIN).and_utc(), next.and_time(NaiveTime::MIN).and_utc())
    }

    /// The exceptions that were requested in it.
    #[must_use]
    pub fn filter(self) -> RequestFilter {
        let (from, until) = self.bounds();
        RequestFilter {
            submitted_from: Some(time::timestamp(from)),
            submitted_until: Some(time::timestamp(until)),
            ..RequestFilter::default()
        }
    }

    /// What its report is called.
    #[must_use]
    pub fn file_name(self) -> String {
        format!("hallpass-{self}.html")
    }
}

impl std::fmt::Display for Month {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.format("%Y-%m"))
    }
}

impl FromStr for Month {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let month = NaiveDate::parse_from_str(&format!("{text}-01"), "%Y-%m-%d").map(Self);
        let month = month.ok().filter(|month| month.to_string() == text);
        month.ok_or_else(|| "must be a year and a month, like 2026-10".to_owned())
    }
}

/// What came of the requests of one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Day {
    granted: u64,
    denied: u64,
    otherwise: u64,
}

/// What is counted for the charts while all are looked through.
#[derive(Clone, Debug, Default)]
pub struct Numbers(BTreeMap<NaiveDate, Day>);

impl Numbers {
    /// Counts one more.
    pub fn count(&mut self, exception: &Exception) {
        let Some(request) = &exception.request else { return };
        let Some(at) = time::instant(request.submitted_at.as_ref()) else { return };
        let day = self.0.entry(at.date_naive()).or_default();
        match request.state() {
            RequestState::Claimed => day.granted += 1,
            RequestState::Denied => day.denied += 1,
            _ => day.otherwise += 1,
        }
    }

    fn bars(&self, month: Month) -> Vec<(String, Vec<chart::Part>)> {
        let days = month.0.iter_days().take_while(|day| day.month() == month.0.month());
        let bar = |day: NaiveDate| {
            let Day { granted, denied, otherwise } = self.0.get(&day).copied().unwrap_or_default();
            let parts = vec![("granted", granted), ("denied", denied), ("otherwise", otherwise)];
            (day.day().to_string(), parts)
        };
        days.map(bar).collect()
    }
}

/// The page up to the first exception.
#[must_use]
pub fn head(
    month: Month,
    made_at: DateTime<Utc>,
    totals: &SummarizeExceptionsResponse,
    numbers: &Numbers,
) -> String {
    let title = format!("Exceptions of {month}");
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
         <p>All access to production that was requested in {month} (UTC), made {} from hallpass's record. \
         Times are in UTC; a place in the log is the number of an audit event.</p>\n<h2>In numbers</h2>\n",
        made_at.format("%Y-%m-%d %H:%M:%S")
    );
    page.push_str(&html::block(&summary::block(totals)));
    page.push_str(&chart::standing("Requests by day, and what came of them", &numbers.bars(month)));
    let hours = totals.targets.iter().map(|named| {
        let held = named.totals.unwrap_or_default().held;
        let seconds = held.as_ref().map_or(0, |held| held.seconds).unsigned_abs();
        (name::last(&named.name).to_owned(), seconds, summary::hours(held.as_ref()))
    });
    page.push_str(&chart::lying("Hours of access held, by target", "hours", hours.collect()));
    for (title, named) in [("TARGET", &totals.targets), ("GROUP", &totals.groups)] {
        page.push_str(&html::grid(&summary::grid(title, named)));
    }
    page
}

/// One exception's dossier.
#[must_use]
pub fn exception(exception: &Exception, made_at: DateTime<Utc>) -> String {
    let mut page = format!("<h2>{}</h2>\n", html::text(&exception.name));
    for (title, part) in dossier(exception, &Times::utc(made_at)) {
        let shown = match part {
            Part::Block(block) => html::block(&block),
            Part::Grid(grid) => html::grid(&grid),
            Part::Text(text) => format!("<p>{}</p>\n", html::text(&text)),
        };
        let _ = write!(page, "<section>\n<h3>{}</h3>\n{shown}</section>\n", html::text(title));
    }
    page
}

/// The end of the page. A page without it isn't whole.
#[must_use]
pub fn end(count: u64) -> String {
    format!("<footer>{count} exceptions. This is the end of the report.</footer>\n</body>\n</html>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(text: &str) -> Month {
        text.parse().unwrap()
    }

    #[test]
    fn a_month_is_read_and_ends_where_the_next_begins() {
        let (from, until) = month("2024-02").bounds();
        assert_eq!((until - from).num_days(), 29);
        assert_eq!(month("2026-12").bounds().1, month("2027-01").bounds().0);
        for bad in ["2026", "2026-13", "2026-1", "26-01", "2026-10-01", "", "x"] {
            assert!(bad.parse::<Month>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_month_before_is_that_of_the_calendar() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        assert_eq!(Month::before(at("2026-01-01T00:00:00Z")), month("2025-12"));
        assert_eq!(Month::before(at("2026-03-31T23:59:59Z")), month("2026-02"));
    }

    #[test]
    fn every_day_has_a_bar() {
        let mut numbers = Numbers::default();
        let mut request = crate::wire::Request {
            submitted_at: Some(time::timestamp(month("2026-10").bounds().0)),
            ..Default::default()
        };
        for state in [RequestState::Claimed, RequestState::Denied, RequestState::Lapsed] {
            request.set_state(state);
            numbers.count(&Exception { request: Some(request.clone()), ..Default::default() });
        }
        let bars = numbers.bars(month("2026-10"));
        assert_eq!(bars.len(), 31);
        assert_eq!(bars[0], ("1".to_owned(), vec![("granted", 1), ("denied", 1), ("otherwise", 1)]));
        assert_eq!(bars[30], ("31".to_owned(), vec![("granted", 0), ("denied", 0), ("otherwise", 0)]));
    }

    #[test]
    fn the_page_is_whole_and_needs_nothing() {
        let (month, numbers) = (month("2026-10"), Numbers::default());
        let page = head(month, month.bounds().1, &SummarizeExceptionsResponse::default(), &numbers)
            + &exception(&Exception::default(), month.bounds().1)
            + &end(1);
        for tag in ["html", "body", "head", "style", "svg", "section", "table", "dl"] {
            let opened =
                page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
        for elsewhere in ["<script", "src=", "href=", "url(", "@import"] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
    }
}
