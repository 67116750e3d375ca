//! Published notes and keys, everything that is none, and another implementation's, which has to take ours and whose have to
//! be taken.

use proptest::prelude::*;
use signed_note::{
    Note as TheirNote, Signer as _, StandardSigner, StandardVerifier, Verifier as _, VerifierList,
};

use super::*;

/// The example of Go's `golang.org/x/mod/sumdb/note`.
const SKEY: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const TEXT: &str =
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const PETER: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const ENOCH: &str = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";
const ENOCH_VKEY: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";

/// The example of the specification.
const QUASIMODO: &str = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n\
    — quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";

fn peter() -> VerifierKey {
    VerifierKey::parse(VKEY).unwrap()
}

fn parse(note: &str) -> Note {
    Note::parse(note.as_bytes()).unwrap_or_else(|error| panic!("{note:?} {error}"))
}

fn key(name: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(name, &[seed; 32]).unwrap()
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn names(verified: &[Verified]) -> Vec<&str> {
    verified.iter().map(|one| one.key.name()).collect()
}

#[test]
fn published_notes_verify() {
    let note = parse(&format!("{TEXT}\n{PETER}{ENOCH}"));
    assert_eq!(note.text(), TEXT);
    assert_eq!(names(&note.verify(&[peter()]).unwrap()), ["PeterNeumann"]);
    let enoch = VerifierKey::parse(ENOCH_VKEY).unwrap();
    assert_eq!(names(&note.verify(&[enoch, peter()]).unwrap()), ["PeterNeumann", "EnochRoot"]);

    let poem = parse(QUASIMODO);
    assert_eq!(poem.text().lines().nth(3), Some("ed è subito sera."), "an empty line is part of the text");
    let [line] = poem.signatures() else { panic!("{poem:?}") };
    assert_eq!((line.name(), line.key_id()), ("quasimodo.example/salvatore", 0x367b_a04b));
}

#[test]
fn a_published_key_signs_what_was_published() {
    let key = SigningKey::parse(SKEY).unwrap();
    let signed = Note::new(TEXT.to_owned()).unwrap().with(key.sign(TEXT)).unwrap();
    assert_eq!(signed.to_string(), format!("{TEXT}\n{PETER}"));
    assert_eq!(key.verifier(Kind::Plain).to_string(), VKEY);
    assert_eq!(key.to_line().expose(), format!("{SKEY}\n"));
    assert_eq!(SigningKey::parse(&format!("{SKEY}\n")).unwrap().verifier(Kind::Plain), peter());
}

trait Expose {
    fn expose(&self) -> &str;
}

impl Expose for secrecy::SecretString {
    fn expose(&self) -> &str {
        secrecy::ExposeSecret::expose_secret(self)
    }
}

#[test]
fn published_verifier_keys_are_read() {
    let keys = [
        (VKEY, Kind::Plain),
        ("TEST+7997405c+AQcC+FTVKf0jlTdHDY3rbevmnKxxPjigCXlVtGe6RIr6", Kind::Plain),
        ("remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2", Kind::Cosignature),
        (
            "transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
            Kind::Cosignature,
        ),
        ("rgdd.se/poc-witness+db03732e+BCjJKlo6BU0xfIb8LutqerIFTWIXEA0L5n3tW3QyPFgG", Kind::Cosignature),
    ];
    for (text, kind) in keys {
        let key = VerifierKey::parse(text).unwrap_or_else(|error| panic!("{text} {error}"));
        assert_eq!((key.to_string().as_str(), key.kind()), (text, kind));
        let other = if kind == Kind::Plain { Kind::Cosignature } else { Kind::Plain };
        assert_ne!(key.of_kind(other).id(), key.id(), "the kind is in the id");
        assert_eq!(key.of_kind(other).of_kind(kind), key);
    }
}

#[test]
fn what_is_no_verifier_key_is_refused() {
    let bad = [
        ("", KeyError::Form),
        ("PeterNeumann", KeyError::Form),
        ("PeterNeumann+c74f20a3", KeyError::Form),
        ("+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", KeyError::Name),
        ("Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", KeyError::Name),
        ("Peter\u{a0}Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", KeyError::Name),
        ("PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", KeyError::Id),
        ("PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", KeyError::Id),
        ("PeterNeumann++ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", KeyError::Id),
        ("PeterNeuman+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", KeyError::Id),
        ("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TX", KeyError::Id),
        ("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10T", KeyError::Material),
        ("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW\n", KeyError::Material),
        ("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy", KeyError::Material),
        ("PeterNeumann+c74f20a3+", KeyError::Material),
        ("PeterNeumann+c74f20a3+AQ==", KeyError::Material),
        ("PeterNeumann+c74f20a3+Alpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", KeyError::Type(2)),
    ];
    for (text, error) in bad {
        assert_eq!(VerifierKey::parse(text), Err(error), "{text:?}");
    }
    let long = "n".repeat(NAME_MAX_BYTES + 1);
    assert_eq!(VerifierKey::new(&long, Kind::Plain, [0; 32]), Err(KeyError::Name));
    assert!(VerifierKey::new(&long[1..], Kind::Plain, [0; 32]).is_ok());
}

#[test]
fn what_is_no_private_key_is_refused_without_being_shown() {
    let bad = [
        ("", KeyError::Form),
        (VKEY, KeyError::Form),
        ("PRIVATE+KEY", KeyError::Form),
        ("PRIVATE+KEY+PeterNeumann+c74f20a3", KeyError::Form),
        ("PRIVATE+KEY+Peter Neumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz", KeyError::Name),
        ("PRIVATE+KEY+PeterNeumann+c74f20a4+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz", KeyError::Id),
        ("PRIVATE+KEY+PeterNeumann+c74f20a3+BIEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz", KeyError::Type(4)),
        ("PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKD", KeyError::Material),
        (
            "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz\n\n",
            KeyError::Material,
        ),
        (
            "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz\r\n",
            KeyError::Material,
        ),
    ];
    for (line, expected) in bad {
        let error = SigningKey::parse(line).unwrap_err();
        assert_eq!(error, expected, "{line:?}");
        assert!(!format!("{error} {error:?}").contains("EKFALV"), "{error}");
    }
    let key = SigningKey::parse(SKEY).unwrap();
    assert_eq!(format!("{key:?}"), "SigningKey(\"PeterNeumann+c74f20a3\", ..)");
    assert!(!format!("{:?}", key.to_line()).contains("EKFALV"));
}

#[test]
fn what_is_no_note_is_refused() {
    let line = PETER.trim_end();
    let bad = [
        String::new(),
        "\n".to_owned(),
        "\n\n".to_owned(),
        TEXT.to_owned(),
        format!("{TEXT}\n"),
        format!("{TEXT}{PETER}"),
        format!("{TEXT}\n{line}"),
        format!("{TEXT}\n{PETER}\n"),
        format!("{TEXT}\n{PETER}x\n"),
        format!("{TEXT}\n\n{PETER}\n{ENOCH}\n"),
        format!("\n{PETER}"),
        format!("{TEXT}\n{PETER}").replace("— ", "- "),
        format!("{TEXT}\n{PETER}").replace("— ", "—"),
        format!("{TEXT}\n{PETER}").replace("— ", "—  "),
        format!("{TEXT}\n{PETER}").replace("— ", " — "),
        format!("{TEXT}\n{PETER}").replace('\n', "\r\n"),
        format!("{TEXT}\n{PETER}").replace("PeterNeumann", "Peter+Neumann"),
        format!("{TEXT}\n{PETER}").replace("PeterNeumann", "Peter Neumann"),
        format!("{TEXT}\n{PETER}").replace("PeterNeumann", "Peter\u{2003}Neumann"),
        format!("{TEXT}\n{PETER}").replace("PeterNeumann", "Peter\u{1}Neumann"),
        format!("{TEXT}\n{PETER}").replace("=\n", "\n"),
        format!("{TEXT}\n{PETER}").replace("=\n", "==\n"),
        format!("{TEXT}\n{PETER}").replace("M=\n", "N=\n"),
        format!("{TEXT}\n{PETER}").replace("=\n", "= \n"),
        format!("{TEXT}\n— PeterNeumann \n"),
        format!("{TEXT}\n— PeterNeumann\n"),
        format!("{TEXT}\n— PeterNeumann x08gow==\n"),
        format!("a tab\t{TEXT}\n{PETER}"),
        format!("a NUL\0{TEXT}\n{PETER}"),
        format!("{TEXT}\n{}", PETER.repeat(SIGNATURES_MAX + 1)),
        format!("{}\n\n{PETER}", "x".repeat(NOTE_MAX_BYTES)),
    ];
    for note in bad {
        assert!(Note::parse(note.as_bytes()).is_err(), "{note:?}");
        assert!(TheirNote::from_bytes(note.as_bytes()).is_err(), "{note:?}");
    }
    assert!(Note::parse(b"\xff\n\n").is_err());
}

#[test]
fn what_looks_strange_and_is_a_note_is_taken() {
    let good = [
        format!("\n\n{PETER}"),
        format!("{TEXT}\n\n{PETER}"),
        format!("\n\n\n{PETER}"),
        format!("{TEXT}\n{PETER}\n{ENOCH}"),
        format!("\u{7f}\u{85}\n\n{PETER}"),
        format!("{TEXT}\n{}", PETER.repeat(SIGNATURES_MAX)),
        format!("{TEXT}\n— x x08goww=\n"),
        format!("{}\n\n{PETER}", "x".repeat(NOTE_MAX_BYTES - PETER.len() - 2)),
    ];
    for note in good {
        assert_eq!(parse(&note).to_string(), note);
        let theirs = TheirNote::from_bytes(note.as_bytes()).unwrap();
        assert_eq!(theirs.text(), parse(&note).text().as_bytes());
    }
}

#[test]
fn a_note_doesn_t_grow_beyond_its_bounds() {
    let lines: Vec<_> = (0..SIGNATURES_MAX).map(|n| format!("— n{n} x08goww=\n")).collect();
    let full = parse(&format!("{TEXT}\n{}", lines.concat()));
    assert!(full.with(key("n0x", 1).sign(TEXT)).is_err());
    let long = Note::new(format!("{}\n", "x".repeat(NOTE_MAX_BYTES - 50))).unwrap();
    assert!(long.with(key("n", 1).sign("")).is_err());
    assert!(Note::new("no newline".to_owned()).is_err());
    assert!(Note::new("x".repeat(NOTE_MAX_BYTES) + "\n").is_err());
}

#[test]
fn only_known_keys_count() {
    let note = parse(&format!("{TEXT}\n{ENOCH}{PETER}"));
    assert_eq!(note.verify(&[]), Err(Untrusted::Unsigned));
    // The same name with another key, and another name with the same key.
    let namesake = key("PeterNeumann", 9).verifier(Kind::Plain);
    let other_name = VerifierKey::new("NeumannPeter", Kind::Plain, *peter().public()).unwrap();
    let other_kind = peter().of_kind(Kind::Cosignature);
    assert_eq!(note.verify(&[namesake.clone(), other_name, other_kind]), Err(Untrusted::Unsigned));
    assert_eq!(names(&note.verify(&[namesake, peter()]).unwrap()), ["PeterNeumann"]);
}

#[test]
fn a_known_key_s_bad_signature_spoils_the_note() {
    let forged = || Err(Untrusted::Forged("PeterNeumann+c74f20a3".to_owned()));
    let enoch = VerifierKey::parse(ENOCH_VKEY).unwrap();
    let keys = [enoch, peter()];
    let good = format!("{TEXT}\n{ENOCH}{PETER}");
    assert!(parse(&good).verify(&keys).is_ok());
    let bad = [
        good.replace("ZJkuBS", "ZJkuBT"),
        // Shorter and longer than a signature.
        format!("{TEXT}\n{ENOCH}— PeterNeumann x08goww=\n"),
        format!("{TEXT}\n{ENOCH}{}", PETER.replace("JnAM=", "JnAMA")),
        // A good one before it helps nothing.
        format!("{good}{}", PETER.replace("ZJkuBS", "ZJkuBT")),
    ];
    for note in bad {
        assert_eq!(parse(&note).verify(&keys), forged(), "{note}");
        assert!(parse(&note).verify(&keys[..1]).is_ok(), "whoever doesn't know him isn't concerned");
    }
}

/// Nothing in a note is without meaning.
#[test]
fn no_bit_may_differ() {
    let good = format!("{TEXT}\n{PETER}").into_bytes();
    assert!(Note::parse(&good).unwrap().verify(&[peter()]).is_ok());
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            let verified = Note::parse(&bad).ok().and_then(|note| note.verify(&[peter()]).ok());
            assert_eq!(verified, None, "byte {at} bit {bit}");
        }
        assert!(Note::parse(&good[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn two_keys_of_one_name_and_id_are_a_fault() {
    let mut twin = key("x", 7).verifier(Kind::Plain);
    twin.name = "PeterNeumann".to_owned();
    twin.id = peter().id();
    let note = parse(&format!("{TEXT}\n{PETER}"));
    let ambiguous = Err(Untrusted::Ambiguous("PeterNeumann+c74f20a3".to_owned()));
    assert_eq!(note.verify(&[peter(), twin.clone()]), ambiguous);
    assert_eq!(note.verify(&[twin, peter()]), ambiguous);
    assert_eq!(note.verify(&[peter(), peter()]).unwrap().len(), 1, "the same one twice is none");
}

#[test]
fn a_key_signs_a_note_once() {
    let note = parse(&format!("{TEXT}\n{PETER}{ENOCH}{PETER}"));
    let signature = SigningKey::parse(SKEY).unwrap().sign(TEXT);
    assert_eq!(note.verify(&[peter()]).unwrap().len(), 1);
    assert_eq!(note.with(signature).unwrap().to_string(), format!("{TEXT}\n{ENOCH}{PETER}"));
}

#[test]
fn an_outer_signer_s_bytes_are_verified_before_they_are_written() {
    let signer = key("outer", 5);
    let (public, time) = (signer.verifier(Kind::Plain), at(1_700_000_000));
    let plain = signer.sign(TEXT);
    assert_eq!(public.signature(TEXT, &plain.bytes), Ok(plain.clone()));
    let cosignature = signer.cosign(TEXT, time).unwrap();
    let bytes = &cosignature.bytes[8..];
    assert_eq!(public.cosignature(TEXT, time, bytes), Ok(cosignature.clone()));

    let forged = |kind| Err(Untrusted::Forged(public.of_kind(kind).title()));
    assert_eq!(public.signature("other\n", &plain.bytes), forged(Kind::Plain));
    assert_eq!(public.signature(TEXT, &plain.bytes[1..]), forged(Kind::Plain));
    assert_eq!(public.signature(TEXT, bytes), forged(Kind::Plain), "a cosignature is no signature");
    assert_eq!(public.cosignature(TEXT, time, &plain.bytes), forged(Kind::Cosignature), "nor the other way");
    assert_eq!(public.cosignature(TEXT, at(1_700_000_001), bytes), forged(Kind::Cosignature));
}

#[test]
fn cosignatures_say_when() {
    let (witness, time) = (key("w", 5), at(1_679_315_147));
    assert_eq!(cosigned_text("a\n", time), "cosignature/v1\ntime 1679315147\na\n");
    let cosigned = |note: Note, time| note.with(witness.cosign(TEXT, time).unwrap()).unwrap();
    let signed = Note::new(TEXT.to_owned()).unwrap().with(key("l", 6).sign(TEXT)).unwrap();
    let note = cosigned(signed, time);
    let keys = [witness.verifier(Kind::Cosignature)];
    assert_eq!(note.verify(&keys).unwrap()[0].cosigned_at, Some(time));
    // A later one takes the place of the former; where both are there, the later one counts.
    let both = format!("{}{}\n", note, witness.cosign(TEXT, at(1)).unwrap());
    assert_eq!(parse(&both).verify(&keys).unwrap()[0].cosigned_at, Some(time));
    let later = cosigned(note, at(1_800_000_000));
    assert_eq!(later.signatures().len(), 2);
    assert_eq!(later.verify(&keys).unwrap()[0].cosigned_at, Some(at(1_800_000_000)));
}

#[test]
fn a_cosignature_says_a_time_that_there_is() {
    let witness = key("w", 5);
    let public = witness.verifier(Kind::Cosignature);
    for none in [at(0), at(-1), at(-1_700_000_000)] {
        assert_eq!(witness.cosign(TEXT, none), Err(Untrusted::NoTime));
    }
    // Signed well, as of no time at all: zero, after the last year, and beyond what is allowed.
    for time in [0_u64, 1 << 62, u64::MAX] {
        let signed = format!("cosignature/v1\ntime {time}\n{TEXT}");
        let bytes = [&time.to_be_bytes()[..], &witness.sign(&signed).bytes].concat();
        let signature = Signature { name: "w".to_owned(), id: public.id(), bytes };
        assert_eq!(public.verify(TEXT, &signature), Err(Untrusted::Forged(public.title())), "{time}");
    }
    // Shorter than a time.
    let signature = Signature { name: "w".to_owned(), id: public.id(), bytes: vec![1; 7] };
    assert!(public.verify(TEXT, &signature).is_err());
}

/// A text of some lines, with all that may stand in one.
fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec("[ -~é—\u{85}]{0,20}", 1..6).prop_map(|lines| lines.join("\n") + "\n")
}

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9./:é-]{1,30}"
}

proptest! {
    #[test]
    fn ours_are_theirs_and_theirs_are_ours(text in text(), name in name(), seed: [u8; 32]) {
        let ours = SigningKey::from_seed(&name, &seed).unwrap();
        let public = ours.verifier(Kind::Plain);
        let theirs = StandardSigner::new(ours.to_line().expose().trim_end()).unwrap();
        let verifier = StandardVerifier::new(&public.to_string()).unwrap();
        prop_assert_eq!((theirs.name(), theirs.key_id()), (name.as_str(), public.id()));
        prop_assert_eq!((verifier.name(), verifier.key_id()), (name.as_str(), public.id()));

        let mut made = TheirNote::new(text.as_bytes(), &[]).unwrap();
        made.add_sigs(&[&theirs]).unwrap();
        let ours = Note::new(text.clone()).unwrap().with(ours.sign(&text)).unwrap();
        prop_assert_eq!(ours.to_string().into_bytes(), made.to_bytes());

        let read = Note::parse(&made.to_bytes()).unwrap();
        prop_assert_eq!(&read, &ours);
        prop_assert_eq!(read.verify(&[public]).unwrap().len(), 1);
        let read = TheirNote::from_bytes(ours.to_string().as_bytes()).unwrap();
        prop_assert!(read.verify(&VerifierList::new(vec![Box::new(verifier)])).is_ok());
    }

    /// Both take the same notes, and both refuse the same.
    #[test]
    fn what_is_a_note_isn_t_ours_to_say(
        at in any::<prop::sample::Index>(), with in "[\n— +=A\t]{0,3}", cut in 0_usize..4,
    ) {
        let good: Vec<char> = format!("{TEXT}\n{PETER}{ENOCH}").chars().collect();
        let at = at.index(good.len());
        let rest = good.iter().skip(at + cut);
        let note: String = good.iter().take(at).copied().chain(with.chars()).chain(rest.copied()).collect();
        let theirs = TheirNote::from_bytes(note.as_bytes());
        match Note::parse(note.as_bytes()) {
            Ok(ours) => {
                prop_assert_eq!(ours.to_string(), note.as_str(), "one note has one spelling");
                prop_assert_eq!(theirs.unwrap().to_bytes(), note.as_bytes());
            }
            Err(error) => prop_assert!(theirs.is_err(), "{} {:?}", error, note),
        }
    }

    #[test]
    fn what_is_cosigned_verifies(text in text(), name in name(), seed: [u8; 32], seconds in 1_i64..1 << 40) {
        let witness = SigningKey::from_seed(&name, &seed).unwrap();
        let line = witness.cosign(&text, at(seconds)).unwrap();
        let read = Signature::parse(&line.to_string()).unwrap();
        prop_assert_eq!(&read, &line);
        let keys = [witness.verifier(Kind::Cosignature)];
        let verified = verify(&text, &[read], &keys).unwrap();
        prop_assert_eq!(verified[0].cosigned_at, Some(at(seconds)));
        let other = text + "x\n";
        prop_assert!(verify(&other, &[line], &keys).is_err());
    }
}
