//! Makes leaves of events that were recorded before the log was a tree, in their order. Once: then their table is gone.

use serde_json::Value;
use sqlx::{Connection, FromRow, sqlite::SqliteConnection};

use super::sql::events::{self, AppendedRow};
use crate::{
    access::{
        actor::Actor,
        event::{About, Recorded, add_digests},
    },
    ledger::{leaf::Leaf, tree::Frontier},
    store::{
        Migrate, OpenError, StoreError,
        rows::{Problem, corrupt, failed, id, instant, person, target},
    },
};

/// How many rows are read at a time.
const PAGE: i64 = 1000;

const FIND: &str = "SELECT count(*) FROM sqlite_schema WHERE name = 'audit_events_without_tree'";

const SELECT: &str = "\
    SELECT sequence, recorded_at, actor_kind, actor_subject, actor_name, kind, request_id, grant_id, target, detail \
      FROM audit_events_without_tree WHERE sequence > ? ORDER BY sequence LIMIT ?";

/// Adopts what there is, in one transaction.
pub(super) async fn run(connection: &mut SqliteConnection, migrate: Migrate) -> Result<(), OpenError> {
    let failed = OpenError::database("make the events of before leaves of the log");
    let is_there: bool = sqlx::query_scalar(FIND).fetch_one(&mut *connection).await.map_err(&failed)?;
    match migrate {
        _ if !is_there => return Ok(()),
        Migrate::No => return Err(OpenError::Pending { count: 1 }),
        Migrate::Yes => {}
    }
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
    adopt(&mut transaction).await.map_err(OpenError::Unreadable)?;
    sqlx::query("DROP TABLE audit_events_without_tree").execute(&mut *transaction).await.map_err(&failed)?;
    transaction.commit().await.map_err(failed)
}

async fn adopt(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let operation = "make the events of before leaves of the log";
    let (mut frontier, mut last) = (Frontier::default(), 0);
    loop {
        let query = sqlx::query_as(SELECT).bind(last).bind(PAGE);
        let page: Vec<FormerRow> = query.fetch_all(&mut *connection).await.map_err(failed(operation))?;
        if page.is_empty() {
            return Ok(());
        }
        let mut rows = Vec::with_capacity(page.len());
        for row in page {
            last = row.sequence;
            let event =
                row.event().map_err(|problem| corrupt(operation, format!("audit event {last}"), problem))?;
            rows.push(AppendedRow::of(Leaf::of(&event), &mut frontier));
        }
        events::append(connection, &rows).await?;
    }
}

#[derive(FromRow)]
struct FormerRow {
    sequence: i64,
    recorded_at: i64,
    actor_kind: String,
    actor_subject: Option<String>,
    actor_name: Option<String>,
    kind: String,
    request_id: Option<String>,
    grant_id: Option<String>,
    target: Option<String>,
    detail: String,
}

impl FormerRow {
    fn event(self) -> Result<Recorded, Problem> {
        let actor = match (self.actor_kind.as_str(), self.actor_subject, self.actor_name) {
            ("PERSON", Some(subject), Some(name)) => Actor::Person(person(subject, name)),
            ("DAEMON", None, None) => Actor::Daemon,
            _ => return Err("its columns fit no actor"),
        };
        let about = About {
            request: self.request_id.as_deref().map(id).transpose()?,
            grant: self.grant_id.as_deref().map(id).transpose()?,
            target: self.target.as_deref().map(target).transpose()?,
        };
        let mut detail: Value = serde_json::from_str(&self.detail).map_err(|_| "its detail is malformed")?;
        add_digests(&self.kind, &mut detail);
        let at = instant(self.recorded_at)?;
        Ok(Recorded { sequence: self.sequence, at, actor, about, kind: self.kind, detail })
    }
}
