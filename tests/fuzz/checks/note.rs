//! The signed part of the ledger: notes, checkpoints, keys, and what logs and witnesses say to each other.
//!
//! What is read as a text or a request is signed here as well, with keys that are known, so that verifying and judging go all
//! the way.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use hallpass::ledger::{
    checkpoint::{Checkpoint, Log, Signed},
    note::{Kind, NOTE_MAX_BYTES, Note, SIGNATURES_MAX, Signature, SigningKey, VerifierKey},
    tree::Hash,
    witness::{AddCheckpoint, Answer, PROOF_MAX_LINES, REQUEST_MAX_BYTES, SIZE_CONTENT_TYPE, judge},
};

static LOG: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_seed("log", &[3; 32]).unwrap());
static WITNESS: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_seed("w", &[5; 32]).unwrap());

/// What the log signed once, before any input came.
static SIGNED: LazyLock<Signed> =
    LazyLock::new(|| Signed::sign(Checkpoint::new("log", 8, Hash::of_nothing()).unwrap(), &LOG).unwrap());

pub fn check(input: &[u8]) {
    check_note(input);
    check_request(input);
    for (status, content_type) in [(200, None), (409, Some(SIZE_CONTENT_TYPE))] {
        check_answer(status, content_type, input);
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    check_keys(text);
    check_text(text);
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap()
}

fn keys() -> [VerifierKey; 2] {
    [LOG.verifier(Kind::Plain), WITNESS.verifier(Kind::Cosignature)]
}

fn log(origin: &str) -> Log {
    Log::new(origin, vec![LOG.verifier(Kind::Plain)]).unwrap()
}

fn check_note(input: &[u8]) {
    if let Ok(note) = Note::parse(input) {
        assert_eq!(note.to_string().as_bytes(), input, "one note has one spelling");
        assert!(input.len() <= NOTE_MAX_BYTES && (1..=SIGNATURES_MAX).contains(&note.signatures().len()));
        if note.verify(&keys()).is_ok() {
            assert_eq!(note.text(), SIGNED.note().text(), "this was never signed");
        }
        check_growth(note);
    }
    if let Ok(signed) = Signed::parse(input) {
        let text = signed.note().text();
        assert!(text.starts_with(&signed.checkpoint().to_string()), "a checkpoint has one spelling");
        if let Ok(endorsed) = signed.verify(&log("log"), &keys()) {
            assert_eq!((text, endorsed.cosigned.len()), (SIGNED.note().text(), 0), "this was never signed");
        }
    }
}

/// Whatever signatures a note has, ours is found beside them, and those of others spoil nothing.
fn check_growth(note: Note) {
    let cosignature = WITNESS.cosign(note.text(), now()).unwrap();
    let Ok(more) = note.with(cosignature.clone()) else { return };
    let verified = more.verify(&[WITNESS.verifier(Kind::Cosignature)]).unwrap();
    assert_eq!((verified.len(), verified[0].cosigned_at), (1, Some(now())));
    let again = Note::parse(more.to_string().as_bytes()).unwrap();
    assert_eq!(again, more);
    assert_eq!(again.signatures().last(), Some(&cosignature));
}

fn check_request(input: &[u8]) {
    let Ok(request) = AddCheckpoint::parse(input) else { return };
    assert_eq!(request.to_string().as_bytes(), input, "one request has one spelling");
    assert!(input.len() <= REQUEST_MAX_BYTES && request.proof().len() <= PROOF_MAX_LINES);
    let asked = request.signed().checkpoint();
    let logs = [log(asked.origin())];
    // Nobody signed what came in, so it is refused, whatever was kept; signed, it may be taken.
    if request.signed().note().text() != SIGNED.note().text() {
        assert!(judge(&request, &logs, None).is_err());
    }
    let signature = LOG.sign(request.signed().note().text());
    let Ok(signed) = request.signed().clone().with(signature) else { return };
    let Ok(signed) = AddCheckpoint::new(request.old_size(), request.proof().to_vec(), signed) else { return };
    let kept = Checkpoint::new(asked.origin(), request.old_size(), asked.root()).unwrap();
    for kept in [None, Some(&kept), Some(asked)] {
        match judge(&signed, &logs, kept) {
            Ok(accepted) => {
                let old_size = kept.map_or(0, Checkpoint::size);
                assert!(request.old_size() == old_size && old_size <= asked.size());
                assert!(old_size != asked.size() || request.proof().is_empty());
                assert_eq!(accepted.signed().note().signatures().len(), 1);
                let line = accepted.cosign(&WITNESS, now()).unwrap();
                assert_eq!(signed.signed().cosigned(&[line], &keys()).unwrap().len(), 1);
            }
            Err(refusal) => {
                let (content_type, body) = refusal.body();
                assert!(Answer::read(refusal.status(), Some(content_type), body.as_bytes()).is_ok());
                assert!(matches!(refusal.status(), 400 | 409 | 422), "{refusal}");
            }
        }
    }
}

fn check_answer(status: u16, content_type: Option<&str>, input: &[u8]) {
    match Answer::read(status, content_type, input) {
        Ok(Answer::Cosigned(lines)) => {
            let written = lines.iter().map(|line| format!("{line}\n")).collect::<Vec<_>>().concat();
            assert_eq!(written.as_bytes(), input, "a signature has one spelling");
            if let Ok(cosigned) = SIGNED.cosigned(&lines, &keys()) {
                assert_eq!(cosigned, [], "this was never cosigned");
            }
        }
        Ok(Answer::OtherSize(size)) => assert_eq!(format!("{size}\n").as_bytes(), input),
        Ok(other) => panic!("{status} isn't {other:?}"),
        Err(_) => {}
    }
}

fn check_keys(text: &str) {
    if let Ok(key) = VerifierKey::parse(text) {
        assert_eq!(key.to_string(), text, "a key has one spelling");
    }
    if let Ok(key) = SigningKey::parse(text) {
        let public = key.verifier(Kind::Plain);
        assert_eq!(VerifierKey::parse(&public.to_string()).as_ref(), Ok(&public));
        assert!(text.contains(public.name()) && !format!("{key:?}").contains(text));
    }
    if let Ok(signature) = Signature::parse(text) {
        assert_eq!(signature.to_string(), text, "a signature has one spelling");
    }
}

/// What can be a text can be signed.
fn check_text(text: &str) {
    let Ok(note) = Note::new(text.to_owned()) else { return };
    let Ok(note) = note.with(LOG.sign(text)) else { return };
    let read = Note::parse(note.to_string().as_bytes()).unwrap();
    assert_eq!(read, note);
    assert_eq!(read.verify(&keys()).unwrap().len(), 1);
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        let signed = Signed::parse(note.to_string().as_bytes()).unwrap();
        assert_eq!(signed.checkpoint(), &checkpoint);
        assert!(signed.verify(&log(checkpoint.origin()), &[]).is_ok());
    }
}
