//! A claim asks again whether the signatures count.

use chrono::TimeDelta;
use hallpass::{
    access::{
        approval_text::ApprovalText,
        refusal::Refusal,
        signing::{Problem, Signing},
        terms::Terms,
        text::Prose,
    },
    broker::{Approving, Error, RequestView, Signature, Written},
    clock::Clock as _,
    signature::Signers,
    wire::{ClaimGrantRequest, RequestState},
};
use tonic::Status;

use super::company::{Company, approve, ask, subject, text};
use crate::support::{
    refusals::{precondition, reason},
    servers::Dir,
    sim::{Sim, olivia},
    ssh::{Hardware, Key},
};

const STATEMENT: &str = "read only is enough";

fn invalid(error: &Status) {
    assert_eq!(reason(error).1, "APPROVAL_INVALID", "{error:?}");
    assert!(precondition(error).1.contains("submit a new request"));
}

/// Who lost his key on Monday didn't approve on Tuesday.
#[tokio::test]
async fn an_approval_by_a_key_that_was_revoked_since_opens_nothing() {
    let company = Company::demanding("yes").await;
    let (mut alice, mut olivia) = (company.world.person("alice").await, company.world.person("olivia").await);
    let me = subject(&olivia);
    let key = Key::ed25519(&company.dir, "key");
    let list = format!("{me} {}\n", key.public());
    company.list(&list);
    let request = ask(&mut alice).await;
    let text = text(&request, &me, STATEMENT);
    let approved = approve(&mut olivia, &request, STATEMENT, (&text, &key.sign(&text))).await.unwrap();

    company.revoke(&key.public());
    invalid(&alice.claim(&approved).await.unwrap_err());
    company.revoke("");
    company.list("");
    invalid(&alice.claim(&approved).await.unwrap_err());
    company.list("not a list");
    assert_eq!(reason(&alice.claim(&approved).await.unwrap_err()).1, "SIGNERS_UNUSABLE");
    assert!(company.world.audit("GrantOpened").await.is_empty());

    company.list(&list);
    let claimed = alice.claim(&approved).await.unwrap();
    company.revoke(&key.public());
    let again = ClaimGrantRequest { request: approved.name, reissue: true };
    invalid(&alice.grants.claim_grant(again).await.unwrap_err());
    let grant = alice.grant(&claimed.grant.unwrap().name).await.unwrap();
    assert_eq!(grant.state(), hallpass::wire::GrantState::Active, "what is held isn't ended by asking");
}

/// What was approved before the target demanded so much doesn't count any more.
#[tokio::test]
async fn approvals_have_to_be_signed_as_the_target_demands_by_now() {
    let company = Company::demanding("no").await;
    let world = &company.world;
    let (mut alice, mut olivia) = (world.person("alice").await, world.person("olivia").await);
    let me = subject(&olivia);
    let (file, hardware) = (Key::ed25519(&company.dir, "file"), Hardware::ecdsa());
    company.list(&format!("{me} {}\n{me} {}\n", file.public(), hardware.public()));
    let mut approved = Vec::new();
    for how in 0..3 {
        let request = ask(&mut alice).await;
        let text = text(&request, &me, STATEMENT);
        let signature = [String::new(), file.sign(&text), hardware.sign(&text, 1)][how].clone();
        let text = if signature.is_empty() { String::new() } else { text };
        approved.push(approve(&mut olivia, &request, STATEMENT, (&text, &signature)).await.unwrap());
    }
    company.demand("no", "present").await;
    for unsigned in &approved[..2] {
        invalid(&alice.claim(unsigned).await.unwrap_err());
    }
    alice.claim(&approved[2]).await.unwrap();
    company.demand("present", "yes").await;
    invalid(&alice.claim(&approved[0]).await.unwrap_err());
    alice.claim(&approved[1]).await.unwrap();
    company.demand("yes", "no").await;
    assert_eq!(approved[0].state(), RequestState::Approved);
    alice.claim(&approved[0]).await.unwrap();
}

/// A clock to turn, and olivia's key.
struct Turned {
    sim: Sim,
    dir: Dir,
    key: Key,
}

impl Turned {
    async fn start() -> Self {
        let (mut sim, dir) = (Sim::start().await, Dir::new("turned"));
        let key = Key::ed25519(&dir, "key");
        let signers = Signers { allowed_file: Some(dir.join("allowed_signers")), revoked_file: None };
        sim.restart_signing(Signing::Required, signers).await;
        Self { sim, dir, key }
    }

    /// Lists the key with dates that are so much later than now.
    fn list(&self, after: TimeDelta, before: TimeDelta) {
        let date = |offset: TimeDelta| (self.sim.clock.now() + offset).format("%Y%m%d%H%M%SZ");
        let options = format!("valid-after=\"{}\",valid-before=\"{}\"", date(after), date(before));
        let line = format!("{} {options} {}\n", olivia().person.subject, self.key.public());
        std::fs::write(self.dir.join("allowed_signers"), line).unwrap();
    }

    /// Approves with a text that says it is signed so much later than now.
    async fn approve(&self, request: &RequestView, later: TimeDelta) -> Result<RequestView, Error> {
        let (statement, request) = (Prose::new("fine").unwrap(), &request.request);
        let (now, by) = (self.sim.clock.now() + later, olivia());
        let text = ApprovalText::of(
            request.id,
            &request.ask,
            Terms::default(),
            &by.person.subject,
            statement.clone(),
            now,
        );
        let (text, written) = (text.to_string(), Written { digest: request.digest(), statement });
        let signature = Some(Signature { armored: self.key.sign(&text), text });
        self.sim
            .broker
            .approve(&by, request.id, Approving { written, terms: Terms::default(), signature })
            .await
    }
}

/// An approval stays what it was when its key is no longer for new ones.
#[tokio::test]
async fn a_key_that_expires_later_still_counts_for_what_it_signed() {
    let turned = Turned::start().await;
    let minutes = TimeDelta::minutes;
    turned.list(minutes(-60), minutes(10));
    let requests = [turned.sim.submit("orders-ro").await, turned.sim.submit("payroll-ro").await];
    turned.approve(&requests[0], TimeDelta::zero()).await.unwrap();
    turned.sim.clock.advance(minutes(30));
    let late = turned.approve(&requests[1], TimeDelta::zero()).await.unwrap_err();
    assert!(is(&late, Problem::KeyExpired), "{late:?}");
    // Unless the operators say now that it was no longer good then.
    turned.list(minutes(-60), minutes(-31));
    let refused = turned.sim.claim(requests[0].request.id).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { refusal: Refusal::ApprovalInvalid, .. }), "{refused:?}");
    turned.list(minutes(-60), minutes(-30));
    turned.sim.claim(requests[0].request.id).await.unwrap();
}

/// A key counts if it is valid when its owner says that he signed, and when that comes.
#[tokio::test]
async fn a_key_has_to_be_valid_at_both_times() {
    let turned = Turned::start().await;
    let (request, minutes) = (turned.sim.submit("orders-ro").await, TimeDelta::minutes);
    turned.sim.clock.advance(minutes(30));
    for (after, before, signed, problem) in [
        (-60, -1, -2, Problem::KeyExpired),
        (-60, 1, 2, Problem::KeyExpired),
        (-1, 60, -2, Problem::KeyNotYetValid),
        (1, 60, 2, Problem::KeyNotYetValid),
    ] {
        turned.list(minutes(after), minutes(before));
        let refused = turned.approve(&request, minutes(signed)).await.unwrap_err();
        assert!(is(&refused, problem), "{after} {before} {signed}: {refused:?}");
    }
    turned.list(minutes(-2), minutes(0));
    turned.approve(&request, minutes(-2)).await.unwrap();
    turned.sim.claim(request.request.id).await.unwrap();
}

fn is(error: &Error, expected: Problem) -> bool {
    matches!(error, Error::Refused { refusal: Refusal::SignatureInvalid { problem }, .. } if *problem == expected)
}
