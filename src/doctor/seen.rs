//! What to say of what Vault didn't show.

use super::finding::Finding;
use crate::vault::{VaultError, inspect::Seen};

/// What is there. What isn't becomes a finding: an absence the one that `absent` makes of the path.
pub(super) fn there<'a, T>(
    seen: &'a Seen<T>,
    found: &mut Vec<Finding>,
    absent: impl FnOnce(&str) -> Finding,
) -> Option<&'a T> {
    match seen {
        Seen::There(thing) => return Some(thing),
        Seen::Absent(path) => found.push(absent(path)),
        Seen::Denied(right) => {
            let said = format!("{} on {} is missing, so it can't be looked at", right.capability, right.path);
            found.push(Finding::warn("rights", said, policy_line(&right.path, &[right.capability])));
        }
        Seen::Failed(error) => found.push(failed(error)),
        Seen::NotAsked => {
            let said = "stopped answering, so the rest wasn't looked at";
            found.push(Finding::warn("vault", said, "run this again when Vault answers"));
        }
    }
    None
}

/// An error of Vault's.
pub(super) fn failed(error: &VaultError) -> Finding {
    Finding::error("vault", &format!("{}: {}", error.operation, error.reason), "look at Vault's own log")
}

/// What a policy needs.
pub(super) fn policy_line(path: &str, capabilities: &[&str]) -> String {
    let capabilities: Vec<_> = capabilities.iter().map(|capability| format!("\"{capability}\"")).collect();
    format!("add to the daemon's policy: path \"{path}\" {{ capabilities = [{}] }}", capabilities.join(", "))
}
