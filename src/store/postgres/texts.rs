//! Texts, looked for by their trigrams: each row's in the lower case of its upper case, as the indexes have them, so that what is
//! one letter to a reader is one here.

use sqlx::{Postgres, QueryBuilder};

use super::sql::stream::{direction, push_ids_bounds, push_last};
use crate::{access::id::RequestId, store::RequestFilter};

/// What has a text in it, by the ids of the requests.
#[derive(Debug)]
pub(in crate::store) struct TextStream {
    pattern: String,
}

impl TextStream {
    /// The column of `requests` that its keys are of.
    pub(in crate::store) const KEY: &'static str = "id";

    /// What has this text.
    pub(in crate::store) fn of(text: &str) -> Self {
        Self { pattern: pattern(text) }
    }

    /// The keys after a place; all of them if there is no limit.
    pub(in crate::store) fn push(
        &self,
        query: &mut QueryBuilder<Postgres>,
        filter: &RequestFilter,
        after: Option<RequestId>,
        limit: Option<u32>,
    ) {
        let branches =
            [("", "id", "requests", "reason"), (" UNION ", "request_id", "decisions", "statement")];
        for (union, id, table, text) in branches {
            query.push(format_args!(
                "{union}(SELECT DISTINCT {id} AS key FROM {table} WHERE texts_erased_at IS NULL"
            ));
            query.push(" AND ");
            push_is_like(query, text, &self.pattern);
            push_ids_bounds(query, id, filter, after);
            if let Some(limit) = limit {
                query
                    .push(format_args!(" ORDER BY 1 {} LIMIT ", direction(filter)))
                    .push_bind(i64::from(limit));
            }
            query.push(")");
        }
        query.push(format_args!(" ORDER BY 1 {}", direction(filter)));
    }

    /// The id of the last one that was looked at; NULL if the stream ended before.
    pub(in crate::store) fn push_resume(
        query: &mut QueryBuilder<Postgres>,
        _: &RequestFilter,
        _: Option<RequestId>,
        looked_at_max: u32,
    ) {
        push_last(query, looked_at_max);
    }
}

/// That a request `r` has a text in its reason or in a statement.
pub(in crate::store) fn push_text(query: &mut QueryBuilder<Postgres>, text: &str) {
    let pattern = pattern(text);
    query.push(" AND r.texts_erased_at IS NULL AND (");
    push_is_like(query, "r.reason", &pattern);
    query.push(" OR EXISTS (SELECT 1 FROM decisions d WHERE d.request_id = r.id AND ");
    push_is_like(query, "d.statement", &pattern);
    query.push("))");
}

fn push_is_like(query: &mut QueryBuilder<Postgres>, column: &'static str, pattern: &str) {
    query.push(format_args!("lower(upper({column} COLLATE \"und-x-icu\")) LIKE lower(upper("));
    query.push_bind(pattern.to_owned()).push("::text COLLATE \"und-x-icu\"))");
}

/// What a text with this one in it is LIKE.
fn pattern(text: &str) -> String {
    format!("%{}%", text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"))
}
