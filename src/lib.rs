//! hallpass issues time-boxed production credentials through Vault after a written approval.
//!
//! Its policy is one sentence: no exception without another person's written approval, and every exception is
//! time-boxed, logged, and revoked when complete. `hallpassd` enforces it; `hallpass` is what people type. Vault
//! (HashiCorp Vault or OpenBao) makes and destroys the credentials; the daemon decides when, and never sees one.
//!
//! # Following an exception
//!
//! Each step is a file in [`broker`], and beside it stands its rule in [`access`], which knows neither time nor disk nor
//! network.
//!
//! 1. **Submit** (`broker/submit.rs`, rule: `access/request.rs`). A developer asks for a target, for a length of time,
//!    with a reason. The request is PENDING, and has a digest over all that was asked.
//! 2. **Decide** (`broker/decide.rs`, `access/approval.rs`). Somebody else reads it and approves or denies in writing,
//!    naming the digest, and signs it where the target says so ([`signature`], `access/signing.rs`). When enough distinct people approved, it is APPROVED.
//! 3. **Claim** (`broker/claim.rs`, `access/grant.rs`). The developer claims it, and the window opens. The intent is
//!    committed first; then Vault makes a token, the token reads the credential, wrapped, and the lease is put on record;
//!    only then does the developer get the wrapping token.
//! 4. **End** (`broker/end.rs`, `access/revocation.rs`). The window closes, or somebody ends the grant before. There is
//!    one path, [`sweep`] walks it until Vault's lookup says that the lease is gone, and only that makes it REVOKED.
//! 5. **Query** (`broker/query.rs`, `broker/watch.rs`; `access/policy.rs` says who sees what). The auditor reads the
//!    request, the decisions, the grants and the timeline. `docs/audit.md` explains every event.
//!
//! A crash between two lines is met by `broker/upkeep.rs`: it looks for what is due or half-done and puts it on the same
//! path.
//!
//! # What always holds
//!
//! | | |
//! |---|---|
//! | I1 | Nothing is asked of Vault that could make a credential before the approvals and the intent are durable. |
//! | I2 | No credential outlives its window. The daemon ends it; if the daemon is dead, Vault does; where the engine can, the target itself refuses. |
//! | I3 | REVOKED means that Vault's lookup said the lease is gone. Before that it is REVOKING. |
//! | I4 | A state change and its audit event are one value and one transaction ([`access::change`]). |
//! | I5 | Nobody decides his own request, approvals count distinct people, and an empty list means nobody. |
//! | I6 | No credential and no token in the database, a log, an error or an argument list. Vault's handles stand in the grant's row and nowhere else. |
//! | I7 | An audit log that can't be written stops grants, never revocations. |
//! | I8 | The audit log only grows. It is a Merkle tree ([`ledger`]), so whoever kept an old checkpoint notices anything else. |
//! | I9 | What isn't listed is denied: a verb, a group, a target, a key in the configuration. |
//!
//! # Who may use what
//!
//! | module | never uses |
//! |---|---|
//! | [`access`] | any other module, tokio, SQL, the wire, Vault, the clock, the system |
//! | [`broker`] | SQL, Vault's client, the wire, the configuration, the environment; it knows [`store`] and [`vault`] by their traits |
//! | [`store`], [`vault`] | the broker, gRPC, each other |
//! | `grpc` | the store, Vault |
//! | [`doctor`] | the broker, gRPC; it judges what [`store`] and [`vault`] have read, and reads nothing itself |
//! | [`notary`] | the store, gRPC, the configuration, `cli` |
//! | [`signature`] | any other module but [`access`], the network, the environment, the clock |
//! | [`ledger`] | any other module but [`access`], tokio, SQL, the wire, files, the network, the environment, the clock |
//! | [`verify`] | any other module but [`access`], [`ledger`] and [`signature`], the network, the environment, the clock |
//! | [`fsck`] | any other module but those, [`store`] and [`verify`] |
//! | `cli` | the broker, the store, Vault, the daemon |
//!
//! sqlx is named only below [`store`], vaultrs only below [`vault`], tonic only below `grpc` and `cli` and in [`wire`].
//! `daemon.rs` alone names every concrete type. `tests/it/imports.rs` reads every file and fails on what this forbids.

pub mod access;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod daemon;
pub mod doctor;
pub mod failpoint;
pub mod fsck;
pub mod grpc;
pub mod http;
pub mod identity;
pub mod keyfile;
pub mod ledger;
pub mod lifecycle;
pub mod memory;
pub mod notary;
pub mod reload;
pub mod report;
pub mod schedule;
pub mod signature;
pub mod store;
pub mod sweep;
pub mod telemetry;
pub mod vault;
pub mod verify;
pub mod wire;
