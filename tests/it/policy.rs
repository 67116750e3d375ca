//! Who may call what, written out a second time: every verb against every combination of roles. The table here is not the
//! one in `access::policy` and shares nothing with it, so that a slip in one shows.

use std::{collections::BTreeSet, num::NonZeroU32, time::Duration};

use hallpass::access::{
    actor::{Caller, Person, Persons},
    approval::{Approval, Decision},
    id::RequestId,
    limits::Limits,
    policy::{Policy, Scope, Subject, Verb},
    quorum::Quorum,
    refusal::Refusal,
    request::{Ask, Request},
    target::{EarlyRevocation, Target, TargetName},
    terms::{Leeway, Terms},
    text::Prose,
    writing::Writing,
};

const TARGET: &str = "orders-ro";
const OTHER_TARGET: &str = "payroll-ro";

/// The groups that give roles: for the target in question, or for all.
const GROUPS: [&str; 4] = ["developers", "leads", "auditors", "operators"];

/// What a caller is: in which of the groups, and whether the thing in question is his.
#[derive(Clone, Debug)]
struct Who {
    groups: BTreeSet<String>,
    whose: Whose,
}

/// Whose the request or grant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// The caller's.
    Own,
    /// Certainly somebody else's.
    Others,
    /// That of another account with the caller's name: perhaps his own, perhaps not, and in doubt not to his advantage.
    Namesakes,
}

/// What the answer has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    NoRole,
    NotHis,
    HisOwn,
}

use Answer::{HisOwn, NoRole, NotHis, Yes};

/// The rules, one line a verb.
#[expect(clippy::match_same_arms, reason = "it is read as a table, so each verb has its line")]
fn expected(verb: Verb, who: &Who) -> Answer {
    let is = |group: &str| who.groups.contains(group);
    let (requester, approver, operator) = (is("developers"), is("leads"), is("operators"));
    let sees_all = is("auditors") || operator;
    let own = who.whose == Whose::Own;
    let yes_if = |allowed: bool, otherwise: Answer| if allowed { Yes } else { otherwise };
    match verb {
        // Whoever has any role may look at what there is; the lists themselves show only what is his to see.
        Verb::ListTargets => yes_if(requester || approver || sees_all, NoRole),
        Verb::GetTarget => yes_if(requester || approver || sees_all, NoRole),
        Verb::ListRequests => yes_if(requester || approver || sees_all, NoRole),
        Verb::ListGrants => yes_if(requester || approver || sees_all, NoRole),
        Verb::ListExceptions | Verb::SummarizeExceptions => yes_if(requester || approver || sees_all, NoRole),
        Verb::WatchRequests => yes_if(requester || approver || sees_all, NoRole),
        // One's own, what one may approve, and everything for auditors and operators.
        Verb::GetRequest => yes_if(own || approver || sees_all, NoRole),
        Verb::WatchRequest => yes_if(own || approver || sees_all, NoRole),
        Verb::GetGrant => yes_if(own || approver || sees_all, NoRole),
        Verb::GetException => yes_if(own || approver || sees_all, NoRole),
        // Requesters ask. Approving, auditing or operating doesn't let anybody in.
        Verb::SubmitRequest => yes_if(requester, NoRole),
        // Approvers decide, and never what is or may be their own.
        Verb::ApproveRequest | Verb::DenyRequest if !approver => NoRole,
        Verb::ApproveRequest => yes_if(who.whose == Whose::Others, HisOwn),
        Verb::DenyRequest => yes_if(who.whose == Whose::Others, HisOwn),
        // Owners take back and release, whatever else they are or have ceased to be.
        Verb::WithdrawRequest => yes_if(own, NotHis),
        Verb::ReleaseGrant => yes_if(own, NotHis),
        // Owners claim, as long as they still are requesters.
        Verb::ClaimGrant if !own => NotHis,
        Verb::ClaimGrant => yes_if(requester, NoRole),
        // Operators end anybody's grant.
        Verb::RevokeGrant => yes_if(operator, NoRole),
        // Operators freeze and thaw; whoever has any role may look.
        Verb::FreezeTargets => yes_if(operator, NoRole),
        Verb::ThawTargets => yes_if(operator, NoRole),
        Verb::ListFreezes => yes_if(requester || approver || sees_all, NoRole),
        // The log is of everything, so it is for those who see everything.
        Verb::GetCheckpoint => yes_if(sees_all, NoRole),
        Verb::ListLeaves => yes_if(sees_all, NoRole),
        Verb::ProveInclusion => yes_if(sees_all, NoRole),
        Verb::ProveConsistency | Verb::AddCosignature | Verb::GetStatus => yes_if(sees_all, NoRole),
    }
}

/// What the verb is about in the real thing.
fn subject<'a>(verb: Verb, target: &'a TargetName, owner: &'a Person) -> Subject<'a> {
    match verb {
        Verb::ListTargets
        | Verb::ListRequests
        | Verb::ListGrants
        | Verb::ListExceptions
        | Verb::WatchRequests => Subject::Anything,
        Verb::GetTarget | Verb::SubmitRequest => Subject::Target(target),
        _ => Subject::Owned(target, owner),
    }
}

fn person(subject: &str, name: &str) -> Person {
    Person { subject: subject.into(), name: name.into() }
}

fn set(groups: &[&str]) -> BTreeSet<String> {
    groups.iter().map(|&group| group.to_owned()).collect()
}

fn target(name: &str, requesters: &[&str], approvers: &[&str]) -> (TargetName, Target) {
    let name: TargetName = name.parse().unwrap();
    let target = Target {
        name: name.clone(),
        description: String::new(),
        credential_path: format!("database/creds/{name}"),
        vault_policy: "p".into(),
        window_max: Duration::from_hours(1),
        decide_within: Duration::from_hours(1),
        claim_within: Duration::from_hours(1),
        requesters: set(requesters).into(),
        approvers: set(approvers).into(),
        approvals_required: NonZeroU32::MIN,
        quorum: Quorum::default(),
        leeway: Leeway { shorten: true, narrow: true },
        hours: None,
        early_revocation: EarlyRevocation::EndsSessions,
        window_default: None,
        writing: Writing::default(),
        limits: Limits::default(),
        cosigned_within: None,
    };
    (name, target)
}

fn policy() -> Policy {
    Policy {
        targets: [
            target(TARGET, &["developers"], &["leads"]),
            target(OTHER_TARGET, &["payroll-developers"], &["payroll-leads"]),
        ]
        .into(),
        auditors: set(&["auditors"]),
        operators: set(&["operators"]),
        ..Policy::default()
    }
}

fn caller(who: &Who) -> Caller {
    Caller { person: person("s-dana", "dana"), groups: who.groups.clone() }
}

fn owner(whose: Whose) -> Person {
    match whose {
        Whose::Own => person("s-dana", "dana"),
        Whose::Others => person("s-erin", "erin"),
        Whose::Namesakes => person("s-dana-2", "Dana"),
    }
}

fn everybody() -> Vec<Who> {
    let mut all = Vec::new();
    for combination in 0..1 << GROUPS.len() {
        let chosen = (0..GROUPS.len()).filter(|bit| combination & (1 << bit) != 0);
        let groups: BTreeSet<String> = chosen.map(|bit| GROUPS[bit].to_owned()).collect();
        for whose in [Whose::Own, Whose::Others, Whose::Namesakes] {
            all.push(Who { groups: groups.clone(), whose });
        }
    }
    all
}

fn answer(verdict: Result<(), Refusal>) -> Answer {
    match verdict {
        Ok(()) => Yes,
        Err(Refusal::RoleMissing { .. }) => NoRole,
        Err(Refusal::NotOwner { .. }) => NotHis,
        Err(Refusal::SelfApproval) => HisOwn,
        Err(other) => panic!("{other} isn't the policy's to say"),
    }
}

/// I9: what the table has no row for is denied.
#[test]
fn every_verb_and_every_combination_of_roles() {
    let (policy, name) = (policy(), TARGET.parse().unwrap());
    let mut asked = 0;
    for verb in Verb::all() {
        for who in everybody() {
            let owner = owner(who.whose);
            let verdict = policy.allow(verb, &caller(&who), subject(verb, &name, &owner));
            assert_eq!(answer(verdict), expected(verb, &who), "{verb:?} by {who:?}");
            asked += 1;
        }
    }
    assert_eq!(asked, 27 * 16 * 3, "a verb came or went; this table needs its line");
}

#[test]
fn roles_for_one_target_are_none_for_another() {
    let (policy, name) = (policy(), OTHER_TARGET.parse().unwrap());
    let strangers = owner(Whose::Others);
    let who = Who { groups: set(&["developers", "leads"]), whose: Whose::Others };
    for verb in Verb::all() {
        let subject = subject(verb, &name, &strangers);
        let allowed = policy.allow(verb, &caller(&who), subject).is_ok();
        assert_eq!(allowed, matches!(subject, Subject::Anything), "{verb:?}");
    }
}

#[test]
fn a_target_that_is_gone_leaves_only_what_needs_no_role_for_it() {
    let (mut policy, name) = (policy(), TARGET.parse().unwrap());
    policy.targets.remove(&name);
    let owner = owner(Whose::Own);
    let who = Who { groups: set(&["developers", "leads"]), whose: Whose::Own };
    let allowed: Vec<_> = Verb::all()
        .filter(|verb| policy.allow(*verb, &caller(&who), subject(*verb, &name, &owner)).is_ok())
        .collect();
    let left = [
        Verb::GetRequest,
        Verb::WatchRequest,
        Verb::WithdrawRequest,
        Verb::ReleaseGrant,
        Verb::GetGrant,
        Verb::GetException,
    ];
    assert_eq!(allowed, left);
}

/// I5, I9: an empty list means nobody.
#[test]
fn empty_lists_mean_nobody() {
    let (name, nobodys) = target(TARGET, &[], &[]);
    let policy = Policy { targets: [(name.clone(), nobodys)].into(), ..Policy::default() };
    let others = owner(Whose::Others);
    for who in everybody() {
        for verb in Verb::all() {
            let verdict = policy.allow(verb, &caller(&who), subject(verb, &name, &others));
            assert!(verdict.is_err(), "{verb:?} by {who:?}");
        }
    }
}

#[test]
fn lists_show_what_may_be_read_one_by_one() {
    let policy = policy();
    for who in everybody() {
        let caller = caller(&who);
        let shown = |target: &str, owner: &Person| match policy.scope(&caller) {
            Scope::All => true,
            Scope::Some { owner: subject, targets } => {
                subject == owner.subject || targets.contains(&target.parse().unwrap())
            }
        };
        for target in [TARGET, OTHER_TARGET] {
            let (name, owner) = (target.parse().unwrap(), owner(who.whose));
            for verb in [Verb::GetRequest, Verb::WatchRequest, Verb::GetGrant, Verb::GetException] {
                let readable = policy.allow(verb, &caller, Subject::Owned(&name, &owner)).is_ok();
                assert_eq!(shown(target, &owner), readable, "{verb:?} {target} by {who:?}");
            }
        }
    }
}

/// Auditors search for them, so none may change or be mistaken for another.
#[test]
fn each_verb_has_a_name_of_its_own() {
    let names: Vec<&str> = Verb::all().map(Verb::name).collect();
    let different: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(different.len(), names.len());
    for (verb, name) in [
        (Verb::ApproveRequest, "approve"),
        (Verb::ClaimGrant, "claim"),
        (Verb::ReleaseGrant, "release"),
        (Verb::RevokeGrant, "revoke grants"),
    ] {
        assert_eq!(verb.name(), name);
    }
}

/// Four eyes are two people's, not two logins'.
#[test]
fn a_person_does_not_decide_what_he_asked_for_under_another_identity() {
    let mut persons = Persons::default();
    assert!(persons.add("ann", "corp:00u1") && persons.add("ann", "vault:e1"));
    let name: TargetName = TARGET.parse().unwrap();
    let policy = Policy { persons, ..policy() };
    let approver =
        |subject: &str| Caller { person: person(subject, "Ann by Vault"), groups: set(&["leads"]) };
    for (asked_as, by, allowed) in [
        ("person:ann", "person:ann", false),
        // Asked before the identities were put together.
        ("corp:00u1", "person:ann", false),
        ("vault:e1", "person:ann", false),
        ("corp:00u2", "person:ann", true),
        ("person:ann", "corp:00u2", true),
    ] {
        let owner = person(asked_as, "Ann at Corp");
        for verb in [Verb::ApproveRequest, Verb::DenyRequest] {
            let verdict = policy.allow(verb, &approver(by), Subject::Owned(&name, &owner));
            assert_eq!(verdict.is_ok(), allowed, "{verb:?} of {asked_as}'s by {by}");
            assert!(allowed || verdict == Err(Refusal::SelfApproval));
        }
    }
}

/// Also if they were put together between one approval and the next.
#[test]
fn a_person_counts_once_under_however_many_identities() {
    let mut persons = Persons::default();
    assert!(persons.add("ann", "corp:00u1") && persons.add("ann", "vault:e1"));
    let policy = Policy { persons, ..policy() };
    let by = |approvers: &[&str]| {
        let ask = Ask {
            target: TARGET.parse().unwrap(),
            credential_path: "database/creds/orders".to_owned(),
            requester: person("vault:dev", "dev"),
            groups: BTreeSet::from(["dev".to_owned()]),
            duration: Duration::from_mins(1),
            reason: Prose::new("orders hang").unwrap().into(),
            ticket: None,
            approvals_required: 1,
            not_before: None,
            submitted_at: chrono::DateTime::UNIX_EPOCH,
            key: None,
        };
        let id = RequestId::new(chrono::DateTime::UNIX_EPOCH, 1);
        let request = Request::submit(id, ask, Duration::from_mins(1)).into_after();
        let approval = |(number, subject): (usize, &&str)| {
            let decision = Decision {
                approver: person(subject, &format!("name {number}")),
                statement: Prose::new("read-only").unwrap().into(),
                digest: request.digest(),
                decided_at: chrono::DateTime::UNIX_EPOCH,
                groups: set(&["leads"]),
                terms: Terms::default(),
                signed: None,
            };
            Approval::recorded(decision)
        };
        let approvals = approvers.iter().enumerate().map(approval).collect();
        Request { approvals, ..request }
    };
    for (approvers, people) in [
        (&["corp:00u1", "vault:e2"][..], 2),
        (&["corp:00u1", "vault:e1"], 1),
        (&["corp:00u1", "person:ann"], 1),
        (&["person:ann", "vault:dev"], 1),
        (&[], 0),
    ] {
        let is_approved = |required| {
            let (_, target) = target(TARGET, &["developers"], &["leads"]);
            let target = Target { approvals_required: NonZeroU32::new(required).unwrap(), ..target };
            policy.is_approved(&by(approvers), &target)
        };
        let enough: Vec<u32> = (1..=3).filter(|required| is_approved(*required)).collect();
        assert_eq!(enough, (1..=people).collect::<Vec<_>>(), "{approvers:?}");
    }
    let request = by(&["corp:00u1"]);
    let known_as = |subject: &str| policy.approver(&person(subject, "Ann"), &request).subject.clone();
    assert_eq!((known_as("person:ann").as_str(), known_as("corp:00u2").as_str()), ("corp:00u1", "corp:00u2"));
}

#[test]
fn an_identity_is_one_persons() {
    let mut persons = Persons::default();
    assert!(persons.add("ann", "corp:1"));
    assert!(!persons.add("bob", "corp:1") && !persons.add("ann", "corp:1"));
    assert_eq!((persons.subject("corp:1"), persons.subject("corp:2")), ("person:ann", "corp:2"));
}
