//! `[report]`: the month's report, which the daemon writes by itself when the month is over.
//!
//! The page is the one that `hallpass audit report` writes ([`crate::cli::report`]), out of the same messages. A report that is
//! there is never written again: what was handed over stays what it was. If the daemon was down at the time, or the disk was
//! full, the report is written later.

use std::{
    future::pending,
    io,
    path::{Path, PathBuf},
};

use chrono::{DateTime, TimeDelta, Utc};
use tempfile::TempPath;
use tokio::{fs, io::AsyncWriteExt as _};
use tracing::{error, info};

use crate::{
    access::id::RequestId,
    broker::{self, Broker, Exception, Part, RequestFilter, Slice},
    cli::report::{Month, Numbers, end, exception, head},
    grpc,
    schedule::Schedule,
    sweep::Chores,
};

/// How many exceptions are read at a time.
const PAGE: u32 = 200;
/// The pause after a report that couldn't be written.
const AGAIN: TimeDelta = TimeDelta::minutes(10);

/// Writes a report for each month.
#[derive(Clone, Debug)]
pub struct Reports {
    /// Who knows what is in it, and when it is time.
    pub chores: Chores,
    /// Where the reports are. It is made if it isn't there; its parent isn't.
    pub directory: PathBuf,
    /// When the one of the month before is written.
    pub schedule: Schedule,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
enum Unwritten {
    #[error("cannot read what is in it")]
    Read(#[from] broker::Error),
    #[error("cannot write it; check that the daemon's user may, and that there is room")]
    Write(#[from] io::Error),
}

impl Reports {
    /// Writes each month's when its time has come, until the daemon stops.
    pub async fn run(self) {
        while !self.chores.stopping.is_cancelled() {
            let (now, month) = (self.chores.clock.now(), Month::before(self.chores.clock.now()));
            let (_, over_at) = month.bounds();
            // The schedule may name the very instant.
            let due_at = self.schedule.next_after(over_at - TimeDelta::milliseconds(1));
            if now < due_at {
                self.chores.wait_until(due_at, pending()).await;
                continue;
            }
            // A page that is being written goes with the daemon, and the next one writes it.
            tokio::select! {
                () = self.chores.stopping.cancelled() => {}
                next_at = self.write_or_tell(month, now) => self.chores.wait_until(next_at, pending()).await,
            }
        }
    }

    /// Answers with when there is something to do again.
    async fn write_or_tell(&self, month: Month, now: DateTime<Utc>) -> DateTime<Utc> {
        let file = self.directory.join(month.file_name());
        match self.write_unless_there(month, &file).await {
            Ok(()) => Month::of(now).bounds().1,
            Err(failure) => {
                let failure: &dyn std::error::Error = &failure;
                error!(
                    "event.action" = "report-failed",
                    error = failure,
                    "hallpass.report.file" = %file.display(),
                    "the report of {month} wasn't written; it is tried again"
                );
                now + AGAIN
            }
        }
    }

    async fn write_unless_there(&self, month: Month, file: &Path) -> Result<(), Unwritten> {
        if fs::try_exists(file).await? {
            return Ok(());
        }
        let (page, written) = self.write(month).await?;
        page.persist_noclobber(file).map_err(|failure| failure.error)?;
        fs::File::open(&self.directory).await?.sync_all().await?;
        info!(
            "event.action" = "report-written",
            "hallpass.report.file" = %file.display(),
            "hallpass.requests" = written,
            "the report of {month} was written: {written} exceptions"
        );
        Ok(())
    }

    /// Writes the page under another name, which goes with it if it isn't whole.
    async fn write(&self, month: Month) -> Result<(TempPath, u64), Unwritten> {
        match fs::create_dir(&self.directory).await {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
        let (file, page) =
            tempfile::Builder::new().prefix(".report").tempfile_in(&self.directory)?.into_parts();
        let (mut out, made_at) = (fs::File::from_std(file), self.chores.clock.now());
        let (from, until) = month.bounds();
        let filter = RequestFilter {
            submitted_from: Some(from),
            submitted_until: Some(until),
            oldest_first: true,
            ..RequestFilter::default()
        };
        let broker = self.chores.broker.renewed();
        let totals = grpc::totals(broker.totals_of_all(&filter).await?);
        let (mut numbers, mut all) = (Numbers::default(), All::new(&broker, &filter));
        while let Some(part) = all.next().await? {
            for one in part {
                numbers.count(&grpc::exception(one));
            }
        }
        out.write_all(head(month, made_at, &totals, &numbers).as_bytes()).await?;
        let (mut written, mut all) = (0, All::new(&broker, &filter));
        while let Some(part) = all.next().await? {
            for one in part {
                let whole = grpc::exception(broker.whole(one).await?);
                out.write_all(exception(&whole, made_at).as_bytes()).await?;
                written += 1;
            }
        }
        out.write_all(end(written).as_bytes()).await?;
        out.sync_all().await?;
        Ok((page, written))
    }
}

/// All exceptions of a filter, some at a time.
struct All<'a> {
    broker: &'a Broker,
    filter: &'a RequestFilter,
    after: Option<RequestId>,
    is_over: bool,
}

impl<'a> All<'a> {
    const fn new(broker: &'a Broker, filter: &'a RequestFilter) -> Self {
        Self { broker, filter, after: None, is_over: false }
    }

    /// The next ones, without their timelines: none of them at all where the search goes on.
    async fn next(&mut self) -> Result<Option<Vec<Exception>>, broker::Error> {
        if self.is_over {
            return Ok(None);
        }
        let Part { items, resume } =
            self.broker.all(self.filter, Slice { after: self.after, limit: PAGE }).await?;
        let last = items.last().map(|one| one.request.request.id);
        self.after = resume.or(last.filter(|_| items.len() >= PAGE as usize));
        self.is_over = self.after.is_none();
        Ok(Some(items))
    }
}
