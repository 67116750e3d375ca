//! Lists: where searches end, and what a page costs.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use super::{
    super::{
        connect,
        sql::{
            listing::{LOOKED_AT_MAX, READ_MAX, looked_at_max, part, statement},
            read,
        },
    },
    raw::plan,
};
use crate::{
    access::{id::RequestId, policy::Scope},
    clock::ManualClock,
    store::{HeldGrant, Migrate, Part, RequestFilter, Slice, sqlite::SqliteStore},
};

/// A hundred requests of two targets and three people; every tenth is about a queue.
async fn a_hundred() -> (tempfile::TempDir, SqliteStore) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("db");
    let clock = ManualClock::new(chrono::DateTime::UNIX_EPOCH);
    let store = SqliteStore::open(&file, Migrate::Yes, &clock).await.unwrap();
    let mut raw = connect::writer(&connect::writing(&file)).await.unwrap();
    let rows = "
        WITH RECURSIVE n(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM n LIMIT 100)
        INSERT INTO requests (id, target, credential_path, requester_subject, requester_name, duration_seconds,
                              reason, approvals_required, submitted_at, state, revision, lapses_at)
        SELECT printf('%026d', x), 't' || (x % 2), 'p', 's' || (x % 3), 'n', 1,
               iif(x % 10 = 3, 'the queue hangs', 'nothing'), 1, 0, 'PENDING', 1, 1 FROM n";
    sqlx::raw_sql(rows).execute(&mut raw).await.unwrap();
    (directory, store)
}

#[tokio::test]
async fn a_search_that_ends_early_goes_on_where_it_was() {
    let (_directory, store) = a_hundred().await;
    let text = |text: &str| RequestFilter { text: Some(text.into()), ..RequestFilter::default() };
    let of = |target: &str, filter: RequestFilter| RequestFilter { target: target.parse().ok(), ..filter };
    let some = Scope::Some { owner: "s1".into(), targets: BTreeSet::from(["t1".parse().unwrap()]) };
    let cases = [
        (Scope::All, text("QUEUE"), 10),
        (Scope::All, of("t1", text("queue")), 10),
        (Scope::All, RequestFilter { states: vec!["PENDING"], ..of("t1", RequestFilter::default()) }, 50),
        (Scope::All, RequestFilter { signed: Some(false), ..RequestFilter::default() }, 0),
        (some.clone(), text("queue"), 10),
        (some, of("t0", text("queue")), 0),
    ];
    for (scope, filter, expected) in cases {
        for oldest_first in [false, true] {
            let filter = RequestFilter { oldest_first, ..filter.clone() };
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let slice = Slice { after, limit: 3 };
                let Part { items, resume } = part(&store.people, &scope, &filter, slice, 7).await.unwrap();
                let last = items.last().map(|request| request.id);
                after = resume.or(last.filter(|_| items.len() == 3));
                found.extend(items.into_iter().map(|request| request.id));
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found.len(), expected, "{scope:?} {filter:?}");
            let in_order = |pair: &[RequestId]| (pair[0] < pair[1]) == oldest_first;
            assert!(found.windows(2).all(in_order), "{found:?}");
        }
    }
}

/// A page of somebody's ten thousand requests would take ten seconds otherwise if they aren't in ASCII.
#[test]
fn fewer_are_looked_at_where_each_ones_texts_are_searched() {
    let text = RequestFilter { text: Some("queue".into()), ..RequestFilter::default() };
    let of = RequestFilter { requester: Some("alice".into()), ..text.clone() };
    let own = Scope::Some { owner: "s1".into(), targets: BTreeSet::new() };
    assert_eq!(looked_at_max(&Scope::All, &text), LOOKED_AT_MAX, "the index of texts gives them");
    assert_eq!(looked_at_max(&Scope::All, &of), READ_MAX);
    assert_eq!(looked_at_max(&own, &text), READ_MAX);
    assert_eq!(looked_at_max(&own, &RequestFilter { text: None, ..of }), LOOKED_AT_MAX);
}

/// The place where a search ended is told, so it must not be that of what the caller can't see.
#[tokio::test]
async fn the_place_where_a_search_ended_is_in_the_scope() {
    let (_directory, store) = a_hundred().await;
    let scope = Scope::Some { owner: "s1".into(), targets: BTreeSet::new() };
    let filter = RequestFilter { text: Some("there is no such text".into()), ..RequestFilter::default() };
    let (mut after, mut places) = (None, 0);
    loop {
        let slice = Slice { after, limit: 3 };
        let Part { items, resume } = part(&store.people, &scope, &filter, slice, 5).await.unwrap();
        assert!(items.is_empty());
        let Some(place) = resume else { break };
        let place_of = read::request(&store.people, place).await.unwrap().unwrap();
        assert_eq!(place_of.ask.requester.subject, "s1");
        (after, places) = (Some(place), places + 1);
    }
    assert_eq!(places, 33 / 5);
}

/// How many steps SQLite takes for a page of three.
async fn steps(store: &SqliteStore, filter: &RequestFilter, looked_at_max: u32) -> u32 {
    let mut connection = store.people.pool().acquire().await.unwrap();
    let steps = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&steps);
    connection.lock_handle().await.unwrap().set_progress_handler(1, move || {
        counted.fetch_add(1, Ordering::Relaxed);
        true
    });
    let slice = Slice { after: None, limit: 3 };
    let mut query = statement(&Scope::All, filter, slice, looked_at_max);
    assert_eq!(query.build().fetch_all(&mut *connection).await.unwrap().len(), 3);
    connection.lock_handle().await.unwrap().remove_progress_handler();
    steps.load(Ordering::Relaxed)
}

#[tokio::test]
async fn a_full_page_is_read_without_what_comes_behind_it() {
    let (_directory, store) = a_hundred().await;
    let filters = [
        RequestFilter::default(),
        RequestFilter { requester: Some("n".into()), ..RequestFilter::default() },
        RequestFilter { target: "t1".parse().ok(), ..RequestFilter::default() },
        RequestFilter { text: Some("queue".into()), ..RequestFilter::default() },
    ];
    for filter in filters {
        assert_eq!(steps(&store, &filter, 100).await, steps(&store, &filter, 3).await, "{filter:?}");
    }
}

fn filters() -> Vec<(&'static str, RequestFilter)> {
    let none = RequestFilter::default;
    let grant = |grant: HeldGrant| RequestFilter { grant, ..none() };
    let some = || Some("x".to_owned());
    let minute = Some(std::time::Duration::from_mins(1));
    vec![
        ("sqlite_autoindex_requests_1", none()),
        ("requests_by_ticket", RequestFilter { ticket: some(), target: "t".parse().ok(), ..none() }),
        ("requests_by_requester_name", RequestFilter { requester: some(), ..none() }),
        ("decisions_by_approver_name", RequestFilter { approver: some(), ..none() }),
        ("grants_of_holder_name", grant(HeldGrant { holder: some(), ..HeldGrant::default() })),
        ("requests_by_target", RequestFilter { target: "t".parse().ok(), signed: Some(true), ..none() }),
        ("request_groups", RequestFilter { group: some(), ..none() }),
        ("requests_by_state", RequestFilter { states: vec!["DENIED", "LAPSED"], ..none() }),
        ("grants_in_state", grant(HeldGrant { states: vec!["FAILED"], ..HeldGrant::default() })),
        ("grants_by_cause", grant(HeldGrant { causes: vec!["FROZEN"], ..HeldGrant::default() })),
        ("grants_late", grant(HeldGrant { late_by: minute, ..HeldGrant::default() })),
        ("grants_early", grant(HeldGrant { early_by: minute, ..HeldGrant::default() })),
        ("audit_events_alarms", RequestFilter { alarmed: true, ..none() }),
        ("decisions_signed", RequestFilter { signed: Some(true), ..none() }),
        ("decisions_unsigned", RequestFilter { signed: Some(false), ..none() }),
        ("reason_index VIRTUAL TABLE INDEX", RequestFilter { text: some(), ..none() }),
    ]
}

/// Each stream is an index in its order, read as far as the page needs it: nothing is sorted but the page itself.
#[tokio::test]
async fn every_filter_is_read_from_its_index() {
    for (index, filter) in filters() {
        for oldest_first in [false, true] {
            let filter = RequestFilter { oldest_first, ..filter.clone() };
            let slice = Slice { after: Some(RequestId::new(chrono::DateTime::UNIX_EPOCH, 1)), limit: 51 };
            let plan = plan(statement(&Scope::All, &filter, slice, 100).sql().as_str()).await;
            let begin = plan.iter().position(|step| step.starts_with("CO-ROUTINE stream")).unwrap();
            let stream = &plan[begin + 1..plan.iter().position(|step| step.starts_with("SCAN s")).unwrap()];
            assert!(stream.iter().any(|step| step.contains(index)), "{index}: {plan:#?}");
            assert!(!stream.iter().any(|step| step.contains("TEMP B-TREE")), "{index}: {plan:#?}");
            let whole = |step: &&String| step.starts_with("SCAN r") && !step.contains("INDEX");
            assert_eq!(plan.iter().find(whole), None, "{index}: {plan:#?}");
        }
    }
}
