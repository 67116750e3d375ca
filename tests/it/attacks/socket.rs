//! The Unix socket: who is at its other end is what the kernel says, and nothing that is sent.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use hallpass::wire::ListTargetsRequest;
use tonic::{Code, Request as Call};

use super::attacked::{Attacked, Wishes, list_targets, with_token};
use crate::support::{
    refusals::reason,
    servers::eventually,
    world::{Wishes as WorldWishes, World},
};

fn invalid() -> (Code, String) {
    (Code::Unauthenticated, "IDENTITY_INVALID".to_owned())
}

#[tokio::test]
async fn the_user_is_who_calls_and_shows_nothing() {
    let attacked = Attacked::start().await;
    let channel = attacked.channel_of_socket();
    assert_eq!(list_targets(channel.clone(), Call::new(ListTargetsRequest::default())).await.unwrap(), 2);
    for token in [attacked.token("olivia", "operations-leads"), "nonsense".to_owned()] {
        let call = with_token(ListTargetsRequest::default(), &token);
        let error = list_targets(channel.clone(), call).await.unwrap_err();
        assert_eq!(reason(&error), invalid());
        assert!(error.message().contains("more than one identity"), "{error}");
    }
}

#[tokio::test]
async fn a_user_who_is_not_listed_is_nobody_root_or_not() {
    let attacked = Attacked::with(Wishes { own_user: None, ..Wishes::default() }).await;
    let channel = attacked.channel_of_socket();
    let error = list_targets(channel.clone(), Call::new(ListTargetsRequest::default())).await.unwrap_err();
    assert_eq!((reason(&error), error.message()), (invalid(), "the user who calls isn't listed here"));
    let call = attacked.alice(ListTargetsRequest::default());
    let error = list_targets(channel, call).await.unwrap_err();
    assert_eq!(reason(&error), invalid(), "nor by a token that would do elsewhere");
    attacked.still_serves().await;
}

#[tokio::test]
async fn the_sockets_file_goes_with_the_server() {
    let attacked = Attacked::start().await;
    assert!(attacked.socket.exists());
    attacked.sim.stopping.cancel();
    eventually("the server ends", async || attacked.server.is_finished()).await;
    assert!(!attacked.socket.exists());
}

/// The client's binary, as this user if one is named.
fn hallpass(user: Option<&str>, binary: &Path, server: &str) -> Command {
    let mut command = match user {
        None => Command::new(binary),
        Some(user) => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", user, "--regid", user, "--clear-groups", "--"]).arg(binary);
            command
        }
    };
    command.env_clear().env("HALLPASS_SERVER", server).env("HOME", "/nonexistent");
    command.args(["--output", "json", "targets"]);
    command
}

/// The whole: the daemon from its configuration, the client by `unix:`, without a login.
#[tokio::test]
async fn the_client_comes_in_by_the_socket_without_a_login() {
    let own = rustix::process::geteuid().as_raw();
    let dir = crate::support::servers::Dir::new("socket");
    fs::set_permissions(dir.join("."), fs::Permissions::from_mode(0o755)).unwrap();
    let path = dir.join("hallpass.sock");
    let gid = rustix::process::getegid().as_raw();
    let more = format!(
        "[server.socket]\npath = {path:?}\nmode = \"0666\"\n[identity.socket.people]\n{own} = \"alice\"\n\
         [identity.socket.groups]\n\"developers-@\" = [\"{gid}\"]\n"
    );
    let world = World::with(WorldWishes { more, ..WorldWishes::default() }).await;
    let server = format!("unix:{}", path.display());
    // Where every user can run it.
    let binary = dir.join("hallpass");
    fs::copy(env!("CARGO_BIN_EXE_hallpass"), &binary).unwrap();
    let run = |user: Option<&str>| {
        let output = hallpass(user, &binary, &server).output().unwrap();
        (output.status.code(), [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()))
    };
    let (code, [said, error]) = run(None);
    assert_eq!(code, Some(0), "{error}");
    assert!(said.contains("orders-ro"), "{said}");
    if own == 0 {
        // Somebody else of this machine: `daemon`, which every system has.
        let (code, [_, error]) = run(Some("1"));
        assert_eq!(code, Some(3), "{error}");
        let error: BTreeMap<String, serde_json::Value> = serde_json::from_str(&error).unwrap();
        assert_eq!(error["error"]["reason"], "IDENTITY_INVALID", "{error:?}");
        let refused = world.audit("IdentityRefused").await;
        assert_eq!(refused[0]["detail"]["client_address"], "uid 1");
    }
    world.stop_daemon("KILL").await;
    assert!(path.exists(), "as `kill -9` leaves it");
    world.start_daemon().await;
    assert_eq!(run(None).0, Some(0), "the next start puts another one in its place");
    world.stop_daemon("TERM").await;
    assert!(!path.exists());
}
