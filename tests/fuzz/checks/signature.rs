//! Signatures of approvals: a signature, an `allowed_signers`, a list of revoked keys and a text, parted by NUL.
//!
//! What is read of the signature is what came in; the lists are asked about a signature that is made here, with a key that
//! the lists may name or not, so that verifying goes all the way.

use std::sync::LazyLock;

use aws_lc_rs::{
    digest::{SHA512, digest},
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use hallpass::{
    access::{
        approval_text::{ApprovalText, TEXT_MAX_BYTES},
        signing::Problem,
    },
    signature::{Lists, NAMESPACE, PublicKey, SIGNATURE_MAX_BYTES, Signer, parse},
};

const PRINCIPAL: &str = "vault:1b9e77c4-2f3d-4c8a-8e6b-7a5d4c3b2a19";
const KIND: &str = "ssh-ed25519";
const DOCUMENTATION: &str = include_str!("../../../docs/approval.md");

/// The first vector of the documentation: text, signature, and list. The key that signed it is nobody's any more.
static VECTOR: LazyLock<(String, String, Lists)> = LazyLock::new(|| {
    let (_, texts) = DOCUMENTATION.split_once("### First vector").unwrap();
    let (_, signatures) = texts.split_once("### A signature of the first vector").unwrap();
    let block = |from: &str, number: usize| {
        from.split("```text\n").nth(number).unwrap().split_once("```").unwrap().0.to_owned()
    };
    let (text, signature) = (block(texts, 1), block(signatures, 1));
    let lists = Lists::parse(&block(signatures, 2), "").unwrap();
    assert!(lists.verify(&text, &signature, &signer(&[])).is_ok(), "the vector holds");
    (text, signature, lists)
});

/// A key of ours.
static PAIR: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap());

pub fn check(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else { return };
    let mut parts = input.splitn(4, '\0');
    let [armored, allowed, revoked, text] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    check_signature(armored, text);
    check_lists(allowed, revoked, text);
    for text in [armored, text] {
        check_text(text);
    }
}

fn signer(at: &[DateTime<Utc>]) -> Signer<'_> {
    Signer { principal: PRINCIPAL, at }
}

fn check_signature(armored: &str, text: &str) {
    let (signed_text, signature, lists) = &*VECTOR;
    for text in [text, signed_text] {
        if lists.verify(text, armored, &signer(&[])).is_ok() {
            assert_eq!(text, signed_text, "this text was never signed");
            assert_eq!(parse(armored), parse(signature), "this signature was never made");
        }
    }
    let Ok(read) = parse(armored) else { return };
    assert!(armored.len() <= SIGNATURE_MAX_BYTES);
    assert!(PublicKey::KINDS.contains(&read.key().kind()));
    assert_eq!(read.key().to_string().len(), "SHA256:".len() + 43);
    // Anybody's key may fit anything; it only must not be a panic.
    let _ = read.verify(text.as_bytes());
}

fn check_lists(allowed: &str, revoked: &str, text: &str) {
    let Ok(lists) = Lists::parse(allowed, revoked) else { return };
    let at = [DateTime::UNIX_EPOCH, DateTime::from_timestamp(1_800_000_000, 0).unwrap()];
    let key = STANDARD.encode(key_blob());
    let signature = sign(NAMESPACE, text);
    let is_revoked = revoked.contains(&key);
    match lists.verify(text, &signature, &signer(&at)) {
        Ok(verified) => {
            assert!(allowed.contains(&key) && !is_revoked && !verified.present);
            assert_eq!(verified.key, parse(&signature).unwrap().key().fingerprint());
        }
        Err(Problem::KeyRevoked) => assert!(is_revoked),
        Err(Problem::OtherKey | Problem::KeyExpired | Problem::KeyNotYetValid) => {}
        Err(other) => panic!("a good signature is not {other:?}"),
    }
    assert_eq!(lists.verify(text, &sign("file", text), &signer(&at)), Err(Problem::OtherNamespace));
    let other_text = format!("{text}x");
    assert_eq!(lists.verify(&other_text, &signature, &signer(&at)), Err(Problem::OtherText));
    // One line that lets a key sign is enough, whatever the others say.
    let more = format!("{allowed}\n{PRINCIPAL} {KIND} {key}\n");
    let verified = Lists::parse(&more, revoked).unwrap().verify(text, &signature, &signer(&at));
    if is_revoked {
        // The key may stand in a comment.
        assert!(matches!(verified, Ok(_) | Err(Problem::KeyRevoked)));
    } else {
        assert!(verified.is_ok(), "{verified:?}");
    }
}

fn check_text(text: &str) {
    match ApprovalText::parse(text) {
        Ok(read) => {
            assert_eq!(read.to_string(), text, "one approval has one text");
            assert!(text.len() <= TEXT_MAX_BYTES, "{} bytes", text.len());
        }
        Err(bad) => assert!((1..=text.split('\n').count() + 1).contains(&bad.line), "line {}", bad.line),
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&length[..], bytes].concat()
}

fn key_blob() -> Vec<u8> {
    [string(KIND.as_bytes()), string(PAIR.public_key().as_ref())].concat()
}

/// What `ssh-keygen -Y sign` makes (OpenSSH's `PROTOCOL.sshsig`).
fn sign(namespace: &str, text: &str) -> String {
    let hash = digest(&SHA512, text.as_bytes());
    let head = [string(namespace.as_bytes()), string(b""), string(b"sha512")].concat();
    let signature = PAIR.sign(&[b"SSHSIG", &head[..], &string(hash.as_ref())].concat());
    let raw = [string(KIND.as_bytes()), string(signature.as_ref())].concat();
    let blob = [b"SSHSIG\0\0\0\x01", &string(&key_blob())[..], &head, &string(&raw)].concat();
    format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", STANDARD.encode(blob))
}
