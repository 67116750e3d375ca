//! One transaction for all who wait when it begins: they share the wait for the disk and the way to it, and nothing else.
//!
//! At first all are made together, statement by statement. If one of several can't be, because of a conflict, that transaction is
//! rolled back, and in another one each has a savepoint, so that a conflict undoes one commit alone (I4 holds for each of them).
//! Not at once, because conflicts are rare, and for a savepoint SQLite keeps each page that is changed in it as it was.
//!
//! Nobody is answered before the whole is durable: a conflict, too, may be with a change that isn't yet.

use std::sync::Arc;

use sqlx::{Connection as _, Transaction};

use super::{
    Db, DbConnection, dialect,
    pen::Pen,
    waiting::{
        job::{Answer, Change, Failure, Job},
        lanes::Lanes,
    },
    write,
};
use crate::{ledger::tree::Frontier, store::StoreError};

/// Commits a group, and answers whether the connection may be used again. After a failure (the disk is full, say, and
/// SQLite has rolled back by itself) the driver's count of open transactions can't be relied on.
///
/// # Errors
///
/// If it couldn't begin. Then all who wait still do.
pub(in crate::store) async fn run(pen: &mut Pen, lanes: &Lanes) -> Result<bool, Failure> {
    match together(pen, lanes).await? {
        Together::Ended { is_usable } => Ok(is_usable),
        Together::Undone(jobs) => Ok(one_by_one(pen, jobs).await),
    }
}

/// What became of a group.
enum Together {
    /// All are answered, and the connection may be used again, or not.
    Ended { is_usable: bool },
    /// One of several couldn't be made, so none is.
    Undone(Vec<Job>),
}

/// Makes the commits of all who wait.
async fn together(pen: &mut Pen, lanes: &Lanes) -> Result<Together, Failure> {
    let Pen { connection, frontier } = pen;
    let mut transaction = dialect::begin(connection, frontier).await?;
    // The group is taken now, so that whoever came while the lock was waited for is in it, the urgent ones first.
    let (jobs, mut grown) = (lanes.group(), frontier.clone());
    let changes: Vec<&[Change]> = jobs.iter().map(|job| job.changes.as_slice()).collect();
    let is_usable = match write::write(&mut transaction, &mut grown, &changes).await {
        Ok(recorded) => {
            let executed = jobs.into_iter().zip(recorded.into_iter().map(Ok)).collect();
            commit(transaction, executed, (frontier, grown)).await
        }
        Err(error) => match transaction.rollback().await {
            Ok(()) if jobs.len() > 1 => return Ok(Together::Undone(jobs)),
            Ok(()) => end(Ok(()), jobs.into_iter().zip([Err(error)]).collect()),
            Err(lost) => refuse(jobs, "commit", &(Arc::new(lost) as Failure)),
        },
    };
    Ok(Together::Ended { is_usable })
}

/// Makes each of the commits that can be made.
async fn one_by_one(pen: &mut Pen, jobs: Vec<Job>) -> bool {
    let Pen { connection, frontier } = pen;
    let mut transaction = match dialect::begin(connection, frontier).await {
        Ok(transaction) => transaction,
        Err(error) => return refuse(jobs, "begin a transaction", &error),
    };
    let (mut jobs, mut grown, mut executed) = (jobs.into_iter(), frontier.clone(), Vec::new());
    while let Some(job) = jobs.next() {
        match in_savepoint(&mut transaction, &mut grown, &job.changes).await {
            Ok(answer) => executed.push((job, answer)),
            Err(lost) => {
                let all = executed.into_iter().map(|(job, _)| job).chain([job]).chain(jobs);
                return refuse(all, "commit", &(Arc::new(lost) as Failure));
            }
        }
    }
    commit(transaction, executed, (frontier, grown)).await
}

/// Ends a transaction, with what is answered if that succeeds and the edge that the tree has then. What everybody has given up
/// on had better not happen: they are told that it failed.
async fn commit(
    transaction: Transaction<'_, Db>,
    executed: Vec<(Job, Answer)>,
    (frontier, grown): (&mut Frontier, Frontier),
) -> bool {
    if !executed.iter().any(|(job, _)| job.is_wanted()) {
        return end(transaction.rollback().await, executed);
    }
    let committed = transaction.commit().await;
    if committed.is_ok() {
        *frontier = grown;
    }
    end(committed, executed)
}

/// Answers all of them when their transaction has ended.
fn end(ended: Result<(), sqlx::Error>, executed: Vec<(Job, Answer)>) -> bool {
    if let Err(error) = ended {
        return refuse(executed.into_iter().map(|(job, _)| job), "commit", &(Arc::new(error) as Failure));
    }
    let mut is_clean = true;
    for (job, answer) in executed {
        is_clean &= matches!(answer, Ok(_) | Err(StoreError::Conflict { .. } | StoreError::OffDuty { .. }));
        job.answer(answer);
    }
    is_clean
}

/// Tells all of them that it failed.
fn refuse(jobs: impl IntoIterator<Item = Job>, operation: &'static str, error: &Failure) -> bool {
    jobs.into_iter().for_each(|job| job.refuse(operation, error));
    false
}

/// Makes one commit or leaves no trace of it. The outer error is a transaction that is lost: SQLite knows the savepoint no
/// more.
async fn in_savepoint(
    connection: &mut DbConnection,
    frontier: &mut Frontier,
    changes: &[Change],
) -> Result<Answer, sqlx::Error> {
    let mut savepoint = connection.begin().await?;
    let mut grown = frontier.clone();
    match write::write(&mut savepoint, &mut grown, &[changes]).await {
        Ok(mut recorded) => {
            savepoint.commit().await?;
            *frontier = grown;
            Ok(Ok(recorded.pop().unwrap_or_default()))
        }
        Err(error) => savepoint.rollback().await.map(|()| Err(error)),
    }
}
