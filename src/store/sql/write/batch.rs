//! The changes of a group of commits, in as few statements as keep to their order.
//!
//! Rows that are changed side by side are changed together. Where the order matters, the changes so far are written before the
//! next is taken up: where a commit changes a row twice, or two commits concern one request, or with what isn't a request's or a
//! grant's. Within a commit, requests come before grants, and grants that end before grants that begin.

use std::{
    collections::{HashMap, HashSet},
    mem,
};

use super::{
    super::{DbConnection, checkpoints, dialect, erase, events::Placed, freezes},
    grants, requests,
};
use crate::{
    access::{
        change,
        event::{Event, Recorded},
        grant::Grant,
        id::{GrantId, RequestId},
        request::Request,
    },
    ledger::tree::Frontier,
    store::{
        StoreError,
        waiting::job::{Change, Fence},
    },
};

/// Writes what these commits consist of and appends their events, and answers with the events of each in their places.
pub(in crate::store) async fn write(
    connection: &mut DbConnection,
    frontier: &mut Frontier,
    commits: &[&[Change]],
) -> Result<Vec<Vec<Recorded>>, StoreError> {
    let mut batch = Batch::default();
    for (number, changes) in commits.iter().enumerate() {
        for change in *changes {
            take(connection, &mut batch, number, change).await?;
        }
    }
    let told: Vec<&Event> = commits.iter().flat_map(|changes| changes.iter().filter_map(event)).collect();
    // While the database is at work, there is time for what the events take.
    let (written, placed) = tokio::join!(batch.write(connection), async { Placed::after(frontier, &told) });
    written?;
    let mut recorded = placed.append(connection).await?.into_iter();
    let count = |changes: &[Change]| changes.iter().filter_map(event).count();
    Ok(commits.iter().map(|changes| recorded.by_ref().take(count(changes)).collect()).collect())
}

/// What the log says of a change.
const fn event(change: &Change) -> Option<&Event> {
    match change {
        Change::Request(change) => Some(change.event()),
        Change::Grant(change) => Some(change.event()),
        Change::Freeze(change) => Some(change.event()),
        Change::Erasure(erasure) => Some(erasure.event()),
        Change::Fact(event) => Some(event),
        Change::Checkpoint(_) | Change::Cosignature(_) | Change::Fenced(_) => None,
    }
}

/// Puts a change to those that are written together; writes them first if it must come after them.
async fn take<'c>(
    connection: &mut DbConnection,
    batch: &mut Batch<'c>,
    commit: usize,
    change: &'c Change,
) -> Result<(), StoreError> {
    // One with nothing in it takes anything.
    while !batch.counts_in(commit, change) {
        mem::take(batch).write(connection).await?;
    }
    match change {
        Change::Request(change) => batch.requests.push(change),
        Change::Grant(change) => batch.grants.push(change),
        Change::Fenced(fence) => batch.fences.push(fence),
        Change::Fact(_) => {}
        Change::Freeze(change) => freezes::write(connection, change).await?,
        Change::Erasure(erasure) => erase::write(connection, erasure).await?,
        Change::Checkpoint(checkpoint) => checkpoints::keep(connection, checkpoint).await?,
        Change::Cosignature(cosignature) => checkpoints::keep_cosignature(connection, cosignature).await?,
    }
    Ok(())
}

/// Changes that are written together.
#[derive(Default)]
struct Batch<'c> {
    fences: Vec<&'c Fence>,
    requests: Vec<&'c change::Change<Request>>,
    grants: Vec<&'c change::Change<Grant>>,
    /// Which of the commits concerns a request.
    concerned: HashMap<RequestId, usize>,
    /// The rows that are changed: requests, and grants.
    changed: HashSet<(RequestId, Option<GrantId>)>,
}

impl Batch<'_> {
    /// Counts a change in with those that are here; false if it can't be written with them, and then they are to be written.
    fn counts_in(&mut self, commit: usize, change: &Change) -> bool {
        let (request, grant) = match change {
            Change::Request(change) => (change.after().id, None),
            Change::Grant(change) => (change.after().request, Some(change.after().id)),
            Change::Fenced(_) | Change::Fact(_) => return true,
            Change::Freeze(_) | Change::Erasure(_) | Change::Checkpoint(_) | Change::Cosignature(_) => {
                return self.concerned.is_empty() && self.fences.is_empty();
            }
        };
        *self.concerned.entry(request).or_insert(commit) == commit && self.changed.insert((request, grant))
    }

    async fn write(self, connection: &mut DbConnection) -> Result<(), StoreError> {
        dialect::hold(connection, &self.fences).await?;
        requests::write(connection, &self.requests).await?;
        grants::write(connection, &self.grants).await
    }
}
