//! Looking at the server for `hallpassd doctor`, also while daemons use it: nothing is changed.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::FromRow;

use super::{Server, sql::migrations};
use crate::{
    clock::Clock,
    store::{Migrate, OpenError},
};

/// What was found.
#[derive(Debug)]
pub struct Inspection {
    /// What the server says of itself.
    pub server: Said,
    /// How far its clock is ahead of this machine's.
    pub clock_ahead: TimeDelta,
    /// Whether the schema is this version's.
    pub schema: Result<(), OpenError>,
}

/// What a server says of itself and of this session.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
#[expect(clippy::struct_excessive_bools, reason = "they are the server's settings, each by itself")]
pub struct Said {
    /// Its version.
    pub version: String,
    /// It takes no writes: it is a standby, or was told so.
    pub read_only: bool,
    /// It waits for the disk.
    pub fsync: bool,
    /// A page that was half written when the power failed can be put right.
    pub full_page_writes: bool,
    /// hallpass logs in as somebody who may do anything there.
    pub superuser: bool,
    /// The session is encrypted.
    pub encrypted: bool,
    /// Its clock, in milliseconds since 1970.
    pub now: i64,
}

const SELECT: &str = "\
    SELECT current_setting('server_version') AS version, \
           pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool AS read_only, \
           current_setting('fsync')::bool AS fsync, \
           current_setting('full_page_writes')::bool AS full_page_writes, \
           (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser, \
           coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS encrypted, \
           (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now";

/// Looks at a server and the database there.
///
/// # Errors
///
/// If it can't be reached, or isn't one that hallpass can use.
pub async fn inspect(server: &Server, clock: &dyn Clock) -> Result<Inspection, OpenError> {
    let mut connection = server.connect().await?;
    let begun_at = clock.now();
    let said: Said = sqlx::query_as(SELECT)
        .fetch_one(&mut connection)
        .await
        .map_err(OpenError::database("ask the server about itself"))?;
    let clock_ahead = ahead(said.now, begun_at, clock.now());
    let schema = migrations::run(&mut connection, Migrate::No).await.map(|_| ());
    Ok(Inspection { server: said, clock_ahead, schema })
}

/// How far the server's clock is ahead, which said between two times of this machine how late it is (in milliseconds since 1970).
pub(super) fn ahead(said: i64, begun_at: DateTime<Utc>, now: DateTime<Utc>) -> TimeDelta {
    TimeDelta::milliseconds(said - (begun_at + (now - begun_at) / 2).timestamp_millis())
}
