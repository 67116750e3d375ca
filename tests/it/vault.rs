//! The contract with Vault: what `hallpass::vault` relies on, asked of a real OpenBao with a real PostgreSQL behind it,
//! set up from the files in `deploy/vault` that operators load. When a test here fails with another version of Vault,
//! that version can't be used until the code knows better.
//!
//! Each test has mounts, roles, policies and a login of its own, so that all run at once on one server.

mod canned;
mod capabilities;
mod end;
mod errors;
mod identity;
mod issue;
mod lanes;
mod login;
mod observe;
mod simulated;
mod unknown;
mod world;

use std::sync::Arc;

use hallpass::clock::{Clock, SystemClock};

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}
