//! Pages of what has to end are read along indexes.

use chrono::DateTime;

use super::{
    super::sql::upkeep::{select_closing, select_endings, select_open},
    raw::plan,
};
use crate::access::id::GrantId;

#[tokio::test]
async fn a_page_reads_no_more_than_it_shows() {
    let (at, id) = (DateTime::UNIX_EPOCH, GrantId::new(DateTime::UNIX_EPOCH, 1));
    let cases = [
        (select_closing(at, 1), "SEARCH g USING INDEX grants_closing (closes_at<?)"),
        (select_open(None, 1), "SCAN g USING INDEX grants_open"),
        (select_open(Some(id), 1), "SEARCH g USING INDEX grants_open (id>?)"),
        (select_endings(None, 1), "SCAN g USING INDEX grants_longest_revoking"),
        (
            select_endings(Some((at, id)), 1),
            "SEARCH g USING INDEX grants_longest_revoking ((begun_at,id)>(?,?))",
        ),
    ];
    for (query, expected) in cases {
        // Nothing is sorted, or that would be a second step.
        assert_eq!(plan(query.sql().as_str()).await, [expected]);
    }
}
