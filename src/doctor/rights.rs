//! The daemon's own rights in Vault: those that it needs, to revoke before all, and those that it should not have.

use std::collections::BTreeMap;

use super::{
    finding::Finding,
    seen::{failed, policy_line, there},
};
use crate::vault::{
    MissingCapability,
    inspect::{Excess, Inspection, Seen},
};

const ABOUT: &str = "rights";

/// What is missing and what is too much.
pub(super) fn findings(seen: &Inspection) -> Vec<Finding> {
    let mut found = match &seen.missing {
        Err(error) => vec![failed(error)],
        Ok(missing) if missing.is_empty() => {
            vec![Finding::ok(ABOUT, "everything that revoking and issuing need is granted")]
        }
        Ok(missing) => lacking(missing),
    };
    // A missing right to ask is among the others already.
    if !matches!(seen.excess, Seen::Denied(_)) {
        let none = |path: &str| {
            Finding::warn(ABOUT, format!("{path} isn't there"), "check that the address is Vault's")
        };
        let excess = there(&seen.excess, &mut found, none);
        found.extend(excess.into_iter().flatten().map(too_much));
    }
    if let Seen::There(own) = &seen.own
        && own.policies.iter().any(|policy| policy == "root")
    {
        found.push(Finding::fail(
            ABOUT,
            "the daemon may do everything in Vault",
            "give its AppRole only the policy hallpassd, from deploy/vault/hallpassd.hcl",
        ));
    }
    found
}

/// One finding for each path, in the order in which they are needed.
fn lacking(missing: &[MissingCapability]) -> Vec<Finding> {
    let mut order = Vec::new();
    let mut by_path: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for MissingCapability { path, capability } in missing {
        let capabilities = by_path.entry(path).or_default();
        if capabilities.is_empty() {
            order.push(path.as_str());
        }
        capabilities.push(capability);
    }
    let finding = |path: &str| {
        let capabilities = by_path.get(path)?;
        let said = format!("{} on {path} is missing: {}", capabilities.join(" and "), use_of(path));
        Some(Finding::fail(ABOUT, said, policy_line(path, capabilities)))
    };
    order.into_iter().filter_map(finding).collect()
}

/// What goes wrong without the right.
fn use_of(path: &str) -> &'static str {
    match path {
        "auth/token/revoke-accessor" | "sys/leases/revoke" => "what was issued couldn't be ended",
        "sys/leases/lookup" | "auth/token/lookup-accessor" => "an end couldn't be confirmed",
        "auth/token/renew-accessor" | "sys/leases/renew" => "the end of a grant couldn't be set",
        "auth/token/renew-self" | "auth/token/lookup-self" => "the login couldn't be kept",
        "sys/capabilities-self" => "the other rights couldn't be asked for",
        create if create.starts_with("auth/token/create/") => "no grant's token could be made",
        list if list.starts_with("sys/leases/lookup/") => "a credential's lease couldn't be found",
        _ => "hallpass works only with it",
    }
}

fn too_much(excess: &Excess) -> Finding {
    let Excess { path, capability } = excess;
    let take = format!("take {capability} on {path} from the daemon's policies");
    match *capability {
        "read" => {
            Finding::fail(ABOUT, format!("the daemon itself may read {path}, and so see a credential"), take)
        }
        _ => Finding::warn(
            ABOUT,
            format!("the daemon may use {path}, which ends more than one grant or forgets a lease"),
            take,
        ),
    }
}
