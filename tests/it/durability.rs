//! I1, as the kernel sees it: the approval and the intent are on the disk before Vault is asked for anything that could
//! make a credential. Every write and every sync of the daemon is watched by `strace`, in their order.

use std::{fs, path::Path, process::Command, time::Duration};

use crate::support::world::World;

/// A page of the database, and then some.
const SHOWN_BYTES: &str = "8192";

/// What the daemon's calls to the system, in their order, tell of.
#[derive(Debug, PartialEq, Eq)]
enum Seen<'a> {
    /// It wrote to the database's log, and this is what.
    Written(&'a str),
    /// It began to wait for the disk.
    SyncBegun,
    /// What was written before the wait began is on the disk.
    Synced,
    /// It asks Vault for a token that can read a credential.
    Asked,
}

/// Reads the lines of `strace -f -y`, each of which has its thread first: `12 fdatasync(5</db-wal>) = 0`, or, when others
/// came between, `12 fdatasync(5</db-wal> <unfinished ...>` and `12 <... fdatasync resumed>) = 0`.
fn seen(trace: &str) -> Vec<Seen<'_>> {
    let (mut seen, mut waiting) = (Vec::new(), None);
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ').map(|(thread, call)| (thread, call.trim_start()))
        else {
            continue;
        };
        if is_sync(call, "") && call.contains("hallpass.db-wal>") {
            seen.push(Seen::SyncBegun);
            if call.ends_with("= 0") {
                seen.push(Seen::Synced);
            } else {
                waiting = Some(thread);
            }
        } else if is_sync(call, "<... ") && waiting == Some(thread) {
            assert!(call.ends_with("= 0"), "{line}");
            waiting = None;
            seen.push(Seen::Synced);
        } else if call.starts_with("pwrite64(") && call.contains("hallpass.db-wal>") {
            seen.push(Seen::Written(call));
        } else if call.contains("POST /v1/auth/token/create/") {
            seen.push(Seen::Asked);
        }
    }
    seen
}

fn is_sync(call: &str, before: &str) -> bool {
    let name = call.strip_prefix(before).unwrap_or_default();
    name.starts_with("fsync") || name.starts_with("fdatasync")
}

/// Whether what was written first with this text in it was on the disk before Vault was asked for a token.
fn is_durable_before_the_ask(seen: &[Seen<'_>], text: &str) -> bool {
    let written = seen.iter().position(|one| matches!(one, Seen::Written(data) if data.contains(text)));
    let asked = seen.iter().position(|one| *one == Seen::Asked);
    let (Some(written), Some(asked)) = (written, asked) else { return false };
    let between = seen.get(written..asked).unwrap_or_default();
    let begun = between.iter().position(|one| *one == Seen::SyncBegun);
    begun.is_some_and(|begun| between[begun..].contains(&Seen::Synced))
}

async fn traced(file: &Path) -> String {
    let world = World::start().await;
    let (mut alice, mut olivia) = (world.person("alice").await, world.person("olivia").await);
    world.stop_daemon("TERM").await;
    let mut strace = Command::new("strace");
    // The tracer is a child of the daemon's, and not the other way round: signals go where they went.
    strace.args([
        "-D",
        "-f",
        "-y",
        "-s",
        SHOWN_BYTES,
        "-e",
        "trace=pwrite64,fsync,fdatasync,write,writev,sendto,sendmsg",
        "-o",
    ]);
    strace.arg(file);
    world.start_daemon_under(strace).await;
    let request = alice.submit(Duration::from_mins(1), "order 4711 is stuck").await.unwrap();
    olivia.approve(&request, "fine").await.unwrap();
    let claimed = alice.claim(&request).await.unwrap();
    alice.release(&claimed.grant.unwrap()).await.unwrap();
    world.stop_daemon("TERM").await;
    fs::read_to_string(file).unwrap()
}

#[tokio::test]
async fn approval_and_intent_are_on_the_disk_before_vault_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let trace = traced(&directory.path().join("trace")).await;
    let seen = seen(&trace);
    for text in ["RequestApproved", "GrantOpened"] {
        assert!(is_durable_before_the_ask(&seen, text), "{text}: {seen:?}");
    }
}

#[test]
fn a_write_that_is_not_synced_in_between_is_noticed() {
    let write = r#"7 pwrite64(5</x/hallpass.db-wal>, "..RequestApproved..", 4096, 0) = 4096"#;
    let sync = "7 fdatasync(5</x/hallpass.db-wal>) = 0";
    let ask = r#"8 sendto(9<socket:[1]>, "POST /v1/auth/token/create/r HTTP/1.1", 4, 0, NULL, 0) = 4"#;
    let begun = "7 fdatasync(5</x/hallpass.db-wal> <unfinished ...>";
    let done = "7 <... fdatasync resumed>) = 0";
    let other = "6 <... fdatasync resumed>) = 0";
    for (calls, expected) in [
        (&[write, sync, ask][..], true),
        (&[write, begun, other, done, ask], true),
        (&[write, ask, sync], false),
        (&[sync, write, ask], false),
        (&[write, begun, ask, done], false),
        (&[write, begun, other, ask], false),
        (&[begun, write, done, ask], false),
        (&[sync, ask], false),
        (&[write, sync], false),
    ] {
        assert_eq!(
            is_durable_before_the_ask(&seen(&calls.join("\n")), "RequestApproved"),
            expected,
            "{calls:?}"
        );
    }
}
