//! What is made of a call that panicked: an answer that says nothing, and a number. The panic itself, with its place, is
//! logged by the hook of `telemetry`; the daemon goes on, because what a call changes is changed by the store in one piece.

use std::sync::atomic::{AtomicU64, Ordering};

use tonic::Status;

use super::status;

/// How many calls panicked since the start. Of the process, as the panics are.
static CAUGHT: AtomicU64 = AtomicU64::new(0);

/// How many calls have panicked since the process began.
#[must_use]
pub fn panicked() -> u64 {
    CAUGHT.load(Ordering::Relaxed)
}

/// Counts a panic, and says what the caller is told.
pub(super) fn caught(method: &str) -> Status {
    let count = CAUGHT.fetch_add(1, Ordering::Relaxed) + 1;
    tracing::error!(
        event.action = "call-panicked",
        event.outcome = "failure",
        url.path = method,
        hallpass.panics = count,
        "a call panicked, which is a bug in hallpass or in a library; it is the {count}. since the start"
    );
    status::defect("an internal error; the daemon's log has the details")
}
