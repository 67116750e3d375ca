//! Brings the schema up to date, or says why it can't be used as it is. The migrations are part of the program; a
//! committed one never changes.

use std::collections::BTreeMap;

use sqlx::migrate::MigrateError;

use super::{
    DbConnection,
    dialect::{MIGRATIONS, TABLES},
};
use crate::store::{Migrate, OpenError};

/// Answers with the versions that were applied now.
pub(in crate::store) async fn run(
    connection: &mut DbConnection,
    migrate: Migrate,
) -> Result<Vec<i64>, OpenError> {
    let applied = applied(connection).await?;
    for (version, checksum) in &applied {
        let Some(known) = MIGRATIONS.iter().find(|known| known.version == *version) else {
            return Err(OpenError::Newer { version: *version });
        };
        if known.checksum != *checksum {
            return Err(OpenError::Altered { version: *version });
        }
    }
    let versions = MIGRATIONS.iter().map(|known| known.version);
    let pending: Vec<_> = versions.filter(|version| !applied.contains_key(version)).collect();
    match migrate {
        Migrate::No if !pending.is_empty() => Err(OpenError::Pending { count: pending.len() }),
        Migrate::No => Ok(pending),
        Migrate::Yes => MIGRATIONS.run(connection).await.map(|()| pending).map_err(not_applied),
    }
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
