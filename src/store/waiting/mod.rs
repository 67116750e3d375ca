//! Commits on their way to the connection that writes, whatever the database.

pub(in crate::store) mod job;
pub(in crate::store) mod lanes;

use std::time::Duration;

/// How long whoever waits for the store is kept waiting: less than the second within which a claim is refused when the
/// record is lost, so that the answer gets to the caller within it. A disk that works needs milliseconds.
pub(in crate::store) const ANSWER_MAX: Duration = Duration::from_millis(900);
