//! What isn't this approver's signature of this approval, with a key that counts, is refused, and what was tried is on
//! record.

use std::fs;

use chrono::TimeDelta;
use hallpass::wire::{ApproveRequestRequest, Request, RequestState};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::company::{Company, approve, ask, subject, text, text_at};
use crate::support::{
    people::Person,
    refusals::{bad_fields, precondition, reason},
    ssh::{Hardware, Key},
};

const STATEMENT: &str = "read only is enough";

fn problem(error: &Status) -> String {
    assert_eq!(reason(error), (Code::PermissionDenied, "SIGNATURE_INVALID".to_owned()), "{error:?}");
    error.get_details_error_info().unwrap().metadata["problem"].clone()
}

/// Somebody tries, and the problem is the expected one.
async fn refused(olivia: &mut Person, request: &Request, signed: (&str, &str), expected: &str) {
    let error = approve(olivia, request, STATEMENT, signed).await.unwrap_err();
    assert_eq!(problem(&error), expected, "{error:?}");
}

#[tokio::test]
async fn what_is_signed_must_be_this_approval() {
    let company = Company::demanding("yes").await;
    let world = &company.world;
    let (mut alice, mut olivia) = (world.person("alice").await, world.person("olivia").await);
    let oscar = subject(&world.person("oscar").await);
    let me = subject(&olivia);
    let key = Key::ed25519(&company.dir, "olivia");
    company.list(&format!("{me},{oscar} {}\n", key.public()));
    let (request, other) = (ask(&mut alice).await, ask(&mut alice).await);

    let without = olivia.approve(&request, STATEMENT).await.unwrap_err();
    assert_eq!(reason(&without), (Code::FailedPrecondition, "SIGNATURE_REQUIRED".to_owned()));
    let (about, what) = precondition(&without);
    assert!(about == request.name && what.contains("--sign"), "{about} {what}");

    let minutes = TimeDelta::minutes;
    let changed = |from: &str, to: &str| text(&request, &me, STATEMENT).replace(from, to);
    let cases = [
        (text(&other, &me, STATEMENT), "OTHER_REQUEST"),
        (changed("window-seconds: 1800", "window-seconds: 3600"), "OTHER_TERMS"),
        (changed("requester-name: alice", "requester-name: bob"), "OTHER_REQUEST"),
        (changed("target: orders-ro", "target: orders-rw"), "OTHER_REQUEST"),
        (changed("\napprover", "\nwindow-from: 2030-01-01T00:00:00Z\napprover"), "OTHER_TERMS"),
        (text(&request, &oscar, STATEMENT), "OTHER_APPROVER"),
        (text(&request, "olivia", STATEMENT), "OTHER_APPROVER"),
        (text(&request, &me, "anything goes"), "OTHER_STATEMENT"),
        (text_at(&request, &me, STATEMENT, minutes(6)), "OTHER_TIME"),
        (text_at(&request, &me, STATEMENT, minutes(-6)), "OTHER_TIME"),
        (text_at(&request, &me, STATEMENT, minutes(-4)), "BEFORE_REQUEST"),
        (changed("v1", "v2"), "TEXT_MALFORMED"),
        (changed("\ntarget", "\n target"), "TEXT_MALFORMED"),
        (changed("\n\n", "\n"), "TEXT_MALFORMED"),
    ];
    for (text, expected) in &cases {
        refused(&mut olivia, &request, (text, &key.sign(text)), expected).await;
    }
    let tried: Vec<_> = world.audit("AttemptRefused").await;
    let problems: Vec<_> = tried.iter().map(|event| event["detail"]["problem"].as_str().unwrap()).collect();
    assert_eq!(problems, cases.map(|(_, expected)| expected));
    assert!(tried.iter().all(|event| event["actor"].as_str().unwrap().starts_with("olivia")
        && event["detail"]["reason"] == "SIGNATURE_INVALID"));
    assert!(world.audit("RequestApproved").await.is_empty());

    let text = text(&request, &me, STATEMENT);
    let approved = approve(&mut olivia, &request, STATEMENT, (&text, &key.sign(&text))).await.unwrap();
    assert_eq!(approved.state(), RequestState::Approved);
}

#[tokio::test]
async fn the_key_must_be_one_that_counts_for_the_approver() {
    let company = Company::demanding("yes").await;
    let world = &company.world;
    let (mut alice, mut olivia) = (world.person("alice").await, world.person("olivia").await);
    let (me, oscar) = (subject(&olivia), subject(&world.person("oscar").await));
    let (mine, his) = (Key::ed25519(&company.dir, "mine"), Key::ed25519(&company.dir, "his"));
    let both = format!("{me} {}\n{oscar} {}\n", mine.public(), his.public());
    let request = ask(&mut alice).await;
    let text = text(&request, &me, STATEMENT);
    let by_mine = mine.sign(&text);

    company.list(&both);
    refused(&mut olivia, &request, (&text, &his.sign(&text)), "OTHER_KEY").await;
    let by_name = format!("olivia {}\n", mine.public());
    for (list, expected) in [
        (by_name.as_str(), "OTHER_KEY"),
        ("", "OTHER_KEY"),
        (&format!("{me} namespaces=\"git\" {}\n", mine.public()), "OTHER_KEY"),
        (&format!("{me} valid-before=\"20250101Z\" {}\n", mine.public()), "KEY_EXPIRED"),
        (&format!("{me} valid-after=\"20990101Z\" {}\n", mine.public()), "KEY_NOT_YET_VALID"),
    ] {
        company.list(list);
        refused(&mut olivia, &request, (&text, &by_mine), expected).await;
    }
    company.list(&both);
    company.revoke(&mine.public());
    refused(&mut olivia, &request, (&text, &by_mine), "KEY_REVOKED").await;
    company.revoke(&his.public());
    refused(&mut olivia, &request, (&text, &mine.sign_for(&text, "git", &[])), "OTHER_NAMESPACE").await;
    refused(&mut olivia, &request, (&text, &mine.sign(&format!("{text}\n"))), "OTHER_TEXT").await;
    for malformed in
        [by_mine.replace("BEGIN", "BEGAN"), by_mine.replacen('A', "!", 1), "signed, olivia".into()]
    {
        refused(&mut olivia, &request, (&text, &malformed), "MALFORMED").await;
    }

    // A list that can't be used lets nobody sign, and nobody is told what is in it but the operators.
    company.list(&format!("{both}{me} cert-authority {}\n", mine.public()));
    let error = approve(&mut olivia, &request, STATEMENT, (&text, &by_mine)).await.unwrap_err();
    assert_eq!(reason(&error), (Code::Unavailable, "SIGNERS_UNUSABLE".to_owned()));
    assert!(!error.message().contains("allowed_signers"), "{error:?}");
    assert!(world.log().contains("allowed_signers:3: has cert-authority"), "{}", world.log());
    fs::remove_file(company.dir.join("allowed_signers")).unwrap();
    let error = approve(&mut olivia, &request, STATEMENT, (&text, &by_mine)).await.unwrap_err();
    assert_eq!(reason(&error).1, "SIGNERS_UNUSABLE");

    company.list(&both);
    assert!(approve(&mut olivia, &request, STATEMENT, (&text, &by_mine)).await.is_ok());
}

#[tokio::test]
async fn where_a_touch_is_demanded_only_a_touched_hardware_key_counts() {
    let company = Company::demanding("present").await;
    let world = &company.world;
    let (mut alice, mut olivia) = (world.person("alice").await, world.person("olivia").await);
    let me = subject(&olivia);
    let (file, hardware) = (Key::ed25519(&company.dir, "file"), Hardware::ed25519());
    company.list(&format!("{me} {}\n{me} {}\n", file.public(), hardware.public()));
    let request = ask(&mut alice).await;
    let text = text(&request, &me, STATEMENT);
    refused(&mut olivia, &request, (&text, &file.sign(&text)), "NOT_PRESENT").await;
    refused(&mut olivia, &request, (&text, &hardware.sign(&text, 0)), "NOT_PRESENT").await;
    let without = olivia.approve(&request, STATEMENT).await.unwrap_err();
    assert!(without.message().contains("hardware key that is touched"), "{without:?}");
    let approved =
        approve(&mut olivia, &request, STATEMENT, (&text, &hardware.sign(&text, 1))).await.unwrap();
    let [decision] = &approved.decisions[..] else { panic!("{approved:?}") };
    assert!(decision.user_present && decision.signed_text == text, "{decision:?}");
    let [event] = &world.audit("RequestApproved").await[..] else { panic!("one approval") };
    assert_eq!(event["detail"]["signed_with"], decision.signed_with.as_str());
    assert_eq!(event["detail"]["user_present"], true);
    alice.claim(&approved).await.unwrap();
}

/// Nobody has to sign there; who does is taken at his word.
#[tokio::test]
async fn a_bad_signature_is_refused_also_where_none_is_demanded() {
    let company = Company::demanding("no").await;
    let (mut alice, mut olivia) = (company.world.person("alice").await, company.world.person("olivia").await);
    let key = Key::ed25519(&company.dir, "key");
    let request = ask(&mut alice).await;
    let text = text(&request, &subject(&olivia), STATEMENT);
    refused(&mut olivia, &request, (&text, &key.sign(&text)), "OTHER_KEY").await;
    let approved = olivia.approve(&request, STATEMENT).await.unwrap();
    assert_eq!((approved.state(), approved.decisions[0].signed_with.as_str()), (RequestState::Approved, ""));
    assert_eq!(company.world.audit("RequestApproved").await[0]["detail"].get("signed_with"), None);

    // Again, with a bad signature: what changes nothing is verified as well.
    refused(&mut olivia, &request, (&text, &key.sign(&text)), "OTHER_KEY").await;
}

#[tokio::test]
async fn without_a_list_no_signature_is_taken() {
    let world = crate::support::world::World::start().await;
    let (mut alice, mut olivia) = (world.person("alice").await, world.person("olivia").await);
    let dir = crate::support::servers::Dir::new("key");
    let key = Key::ed25519(&dir, "key");
    let request = ask(&mut alice).await;
    let text = text(&request, &subject(&olivia), STATEMENT);
    refused(&mut olivia, &request, (&text, &key.sign(&text)), "NOT_LISTED").await;
}

#[tokio::test]
async fn the_message_is_bounded_and_whole() {
    let company = Company::demanding("yes").await;
    let (mut alice, mut olivia) = (company.world.person("alice").await, company.world.person("olivia").await);
    let request = ask(&mut alice).await;
    let cases = [
        ("x".repeat(10_241), "y".to_owned(), vec!["signed_text"]),
        ("x".to_owned(), "y".repeat(8193), vec!["signature"]),
        ("x".to_owned(), String::new(), vec!["signature"]),
        (String::new(), "y".to_owned(), vec!["signature"]),
    ];
    for (text, signature, fields) in cases {
        let error = approve(&mut olivia, &request, STATEMENT, (&text, &signature)).await.unwrap_err();
        assert_eq!(bad_fields(&error), fields);
    }
    let both = ApproveRequestRequest {
        name: request.name,
        digest: "sha256:x".into(),
        statement: STATEMENT.into(),
        signed_text: "x".into(),
        signature: "y".into(),
        validate_only: true,
        ..ApproveRequestRequest::default()
    };
    let error = olivia.requests.approve_request(both).await.unwrap_err();
    assert_eq!(bad_fields(&error), ["validate_only", "digest"]);
}

/// Before somebody signs, he learns who he is here, and what would be refused anyway.
#[tokio::test]
async fn an_approval_can_be_checked_before_it_is_signed() {
    let company = Company::demanding("yes").await;
    let world = &company.world;
    let (mut alice, mut olivia) = (world.person("alice").await, world.person("olivia").await);
    let me = subject(&olivia);
    let key = Key::ed25519(&company.dir, "key");
    company.list(&format!("{me} {}\n", key.public()));
    let request = ask(&mut alice).await;
    let question = ApproveRequestRequest {
        name: request.name.clone(),
        digest: request.digest.clone(),
        statement: format!("  {STATEMENT}\r\n"),
        validate_only: true,
        ..ApproveRequestRequest::default()
    };
    let would_be = olivia.requests.approve_request(question.clone()).await.unwrap().into_inner();
    let [draft] = &would_be.decisions[..] else { panic!("{would_be:?}") };
    assert_eq!((draft.decided_at, draft.statement.as_str()), (None, STATEMENT));
    assert_eq!(draft.approver.as_ref().unwrap().subject, me);
    assert_eq!(would_be.state(), RequestState::Approved);
    assert!(world.audit("RequestApproved").await.is_empty(), "nothing is recorded");

    let stale = ApproveRequestRequest { digest: format!("sha256:{}", "0".repeat(64)), ..question.clone() };
    assert_eq!(reason(&olivia.requests.approve_request(stale).await.unwrap_err()).1, "DIGEST_STALE");
    let own = alice.requests.approve_request(question.clone()).await.unwrap_err();
    assert_eq!(reason(&own).1, "ROLE_MISSING");

    let text = text(&request, &me, STATEMENT);
    approve(&mut olivia, &request, STATEMENT, (&text, &key.sign(&text))).await.unwrap();
    let after = olivia.requests.approve_request(question).await.unwrap().into_inner();
    assert!(after.decisions.len() == 1 && after.decisions[0].decided_at.is_some(), "it would change nothing");
}

/// Whoever has several identities signs as the person that they are together.
#[tokio::test]
async fn a_person_with_several_identities_is_one_principal() {
    let company = Company::demanding("yes").await;
    let world = &company.world;
    let (mut alice, mut olivia) = (world.person("alice").await, world.person("olivia").await);
    let one = subject(&olivia);
    let persons = format!("[identity.persons.ops-lead]\nidentities = [\"{one}\", \"vault:of-old\"]\n");
    world.stop_daemon("TERM").await;
    let text_of_config = fs::read_to_string(world.config_file()).unwrap();
    fs::write(world.config_file(), text_of_config + &persons).unwrap();
    world.start_daemon().await;
    let key = Key::ed25519(&company.dir, "key");
    let request = ask(&mut alice).await;
    for (principal, approver, expected) in
        [(one.as_str(), one.as_str(), "OTHER_KEY"), ("person:ops-lead", one.as_str(), "OTHER_APPROVER")]
    {
        company.list(&format!("{principal} {}\n", key.public()));
        let text = text(&request, approver, STATEMENT);
        refused(&mut olivia, &request, (&text, &key.sign(&text)), expected).await;
    }
    let text = text(&request, "person:ops-lead", STATEMENT);
    approve(&mut olivia, &request, STATEMENT, (&text, &key.sign(&text))).await.unwrap();
}
