//! The specification's examples, every answer and every refusal, and logs that grow, shrink and fork before a witness, with
//! proofs that another implementation made.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use tlog_tiles::{HashReader, prove_tree, stored_hashes, tree_hash};

use super::*;
use crate::ledger::{
    checkpoint::{Checkpoint, Log},
    note::{Kind, SIGNATURES_MAX, SigningKey, Untrusted, VerifierKey},
};

const DOCUMENTATION: &str = include_str!("../../../docs/ledger.md");

/// The specification's answer.
const ANSWER: &str = "— witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnucjL39QsZTSvVjyQLrdk3DXDqI5G2HgLatVs0pWh6Up69HVOw==\n\
    — witness.example/w1 I7rEps0pvK2UqkS2gSpVUDhrhVtQV9lgF6pRrWAvjJHjyWpW7VcE3SiOlVlbQNt64vWhO+DlkL0+UfzuOBMh9ChdMkP1vi/lCAsmlw==\n\
    — witness.example/w2 AWui8Sk55XjYLOijihBjhqEH6nS1ndDymE0a+6idX7pLcnoB+dhnz0854aLZgrrKbYKA7nC3HNJhm/kWl7oJlqU3rXXvpysAdyP3wQ==\n";

/// The specification's request, which the documentation has.
fn example() -> &'static str {
    let (_, section) = DOCUMENTATION.split_once("### Asking a witness").unwrap();
    section.split("```text\n").nth(1).unwrap().split_once("```").unwrap().0
}

fn key(name: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(name, &[seed; 32]).unwrap()
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap()
}

/// A log as somebody else keeps it.
#[derive(Clone, Default)]
struct Tree {
    hashes: Vec<tlog_tiles::Hash>,
    size: u64,
}

impl HashReader for Tree {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|index| self.hashes[usize::try_from(*index).unwrap()]).collect())
    }
}

impl Tree {
    /// With leaves that are numbers, from a certain one on another history's.
    fn new(size: u64, forked_at: u64) -> Self {
        let mut tree = Self::default();
        while tree.size < size {
            let leaf = format!("{} {}", tree.size, tree.size >= forked_at);
            let more = stored_hashes(tree.size, leaf.as_bytes(), &tree).unwrap();
            tree.hashes.extend(more);
            tree.size += 1;
        }
        tree
    }

    fn root(&self) -> Hash {
        Hash(tree_hash(self.size, self).unwrap().0)
    }

    fn proof(&self, old_size: u64) -> Vec<Hash> {
        let is_shown = 0 < old_size && old_size <= self.size;
        let proof = if is_shown { prove_tree(self.size, old_size, self).unwrap() } else { Vec::new() };
        proof.into_iter().map(|hash| Hash(hash.0)).collect()
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint::new("log", self.size, self.root()).unwrap()
    }

    fn request(&self, old_size: u64) -> AddCheckpoint {
        let signed = Signed::sign(self.checkpoint(), &key("log", 1)).unwrap();
        AddCheckpoint::new(old_size, self.proof(old_size), signed).unwrap()
    }
}

fn logs() -> Vec<Log> {
    let log = |key: &SigningKey| Log::of_key(&key.verifier(Kind::Plain).to_string()).unwrap();
    vec![log(&key("another", 2)), log(&key("log", 1))]
}

const NEVER: u64 = u64::MAX;

#[test]
fn the_specification_s_request_is_read() {
    let request = AddCheckpoint::parse(example().as_bytes()).unwrap();
    assert_eq!((request.old_size(), request.proof().len()), (20_852_014, 4));
    assert_eq!(request.proof()[3].to_string(), "/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=");
    assert_eq!(request.signed().checkpoint().origin(), "example.com/behind-the-sofa");
    assert_eq!(request.to_string(), example());
}

#[test]
fn what_is_no_request_is_refused() {
    let good = example();
    let line = "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n";
    let bad = [
        String::new(),
        "\n\n".to_owned(),
        "old 1\n".to_owned(),
        "old 1\n\n".to_owned(),
        good.replace("old 20852014\n", ""),
        good.replace("old 2", "Old 2"),
        good.replace("old 2", "old  2"),
        good.replace("old 2", " old 2"),
        good.replace("old 2", "old 02"),
        good.replace("old 2", "old +2"),
        good.replace("old 2", "old -2"),
        good.replace("old 20852014", "old"),
        good.replace("old 20852014", "old "),
        good.replace("old 20852014", "old 9223372036854775808"),
        good.replace("old 20852014", "old 1\nold 1"),
        good.replace("PlRN", "PlR"),
        good.replace("kaw=", "kaw"),
        good.replace("kaw=", "kax="),
        good.replace("kaw=", "kaw= "),
        good.replace(line, "\n"),
        good.replace(line, &line.repeat(PROOF_MAX_LINES - 2)),
        good.replace(line, "AAAA\n"),
        good.replace("\n\nexample", "\nexample"),
        good.replace("\n\nexample", "\n\n\nexample"),
        good.replace('\n', "\r\n"),
        good.replace("20852163", "020852163"),
        good.trim_end().to_owned(),
        format!("{good}\n"),
        format!("{good}{}", "— n x08goww=\n".repeat(SIGNATURES_MAX)),
        format!("{good}— n {}\n", "A".repeat(REQUEST_MAX_BYTES)),
    ];
    for body in bad {
        assert!(AddCheckpoint::parse(body.as_bytes()).is_err(), "{body:?}");
    }
    assert!(AddCheckpoint::parse(b"old 1\n\n\xff").is_err());
    let longest = good.replace(line, &line.repeat(PROOF_MAX_LINES - 3));
    assert_eq!(AddCheckpoint::parse(longest.as_bytes()).unwrap().to_string(), longest);
    let signed = || AddCheckpoint::parse(good.as_bytes()).unwrap().signed().clone();
    assert!(AddCheckpoint::new(SIZE_MAX + 1, Vec::new(), signed()).is_err());
    assert!(AddCheckpoint::new(1, vec![Hash([0; 32]); PROOF_MAX_LINES + 1], signed()).is_err());
}

#[test]
fn answers_are_read() {
    let size = Some(SIZE_CONTENT_TYPE);
    let cosigned = ANSWER.lines().map(|line| Signature::parse(line).unwrap()).collect();
    let good = [
        (200, None, ANSWER, Answer::Cosigned(cosigned)),
        (409, size, "20852014\n", Answer::OtherSize(20_852_014)),
        (409, Some("Text/X.TLOG.Size; charset=utf8"), "0\n", Answer::OtherSize(0)),
        (409, Some("text/plain"), "20852014\n", Answer::OtherRoot),
        (409, None, "", Answer::OtherRoot),
        (400, None, "no", Answer::NotRead),
        (403, size, "no", Answer::NotTrusted),
        (404, None, "no", Answer::UnknownLog),
        (422, None, "no", Answer::NotProved),
        (500, None, "no", Answer::Other(500)),
        (201, None, ANSWER, Answer::Other(201)),
        (301, None, "", Answer::Other(301)),
    ];
    for (status, content_type, body, expected) in good {
        assert_eq!(Answer::read(status, content_type, body.as_bytes()), Ok(expected), "{status} {body}");
    }
    let long = "x".repeat(ANSWER_MAX_BYTES + 1);
    let bad = [
        (200, None, ""),
        (200, None, "\n"),
        (200, None, "thank you\n"),
        (200, None, ANSWER.trim_end()),
        (200, None, &ANSWER.replace("— ", "")),
        (200, None, &format!("\n{ANSWER}")),
        (200, None, &ANSWER[..110].repeat(SIGNATURES_MAX + 1)),
        (409, size, ""),
        (409, size, "\n"),
        (409, size, "50"),
        (409, size, "050\n"),
        (409, size, "50\n\n"),
        (409, size, " 50\n"),
        (409, size, "9223372036854775808\n"),
        (404, None, &long),
    ];
    for (status, content_type, body) in bad {
        assert!(Answer::read(status, content_type, body.as_bytes()).is_err(), "{status} {body}");
    }
    assert!(Answer::read(200, None, b"\xff\n").is_err() && Answer::read(409, size, b"\xff\n").is_err());
}

#[test]
fn a_log_that_only_grows_is_cosigned() {
    let witness = key("w", 5);
    let mut kept: Option<Checkpoint> = None;
    for size in [0, 0, 1, 1, 2, 3, 7, 8, 21, 64, 64, 100] {
        let request = Tree::new(size, NEVER).request(kept.as_ref().map_or(0, Checkpoint::size));
        let read = AddCheckpoint::parse(request.to_string().as_bytes()).unwrap();
        let accepted = judge(&read, &logs(), kept.as_ref()).unwrap_or_else(|error| panic!("{size}: {error}"));
        let line = format!("{}\n", accepted.cosign(&witness, now()).unwrap());
        let Answer::Cosigned(lines) = Answer::read(200, None, line.as_bytes()).unwrap() else {
            panic!("{line}")
        };
        let cosigned = request.signed().cosigned(&lines, &[witness.verifier(Kind::Cosignature)]).unwrap();
        assert_eq!((cosigned.len(), cosigned[0].cosigned_at), (1, now()));
        kept = Some(accepted.signed().checkpoint().clone());
    }
}

/// What the witness answers, as the log reads it.
fn answer(request: &AddCheckpoint, kept: Option<&Checkpoint>) -> Answer {
    let refusal = judge(request, &logs(), kept).unwrap_err();
    let (content_type, body) = refusal.body();
    Answer::read(refusal.status(), Some(content_type), body.as_bytes()).unwrap()
}

#[test]
fn every_refusal_is_the_specification_s() {
    let (tree, kept) = (Tree::new(9, NEVER), Tree::new(5, NEVER).checkpoint());
    let good = tree.request(5);
    assert!(judge(&good, &logs(), Some(&kept)).is_ok());
    let with =
        |old_size, proof, signed: &Signed| AddCheckpoint::new(old_size, proof, signed.clone()).unwrap();

    let unknown = Checkpoint::new("unknown", 9, tree.root()).unwrap();
    let unknown = with(5, tree.proof(5), &Signed::sign(unknown, &key("log", 1)).unwrap());
    assert_eq!(answer(&unknown, Some(&kept)), Answer::UnknownLog);

    let stranger = with(5, tree.proof(5), &Signed::sign(tree.checkpoint(), &key("log", 3)).unwrap());
    assert_eq!(answer(&stranger, Some(&kept)), Answer::NotTrusted);
    let other_key = with(5, tree.proof(5), &Signed::sign(tree.checkpoint(), &key("another", 2)).unwrap());
    assert_eq!(answer(&other_key, Some(&kept)), Answer::NotTrusted);
    let forged = good.to_string().replace("\n9\n", "\n10\n");
    let forged = AddCheckpoint::parse(forged.as_bytes()).unwrap();
    let refusal = judge(&forged, &logs(), Some(&kept)).unwrap_err();
    assert!(matches!(refusal, Refusal::Untrusted(Untrusted::Forged(_))), "{refusal}");

    assert_eq!(answer(&with(10, Vec::new(), good.signed()), Some(&kept)), Answer::NotRead);
    assert_eq!(answer(&tree.request(4), Some(&kept)), Answer::OtherSize(5));
    assert_eq!(answer(&tree.request(0), Some(&kept)), Answer::OtherSize(5));
    assert_eq!(answer(&good, None), Answer::OtherSize(0));
    assert_eq!(answer(&Tree::new(5, 3).request(5), Some(&kept)), Answer::OtherRoot);
    assert_eq!(answer(&Tree::new(9, 3).request(5), Some(&kept)), Answer::NotProved);
    assert_eq!(answer(&with(5, Vec::new(), good.signed()), Some(&kept)), Answer::NotProved);
    assert_eq!(answer(&with(5, tree.proof(4), good.signed()), Some(&kept)), Answer::NotProved);
    // Nothing has to be shown of the beginning, or of the same.
    assert_eq!(answer(&with(0, tree.proof(5), good.signed()), None), Answer::NotProved);
    assert_eq!(answer(&with(9, tree.proof(5), good.signed()), Some(&tree.checkpoint())), Answer::NotProved);
    // An empty tree has one root.
    let hollow = Signed::sign(Checkpoint::new("log", 0, Hash([1; 32])).unwrap(), &key("log", 1)).unwrap();
    assert_eq!(answer(&with(0, Vec::new(), &hollow), None), Answer::OtherRoot);
    let unread = Refusal::from(AddCheckpoint::parse(b"").unwrap_err());
    assert_eq!(unread.status(), 400);
}

#[test]
fn what_was_kept_of_another_log_is_no_beginning() {
    let kept = Checkpoint::new("another", 5, Tree::new(5, NEVER).root()).unwrap();
    let refusal = judge(&Tree::new(9, NEVER).request(5), &logs(), Some(&kept)).unwrap_err();
    assert_eq!(refusal, Refusal::UnknownLog);
}

#[test]
fn only_what_was_verified_is_kept() {
    let good = Tree::new(3, NEVER).request(0);
    let stranger = key("stranger", 9).sign(good.signed().note().text());
    let signed = good.signed().clone().with(stranger).unwrap();
    let request = AddCheckpoint::new(0, Vec::new(), signed).unwrap();
    assert_eq!(judge(&request, &logs(), None).unwrap().signed(), good.signed());
}

#[test]
fn a_cosignature_of_an_unknown_time_is_none() {
    let accepted = judge(&Tree::new(3, NEVER).request(0), &logs(), None).unwrap();
    assert_eq!(accepted.cosign(&key("w", 5), DateTime::UNIX_EPOCH), Err(Untrusted::NoTime));
}

proptest! {
    /// Whatever a log does, all that one witness cosigned is one history.
    #[test]
    fn a_witness_never_cosigns_two_histories(
        asked in proptest::collection::vec((0_u64..24, prop_oneof![Just(NEVER), 0_u64..24], any::<bool>(), 0_u64..24), 1..30),
    ) {
        let mut kept: Option<Checkpoint> = None;
        let mut history: BTreeMap<u64, Hash> = BTreeMap::new();
        for (size, forked_at, is_honest, guess) in asked {
            let old_size = if is_honest { kept.as_ref().map_or(0, Checkpoint::size) } else { guess };
            let tree = Tree::new(size, forked_at);
            let request = tree.request(old_size);
            let is_one_history = size >= kept.as_ref().map_or(0, Checkpoint::size)
                && history.iter().all(|(size, root)| Tree::new(*size, forked_at).root() == *root);
            let judged = judge(&request, &logs(), kept.as_ref());
            let is_asked_well = old_size == kept.as_ref().map_or(0, Checkpoint::size);
            prop_assert_eq!(judged.is_ok(), is_one_history && is_asked_well, "{:?}", judged);
            if let Ok(accepted) = judged {
                kept = Some(accepted.signed().checkpoint().clone());
                history.insert(size, tree.root());
            }
        }
    }

    #[test]
    fn a_request_has_one_spelling(
        old_size in 0..=SIZE_MAX, proof in proptest::collection::vec(any::<[u8; 32]>(), 0..=PROOF_MAX_LINES),
        size in 0..=SIZE_MAX, root: [u8; 32],
    ) {
        let checkpoint = Checkpoint::new("log", size, Hash(root)).unwrap();
        let signed = Signed::sign(checkpoint, &key("log", 1)).unwrap();
        let request = AddCheckpoint::new(old_size, proof.into_iter().map(Hash).collect(), signed).unwrap();
        prop_assert_eq!(AddCheckpoint::parse(request.to_string().as_bytes()), Ok(request));
    }

    #[test]
    fn what_isn_t_a_request_is_no_panic(
        at in any::<prop::sample::Index>(), with in "[\n0-9 +=A—]{0,3}", cut in 0_usize..4,
    ) {
        let good: Vec<char> = example().chars().collect();
        let at = at.index(good.len());
        let rest = good.iter().skip(at + cut).copied();
        let body: String = good.iter().take(at).copied().chain(with.chars()).chain(rest).collect();
        if let Ok(read) = AddCheckpoint::parse(body.as_bytes()) {
            prop_assert_eq!(read.to_string(), body);
        }
    }
}

#[test]
fn answers_of_strangers_are_passed_over() {
    let (tree, witness) = (Tree::new(3, NEVER), key("w", 5));
    let request = tree.request(0);
    let accepted = judge(&request, &logs(), None).unwrap();
    let lines = format!("{ANSWER}{}\n", accepted.cosign(&witness, now()).unwrap());
    let Answer::Cosigned(lines) = Answer::read(200, None, lines.as_bytes()).unwrap() else {
        panic!("{lines}")
    };
    let known: [VerifierKey; 1] = [witness.verifier(Kind::Cosignature)];
    assert_eq!(request.signed().cosigned(&lines, &known).unwrap().len(), 1);
    assert_eq!(request.signed().cosigned(&lines, &[]).unwrap(), []);
}
