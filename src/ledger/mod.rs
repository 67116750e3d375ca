//! The log that can be proved: events as leaves of a Merkle tree, and what can be shown of it to somebody who doesn't trust
//! us.
//!
//! Everything here is pure and synchronous: bytes in, bytes or a verdict out. The daemon appends with it, and an auditor
//! verifies with the same code, offline. What is on the wire, on disk and in exports is specified byte by byte in
//! `docs/ledger.md`.

mod canonical;
pub mod leaf;
pub mod replay;
pub mod tree;
