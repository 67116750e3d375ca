//! `hallpass audit report`: fetches a month, and writes its page.

use std::{
    fs,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use clap::Args;
use tempfile::NamedTempFile;

use super::page::{Month, Numbers, end, exception, head};
use crate::{
    cli::{
        App,
        audit::{list, summary},
        connect::Server,
        error::Failure,
        pages::each_page,
    },
    wire::{Exception, GetExceptionRequest, ListOrder, RequestFilter},
};

const AFTER_HELP: &str = "\
Examples:
  hallpass audit report --month 2026-10
  hallpass audit report --month last      # by a timer, at the beginning of each month
  hallpass audit report --month 2026-10 --file /srv/audit/october.html --force";

/// The arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct ReportArgs {
    /// The month in which access was requested, in UTC; `last` is the one before this.
    #[arg(long, value_name = "YYYY-MM", value_parser = read_month)]
    month: Asked,
    /// Where to write it [default: hallpass-YYYY-MM.html].
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Write over a file that is there.
    #[arg(long)]
    force: bool,
}

/// A month, or the one before this. A type of its own, because clap takes an `Option` for what may be left out.
type Asked = std::option::Option<Month>;

fn read_month(text: &str) -> Result<Asked, String> {
    if text == "last" { Ok(None) } else { text.parse().map(Some) }
}

/// Runs the verb.
///
/// # Errors
///
/// If the server refuses, or the file can't be written. Nothing is left of a page that isn't whole.
pub(in crate::cli) async fn run(app: &App, args: ReportArgs) -> Result<(), Failure> {
    let month = args.month.unwrap_or_else(|| Month::before(app.clock.now()));
    let file = args.file.unwrap_or_else(|| month.file_name().into());
    if !args.force && fs::exists(&file).unwrap_or_default() {
        let failure = Failure::usage(format!("{} is there already", file.display()));
        return Err(failure.hint("name another one with `--file`, or add `--force`"));
    }
    let page = write(app, month, &file).await?;
    page.persist(&file).map_err(|error| not_written(&file, &error.error))?;
    app.out.note(&format!("wrote {}", file.display()));
    Ok(())
}

async fn write(app: &App, month: Month, file: &Path) -> Result<NamedTempFile, Failure> {
    let failed = |error: std::io::Error| not_written(file, &error);
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let page = NamedTempFile::new_in(directory).map_err(failed)?;
    let (server, filter, made_at) = (app.server()?, month.filter(), app.clock.now());
    let totals = summary::fetch(app, filter.clone()).await?;
    let mut numbers = Numbers::default();
    let count = |page: Vec<Exception>| {
        for one in &page {
            numbers.count(one);
        }
        Ok(())
    };
    each_page(None, list::page(&server, &filter, ListOrder::OldestFirst), count).await?;
    let mut out = BufWriter::new(page.as_file());
    out.write_all(head(month, made_at, &totals, &numbers).as_bytes()).map_err(failed)?;
    let mut written = 0;
    let dossiers = |page: Vec<Exception>| {
        for one in page {
            out.write_all(exception(&one, made_at).as_bytes()).map_err(failed)?;
            written += 1;
        }
        Ok(())
    };
    each_page(None, whole(&server, &filter), dossiers).await?;
    out.write_all(end(written).as_bytes()).and_then(|()| out.flush()).map_err(failed)?;
    drop(out);
    page.as_file().sync_all().map_err(failed)?;
    Ok(page)
}

/// Fetches a page of exceptions with their timelines.
fn whole<'a>(
    server: &'a Server,
    filter: &'a RequestFilter,
) -> impl AsyncFnMut(i32, String) -> Result<(Vec<Exception>, String), Failure> + 'a {
    let mut listed = list::page(server, filter, ListOrder::OldestFirst);
    async move |page_size, page_token| {
        let (page, next) = listed(page_size, page_token).await?;
        let mut whole = Vec::with_capacity(page.len());
        for one in page {
            let get = server.call(GetExceptionRequest { name: one.name });
            whole.push(server.answer(server.exceptions().get_exception(get)).await?);
        }
        Ok((whole, next))
    }
}

fn not_written(file: &Path, error: &std::io::Error) -> Failure {
    Failure::local(format!("cannot write {}: {error}", file.display()))
        .hint("name another file with `--file`")
}
