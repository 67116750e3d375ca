//! What Vault's client libraries have to say at their most talkative, and that none of it reaches the log.

use std::{
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

use crate::support::servers::openbao;

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
