//! `[schedule]`, `[reconcile]`, `[retention]`, `[report]` and `[alarm]`: what the daemon does by itself, when, and what it
//! tells of it.

use std::{path::PathBuf, time::Duration};

use crate::{access::retention::TEXTS_FOR_MIN, schedule::Schedule};

use super::{section::Section, value};

/// Each minute, because a sweep with nothing to do costs next to nothing.
const SWEEP: &str = "'0 * * * * *'";
/// Every five minutes, and not when everybody else's crons run: one list for each path.
const RECONCILE: &str = "'30 */5 * * * *'";
/// Longer than a database needs to end the sessions of an account, and short enough that somebody can still do something.
const REVOKING_LONGER_THAN: &str = "'1m'";
const REVOKING_MIN: Duration = Duration::from_secs(1);
const REVOKING_MAX: Duration = Duration::from_hours(24);

/// At night, and not when everybody else's crons run.
const ERASE: &str = "'0 40 3 * * *'";
/// A century: whoever means for ever leaves the key out.
const TEXTS_FOR_MAX: Duration = Duration::from_hours(876_600);

/// On the first of each month, and not when everybody else's crons run.
const REPORT: &str = "'0 20 4 1 * *'";

/// Where the daemon writes the report of each month.
#[derive(Clone, Debug)]
pub struct Reports {
    /// An absolute path; nothing is written if it isn't said.
    pub directory: Option<PathBuf>,
    /// When the one of the month before is written.
    pub schedule: Schedule,
}

/// How long the texts of what is over are kept.
#[derive(Clone, Debug)]
pub struct Retention {
    /// For ever, if it isn't said.
    pub texts_for: Option<Duration>,
    /// When it is looked for texts that have been kept for so long.
    pub schedule: Schedule,
}

/// When Vault and the records are compared, and what is done about what is found.
#[derive(Clone, Debug)]
pub struct Reconcile {
    /// When.
    pub schedule: Schedule,
    /// Whether leases that no grant knows of are revoked, or only reported.
    pub revoke_unknown: bool,
}

pub(super) fn read_sweep(mut section: Section<'_>) -> Option<Schedule> {
    let rare =
        "must come true at least once an hour, because it catches what a timer missed; try \"* * * * *\"";
    let sweep = read_schedule(&mut section, "sweep", SWEEP, rare);
    section.finish();
    sweep
}

pub(super) fn read_reconcile(mut section: Section<'_>) -> Option<Reconcile> {
    let rare = "must come true at least once an hour, because nothing else finds access that outlived its \
                grant; try \"*/5 * * * *\"";
    let schedule = read_schedule(&mut section, "schedule", RECONCILE, rare);
    let revoke_unknown = section.or("revoke_unknown", "false", value::flag);
    section.finish();
    Some(Reconcile { schedule: schedule?, revoke_unknown: revoke_unknown? })
}

pub(super) fn read_retention(mut section: Section<'_>) -> Option<Retention> {
    let texts_for = section.optional("texts_for", value::duration(TEXTS_FOR_MIN..=TEXTS_FOR_MAX));
    let schedule = section.or("schedule", ERASE, value::parsed);
    section.finish();
    Some(Retention { texts_for: texts_for?, schedule: schedule? })
}

pub(super) fn read_reports(mut section: Section<'_>) -> Option<Reports> {
    let directory = section.optional("directory", value::absolute);
    let schedule = section.or("schedule", REPORT, value::parsed);
    section.finish();
    Some(Reports { directory: directory?, schedule: schedule? })
}

pub(super) fn read_alarm(mut section: Section<'_>) -> Option<Duration> {
    let bounds = value::duration(REVOKING_MIN..=REVOKING_MAX);
    let longer_than = section.or("revoking_longer_than", REVOKING_LONGER_THAN, bounds);
    section.finish();
    longer_than
}

fn read_schedule(
    section: &mut Section<'_>,
    key: &'static str,
    default: &'static str,
    rare: &str,
) -> Option<Schedule> {
    section.or(key, default, |found| {
        let schedule: Schedule = value::parsed(found)?;
        if schedule.is_hourly() { Ok(schedule) } else { Err(rare.to_owned()) }
    })
}
