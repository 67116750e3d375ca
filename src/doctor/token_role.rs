//! The token role by which Vault makes the grants' tokens.

use std::collections::BTreeSet;

use super::{
    Setup,
    duration::{at_least, ttl, words},
    finding::Finding,
    seen::there,
};
use crate::vault::inspect::{Inspection, TokenRole, Tuning};

/// The role, and the bounds of the mount that makes tokens.
pub(super) fn findings(setup: &Setup<'_>, seen: &Inspection) -> Vec<Finding> {
    let mut found = Vec::new();
    let about = format!("token role {}", setup.token_role);
    let longest = at_least(setup.longest());
    let none = |path: &str| {
        let advice = format!("bao write {path} @token-role.json, in deploy/vault; or correct token_role");
        Finding::fail(&about, "isn't there, so no grant's token can be made", advice)
    };
    if let Some(role) = there(&seen.token_role, &mut found, none) {
        let policies: BTreeSet<&str> =
            setup.targets.values().map(|target| target.vault_policy.as_str()).collect();
        found.extend(of_role(&about, setup.token_role, role, longest, &policies));
    }
    let none = |path: &str| {
        Finding::warn("token mount", format!("{path} isn't there"), "check that the address is Vault's")
    };
    if let Some(Tuning { max_lease_ttl, .. }) = there(&seen.token_tuning, &mut found, none)
        && *max_lease_ttl < longest
    {
        let (bound, window) = (words(*max_lease_ttl), words(longest));
        let said = format!("no token lasts longer than {bound}, and the longest window is {window}");
        found.push(Finding::fail(
            "token mount",
            said,
            format!("bao auth tune -max-lease-ttl={} token/", ttl(longest)),
        ));
    }
    found
}

fn of_role(
    about: &str,
    name: &str,
    role: &TokenRole,
    longest: u64,
    policies: &BTreeSet<&str>,
) -> Vec<Finding> {
    let path = format!("auth/token/roles/{name}");
    let mut found: Vec<Finding> = settings(role)
        .into_iter()
        .filter(|(holds, ..)| !holds)
        .map(|(_, said, set)| Finding::fail(about, said, format!("bao write {path} {set}")))
        .collect();
    found.extend(longest_life(about, &path, role, longest));
    found.extend(policies.iter().filter(|policy| !carries(role, policy)).map(|policy| {
        let more: Vec<&str> = role.allowed_policies.iter().map(String::as_str).chain([*policy]).collect();
        let said = format!("doesn't let a token carry the policy {policy}");
        Finding::fail(about, said, format!("bao write {path} allowed_policies={}", more.join(",")))
    }));
    if found.is_empty() {
        let said = "makes orphans that can be renewed to the longest window, and carry nothing but a target's policy";
        found.push(Finding::ok(about, said));
    }
    found
}

/// Whether it holds, what is wrong otherwise, and what sets it right.
fn settings(role: &TokenRole) -> [(bool, &'static str, &'static str); 6] {
    [
        (role.orphan, "orphan is false: every grant would end with the daemon's login", "orphan=true"),
        (role.renewable, "renewable is false: the end of a grant couldn't be set", "renewable=true"),
        (
            role.token_no_default_policy,
            "token_no_default_policy is false: a grant's token could renew itself",
            "token_no_default_policy=true",
        ),
        (
            role.token_period == 0 && role.period == 0,
            "has a period: a grant's token would outlast its window",
            "token_period=0 period=0",
        ),
        (
            matches!(role.token_type.as_str(), "service" | "default-service" | "default" | ""),
            "makes batch tokens, which can't be revoked",
            "token_type=service",
        ),
        (
            role.token_num_uses == 0,
            "token_num_uses is set: a token that is used up takes its lease along",
            "token_num_uses=0",
        ),
    ]
}

fn longest_life(about: &str, path: &str, role: &TokenRole, longest: u64) -> Option<Finding> {
    let set = format!("bao write {path} token_explicit_max_ttl={}", ttl(longest));
    match role.token_explicit_max_ttl.max(role.explicit_max_ttl) {
        0 => {
            let said = "token_explicit_max_ttl isn't set: Vault itself bounds no grant";
            Some(Finding::warn(about, said, set))
        }
        bound if bound < longest => {
            let (bound, window) = (words(bound), words(longest));
            let said = format!("its tokens end after {bound}, and the longest window is {window}");
            Some(Finding::fail(about, said, set))
        }
        _ => None,
    }
}

/// Whether a token may have the policy. Vault compares names in lower case; what is forbidden beats what is allowed.
fn carries(role: &TokenRole, policy: &str) -> bool {
    let among = |names: &[String], patterns: &[String]| {
        names.iter().any(|name| name.eq_ignore_ascii_case(policy))
            || patterns.iter().any(|pattern| matches(&pattern.to_lowercase(), &policy.to_lowercase()))
    };
    among(&role.allowed_policies, &role.allowed_policies_glob)
        && !among(&role.disallowed_policies, &role.disallowed_policies_glob)
}

/// Whether a text is as a pattern says, in which `*` stands for anything.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = left.split_once(part) else { return false };
        left = after;
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text) in [("cred-*", "cred-x"), ("*", ""), ("a*c*e", "abcde"), ("*x", "xx"), ("x", "x")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("cred-*", "cre"), ("a*c", "abcd"), ("ab*ba", "aba"), ("x", "xy"), ("", "x")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_forbidden_beats_what_is_allowed() {
        let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let role = TokenRole { allowed_policies_glob: list(&["Cred-*"]), ..TokenRole::default() };
        assert!(carries(&role, "cred-x"));
        assert!(!carries(&TokenRole::default(), "cred-x"));
        let role = TokenRole { disallowed_policies: list(&["CRED-X"]), ..role };
        assert!(!carries(&role, "cred-x"));
    }
}
