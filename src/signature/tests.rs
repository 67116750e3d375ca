//! The vector of `docs/approval.md`, and everything that isn't it. What OpenSSH itself makes and takes is asked in
//! `tests/it/signatures.rs`.

use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::{prelude::*, test_runner::RngSeed};

use super::*;
use crate::access::{approval_text::ApprovalText, signing::Problem};

const DOCUMENTATION: &str = include_str!("../../docs/approval.md");
const PRINCIPAL: &str = "vault:1b9e77c4-2f3d-4c8a-8e6b-7a5d4c3b2a19";

/// The documentation's text, its signature, and the list, without the option that keeps the key to approvals.
fn vector() -> (String, String, String) {
    let (_, texts) = DOCUMENTATION.split_once("### First vector").unwrap();
    let (_, signatures) = texts.split_once("### A signature of the first vector").unwrap();
    let block = |from: &str, number: usize| {
        from.split("```text\n").nth(number).unwrap().split_once("```").unwrap().0.to_owned()
    };
    (block(texts, 1), block(signatures, 1), block(signatures, 2))
}

fn signed_at() -> DateTime<Utc> {
    ApprovalText::parse(&vector().0).unwrap().signed_at
}

fn lists(allowed: &str) -> Lists {
    Lists::parse(allowed, "").unwrap_or_else(|error| panic!("{error}"))
}

fn verify(lists: &Lists, at: &[DateTime<Utc>]) -> Result<Verified, Problem> {
    let (text, signature, _) = vector();
    lists.verify(&text, &signature, &Signer { principal: PRINCIPAL, at })
}

/// The vector's key on a line with these principals and options.
fn line(principals: &str, options: &str) -> String {
    let (_, _, list) = vector();
    let key = list.trim_end().split_once("ssh-ed25519").unwrap().1.to_owned();
    format!("{principals} {options} ssh-ed25519{key}\n")
}

fn armored(blob: &[u8]) -> String {
    format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", STANDARD.encode(blob))
}

fn blob() -> Vec<u8> {
    let (_, signature, _) = vector();
    STANDARD.decode(signature.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap()
}

#[test]
fn the_vector_verifies() {
    let (text, signature, list) = vector();
    let verified = verify(&lists(&list), &[signed_at()]).unwrap();
    assert!(DOCUMENTATION.contains(&verified.key) && !verified.present);
    let read = parse(&signature).unwrap();
    assert_eq!((read.namespace(), read.key().kind()), (NAMESPACE, "ssh-ed25519"));
    assert_eq!(read.key().to_string(), verified.key);
    assert_eq!(read.verify(text.as_bytes()), Some(false));
}

#[test]
fn another_text_is_not_signed() {
    let (text, signature, list) = vector();
    let signer = Signer { principal: PRINCIPAL, at: &[] };
    for other in
        [text.replace("5400", "5401"), text.trim_end().to_owned(), format!("{text}\n"), String::new()]
    {
        assert_eq!(lists(&list).verify(&other, &signature, &signer), Err(Problem::OtherText), "{other}");
    }
}

/// Nothing in a signature is without meaning: each bit counts.
#[test]
fn no_bit_may_differ() {
    let (text, _, list) = vector();
    let (lists, good) = (lists(&list), blob());
    let signer = Signer { principal: PRINCIPAL, at: &[] };
    assert!(lists.verify(&text, &armored(&good), &signer).is_ok());
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(lists.verify(&text, &armored(&bad), &signer).is_err(), "byte {at} bit {bit}");
        }
        assert_eq!(
            lists.verify(&text, &armored(&good[..at]), &signer),
            Err(Problem::Malformed),
            "cut at {at}"
        );
    }
    for more in [&b"\0"[..], b"\0\0\0\0\0", b"x"] {
        let longer = [&good[..], more].concat();
        assert_eq!(lists.verify(&text, &armored(&longer), &signer), Err(Problem::Malformed));
    }
}

#[test]
fn the_armor_is_as_ssh_keygen_has_it() {
    let (_, good, _) = vector();
    assert!(parse(&good).is_ok() && parse(good.trim_end()).is_ok());
    let middle = good.lines().nth(1).unwrap();
    let bad = [
        String::new(),
        "\n".to_owned(),
        format!("\n{good}"),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{good}{good}"),
        good.replace("BEGIN SSH", "BEGIN PGP"),
        good.replace('\n', "\r\n"),
        good.replace("-----END SSH SIGNATURE-----\n", ""),
        good.replace(middle, &format!("{middle} ")),
        good.replace(middle, &middle.replace('A', "-")),
        good.replace("==\n", "\n"),
        good.replace("==\n", "=\n"),
        "-----BEGIN SSH SIGNATURE-----\n\n-----END SSH SIGNATURE-----\n".to_owned(),
        "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n".to_owned(),
        format!(
            "-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n",
            "A".repeat(SIGNATURE_MAX_BYTES)
        ),
    ];
    for bad in bad {
        assert_eq!(parse(&bad), Err(Unreadable), "{bad}");
    }
}

#[test]
fn whoever_isnt_listed_signs_nothing() {
    let now = [signed_at()];
    for good in [
        line(PRINCIPAL, ""),
        line("*", ""),
        line("vault:*", ""),
        line("*,!person:*", ""),
        line(&format!("\"person:x,{PRINCIPAL}\""), ""),
        line(PRINCIPAL, "namespaces=\"git,hallpass-*\""),
        line(PRINCIPAL, "NAMESPACES=\"hallpass-approval@v1\",Valid-After=\"20200101Z\""),
        format!("# a comment\n\n \t\n{}", line("someone", "") + &line(PRINCIPAL, "")),
        line(PRINCIPAL, "").replace(' ', "\t"),
        line(PRINCIPAL, "namespaces=\"git\"") + &line(PRINCIPAL, ""),
        line(PRINCIPAL, "valid-before=\"20200101Z\"") + &line(PRINCIPAL, ""),
    ] {
        assert!(verify(&lists(&good), &now).is_ok(), "{good}");
    }
    for bad in [
        String::new(),
        line("vault:other", ""),
        line("alice", ""),
        line(&PRINCIPAL.to_uppercase(), ""),
        line("vault:1b9e77c4", ""),
        line(&format!("*,!{PRINCIPAL}"), ""),
        line(PRINCIPAL, "namespaces=\"git\""),
        line(PRINCIPAL, "namespaces=\"*,!hallpass-approval@v1\""),
        format!("# {}", line(PRINCIPAL, "")),
    ] {
        assert_eq!(verify(&lists(&bad), &now), Err(Problem::OtherKey), "{bad}");
    }
}

#[test]
fn keys_count_within_their_dates() {
    let begin: DateTime<Utc> = "2026-11-26T09:00:00Z".parse().unwrap();
    let end: DateTime<Utc> = "2026-12-01T00:00:00Z".parse().unwrap();
    let second = TimeDelta::seconds(1);
    for (after, before) in [("202611260900Z", "20261201Z"), ("20261126090000Z", "202612010000z")] {
        let list = lists(&line(PRINCIPAL, &format!("valid-after=\"{after}\",valid-before=\"{before}\"")));
        let within = end + TimeDelta::milliseconds(999);
        for good in [&[begin][..], &[end], &[within], &[begin, end], &[]] {
            assert!(verify(&list, good).is_ok(), "{good:?}");
        }
        for late in [&[end + second][..], &[begin, end + second], &[end + second, begin]] {
            assert_eq!(verify(&list, late), Err(Problem::KeyExpired), "{late:?}");
        }
        for early in [&[begin - second][..], &[begin - second, begin]] {
            assert_eq!(verify(&list, early), Err(Problem::KeyNotYetValid), "{early:?}");
        }
    }
}

/// A time without a zone is the machine's, whatever that is.
#[test]
fn a_time_without_a_zone_is_local() {
    let local = chrono::NaiveDate::from_ymd_opt(2026, 11, 26).unwrap().and_hms_opt(12, 0, 0).unwrap();
    let noon = local.and_local_timezone(chrono::Local).single().unwrap().to_utc();
    let list = lists(&line(PRINCIPAL, "valid-before=\"202611261200\""));
    assert!(verify(&list, &[noon]).is_ok());
    assert_eq!(verify(&list, &[noon + TimeDelta::seconds(1)]), Err(Problem::KeyExpired));
}

#[test]
fn a_revoked_key_counts_for_nobody() {
    let (text, signature, list) = vector();
    let key = line("", "").trim().to_owned();
    let signer = Signer { principal: PRINCIPAL, at: &[] };
    for revoked in
        [format!("{key}\n"), format!("# lost\n\n  {key}"), key.split(" olivia").next().unwrap().to_owned()]
    {
        let lists = Lists::parse(&list, &revoked).unwrap();
        assert_eq!(lists.verify(&text, &signature, &signer), Err(Problem::KeyRevoked), "{revoked}");
    }
}

#[test]
fn a_line_that_cannot_be_understood_makes_the_list_unusable() {
    let good = line(PRINCIPAL, "");
    let key = good.split_once("ssh-ed25519").unwrap().1.trim();
    let cases = [
        (line(PRINCIPAL, "cert-authority"), "certificates are not taken"),
        (line(PRINCIPAL, "CERT-AUTHORITY,namespaces=\"x\""), "certificates are not taken"),
        (line(PRINCIPAL, "no-touch-required"), "isn't known"),
        (line(PRINCIPAL, "namespaces=x"), "with the quotes"),
        (line(PRINCIPAL, "namespaces"), "with the quotes"),
        (line(PRINCIPAL, "namespaces=\"x\",namespaces=\"y\""), "twice"),
        (line(PRINCIPAL, "namespaces=\"x\","), "comma"),
        (line(PRINCIPAL, "namespaces=\"x\"valid-after=\"20260101Z\""), "comma"),
        (line(PRINCIPAL, "namespaces=\"x"), "closing quote"),
        (line(PRINCIPAL, "valid-after=\"2026\""), "YYYYMMDD"),
        (line(PRINCIPAL, "valid-after=\"20261301Z\""), "YYYYMMDD"),
        (line(PRINCIPAL, "valid-after=\"2026112609000Z\""), "YYYYMMDD"),
        (line(PRINCIPAL, "valid-after=\"+2026010Z\""), "YYYYMMDD"),
        (line(PRINCIPAL, "valid-after=\"20260102Z\",valid-before=\"20260101Z\""), "valid-before"),
        (PRINCIPAL.to_owned(), "behind its principals"),
        (format!("{PRINCIPAL} ssh-ed25519"), "no key"),
        (format!("{PRINCIPAL} ssh-ed25519 AAAA"), "malformed"),
        (format!("{PRINCIPAL} ssh-ed25519 {}", &key[1..]), "malformed"),
        (format!("{PRINCIPAL} ssh-rsa {key}"), "malformed"),
        (format!("{PRINCIPAL} ssh-dss {key}"), "isn't known"),
        (format!("\"{PRINCIPAL} ssh-ed25519 {key}"), "closing quote"),
        (format!("\"\" ssh-ed25519 {key}"), "empty"),
        (format!("a\"b\" ssh-ed25519 {key}"), "quote within"),
        (format!("ssh-ed25519 {key}"), "isn't known"),
    ];
    for (bad, part) in cases {
        let error = Lists::parse(&format!("{good}{bad}"), "").unwrap_err().to_string();
        assert!(error.starts_with("allowed_signers:2: ") && error.contains(part), "{bad}: {error}");
    }
    for bad in ["ssh-ed25519", "x", &good, "ssh-dss AAAA", "restrict ssh-ed25519 AAAA"] {
        assert!(Lists::parse("", bad).is_err(), "{bad}");
    }
}

#[test]
fn the_files_are_read_as_they_are_now() {
    let directory = tempfile::tempdir().unwrap();
    let [allowed, revoked] = ["allowed_signers", "revoked_keys"].map(|name| directory.path().join(name));
    assert_eq!(Signers::default().read(), Ok(None));
    let signers = Signers { allowed_file: Some(allowed.clone()), revoked_file: Some(revoked.clone()) };
    let fails = |part: &str| {
        let error = signers.read().unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
    };
    fails("allowed_signers: can't be read");
    fs::write(&allowed, line(PRINCIPAL, "")).unwrap();
    fails("revoked_keys: can't be read");
    fs::write(&revoked, "").unwrap();
    assert!(verify(&signers.read().unwrap().unwrap(), &[]).is_ok());
    fs::write(&revoked, line("", "").trim()).unwrap();
    assert_eq!(verify(&signers.read().unwrap().unwrap(), &[]), Err(Problem::KeyRevoked));
    fs::write(&revoked, "SSHKRL\n\0\0\0\0\x01").unwrap();
    fails("KRL");
    fs::write(&revoked, [0xff, 0xfe]).unwrap();
    fails("UTF-8");
    fs::write(&revoked, "#".repeat(1024 * 1024 + 1)).unwrap();
    fails("is longer than");
    fs::remove_file(&revoked).unwrap();
    fs::create_dir(&revoked).unwrap();
    fails("is not a file");
}

/// The same cases in each run, and nothing written to disk when one fails.
fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x6861_6c6c),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_text_is_read_to_its_end_or_refused(text in ".{0,200}") {
        let _ = (parse(&text), Lists::parse(&text, &text));
    }

    #[test]
    fn any_bytes_in_an_armor_are_read_to_their_end_or_refused(
        at in 0_usize..200, bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut blob = blob();
        let end = (at + bytes.len()).min(blob.len());
        blob.splice(at.min(end)..end, bytes);
        if let Ok(read) = parse(&armored(&blob)) {
            let _ = read.verify(b"x");
        }
    }
}
