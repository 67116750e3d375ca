//! Whether the daemon may do what it will have to do, asked before it issues anything: a missing right to revoke must
//! not be found out at the revocation.
//!
//! The other way round, a right to read a credential path is one too many: only a grant's token has it. That is logged.

use std::collections::HashMap;

use super::{
    MissingCapability, VaultError,
    endpoints::AskCapabilities,
    error::{Failure, Operation},
    lane::Lane,
};

const ASK: Operation = Operation::new("ask for the capabilities", "sys/capabilities-self", "update");

/// What is needed whatever the targets are; the rights to end access come first.
const NEEDED: [(&str, &str); 8] = [
    ("auth/token/revoke-accessor", "update"),
    ("sys/leases/revoke", "update"),
    ("sys/leases/lookup", "update"),
    ("auth/token/lookup-accessor", "update"),
    ("auth/token/renew-accessor", "update"),
    ("sys/leases/renew", "update"),
    ("auth/token/renew-self", "update"),
    ("auth/token/lookup-self", "read"),
];

/// The capabilities that Vault says the daemon has, by path.
pub(super) type Granted = HashMap<String, Vec<String>>;

impl Lane {
    /// The rights that are missing, in one call. If asking is denied, that is what is missing.
    pub(super) async fn missing(&self, paths: &[&str]) -> Result<Vec<MissingCapability>, VaultError> {
        let needed = needed(&self.token_role, paths);
        let mut asked: Vec<_> = needed.iter().map(|need| need.path.clone()).collect();
        asked.extend(paths.iter().map(|path| (*path).to_owned()));
        let answer = match self.ask(|| AskCapabilities { paths: asked.clone() }).await {
            Err(failure) if failure.is(403) => {
                return Ok(vec![MissingCapability { path: ASK.path.into_owned(), capability: "update" }]);
            }
            other => other.map_err(|f| ASK.error(&f, &[]))?,
        };
        let granted = answer.data.ok_or_else(|| ASK.error(&Failure::Unreadable, &[]))?;
        for path in paths.iter().filter(|path| reads(&granted, path)) {
            tracing::warn!(
                event.action = "right-too-much",
                hallpass.vault.path = path,
                "the daemon itself may read this credential path; take the right from its policy"
            );
        }
        Ok(lacking(needed, &granted))
    }
}

fn needed(token_role: &str, paths: &[&str]) -> Vec<MissingCapability> {
    let need = |path: &str, capability| MissingCapability { path: path.to_owned(), capability };
    let mut all: Vec<_> = NEEDED.iter().map(|(path, capability)| need(path, capability)).collect();
    all.push(need(&format!("auth/token/create/{token_role}"), "update"));
    for path in paths {
        let list = format!("sys/leases/lookup/{path}/");
        all.extend([need(&list, "list"), need(&list, "sudo")]);
    }
    all
}

/// What of the needed isn't granted. A path that the answer doesn't name is not granted.
fn lacking(needed: Vec<MissingCapability>, granted: &Granted) -> Vec<MissingCapability> {
    needed.into_iter().filter(|need| !grants(granted, &need.path, need.capability)).collect()
}

/// Whether a capability is granted, by itself or because everything is.
pub(super) fn grants(granted: &Granted, path: &str, capability: &str) -> bool {
    let Some(held) = granted.get(path) else { return false };
    let has = |wanted: &str| held.iter().any(|c| c == wanted);
    !has("deny") && (has("root") || has(capability))
}

/// Whether a credential path may be read. A root token may read everything, and whoever uses one knows it.
pub(super) fn reads(granted: &Granted, path: &str) -> bool {
    grants(granted, path, "read") && !grants(granted, path, "root")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(of: &[(&str, &[&str])]) -> Granted {
        of.iter().map(|(p, cs)| ((*p).to_owned(), cs.iter().map(|c| (*c).to_owned()).collect())).collect()
    }

    fn all(with: &[&str]) -> Granted {
        needed("role", &["db/creds/a"])
            .into_iter()
            .map(|n| (n.path, with.iter().map(|c| (*c).to_owned()).collect()))
            .collect()
    }

    fn missing(granted: &Granted) -> Vec<(String, &'static str)> {
        lacking(needed("role", &["db/creds/a"]), granted)
            .into_iter()
            .map(|m| (m.path, m.capability))
            .collect()
    }

    #[test]
    fn revocation_comes_first() {
        assert_eq!(missing(&Granted::new())[0], ("auth/token/revoke-accessor".into(), "update"));
    }

    #[test]
    fn nothing_is_missing_with_everything_or_as_root() {
        assert!(missing(&all(&["update", "list", "sudo", "read"])).is_empty());
        assert!(missing(&all(&["root"])).is_empty());
    }

    #[test]
    fn deny_beats_what_stands_beside_it() {
        assert_eq!(missing(&all(&["deny", "update", "list", "sudo", "read"])).len(), 11);
    }

    #[test]
    fn the_list_takes_sudo_too() {
        let mut held = all(&["update", "read", "list"]);
        assert_eq!(missing(&held), [("sys/leases/lookup/db/creds/a/".into(), "sudo")]);
        held.remove("auth/token/create/role");
        assert_eq!(missing(&held)[0], ("auth/token/create/role".into(), "update"));
    }

    #[test]
    fn a_right_to_read_credentials_is_noticed() {
        assert!(reads(&granted(&[("db/creds/a", &["read"])]), "db/creds/a"));
        assert!(!reads(&granted(&[("db/creds/a", &["deny"])]), "db/creds/a"));
        assert!(!reads(&granted(&[("db/creds/a", &["root"])]), "db/creds/a"));
    }
}
