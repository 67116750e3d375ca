//! The log: that every line of the source has a documented action and documented fields, and that nothing of what Vault's
//! client libraries have to say at their most talkative reaches it.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use chrono::DateTime;
use hallpass::{
    clock::ManualClock,
    telemetry::{Format, layer},
};
use tracing::Level;
use tracing::subscriber::set_default;
use tracing_subscriber::{Registry, layer::SubscriberExt};
use vaultrs::client::{VaultClient, VaultClientSettingsBuilder};

use crate::{imports::sources, support::servers::openbao};

const DOCUMENTATION: &str = include_str!("../../docs/logs.md");
/// What logs an audit event, whose kinds are in `docs/audit.md`.
const AUDIT_EVENTS: &str = "event.kind";

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_call_to_vault_leaves_no_token_in_the_log_even_at_trace() {
    let (ours, raw) = (Captured::default(), Captured::default());
    let (ours_sink, raw_sink) = (ours.clone(), raw.clone());
    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    let ours_layer = layer(Level::TRACE, Format::Json, clock, move || ours_sink.clone());
    let raw_layer = tracing_subscriber::fmt::layer().with_writer(move || raw_sink.clone());
    let _log = set_default(Registry::default().with(ours_layer).with(raw_layer));

    let token = "hvs.never-to-be-logged";
    let mut settings = VaultClientSettingsBuilder::default();
    let settings = settings.address(&openbao().address).token(token).verify(true).build().unwrap();
    let client = VaultClient::new(settings).unwrap();
    // The token is wrong, so the libraries report errors too.
    vaultrs::token::lookup_self(&client).await.unwrap_err();
    vaultrs::token::lookup(&client, token).await.unwrap_err();
    tracing::trace!(target: "hallpass::vault", "the end");

    assert!(raw.text().contains("rustify"), "the libraries do talk");
    assert!(ours.text().contains("the end"), "hallpass's own level is TRACE");
    assert!(!ours.text().contains("hvs."), "{}", ours.text());
    assert!(!ours.text().contains("rustify") && !ours.text().contains("vaultrs"), "{}", ours.text());
}

/// The arguments of each call of a logging macro in a file.
fn log_lines(source: &str) -> Vec<&str> {
    let starts = ["error!(", "warn!(", "info!(", "debug!(", "trace!("];
    let calls = starts.iter().flat_map(|start| source.match_indices(start).map(|(at, _)| at + start.len()));
    calls.filter_map(|at| Some(source[at..].split_once(");")?.0)).collect()
}

/// What stands behind `name =` if it is a literal, or an empty text.
fn fields(line: &str) -> Vec<(String, &str)> {
    let named = |piece: &str| {
        piece.rsplit([' ', '(', '\n']).next().unwrap().replace(['"', '#'], "").replace("r!", "")
    };
    let pieces: Vec<&str> = line.split(" = ").collect();
    let pairs = pieces.windows(2).map(|pair| {
        let literal = pair[1].strip_prefix('"').and_then(|text| text.split_once('"'));
        (named(pair[0]), literal.map_or("", |(text, _)| text))
    });
    pairs
        .filter(|(name, _)| name.contains('.'))
        .map(|(name, value)| (name.replace(".rtype", ".type"), value))
        .collect()
}

/// What the tables below a heading have in their first column.
fn documented(heading: &str) -> BTreeSet<&'static str> {
    let section = DOCUMENTATION.split_once(heading).unwrap().1;
    let section = section.split("\n## ").next().unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn every_line_has_a_documented_action_and_documented_fields() {
    let mut actions = BTreeSet::new();
    let known_fields = documented("## Fields");
    for (file, source) in sources() {
        for line in log_lines(source.split("#[cfg(test)]\nmod tests {").next().unwrap()) {
            let fields = fields(line);
            for (name, _) in &fields {
                assert!(
                    known_fields.contains(name.as_str()),
                    "{file}: the field {name} is not in docs/logs.md"
                );
            }
            if fields.iter().all(|(name, _)| name != AUDIT_EVENTS) {
                let action = fields.iter().find(|(name, _)| name == "event.action");
                let (_, action) =
                    action.unwrap_or_else(|| panic!("{file}: a line without an action: {line}"));
                actions.insert((*action).to_owned());
            }
        }
    }
    let documented: BTreeSet<String> = documented("## Actions").into_iter().map(str::to_owned).collect();
    assert_eq!(actions, documented, "the source, and docs/logs.md");
}
