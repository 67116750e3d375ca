//! What makes a target's credentials: the mount, the role, how long its leases last, and what ends an account.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Setup,
    duration::{at_least, ttl, words},
    finding::Finding,
    seen::there,
    statements,
    token_role::matches,
};
use crate::{
    access::target::Target,
    vault::inspect::{Connection, DatabaseRole, Engine, Inspection, Seen},
};

/// Engines whose answers to a read have no lease.
const WITHOUT_LEASES: [&str; 8] = ["cubbyhole", "generic", "identity", "kv", "pki", "ssh", "totp", "transit"];

/// A lease that is shorter at first could end before its end was set.
const FIRST_TTL_MIN: u64 = 60;

/// The bounds of each mount, against the longest window of its targets.
pub(super) fn mounts(setup: &Setup<'_>, seen: &Inspection) -> Vec<Finding> {
    let mut found = Vec::new();
    let none = |path: &str| {
        Finding::warn("mounts", format!("{path} isn't there"), "check that the address is Vault's")
    };
    there(&seen.mounts, &mut found, none);
    let mut longest: BTreeMap<&str, Duration> = BTreeMap::new();
    for target in setup.targets.values() {
        if let Some(place) = seen.places.get(&target.credential_path) {
            let window = longest.entry(&place.mount).or_default();
            *window = target.window_max.max(*window);
        }
    }
    for (mount, window) in longest {
        let Some(tuning) = seen.tunings.get(mount) else { continue };
        let about = format!("mount {mount}");
        let none = |path: &str| {
            Finding::warn(&about, format!("{path} isn't there"), "check that the address is Vault's")
        };
        let Some(tuning) = there(tuning, &mut found, none) else { continue };
        let needed = at_least(window);
        if tuning.max_lease_ttl < needed {
            let (bound, window) = (words(tuning.max_lease_ttl), words(needed));
            let said = format!("its leases end after {bound}, and the longest window on it is {window}");
            found.push(Finding::fail(
                about,
                said,
                format!("bao secrets tune -max-lease-ttl={} {mount}", ttl(needed)),
            ));
        }
    }
    found
}

/// One target's credential path and what is behind it.
pub(super) fn findings(target: &Target, seen: &Inspection) -> Vec<Finding> {
    let about = format!("target {}", target.name);
    let path = &target.credential_path;
    let Some(place) = seen.places.get(path) else {
        // Without the list of mounts, that is what there is to say.
        let known = matches!(seen.mounts, Seen::There(_));
        let said = format!("nothing is mounted where {path} begins");
        let advice = "bao secrets enable database, or correct credential_path";
        return known.then(|| Finding::fail(about, said, advice)).into_iter().collect();
    };
    match &place.engine {
        Engine::Database { role_path, role, connection_path, connection } => {
            database(target, &about, role_path, role, connection_path, connection)
        }
        Engine::DatabaseOther => vec![Finding::fail(
            about,
            format!("what {path} answers has no lease, so it can't be ended"),
            "use a path with creds/: static accounts can't be issued",
        )],
        Engine::Other(kind) if WITHOUT_LEASES.contains(&kind.as_str()) => vec![Finding::fail(
            about,
            format!("what the engine {kind} at {path} answers has no lease, so it can't be ended"),
            "use an engine with leases: docs/vault.md lists them",
        )],
        Engine::Other(kind) => vec![Finding::warn(
            about,
            format!("the engine {kind} at {path} isn't one that this check knows"),
            format!(
                "see to it that its leases can be renewed and last {}, and try what a revocation does there",
                words(at_least(target.window_max))
            ),
        )],
    }
}

fn database(
    target: &Target,
    about: &str,
    role_path: &str,
    role: &Seen<DatabaseRole>,
    connection_path: &str,
    connection: &Seen<Connection>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let none = |path: &str| {
        let said = format!("{path} isn't there, so {} makes nothing", target.credential_path);
        let advice =
            format!("bao write {path} @database-role.json, in deploy/vault; or correct credential_path");
        Finding::fail(about, said, advice)
    };
    let Some(role) = there(role, &mut found, none) else { return found };
    found.push(lengths(target, about, role_path, role));
    let none = |path: &str| {
        let said = format!("{role_path} uses {path}, which isn't there");
        Finding::fail(about, said, format!("bao write {path} @database-connection.json, in deploy/vault"))
    };
    let Some(connection) = there(connection, &mut found, none) else { return found };
    let name = role_path.rsplit('/').next().unwrap_or_default();
    if !connection.allowed_roles.iter().any(|allowed| matches(allowed, name)) {
        let more: Vec<&str> = connection.allowed_roles.iter().map(String::as_str).chain([name]).collect();
        let said = format!("{connection_path} doesn't allow the role {name}");
        found.push(Finding::fail(
            about,
            said,
            format!("bao write {connection_path} allowed_roles={}", more.join(",")),
        ));
    }
    found.extend(statements::findings(target, about, role_path, role, &connection.plugin_name));
    found
}

/// A lease is renewed to exactly the time left, so only the longest life matters, and that it lives until then.
fn lengths(target: &Target, about: &str, role_path: &str, role: &DatabaseRole) -> Finding {
    let needed = at_least(target.window_max);
    let (max, window) = (role.max_ttl, words(needed));
    if max != 0 && max < needed {
        let said = format!("max_ttl of {role_path} is {}, and window_max is {window}", words(max));
        return Finding::fail(about, said, format!("bao write {role_path} max_ttl={}", ttl(needed)));
    }
    if role.default_ttl != 0 && role.default_ttl < FIRST_TTL_MIN {
        let said = format!(
            "default_ttl of {role_path} is {}: a lease could end before its end is set",
            words(role.default_ttl)
        );
        return Finding::warn(about, said, format!("bao write {role_path} default_ttl=1h"));
    }
    Finding::ok(about, format!("{role_path} makes leases that can last {window}"))
}
