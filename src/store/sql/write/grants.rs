//! Changes of grants. A change is stored only over the very state and revision that it started from.

use serde::Serialize;

use super::{super::DbConnection, execute_all};
use crate::{
    access::{change::Change, grant::Grant},
    store::{StoreError, grant_row::Columns, rows::millis},
};

const OPERATION: &str = "record a grant";

const INSERT: &str = concat!(
    "INSERT INTO grants (id, request_id, target, credential_path, holder_subject, holder_name, opens_at, closes_at, \
                         opened_at, state, revision) \
     SELECT n.value ->> 'id', n.value ->> 'request_id', n.value ->> 'target', n.value ->> 'credential_path', \
            n.value ->> 'holder_subject', n.value ->> 'holder_name', CAST(n.value ->> 'opens_at' AS BIGINT), \
            CAST(n.value ->> 'closes_at' AS BIGINT), CAST(n.value ->> 'opened_at' AS BIGINT), n.value ->> 'state', \
            CAST(n.value ->> 'revision' AS BIGINT) \
       FROM ",
    each_row!("$1")
);

const UPDATE: &str = concat!(
    "UPDATE grants SET state = n.value ->> 'state', revision = CAST(n.value ->> 'revision' AS BIGINT), \
                       token_accessor = n.value ->> 'token_accessor', \
                       wrapping_accessor = n.value ->> 'wrapping_accessor', lease_id = n.value ->> 'lease_id', \
                       activated_at = CAST(n.value ->> 'activated_at' AS BIGINT), cause = n.value ->> 'cause', \
                       begun_at = CAST(n.value ->> 'begun_at' AS BIGINT), step = n.value ->> 'step', \
                       error = n.value ->> 'error', revoked_at = CAST(n.value ->> 'revoked_at' AS BIGINT), \
                       failed_at = CAST(n.value ->> 'failed_at' AS BIGINT), \
                       alarms = CAST(n.value ->> 'alarms' AS BIGINT) \
       FROM ",
    each_row!("$1"),
    " WHERE grants.id = n.value ->> 'id' AND grants.state = n.value ->> 'from' \
        AND grants.revision = CAST(n.value ->> 'revision' AS BIGINT) - 1"
);

/// Stores changes of different grants in the transaction that is under way: first those of what is there, because a grant
/// that replaces another may only come when that one ends.
pub(super) async fn write(
    connection: &mut DbConnection,
    changes: &[&Change<Grant>],
) -> Result<(), StoreError> {
    let (mut new, mut next) = (Vec::new(), Vec::new());
    for change in changes {
        match change.from() {
            None => new.push(NewRow::of(change.after())),
            Some(from) => next.push(NextRow::of(change.after(), from)),
        }
    }
    execute_all(connection, OPERATION, UPDATE, &next).await?;
    execute_all(connection, OPERATION, INSERT, &new).await
}

#[derive(Serialize)]
struct NewRow<'g> {
    id: String,
    request_id: String,
    target: &'g str,
    credential_path: &'g str,
    holder_subject: &'g str,
    holder_name: &'g str,
    opens_at: i64,
    closes_at: i64,
    opened_at: i64,
    state: &'static str,
    revision: i64,
}

impl<'g> NewRow<'g> {
    fn of(grant: &'g Grant) -> Self {
        Self {
            id: grant.id.to_string(),
            request_id: grant.request.to_string(),
            target: grant.target.as_str(),
            credential_path: grant.credential_path.as_str(),
            holder_subject: grant.holder.subject.as_str(),
            holder_name: grant.holder.name.as_str(),
            opens_at: millis(grant.window.opens_at()),
            closes_at: millis(grant.window.closes_at()),
            opened_at: millis(grant.opened_at),
            state: grant.state.name(),
            revision: grant.revision,
        }
    }
}

/// With what the grant must still be like.
#[derive(Serialize)]
struct NextRow<'g> {
    id: String,
    from: &'g str,
    state: &'static str,
    revision: i64,
    #[serde(flatten)]
    columns: Columns,
}

impl<'g> NextRow<'g> {
    fn of(after: &Grant, from: &'g str) -> Self {
        let (id, revision) = (after.id.to_string(), after.revision);
        Self { id, from, state: after.state.name(), revision, columns: Columns::of(&after.state) }
    }
}
