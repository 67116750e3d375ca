//! One transaction for all who wait when it begins: they share the wait for the disk, and nothing else. Each of several commits
//! has a savepoint of its own, so that a conflict undoes that one alone (I4 holds for each of them). One that is alone is
//! undone with its transaction: for a savepoint, SQLite keeps each page that is changed in it as it was, and writes these to a
//! file when they are many.
//!
//! Nobody is answered before the whole is durable: a conflict, too, may be with a change that isn't yet.

use std::sync::Arc;

use sqlx::{Connection, sqlite::SqliteConnection};

use super::{
    super::{checkpoints, erase, events, freezes, rows::failed, write},
    job::{Answer, Change, Failure, Job},
    lanes::Lanes,
    pen::Pen,
};
use crate::{access::event::Recorded, ledger::tree::Frontier, store::StoreError};

/// Commits a group, and answers whether the connection may be used again. After a failure (the disk is full, say, and
/// SQLite has rolled back by itself) the driver's count of open transactions can't be relied on.
pub(super) async fn run(pen: &mut Pen, lanes: &Lanes) -> bool {
    // IMMEDIATE takes the write lock at once, so that what is read in it stays true until the end. The group is taken
    // after that, so that whoever came while the lock was waited for is in it, the urgent ones first.
    let mut transaction = match pen.connection.begin_with("BEGIN IMMEDIATE").await {
        Ok(transaction) => transaction,
        Err(error) => {
            lanes.refuse_group("begin a transaction", &(Arc::new(error) as Failure));
            return false;
        }
    };
    let (mut group, mut frontier) = (Group::default(), pen.frontier.clone());
    if let Err(error) = group.execute(&mut transaction, &mut frontier, lanes.group()).await {
        return group.refuse(error);
    }
    let is_kept = group.is_kept();
    let ended = if is_kept { transaction.commit().await } else { transaction.rollback().await };
    match ended {
        Ok(()) => {
            if is_kept {
                pen.frontier = frontier;
            }
            group.answer()
        }
        Err(error) => group.refuse(error),
    }
}

/// The commits of a transaction, with the answers that they get if it is committed.
#[derive(Default)]
struct Group {
    executed: Vec<(Job, Answer)>,
    /// Those that weren't come to, because one before lost the transaction.
    left: Vec<Job>,
}

impl Group {
    async fn execute(
        &mut self,
        connection: &mut SqliteConnection,
        frontier: &mut Frontier,
        jobs: Vec<Job>,
    ) -> Result<(), sqlx::Error> {
        let is_alone = jobs.len() == 1;
        let mut jobs = jobs.into_iter();
        while let Some(job) = jobs.next() {
            let made = if is_alone {
                Ok(apply(connection, frontier, &job.changes).await)
            } else {
                in_savepoint(connection, frontier, &job.changes).await
            };
            match made {
                Ok(answer) => self.executed.push((job, answer)),
                Err(lost) => {
                    self.left.push(job);
                    self.left.extend(jobs);
                    return Err(lost);
                }
            }
        }
        Ok(())
    }

    /// Whether the transaction is to be committed. What everybody has given up on had better not happen: they are told that it
    /// failed. And one that is alone and couldn't be made isn't undone yet.
    fn is_kept(&self) -> bool {
        let could_be_made = !matches!(self.executed.as_slice(), [(_, Err(_))]);
        could_be_made && self.executed.iter().any(|(job, _)| job.is_wanted())
    }

    fn answer(self) -> bool {
        let mut is_clean = true;
        for (job, answer) in self.executed {
            is_clean &= matches!(answer, Ok(_) | Err(StoreError::Conflict { .. }));
            job.answer(answer);
        }
        is_clean
    }

    /// Tells all of them that the transaction failed.
    fn refuse(self, error: sqlx::Error) -> bool {
        let error: Failure = Arc::new(error);
        for job in self.executed.into_iter().map(|(job, _)| job).chain(self.left) {
            job.refuse("commit", &error);
        }
        false
    }
}

/// Makes one commit or leaves no trace of it. The outer error is a transaction that is lost: SQLite knows the savepoint no
/// more.
async fn in_savepoint(
    connection: &mut SqliteConnection,
    frontier: &mut Frontier,
    changes: &[Change],
) -> Result<Answer, sqlx::Error> {
    let mut savepoint = connection.begin().await?;
    let mut grown = frontier.clone();
    match apply(&mut savepoint, &mut grown, changes).await {
        Ok(recorded) => {
            savepoint.commit().await?;
            *frontier = grown;
            Ok(Ok(recorded))
        }
        Err(error) => savepoint.rollback().await.map(|()| Err(error)),
    }
}

async fn apply(
    connection: &mut SqliteConnection,
    frontier: &mut Frontier,
    changes: &[Change],
) -> Result<Vec<Recorded>, StoreError> {
    let mut recorded = Vec::with_capacity(changes.len());
    for one in changes {
        let event = match one {
            Change::Request(change) => {
                write::request(connection, change).await?;
                change.event()
            }
            Change::Grant(change) => {
                write::grant(connection, change).await?;
                change.event()
            }
            Change::Freeze(change) => {
                freezes::write(connection, change).await?;
                change.event()
            }
            Change::Erasure(erasure) => {
                erase::write(connection, erasure).await?;
                erasure.event()
            }
            Change::Fact(event) => event,
            Change::Checkpoint(checkpoint) => {
                checkpoints::keep(connection, checkpoint).await?;
                continue;
            }
            Change::Cosignature(cosignature) => {
                checkpoints::keep_cosignature(connection, cosignature).await?;
                continue;
            }
        };
        recorded.push(
            events::append(connection, frontier, event).await.map_err(failed("append to the audit log"))?,
        );
    }
    Ok(recorded)
}
