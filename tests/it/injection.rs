//! Texts that want to be something else: SQL, a line of a log, a command to a terminal, a path, somebody else's name. Each
//! goes through every field that takes one, of the real daemon, and comes out as it went in, or isn't taken.

use std::time::Duration;

use hallpass::wire::{
    ApproveRequestRequest, FreezeTargetsRequest, GetTargetRequest, ListExceptionsRequest, ListGrantsRequest,
    ListRequestsRequest, RequestFilter, SubmitRequestRequest,
};
use serde_json::Value;
use tonic::Code;

use crate::support::{
    refusals::{bad_fields, reason},
    world::World,
};

/// What is a text like any other.
const PLAIN: [&str; 8] = [
    "'; DROP TABLE requests; --",
    "x' OR '1'='1",
    "\"); DELETE FROM audit_events; --",
    "%_?1 $1 :1 @a",
    "{\"event.action\":\"grant-revoked\",\"level\":\"INFO\"}",
    "${jndi:ldap://evil/x} {{7*7}} $(reboot) `reboot`",
    "../../etc/passwd",
    "<script>alert(1)</script>&amp;",
];

/// What a terminal or a log would obey, or a reader not see.
const OBEYED: [&str; 7] =
    ["a\u{1b}[2Jb", "a\0b", "a\u{202e}b", "a\rb", "a\u{7f}b", "a\u{200b}b", "a\u{e0041}b"];

/// What isn't a target's name.
const NO_TARGETS: [&str; 12] = [
    "targets/../orders-ro",
    "targets/orders-ro/../orders-ro",
    "targets/orders-ro/",
    "targets//orders-ro",
    "targets/orders%2dro",
    "targets/orders-ro\0",
    "targets/orders-ro\n",
    "targets/Orders-ro",
    "targets/\u{43e}rders-ro",
    "targets/orders\u{2010}ro",
    "targets/' OR 1=1",
    "/etc/passwd",
];

fn ask(target: &str, reason: &str, ticket: &str) -> SubmitRequestRequest {
    SubmitRequestRequest {
        target: target.to_owned(),
        duration: Some(Duration::from_mins(1).try_into().unwrap()),
        reason: reason.to_owned(),
        ticket: ticket.to_owned(),
        ..SubmitRequestRequest::default()
    }
}

/// Every line of the log is one event, and none holds what a terminal would obey.
fn log_is_whole(log: &str) {
    for line in log.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(event["message"].is_string() && event["@timestamp"].is_string(), "{line}");
        assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}'), "{line:?}");
    }
    assert!(!log.contains("{\"event.action\":\"grant-revoked\",\"level\":\"INFO\"}"), "no event is made up");
}

#[tokio::test]
async fn a_text_is_a_text_in_every_field() {
    let world = World::start().await;
    let (mut alice, mut olivia) = (world.person("alice").await, world.person("olivia").await);
    let mut audrey = world.person("audrey").await;
    for text in PLAIN {
        let submitted = alice.requests.submit_request(ask("targets/orders-ro", text, text)).await.unwrap();
        let submitted = submitted.into_inner();
        assert_eq!((submitted.reason.as_str(), submitted.ticket.as_str()), (text, text));
        let decided = olivia.deny(&submitted, text).await.unwrap();
        assert_eq!(decided.decisions[0].statement, text);
        let exception = audrey.exception(&submitted).await.unwrap();
        assert_eq!(exception.request.unwrap(), decided, "{text}");
    }
    let known = audrey.exceptions.list_exceptions(ListExceptionsRequest::default()).await.unwrap();
    assert_eq!(known.into_inner().exceptions.len(), PLAIN.len(), "nothing came or went");
    log_is_whole(&world.log());
}

#[tokio::test]
async fn what_would_be_obeyed_is_not_taken() {
    let world = World::start().await;
    let (mut alice, mut olivia) = (world.person("alice").await, world.person("olivia").await);
    let mut oren = world.person("oren").await;
    let request = alice.submit(Duration::from_mins(1), "order 4711 is stuck").await.unwrap();
    for text in OBEYED {
        let refused = alice.requests.submit_request(ask("targets/orders-ro", text, text)).await.unwrap_err();
        assert_eq!(bad_fields(&refused), ["reason", "ticket"], "{text:?}");
        let keyed =
            SubmitRequestRequest { idempotency_key: text.to_owned(), ..ask("targets/orders-ro", "x", "") };
        assert_eq!(bad_fields(&alice.requests.submit_request(keyed).await.unwrap_err()), ["idempotency_key"]);
        assert_eq!(bad_fields(&olivia.approve(&request, text).await.unwrap_err()), ["statement"], "{text:?}");
        let stale =
            ApproveRequestRequest { digest: text.to_owned(), statement: "x".into(), ..named(&request.name) };
        assert_eq!(bad_fields(&olivia.requests.approve_request(stale).await.unwrap_err()), ["digest"]);
        let named = named(text);
        let fields = bad_fields(&olivia.requests.approve_request(named).await.unwrap_err());
        assert_eq!(fields, ["name", "digest", "statement"], "{text:?}");
        let freeze =
            FreezeTargetsRequest { target: "targets/-".into(), reason: text.to_owned(), end_grants: true };
        assert_eq!(
            bad_fields(&oren.freezes.freeze_targets(freeze).await.unwrap_err()),
            ["reason"],
            "{text:?}"
        );
        let filter = Some(RequestFilter { requester: text.to_owned(), ..RequestFilter::default() });
        let list = ListRequestsRequest { filter, ..ListRequestsRequest::default() };
        let refused = oren.requests.list_requests(list).await.unwrap_err();
        assert_eq!(bad_fields(&refused), ["filter.requester"], "{text:?}");
    }
    let still = alice.exception(&request).await.unwrap().request.unwrap();
    assert_eq!(still, request, "nothing changed");
    log_is_whole(&world.log());
}

fn named(name: &str) -> ApproveRequestRequest {
    ApproveRequestRequest { name: name.to_owned(), ..ApproveRequestRequest::default() }
}

#[tokio::test]
async fn no_name_of_a_target_is_a_path_or_looks_like_another() {
    let world = World::start().await;
    let mut alice = world.person("alice").await;
    for name in NO_TARGETS {
        let refused = alice.requests.submit_request(ask(name, "order 4711 is stuck", "")).await.unwrap_err();
        assert_eq!(bad_fields(&refused), ["target"], "{name:?}");
        let get = GetTargetRequest { name: name.to_owned() };
        assert_eq!(bad_fields(&alice.targets.get_target(get).await.unwrap_err()), ["name"], "{name:?}");
    }
    let unknown = alice.requests.submit_request(ask("targets/orders-rw", "x", "")).await.unwrap_err();
    assert_eq!(reason(&unknown), (Code::NotFound, "NOT_FOUND".to_owned()));
    assert!(world.audit("RequestSubmitted").await.is_empty());
}

/// Filters and page tokens look for what they say, and find nothing else.
#[tokio::test]
async fn filters_and_page_tokens_widen_nothing() {
    let world = World::start().await;
    let (mut alice, mut bob) = (world.person("alice").await, world.person("bob").await);
    alice.submit(Duration::from_mins(1), "order 4711 is stuck").await.unwrap();
    for text in PLAIN {
        let filter = Some(RequestFilter { requester: text.to_owned(), ..RequestFilter::default() });
        for person in [&mut alice, &mut bob] {
            let list = ListRequestsRequest { filter: filter.clone(), ..ListRequestsRequest::default() };
            assert!(
                person.requests.list_requests(list).await.unwrap().into_inner().requests.is_empty(),
                "{text}"
            );
            let list = ListGrantsRequest { page_token: text.to_owned(), ..ListGrantsRequest::default() };
            assert_eq!(
                bad_fields(&person.grants.list_grants(list).await.unwrap_err()),
                ["page_token"],
                "{text}"
            );
        }
    }
    let all = bob.requests.list_requests(ListRequestsRequest::default()).await.unwrap();
    assert!(all.into_inner().requests.is_empty(), "others' requests aren't his");
}
