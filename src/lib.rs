//! hallpass issues time-boxed production credentials through Vault after a written approval.

pub mod access;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod grpc;
pub mod http;
pub mod identity;
pub mod lifecycle;
pub mod schedule;
pub mod store;
pub mod sweep;
pub mod telemetry;
pub mod vault;
pub mod wire;
