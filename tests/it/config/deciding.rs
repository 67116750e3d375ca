//! Of a target: who requests and approves, how many of which groups, on which terms, and in which hours.

use std::collections::BTreeSet;

use hallpass::access::{members::Members, target::Target, terms::Leeway};

use super::{GOOD, Place, refused, with};

fn targets_with(lines: &str) -> String {
    with("approvers =", &format!("{lines}\napprovers ="))
}

fn target(text: &str) -> Target {
    Place::new().load(text).unwrap().policy.targets.into_values().next().unwrap()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

const ANN: &str = "[identity.persons.ann]\nidentities = [\"vault:e1\"]\n[roles]";

#[test]
fn people_are_named_by_subjects_that_somebody_can_have() {
    let file =
        |people: &str| targets_with(&format!("approver_persons = {people}")).replacen("[roles]", ANN, 1);
    let good = target(&file("[\"vault:e2\", \"person:ann\"]"));
    let named = set(&["vault:e2", "person:ann"]);
    assert_eq!(good.approvers, Members { groups: set(&["leads"]), persons: named });
    for (bad, part) in [
        ("[]", "at least one entry"),
        ("\"vault:e2\"", "at least one entry"),
        ("[\"vault:e2\", \"person:bob\"]", "entry 2 must be \"person:NAME\""),
        ("[\"corp:e2\"]", "entry 1 must be"),
        ("[\"vault:\"]", "entry 1 must be"),
        ("[\"ann\"]", "entry 1 must be"),
        ("[\"vault:e1\"]", "entry 1 is an identity of \"person:ann\"; write that"),
        ("[\" vault:e2\"]", "entry 1 must be one line"),
    ] {
        refused(&file(bad), "targets.orders-ro.approver_persons", part);
    }
}

/// Nobody but the requester able to approve: as far as that can be known without knowing who is in a group.
#[test]
fn i5_somebody_else_must_be_able_to_approve() {
    let file = |requesters: &str, people: &str, required: u32| {
        let people = format!("{people}\napprovals_required = {required}");
        let file = with("approvers = [\"leads\"]", &format!("approvers = []\n{people}"));
        file.replacen("requesters = [\"developers\"]", requesters, 1)
    };
    let ann = "approver_persons = [\"vault:ann\"]";
    let both = "approver_persons = [\"vault:ann\", \"vault:bob\"]";
    let by_ann = "requesters = []\nrequester_persons = [\"vault:ann\"]";
    let key = "targets.orders-ro.approver_persons";
    refused(&file(by_ann, ann, 1), key, "1 must approve, and there may be only 0 besides the requester");
    refused(&file(by_ann, both, 2), key, "2 must approve, and there may be only 1 besides the requester");
    refused(&file("requesters = [\"developers\"]", ann, 2), key, "there may be only 1");
    target(&file(by_ann, both, 1));
    target(&file("requesters = [\"developers\"]", ann, 1));
    target(&file("requesters = []", ann, 2));
    let unknown = with("approvers = [\"leads\"]", "approvers = []\napprover_persons = []");
    refused(&unknown, key, "at least one entry");
}

#[test]
fn groups_of_which_approvals_have_to_come_are_approvers() {
    let file = |of: &str, required: u32| {
        targets_with(&format!("approvals_of = {of}\napprovals_required = {required}"))
    };
    assert_eq!(target(&file("{ leads = 2 }", 2)).quorum.0.get("leads"), Some(&2));
    let key = "targets.orders-ro.approvals_of";
    for (bad, part) in [
        ("{ leads = 0 }", "has a group whose number must be a whole number from 1 to 10"),
        ("{ leads = \"1\" }", "has a group whose number must be"),
        ("[\"leads\"]", "must be a table"),
        ("{ \" leads\" = 1 }", "has a group whose name"),
        ("{ board = 1 }", "isn't among the approvers"),
        ("{ leads = 4 }", "takes 4 approvals"),
    ] {
        refused(&file(bad, 3), key, part);
    }
}

#[test]
fn approvers_have_leeway_unless_it_is_taken() {
    assert_eq!(target(GOOD).leeway, Leeway { shorten: true, narrow: true });
    let strict = targets_with("approvers_may_shorten = false\napprovers_may_narrow = false");
    assert_eq!(target(&strict).leeway, Leeway { shorten: false, narrow: false });
}

#[test]
fn hours_open_at_some_time_in_a_zone_that_there_is() {
    assert_eq!(target(GOOD).hours, None);
    let office =
        target(&targets_with("hours = [\"* 9-16 * * Mon-Fri\"]\nhours_time_zone = \"Europe/Berlin\""));
    assert_eq!(office.hours.unwrap().to_string(), "'* 9-16 * * Mon-Fri' (Europe/Berlin)");
    assert_eq!(
        target(&targets_with("hours = [\"* 9 * * *\"]")).hours.unwrap().to_string(),
        "'* 9 * * *' (UTC)"
    );
    for (bad, part) in [
        ("[]", "at least one entry"),
        ("\"* 9 * * *\"", "at least one entry"),
        ("[\"* 9 * * *\", \"* 9 30 2 *\"]", "entry 2 never comes true"),
        ("[\"0 * 9 * * *\"]", "entry 1 must have the five fields"),
        ("[\"@daily\"]", "entry 1 must have the five fields"),
        ("[\"* 9 * * 1-5\"]", "entry 1 must name days"),
        ("[\"* 25 * * *\"]", "entry 1 is not a cron expression"),
        ("[9]", "entry 1 must be a text"),
    ] {
        refused(&targets_with(&format!("hours = {bad}")), "targets.orders-ro.hours", part);
    }
    let zone = |zone: &str| targets_with(&format!("hours = [\"* 9 * * *\"]\nhours_time_zone = \"{zone}\""));
    for bad in ["Europe/Nowhere", "", "+01:00", "europe/berlin", "../etc/passwd"] {
        refused(&zone(bad), "targets.orders-ro.hours_time_zone", "");
    }
    let alone = targets_with("hours_time_zone = \"UTC\"");
    refused(&alone, "targets.orders-ro.hours_time_zone", "means nothing without hours");
}
