//! hallpass issues time-boxed production credentials through Vault after a written approval.

pub mod access;
pub mod cli;
pub mod clock;
pub mod http;
pub mod vault;
pub mod wire;
