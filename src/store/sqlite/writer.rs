//! The one way to write: all changes of a commit and their events in one transaction, which either commits or leaves no
//! trace (I4). Nothing is written outside of a commit.
//!
//! One task has the only connection that writes. Callers put their commits in its [`lanes`] and wait for an answer, so a
//! caller who leaves takes nothing along. Each [`transaction`] makes the commits of all who wait then. The task opens
//! another connection after a transaction that failed, and never while one hangs: that one has the database's lock, so
//! another could do nothing, and there would be a thread more for each try.

mod job;
mod lanes;
mod pen;
mod transaction;

#[cfg(test)]
mod tests;

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{Connection, sqlite::SqliteConnectOptions};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(super) use self::pen::Pen;
use self::{
    job::{Change, Failure},
    lanes::Lanes,
};
use super::{
    ANSWER_MAX, CLOSE_MAX,
    files::{self, Identity},
};
use crate::{
    access::event::Recorded,
    store::{StoreError, Write},
};

/// Where commits are handed in.
#[derive(Debug)]
pub(super) struct Writer {
    lanes: Arc<Lanes>,
    /// How long a caller waits, in his lane and for the disk.
    answer_max: Duration,
    /// Cancelled when the task is over and its connection is closed.
    ended: CancellationToken,
}

impl Writer {
    /// Writes to this file, which must be the one that is connected to. Its task ends when this is closed or dropped.
    pub(super) fn new(file: &Path, options: SqliteConnectOptions, pen: Pen) -> io::Result<Self> {
        let origin = Origin { identity: files::identity(file)?, file: file.to_owned(), options };
        let (lanes, ended) = (Arc::default(), CancellationToken::new());
        let writer = Self { lanes, answer_max: ANSWER_MAX, ended };
        writer.start(origin, pen);
        Ok(writer)
    }

    fn start(&self, origin: Origin, pen: Pen) {
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
    pub(super) async fn commit(&self, writes: &[Write<'_>]) -> Result<Vec<Recorded>, StoreError> {
        let answer = self.lanes.push(writes.iter().map(Change::of).collect())?;
        let source: Box<dyn Error + Send + Sync> = match timeout(self.answer_max, answer).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(lost)) => Box::new(lost),
            Err(late) => Box::new(late),
        };
        Err(StoreError::Unavailable { operation: "commit", source })
    }

    /// Makes the commits that wait, and ends.
    pub(super) async fn close(&self) {
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

/// Where connections come from.
#[derive(Debug)]
struct Origin {
    file: PathBuf,
    identity: Identity,
    options: SqliteConnectOptions,
}

impl Origin {
    /// A file that was removed can be written to for as long as it is open, and everything is lost at the end.
    async fn check_file(&self) -> Result<(), Failure> {
        let file = self.file.clone();
        // On a thread of its own: a file system that hangs may hang here as well, and must not keep others from running.
        let found = tokio::task::spawn_blocking(move || files::identity(&file)).await;
        match found.map_err(io::Error::from).flatten() {
            Ok(identity) if identity == self.identity => Ok(()),
            Ok(_) => {
                let replaced = "another file has taken the database's place; stop hallpassd and put it back";
                Err(Failure::from(Box::<dyn Error + Send + Sync>::from(replaced)))
            }
            Err(error) => Err(Arc::new(error)),
        }
    }
}

/// Takes turns until no commit waits and none can come. Answers with its connection, if it has one.
async fn work<C: Send + 'static, T: Future<Output = Option<C>> + Send + 'static>(
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
    if let Err(error) = origin.check_file().await {
        lanes.refuse_group("find the database's file", &error);
        return pen;
    }
    let mut pen = match pen {
        Some(pen) => pen,
        None => match Pen::open(&origin.options).await {
            Ok(pen) => pen,
            Err(error) => {
                lanes.refuse_group("open the database", &(Arc::new(error) as Failure));
                return None;
            }
        },
    };
    transaction::run(&mut pen, &lanes).await.then_some(pen)
}
