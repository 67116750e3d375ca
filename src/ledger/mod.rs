//! The log that can be proved: events as leaves of a Merkle tree, and what can be shown of it to somebody who doesn't trust
//! us.
//!
//! Everything here is pure and synchronous: bytes in, bytes or a verdict out. The daemon appends with it, and an auditor
//! verifies with the same code, offline. What is on the wire, on disk and in exports is specified byte by byte in
//! `docs/ledger.md`.

mod canonical;
pub mod checkpoint;
pub mod leaf;
pub mod note;
pub mod replay;
pub mod tree;
pub mod witness;

/// A value in its one spelling, for tests that write leaves themselves.
#[cfg(test)]
pub(crate) fn canonical_json(value: &serde_json::Value) -> String {
    canonical::of(value)
}
