//! How the events of one request are found.

use sqlx::Execute as _;

use super::{
    super::sql::events::{select_after, select_timeline},
    raw::plan,
};
use crate::access::{id::RequestId, policy::Scope};

/// However long the log is: along an index, and what isn't in it yet by its place at the log's end.
#[tokio::test]
async fn only_the_end_of_the_log_is_looked_through() {
    let request = RequestId::new(chrono::DateTime::UNIX_EPOCH, 1);
    for mut query in [select_timeline(request), select_after(&Scope::All, Some(request), 0, 1)] {
        let plan = plan(query.build().sql().as_str()).await;
        let has = |step: &str| plan.iter().any(|one| one.starts_with(step));
        assert!(has("SEARCH i USING PRIMARY KEY (request_id=?"), "{plan:#?}");
        assert!(has("SEARCH audit_events USING INTEGER PRIMARY KEY (rowid>?"), "{plan:#?}");
        assert!(!has("SCAN") && !has("USE TEMP B-TREE"), "{plan:#?}");
    }
}
