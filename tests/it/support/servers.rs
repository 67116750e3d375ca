//! OpenBao and PostgreSQL as processes of the tests' own.
//!
//! [`openbao`] and [`postgres`] are shared by all tests of the process and started by whoever asks first: tests keep
//! apart by the names that they choose. Who wants to stop and start a server takes a private one
//! ([`Bao::start_private`], [`Postgres::start_private`]). All of them are gone when the test process is, however it
//! ended.
//!
//! Nothing here sleeps in the hope that something has happened meanwhile: [`eventually`] waits for the thing itself.

mod bao;
mod pipe;
mod postgres;
pub mod process;
pub mod proxy;
pub mod slapd;

use std::time::Duration;

use tokio::time::{interval, timeout};

pub use self::{
    bao::{Bao, openbao},
    pipe::Pipe,
    postgres::{Postgres, postgres},
    process::{Dir, Process, free_port},
    proxy::Proxy,
};

/// How long anything may take to come true. Far longer than it does, and short enough to see which test hangs.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often to look.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until `condition` holds.
///
/// # Panics
///
/// With `what` it waited for, after a minute.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        let mut look = interval(LOOK);
        loop {
            look.tick().await;
            if condition().await {
                return;
            }
        }
    };
    assert!(timeout(PATIENCE, wait).await.is_ok(), "waited {PATIENCE:?} in vain until {what}");
}
