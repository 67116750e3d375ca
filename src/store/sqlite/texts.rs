//! Texts, looked for in one request's row and in the indexes of all.

use sqlx::{QueryBuilder, Sqlite};

use super::sql::stream::{direction, push_last};
use crate::{access::id::RequestId, store::RequestFilter};

/// How many requests' texts one page's search goes through at most. A text that is rare, of trigrams that aren't, makes
/// the index compare long lists.
const TEXTS_MAX: i64 = 200_000;

/// What has a phrase, by the places of the requests in the order of submission: their rowids.
#[derive(Debug)]
pub(in crate::store) struct TextStream {
    phrase: String,
}

impl TextStream {
    /// The column of `requests` that its keys are of.
    pub(in crate::store) const KEY: &'static str = "rowid";

    /// What has this text.
    pub(in crate::store) fn of(text: &str) -> Self {
        Self { phrase: phrase(text) }
    }

    /// The keys after a place; all of them if there is no limit.
    pub(in crate::store) fn push(
        &self,
        query: &mut QueryBuilder<Sqlite>,
        filter: &RequestFilter,
        after: Option<RequestId>,
        limit: Option<u32>,
    ) {
        for (union, index) in [("", "reason_index"), (" UNION ", "statement_index")] {
            query.push(format_args!("{union}SELECT rowid AS key FROM {index} WHERE {index} MATCH "));
            query.push_bind(self.phrase.clone());
            if limit.is_some() {
                push_texts_bounds(query, filter, after);
            }
        }
        query.push(format_args!(" ORDER BY 1 {}", direction(filter)));
    }

    /// The id of the last one that was looked at; NULL if the stream ended before.
    pub(in crate::store) fn push_resume(
        query: &mut QueryBuilder<Sqlite>,
        filter: &RequestFilter,
        after: Option<RequestId>,
        looked_at_max: u32,
    ) {
        query.push("(SELECT id FROM requests WHERE rowid = coalesce(");
        push_last(query, looked_at_max);
        query.push(", ");
        push_texts_start(query, filter, after);
        query.push(if filter.oldest_first { " + " } else { " - " });
        query.push_bind(TEXTS_MAX).push("))");
    }
}

/// A text of one request is looked for in its row, since the indexes of texts take a millisecond for each in a history of a
/// million. LIKE knows the cases of ASCII only; what else is one letter in another case, the indexes say.
pub(in crate::store) fn push_text(query: &mut QueryBuilder<Sqlite>, text: &str) {
    let (pattern, phrase) = (pattern(text), phrase(text));
    query.push(" AND r.texts_erased_at IS NULL AND (r.reason LIKE ").push_bind(pattern.clone());
    query.push(
        " ESCAPE '\\' OR EXISTS (SELECT 1 FROM decisions d WHERE d.request_id = r.id AND d.statement LIKE ",
    );
    query.push_bind(pattern).push(" ESCAPE '\\')");
    let other_letters = if text.is_ascii() {
        [
            "octet_length(r.reason) > length(r.reason) AND ",
            "EXISTS (SELECT 1 FROM decisions d WHERE d.request_id = r.id \
                     AND octet_length(d.statement) > length(d.statement)) AND ",
        ]
    } else {
        ["", ""]
    };
    for (index, condition) in ["reason_index", "statement_index"].iter().zip(other_letters) {
        query.push(" OR (").push(condition);
        query.push(format_args!("EXISTS (SELECT 1 FROM {index} WHERE rowid = r.rowid AND {index} MATCH "));
        query.push_bind(phrase.clone()).push("))");
    }
    query.push(")");
}

/// What a text with this one in it is LIKE.
fn pattern(text: &str) -> String {
    format!("%{}%", text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"))
}

/// A text as one phrase of the index's query language (<https://www.sqlite.org/fts5.html#fts5_strings>), in which nothing
/// but a quote has a meaning.
fn phrase(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// Where the texts of a page begin: after the place of that request, or at the list's end.
fn push_texts_start(query: &mut QueryBuilder<Sqlite>, filter: &RequestFilter, after: Option<RequestId>) {
    match after {
        Some(after) => {
            query.push("(SELECT rowid FROM requests WHERE id = ").push_bind(after.to_string()).push(")");
        }
        None if filter.oldest_first => {
            query.push("0");
        }
        None => {
            query.push("(SELECT coalesce(max(rowid), 0) + 1 FROM requests)");
        }
    }
}

fn push_texts_bounds(query: &mut QueryBuilder<Sqlite>, filter: &RequestFilter, after: Option<RequestId>) {
    let (first, last, sign) = if filter.oldest_first { ("> ", "<= ", " + ") } else { ("< ", ">= ", " - ") };
    query.push(" AND rowid ").push(first);
    push_texts_start(query, filter, after);
    query.push(" AND rowid ").push(last);
    push_texts_start(query, filter, after);
    query.push(sign).push_bind(TEXTS_MAX);
}
