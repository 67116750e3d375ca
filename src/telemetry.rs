//! The daemon's log: one line per event on standard output, for people on a terminal and as JSON everywhere else.
//!
//! JSON lines carry the names of the Elastic Common Schema (<https://www.elastic.co/docs/reference/ecs>), which Wazuh,
//! Loki and Elasticsearch all take; `docs/logs.md` lists them. Whatever stands in a value, an event stays one line.
//!
//! What it refuses to do:
//! - It reads no `RUST_LOG`: the environment is not configuration.
//! - It lets no library speak below WARN, whatever the level says: clients print requests at DEBUG and TRACE, and
//!   requests carry tokens. Only hallpass's own targets get the configured level, so a new dependency starts out capped.
//! - It prints no field of a span. A line says all that it has to say, and `#[instrument]` elsewhere can add nothing.
//! - It prints no panic message that was put together at run time, since nobody reviewed what is in it.

use std::{
    env,
    error::Error,
    fmt::{self, Debug, Write as _},
    io::{self, IsTerminal},
    panic::{self, Location, PanicHookInfo},
    process,
    sync::Arc,
    thread,
};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    subscriber::set_global_default,
};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt::{
        FmtContext, FormatEvent, FormatFields, MakeWriter,
        format::{DefaultFields, Writer},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
};

use crate::{access::text::is_obeyed, clock::Clock};

/// The version of the Elastic Common Schema that the names are from.
const ECS_VERSION: &str = "8.11";

/// What every line says that it comes from.
const SERVICE: &str = "hallpassd";

/// The prefix of hallpass's own targets, both binaries included.
const OWN_TARGETS: &str = "hallpass";

/// The libraries that are not heard at all. They report every refused call as an ERROR of their own, and an `invalid
/// lease` is an answer that hallpass waits for; `hallpass::vault` says what there is to say.
const SILENT: [&str; 2] = ["rustify", "vaultrs"];

/// The shape of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text if standard output is a terminal, otherwise JSON.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The process has a log already.
#[derive(Debug, thiserror::Error)]
#[error("the process has a log already")]
pub struct AlreadySet(#[source] tracing::subscriber::SetGlobalDefaultError);

/// Sets up the log of this process, and logs panics from here on. `level` is hallpass's own; times come from `clock`.
///
/// # Errors
///
/// If the process has a log already.
pub fn init(level: Level, format: Format, clock: Arc<dyn Clock>) -> Result<(), AlreadySet> {
    let lines = Lines { clock, json: is_json(format, io::stdout().is_terminal()) };
    // https://no-color.org: present and not empty. It changes how a line looks, never what it says.
    let colours = io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let layer = lines.layer(level.into(), colours, io::stdout);
    set_global_default(Registry::default().with(layer)).map_err(AlreadySet)?;
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// The same log into any writer, which counts as no terminal: for tests that look at what was logged.
pub fn layer<S, W>(level: Level, format: Format, clock: Arc<dyn Clock>, writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    Lines { clock, json: is_json(format, false) }.layer(level.into(), false, writer)
}

fn is_json(format: Format, terminal: bool) -> bool {
    match format {
        Format::Auto => !terminal,
        Format::Json => true,
        Format::Text => false,
    }
}

/// Which events pass. Unlisted means capped, so nobody has to remember to list a new library.
fn filter(level: LevelFilter) -> Targets {
    let silent = SILENT.map(|library| (library, LevelFilter::OFF));
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target(OWN_TARGETS, level)
        .with_targets(silent)
}

/// Logs where a panic was. Its message is printed only if it is a literal: one that was formatted may hold whatever
/// the failed operation had in its hands.
fn log_panic(info: &PanicHookInfo<'_>) {
    let reason = info.payload().downcast_ref::<&'static str>().copied();
    let place = info.location();
    tracing::error!(
        event.action = "panic",
        error.r#type = "panic",
        error.message = reason.unwrap_or("(not shown: it was formatted at run time)"),
        log.origin.file.name = place.map_or("unknown", Location::file),
        log.origin.file.line = place.map_or(0, Location::line),
        process.thread.name = thread::current().name().unwrap_or("unnamed"),
        "a thread panicked, which is a bug in hallpass or in a library"
    );
}

/// Writes events as lines.
#[derive(Debug)]
struct Lines {
    clock: Arc<dyn Clock>,
    json: bool,
}

impl Lines {
    fn layer<S, W>(self, level: LevelFilter, colours: bool, writer: W) -> impl Layer<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
        W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    {
        tracing_subscriber::fmt::layer()
            .fmt_fields(DefaultFields::new())
            .with_ansi(colours && !self.json)
            .event_format(self)
            .with_writer(writer)
            .with_filter(filter(level))
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let at = self.clock.now();
        if self.json {
            write_json(&mut to, at, event, fields)
        } else {
            write_text(&mut to, at, event, &fields)
        }
    }
}

fn write_json(to: &mut Writer<'_>, at: DateTime<Utc>, event: &Event<'_>, fields: Fields) -> fmt::Result {
    let about = event.metadata();
    let mut line = fields.named;
    // Last, so that no event can pass itself off as another service's or as older than it is.
    line.extend([
        ("@timestamp".to_owned(), Value::from(at.to_rfc3339_opts(SecondsFormat::Millis, true))),
        ("ecs.version".to_owned(), Value::from(ECS_VERSION)),
        ("log.level".to_owned(), Value::from(about.level().as_str().to_ascii_lowercase())),
        ("log.logger".to_owned(), Value::from(about.target())),
        ("message".to_owned(), Value::from(fields.message)),
        ("process.pid".to_owned(), Value::from(process::id())),
        ("service.name".to_owned(), Value::from(SERVICE)),
        ("service.version".to_owned(), Value::from(env!("CARGO_PKG_VERSION"))),
    ]);
    writeln!(to, "{}", Value::Object(line))
}

fn write_text(to: &mut Writer<'_>, at: DateTime<Utc>, event: &Event<'_>, fields: &Fields) -> fmt::Result {
    let level = *event.metadata().level();
    let (dim, bright, plain) =
        if to.has_ansi_escapes() { ("\x1b[2m", colour(level), "\x1b[0m") } else { ("", "", "") };
    let time = at.format("%H:%M:%S%.3f");
    write!(to, "{dim}{time}{plain} {bright}{level:>5}{plain} {}", visible(&fields.message))?;
    for (name, value) in &fields.named {
        let value = value.as_str().map_or_else(|| value.to_string(), visible);
        write!(to, " {dim}{name}={plain}{value}")?;
    }
    writeln!(to)
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[34m",
    }
}

/// Text with what a terminal would obey spelled out: a reason that somebody typed must neither start a line nor steer the
/// terminal of whoever reads the log.
fn visible(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, letter| {
        if is_obeyed(letter) {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
        shown
    })
}

/// An event's message and its own fields, numbers and booleans kept as what they are.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    named: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match field.name() {
            "message" => self.message = value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            // `error` is an object in the schema; a string there would make Elasticsearch refuse the line.
            "error" => drop(self.named.insert("error.message".to_owned(), value)),
            // `r#type` is how a macro spells a field named like a keyword.
            name => drop(self.named.insert(name.replace("r#", ""), value)),
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::from(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::from(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put(field, Value::from(chain(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, Value::from(format!("{value:?}")));
    }
}

/// An error and what caused it, on one line: sources are not repeated by whoever wraps them.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        // Writing to a string does not fail.
        let _ = write!(text, ": {source}");
        next = source.source();
    }
    text
}

#[cfg(test)]
pub(crate) mod tests;
