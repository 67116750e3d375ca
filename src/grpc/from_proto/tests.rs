//! Bad input: every field by itself, and all of them at once.

use super::*;

const ID: &str = "01jz0000000000000000000000";

fn fields<T>(read: Result<T, Error>) -> Vec<(&'static str, String)> {
    match read {
        Ok(_) => Vec::new(),
        Err(Error::BadFields(fields)) => fields.into_iter().map(|bad| (bad.field, bad.problem)).collect(),
        Err(other) => panic!("{other}"),
    }
}

fn names<T>(read: Result<T, Error>) -> Vec<&'static str> {
    fields(read).into_iter().map(|(field, _)| field).collect()
}

fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

fn ask() -> wire::SubmitRequestRequest {
    wire::SubmitRequestRequest {
        target: "targets/orders-ro".into(),
        duration: Some(seconds(1800)),
        reason: "  a row is wrong\r\n".into(),
        ticket: "OPS-7".into(),
        idempotency_key: "k-1".into(),
        validate_only: false,
        not_before: Some(prost_types::Timestamp { seconds: 1_795_438_800, nanos: 0 }),
    }
}

#[test]
fn a_good_submission_comes_through() {
    let submission = submission(&ask()).unwrap();
    assert_eq!(submission.target.as_str(), "orders-ro");
    assert_eq!(submission.duration, Some(Duration::from_mins(30)));
    assert_eq!(submission.reason.as_str(), "a row is wrong");
    assert_eq!(submission.ticket.unwrap().as_str(), "OPS-7");
    assert_eq!(submission.key.unwrap().as_str(), "k-1");
    assert_eq!(submission.not_before.unwrap().timestamp_millis(), 1_795_438_800_000);
    let bare = wire::SubmitRequestRequest { ticket: String::new(), idempotency_key: String::new(), ..ask() };
    let bare = super::submission(&bare).unwrap();
    assert!(bare.ticket.is_none() && bare.key.is_none());
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let bad = wire::SubmitRequestRequest {
        target: "orders-ro".into(),
        duration: Some(seconds(0)),
        reason: " ".into(),
        ticket: "a\nb".into(),
        idempotency_key: "a b".into(),
        validate_only: true,
        not_before: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
    };
    assert_eq!(
        names(submission(&bad)),
        ["target", "duration", "reason", "ticket", "idempotency_key", "not_before"]
    );
    assert_eq!(names(decision("x", "y", "")), ["name", "digest", "statement"]);
    let bad = wire::RevokeGrantRequest { name: String::new(), reason: "\u{1b}[2J".into() };
    assert_eq!(names(revocation(&bad)), ["name", "reason"]);
    assert_eq!(
        names(submission(&wire::SubmitRequestRequest::default())).len(),
        2,
        "ticket and key may be empty, and the target may have a usual window"
    );
}

#[test]
fn an_approval_may_have_terms_in_whole_seconds() {
    let message = wire::ApproveRequestRequest {
        name: "requests/01kb0x3v9m2d4e5f6g7h8j9kab".into(),
        digest: format!("sha256:{}", "0".repeat(64)),
        statement: "fine".into(),
        duration: Some(seconds(60)),
        not_before: Some(prost_types::Timestamp { seconds: 1_795_438_800, nanos: 0 }),
        ..wire::ApproveRequestRequest::default()
    };
    let (_, good) = approval(&message).unwrap();
    assert_eq!(good.terms.duration, Some(Duration::from_mins(1)));
    assert_eq!((good.terms.not_before.unwrap().timestamp(), good.terms.not_after), (1_795_438_800, None));
    let half = Some(prost_types::Timestamp { seconds: 1_795_438_800, nanos: 500_000_000 });
    let bad = wire::ApproveRequestRequest {
        duration: Some(seconds(0)),
        not_before: half,
        not_after: half,
        ..message
    };
    assert_eq!(names(approval(&bad)), ["duration", "not_before", "not_after"]);
}

#[test]
fn durations_are_whole_positive_and_bounded() {
    let of = |value| duration("duration", value).err().map(|bad| bad.problem);
    assert_eq!(of(Some(seconds(1))), None);
    assert_eq!(of(None), None);
    assert_eq!(of(Some(seconds(0))).unwrap(), "must be at least one second");
    assert_eq!(of(Some(seconds(-1))).unwrap(), "must not be negative");
    assert_eq!(of(Some(seconds(i64::MIN))).unwrap(), "must not be negative");
    assert_eq!(of(Some(seconds(i64::MAX))).unwrap(), "is out of range");
    for nanos in [1, -1, 999_999_999, i32::MIN] {
        let fraction = Some(prost_types::Duration { seconds: 60, nanos });
        assert_eq!(of(fraction).unwrap(), "must be whole seconds");
    }
}

#[test]
fn names_belong_to_their_collection() {
    let request = |text: &str| name::<RequestId>("name", "requests", text);
    assert_eq!(request(&format!("requests/{ID}")).unwrap().to_string(), ID);
    for bad in [
        "",
        ID,
        "requests/",
        "requests",
        "requests/x",
        &format!("grants/{ID}"),
        &format!("requests//{ID}"),
        &format!("requests/{ID}/"),
        &format!("/requests/{ID}"),
        &format!("requests/{ID}\0"),
        "requests/…",
    ] {
        assert_eq!(names(request(bad)), ["name"], "{bad}");
    }
    for bad in ["targets/", "targets/A", "targets/a/b", "targets/../x"] {
        assert_eq!(names(name::<TargetName>("name", "targets", bad)), ["name"], "{bad}");
    }
}

fn requests(filter: wire::RequestFilter) -> wire::ListRequestsRequest {
    wire::ListRequestsRequest { filter: Some(filter), ..wire::ListRequestsRequest::default() }
}

#[test]
fn a_token_is_one_of_its_order() {
    let page = |order, page_token: &str| {
        let message = wire::ListExceptionsRequest {
            order,
            page_token: page_token.into(),
            ..wire::ListExceptionsRequest::default()
        };
        exception_page(message).map(|(filter, page)| (filter.oldest_first, page))
    };
    let (oldest_first, newest) = page(0, "").unwrap();
    let shown: RequestId = ID.replace("requests/", "").parse().unwrap();
    let (_, token) = newest.fill(0..51, |_| shown, |_| ());
    assert!(!oldest_first && !token.is_empty());
    assert!(!page(0, &token).unwrap().0 && !page(1, &token).unwrap().0);
    assert_eq!(names(page(2, &token)), ["page_token"]);
    assert!(page(2, "").unwrap().0);
    assert_eq!(names(page(3, "")), ["order"]);
}

#[test]
fn states_are_those_of_the_rules() {
    let all: Vec<i32> = (1..=6).collect();
    let filter = wire::RequestFilter { states: all, ..wire::RequestFilter::default() };
    let (filter, _) = request_page(requests(filter)).unwrap();
    assert_eq!(filter.states, ["PENDING", "APPROVED", "DENIED", "WITHDRAWN", "LAPSED", "CLAIMED"]);
    let filter = wire::GrantFilter { states: vec![1, 2, 3, 4, 5, 5, 1], ..wire::GrantFilter::default() };
    let message = wire::ListGrantsRequest { filter: Some(filter), ..wire::ListGrantsRequest::default() };
    let (filter, _) = grant_page(message).unwrap();
    assert_eq!(filter.states, ["ISSUING", "ACTIVE", "REVOKING", "REVOKED", "FAILED"]);
    for bad in [0, 7, -1, i32::MAX] {
        let filter = wire::RequestFilter { states: vec![1, bad], ..wire::RequestFilter::default() };
        assert_eq!(names(request_page(requests(filter))), ["filter.states"], "{bad}");
    }
}

#[test]
fn filters_are_checked_field_by_field() {
    let bad_time = Some(prost_types::Timestamp { seconds: 0, nanos: 1_000_000_000 });
    let filter = wire::RequestFilter {
        states: vec![99],
        target: "orders".into(),
        requester: "a\0b".into(),
        submitted_from: bad_time,
        submitted_until: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
        approver: "a\0b".into(),
        group: " ".into(),
        ticket: "a\nb".into(),
        text: "ab".into(),
        signed: 3,
        alarmed: true,
        grant: Some(wire::HeldFilter {
            states: vec![99],
            causes: vec![0],
            holder: " ".into(),
            held_from: bad_time,
            held_until: bad_time,
            late_by: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
            early_by: Some(prost_types::Duration { seconds: 0, nanos: 1 }),
        }),
    };
    let expected = [
        "page_size",
        "page_token",
        "filter.states",
        "filter.target",
        "filter.requester",
        "filter.submitted_from",
        "filter.submitted_until",
        "filter.approver",
        "filter.group",
        "filter.ticket",
        "filter.text",
        "filter.signed",
        "filter.grant.states",
        "filter.grant.causes",
        "filter.grant.holder",
        "filter.grant.held_from",
        "filter.grant.held_until",
        "filter.grant.late_by",
        "filter.grant.early_by",
    ];
    let message =
        wire::ListRequestsRequest { page_size: -1, page_token: "x".into(), filter: Some(filter.clone()) };
    let counted_fields = names(counted(wire::SummarizeExceptionsRequest { filter: Some(filter) }));
    assert_eq!(counted_fields, expected[2..]);
    assert_eq!(names(request_page(message)), expected);
    let filter = wire::GrantFilter { holder: " ".into(), request: ID.into(), ..wire::GrantFilter::default() };
    let message = wire::ListGrantsRequest { filter: Some(filter), ..wire::ListGrantsRequest::default() };
    assert_eq!(names(grant_page(message)), ["filter.holder", "filter.request"]);
    let (filter, _) = request_page(wire::ListRequestsRequest::default()).unwrap();
    assert_eq!(filter, RequestFilter::default());
}

#[test]
fn instants_are_rounded_up_to_milliseconds() {
    let at =
        |seconds, nanos| instant("at", Some(prost_types::Timestamp { seconds, nanos })).unwrap().unwrap();
    assert_eq!(at(1, 0).timestamp_millis(), 1000);
    assert_eq!(at(1, 1).timestamp_millis(), 1001);
    assert_eq!(at(1, 1_000_000).timestamp_millis(), 1001);
    assert_eq!(at(1, 999_999_999).timestamp_millis(), 2000);
    assert_eq!(at(-1, 500_000_000).timestamp_millis(), -500);
    assert!(instant("at", Some(prost_types::Timestamp { seconds: 0, nanos: -1 })).is_err());
}

#[test]
fn a_watch_begins_after_an_event_or_with_the_present() {
    let message =
        |name: &str, after_sequence| wire::WatchRequestsRequest { name: name.into(), after_sequence };
    assert_eq!(watched(&message("", None)).unwrap(), (None, None));
    assert_eq!(watched(&message("", Some(0))).unwrap(), (None, Some(0)));
    let (request, after) = watched(&message(&format!("requests/{ID}"), Some(7))).unwrap();
    assert_eq!((request.unwrap().to_string().as_str(), after), (ID, Some(7)));
    assert_eq!(names(watched(&message("x", Some(-1)))), ["name", "after_sequence"]);
}

#[test]
fn what_came_in_is_not_repeated() {
    let secret = "s.SECRETTOKEN";
    let bad = wire::SubmitRequestRequest {
        target: secret.into(),
        reason: format!("{secret}\u{1b}"),
        ticket: format!("{secret}\n"),
        idempotency_key: secret.into(),
        ..ask()
    };
    assert!(!format!("{:?}", fields(submission(&bad))).contains(secret));
    let bad = format!("targets/{secret}");
    assert!(!format!("{:?}", fields(name::<TargetName>("name", "targets", &bad))).contains(secret));
}
