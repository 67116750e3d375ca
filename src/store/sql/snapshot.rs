//! Reading all of one moment.

use async_trait::async_trait;
use sqlx::QueryBuilder;

use super::{
    checkpoints::CheckpointRow,
    dialect::{self, Moment},
    events, freezes,
    grant_row::{self, GrantRow},
    read::requests_query,
    request_row::RequestRow,
    rows::failed,
};
use crate::{
    access::{event::Recorded, freeze::Freeze, grant::Grant, id::RequestId, request::Request},
    store::{Checkpoint, LogRow, Snapshot, StoreError},
};

#[async_trait]
impl Snapshot for Moment {
    fn is_stale(&self) -> bool {
        self.is_over()
    }

    async fn file_faults(&mut self) -> Result<Vec<String>, StoreError> {
        dialect::file_faults(&mut self.connection).await.map_err(failed("check the database"))
    }

    async fn log(&mut self, after: i64, limit: u32) -> Result<Vec<LogRow>, StoreError> {
        let select = "SELECT sequence, leaf, hashes, texts FROM audit_events WHERE sequence > $1 ORDER BY sequence LIMIT $2";
        let query = sqlx::query_as(select).bind(after).bind(i64::from(limit));
        query.fetch_all(&mut self.connection).await.map_err(failed("read the log"))
    }

    async fn checkpoint_after(&mut self, size: u64) -> Result<Option<Checkpoint>, StoreError> {
        let select =
            "SELECT size, root, note, signed_at FROM checkpoints WHERE size > $1 ORDER BY size LIMIT 1";
        let query = sqlx::query_as(select).bind(i64::try_from(size).unwrap_or(i64::MAX));
        let row: Option<CheckpointRow> =
            query.fetch_optional(&mut self.connection).await.map_err(failed("read a checkpoint"))?;
        row.map(CheckpointRow::checkpoint).transpose()
    }

    async fn requests(&mut self, after: &str, limit: u32) -> Result<Vec<String>, StoreError> {
        let query = sqlx::query_scalar("SELECT id FROM requests WHERE id > $1 ORDER BY id LIMIT $2");
        let query = query.bind(after).bind(i64::from(limit));
        query.fetch_all(&mut self.connection).await.map_err(failed("list requests"))
    }

    async fn request(&mut self, id: RequestId) -> Result<Request, StoreError> {
        let operation = "read a request";
        let mut query = requests_query();
        query.push(" WHERE r.id = ").push_bind(id.to_string());
        let row: RequestRow =
            query.build_query_as().fetch_one(&mut self.connection).await.map_err(failed(operation))?;
        row.read(operation)
    }

    async fn grants(&mut self, request: RequestId) -> Result<Vec<Grant>, StoreError> {
        let operation = "read the grants of a request";
        let mut query = QueryBuilder::new(grant_row::SELECT);
        query.push(" WHERE g.request_id = ").push_bind(request.to_string()).push(" ORDER BY g.id");
        let rows: Vec<GrantRow> =
            query.build_query_as().fetch_all(&mut self.connection).await.map_err(failed(operation))?;
        rows.into_iter().map(|row| row.read(operation)).collect()
    }

    async fn timeline(&mut self, request: RequestId) -> Result<Vec<Recorded>, StoreError> {
        events::timeline_of(&mut self.connection, request).await
    }

    async fn strays(&mut self) -> Result<Vec<String>, StoreError> {
        let select = "\
            SELECT DISTINCT 'request ' || request_id FROM request_events e \
             WHERE NOT EXISTS (SELECT 1 FROM requests WHERE id = e.request_id) \
            UNION ALL SELECT 'grant ' || id FROM grants g \
             WHERE NOT EXISTS (SELECT 1 FROM requests WHERE id = g.request_id) LIMIT 100";
        sqlx::query_scalar(select)
            .fetch_all(&mut self.connection)
            .await
            .map_err(failed("look for what is missing"))
    }

    async fn listed_wrongly(&mut self) -> Result<Vec<String>, StoreError> {
        let select = concat!(
            "\
            WITH listed AS (SELECT request_id AS id, name FROM request_groups), \
                 asked AS (SELECT r.id, j.value AS name FROM requests r, ",
            each_text!("r.groups"),
            " j), \
                 more AS (SELECT * FROM listed EXCEPT SELECT * FROM asked), \
                 less AS (SELECT * FROM asked EXCEPT SELECT * FROM listed) \
            SELECT id FROM more UNION SELECT id FROM less LIMIT 100"
        );
        sqlx::query_scalar(select)
            .fetch_all(&mut self.connection)
            .await
            .map_err(failed("compare the groups of requests"))
    }

    async fn freezes(&mut self) -> Result<Vec<Freeze>, StoreError> {
        let select = "\
            SELECT id, extent, by_subject, by_name, reason, frozen_at, ends_grants, thawed_at, revision \
              FROM freezes ORDER BY id";
        let rows: Vec<freezes::Row> = sqlx::query_as(select)
            .fetch_all(&mut self.connection)
            .await
            .map_err(failed("read the freezes"))?;
        rows.into_iter().map(freezes::Row::freeze).collect()
    }
}
