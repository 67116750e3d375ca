//! Who may call what: one table. What isn't in it is denied.

use std::collections::BTreeSet;

use super::{
    actor::{Caller, Person, Persons},
    approval::Approval,
    refusal::Refusal,
    request::Request,
    target::{Target, TargetName, Targets},
};

/// Everything that can be asked of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it, and the proto documents the methods")]
pub enum Verb {
    ListTargets,
    GetTarget,
    SubmitRequest,
    GetRequest,
    ListRequests,
    WatchRequest,
    WatchRequests,
    WithdrawRequest,
    ApproveRequest,
    DenyRequest,
    ClaimGrant,
    ReleaseGrant,
    RevokeGrant,
    GetGrant,
    ListGrants,
    GetException,
    ListExceptions,
    SummarizeExceptions,
    FreezeTargets,
    ThawTargets,
    ListFreezes,
    GetCheckpoint,
    ListLeaves,
    ProveInclusion,
    ProveConsistency,
    AddCosignature,
    GetStatus,
}

/// What a caller is to the thing in question. Where no thing is in question (lists), what he is to any target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// One of those who may request the target.
    Requester,
    /// One of those who may approve the target.
    Approver,
    /// In a group of auditors.
    Auditor,
    /// In a group of operators.
    Operator,
    /// The very person who submitted the request, or holds the grant.
    Owner,
    /// Certainly another person than the one who submitted the request.
    Another,
}

use Role::{Another, Approver, Auditor, Operator, Owner, Requester};

/// The table: a verb, and the sets of roles of which the caller must have one whole.
const TABLE: &[(Verb, &str, &[&[Role]])] = &[
    (Verb::ListTargets, "list targets", &[&[Requester], &[Approver], &[Auditor], &[Operator]]),
    (Verb::GetTarget, "read this target", &[&[Requester], &[Approver], &[Auditor], &[Operator]]),
    (Verb::SubmitRequest, "request access", &[&[Requester]]),
    (Verb::GetRequest, "read this request", &[&[Owner], &[Approver], &[Auditor], &[Operator]]),
    (Verb::ListRequests, "list requests", &[&[Requester], &[Approver], &[Auditor], &[Operator]]),
    (Verb::WatchRequest, "watch this request", &[&[Owner], &[Approver], &[Auditor], &[Operator]]),
    (Verb::WatchRequests, "watch requests", &[&[Requester], &[Approver], &[Auditor], &[Operator]]),
    (Verb::WithdrawRequest, "withdraw", &[&[Owner]]),
    (Verb::ApproveRequest, "approve", &[&[Approver, Another]]),
    (Verb::DenyRequest, "deny", &[&[Approver, Another]]),
    (Verb::ClaimGrant, "claim", &[&[Owner, Requester]]),
    (Verb::ReleaseGrant, "release", &[&[Owner]]),
    (Verb::RevokeGrant, "revoke grants", &[&[Operator]]),
    (Verb::GetGrant, "read this grant", &[&[Owner], &[Approver], &[Auditor], &[Operator]]),
    (Verb::ListGrants, "list grants", &[&[Requester], &[Approver], &[Auditor], &[Operator]]),
    (Verb::GetException, "read this exception", &[&[Owner], &[Approver], &[Auditor], &[Operator]]),
    (Verb::ListExceptions, "list exceptions", &[&[Requester], &[Approver], &[Auditor], &[Operator]]),
    (Verb::SummarizeExceptions, "count exceptions", &[&[Requester], &[Approver], &[Auditor], &[Operator]]),
    (Verb::FreezeTargets, "freeze", &[&[Operator]]),
    (Verb::ThawTargets, "thaw", &[&[Operator]]),
    (Verb::ListFreezes, "list freezes", &[&[Requester], &[Approver], &[Auditor], &[Operator]]),
    (Verb::GetCheckpoint, "read checkpoints", &[&[Auditor], &[Operator]]),
    (Verb::ListLeaves, "read the log", &[&[Auditor], &[Operator]]),
    (Verb::ProveInclusion, "ask for proofs of inclusion", &[&[Auditor], &[Operator]]),
    (Verb::ProveConsistency, "ask for proofs of consistency", &[&[Auditor], &[Operator]]),
    (Verb::AddCosignature, "bring cosignatures", &[&[Auditor], &[Operator]]),
    (Verb::GetStatus, "ask how the daemons are", &[&[Auditor], &[Operator]]),
];

impl Verb {
    /// What it is called in messages and in the audit log.
    #[must_use]
    pub fn name(self) -> &'static str {
        row(self).map_or("do this", |(name, _)| name)
    }

    /// Every verb that the table allows to somebody.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|(verb, ..)| *verb)
    }
}

fn row(verb: Verb) -> Option<(&'static str, &'static [&'static [Role]])> {
    TABLE.iter().find(|(known, ..)| *known == verb).map(|(_, name, any)| (*name, *any))
}

fn approvers(request: &Request) -> impl Iterator<Item = &Person> {
    request.approvals.iter().map(Approval::decision).map(|decision| &decision.approver)
}

/// What a verb is about.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// Nothing in particular.
    Anything,
    /// A target.
    Target(&'a TargetName),
    /// A request or a grant: its target, and its requester or holder.
    Owned(&'a TargetName, &'a Person),
}

/// Which requests and grants a list shows to a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// One's own, and those for the targets that one may approve.
    Some {
        /// The caller's subject.
        owner: String,
        /// The targets.
        targets: BTreeSet<TargetName>,
    },
}

/// Who is in which role, from the configuration.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Every target.
    pub targets: Targets,
    /// The groups whose members see everything. None means nobody.
    pub auditors: BTreeSet<String>,
    /// The groups whose members see everything and may end any grant. None means nobody.
    pub operators: BTreeSet<String>,
    /// Which identities are one person.
    pub persons: Persons,
}

impl Policy {
    /// Whether the caller may do this.
    ///
    /// # Errors
    ///
    /// If no row of the table lets him; the refusal names the role that is lacking where others have it.
    pub fn allow(&self, verb: Verb, caller: &Caller, subject: Subject<'_>) -> Result<(), Refusal> {
        let has = self.roles(caller, subject);
        let Some((name, any)) = row(verb) else {
            return Err(Refusal::RoleMissing { verb: "do this" });
        };
        if any.iter().any(|all| all.iter().all(|role| has.contains(role))) {
            return Ok(());
        }
        Err(match any {
            [all] if all.contains(&Owner) && !has.contains(&Owner) => Refusal::NotOwner { verb: name },
            [all] if all.contains(&Another) && has.contains(&Approver) => Refusal::SelfApproval,
            _ => Refusal::RoleMissing { verb: name },
        })
    }

    /// Whether the caller may know that there is such a thing.
    #[must_use]
    pub fn sees(&self, caller: &Caller, subject: Subject<'_>) -> bool {
        match subject {
            Subject::Anything => true,
            Subject::Target(_) => self.allow(Verb::GetTarget, caller, subject).is_ok(),
            Subject::Owned(..) => self.allow(Verb::GetRequest, caller, subject).is_ok(),
        }
    }

    /// What the caller is to the subject.
    #[must_use]
    pub fn roles(&self, caller: &Caller, subject: Subject<'_>) -> BTreeSet<Role> {
        let targets: Vec<&Target> = match subject {
            Subject::Anything => self.targets.values().collect(),
            Subject::Target(name) | Subject::Owned(name, _) => self.targets.get(name).into_iter().collect(),
        };
        let is_in = |groups: &BTreeSet<String>| !groups.is_disjoint(&caller.groups);
        let is_owner = matches!(subject, Subject::Owned(_, owner) if caller.person.owns(owner));
        let is_another = matches!(subject, Subject::Owned(_, owner) if self.are_two(&caller.person, owner));
        [
            (Requester, targets.iter().any(|target| target.requesters.include(caller))),
            (Approver, targets.iter().any(|target| target.approvers.include(caller))),
            (Auditor, is_in(&self.auditors)),
            (Operator, is_in(&self.operators)),
            (Owner, is_owner),
            (Another, is_another),
        ]
        .into_iter()
        .filter_map(|(role, holds)| holds.then_some(role))
        .collect()
    }

    /// Whether these are certainly two people. Either may be on record from before his identities were put together in the
    /// configuration.
    fn are_two(&self, one: &Person, other: &Person) -> bool {
        !one.is(other) && self.persons.subject(&one.subject) != self.persons.subject(&other.subject)
    }

    /// The identity by which a person is on record as an approver of the request, or the one that he has now.
    #[must_use]
    pub fn approver<'a>(&self, person: &'a Person, request: &'a Request) -> &'a Person {
        let subject = self.persons.subject(&person.subject);
        let is_his = |known: &&Person| self.persons.subject(&known.subject) == subject;
        approvers(request).find(is_his).unwrap_or(person)
    }

    /// Whether enough people have approved the request, of the groups that they have to be of, who may approve it now: by
    /// the configuration as it is, and by the groups that they had then.
    #[must_use]
    pub fn is_approved(&self, request: &Request, target: &Target) -> bool {
        let mut people: Vec<&Person> = vec![&request.ask.requester];
        let mut groups = Vec::new();
        let digest = request.digest();
        let decisions = request.approvals.iter().map(Approval::decision);
        for decision in decisions.filter(|decision| decision.digest == digest) {
            let is_new = people.iter().all(|person| self.are_two(&decision.approver, person));
            if is_new && target.approvers.included(&decision.approver, &decision.groups, &self.persons) {
                people.push(&decision.approver);
                groups.push(&decision.groups);
            }
        }
        let required = request.ask.approvals_required.max(target.approvals_required.get());
        groups.len() >= required as usize && target.quorum.missing(&groups).is_empty()
    }

    /// Which requests and grants the caller sees in lists: the same that he may read one by one.
    #[must_use]
    pub fn scope(&self, caller: &Caller) -> Scope {
        let roles = self.roles(caller, Subject::Anything);
        if roles.contains(&Auditor) || roles.contains(&Operator) {
            return Scope::All;
        }
        let approves = |target: &&Target| target.approvers.include(caller);
        let targets = self.targets.values().filter(approves).map(|target| target.name.clone()).collect();
        Scope::Some { owner: caller.person.subject.clone(), targets }
    }
}
