//! What the log says beside the records: whoever sees only the log must learn of what needs somebody.

use std::{
    io,
    sync::{Arc, Mutex},
};

use chrono::TimeDelta;
use tracing::subscriber::DefaultGuard;

use super::{
    races::{World, world},
    target,
};

/// Keeps what this thread logs, until it is dropped.
struct Logged {
    kept: Sink,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Logged {
    fn new() -> Self {
        let kept = Sink::default();
        let sink = kept.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || sink.clone()).finish();
        Self { kept, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// How many lines have this action.
    fn count(&self, action: &str) -> usize {
        let text = String::from_utf8(self.kept.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(&format!("event.action=\"{action}\""))).count()
    }
}

async fn compared(world: &World) -> Logged {
    let logged = Logged::new();
    world.broker.reconcile().await.unwrap();
    logged
}

#[tokio::test]
async fn every_audit_event_is_logged() {
    let (logged, world) = (Logged::new(), world());
    let request = world.submit().await.unwrap();
    world.approve(&request).await.unwrap();
    assert_eq!((logged.count("RequestSubmitted"), logged.count("RequestApproved")), (1, 1));
}

#[tokio::test]
async fn what_vault_gave_up_on_is_an_error_while_there_is_any() {
    let world = world();
    assert_eq!(compared(&world).await.count("vault-gave-up"), 0);
    world.vault.given_up.lock().unwrap().insert("database/".to_owned(), 1);
    assert_eq!(compared(&world).await.count("vault-gave-up"), 1);
    world.vault.given_up.lock().unwrap().insert("database/".to_owned(), 2);
    assert_eq!(compared(&world).await.count("vault-gave-up"), 1);
}

/// By more than a second, and what the call took can't be told apart from a difference.
#[tokio::test]
async fn clocks_that_differ_are_an_error() {
    for (ahead, took, told) in [
        (0, 0, 0),
        (1000, 0, 0),
        (1001, 0, 1),
        (-1000, 0, 0),
        (-1001, 0, 1),
        (1500, 1000, 0),
        (1501, 1000, 1),
    ] {
        let world = world();
        *world.vault.ahead.lock().unwrap() = TimeDelta::milliseconds(ahead);
        let clock = Arc::clone(&world.clock);
        world.vault.timing.set(move || {
            clock.advance(TimeDelta::milliseconds(took));
            async {}
        });
        // Vault reads its clock at the end of the call, so half of what it took seems to be a difference.
        *world.vault.ahead.lock().unwrap() -= TimeDelta::milliseconds(took / 2);
        assert_eq!(compared(&world).await.count("clocks-apart"), told, "{ahead} ms in {took} ms");
    }
}

#[tokio::test]
async fn what_vault_does_not_say_is_logged() {
    let world = world();
    *world.vault.lists_nothing.lock().unwrap() = true;
    assert_eq!(compared(&world).await.count("vault-unanswered"), 1);
    world.vault.lease(&target(1).credential_path);
    *world.vault.lists_nothing.lock().unwrap() = false;
    assert_eq!(compared(&world).await.count("vault-unanswered"), 0);
}

#[tokio::test]
async fn missing_rights_are_an_error() {
    let (logged, world) = (Logged::new(), world());
    world.broker.refresh_blockers().await;
    assert_eq!((logged.count("issue-blocked"), logged.count("rights-unknown")), (0, 0));
    *world.vault.lacking.lock().unwrap() = None;
    world.broker.refresh_blockers().await;
    assert_eq!((logged.count("issue-blocked"), logged.count("rights-unknown")), (0, 1));
    let lack = hallpass::vault::MissingCapability { path: "sys/x".to_owned(), capability: "update" };
    *world.vault.lacking.lock().unwrap() = Some(vec![lack]);
    world.broker.refresh_blockers().await;
    assert_eq!((logged.count("issue-blocked"), logged.count("rights-unknown")), (1, 1));
}

#[tokio::test]
async fn refused_tokens_are_logged_each_and_recorded_in_bounds() {
    let (logged, world) = (Logged::new(), world());
    for _ in 0..11 {
        world.broker.identity_refused("/x", None, "the token is expired").await;
    }
    assert_eq!((logged.count("identity-refused"), world.store.count("IdentityRefused")), (11, 10));
}
