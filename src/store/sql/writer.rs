//! The one way to write: all changes of a commit and their events in one transaction, which either commits or leaves no
//! trace (I4). Nothing is written outside of a commit.
//!
//! One task has the only connection that writes. Callers put their commits in its [`Lanes`] and wait for an answer, so a
//! caller who leaves takes nothing along. Each [`transaction`] makes the commits of all who wait then. The task opens
//! another connection after a transaction that failed, and never while one hangs: that one has the database's lock, so
//! another could do nothing, and each try would cost one more.

use std::{error::Error, sync::Arc, time::Duration};

use sqlx::Connection as _;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    CLOSE_MAX,
    dialect::{CONNECTIONS_ARE_LOST, Origin, TURN_MAX},
    pen::Pen,
    transaction,
    waiting::{
        ANSWER_MAX,
        job::{Change, Failure, Fence},
        lanes::Lanes,
    },
};
use crate::{
    access::event::Recorded,
    store::{Duty, StoreError, Write},
};

/// Where commits are handed in.
#[derive(Debug)]
pub(in crate::store) struct Writer {
    pub(in crate::store) lanes: Arc<Lanes>,
    /// How long a caller waits, in his lane and for the disk.
    pub(in crate::store) answer_max: Duration,
    /// Cancelled when the task is over and its connection is closed.
    pub(in crate::store) ended: CancellationToken,
}

impl Writer {
    /// Writes with this pen, and with others from the same origin. Its task ends when this is closed or dropped.
    pub(in crate::store) fn new(origin: Origin, pen: Pen) -> Self {
        let writer = Self::idle(ANSWER_MAX);
        writer.start(origin, pen);
        writer
    }

    /// One whose task isn't started yet.
    pub(in crate::store) fn idle(answer_max: Duration) -> Self {
        Self { lanes: Arc::default(), answer_max, ended: CancellationToken::new() }
    }

    pub(in crate::store) fn start(&self, origin: Origin, pen: Pen) {
        let (lanes, origin) = (Arc::clone(&self.lanes), Arc::new(origin));
        let ended = self.ended.clone().drop_guard();
        tokio::spawn(async move {
            let turn = |lanes, pen| turn(lanes, pen, Arc::clone(&origin));
            if let Some(pen) = work(&lanes, Some(pen), turn).await {
                // What it can't finish, the next start does.
                drop(pen.connection.close().await);
            }
            drop(ended);
        });
    }

    /// Commits all of it. Safe to cancel: a commit whose caller has gone is made as a whole or not at all, and never if
    /// it hadn't begun. The same is true of one that got no answer in time.
    pub(in crate::store) async fn commit(
        &self,
        writes: &[Write<'_>],
        fence: impl Fn(&Duty) -> Option<Fence>,
    ) -> Result<Vec<Recorded>, StoreError> {
        let changes = writes.iter().filter_map(|write| Change::of(write, &fence)).collect();
        let answer = self.lanes.push(changes)?;
        let source: Box<dyn Error + Send + Sync> = match timeout(self.answer_max, answer).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(lost)) => Box::new(lost),
            Err(late) => Box::new(late),
        };
        Err(StoreError::Unavailable { operation: "commit", source })
    }

    /// Makes the commits that wait, and ends.
    pub(in crate::store) async fn close(&self) {
        self.lanes.close();
        // A disk that hangs keeps nobody from stopping; what is left, the next start finds.
        drop(timeout(CLOSE_MAX, self.ended.cancelled()).await);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.lanes.close();
    }
}

/// Takes turns until no commit waits and none can come. Answers with its connection, if it has one.
pub(in crate::store) async fn work<C: Send + 'static, T: Future<Output = Option<C>> + Send + 'static>(
    lanes: &Arc<Lanes>,
    mut connection: Option<C>,
    turn: impl Fn(Arc<Lanes>, Option<C>) -> T,
) -> Option<C> {
    while lanes.wait().await {
        // In a task of its own: one that panics takes its commits along, which tells their callers, and its connection.
        connection = tokio::spawn(turn(Arc::clone(lanes), connection.take())).await.unwrap_or_default();
    }
    connection
}

/// Makes or refuses the commits of one group. Answers with the connection, if it may be used again.
async fn turn(lanes: Arc<Lanes>, pen: Option<Pen>, origin: Arc<Origin>) -> Option<Pen> {
    if let Err(error) = origin.check().await {
        lanes.refuse_group("find the database's file", &error);
        return pen;
    }
    let was_used = pen.is_some();
    let mut pen = match pen {
        Some(pen) => pen,
        None => match origin.pen().await {
            Ok(pen) => pen,
            Err(error) => {
                lanes.refuse_group("open the database", &(Arc::new(error) as Failure));
                return None;
            }
        },
    };
    let run = transaction::run(&mut pen, &lanes);
    let done = match TURN_MAX {
        // The commits that were taken up are dropped with it, which tells their callers.
        Some(max) => timeout(max, run).await.unwrap_or(Ok(false)),
        None => run.await,
    };
    match done {
        Ok(is_usable) => is_usable.then_some(pen),
        // The connection was lost since it was used last, and nobody was taken up: another one is tried, once.
        Err(_) if was_used && CONNECTIONS_ARE_LOST => Box::pin(turn(lanes, None, origin)).await,
        Err(error) => {
            lanes.refuse_group("begin a transaction", &error);
            None
        }
    }
}
