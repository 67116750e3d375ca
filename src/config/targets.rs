//! `[targets.<name>]`: what may be requested, by whom, and who approves. A target with anything wrong makes the whole
//! configuration unusable: leaving it out would be another configuration than the one that was meant.

use std::{num::NonZeroU32, ops::RangeInclusive, time::Duration};

use super::{
    deciding,
    found::{Found, Read},
    identity::Known,
    section::Section,
    value,
};
use crate::access::{
    limits::Limits,
    signing::Signing,
    target::{EarlyRevocation, Target, TargetName, Targets},
    writing::Writing,
};

/// Vault's shortest TTL is a second; after a week it isn't an exception any more but a standing permission.
const WINDOW_MAX: RangeInclusive<Duration> = Duration::from_secs(1)..=days(7);
/// An approver needs a minute to read; what nobody answered for a month nobody waits for.
const DECIDE_WITHIN: RangeInclusive<Duration> = Duration::from_mins(1)..=days(30);
/// An approval is about a situation; a week later it is another one.
const CLAIM_WITHIN: RangeInclusive<Duration> = Duration::from_mins(1)..=days(7);

/// What everybody has to write is a sentence or three; a longer one makes people fill pages with nothing.
const TEXT_MIN: RangeInclusive<u32> = 1..=1000;

/// As many as could be looked through; who wants more wants no limit.
const GRANTS: RangeInclusive<u32> = 1..=1000;
/// Longer than a month isn't a pause any more.
const PAUSE: RangeInclusive<Duration> = Duration::from_secs(1)..=days(30);

/// A witness that comes by itself does so once a minute or so; after a day nobody can say that somebody watches.
const COSIGNED_WITHIN: RangeInclusive<Duration> = Duration::from_secs(10)..=days(1);

/// What makes no credentials with leases, but rules over Vault itself.
const SYSTEM_PATHS: [&str; 4] = ["auth", "cubbyhole", "identity", "sys"];
/// What no grant's token may carry: everything, what lets a token renew itself, and Vault's own.
const RESERVED_POLICIES: [&str; 3] = ["default", "response-wrapping", "root"];

const EARLY_REVOCATION: &[(&str, EarlyRevocation)] = &[
    ("ends_sessions", EarlyRevocation::EndsSessions),
    ("stops_new_logins", EarlyRevocation::StopsNewLogins),
    ("expires_only", EarlyRevocation::ExpiresOnly),
];

const APPROVAL_SIGNED: &[(&str, Signing)] =
    &[("no", Signing::Optional), ("yes", Signing::Required), ("present", Signing::Present)];

const fn days(days: u64) -> Duration {
    Duration::from_hours(24 * days)
}

/// What the rest of the file gives to targets.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    /// Who there can be.
    pub(super) known: Option<&'a Known<'a>>,
    /// Whether there are keys that could sign an approval.
    pub(super) signers: bool,
    /// Whether there are witnesses that could cosign a checkpoint.
    pub(super) cosigners: bool,
}

pub(super) fn read(mut section: Section<'_>, given: Given<'_>) -> Option<Targets> {
    let each = |(name, section)| target(name, section, given);
    let read = section.sections(value::CHOSEN_NAME).into_iter().map(each).collect::<Vec<_>>();
    section.finish();
    read.into_iter().map(|target| target.map(|target| (target.name.clone(), target))).collect()
}

fn target(name: &str, mut section: Section<'_>, given: Given<'_>) -> Option<Target> {
    let parsed = section.own_checked(name.parse::<TargetName>().map_err(|bad| bad.to_string()));
    let description =
        section.required("description", "what it is, for those who approve", value::description);
    let write = "the path in Vault, like \"database/creds/orders-ro\"";
    let credential_path = section.required("credential_path", write, credential_path);
    let vault_policy = section.optional("vault_policy", vault_policy);
    let window_max =
        section.required("window_max", "the longest window, like \"8h\"", value::duration(WINDOW_MAX));
    let window_default = section.optional("window_default", value::duration(WINDOW_MAX));
    if let (Some(Some(usual)), Some(max)) = (window_default, window_max)
        && usual > max
    {
        section.problem("window_default", "must not be longer than window_max");
    }
    let write = "how long a request waits for a decision, like \"8h\"";
    let decide_within = section.required("decide_within", write, value::duration(DECIDE_WITHIN));
    let write = "how long an approval waits to be claimed, like \"2h\"";
    let claim_within = section.required("claim_within", write, value::duration(CLAIM_WITHIN));
    let deciding = deciding::read(&mut section, given.known);
    let hours = deciding::hours(&mut section);
    let write =
        "what ending a grant early is worth: \"ends_sessions\", \"stops_new_logins\" or \"expires_only\"";
    let early_revocation = section.required("early_revocation", write, value::choice(EARLY_REVOCATION));
    let (writing, limits) = (writing(&mut section, given.signers), limits(&mut section));
    let cosigned_within = cosigned_within(&mut section, given.cosigners);
    section.finish();
    Some(Target {
        name: parsed?,
        description: description?,
        credential_path: credential_path?,
        vault_policy: vault_policy?.unwrap_or_else(|| format!("cred-{name}")),
        window_max: window_max?,
        window_default: window_default?,
        decide_within: decide_within?,
        claim_within: claim_within?,
        requesters: deciding.requesters?,
        approvers: deciding.approvers?,
        approvals_required: deciding.required?,
        quorum: deciding.quorum?,
        leeway: deciding.leeway?,
        hours: hours?,
        early_revocation: early_revocation?,
        writing: writing?,
        limits: limits?,
        cosigned_within: cosigned_within?,
    })
}

#[expect(clippy::option_option, reason = "the outer one says whether a problem was reported")]
fn cosigned_within(section: &mut Section<'_>, cosigners: bool) -> Option<Option<Duration>> {
    let within = section.optional("cosigned_within", value::duration(COSIGNED_WITHIN));
    if !cosigners && within.flatten().is_some() {
        let problem = "demands cosignatures, but no witness is known that makes any, so that nobody could claim; name one \
                       with its verifier_key in [ledger.witnesses.<name>]";
        section.problem("cosigned_within", problem);
    }
    within
}

fn limits(section: &mut Section<'_>) -> Option<Limits> {
    let per_person_max = section.optional("grants_per_person_max", value::count(GRANTS));
    let grants_max = section.optional("grants_max", value::count(GRANTS));
    let pause = section.optional("pause", value::duration(PAUSE));
    Some(Limits { per_person_max: per_person_max?, grants_max: grants_max?, pause: pause? })
}

fn writing(section: &mut Section<'_>, signers: bool) -> Option<Writing> {
    let least = |section: &mut Section<'_>, key| {
        section.optional(key, value::count(TEXT_MIN)).map(|min| min.map_or(0, NonZeroU32::get))
    };
    let (reason_min, statement_min) = (least(section, "reason_min"), least(section, "statement_min"));
    let ticket_required = section.or("ticket_required", "false", value::flag);
    let ticket_pattern = section.optional("ticket_pattern", value::parsed);
    let signing = section.or("approval_signed", "\"no\"", value::choice(APPROVAL_SIGNED));
    if !signers && signing.is_some_and(|signing| signing != Signing::Optional) {
        let problem = "demands signatures, but nobody's keys are known, so that nobody could approve; name a list of \
                       them in [approvals] allowed_signers_file";
        section.problem("approval_signed", problem);
    }
    Some(Writing {
        reason_min: reason_min?,
        statement_min: statement_min?,
        ticket_required: ticket_required?,
        ticket_pattern: ticket_pattern?,
        signing: signing?,
    })
}

fn credential_path(value: &Found<'_>) -> Read<String> {
    value.as_of(|| value::name_shape("^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+$"))?;
    let path = value::vault_path(value)?;
    match path.split_once('/') {
        None => Err("must have a mount and a path below it, like \"database/creds/orders-ro\"".to_owned()),
        Some((mount, _)) if SYSTEM_PATHS.contains(&mount) => {
            Err(format!("must not be below {mount}/, which rules over Vault itself"))
        }
        Some(_) => Ok(path),
    }
}

fn vault_policy(value: &Found<'_>) -> Read<String> {
    let policy = value::vault_name(value)?;
    // Vault compares them in lower case.
    if RESERVED_POLICIES.contains(&policy.to_ascii_lowercase().as_str()) {
        return Err("must be a policy of the target's own, like \"cred-orders-ro\"".to_owned());
    }
    Ok(policy)
}
