//! People with several identities, put together while something of theirs is under way: four eyes stay two people's.

use hallpass::{
    access::{
        actor::{Caller, Persons},
        grant::State,
        policy::Policy,
        refusal::Refusal,
        request::{self, Request},
        target::Target,
        text::Prose,
    },
    broker::{Error, RequestView, Written},
};

use super::{
    STATEMENT, developer, groups, person,
    races::{World, caller, policy, world_with},
    target,
};

/// Two people have to approve.
fn two() -> Target {
    Target { requesters: groups(&["dev"]).into(), ..target(2) }
}

/// Ann, as one issuer knows her, as another does, and as she is known once both are put together.
fn ann(subject: &str) -> Caller {
    caller(person(subject, &format!("{subject}'s name")), "leads")
}

fn put_together() -> Policy {
    let mut persons = Persons::default();
    assert!(persons.add("ann", "corp:ann") && persons.add("ann", "vault:ann"));
    Policy { persons, ..policy([two()]) }
}

async fn approve(world: &World, caller: &Caller, request: &Request) -> Result<RequestView, Error> {
    let written = Written { digest: request.digest(), statement: Prose::new(STATEMENT).unwrap() };
    world.broker.approve(caller, request.id, written).await
}

#[tokio::test]
async fn who_approved_before_approves_no_second_time() {
    let world = world_with(two());
    let request = world.submit().await.unwrap();
    approve(&world, &ann("corp:ann"), &request).await.unwrap();
    let world = world.configured(put_together());
    let again = approve(&world, &ann("person:ann"), &request).await.unwrap().request;
    assert_eq!((again.state.name(), again.approvals.len()), ("PENDING", 1));
    let another = approve(&world, &ann("corp:bob"), &request).await.unwrap().request;
    assert_eq!(another.state.name(), "APPROVED");
    world.claim(request.id, false).await.unwrap();
}

#[tokio::test]
async fn approvals_that_turn_out_to_be_one_persons_open_nothing() {
    let world = world_with(two());
    let request = world.submit().await.unwrap();
    for subject in ["corp:ann", "vault:ann"] {
        approve(&world, &ann(subject), &request).await.unwrap();
    }
    let world = world.configured(put_together());
    let refused = world.claim(request.id, false).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { refusal: Refusal::ApprovalInvalid, .. }), "{refused:?}");
    assert_eq!(world.vault.minted(), 0);
}

/// A credential that is held isn't taken away by a claim that is refused.
#[tokio::test]
async fn a_claim_again_that_is_refused_ends_nothing() {
    let world = world_with(two());
    let request = world.submit().await.unwrap();
    for subject in ["corp:ann", "vault:ann"] {
        approve(&world, &ann(subject), &request).await.unwrap();
    }
    let held = world.claim(request.id, false).await.unwrap().grant.id;
    let world = world.configured(put_together());
    let refused = world.claim(request.id, true).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { refusal: Refusal::ApprovalInvalid, .. }), "{refused:?}");
    assert!(matches!(world.grant(held).await.state, State::Active { .. }));
}

/// Asked under one identity, to be approved under the other.
#[tokio::test]
async fn what_was_asked_before_is_ones_own_all_the_same() {
    let world = world_with(Target { approvers: groups(&["leads", "dev"]).into(), ..two() });
    let request = world.submit().await.unwrap();
    let mut persons = Persons::default();
    assert!(persons.add("dev", &developer().subject) && persons.add("dev", "corp:dev"));
    let world = world.configured(Policy { persons, ..policy([two()]) });
    let refused = approve(&world, &ann("person:dev"), &request).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { refusal: Refusal::SelfApproval, .. }), "{refused:?}");
}

/// Who can't be told apart by name isn't put down as the other.
#[tokio::test]
async fn who_looks_like_an_approver_denies_as_himself() {
    let world = world_with(two());
    let request = world.submit().await.unwrap();
    approve(&world, &caller(person("corp:olivia", "olivia"), "leads"), &request).await.unwrap();
    let written = Written { digest: request.digest(), statement: Prose::new(STATEMENT).unwrap() };
    let alike = caller(person("vault:olivia", "0livia"), "leads");
    let denied = world.broker.deny(&alike, request.id, written).await.unwrap().request;
    let request::State::Denied { denial } = &denied.state else { panic!("{denied:?}") };
    assert_eq!(denial.decision().approver, alike.person);
}
