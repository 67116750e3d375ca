//! Many endings at once into an outage: few calls at a time, one probe after the other with each grant in its turn, and
//! after the outage all of them are over with nobody's help.

use std::collections::BTreeSet;

use hallpass::wire::{Grant, GrantState};
use serde_json::{Value, json};

use super::{SEALED, company::Company};
use crate::support::servers::{
    eventually,
    proxy::{Call, Fault, Rule, When},
};

/// More than are tried at once.
const GRANTS: usize = 12;
/// How many endings of a target are under way at once while nothing is known to fail.
const PER_TARGET_MAX: usize = 8;

/// One call of each try.
const TRY: &str = "POST /v1/sys/leases/revoke";

/// Grants that are held.
async fn held(company: &mut Company) -> Vec<Grant> {
    let mut grants = Vec::new();
    for _ in 0..GRANTS {
        grants.push(company.claimed().await.grant.unwrap());
    }
    grants
}

/// Releases them all at once.
async fn release(company: &Company, grants: &[Grant]) {
    company.proxy().forget();
    let mut releases = tokio::task::JoinSet::new();
    for grant in grants {
        let grant = grant.clone();
        let mut alice = company.alice.clone();
        releases.spawn(async move { alice.release(&grant).await.map(drop) });
    }
    let answers = releases.join_all().await;
    assert!(answers.iter().all(Result::is_ok), "releasing needs no Vault: {answers:?}");
}

/// Waits for so many tries.
async fn tries(company: &Company, count: usize) -> Vec<Call> {
    let mut calls = Vec::new();
    eventually(&format!("there are {count} tries"), async || {
        calls = company.proxy().calls(TRY);
        calls.len() >= count
    })
    .await;
    calls.truncate(count);
    calls
}

fn most_at_once(calls: &[Call]) -> usize {
    calls.iter().map(|call| call.at_once).max().unwrap()
}

/// While nothing succeeds.
async fn probes_in_turn(company: &mut Company, grants: &[Grant]) {
    let first = tries(company, GRANTS).await;
    assert!(most_at_once(&first) <= PER_TARGET_MAX, "{first:?}");
    for grant in grants {
        assert_eq!(company.look_at(grant, "outage").await.state(), GrantState::Revoking);
    }
    company.proxy().forget();
    let probes = tries(company, GRANTS).await;
    assert_eq!(most_at_once(&probes), 1, "a target that fails gets one probe at a time: {probes:?}");
    let bodies: BTreeSet<u64> = probes.iter().map(|call| call.body).collect();
    assert_eq!(bodies.len(), GRANTS, "each grant has its turn: {probes:?}");
}

async fn all_are_revoked(company: &mut Company, grants: &[Grant]) {
    for grant in grants {
        company.comes_to(grant, GrantState::Revoked, "after the outage").await;
    }
    company.has_nothing_left("after the outage").await;
}

/// The role's revocation statements, while they are broken.
async fn set_revocation(company: &Company, statements: Value) {
    let path = format!("database-{}/roles/hp-orders-ro", company.world.name);
    let mut role = company.world.bao.read(&path).await["data"].clone();
    role["revocation_statements"] = statements;
    company.world.bao.write(&path, role).await;
}

#[tokio::test]
async fn accounts_that_cannot_be_dropped_cost_one_probe_at_a_time_and_go_when_they_can() {
    let mut company = Company::start().await;
    let grants = held(&mut company).await;
    let path = format!("database-{}/roles/hp-orders-ro", company.world.name);
    let well = company.world.bao.read(&path).await["data"]["revocation_statements"].clone();
    set_revocation(&company, json!(["SELECT 1 / 0"])).await;
    release(&company, &grants).await;
    probes_in_turn(&mut company, &grants).await;
    assert_eq!(company.accounts().await.len(), GRANTS, "the outage is real");
    set_revocation(&company, well).await;
    all_are_revoked(&mut company, &grants).await;
}

#[tokio::test]
async fn a_sealed_vault_costs_one_probe_at_a_time_and_all_are_over_when_it_is_back() {
    let mut company = Company::start().await;
    let grants = held(&mut company).await;
    company.proxy().fault(Rule::on("/v1/", Fault::Says(When::Before, 503, SEALED)));
    release(&company, &grants).await;
    probes_in_turn(&mut company, &grants).await;
    assert_eq!(company.accounts().await.len(), GRANTS, "the outage is real");
    company.proxy().lift().await;
    all_are_revoked(&mut company, &grants).await;
}
