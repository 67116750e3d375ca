//! `[log]`: how much the daemon says, and in which form. The audit log is not meant by this and can't be turned down.

use tracing::Level;

use crate::telemetry::Format;

use super::{section::Section, value};

const LEVELS: &[(&str, Level)] = &[
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];
const FORMATS: &[(&str, Format)] = &[("auto", Format::Auto), ("json", Format::Json), ("text", Format::Text)];

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least important level that is still logged.
    pub level: Level,
    /// The form.
    pub format: Format,
}

pub(super) fn read(mut section: Section<'_>) -> Option<Log> {
    let level = section.or("level", "'info'", value::choice(LEVELS));
    let format = section.or("format", "'auto'", value::choice(FORMATS));
    section.finish();
    Some(Log { level: level?, format: format? })
}
