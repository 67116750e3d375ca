//! The whole database as of one moment, row by row, for `hallpassd fsck`: also while daemons have it, and without changing
//! anything.
//!
//! What a row says is handed out as it stands, also where it isn't what hallpass writes: whoever looks for faults wants to
//! see them.

use async_trait::async_trait;
use sqlx::FromRow;

use super::{Checkpoint, StoreError};
use crate::access::{event::Recorded, freeze::Freeze, grant::Grant, id::RequestId, request::Request};

/// A row of the log, as it stands.
#[derive(Debug, FromRow)]
pub struct LogRow {
    /// Its place.
    pub sequence: i64,
    /// The leaf.
    pub leaf: String,
    /// The hashes of the subtrees that end with it.
    pub hashes: Vec<u8>,
    /// The texts beside it.
    pub texts: Option<String>,
}

/// See the module.
#[async_trait]
pub trait Snapshot: Send {
    /// Whether somebody began to write while it was read as if nobody could.
    fn is_stale(&self) -> bool;

    /// What the database itself finds wrong with its files: pages, indexes, constraints.
    ///
    /// # Errors
    ///
    /// If the database fails.
    async fn file_faults(&mut self) -> Result<Vec<String>, StoreError>;

    /// The log's rows after a place, in order.
    ///
    /// # Errors
    ///
    /// If the database fails.
    async fn log(&mut self, after: i64, limit: u32) -> Result<Vec<LogRow>, StoreError>;

    /// The first checkpoint of more than so many events.
    ///
    /// # Errors
    ///
    /// If the database fails, or it can't be read.
    async fn checkpoint_after(&mut self, size: u64) -> Result<Option<Checkpoint>, StoreError>;

    /// The requests' ids after one, in order.
    ///
    /// # Errors
    ///
    /// If the database fails.
    async fn requests(&mut self, after: &str, limit: u32) -> Result<Vec<String>, StoreError>;

    /// One request, as its row and its decisions' rows say it.
    ///
    /// # Errors
    ///
    /// If the database fails, or the rows are none that hallpass writes.
    async fn request(&mut self, id: RequestId) -> Result<Request, StoreError>;

    /// The grants of a request, in the order of their ids.
    ///
    /// # Errors
    ///
    /// If the database fails, or a row is none that hallpass writes.
    async fn grants(&mut self, request: RequestId) -> Result<Vec<Grant>, StoreError>;

    /// The events of a request and its grants, in order.
    ///
    /// # Errors
    ///
    /// If the database fails, or one can't be read.
    async fn timeline(&mut self, request: RequestId) -> Result<Vec<Recorded>, StoreError>;

    /// Which requests events speak of that aren't there, and which grants are of no request: a few.
    ///
    /// # Errors
    ///
    /// If the database fails.
    async fn strays(&mut self) -> Result<Vec<String>, StoreError>;

    /// The requests that are listed by other groups than their rows have: a few.
    ///
    /// # Errors
    ///
    /// If the database fails.
    async fn listed_wrongly(&mut self) -> Result<Vec<String>, StoreError>;

    /// All freezes, also those that are over, in the order of their ids.
    ///
    /// # Errors
    ///
    /// If the database fails, or a row is none that hallpass writes.
    async fn freezes(&mut self) -> Result<Vec<Freeze>, StoreError>;
}
