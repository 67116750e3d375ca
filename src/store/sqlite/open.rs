//! Opening the database: whoever gets a store has a file that is his alone, that others can't read, and whose
//! connections keep what they promise. Everything else is refused with what to do about it.

use std::path::Path;

use super::{
    SqliteStore, adopt, connect,
    dialect::Origin,
    files,
    sql::{migrations, pen::Pen, readers::Readers, settings, writer::Writer},
};
use crate::{
    clock::Clock,
    store::{Migrate, OpenError},
};

/// Opens the database and answers with the migrations that were applied.
pub(super) async fn open(
    file: &Path,
    migrate: Migrate,
    clock: &dyn Clock,
) -> Result<(SqliteStore, Vec<i64>), OpenError> {
    // Before anything touches the file.
    connect::check_version().await?;
    let lock = files::claim(file, migrate)?;
    let options = connect::writing(file);
    let mut connection = connect::writer(&options).await?;
    let applied = migrations::run(&mut connection, migrate).await?;
    adopt::run(&mut connection, migrate).await?;
    if migrate == Migrate::Yes {
        settings::make(&mut connection, clock).await.map_err(OpenError::database("make the digest key"))?;
    }
    let (people, daemon) = (Readers::for_people(file).await?, Readers::for_daemon(file).await?);
    let reports = Readers::for_reports(file).await?;
    let pen = Pen::of(connection).await?;
    let origin = Origin::new(file, options.clone())
        .map_err(|source| OpenError::File { file: file.to_owned(), source })?;
    let writer = Writer::new(origin, pen);
    Ok((SqliteStore { people, reports, daemon, writer, options, _lock: lock }, applied))
}
