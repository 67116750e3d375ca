//! Ending what was issued. Each call can be repeated, and "gone already" is success, except where it must be proved.
//!
//! A success of a token's revocation says nothing about its lease: Vault only queues that. A success of the lease's says
//! that the engine ran. Only the lookup says that the lease is gone.

use vaultrs::api::token::requests::RevokeTokenAccessorRequest;

use super::{
    VaultError,
    endpoints::RevokeLease,
    error::{Failure, Operation},
    lane::Lane,
    leases::says_gone,
};
use crate::access::handle::{Accessor, LeaseId};

pub(super) const REVOKE_TOKEN: Operation =
    Operation::new("revoke the grant's token", "auth/token/revoke-accessor", "update");
pub(super) const REVOKE_WRAPPING: Operation =
    Operation::new("revoke the wrapped credential", "auth/token/revoke-accessor", "update");
const REVOKE_LEASE: Operation = Operation::new("revoke the lease", "sys/leases/revoke", "update");

impl Lane {
    /// Revokes a token by its accessor. For one that is gone Vault answers with a success and a warning, or with an
    /// error if it expires at this very moment.
    pub(super) async fn revoke_accessor(
        &self,
        operation: &Operation,
        accessor: &Accessor,
    ) -> Result<(), VaultError> {
        let asked = self.ask(|| RevokeTokenAccessorRequest { accessor: accessor.expose().to_owned() });
        match asked.await {
            Ok(_) => Ok(()),
            Err(failure) if token_is_gone(&failure) => Ok(()),
            Err(failure) => Err(operation.error(&failure, &[accessor.expose()])),
        }
    }

    /// Revokes a lease and waits for the engine. A time-out doesn't stop Vault: the lookup tells how it went.
    pub(super) async fn revoke_lease(&self, lease: &LeaseId) -> Result<(), VaultError> {
        let asked = self.ask(|| RevokeLease { lease_id: lease.expose().to_owned(), sync: true });
        match asked.await {
            Ok(_) => Ok(()),
            Err(failure) if says_gone(&failure) => Ok(()),
            Err(failure) => Err(REVOKE_LEASE.error(&failure, &[lease.expose()])),
        }
    }
}

/// Being denied is never "gone": it can as well be a missing right.
fn token_is_gone(failure: &Failure) -> bool {
    failure.said(400, "token not found") || failure.said(400, "invalid accessor")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_texts_mean_that_the_token_is_gone() {
        let said = |status, text: &str| token_is_gone(&Failure::Said { status, errors: vec![text.into()] });
        assert!(said(400, "token not found"));
        assert!(said(400, "1 error occurred:\n\t* invalid accessor\n\n"));
        assert!(!said(403, "permission denied"));
        assert!(!said(403, "bad token"));
        assert!(!said(400, "missing accessor"));
        assert!(!said(500, "token not found"));
    }
}
