//! What is long over is found along an index.

use chrono::DateTime;

use super::{super::sql::erase::select_past, raw::plan};

/// However long the history is, and however much of it is without its texts.
#[tokio::test]
async fn only_what_is_old_and_has_its_texts_is_looked_at() {
    let plan = plan(select_past(DateTime::UNIX_EPOCH, 1).sql().as_str()).await;
    assert!(plan.contains(&"SEARCH r USING INDEX requests_with_texts (id<?)".to_owned()), "{plan:#?}");
    assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE FOR ORDER BY")), "{plan:#?}");
    assert!(!plan.iter().any(|step| step.starts_with("SCAN")), "{plan:#?}");
}
