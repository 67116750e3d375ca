//! Each fault at each call by which a credential is made.

use hallpass::wire::{Grant, GrantState, Request};
use tonic::{Code, Status};

use super::{ERRORS, NONSENSE, OTHERS, REFUSALS, RESETS, SILENCES, company::Company};
use crate::support::{
    refusals::reason,
    servers::{
        eventually,
        proxy::{Fault, Rule, When},
    },
};

/// The calls of the recipe, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// Finds out whether the way to Vault is there, so that the next is sent once only.
    Ahead,
    Mint,
    ListBefore,
    Read,
    ListAfter,
    LookUp,
    RenewToken,
    RenewLease,
}

const CALLS: [Call; 8] = [
    Call::Ahead,
    Call::Mint,
    Call::ListBefore,
    Call::Read,
    Call::ListAfter,
    Call::LookUp,
    Call::RenewToken,
    Call::RenewLease,
];

const MINT: &str = "POST /v1/auth/token/create/";
const READ: &str = "GET /v1/database-";

impl Call {
    /// Endings that are under way make some of these calls too, but not between the steps that are named here.
    fn rule(self, fault: Fault) -> Rule {
        match self {
            Self::Ahead => Rule::on("GET /v1/auth/token/lookup-self", fault),
            Self::Mint => Rule::on(MINT, fault),
            Self::ListBefore => Rule::on("LIST /v1/sys/leases/lookup/", fault).once(MINT),
            Self::Read => Rule::on(READ, fault),
            Self::ListAfter => Rule::on("LIST /v1/sys/leases/lookup/", fault).once(READ),
            Self::LookUp => Rule::on("POST /v1/sys/leases/lookup", fault).once(READ),
            Self::RenewToken => Rule::on("POST /v1/auth/token/renew-accessor", fault),
            Self::RenewLease => Rule::on("POST /v1/sys/leases/renew", fault),
        }
    }
}

/// What a claim comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comes {
    /// A credential.
    Well,
    /// An error, and the grant FAILED.
    Failed,
    /// An error, and the grant REVOKING until no read can be under way any more.
    Unsettled,
    /// Any of these: which of two calls at once was the faster decides.
    Either,
}

fn comes(call: Call, fault: Fault) -> Comes {
    match (call, fault) {
        // Asked ahead, any answer of Vault's shows that the way is there.
        (_, Fault::Slow) | (Call::Ahead, Fault::Says(_, 200 | 429 | 500 | 503, _)) => Comes::Well,
        (Call::RenewToken | Call::RenewLease, Fault::Last) => Comes::Either,
        // Vault turned the read away before it did anything.
        (Call::Read, Fault::Says(When::Before, 429 | 503, _)) | (Call::LookUp, Fault::Last) => Comes::Failed,
        (Call::Read | Call::ListAfter | Call::LookUp, _) => Comes::Unsettled,
        _ => Comes::Failed,
    }
}

async fn check(mut company: Company, faults: &[Fault]) {
    for fault in faults {
        for call in CALLS {
            check_row(&mut company, call, *fault).await;
        }
    }
}

async fn check_row(company: &mut Company, call: Call, fault: Fault) {
    let row = format!("{call:?} {fault:?}");
    let request = company.approved().await;
    company.proxy().forget();
    company.proxy().fault(call.rule(fault));
    let claimed = company.alice.claim(&request).await;
    assert!(company.proxy().has_faulted(), "{row}: the call is made");
    company.proxy().lift().await;
    let expected = comes(call, fault);
    match claimed {
        Ok(claimed) => {
            assert!(matches!(expected, Comes::Well | Comes::Either), "{row}: delivered");
            company.opens(&claimed, &row).await;
            company.releases(&claimed.grant.unwrap(), &row).await;
        }
        Err(error) => {
            assert_ne!(expected, Comes::Well, "{row}: {error}");
            told(&error, &row);
            leaves_nothing(company, &request, expected, &row).await;
            claims_again(company, &request, &row).await;
        }
    }
}

/// The holder learns that Vault was it, and what to do.
fn told(error: &Status, row: &str) {
    assert_eq!(reason(error), (Code::Unavailable, "ISSUE_FAILED".to_owned()), "{row}");
    for words in ["issuing failed (Vault: ", "you may claim again while the window lasts"] {
        assert!(error.message().contains(words), "{row}: {}", error.message());
    }
}

async fn leaves_nothing(company: &mut Company, request: &Request, expected: Comes, row: &str) {
    let [grant] = &company.grants(request).await[..] else { panic!("{row}: one grant") };
    match expected {
        Comes::Unsettled => waits(company, grant, row).await,
        _ => drop(company.comes_to(grant, GrantState::Failed, row).await),
    }
    company.has_nothing_left(row).await;
}

/// It has looked, found and ended whatever there was, and says what it waits for.
async fn waits(company: &mut Company, grant: &Grant, row: &str) {
    eventually(&format!("{row}: {} only waits", grant.name), async || {
        let seen = company.look_at(grant, row).await;
        assert_eq!(seen.state(), GrantState::Revoking, "{row}: nobody knows yet whether the read is over");
        seen.revocation_error.starts_with("nothing found so far")
    })
    .await;
}

async fn claims_again(company: &mut Company, request: &Request, row: &str) {
    let claimed = company.alice.claim_with(request, true).await;
    let claimed = claimed.unwrap_or_else(|error| panic!("{row}: claimed again: {error}"));
    company.opens(&claimed, row).await;
    company.releases(&claimed.grant.unwrap(), row).await;
}

#[tokio::test]
async fn a_reset_before_or_after_a_call_of_issuing_leaves_nothing() {
    check(Company::start().await, &RESETS).await;
}

#[tokio::test]
async fn silence_before_in_or_instead_of_an_answer_to_issuing_leaves_nothing() {
    check(Company::with_timeout("1s").await, &SILENCES).await;
}

#[tokio::test]
async fn a_limit_or_a_seal_while_issuing_leaves_nothing() {
    check(Company::start().await, &REFUSALS).await;
}

#[tokio::test]
async fn an_error_before_or_after_the_effect_of_issuing_leaves_nothing() {
    check(Company::start().await, &ERRORS).await;
}

#[tokio::test]
async fn nonsense_instead_of_an_answer_to_issuing_leaves_nothing() {
    check(Company::start().await, &NONSENSE).await;
}

#[tokio::test]
async fn slow_answers_are_waited_for_and_a_way_that_ends_while_issuing_leaves_nothing() {
    check(Company::start().await, &OTHERS).await;
}
