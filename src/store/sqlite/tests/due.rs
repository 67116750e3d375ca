//! What is due costs what is due.

use super::{
    super::sql::due::{CLOSING, LAPSING, NEXT_DEADLINE, REVOKING},
    raw::plan,
};

#[tokio::test]
async fn nothing_due_costs_nothing() {
    let cases = [
        (with_ones(LAPSING), &["requests_lapsing"][..]),
        (with_ones(CLOSING), &["grants_closing"][..]),
        (with_ones(REVOKING), &["grants_revoking"][..]),
        (with_ones(NEXT_DEADLINE), &["requests_lapsing", "grants_closing"][..]),
    ];
    for (statement, indexes) in cases {
        let plan = plan(&statement).await;
        for index in indexes {
            assert!(plan.iter().any(|step| step.contains(index)), "{index} is unused: {plan:#?}");
        }
        let on_table = |step: &&String| ["requests", "grants", " r", " g"].iter().any(|t| step.contains(t));
        for step in plan.iter().filter(on_table) {
            assert!(step.contains(" INDEX "), "a table is read whole: {plan:#?}");
        }
    }
}

fn with_ones(statement: &str) -> String {
    statement.replace("$1", "1").replace("$2", "1")
}
