//! One moment of the database, in a transaction that only reads.

use sqlx::postgres::PgConnection;

use super::{Server, sql::migrations};
use crate::store::{Migrate, OpenError};

/// See the module.
#[derive(Debug)]
pub struct Moment {
    pub(in crate::store) connection: PgConnection,
}

impl Moment {
    /// Opens a database.
    ///
    /// # Errors
    ///
    /// If it can't be used, or isn't of this version's schema.
    pub async fn open(server: &Server) -> Result<Self, OpenError> {
        let mut connection = server.connect().await?;
        migrations::run(&mut connection, Migrate::No).await?;
        // Whoever verifies a million leaves between two reads isn't idle.
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL idle_in_transaction_session_timeout = 0";
        let done = sqlx::raw_sql(begin).execute(&mut connection).await;
        done.map_err(OpenError::database("read the database as of one moment"))?;
        Ok(Self { connection })
    }

    /// Nobody's writing changes what is seen.
    #[expect(clippy::unused_self, reason = "of a file it is asked")]
    pub(in crate::store) const fn is_over(&self) -> bool {
        false
    }
}

/// PostgreSQL looks at a page when it reads it; whoever wants all of them looked at has `pg_amcheck`.
pub(in crate::store) async fn file_faults(_: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    Ok(Vec::new())
}
