//! What a target demands and bounds.

use std::time::Duration;

use hallpass::{
    access::{signing::Signing, writing::Writing},
    signature::Signers,
};

use super::{GOOD, Place, problems, refused, with};

#[test]
fn i5_an_empty_list_means_nobody_and_a_threshold_below_one_is_refused() {
    let threshold = |value: &str| with("approvers =", &format!("approvals_required = {value}\napprovers ="));
    for bad in ["0", "-1", "11", "1.0", "\"1\"", "4294967297", "99999999999999999999"] {
        refused(
            &threshold(bad),
            "targets.orders-ro.approvals_required",
            "must be a whole number from 1 to 10",
        );
    }
    let config = Place::new().load(&threshold("0x2")).unwrap();
    assert_eq!(config.policy.targets.values().next().unwrap().approvals_required.get(), 2);
    refused(
        &with("approvers = [\"leads\"]", "approvers = []"),
        "targets.orders-ro.approvers",
        "nobody could ever approve",
    );
    let closed = Place::new().load(&with("requesters = [\"developers\"]", "requesters = []")).unwrap();
    assert!(closed.policy.targets.values().all(|target| target.requesters.is_empty()));
    for key in ["auditors = []", "requesters = [\"developers\"]", "approvers = [\"leads\"]"] {
        let name = key.split(' ').next().unwrap();
        assert!(problems(&with(key, ""))[0].contains(&format!("{name}: is missing")), "{key}");
    }
    for bad in ["\"\"", "\" leads\"", "\"le\\nads\"", "\"le\\tads\"", "\"\\u202eleads\"", "1", "[\"leads\"]"]
    {
        refused(
            &with("[\"leads\"]", &format!("[\"x\", {bad}]")),
            "targets.orders-ro.approvers",
            "entry 2 must be",
        );
    }
    refused(&with("leads", &"x".repeat(257)), "targets.orders-ro.approvers", "256 bytes");
}

#[test]
fn what_has_to_be_written_is_bounded() {
    let line = "early_revocation = \"ends_sessions\"";
    let set = |more: &str| with(line, &format!("{line}\n{more}"));
    let writing = |more: &str| {
        let config = Place::new().load(&set(more)).unwrap();
        config.policy.targets.into_values().next().unwrap().writing
    };
    assert_eq!(writing(""), Writing::default());
    let all = writing(
        "reason_min = 20\nstatement_min = 10\nticket_required = true\nticket_pattern = \"OPS-[0-9]+\"",
    );
    assert_eq!((all.reason_min, all.statement_min, all.ticket_required), (20, 10, true));
    assert_eq!(all.ticket_pattern.unwrap().as_str(), "OPS-[0-9]+");
    for key in ["reason_min", "statement_min"] {
        for bad in ["0", "1001", "-1", "\"20\""] {
            let path = format!("targets.orders-ro.{key}");
            refused(&set(&format!("{key} = {bad}")), &path, "must be a whole number from 1 to 1000");
        }
    }
    let pattern = "targets.orders-ro.ticket_pattern";
    refused(&set("ticket_pattern = \"OPS-[0-9\""), pattern, "is not a regular expression");
    refused(&set("ticket_required = \"yes\""), "targets.orders-ro.ticket_required", "must be true or false");
}

/// A key, as a line of a list has it.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIH0rDwJpvdSfvMjzJCCIy5gNbFLM4ucAqAGiM243CBw olivia\n";

/// GOOD with lists of keys, and what its target demands.
fn signed(lists: &str, demand: &str) -> String {
    let line = "early_revocation = \"ends_sessions\"";
    with(line, &format!("{line}\napproval_signed = \"{demand}\"\n[approvals]\n{lists}"))
}

#[test]
fn signatures_are_demanded_only_where_keys_are_listed() {
    let place = Place::new();
    place.file("signers", &format!("vault:x {KEY}"), 0o644);
    place.file("revoked", KEY, 0o644);
    let both = "allowed_signers_file = \"credential:signers\"\nrevoked_keys_file = \"credential:revoked\"";
    for (word, meant) in
        [("no", Signing::Optional), ("yes", Signing::Required), ("present", Signing::Present)]
    {
        let config = place.load(&signed(both, word)).unwrap();
        assert_eq!(config.policy.targets.values().next().unwrap().writing.signing, meant);
        assert_eq!(config.signers.allowed_file, Some(place.path("signers")));
        assert_eq!(config.signers.revoked_file, Some(place.path("revoked")));
    }
    assert_eq!(place.load(GOOD).unwrap().signers, Signers::default());
    assert!(place.load(&signed("", "no")).is_ok());
    for demand in ["yes", "present"] {
        let printed = place.printed(&signed("", demand));
        let expected = "hallpassd.toml:27: targets.orders-ro.approval_signed: demands signatures, but nobody's keys are known";
        assert!(printed.contains(expected) && printed.ends_with("1 problem"), "{printed}");
    }
    let bad = place.printed(&signed(both, "maybe"));
    assert!(bad.contains("approval_signed: must be one of \"no\", \"yes\", \"present\""), "{bad}");
    let alone = place.printed(&signed("revoked_keys_file = \"credential:revoked\"", "no"));
    assert!(alone.contains("revoked_keys_file: is of no use without allowed_signers_file"), "{alone}");
}

/// A list that can't be used is reported once, with its own line, and not as if there were none.
#[test]
fn lists_of_keys_are_read_at_once() {
    let place = Place::new();
    let lists = "allowed_signers_file = \"credential:signers\"\nrevoked_keys_file = \"credential:revoked\"";
    place.file("revoked", "", 0o644);
    let cases = [
        (format!("vault:x {KEY}* cert-authority {KEY}"), 0o644, "signers:2: has cert-authority"),
        ("vault:x\n".to_owned(), 0o644, "signers:1: has nothing behind its principals"),
        (format!("vault:x {KEY}"), 0o666, "signers is writable by everybody"),
    ];
    for (text, mode, part) in cases {
        place.file("signers", &text, mode);
        let printed = place.printed(&signed(lists, "yes"));
        assert!(printed.contains("approvals.allowed_signers_file: ") && printed.contains(part), "{printed}");
        assert!(printed.ends_with("1 problem"), "{printed}");
    }
    place.file("signers", &format!("vault:x {KEY}"), 0o644);
    place.file("revoked", "SSHKRL\n\0", 0o644);
    let printed = place.printed(&signed(lists, "yes"));
    assert!(printed.contains("approvals.revoked_keys_file: revoked: is a binary list (KRL)"), "{printed}");
}

#[test]
fn the_usual_window_is_not_longer_than_the_longest() {
    let line = "window_max = \"8h\"";
    let set = |usual: &str| with(line, &format!("{line}\nwindow_default = \"{usual}\""));
    let config = Place::new().load(&set("8h")).unwrap();
    assert_eq!(
        config.policy.targets.into_values().next().unwrap().window_default,
        Some(Duration::from_hours(8))
    );
    let key = "targets.orders-ro.window_default";
    refused(&set("8h 1s"), key, "must not be longer than window_max");
    refused(&set("0s"), key, "must be from 1s");
}

#[test]
fn limits_are_bounded() {
    let line = "early_revocation = \"ends_sessions\"";
    let set = |more: &str| with(line, &format!("{line}\n{more}"));
    let limits = |more: &str| {
        let config = Place::new().load(&set(more)).unwrap();
        config.policy.targets.into_values().next().unwrap().limits
    };
    assert!(limits("").is_none());
    let all = limits("grants_per_person_max = 1\ngrants_max = 3\npause = \"10m\"");
    assert_eq!((all.per_person_max.unwrap().get(), all.grants_max.unwrap().get()), (1, 3));
    assert_eq!(all.pause, Some(Duration::from_mins(10)));
    for key in ["grants_per_person_max", "grants_max"] {
        for bad in ["0", "1001", "\"1\""] {
            let path = format!("targets.orders-ro.{key}");
            refused(&set(&format!("{key} = {bad}")), &path, "must be a whole number from 1 to 1000");
        }
    }
    refused(&set("pause = \"31days\""), "targets.orders-ro.pause", "must be from 1s to 30days");
}
