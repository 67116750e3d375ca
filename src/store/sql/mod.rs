//! What is the same in every SQL database, written once and compiled once for each: `super::dialect` is the database's own
//! part, and [`Db`] the database.
//!
//! Parameters are `$1`, `$2`, …, which all databases here take. What they spell differently are macros of the dialect; what
//! they do differently are its functions.

pub(in crate::store) mod checkpoints;
pub(in crate::store) mod condition;
pub(in crate::store) mod due;
pub(in crate::store) mod erase;
pub(in crate::store) mod events;
pub(in crate::store) mod freezes;
pub(in crate::store) mod listing;
pub(in crate::store) mod migrations;
pub(in crate::store) mod pen;
pub(in crate::store) mod read;
pub(in crate::store) mod readers;
pub(in crate::store) mod settings;
pub(in crate::store) mod snapshot;
pub(in crate::store) mod store;
pub(in crate::store) mod stream;
pub(in crate::store) mod totals;
pub(in crate::store) mod transaction;
pub(in crate::store) mod upkeep;
pub(in crate::store) mod write;
pub(in crate::store) mod writer;

use std::time::Duration;

use sqlx::Database;

use super::dialect;
pub(in crate::store) use super::dialect::Db;
use crate::store::{grant_row, request_row, rows, waiting};

/// A connection.
pub(in crate::store) type DbConnection = <Db as Database>::Connection;
/// What a statement did.
pub(in crate::store) type Done = <Db as Database>::QueryResult;
/// What a query answers with.
pub(in crate::store) type DbRow = <Db as Database>::Row;

/// How long closing waits for reads, and then for commits, that are under way. What a disk that hangs doesn't let finish
/// is left to the next start.
pub(in crate::store) const CLOSE_MAX: Duration = Duration::from_secs(5);
