//! Bad input: each a clear error with the right code, no change of state, and an audit event where somebody tried what
//! he may not do. What takes hours to happen (lapsing) is in `deadlines.rs`, with a clock to turn.

use std::time::Duration;

use hallpass::wire::{
    ApproveRequestRequest, ClaimGrantRequest, ListRequestsRequest, Request, RequestState,
    SubmitRequestRequest, WithdrawRequestRequest,
};
use tonic::{Code, Status};

use crate::support::{
    people::Person,
    refusals::{bad_fields, precondition, reason},
    world::World,
};

const MINUTE: Duration = Duration::from_mins(1);

fn ask() -> SubmitRequestRequest {
    SubmitRequestRequest {
        target: "targets/orders-ro".to_owned(),
        duration: Some(MINUTE.try_into().unwrap()),
        reason: "order 4711 is stuck".to_owned(),
        ..SubmitRequestRequest::default()
    }
}

async fn refused(person: &mut Person, ask: SubmitRequestRequest) -> Status {
    person.requests.submit_request(ask).await.expect_err("it is refused")
}

async fn number_of_requests(person: &mut Person) -> usize {
    let page = person.requests.list_requests(ListRequestsRequest::default()).await.unwrap();
    page.into_inner().requests.len()
}

#[tokio::test]
async fn what_cannot_be_submitted() {
    let world = World::start().await;
    let mut alice = world.person("alice").await;
    let nanos = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });

    let error =
        refused(&mut alice, SubmitRequestRequest { target: "targets/payroll".to_owned(), ..ask() }).await;
    assert_eq!(reason(&error), (Code::NotFound, "NOT_FOUND".to_owned()));

    for target in ["", "orders-ro", "targets/", "targets/Ünicode", "requests/orders-ro", "targets/a/b"] {
        let error = refused(&mut alice, SubmitRequestRequest { target: target.to_owned(), ..ask() }).await;
        assert_eq!(bad_fields(&error), ["target"], "{target:?}");
    }
    for duration in
        [None, nanos(0, 0), nanos(-60, 0), nanos(1, 500_000_000), nanos(3601, 0), nanos(i64::MAX, 0)]
    {
        let error = refused(&mut alice, SubmitRequestRequest { duration, ..ask() }).await;
        assert_eq!(bad_fields(&error), ["duration"], "{duration:?}");
    }
    for text in ["", " \n\t ", "a\u{1b}[2Jb", "a\0b", "a\u{202e}b", &"x".repeat(8 * 1024 + 1)] {
        let error = refused(&mut alice, SubmitRequestRequest { reason: text.to_owned(), ..ask() }).await;
        assert_eq!(bad_fields(&error), ["reason"], "{text:?}");
    }
    for ticket in ["a\nb", &"x".repeat(257)] {
        let error = refused(&mut alice, SubmitRequestRequest { ticket: ticket.to_owned(), ..ask() }).await;
        assert_eq!(bad_fields(&error), ["ticket"], "{ticket:?}");
    }
    let error =
        refused(&mut alice, SubmitRequestRequest { idempotency_key: "a b".to_owned(), ..ask() }).await;
    assert_eq!(bad_fields(&error), ["idempotency_key"]);

    let everything = SubmitRequestRequest {
        target: "nowhere".to_owned(),
        duration: nanos(0, 0),
        reason: String::new(),
        ticket: "a\nb".to_owned(),
        idempotency_key: "?".to_owned(),
        validate_only: true,
        not_before: Some(prost_types::Timestamp { seconds: 0, nanos: -1 }),
    };
    let mut fields = bad_fields(&refused(&mut alice, everything).await);
    fields.sort();
    assert_eq!(
        fields,
        ["duration", "idempotency_key", "not_before", "reason", "target", "ticket"],
        "all at once"
    );

    assert_eq!(number_of_requests(&mut alice).await, 0);
    assert!(world.audit("RequestSubmitted").await.is_empty());
}

#[tokio::test]
async fn the_bounds_themselves_are_allowed() {
    let world = World::start().await;
    let mut alice = world.person("alice").await;
    let longest = Some(Duration::from_hours(1).try_into().unwrap());
    let most = SubmitRequestRequest { duration: longest, reason: "x".repeat(8 * 1024), ..ask() };
    alice.requests.submit_request(most).await.unwrap();
    let least = SubmitRequestRequest { duration: Some(Duration::from_secs(1).try_into().unwrap()), ..ask() };
    alice.requests.submit_request(least).await.unwrap();
}

#[tokio::test]
async fn a_key_makes_a_retry_safe_and_another_ask_an_error() {
    let world = World::start().await;
    let (mut alice, mut bob) = (world.person("alice").await, world.person("bob").await);
    let keyed = SubmitRequestRequest { idempotency_key: "key-1".to_owned(), ..ask() };
    let first = alice.requests.submit_request(keyed.clone()).await.unwrap().into_inner();
    let second = alice.requests.submit_request(keyed.clone()).await.unwrap().into_inner();
    assert_eq!(first, second);
    let other = SubmitRequestRequest { reason: "something else".to_owned(), ..keyed.clone() };
    assert_eq!(
        reason(&refused(&mut alice, other).await),
        (Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED".to_owned())
    );
    let bobs = bob.requests.submit_request(keyed).await.unwrap().into_inner();
    assert_ne!(first.name, bobs.name, "another person's keys are his own");
}

#[tokio::test]
async fn only_those_who_may_request_decide_and_see_do() {
    let world = World::start().await;
    let (mut alice, mut bob) = (world.person("alice").await, world.person("bob").await);
    let (mut olivia, mut nick) = (world.person("olivia").await, world.person("nick").await);
    let denied = |reason: &str| (Code::PermissionDenied, reason.to_owned());

    assert_eq!(reason(&olivia.submit(MINUTE, "for me").await.unwrap_err()), denied("ROLE_MISSING"));
    // What one may not see answers like what doesn't exist.
    let unknown = (Code::NotFound, "NOT_FOUND".to_owned());
    assert_eq!(reason(&nick.submit(MINUTE, "for me").await.unwrap_err()), unknown);
    let request = alice.submit(MINUTE, "order 4711 is stuck").await.unwrap();
    assert_eq!(reason(&alice.approve(&request, "fine by me").await.unwrap_err()), denied("ROLE_MISSING"));
    assert_eq!(reason(&bob.approve(&request, "fine by me").await.unwrap_err()), unknown);
    assert_eq!(reason(&bob.deny(&request, "no").await.unwrap_err()), unknown);
    let withdraw = WithdrawRequestRequest { name: request.name.clone() };
    let error = bob.requests.withdraw_request(withdraw).await.unwrap_err();
    assert_eq!(reason(&error), unknown);
    let error = bob.exception(&request).await.unwrap_err();
    assert_eq!(reason(&error), unknown, "others' requests can't be told from none");

    let seen = alice.exception(&request).await.unwrap();
    assert_eq!(seen.request.unwrap(), request, "nothing changed");
    let refused = world.audit("AttemptRefused").await;
    let refused: Vec<String> = refused
        .iter()
        .map(|event| {
            format!(
                "{} {}",
                event["actor"].as_str().unwrap().split('-').next().unwrap(),
                event["detail"]["verb"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        refused,
        [
            "olivia request access",
            "nick request access",
            "alice approve",
            "bob approve",
            "bob deny",
            "bob withdraw",
            "bob read this exception",
        ]
    );
}

/// I5, over the wire.
#[tokio::test]
async fn nobody_approves_his_own_request() {
    let name = "[targets.everyones]\ncredential_path = \"database/creds/hp-everyones\"\n\
                window_max = \"1h\"\ndecide_within = \"1h\"\nclaim_within = \"1h\"\nearly_revocation = \"ends_sessions\"\n\
                description = \"Requested and approved by the same group\"\n\
                requesters = [\"developers-@\"]\napprovers = [\"developers-@\"]\n";
    let world =
        World::with(crate::support::world::Wishes { more: name.to_owned(), ..Default::default() }).await;
    let (mut alice, mut bob) = (world.person("alice").await, world.person("bob").await);
    let asked = SubmitRequestRequest { target: "targets/everyones".to_owned(), ..ask() };
    let request = alice.requests.submit_request(asked).await.unwrap().into_inner();
    let error = alice.approve(&request, "I trust myself").await.unwrap_err();
    assert_eq!(reason(&error), (Code::PermissionDenied, "SELF_APPROVAL".to_owned()));
    let error = alice.deny(&request, "I don't trust myself").await.unwrap_err();
    assert_eq!(reason(&error), (Code::PermissionDenied, "SELF_APPROVAL".to_owned()));
    assert_eq!(world.audit("AttemptRefused").await.len(), 2);
    assert_eq!(bob.approve(&request, "fine").await.unwrap().state(), RequestState::Approved);
}

#[tokio::test]
async fn what_cannot_be_decided() {
    let world = World::start().await;
    let (mut alice, mut olivia) = (world.person("alice").await, world.person("olivia").await);
    let mut oscar = world.person("oscar").await;
    let request = alice.submit(MINUTE, "order 4711 is stuck").await.unwrap();

    for statement in ["", "  \n", "a\u{7}b", &"x".repeat(8 * 1024 + 1)] {
        assert_eq!(bad_fields(&olivia.approve(&request, statement).await.unwrap_err()), ["statement"]);
        assert_eq!(bad_fields(&olivia.deny(&request, statement).await.unwrap_err()), ["statement"]);
    }
    for digest in ["", "sha256:00", "nonsense"] {
        let unread = Request { digest: digest.to_owned(), ..request.clone() };
        assert_eq!(bad_fields(&olivia.approve(&unread, "fine").await.unwrap_err()), ["digest"], "{digest}");
    }
    let stale = Request { digest: format!("sha256:{}", "0".repeat(64)), ..request.clone() };
    for error in
        [olivia.approve(&stale, "fine").await.unwrap_err(), olivia.deny(&stale, "no").await.unwrap_err()]
    {
        assert_eq!(reason(&error).1, "DIGEST_STALE");
        assert_eq!(precondition(&error).0, request.name);
    }
    let unknown = ApproveRequestRequest {
        name: "requests/01k00000000000000000000000".to_owned(),
        digest: request.digest.clone(),
        statement: "fine".to_owned(),
        ..ApproveRequestRequest::default()
    };
    let error = olivia.requests.approve_request(unknown).await.unwrap_err();
    assert_eq!(reason(&error), (Code::NotFound, "NOT_FOUND".to_owned()));
    assert_eq!(alice.exception(&request).await.unwrap().request.unwrap(), request, "nothing changed");

    // Denied, withdrawn, approved: each is decided.
    let denied = oscar.deny(&request, "not now").await.unwrap();
    assert_eq!(denied.state(), RequestState::Denied);
    let withdrawn = alice.submit(MINUTE, "a mistake").await.unwrap();
    alice.requests.withdraw_request(WithdrawRequestRequest { name: withdrawn.name.clone() }).await.unwrap();
    let approved = alice.submit(MINUTE, "another order").await.unwrap();
    oscar.approve(&approved, "fine").await.unwrap();
    for decided in [&denied, &withdrawn, &approved] {
        let error = olivia.approve(decided, "fine").await.unwrap_err();
        assert_eq!(reason(&error).1, "REQUEST_STATE");
        assert_eq!(precondition(&error).0, decided.name);
        assert_eq!(reason(&olivia.deny(decided, "no").await.unwrap_err()).1, "REQUEST_STATE");
    }
    let again = oscar.approve(&approved, "fine, I said").await.unwrap();
    assert_eq!(again.decisions.len(), 1, "approving again changes nothing");
    for over in [&denied, &withdrawn] {
        let withdraw = WithdrawRequestRequest { name: over.name.clone() };
        assert_eq!(reason(&alice.requests.withdraw_request(withdraw).await.unwrap_err()).1, "REQUEST_STATE");
        assert_eq!(reason(&alice.claim(over).await.unwrap_err()).1, "REQUEST_STATE");
    }
}

#[tokio::test]
async fn what_cannot_be_claimed() {
    let world = World::start().await;
    let (mut alice, mut bob) = (world.person("alice").await, world.person("bob").await);
    let mut olivia = world.person("olivia").await;
    let request = alice.submit(MINUTE, "order 4711 is stuck").await.unwrap();

    let error = alice.claim(&request).await.unwrap_err();
    assert_eq!(reason(&error).1, "REQUEST_STATE", "not approved yet");
    olivia.approve(&request, "fine").await.unwrap();
    let (not_his, unseen) = ((Code::PermissionDenied, "NOT_OWNER"), (Code::NotFound, "NOT_FOUND"));
    for (other, (code, why)) in [(&mut bob, unseen), (&mut olivia, not_his)] {
        let error = other.claim(&request).await.unwrap_err();
        assert_eq!(reason(&error), (code, why.to_owned()));
    }
    assert_eq!(world.audit("AttemptRefused").await.len(), 2);
    let malformed = ClaimGrantRequest { request: "requests/1".to_owned(), reissue: false };
    assert_eq!(bad_fields(&alice.grants.claim_grant(malformed).await.unwrap_err()), ["request"]);
    assert!(world.accounts().await.is_empty());

    let claimed = alice.claim(&request).await.unwrap();
    let error = alice.claim(&request).await.unwrap_err();
    assert_eq!(reason(&error).1, "GRANT_HELD");
    assert_eq!(world.accounts().await.len(), 1, "a second claim makes nothing");
    alice.unwrap(&claimed).await;
    assert!(alice.try_unwrap(&claimed).await.is_err(), "a wrapping token opens once");

    let grant = claimed.grant.unwrap();
    assert_eq!(
        reason(&bob.release(&grant).await.unwrap_err()),
        (Code::NotFound, "NOT_FOUND".to_owned()),
        "others' grants can't be told from none"
    );
    alice.release(&grant).await.unwrap();
    for reissue in [false, true] {
        let error = alice.claim_with(&request, reissue).await.unwrap_err();
        assert_eq!(reason(&error).1, "GRANT_ENDED", "what was released isn't given back");
    }
}
