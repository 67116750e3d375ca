//! Who plays in the histories, and for what: people with more than one login, and targets of which two share a path.

use std::{collections::BTreeSet, num::NonZeroU32, time::Duration};

use hallpass::access::{
    actor::{Caller, Person},
    limits::Limits,
    policy::Policy,
    quorum::Quorum,
    target::{EarlyRevocation, Target},
    terms::Leeway,
    writing::Writing,
};

/// How long undecided requests wait.
pub const DECIDE_WITHIN: Duration = Duration::from_hours(1);
/// How long approved requests wait.
pub const CLAIM_WITHIN: Duration = Duration::from_mins(30);
/// The longest window.
pub const WINDOW_MAX: Duration = Duration::from_hours(2);

/// A login: the human being behind it, as no identity provider tells, and what the provider says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Login {
    pub human: &'static str,
    subject: &'static str,
    name: &'static str,
    groups: &'static [&'static str],
}

const fn login(
    human: &'static str,
    subject: &'static str,
    name: &'static str,
    groups: &'static [&'static str],
) -> Login {
    Login { human, subject, name, groups }
}

/// Everybody. Dana and Ann have two logins; Ann asks and approves, and so does the second Dana.
pub const LOGINS: [Login; 9] = [
    login("dana", "sub-dana", "dana", &["dev"]),
    login("dana", "sub-dana-admin", "Dana", &["dev", "leads"]),
    login("dan", "sub-dan", "dan", &["dev"]),
    login("ann", "sub-ann", "ann", &["dev", "leads"]),
    login("ann", "sub-ann-2", "ANN", &["leads"]),
    login("bob", "sub-bob", "bob", &["leads"]),
    login("cyd", "sub-cyd", "cyd", &["leads"]),
    login("oren", "sub-oren", "oren", &["operators"]),
    login("eve", "sub-eve", "eve", &["sales"]),
];

/// The human being behind a subject.
pub fn human(subject: &str) -> &'static str {
    LOGINS.iter().find(|login| login.subject == subject).map_or("nobody", |login| login.human)
}

impl Login {
    /// What the daemon is told about him. With `names_apart`, each login has a name of its own, which no identity
    /// provider may do that the daemon is to trust.
    pub fn caller(self, names_apart: bool) -> Caller {
        let name = if names_apart { self.subject } else { self.name };
        Caller {
            person: Person { subject: self.subject.to_owned(), name: name.to_owned() },
            groups: groups(self.groups),
        }
    }

    pub fn subject(self) -> &'static str {
        self.subject
    }

    pub fn is_in(self, group: &str) -> bool {
        self.groups.contains(&group)
    }
}

/// The targets' names, credential paths, and how many people have to approve.
pub const TARGETS: [(&str, &str, u32); 3] = [
    ("orders", "database/creds/hp-orders", 1),
    ("payments", "database/creds/hp-payments", 2),
    ("reports", "database/creds/hp-orders", 1),
];

fn groups(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

/// Who may do what, with all targets but perhaps one.
pub fn policy(without: Option<&str>) -> Policy {
    let configured = TARGETS.iter().filter(|(name, ..)| Some(*name) != without);
    let targets = configured.map(|(name, path, approvals)| {
        let target = Target {
            name: name.parse().unwrap(),
            description: String::new(),
            credential_path: (*path).to_owned(),
            vault_policy: format!("cred-{name}"),
            window_max: WINDOW_MAX,
            decide_within: DECIDE_WITHIN,
            claim_within: CLAIM_WITHIN,
            requesters: groups(&["dev"]).into(),
            approvers: groups(&["leads"]).into(),
            approvals_required: NonZeroU32::new(*approvals).unwrap(),
            quorum: Quorum::default(),
            leeway: Leeway { shorten: true, narrow: true },
            hours: None,
            early_revocation: EarlyRevocation::EndsSessions,
            window_default: None,
            writing: Writing::default(),
            limits: Limits::default(),
            cosigned_within: None,
        };
        (target.name.clone(), target)
    });
    Policy {
        targets: targets.collect(),
        auditors: groups(&["auditors"]),
        operators: groups(&["operators"]),
        ..Policy::default()
    }
}
