//! Pages of a long list in PostgreSQL read little more than they show, whatever is asked for.

use std::collections::BTreeSet;

use hallpass::{
    access::{id::RequestId, policy::Scope},
    store::{HeldGrant, Migrate, RequestFilter, Slice, Store as _},
};
use tokio_postgres::Client;

use super::postgres::Database;
use crate::support::servers::{eventually, postgres};

/// How many requests there are, all of them of the same people.
const COUNT: u32 = 20_000;
const PAGE: u32 = 50;
/// How many entries of tables and indexes a page may read.
const READ_MAX: i64 = 1500;

/// How many of the oldest were withdrawn.
const WITHDRAWN: usize = 30;

/// Past the triggers that let a row only grow into its state. Each request has two decisions, and every other one two grants.
fn fill() -> String {
    format!(
        "
    SET session_replication_role = replica;
    CREATE TEMPORARY TABLE e AS SELECT i, lpad(i::text, 26, '0') AS id FROM generate_series(1, {COUNT}) i;
    INSERT INTO requests (id, target, credential_path, requester_subject, requester_name, groups, duration_seconds,
        reason, approvals_required, submitted_at, state, revision, claimed_at, withdrawn_at)
    SELECT id, 'orders', 'p', 'subject-dev', 'dev', '[\"devs\"]', 3600, 'order ' || i, 1, i,
           CASE WHEN i <= {WITHDRAWN} THEN 'WITHDRAWN' ELSE 'CLAIMED' END, 3, CASE WHEN i > {WITHDRAWN} THEN i END,
           CASE WHEN i <= {WITHDRAWN} THEN i END FROM e;
    INSERT INTO request_groups (name, request_id) SELECT 'devs', id FROM e;
    INSERT INTO decisions (request_id, position, verdict, approver_subject, approver_name, statement, digest, decided_at)
    SELECT id, 1, 'APPROVED', 'subject-lead', 'lead', 'fine', 'sha256:' || lpad(i::text, 64, '0'), i FROM e;
    INSERT INTO decisions (request_id, position, verdict, approver_subject, approver_name, statement, digest, decided_at)
    SELECT request_id, 2, verdict, 'subject-second', 'second', statement, digest, decided_at FROM decisions;
    INSERT INTO grants (id, request_id, target, credential_path, holder_subject, holder_name, opens_at, closes_at,
        opened_at, state, revision, cause, begun_at, failed_at)
    SELECT lpad((i + 50000)::text, 26, '0'), id, 'orders', 'p', 'subject-dev', 'dev', i, i + 9, i, 'FAILED', 3,
           'ISSUE_FAILED', i + 1, i + 2 FROM e WHERE i % 2 = 0;
    INSERT INTO grants (id, request_id, target, credential_path, holder_subject, holder_name, opens_at, closes_at,
        opened_at, state, revision, activated_at, cause, begun_at, revoked_at)
    SELECT id, id, 'orders', 'p', 'subject-dev', 'dev', i, i + 9, i, 'REVOKED', 5, i, 'WINDOW_CLOSED', i + 9, i + 70000
      FROM e"
    )
}

/// What all sessions have read since the last time; the server learns of it when they end.
async fn read(superuser: &Client, database: &Database) -> i64 {
    let others =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'";
    eventually("all have left", async || {
        superuser.query_one(others, &[&database.name]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
    let client = postgres().connect_as_superuser(&database.name).await;
    let read = "SELECT (SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_user_tables)::bigint
                     + (SELECT coalesce(sum(idx_tup_read), 0) FROM pg_stat_user_indexes)::bigint";
    client.query_one(read, &[]).await.unwrap().get(0)
}

fn filters() -> Vec<RequestFilter> {
    let (none, held) = (RequestFilter::default, HeldGrant::default);
    let some = |text: &str| Some(text.to_owned());
    let grant = |grant| RequestFilter { grant, ..none() };
    vec![
        none(),
        RequestFilter { target: Some("orders".parse().unwrap()), ..none() },
        RequestFilter { requester: some("dev"), ..none() },
        RequestFilter { requester: some("subject-dev"), oldest_first: true, ..none() },
        RequestFilter { approver: some("lead"), ..none() },
        RequestFilter { group: some("devs"), ..none() },
        RequestFilter { states: vec!["CLAIMED", "DENIED"], ..none() },
        RequestFilter { signed: Some(false), ..none() },
        grant(HeldGrant { holder: some("dev"), ..held() }),
        grant(HeldGrant { causes: vec!["WINDOW_CLOSED", "ISSUE_FAILED"], ..held() }),
        grant(HeldGrant { states: vec!["REVOKED"], ..held() }),
        grant(HeldGrant { late_by: Some(std::time::Duration::from_mins(1)), ..held() }),
    ]
}

/// One page of the list, read by a store of its own.
async fn page_is_short(database: &Database, scope: &Scope, filter: &RequestFilter, after: Option<RequestId>) {
    let superuser = postgres().connect_as_superuser("postgres").await;
    let before = read(&superuser, database).await;
    let store = database.open(Migrate::No).await.unwrap();
    let page = store.requests(scope, filter, Slice { after, limit: PAGE }).await.unwrap();
    store.close().await;
    assert_eq!(page.items.len(), PAGE as usize, "{filter:?}");
    let read = read(&superuser, database).await - before;
    assert!(read <= READ_MAX, "{read} entries were read for a page of {scope:?} and {filter:?}");
}

async fn filled() -> Database {
    let database = Database::new().await;
    database.open(Migrate::Yes).await.unwrap().close().await;
    let filler = postgres().connect_as_superuser(&database.name).await;
    filler.batch_execute(&fill()).await.unwrap();
    filler.batch_execute("ANALYZE").await.unwrap();
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_long_list_read_little() {
    let database = filled().await;
    let middle: RequestId = format!("{:026}", COUNT / 2).parse().unwrap();
    let some = Scope::Some {
        owner: "subject-dev".to_owned(),
        targets: BTreeSet::from(["orders".parse().unwrap(), "billing".parse().unwrap()]),
    };
    for filter in filters() {
        page_is_short(&database, &Scope::All, &filter, Some(middle)).await;
    }
    page_is_short(&database, &some, &RequestFilter::default(), None).await;
}

/// The few that match are at the other end of the list, beyond what is looked at for one page, and what is looked through has
/// requests in it more than once.
#[tokio::test(flavor = "multi_thread")]
async fn a_walk_through_a_long_list_misses_nothing() {
    let database = filled().await;
    let store = database.open(Migrate::No).await.unwrap();
    let text = RequestFilter { text: Some("fine".to_owned()), ..RequestFilter::default() };
    for filter in filters().into_iter().filter(|filter| filter.states.is_empty()).chain([text]) {
        let matches = RequestFilter { states: vec!["WITHDRAWN"], ..filter };
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let slice = Slice { after, limit: PAGE };
            let page = store.requests(&Scope::All, &matches, slice).await.unwrap();
            found.extend(page.items.iter().map(|request| request.id));
            after = page.resume;
            if after.is_none() {
                break;
            }
        }
        let all: BTreeSet<&RequestId> = found.iter().collect();
        assert_eq!((found.len(), all.len()), (WITHDRAWN, WITHDRAWN), "{matches:?}");
    }
}
