//! Verifying the log offline: whoever has an export, the log's key and perhaps an old checkpoint needs nobody's word.
//!
//! ```text
//! leaves ---+--> hashing --> roots ----------------.
//!           '--> replay (a thread) --> signed approvals --> signatures
//! checkpoint, old checkpoints --> notes and keys --+--> Report
//! ```
//!
//! The rules are [`ledger`](crate::ledger)'s and [`signature`](crate::signature)'s; here are the threads, the files and what
//! is said in the end. It goes on after a fault, and tells as many as fit. It never asks the daemon, nor the network.

mod approvals;
mod batch;
mod beside;
mod engine;
mod export;
mod proof;
mod report;
mod trust;

#[cfg(test)]
mod tests;

pub use self::{
    batch::Batch,
    engine::{Done, Engine},
    export::{CHECKPOINT, LEAVES, TEXTS, Unusable, directory, texts_line},
    proof::{ProofFile, Proved, proof_file},
    report::{Endorsement, Fault, Report},
    trust::{Former, Trust},
};
