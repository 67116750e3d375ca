//! The policy of a target's grants: it lets their tokens read one path, only wrapped, and nothing else.
//!
//! What this check can't read is a warning.

mod text;

use std::time::Duration;

use self::text::{Bound, Rule, covers, precision, rules};
use super::{
    duration::{at_least, words},
    finding::Finding,
    seen::there,
};
use crate::{access::target::Target, vault::inspect::Inspection};

/// The least that makes Vault refuse an answer that isn't wrapped.
const WRAPPING_MIN: Duration = Duration::from_secs(1);

/// One target's policy.
pub(super) fn findings(target: &Target, wrap_ttl: Duration, seen: &Inspection) -> Vec<Finding> {
    let mut found = Vec::new();
    let about = format!("policy {}", target.vault_policy);
    let Some(policy) = seen.policies.get(&target.vault_policy) else { return found };
    let none = |_: &str| {
        let said = format!("isn't there, so nothing can be issued for {}", target.name);
        let advice = format!("load it with `bao policy write {} -`:\n{}", target.vault_policy, block(target));
        Finding::fail(&about, said, advice)
    };
    let Some(text) = there(policy, &mut found, none) else { return found };
    match rules(text) {
        Err(why) => {
            let said = format!("can't be read here, though Vault may have understood it: {why}");
            let advice = format!("write each setting on a line of its own, like this:\n{}", block(target));
            found.push(Finding::warn(about, said, advice));
        }
        Ok(rules) => found.extend(judge(&about, target, wrap_ttl, &rules)),
    }
    found
}

fn block(target: &Target) -> String {
    format!(
        "path \"{}\" {{\n  capabilities     = [\"read\"]\n  min_wrapping_ttl = \"1s\"\n  max_wrapping_ttl = \"10m\"\n}}",
        target.credential_path
    )
}

fn judge(about: &str, target: &Target, wrap_ttl: Duration, rules: &[Rule]) -> Vec<Finding> {
    let path = &target.credential_path;
    let mut found = Vec::new();
    let decides =
        rules.iter().filter(|rule| covers(&rule.path, path)).max_by_key(|rule| precision(&rule.path));
    let reads = |rule: &&Rule| rule.has("read") && !rule.has("deny");
    match decides.filter(reads) {
        None => {
            let advice = format!("make it this and nothing else:\n{}", block(target));
            found.push(Finding::fail(about, format!("doesn't let a grant's token read {path}"), advice));
        }
        Some(rule) => found.extend(of_wrapping(about, rule, wrap_ttl)),
    }
    found.extend(rules.iter().filter_map(|rule| too_much(about, path, rule)));
    if found.is_empty() {
        found.push(Finding::ok(about, format!("allows one read of {path}, only wrapped, and nothing else")));
    }
    found
}

fn of_wrapping(about: &str, rule: &Rule, wrap_ttl: Duration) -> Option<Finding> {
    let path = &rule.path;
    let set = |line: &str| format!("set in path \"{path}\": {line}");
    let asked = words(at_least(wrap_ttl));
    match (rule.wrapping_min, rule.wrapping_max) {
        (Bound::Unclear, _) | (_, Bound::Unclear) => {
            let said = format!("the bounds of the wrapping at {path} can't be understood");
            Some(Finding::warn(about, said, set("min_wrapping_ttl = \"1s\" and max_wrapping_ttl = \"10m\"")))
        }
        (Bound::None, _) => {
            let said = format!("doesn't enforce wrapping at {path}: the daemon could see a credential");
            Some(Finding::fail(about, said, set("min_wrapping_ttl = \"1s\"")))
        }
        (Bound::At(min), _) if min < WRAPPING_MIN => {
            let said = format!("doesn't enforce wrapping at {path}: min_wrapping_ttl is below a second");
            Some(Finding::fail(about, said, set("min_wrapping_ttl = \"1s\"")))
        }
        (Bound::At(min), _) if min > wrap_ttl => {
            let said = format!(
                "min_wrapping_ttl at {path} is longer than the configuration's wrap_ttl, {asked}: every read is refused"
            );
            Some(Finding::fail(about, said, set("min_wrapping_ttl = \"1s\"")))
        }
        (_, Bound::At(max)) if max < wrap_ttl => {
            let said = format!(
                "max_wrapping_ttl at {path} is shorter than the configuration's wrap_ttl, {asked}: every read is refused"
            );
            Some(Finding::fail(about, said, set("max_wrapping_ttl = \"10m\", or lower wrap_ttl")))
        }
        _ => None,
    }
}

/// A right besides the one read.
fn too_much(about: &str, path: &str, rule: &Rule) -> Option<Finding> {
    if rule.has("deny") || (rule.capabilities.is_empty() && rule.more.is_empty()) {
        return None;
    }
    let here = rule.path == path;
    let others: Vec<&str> =
        rule.capabilities.iter().map(String::as_str).filter(|capability| *capability != "read").collect();
    if !here && !covers(&rule.path, path) {
        let said = format!("also allows {} on {}", rule.capabilities.join(", "), rule.path);
        return Some(Finding::fail(about, said, format!("take path \"{}\" out of it", rule.path)));
    }
    if !others.is_empty() {
        let said = format!("allows {} on {} besides read", others.join(", "), rule.path);
        return Some(Finding::fail(
            about,
            said,
            format!("set in path \"{}\": capabilities = [\"read\"]", rule.path),
        ));
    }
    if !rule.more.is_empty() {
        let said =
            format!("has settings at {} that this check doesn't know: {}", rule.path, rule.more.join(", "));
        return Some(Finding::warn(about, said, "see to it that they don't stand in the way of a read"));
    }
    (!here).then(|| {
        let said = format!("allows reading {}, which is more than {path}", rule.path);
        Finding::warn(about, said, format!("write path \"{path}\" instead"))
    })
}
