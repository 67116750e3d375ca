//! The database: whether it is there, whole, up to date, kept from others, and has room to grow; or its server is one to rely on.

use std::path::Path;

use chrono::TimeDelta;

use super::{Database, finding::Finding};
use crate::{
    store::{
        OpenError,
        postgres::{Address, inspect as server},
        sqlite::inspect::{Faults, Inspection, Space},
    },
    telemetry,
};

/// Below this much free space the next busy hour may fill the disk, and then nothing can be submitted or claimed.
const BYTES_MIN: u64 = 64 << 20;

/// Below this much it is time to do something.
const BYTES_FEW: u64 = 1 << 30;

/// How far clocks may be apart: what decides about windows by the one shows in records by the other.
const CLOCK_MAX_MS: i64 = 1000;

/// Group and others.
const ANYBODY_ELSE: u32 = 0o077;

/// Write for others than the owner.
const OTHERS_WRITE: u32 = 0o022;

/// The database and where it is.
pub(super) fn findings(database: &Database) -> Vec<Finding> {
    match database {
        Database::File(file, seen) => of_file(file, seen),
        Database::Server(address, seen) => of_server(address, seen),
    }
}

fn of_server(address: &Address, seen: &Result<server::Inspection, OpenError>) -> Vec<Finding> {
    let about = format!("store {address}");
    let seen = match seen {
        Ok(seen) => seen,
        Err(error) => return vec![unusable(&about, error)],
    };
    let server::Said { version, read_only, fsync, full_page_writes, superuser, encrypted, .. } = &seen.server;
    let mut found = vec![match &seen.schema {
        Ok(()) => Finding::ok(&about, format!("its schema is up to date; PostgreSQL {version}")),
        Err(error) => unusable(&about, error),
    }];
    if *read_only {
        let advice = "name the primary in store.url, or a name that moves with it";
        found.push(Finding::fail(
            &about,
            "the server takes no writes: it is a standby, or read-only",
            advice,
        ));
    }
    for (name, is_on) in [("fsync", *fsync), ("full_page_writes", *full_page_writes)] {
        if !is_on {
            let said =
                format!("{name} is off: a power failure can lose what was answered, and the whole database");
            found.push(Finding::fail(
                &about,
                said,
                format!("ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf()"),
            ));
        }
    }
    if *superuser {
        let advice = "make a role that owns this database and nothing else, and name that in store.url";
        found.push(Finding::warn(&about, "hallpassd logs in as a superuser", advice));
    }
    if !encrypted && !address.is_local() {
        found.push(Finding::fail(
            &about,
            "the session isn't encrypted where it arrives: something between here and there takes that off",
            "name the server itself in store.url, not a pooler",
        ));
    }
    found.push(clock(&about, seen.clock_ahead));
    found
}

fn clock(about: &str, ahead: TimeDelta) -> Finding {
    let milliseconds = ahead.num_milliseconds();
    let said = format!("its clock is {milliseconds} ms ahead of this machine's");
    if milliseconds.abs() <= CLOCK_MAX_MS {
        Finding::ok(about, said)
    } else {
        Finding::fail(about, said, "have both follow the same time servers")
    }
}

fn of_file(file: &Path, seen: &Inspection) -> Vec<Finding> {
    let about = format!("store {}", file.display());
    let mut found = vec![whole(&about, file, &seen.faults)];
    found.extend(modes(&about, seen));
    found.push(space(&about, seen));
    found
}

fn whole(about: &str, file: &Path, faults: &Result<Faults, OpenError>) -> Finding {
    let restore = "stop hallpassd, keep the file, and put a backup in its place: docs/store.md";
    match faults {
        Err(error) => unusable(about, error),
        Ok(Faults::Found(faults)) if faults.is_empty() => {
            Finding::ok(about, "its schema is up to date, and no page is damaged")
        }
        Ok(Faults::Found(faults)) => {
            Finding::fail(about, format!("is damaged: {}", faults.join("; ")), restore)
        }
        Ok(Faults::TooLong) => Finding::warn(
            about,
            "its schema is up to date; looking at every page takes too long here",
            format!("sqlite3 -readonly {} 'PRAGMA quick_check'", file.display()),
        ),
        Ok(Faults::Unsettled) => Finding::warn(
            about,
            "was left by a process that was killed, or is a copy, and was not looked at",
            "start hallpassd, which puts it in order, and run this again",
        ),
    }
}

fn unusable(about: &str, error: &OpenError) -> Finding {
    let (said, advice) = split(error);
    let because = std::error::Error::source(error).map(|source| format!(": {}", telemetry::chain(source)));
    Finding::fail(about, said + &because.unwrap_or_default(), advice)
}

/// An opening error says after its semicolon what to do.
fn split(error: &OpenError) -> (String, String) {
    let text = error.to_string();
    match text.split_once("; ") {
        Some((said, advice)) => (said.to_owned(), advice.to_owned()),
        None => (text, "look at the file and its disk".to_owned()),
    }
}

fn modes(about: &str, seen: &Inspection) -> Vec<Finding> {
    let exposed = seen.file_modes.iter().filter(|(mode, _)| mode & ANYBODY_ELSE != 0);
    let mut found: Vec<Finding> = exposed
        .map(|(mode, file)| {
            let said = format!("others may use {} (its mode is {mode:04o})", file.display());
            Finding::fail(about, said, format!("chmod 0600 {}", file.display()))
        })
        .collect();
    let directory = seen.directory.display();
    if seen.directory_mode.is_some_and(|mode| mode & OTHERS_WRITE != 0) {
        let said = format!("others may put another database into {directory}");
        found.push(Finding::fail(about, said, format!("chmod go-w {directory}")));
    }
    found
}

fn space(about: &str, seen: &Inspection) -> Finding {
    let directory = seen.directory.display();
    let room = "make room there, but never by deleting the -wal file";
    match &seen.space {
        Err(error) => {
            let advice = "create it, owned by the user that hallpassd runs as; or correct store.path";
            Finding::fail(about, format!("the directory {directory} can't be looked at: {error}"), advice)
        }
        Ok(Space { files: Some(0), .. }) => {
            Finding::fail(about, format!("no more files can be made in {directory}"), room)
        }
        Ok(Space { bytes, .. }) => {
            let said = format!("{} are free in {directory}", amount(*bytes));
            match *bytes {
                0..BYTES_MIN => Finding::fail(about, said, room),
                BYTES_MIN..BYTES_FEW => Finding::warn(about, said, room),
                BYTES_FEW.. => Finding::ok(about, said),
            }
        }
    }
}

fn amount(bytes: u64) -> String {
    match bytes >> 20 {
        mebibytes @ 0..1024 => format!("{mebibytes} MiB"),
        mebibytes => format!("{} GiB", mebibytes >> 10),
    }
}
