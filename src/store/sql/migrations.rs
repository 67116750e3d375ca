//! Brings the schema up to date, or says why it can't be used as it is. The migrations are part of the program; a
//! committed one never changes.

use std::collections::BTreeMap;

use sqlx::migrate::MigrateError;

use super::{
    DbConnection,
    dialect::{self, MIGRATIONS, TABLES},
};
use crate::store::{Migrate, OpenError};

/// Answers with the versions that were applied now.
pub(in crate::store) async fn run(
    connection: &mut DbConnection,
    migrate: Migrate,
) -> Result<Vec<i64>, OpenError> {
    if migrate == Migrate::No {
        return match pending(connection).await?.len() {
            0 => Ok(Vec::new()),
            count => Err(OpenError::Pending { count }),
        };
    }
    // One at a time: whoever comes second finds it done.
    dialect::lock_migrations(connection).await.map_err(OpenError::database("lock the schema"))?;
    let pending = pending(connection).await?;
    if !pending.is_empty() {
        MIGRATIONS.run(&mut *connection).await.map_err(not_applied)?;
    }
    dialect::unlock_migrations(connection).await.map_err(OpenError::database("unlock the schema"))?;
    Ok(pending)
}

/// The versions that aren't applied yet; or why the schema isn't one to use.
async fn pending(connection: &mut DbConnection) -> Result<Vec<i64>, OpenError> {
    let applied = applied(connection).await?;
    let newest = MIGRATIONS.iter().map(|known| known.version).max().unwrap_or_default();
    for (version, checksum) in &applied {
        match MIGRATIONS.iter().find(|known| known.version == *version) {
            Some(known) if known.checksum == *checksum => {}
            Some(_) => return Err(OpenError::Altered { version: *version }),
            None if dialect::is_usable(connection, newest).await? => {}
            None => return Err(OpenError::Newer { version: *version }),
        }
    }
    let versions = MIGRATIONS.iter().map(|known| known.version);
    Ok(versions.filter(|version| !applied.contains_key(version)).collect())
}

/// The versions that the database says it has, with their checksums.
async fn applied(connection: &mut DbConnection) -> Result<BTreeMap<i64, Vec<u8>>, OpenError> {
    let failed = OpenError::database("read the schema");
    let (tables, has_migrations): (i64, bool) =
        sqlx::query_as(TABLES).fetch_one(&mut *connection).await.map_err(&failed)?;
    if !has_migrations {
        return if tables == 0 { Ok(BTreeMap::new()) } else { Err(OpenError::Foreign) };
    }
    let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations")
        .fetch_all(connection)
        .await
        .map_err(&failed)?;
    Ok(rows.into_iter().collect())
}

fn not_applied(source: MigrateError) -> OpenError {
    OpenError::Database { operation: "bring the schema up to date", source: Box::new(source) }
}
