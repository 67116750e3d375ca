//! No secret in what the daemon writes: the database, the log, the errors. The canaries are the real ones.

use std::{fs, time::Duration};

use hallpass::wire::GrantState;

use crate::support::world::{Wishes, World};

#[tokio::test]
async fn no_core_dump_holds_a_secret() {
    let world = World::start().await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", world.daemon_pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");
}

/// Everything that the daemon wrote: the database's files byte by byte, and the log.
fn written(world: &World) -> Vec<(String, Vec<u8>)> {
    let names = ["hallpass.db", "hallpass.db-wal", "hallpass.db-shm", "hallpassd.log"];
    let files = names.map(|name| (name.to_owned(), fs::read(world.dir.join(name)).unwrap_or_default()));
    assert!(
        files.iter().any(|(_, bytes)| find(bytes, "order 4711 is stuck")),
        "the search finds what is there"
    );
    files.into()
}

fn find(bytes: &[u8], canary: &str) -> bool {
    bytes.windows(canary.len()).any(|window| window == canary.as_bytes())
}

/// I6: neither in the database nor in a log of any level.
#[tokio::test]
async fn neither_credential_nor_token_is_ever_written() {
    let wishes = Wishes { more: "[log]\nlevel = \"trace\"\n".to_owned(), ..Wishes::default() };
    let world = World::with(wishes).await;
    let (mut alice, mut olivia) = (world.person("alice").await, world.person("olivia").await);
    let request = alice.submit(Duration::from_mins(1), "order 4711 is stuck").await.unwrap();
    olivia.approve(&request, "fine").await.unwrap();
    let lost = alice.claim(&request).await.unwrap();
    let claimed = alice.claim_with(&request, true).await.unwrap();
    let credential = alice.unwrap(&claimed).await;
    let secret_id = fs::read_to_string(world.dir.join("vault-secret-id")).unwrap();
    let while_active = written(&world);
    let refusal = alice.claim(&request).await.unwrap_err();
    let grant = claimed.grant.clone().unwrap();
    alice.release(&grant).await.unwrap();
    alice.sees(&grant, GrantState::Revoked).await;
    let after = written(&world);

    let secrets = [
        ("password", &credential.password),
        ("wrapping token", &claimed.wrapping_token),
        ("lost wrapping token", &lost.wrapping_token),
        ("identity token", &alice.jwt),
        ("secret id", &secret_id),
    ];
    for (what, secret) in secrets {
        for (file, bytes) in while_active.iter().chain(&after) {
            assert!(!find(bytes, secret), "the {what} stands in {file}");
        }
        assert!(!format!("{refusal:?}").contains(secret.as_str()), "the {what} stands in an error");
    }
    // A lease id lets its bearer revoke: it stands in the grant's row while the daemon needs it, and nowhere else.
    let random = credential.lease_id.rsplit('/').next().unwrap();
    for (file, bytes) in while_active.iter().chain(&after).filter(|(file, _)| file == "hallpassd.log") {
        assert!(!find(bytes, random), "the lease id stands in {file}");
    }
    let exception = format!("{:?}", world.person("audrey").await.exception(&request).await.unwrap());
    assert!(!exception.contains(random), "the lease id stands in the timeline");
    assert!(world.audit("GrantLeaseRecorded").await.iter().all(|event| !event.to_string().contains(random)));
}
