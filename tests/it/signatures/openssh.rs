//! The same signatures and lists, put before `ssh-keygen -Y verify` and before hallpass.

use chrono::{DateTime, Utc};
use hallpass::{
    access::signing::Problem,
    signature::{Lists, Signer, Verified},
};

use crate::support::{
    servers::Dir,
    ssh::{Hardware, Key, verifies},
};

const PRINCIPAL: &str = "vault:8d1cf5a2";
const TEXT: &str = "hallpass-approval v1\nany text at all\n";

/// When both are asked about.
const NOW: &str = "20261126090000Z";

fn now() -> DateTime<Utc> {
    "2026-11-26T09:00:00Z".parse().unwrap()
}

fn ours(list: &str, principal: &str, text: &str, signature: &str) -> Result<Verified, Problem> {
    let signer = Signer { principal, at: &[now()] };
    Lists::parse(list, "").unwrap_or_else(|error| panic!("{error}")).verify(text, signature, &signer)
}

fn theirs(list: &str, principal: &str, text: &str, signature: &str) -> bool {
    verifies(list, principal, text, signature, &["-O", &format!("verify-time={NOW}")])
}

#[test]
fn whatever_ssh_keygen_signs_with_is_verified() {
    let dir = Dir::new("kinds");
    let kinds: &[(&str, &[&str], &[&str])] = &[
        ("ed25519", &["-t", "ed25519"], &[]),
        ("p256", &["-t", "ecdsa", "-b", "256"], &[]),
        ("p384", &["-t", "ecdsa", "-b", "384"], &[]),
        ("p521", &["-t", "ecdsa", "-b", "521"], &[]),
        ("rsa", &["-t", "rsa", "-b", "2048"], &[]),
        ("rsa-sha256", &["-t", "rsa", "-b", "2048"], &["-O", "hashalg=sha256"]),
        ("ed25519-sha256", &["-t", "ed25519"], &["-O", "hashalg=sha256"]),
    ];
    for (name, made, signed) in kinds {
        let key = Key::new(&dir, name, made);
        let list = format!("{PRINCIPAL} {}\n", key.public());
        // Numbers of ECDSA signatures differ in length from one to the next.
        for round in 0..4 {
            let text = format!("{TEXT}{round}");
            let signature = key.sign_for(&text, crate::support::ssh::NAMESPACE, signed);
            assert!(theirs(&list, PRINCIPAL, &text, &signature), "{name}");
            let verified = ours(&list, PRINCIPAL, &text, &signature);
            assert!(verified.is_ok_and(|verified| !verified.present), "{name}");
            assert_eq!(ours(&list, PRINCIPAL, TEXT, &signature), Err(Problem::OtherText), "{name}");
            assert!(!theirs(&list, PRINCIPAL, TEXT, &signature), "{name}");
        }
    }
}

#[test]
fn a_hardware_key_says_whether_it_was_touched() {
    for key in [Hardware::ed25519(), Hardware::ecdsa()] {
        let list = format!("{PRINCIPAL} {}\n", key.public());
        for (flags, present) in [(0, false), (1, true), (5, true), (4, false)] {
            let signature = key.sign(TEXT, flags);
            assert!(
                theirs(&list, PRINCIPAL, TEXT, &signature),
                "what stands for the key is made as OpenSSH has it"
            );
            assert_eq!(ours(&list, PRINCIPAL, TEXT, &signature).unwrap().present, present, "{key:?} {flags}");
            assert_eq!(ours(&list, PRINCIPAL, "x", &signature), Err(Problem::OtherText));
        }
    }
}

/// The flags are signed: nobody adds a touch afterwards.
#[test]
fn no_touch_can_be_added() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    for key in [Hardware::ed25519(), Hardware::ecdsa()] {
        let list = format!("{PRINCIPAL} {}\n", key.public());
        let armored = key.sign(TEXT, 0);
        let body: String = armored.lines().filter(|line| !line.starts_with('-')).collect();
        let mut blob = STANDARD.decode(body).unwrap();
        let flags = blob.len() - 5;
        blob[flags] = 1;
        let touched = format!(
            "-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n",
            STANDARD.encode(blob)
        );
        assert_eq!(ours(&list, PRINCIPAL, TEXT, &touched), Err(Problem::OtherText));
    }
}

#[test]
fn a_key_that_is_too_short_or_a_certificate_is_not_taken() {
    let dir = Dir::new("bad-keys");
    let short = Key::new(&dir, "short", &["-t", "rsa", "-b", "1024"]);
    assert!(Lists::parse(&format!("{PRINCIPAL} {}", short.public()), "").is_err());
    let key = Key::ed25519(&dir, "key");
    let signature = short.sign(TEXT);
    assert_eq!(
        ours(&format!("{PRINCIPAL} {}", key.public()), PRINCIPAL, TEXT, &signature),
        Err(Problem::Malformed)
    );

    let authority = Key::ed25519(&dir, "authority");
    let mut command = std::process::Command::new("ssh-keygen");
    command.arg("-q").arg("-s").arg(&authority.0).args(["-I", "x", "-n", PRINCIPAL]).arg(key.public_file());
    assert!(command.status().unwrap().success());
    let certified = Key(dir.join("key-cert.pub"));
    std::fs::copy(&key.0, dir.join("key-cert")).unwrap();
    let signature = certified.sign(TEXT);
    let list = format!("{PRINCIPAL} {}\n", key.public());
    assert_eq!(ours(&list, PRINCIPAL, TEXT, &signature), Err(Problem::Malformed));
}

#[test]
fn a_signature_for_another_purpose_is_none() {
    let dir = Dir::new("purpose");
    let key = Key::ed25519(&dir, "key");
    let list = format!("{PRINCIPAL} {}\n", key.public());
    for namespace in ["git", "file", "hallpass-approval@v2", "hallpass-approval"] {
        let signature = key.sign_for(TEXT, namespace, &[]);
        assert_eq!(ours(&list, PRINCIPAL, TEXT, &signature), Err(Problem::OtherNamespace), "{namespace}");
        assert!(!theirs(&list, PRINCIPAL, TEXT, &signature), "{namespace}");
    }
}

/// What one says of a line, the other says too.
#[test]
fn lists_mean_what_they_mean_to_openssh() {
    let dir = Dir::new("lists");
    let key = Key::ed25519(&dir, "key");
    let other = Key::ed25519(&dir, "other");
    let signature = key.sign(TEXT);
    let heads = [
        (PRINCIPAL, true),
        ("vault:*", true),
        ("vault:????????", true),
        ("vault:???????", false),
        ("*,!vault:8d1cf5a2", false),
        ("!vault:8d1cf5a2,*", false),
        ("!vault:other,vault:8*", true),
        ("VAULT:8D1CF5A2", false),
        ("vault:8d1cf5a", false),
        ("vault:8d1cf5a22", false),
        ("somebody,vault:8d1cf5a2", true),
        ("\"somebody,vault:8d1cf5a2\"", true),
        ("vault:8d1cf5a2 namespaces=\"hallpass-approval@v1\"", true),
        ("vault:8d1cf5a2 namespaces=\"git,hallpass-*\"", true),
        ("vault:8d1cf5a2 namespaces=\"git\"", false),
        ("vault:8d1cf5a2 NameSpaces=\"git,!hallpass-approval@v1,*\"", false),
        ("vault:8d1cf5a2 valid-after=\"20261126Z\"", true),
        ("vault:8d1cf5a2 valid-after=\"20261126090000Z\"", true),
        ("vault:8d1cf5a2 valid-after=\"20261126090001Z\"", false),
        ("vault:8d1cf5a2 valid-after=\"202611260901Z\"", false),
        ("vault:8d1cf5a2 valid-before=\"20261126090000Z\"", true),
        ("vault:8d1cf5a2 valid-before=\"20261126085959Z\"", false),
        ("vault:8d1cf5a2 valid-before=\"20261127Z\",valid-after=\"20261125Z\",namespaces=\"hall*\"", true),
        ("vault:8d1cf5a2 valid-before=\"20261120\"", false),
        ("vault:8d1cf5a2 valid-before=\"20261210\"", true),
    ];
    for (head, expected) in heads {
        let line = format!("{head} {}", key.public());
        let other = other.public();
        for list in [
            format!("{line}\n"),
            format!("  {line} with a comment\n"),
            format!("# comment\n\n{line}"),
            format!("{PRINCIPAL} {other}\n{line}\n"),
            format!("{line}\n* {other}\n"),
        ] {
            assert_eq!(theirs(&list, PRINCIPAL, TEXT, &signature), expected, "ssh-keygen: {list}");
            assert_eq!(ours(&list, PRINCIPAL, TEXT, &signature).is_ok(), expected, "hallpass: {list}");
        }
    }
}

#[test]
fn what_is_refused_in_a_list_is_not_taken_by_openssh_either_or_needs_certificates() {
    let dir = Dir::new("bad-lists");
    let key = Key::ed25519(&dir, "key");
    let signature = key.sign(TEXT);
    for head in [
        "vault:8d1cf5a2 namespaces=git",
        "vault:8d1cf5a2 unknown",
        "vault:8d1cf5a2 no-touch-required",
        "vault:8d1cf5a2 namespaces=\"hallpass-approval@v1\",",
        "vault:8d1cf5a2 namespaces=\"a\",namespaces=\"b\"",
        "vault:8d1cf5a2 valid-after=\"tomorrow\"",
        "vault:8d1cf5a2 valid-after=\"20261127Z\",valid-before=\"20261126Z\"",
        "vault:8d1cf5a2 cert-authority",
    ] {
        let list = format!("{head} {}\n", key.public());
        assert!(Lists::parse(&list, "").is_err(), "{list}");
        assert!(!theirs(&list, PRINCIPAL, TEXT, &signature), "{list}");
    }
}

#[test]
fn a_revoked_key_is_revoked_for_both() {
    let dir = Dir::new("revoked");
    let (key, other) = (Key::ed25519(&dir, "key"), Key::ed25519(&dir, "other"));
    let list = format!("{PRINCIPAL} {}\n", key.public());
    let signature = key.sign(TEXT);
    for (revoked, expected) in [
        (format!("# lost\n{} olivia\n", key.public()), false),
        (format!("{}\n{}", other.public(), key.public()), false),
        (format!("{}\n", other.public()), true),
    ] {
        let file = dir.join("revoked_keys");
        std::fs::write(&file, &revoked).unwrap();
        let file = file.to_str().unwrap();
        assert_eq!(verifies(&list, PRINCIPAL, TEXT, &signature, &["-r", file]), expected, "{revoked}");
        let lists = Lists::parse(&list, &revoked).unwrap();
        let verdict = lists.verify(TEXT, &signature, &Signer { principal: PRINCIPAL, at: &[now()] });
        assert_eq!(verdict.is_ok(), expected, "{revoked}: {verdict:?}");
    }
}
