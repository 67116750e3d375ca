//! The lines as they come out, read back: nothing here looks inside the formatter.

use std::{
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

use chrono::DateTime;
use serde_json::json;
use tracing::subscriber::with_default;

use super::*;
use crate::clock::ManualClock;

/// A writer that keeps what was written.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `act` logs, as it is on the wire.
pub(crate) fn logged(level: Level, format: Format, act: impl FnOnce()) -> String {
    let kept = Captured::default();
    let clock = ManualClock::new(DateTime::from_timestamp_millis(1_790_000_000_123).unwrap());
    let sink = kept.clone();
    let layer = layer(level, format, Arc::new(clock), move || sink.clone());
    with_default(Registry::default().with(layer), act);
    let bytes = kept.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    String::from_utf8(bytes).unwrap()
}

/// What `act` logs, which must be one JSON object.
fn object(act: impl FnOnce()) -> Value {
    let text = logged(Level::TRACE, Format::Json, act);
    assert_eq!(text.matches('\n').count(), 1, "one line: {text:?}");
    serde_json::from_str(&text).unwrap()
}

#[derive(Debug, thiserror::Error)]
#[error("cannot revoke the lease")]
struct Outer(#[source] Inner);

#[derive(Debug, thiserror::Error)]
#[error("connection\nrefused")]
struct Inner;

#[test]
fn a_line_has_the_common_fields_and_its_own() {
    let line = object(|| {
        tracing::info!(
            event.action = "grant-revoked",
            "hallpass.grant.id" = %"01J",
            hallpass.leases = 3_u64,
            hallpass.left = -2_i64,
            hallpass.load = 0.5,
            event.r#type = "end",
            hallpass.confirmed = true,
            "grant revoked"
        );
    });
    let expected = json!({
        "@timestamp": "2026-09-21T14:13:20.123Z",
        "ecs.version": "8.11",
        "event.action": "grant-revoked",
        "event.type": "end",
        "hallpass.confirmed": true,
        "hallpass.grant.id": "01J",
        "hallpass.leases": 3,
        "hallpass.left": -2,
        "hallpass.load": 0.5,
        "log.level": "info",
        "log.logger": "hallpass::telemetry::tests",
        "message": "grant revoked",
        "process.pid": process::id(),
        "service.name": "hallpassd",
        "service.version": env!("CARGO_PKG_VERSION"),
    });
    assert_eq!(line, expected);
}

#[test]
fn an_error_is_written_with_its_sources_on_one_line() {
    let error = Outer(Inner);
    let line = object(|| tracing::error!(error = &error as &dyn Error, "revocation failed"));
    assert_eq!(line["error.message"], "cannot revoke the lease: connection\nrefused");
    assert_eq!(line["error"], Value::Null, "an object in the schema");
}

#[test]
fn no_value_can_start_a_second_line_or_forge_a_field() {
    let reason = "broken\n{\"message\":\"grant approved\"}\r\u{2028}\u{1b}[2J";
    let line = object(|| tracing::warn!("service.name" = "sshd", "log.level" = "error", reason, "{reason}"));
    assert_eq!(line["reason"], reason);
    assert_eq!(line["message"], reason);
    assert_eq!(line["service.name"], "hallpassd");
    assert_eq!(line["log.level"], "warn");
}

#[test]
fn text_is_one_line_too_and_steers_no_terminal() {
    let text = logged(Level::INFO, Format::Text, || {
        tracing::info!(target: "hallpass::broker", reason = "a\nb\u{1b}[2J\u{9b}", leases = 2, "sub\nmitted");
    });
    let expected = "14:13:20.123  INFO sub\\nmitted leases=2 reason=a\\nb\\u{1b}[2J\\u{9b}\n";
    assert_eq!(text, expected);
}

#[test]
fn libraries_are_capped_whatever_the_level() {
    let text = logged(Level::TRACE, Format::Json, || {
        for_each_library();
        tracing::trace!(target: "hallpass::vault", "own trace");
        tracing::trace!(target: "hallpassd", "own trace");
    });
    assert!(!text.contains("hvs."), "{text}");
    assert_eq!(text.matches("own trace").count(), 2, "{text}");
    assert_eq!(text.matches("library warning").count(), 1, "{text}");
}

/// What clients do at DEBUG and TRACE; the last one is a library that nobody has heard of.
fn for_each_library() {
    tracing::debug!(target: "rustify::client", "X-Vault-Token: hvs.1");
    tracing::error!(target: "vaultrs::api", "hvs.2");
    tracing::trace!(target: "hyper_util::client", "hvs.3");
    tracing::info!(target: "h2::codec", "hvs.4");
    tracing::debug!(target: "tonic::transport", "hvs.5");
    tracing::debug!(target: "sqlx::query", "hvs.6");
    tracing::debug!(target: "tomorrows_library", "hvs.7");
    tracing::warn!(target: "h2::proto", "library warning");
}

#[test]
fn a_stricter_level_binds_the_libraries_too() {
    let text = logged(Level::ERROR, Format::Json, || {
        tracing::warn!(target: "h2::proto", "library");
        tracing::warn!("own");
        tracing::error!("kept");
    });
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains("kept"));
}

#[test]
fn fields_of_spans_stay_out() {
    let text = logged(Level::TRACE, Format::Json, || {
        let span = tracing::info_span!("claim", token = "hvs.8");
        span.in_scope(|| tracing::info!("claimed"));
    });
    assert!(!text.contains("hvs."), "{text}");
    assert!(text.contains("claimed"));
}

#[test]
fn a_panic_is_logged_without_what_was_formatted_into_it() {
    let secret = "hvs.9";
    let (literal, formatted) = (panicked(|| panic!("a literal")), panicked(|| panic!("token {secret}")));
    assert_eq!(literal["error.message"], "a literal");
    assert_eq!(literal["error.type"], "panic");
    assert!(literal["log.origin.file.name"].as_str().unwrap().ends_with("telemetry/tests.rs"));
    assert!(literal["log.origin.file.line"].as_u64().unwrap() > 0);
    assert!(!formatted.to_string().contains("hvs."), "{formatted}");
}

/// What the hook logs about a panic of `act`, on a thread of its own: the hook is the whole process's, so it stands
/// for this thread only.
fn panicked(act: impl FnOnce() + Send + panic::UnwindSafe) -> Value {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let before = panic::take_hook();
    let here = thread::current().id();
    panic::set_hook(Box::new(
        move |info| {
            if thread::current().id() == here { log_panic(info) } else { before(info) }
        },
    ));
    let line = object(|| drop(panic::catch_unwind(act)));
    drop(panic::take_hook());
    line
}

#[test]
fn without_a_terminal_it_is_json() {
    assert!(is_json(Format::Auto, false) && !is_json(Format::Auto, true));
    assert!(is_json(Format::Json, true) && !is_json(Format::Text, false));
}
