//! Opening the database: whoever gets a store has connections that keep what they promise, to a database with this version's
//! schema.

use std::sync::OnceLock;

use super::{
    PostgresStore, Server, connect,
    dialect::Origin,
    sql::{migrations, readers::Readers, settings, writer::Writer},
};
use crate::{
    clock::Clock,
    store::{Migrate, OpenError},
};

/// Opens the database and answers with the migrations that were applied.
pub(super) async fn open(
    server: &Server,
    migrate: Migrate,
    clock: &dyn Clock,
) -> Result<(PostgresStore, Vec<i64>), OpenError> {
    let mut connection = server.connect().await?;
    let applied = migrations::run(&mut connection, migrate).await?;
    if migrate == Migrate::Yes {
        settings::make(&mut connection, clock).await.map_err(OpenError::database("make the digest key"))?;
    }
    let (people, daemon) = (Readers::for_people(server).await?, Readers::for_daemon(server).await?);
    let reports = Readers::for_reports(server).await?;
    let pen = connect::pen(connection).await?;
    let writer = Writer::new(Origin::new(server.clone()), pen);
    let (server, shared) = (server.clone(), OnceLock::new());
    Ok((PostgresStore { people, reports, daemon, writer, server, shared }, applied))
}
