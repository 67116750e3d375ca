//! Each fault at each call by which a grant is ended. REVOKED is said of no grant whose account is there, and every
//! ending comes to its end once the fault is over, with nobody's help.

use hallpass::wire::{GrantState, RevocationCause};

use super::{ERRORS, NONSENSE, OTHERS, REFUSALS, RESETS, SILENCES, company::Company};
use crate::support::servers::{
    eventually,
    proxy::{Fault, Rule},
};

const TOKENS: &str = "POST /v1/auth/token/revoke-accessor";
const LEASE: &str = "POST /v1/sys/leases/revoke";
const LOOKUP: &str = "POST /v1/sys/leases/lookup";

async fn check(mut company: Company, faults: &[Fault]) {
    for fault in faults {
        for call in [TOKENS, LEASE, LOOKUP] {
            // One whose credential was opened, and one whose wrapping token has to go too.
            for opened in [true, false] {
                check_row(&mut company, call, *fault, opened).await;
            }
        }
    }
}

async fn check_row(company: &mut Company, call: &'static str, fault: Fault, opened: bool) {
    let row = format!("{call} {fault:?} opened: {opened}");
    let claimed = company.claimed().await;
    let grant = claimed.grant.clone().unwrap();
    if opened {
        company.opens(&claimed, &row).await;
    }
    company.proxy().forget();
    company.proxy().fault(Rule::on(call, fault));
    company.alice.release(&grant).await.unwrap();
    let mut seen = grant.clone();
    eventually(&format!("{row}: it was tried"), async || {
        seen = company.look_at(&grant, &row).await;
        seen.state() == GrantState::Revoked || !seen.revocation_error.is_empty()
    })
    .await;
    assert!(company.proxy().has_faulted(), "{row}: the call is made");
    // A lost answer about the lease is made up for by its lookup, and a revoked token takes its lease along. But
    // without the answers about the tokens, or without the lookup's, nothing is confirmed.
    if call != LEASE && !matches!(fault, Fault::Slow | Fault::Last) {
        assert_eq!(seen.state(), GrantState::Revoking, "{row}");
        assert!(seen.revocation_error.starts_with("Vault: "), "{row}: {}", seen.revocation_error);
    }
    company.proxy().lift().await;
    let revoked = company.comes_to(&grant, GrantState::Revoked, &row).await;
    assert_eq!(revoked.cause(), RevocationCause::Released, "{row}");
    company.has_nothing_left(&row).await;
    assert!(company.alice.try_unwrap(&claimed).await.is_err(), "{row}: nothing is wrapped any more");
}

#[tokio::test]
async fn a_reset_before_or_after_a_call_of_ending_delays_it_only() {
    check(Company::start().await, &RESETS).await;
}

#[tokio::test]
async fn silence_before_in_or_instead_of_an_answer_to_ending_delays_it_only() {
    check(Company::with_timeout("1s").await, &SILENCES).await;
}

#[tokio::test]
async fn a_limit_or_a_seal_while_ending_delays_it_only() {
    check(Company::start().await, &REFUSALS).await;
}

#[tokio::test]
async fn an_error_before_or_after_the_effect_of_ending_delays_it_only() {
    check(Company::start().await, &ERRORS).await;
}

#[tokio::test]
async fn nonsense_instead_of_an_answer_to_ending_confirms_nothing() {
    check(Company::start().await, &NONSENSE).await;
}

#[tokio::test]
async fn slow_answers_and_a_way_that_ends_while_ending_delay_it_only() {
    check(Company::start().await, &OTHERS).await;
}
