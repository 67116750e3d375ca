//! The log, page by page, from hallpassd.

use tonic::Code;

use crate::{
    cli::{connect::Server, error::Failure},
    wire::{Checkpoint, GetCheckpointRequest, Leaf, ListLeavesRequest},
};

/// The last checkpoint, or the first about so many events; none if nothing was signed yet.
pub async fn checkpoint(server: &Server, size_min: u64) -> Result<Option<Checkpoint>, Failure> {
    let size_min = i64::try_from(size_min).unwrap_or(i64::MAX);
    let call = server.call(GetCheckpointRequest { size_min });
    match server.try_answer(server.ledger().get_checkpoint(call)).await {
        Ok(checkpoint) => Ok(Some(checkpoint)),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(server.failure(&status)),
    }
}

/// What is left of the log, up to a size if there is one.
pub struct Leaves<'a> {
    server: &'a Server,
    until: Option<u64>,
    after: u64,
}

impl<'a> Leaves<'a> {
    /// From the beginning.
    pub const fn new(server: &'a Server, until: Option<u64>) -> Self {
        Self { server, until, after: 0 }
    }

    /// The next page; none at the end.
    ///
    /// # Errors
    ///
    /// If the server refuses, or has less than its checkpoint is about.
    pub async fn next(&mut self) -> Result<Option<Vec<Leaf>>, Failure> {
        let left = self.until.map(|until| until - self.after);
        if left == Some(0) {
            return Ok(None);
        }
        // 0 stands for as many as the server gives.
        let page_size =
            left.and_then(|left| i32::try_from(left).ok()).filter(|left| *left < 1000).unwrap_or_default();
        let after_sequence = i64::try_from(self.after).unwrap_or(i64::MAX);
        let call = self.server.call(ListLeavesRequest { after_sequence, page_size });
        let mut leaves = self.server.answer(self.server.ledger().list_leaves(call)).await?.leaves;
        leaves.truncate(left.and_then(|left| usize::try_from(left).ok()).unwrap_or(usize::MAX));
        self.after += leaves.len() as u64;
        match (leaves.is_empty(), left) {
            (false, _) => Ok(Some(leaves)),
            (true, None) => Ok(None),
            (true, Some(left)) => {
                let failure =
                    format!("hallpassd lacks {left} of the events that its own checkpoint is about");
                Err(Failure::local(failure)
                    .hint("events were taken out; verify an export against an old checkpoint"))
            }
        }
    }
}

/// A leaf's texts as JSON; none if there are none.
pub fn texts(leaf: &Leaf) -> Option<String> {
    let sorted: std::collections::BTreeMap<_, _> = leaf.texts.iter().collect();
    (!sorted.is_empty()).then(|| serde_json::json!(sorted).to_string())
}
