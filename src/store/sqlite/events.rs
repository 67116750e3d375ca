//! The audit log: appending to it, and reading it in order. Nothing here changes or removes an event, and the table's
//! triggers refuse it.

use sqlx::{FromRow, QueryBuilder, Sqlite, sqlite::SqliteConnection};

use super::{
    read::push_scope,
    readers::Readers,
    rows::{Problem, corrupt, id, instant, millis, person, target},
};
use crate::{
    access::{
        actor::Actor,
        event::{About, Event, Recorded},
        id::RequestId,
        policy::Scope,
    },
    store::StoreError,
};

const SELECT: &str = "\
    SELECT e.sequence, e.recorded_at, e.actor_kind, e.actor_subject, e.actor_name, e.kind, e.request_id, e.grant_id, \
           e.target, e.detail \
      FROM audit_events e";

/// The one writer is what makes the next place safe to compute; a trigger refuses any other.
const APPEND: &str = "\
    INSERT INTO audit_events (sequence, recorded_at, actor_kind, actor_subject, actor_name, kind, request_id, \
                              grant_id, target, detail) \
    VALUES ((SELECT coalesce(max(sequence), 0) + 1 FROM audit_events), ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// Appends an event in the transaction that is under way, and answers with it in its place.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    event: &Event,
) -> Result<Recorded, sqlx::Error> {
    let Event { at, actor, about, fact } = event;
    let (kind, detail) = fact.parts();
    let (actor_kind, who) = match actor {
        Actor::Person(person) => ("PERSON", Some(person)),
        Actor::Daemon => ("DAEMON", None),
    };
    let appended = sqlx::query(APPEND)
        .bind(millis(*at))
        .bind(actor_kind)
        .bind(who.map(|person| person.subject.as_str()))
        .bind(who.map(|person| person.name.as_str()))
        .bind(kind.as_str())
        .bind(about.request.map(|id| id.to_string()))
        .bind(about.grant.map(|id| id.to_string()))
        .bind(about.target.as_ref().map(ToString::to_string))
        .bind(detail.to_string())
        .execute(connection)
        .await?;
    let sequence = appended.last_insert_rowid();
    Ok(Recorded { sequence, at: *at, actor: actor.clone(), about: about.clone(), kind, detail })
}

/// Everything that is recorded of one request and its grants, in order.
pub(super) async fn timeline(readers: &Readers, request: RequestId) -> Result<Vec<Recorded>, StoreError> {
    let mut query = QueryBuilder::new(SELECT);
    query.push(" WHERE e.request_id = ").push_bind(request.to_string()).push(" ORDER BY e.sequence");
    all(readers, query, "read a timeline").await
}

/// Events of requests in the scope after a place in the log, in order. Events of no request aren't among them.
pub(super) async fn after(
    readers: &Readers,
    scope: &Scope,
    request: Option<RequestId>,
    sequence: i64,
    limit: u32,
) -> Result<Vec<Recorded>, StoreError> {
    let mut query = QueryBuilder::new(SELECT);
    query.push(" WHERE e.sequence > ").push_bind(sequence);
    match request {
        Some(request) => query.push(" AND e.request_id = ").push_bind(request.to_string()),
        None => query.push(" AND e.request_id IS NOT NULL"),
    };
    if *scope != Scope::All {
        query.push(" AND EXISTS (SELECT 1 FROM requests r WHERE r.id = e.request_id");
        push_scope(&mut query, scope, "r.requester_subject", "r.target");
        query.push(")");
    }
    query.push(" ORDER BY e.sequence LIMIT ").push_bind(i64::from(limit));
    all(readers, query, "read events").await
}

/// The place of the last event; 0 if there is none.
pub(super) async fn last_sequence(readers: &Readers) -> Result<i64, StoreError> {
    let read =
        sqlx::query_scalar("SELECT coalesce(max(sequence), 0) FROM audit_events").fetch_one(readers.pool());
    readers.answer("read the log's length", read).await
}

async fn all(
    readers: &Readers,
    mut query: QueryBuilder<Sqlite>,
    operation: &'static str,
) -> Result<Vec<Recorded>, StoreError> {
    let read = query.build_query_as().fetch_all(readers.pool());
    let rows: Vec<EventRow> = readers.answer(operation, read).await?;
    rows.into_iter().map(|row| row.read(operation)).collect()
}

#[derive(FromRow)]
struct EventRow {
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

impl EventRow {
    fn read(self, operation: &'static str) -> Result<Recorded, StoreError> {
        let what = format!("audit event {}", self.sequence);
        self.event().map_err(|problem| corrupt(operation, what, problem))
    }

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
        Ok(Recorded {
            sequence: self.sequence,
            at: instant(self.recorded_at)?,
            actor,
            about,
            kind: self.kind,
            detail: serde_json::from_str(&self.detail).map_err(|_| "its detail is malformed")?,
        })
    }
}
