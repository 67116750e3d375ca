//! `[store]`: where the records are kept, in a file of this machine or on a server that several daemons share.

use std::{
    ffi::OsString,
    fmt,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{files::Files, section::Section, value};
use crate::store::postgres::Address;

/// Where the daemon is asked by commands, if the database is on a server and nothing else is said.
pub(super) const CONTROL: &str = "/run/hallpass/control";

/// Long enough that a daemon that works is heard of in time, and short enough that what it was at isn't forgotten.
const TAKEOVER_AFTER: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_mins(5);

/// Less can't be told from the way to the server; more would show in windows.
const CLOCK_MAX: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(10);

/// Where the records are kept.
#[derive(Clone, Debug)]
pub struct Store {
    /// The database.
    pub database: Database,
    /// The socket where the daemon is asked by `hallpassd reload`, `backup` and `reconcile`: an absolute path.
    pub control: PathBuf,
}

/// A database, which needn't have been used before.
#[derive(Clone, Debug)]
pub enum Database {
    /// An `SQLite` file: an absolute path.
    File(PathBuf),
    /// One on a PostgreSQL server.
    Server {
        /// Where it is, and as whom to log in.
        address: Address,
        /// The file with the password, if it takes one.
        password_file: Option<PathBuf>,
        /// How the daemon shares it with others.
        shared: Shared,
    },
}

/// How daemons share a database.
#[derive(Clone, Debug)]
pub struct Shared {
    /// What the daemon is called among them; the machine's name, if it isn't said.
    pub name: Option<String>,
    /// How long others wait before they take over what one is at that isn't heard of.
    pub takeover_after: Duration,
    /// How far the daemon's clock may be from the server's.
    pub clock_max: Duration,
}

/// For people.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server { address, .. } => address.fmt(f),
        }
    }
}

/// Where commands ask the daemon that has a database file.
pub(super) fn beside(database: &Path) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(".control");
    PathBuf::from(name)
}

pub(super) fn read(mut section: Section<'_>, files: Files<'_>) -> Option<Store> {
    let is_on_server = section.has("url");
    let only_there: Vec<&str> =
        ["name", "takeover_after", "clock_max"].into_iter().filter(|key| section.has(key)).collect();
    let url = section.optional("url", |found| Address::parse(&value::text(found)?).map_err(str::to_owned));
    let password_file = section.optional("password_file", |found| files.secret(&value::file(found)?));
    let is_in_file = section.has("path");
    let path = section.optional("path", value::absolute);
    let control = section.optional("control", value::absolute);
    let name = section.optional("name", value::text);
    let takeover_after = section.or("takeover_after", "'10s'", value::duration(TAKEOVER_AFTER));
    let clock_max = section.or("clock_max", "'1s'", value::duration(CLOCK_MAX));
    if !is_on_server {
        for key in only_there {
            section.problem(
                key,
                "is for a database on a server that daemons share; name that as url, or take this out",
            );
        }
    }
    if !is_on_server && !is_in_file {
        let write = "the database's file, like \"/var/lib/hallpass/hallpass.db\", or the URL of one on a server as url";
        section.problem("path", format!("is missing; write {write}"));
    }
    if is_on_server && is_in_file {
        section.problem("path", "can't stand beside url: the records are in one place; take one of them out");
    }
    if !is_on_server && password_file.as_ref().is_some_and(Option::is_some) {
        section.problem("password_file", "is for a database on a server; name that as url, or take this out");
    }
    section.finish();
    let (url, path, password_file, control) = (url?, path?, password_file?, control?);
    let shared = Shared { name: name?, takeover_after: takeover_after?, clock_max: clock_max? };
    match (url, path) {
        (Some(address), None) => {
            let control = control.unwrap_or_else(|| CONTROL.into());
            Some(Store { database: Database::Server { address, password_file, shared }, control })
        }
        (None, Some(path)) if password_file.is_none() => {
            let control = control.unwrap_or_else(|| beside(&path));
            Some(Store { database: Database::File(path), control })
        }
        _ => None,
    }
}
