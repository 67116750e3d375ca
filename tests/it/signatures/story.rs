//! An approver signs with `hallpass approve --sign`, and an auditor verifies it with nothing but OpenSSH.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use hallpass::signature::{Lists, Signers};
use sha2::Digest as _;

use super::company::{Company, subject};
use crate::{
    fsck::tampered,
    support::{
        fsck,
        shell::Shell,
        ssh::{self, Agent, Key},
    },
};

const STATEMENT: &str = "Read only, as discussed.\n\napprover: somebody else";

fn submit(alice: &Shell<'_>) -> (String, String) {
    let ask = [
        "request",
        "orders-ro",
        "--for",
        "30m",
        "--reason",
        "order 4711 is stuck",
        "--ticket",
        "OPS-7",
        "--no-wait",
    ];
    let request = alice.json(&ask);
    let text = |key: &str| request[key].as_str().unwrap().to_owned();
    (text("name").trim_start_matches("requests/").to_owned(), text("digest"))
}

/// Also when the text is gone, by its hash; and by the key on record, or by a list.
async fn is_verified_by_the_log(database: &Path, list: &Path, signed: &str) {
    let lists = Signers { allowed_file: Some(list.to_owned()), revoked_file: None }.read().unwrap().unwrap();
    let gone = "UPDATE audit_events SET texts = NULL;";
    let (_dir, without_texts) = tampered(database, "without-texts", gone).await;
    for file in [database, &without_texts] {
        for signers in [None, Some(lists.clone())] {
            let report = fsck(file, signers, Vec::new()).await;
            assert!(report.holds() && report.counts.signed == 1, "{}", report.text());
        }
        let report = fsck(file, Some(Lists::default()), Vec::new()).await;
        assert!(report.text().contains("is signed with a key that doesn't count"), "{}", report.text());
    }
    let hash = hex::encode(sha2::Sha512::digest(signed));
    let other = hex::encode(sha2::Sha512::digest("another text"));
    let replace =
        |from: &str, to: &str| format!("UPDATE audit_events SET leaf = replace(leaf, '{from}', '{to}');");
    for (edits, told) in [
        (replace(&hash, &other), "has another text than it has the hash of"),
        (replace(&hash, &other) + gone, "has a signature that isn't one of what was signed"),
        (replace(&hash, "00"), "has no whole hash of its text"),
        (
            replace("\"signed_with\":\"SHA256:", "\"signed_with\":\"SHA256:x"),
            "is by another key than is on record",
        ),
        (replace("BEGIN SSH", "BEGIN PGP"), "has a signature that can't be read"),
    ] {
        let (_dir, copy) = tampered(database, "signature", &edits).await;
        let report = fsck(&copy, None, Vec::new()).await;
        assert!(report.text().contains(told), "{told}: {}", report.text());
    }
}

#[tokio::test]
async fn an_auditor_verifies_with_plain_ssh_keygen() {
    let company = Company::demanding("yes").await;
    let world = &company.world;
    let me = subject(&world.person("olivia").await);
    let [alice, olivia, audrey] = ["alice", "olivia", "audrey"].map(|name| Shell::log_in(world, name));
    let key = Key::ed25519(&company.dir, "olivia");
    company.list(&format!("{me} namespaces=\"hallpass-approval@v1\" {}\n", key.public()));
    assert!(alice.ok(&["targets", "show", "orders-ro"]).contains("signed with an SSH key"));

    let (request, digest) = submit(&alice);
    let approve = ["approve", &request, "--digest", &digest, "--statement", STATEMENT];
    let (code, said) = olivia.fails(&approve);
    assert!(code == 3 && said.contains("must be signed") && said.contains("--sign KEY"), "{said}");
    let file = key.0.to_str().unwrap();
    let signed = olivia.run(&[&approve[..], &["--sign", file]].concat());
    assert!(signed.status.success(), "{signed:?}");
    let said = String::from_utf8(signed.stderr).unwrap();
    for line in ["hallpass-approval v1\n", &format!("approver: {me}\n"), "window-seconds: 1800\n"] {
        assert!(said.contains(line), "what is signed is shown: {said}");
    }
    alice.ok(&["claim", &request, "--wrapped"]);

    let evidence = company.dir.join("evidence");
    let arguments = ["show", &request, "--signatures", evidence.to_str().unwrap()];
    let shown = audrey.run(&arguments);
    assert!(shown.status.success(), "{shown:?}");
    let fingerprint = fingerprint(&key);
    assert!(String::from_utf8_lossy(&shown.stdout).contains(&fingerprint), "{shown:?}");
    assert!(audrey.ok(&["audit", "list"]).contains(&format!("olivia-{} (signed)", world.name)));
    let event = &world.audit("RequestApproved").await[0]["detail"];
    assert_eq!((&event["signed_with"], &event["user_present"]), (&fingerprint.into(), &false.into()));

    let text = evidence.join(format!("{request}-1.txt"));
    let signature = evidence.join(format!("{request}-1.txt.sig"));
    let list = company.dir.join("allowed_signers");
    let signed = fs::read_to_string(&text).unwrap();
    let verdict = ssh::verify(&list, &me, &signed, &signature, &[]);
    assert!(verdict.status.success(), "{verdict:?}");
    assert!(signed.contains(&digest) && signed.ends_with(&format!("\n\n{STATEMENT}\n")), "{signed}");
    for (principal, text) in [(me.as_str(), signed.replace("1800", "3600")), ("vault:other", signed.clone())]
    {
        assert!(
            !ssh::verify(&list, principal, &text, &signature, &[]).status.success(),
            "{principal} {text}"
        );
    }

    is_verified_by_the_log(&world.database_file(), &company.dir.join("allowed_signers"), &signed).await;

    // The command that is printed is one that works, from anywhere that the list is.
    let said = String::from_utf8(shown.stderr).unwrap();
    let command = said.lines().find_map(|line| line.strip_prefix("verify with: ")).unwrap();
    let ran =
        std::process::Command::new("sh").args(["-c", command]).current_dir(list.parent().unwrap()).output();
    assert!(ran.as_ref().unwrap().status.success(), "{command}: {ran:?}");

    let (code, said) = audrey.fails(&arguments);
    assert!(code == 1 && said.contains("File exists"), "nothing is written over: {said}");
    let (other, _) = submit(&alice);
    let (code, said) = audrey.fails(&["show", &other, "--signatures", evidence.to_str().unwrap()]);
    assert!(code == 1 && said.contains("none of the approvals"), "{said}");
}

fn fingerprint(key: &Key) -> String {
    let output = std::process::Command::new("ssh-keygen").arg("-lf").arg(key.public_file()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn a_key_in_an_agent_signs_too() {
    let company = Company::demanding("yes").await;
    let world = &company.world;
    let me = subject(&world.person("olivia").await);
    let (alice, olivia) = (Shell::log_in(world, "alice"), Shell::log_in(world, "olivia"));
    let key = Key::new(&company.dir, "olivia", &["-t", "ecdsa"]);
    let agent = Agent::with(&key).await;
    fs::remove_file(&key.0).unwrap();
    company.list(&format!("{me} {}\n", key.public()));
    let (request, digest) = submit(&alice);
    let file = key.public_file();
    let approve =
        ["approve", &request, "--digest", &digest, "--statement", "go", "--sign", file.to_str().unwrap()];
    let (code, said) = olivia.fails(&approve);
    assert!(code == 1 && said.contains("signed nothing"), "without the agent: {said}");
    let socket = agent.socket.to_str().unwrap();
    let signed = olivia.start_with(&approve, &[("SSH_AUTH_SOCK", socket)]).wait_with_output().unwrap();
    assert!(signed.status.success(), "{signed:?}");
    let shown = olivia.json(&["show", &request]);
    assert_eq!(shown["request"]["decisions"][0]["signedWith"], fingerprint(&key));

    // Approved before: nothing is signed again, with whatever key, and it isn't an error.
    let again = olivia.run(&approve);
    assert!(again.status.success(), "{again:?}");
    assert!(String::from_utf8_lossy(&again.stderr).contains("nothing was signed"), "{again:?}");
    let (other, digest) = submit(&alice);
    let lost = ["approve", &other, "--digest", &digest, "--statement", "go", "--sign", "/nonexistent"];
    let (code, said) = olivia.fails(&lost);
    assert!(code == 2 && said.contains("/nonexistent"), "{said}");
    let (code, said) =
        olivia.fails(&["approve", &other, "--digest", "sha256:0", "--statement", "go", "--sign", "k"]);
    assert!(code == 1 && said.contains("isn't the one that you read"), "{said}");
}

/// What can't sign is told before hallpassd hears of an approval.
#[tokio::test]
async fn without_ssh_keygen_it_says_what_is_missing() {
    let company = Company::demanding("no").await;
    let world = &company.world;
    let (alice, olivia) = (Shell::log_in(world, "alice"), Shell::log_in(world, "olivia"));
    let key = Key::ed25519(&company.dir, "olivia");
    let (request, digest) = submit(&alice);
    let file = key.0.to_str().unwrap();
    let approve = ["approve", &request, "--digest", &digest, "--statement", "go", "--sign", file];
    let nothing = company.dir.join("nothing");
    fs::create_dir(&nothing).unwrap();
    let run = |path: &Path| {
        let path = path.to_str().unwrap().to_owned();
        olivia.start_with(&approve, &[("PATH", &path)]).wait_with_output().unwrap()
    };
    let said = String::from_utf8(run(&nothing).stderr).unwrap();
    assert!(said.contains("there is no `ssh-keygen`") && said.contains("openssh-client"), "{said}");

    // One that is too old, and one that makes something else.
    for (script, expected) in [
        ("echo 'unknown option -- Y' >&2; exit 1", "unknown option -- Y"),
        ("cat > /dev/null; echo signed", "no signatures of this kind"),
    ] {
        let program = nothing.join("ssh-keygen");
        fs::write(&program, format!("#!/bin/sh\nPATH=/bin:/usr/bin\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let output = run(&nothing);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && said.contains(expected), "{said}");
    }
    assert!(world.audit("RequestApproved").await.is_empty());
}
