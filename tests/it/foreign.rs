//! A standard client that wasn't written for hallpass, Python's grpcio, which learns the contract by reflection: whatever is
//! in the protos is enough to walk the whole story.

use std::{path::Path, process::Command};

use crate::support::world::World;

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/grpcio/bin/python");
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/foreign/client.py");

const SEEN: &str = "\
services DaemonService ExceptionService FreezeService GrantService LedgerService RequestService TargetService
without a token UNAUTHENTICATED TOKEN_INVALID
targets targets/orders-ro
badly asked INVALID_ARGUMENT BAD_FIELD duration reason
asked REQUEST_STATE_PENDING
watching REQUEST_STATE_PENDING
approved by herself PERMISSION_DENIED ROLE_MISSING
approved REQUEST_STATE_APPROVED 120s
watching AttemptRefused RequestApproved
claimed GRANT_STATE_ACTIVE
credential password username
claimed twice FAILED_PRECONDITION GRANT_HELD
watching RequestClaimed GrantOpened GrantTokenMinted GrantLeaseRecorded GrantActivated RevocationBegun GrantRevoked
audited GRANT_STATE_REVOKED RequestSubmitted GrantRevoked
changed by the auditor PERMISSION_DENIED ROLE_MISSING
";

#[tokio::test]
async fn a_foreign_client_with_reflection_walks_the_whole_story() {
    assert!(Path::new(PYTHON).exists(), "{PYTHON} is missing: run .ci/setup test");
    let world = World::start().await;
    let mut client = Command::new(PYTHON);
    client.arg(CLIENT).env_clear().env("VAULT", &world.bao.address);
    client.env("ADDRESS", world.address.strip_prefix("http://").unwrap());
    for name in ["alice", "olivia", "audrey"] {
        client.env(name.to_uppercase(), world.person(name).await.jwt);
    }
    let output = tokio::task::spawn_blocking(move || client.output()).await.unwrap().unwrap();
    let (seen, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{seen}{errors}");
    assert_eq!(seen, SEEN, "{errors}");
}
