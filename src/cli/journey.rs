//! The client against a fake hallpassd and a fake Vault: what is sent, what is printed, and how it exits.

use serde_json::{Value, json};
use tonic::{Code, Status};

use super::{
    error::Exit,
    fake::{Script, World},
    status::tests::status,
};
use crate::wire::{
    ClaimGrantResponse, Decision, Grant, GrantState, Person, Request, RequestState, WatchRequestsResponse,
};

const ID: &str = "01kb0x3v9m2d4e5f6g7h8j9kab";
const SUBMIT: [&str; 6] = ["request", "orders-ro", "--for", "90m", "--reason", "stuck order"];
const PATH: &str = "database/creds/hp-orders-ro";

fn request(state: RequestState) -> Request {
    Request {
        name: format!("requests/{ID}"),
        state: state.into(),
        digest: "sha256:d".into(),
        ..Request::default()
    }
}

#[expect(clippy::unnecessary_wraps, reason = "a script holds errors too")]
fn event(sequence: i64, state: RequestState) -> Result<WatchRequestsResponse, Status> {
    Ok(WatchRequestsResponse { sequence, request: Some(request(state)), ..WatchRequestsResponse::default() })
}

fn grant(state: GrantState) -> Grant {
    Grant { name: format!("grants/{ID}"), state: state.into(), ..Grant::default() }
}

fn claimed() -> ClaimGrantResponse {
    ClaimGrantResponse {
        grant: Some(grant(GrantState::Active)),
        wrapping_token: "hvs.wrapping".into(),
        creation_path: PATH.into(),
        ..ClaimGrantResponse::default()
    }
}

fn vault(path: &str) -> [(&'static str, u16, Value); 2] {
    let data = json!({ "username": "v-alice", "password": "it's" });
    [
        ("sys/wrapping/lookup", 200, json!({ "data": { "creation_path": path } })),
        ("sys/wrapping/unwrap", 200, json!({ "data": data })),
    ]
}

async fn waiting(script: Vec<Script>) -> (World, Result<(), super::error::Failure>, Value) {
    let world = World::new(&[]).await;
    world.fake.with(|state| {
        state.submit = vec![Ok(request(RequestState::Pending))];
        state.watch = script;
    });
    let words = [SUBMIT.as_slice(), &["--output", "json", "--wait-timeout", "5s"]].concat();
    let (result, paper) = world.run(&words).await;
    let json = paper.json();
    (world, result, json)
}

#[tokio::test]
async fn a_wait_survives_a_break_and_misses_nothing() {
    let broken = vec![event(7, RequestState::Pending), Err(Status::unavailable("stopping"))];
    let (world, result, json) = waiting(vec![broken, vec![event(8, RequestState::Approved)]]).await;
    result.unwrap();
    assert_eq!(json["state"], "REQUEST_STATE_APPROVED");
    let seen = world.fake.with(|state| state.seen.clone());
    assert_eq!(seen[1..], ["after None", "after Some(7)"]);
    assert_eq!(seen[0].len(), 32, "a submission has a key: {seen:?}");
}

#[tokio::test]
async fn a_wait_ends_with_what_was_decided() {
    for state in [RequestState::Denied, RequestState::Lapsed, RequestState::Withdrawn] {
        let (_, result, json) = waiting(vec![vec![event(7, state)]]).await;
        assert_eq!(result.unwrap_err().exit, Exit::Settled);
        assert_eq!(json["state"], state.as_str_name());
    }
}

#[tokio::test]
async fn a_wait_without_a_decision_times_out_and_still_names_the_request() {
    let world = World::new(&[]).await;
    world.fake.with(|state| state.submit = vec![Ok(request(RequestState::Pending))]);
    let words = [SUBMIT.as_slice(), &["--output", "json", "--wait-timeout", "300ms"]].concat();
    let (result, paper) = world.run(&words).await;
    let failure = result.unwrap_err();
    assert_eq!(failure.exit, Exit::TimedOut);
    assert!(failure.hint.unwrap().contains(&format!("hallpass watch requests/{ID}")));
    assert_eq!(paper.json()["name"], format!("requests/{ID}"));
}

#[tokio::test]
async fn an_expired_token_ends_a_wait() {
    let expired = vec![vec![Err(status(Code::Unauthenticated, "TOKEN_INVALID", &[]))]];
    let (_, result, _) = waiting(expired).await;
    let failure = result.unwrap_err();
    assert_eq!(failure.exit, Exit::Refused);
    assert!(failure.hint.unwrap().contains("hallpass login"));
}

#[tokio::test]
async fn a_submission_is_sent_again_with_the_same_key() {
    let world = World::new(&[]).await;
    world.fake.with(|state| {
        state.submit = vec![Err(Status::unavailable("break")), Ok(request(RequestState::Pending))];
    });
    let words = [SUBMIT.as_slice(), &["--no-wait"]].concat();
    let (result, paper) = world.run(&words).await;
    result.unwrap();
    let seen = world.fake.with(|state| state.seen.clone());
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0], seen[1]);
    assert!(paper.text().contains("sha256:d"), "{}", paper.text());
    assert!(!paper.text().contains("lapses"), "an unset time has no line");
}

#[tokio::test]
async fn a_claim_opens_the_credential_at_vault() {
    let world = World::new(&vault(PATH)).await;
    world.fake.with(|state| state.claim = vec![Ok(claimed()), Ok(claimed()), Ok(claimed())]);
    let (result, paper) = world.run(&["claim", ID, "--format", "env"]).await;
    result.unwrap();
    let lines = format!(
        "export HALLPASS_PASSWORD='it'\\''s'\nexport HALLPASS_USERNAME='v-alice'\nexport HALLPASS_GRANT='grants/{ID}'\n"
    );
    assert_eq!(paper.text(), lines);
    let (result, paper) = world.run(&["claim", ID, "--output", "json", "--reissue"]).await;
    result.unwrap();
    assert_eq!(paper.json()["credential"]["password"], "it's");
    assert_eq!(paper.json()["grant"]["state"], "GRANT_STATE_ACTIVE");
    let (result, paper) = world.run(&["claim", ID, "--wrapped", "--output", "json"]).await;
    result.unwrap();
    assert_eq!(paper.json()["wrappingToken"], "hvs.wrapping");
    let seen = world.fake.with(|state| state.seen.clone());
    assert_eq!(seen[1], format!("requests/{ID} true"));
}

#[tokio::test]
async fn an_exchanged_or_spent_wrapping_token_is_not_opened() {
    let spent = json!({ "errors": ["wrapping token is not valid or does not exist"] });
    let exchanged = vault("cubbyhole/response").to_vec();
    for answers in [exchanged, vec![("sys/wrapping/lookup", 400, spent)]] {
        let world = World::new(&answers).await;
        world.fake.with(|state| state.claim = vec![Ok(claimed())]);
        let (result, paper) = world.run(&["claim", ID]).await;
        let failure = result.unwrap_err();
        assert!(failure.is("WRAPPING_TOKEN_INTERCEPTED"), "{failure:?}");
        assert!(failure.hint.as_ref().unwrap().contains(&format!("hallpass release grants/{ID}")));
        assert!(!failure.text().contains("hvs."), "no token in an error");
        assert_eq!((failure.exit, paper.text().as_str()), (Exit::Local, ""));
    }
}

#[tokio::test]
async fn a_refused_claim_says_why_and_what_next() {
    let world = World::new(&[]).await;
    let held = status(Code::FailedPrecondition, "GRANT_HELD", &[("grant", "grants/g")]);
    let late = Status::deadline_exceeded("late");
    world.fake.with(|state| state.claim = vec![Err(held), Err(late)]);
    let (result, _) = world.run(&["claim", ID]).await;
    let failure = result.unwrap_err();
    assert_eq!(failure.exit, Exit::Refused);
    assert!(failure.hint.unwrap().contains("--reissue"));
    let (result, _) = world.run(&["claim", ID]).await;
    let failure = result.unwrap_err();
    assert_eq!(failure.exit, Exit::TimedOut);
    assert!(failure.hint.unwrap().contains("--reissue"), "the claim may have gone through");
}

#[tokio::test]
async fn a_release_waits_for_the_confirmation_and_says_if_there_is_none() {
    let world = World::new(&[]).await;
    let missing = status(Code::NotFound, "NOT_FOUND", &[]);
    let claimed = Request { grant: format!("grants/{ID}"), ..request(RequestState::Claimed) };
    world.fake.with(|state| {
        state.request = vec![Ok(claimed)];
        state.grant = vec![Err(missing), Ok(grant(GrantState::Revoking)), Ok(grant(GrantState::Revoked))];
    });
    let (result, paper) = world.run(&["release", ID, "--output", "json"]).await;
    result.unwrap();
    assert_eq!(paper.json()["state"], "GRANT_STATE_REVOKED");
    world.fake.with(|state| state.grant = vec![Ok(grant(GrantState::Revoking)); 9]);
    let (result, paper) = world.run(&["release", &format!("grants/{ID}"), "--wait-timeout", "100ms"]).await;
    assert!(paper.text().lines().any(|line| line.starts_with("state") && line.ends_with(" REVOKING")));
    let failure = result.unwrap_err();
    assert_eq!(failure.exit, Exit::TimedOut);
    assert!(failure.message.contains("REVOKING: the credential may still work"));
}

#[tokio::test]
async fn without_a_terminal_a_decision_needs_the_digest() {
    let world = World::new(&[]).await;
    world.fake.with(|state| state.request = vec![Ok(request(RequestState::Approved))]);
    let (result, _) = world.run(&["approve", ID, "--statement", "fine"]).await;
    assert_eq!(result.unwrap_err().exit, Exit::Usage);
    let (result, _) = world.run(&["approve", ID, "--digest", "sha256:d"]).await;
    assert_eq!(result.unwrap_err().exit, Exit::Usage, "nobody to write the statement");
    assert!(world.fake.with(|state| state.seen.is_empty()), "nothing was sent");
    let (result, paper) = world.run(&["approve", ID, "--digest", "sha256:d", "--statement", "fine"]).await;
    result.unwrap();
    assert!(paper.text().contains("APPROVED"));
    assert_eq!(world.fake.with(|state| state.seen.clone()), ["sha256:d fine"]);
}

#[tokio::test]
async fn a_server_that_isnt_there_is_a_local_error() {
    let world = World::new(&[]).await;
    for verb in [["show", ID], ["watch", ID]] {
        let (result, _) = world.run(&[&verb, ["--server", "http://127.0.0.1:1"].as_slice()].concat()).await;
        let failure = result.unwrap_err();
        assert_eq!(failure.exit, Exit::Local);
        assert!(failure.hint.unwrap().contains("HALLPASS_SERVER"));
    }
}

/// A hallpassd that shows one request and gives another's digest, or an approver's name with lines of its own in it, gets
/// no signature.
#[tokio::test]
async fn what_is_shown_is_signed_or_nothing_is() {
    let key = tempfile::NamedTempFile::new().unwrap();
    let file = key.path().to_str().unwrap().to_owned();
    let shown = super::sign::tests::shown();
    let lying = Request { reason: "something harmless".into(), ..shown.clone() };
    let name = Person { subject: "vault:o\ntime: 2020-01-01T00:00:00Z".into(), name: "olivia".into() };
    let draft = Decision { approver: Some(name), ..Decision::default() };
    let forged = Request { decisions: vec![draft], ..shown.clone() };
    for (answers, calls, expected) in [
        (vec![Ok(lying)], 1, "isn't that of the request that it shows"),
        (vec![Ok(shown.clone()), Ok(forged)], 2, "is not the canonical text"),
        (
            vec![Ok(shown.clone()), Err(status(Code::PermissionDenied, "SELF_APPROVAL", &[]))],
            2,
            "it does not go",
        ),
    ] {
        let world = World::new(&[]).await;
        world.fake.with(|state| state.request = answers);
        let words = ["approve", ID, "--digest", &shown.digest, "--statement", "fine", "--sign", &file];
        let (result, _) = world.run(&words).await;
        let failure = result.unwrap_err();
        assert!(failure.message.contains(expected), "{failure:?}");
        assert_eq!(world.fake.with(|state| state.seen.len()), calls, "nothing else was sent");
    }
}
