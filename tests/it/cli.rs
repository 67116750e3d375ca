//! The client's binary against the daemon's binary, verb by verb, as people and scripts use them.

use std::{io::Write, process::Command};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{servers::eventually, shell::Shell, world::World};

const ASK: [&str; 6] = ["request", "orders-ro", "--for", "30m", "--reason", "order 4711 is stuck"];

fn submit(alice: &Shell<'_>) -> String {
    let request = alice.json(&[&ASK[..], &["--no-wait"]].concat());
    request["name"].as_str().unwrap().trim_start_matches("requests/").to_owned()
}

fn approve(olivia: &Shell<'_>, request: &str) {
    let shown = olivia.json(&["show", request]);
    let digest = shown["request"]["digest"].as_str().unwrap();
    olivia.ok(&["approve", request, "--digest", digest, "--statement", "Read only, as discussed."]);
}

#[tokio::test]
async fn each_verb_does_its_part() {
    let world = World::start().await;
    let [alice, olivia, audrey, oren] =
        ["alice", "olivia", "audrey", "oren"].map(|name| Shell::log_in(&world, name));

    assert!(alice.ok(&["targets"]).contains("orders-ro"));
    let terms = alice.ok(&["targets", "show", "orders-ro"]);
    for step in ["ask for 1h at most, with a reason", "another person approves within", "claim it within"] {
        assert!(terms.contains(step), "{terms}");
    }
    let checked = ["request", "orders-ro", "--for", "5m", "--reason", "stuck order", "--dry-run"];
    assert!(alice.ok(&checked).contains("stuck order"));
    assert_eq!(olivia.json(&["list"])["requests"], serde_json::json!([]), "nothing was submitted");
    let mistake = submit(&alice);
    assert!(olivia.ok(&["list", "--state", "pending"]).contains(&mistake));
    alice.ok(&["withdraw", &mistake]);

    let request = submit(&alice);
    approve(&olivia, &request);
    let exports = alice.ok(&["claim", &request, "--format", "env"]);
    let shell = format!("{exports}\nprintf '%s\\n%s' \"$HALLPASS_USERNAME\" \"$HALLPASS_PASSWORD\"");
    let evaluated = Command::new("sh").args(["-c", &shell]).output().unwrap();
    let evaluated = String::from_utf8(evaluated.stdout).unwrap();
    let (username, password) = evaluated.split_once('\n').unwrap();
    world.postgres.connect(username, password, &world.database()).await.expect("the credential works");

    assert!(alice.ok(&["list", "grants"]).contains("ACTIVE"));
    let status = oren.ok(&["status"]);
    assert!(status.contains("in a file, for one daemon") && status.contains("overdue"), "{status}");
    assert_eq!(oren.json(&["status"])["version"], env!("CARGO_PKG_VERSION"));
    alice.ok(&["release", &request]);
    assert!(world.postgres.connect(username, password, &world.database()).await.is_err(), "release waits");

    let second = submit(&alice);
    approve(&olivia, &second);
    let claimed = alice.ok(&["claim", &second]);
    assert!(claimed.contains("token-"), "{claimed}");
    let grant = alice.json(&["show", &second])["request"]["grant"].as_str().unwrap().to_owned();
    oren.ok(&["revoke", &grant, "--reason", "an incident"]);

    let shown = audrey.ok(&["show", &second]);
    for told in ["order 4711 is stuck", "Read only, as discussed.", "GrantRevoked", "an incident"] {
        assert!(shown.contains(told), "{told} in {shown}");
    }
    let listed = audrey.json(&["audit", "list"]);
    assert_eq!(listed["exceptions"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn who_has_a_token_of_vaults_logs_in_with_it() {
    let world = World::start().await;
    let path = format!("auth/userpass-{}/login/alice", world.name);
    let password = Some(json!({ "password": "open sesame" }));
    let (_, login) = world.bao.call("", Method::POST, &path, password).await;
    let token = login["auth"]["client_token"].as_str().unwrap();
    let shell = Shell { world: &world, token_file: world.dir.join("alice.token") };
    let role = format!("hallpass-{}", world.name);
    let mut child = shell.start(&["login", "--method", "token", "--role", &role, "--secret-stdin"]);
    child.stdin.take().unwrap().write_all(format!("{token}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(shell.ok(&["targets"]).contains("orders-ro"));
    let (status, _) = world.bao.call(token, Method::GET, "auth/token/lookup-self", None).await;
    assert_eq!(status, 200, "a token that was given is not taken away");
}

#[tokio::test]
async fn a_request_waits_for_its_decision() {
    let world = World::start().await;
    let (alice, olivia) = (Shell::log_in(&world, "alice"), Shell::log_in(&world, "olivia"));
    for (verb, code) in [("approve", 0), ("deny", 4)] {
        let waiting = alice.start(&ASK);
        let mut request = Value::Null;
        eventually("the request is there", async || {
            request = olivia.json(&["list", "--state", "pending"])["requests"][0].clone();
            request.is_object()
        })
        .await;
        let (name, digest) = (request["name"].as_str().unwrap(), request["digest"].as_str().unwrap());
        olivia.ok(&[verb, name, "--digest", digest, "--statement", "as discussed"]);
        let output = waiting.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
    let (code, said) = alice.fails(&[&ASK[..], &["--wait-timeout", "1s"]].concat());
    assert_eq!(code, 5, "{said}");
}

#[tokio::test]
async fn a_watch_tells_each_event() {
    let world = World::start().await;
    let (alice, olivia) = (Shell::log_in(&world, "alice"), Shell::log_in(&world, "olivia"));
    let request = submit(&alice);
    let mut watch = alice.start(&["--output", "json", "watch", &request, "--after", "0"]);
    approve(&olivia, &request);
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(watch.stdout.take().unwrap()));
    let kinds = [(), ()].map(|()| {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        line["event"]["kind"].as_str().unwrap().to_owned()
    });
    assert_eq!(kinds, ["RequestSubmitted", "RequestApproved"]);
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[tokio::test]
async fn exit_codes_and_errors_can_be_relied_on() {
    let world = World::start().await;
    let alice = Shell::log_in(&world, "alice");
    let (code, said) = alice.fails(&["claim", "01k00000000000000000000000"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("error: ") && said.contains("requests/01k00000000000000000000000"), "{said}");
    let (code, said) =
        alice.fails(&["request", "orders-ro", "--for", "9h", "--reason", "too long", "--no-wait"]);
    assert_eq!(code, 3);
    assert!(said.contains("duration") && said.contains("1h"), "{said}");
    let request = submit(&alice);
    let (code, said) = alice.fails(&["claim", &request]);
    assert_eq!(code, 3);
    assert!(said.contains("PENDING"), "{said}");
    let (code, _) = alice.fails(&["claim"]);
    assert_eq!(code, 2);
    let stranger = Shell { world: &world, token_file: world.dir.join("nobody.token") };
    let (code, said) = stranger.fails(&["list"]);
    assert_eq!(code, 1);
    assert!(said.contains("hallpass login"), "{said}");
    let (code, said) = alice.fails(&["request", "orders-ro", "--for", "30m", "--no-wait"]);
    assert_eq!(code, 2, "without a terminal nobody is asked for a reason: {said}");
    assert!(said.contains("--reason"), "{said}");
}
