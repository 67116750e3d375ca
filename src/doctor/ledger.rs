//! The key in Vault that signs the audit log.

use super::{
    Setup,
    finding::Finding,
    seen::{policy_line, there},
};
use crate::vault::inspect::{Inspection, LedgerKey};

const ABOUT: &str = "ledger key";

/// The key, and the right to sign by it; nothing if a file has the key.
pub(super) fn findings(setup: &Setup<'_>, seen: &Inspection) -> Vec<Finding> {
    let Some(key) = setup.ledger_key else { return Vec::new() };
    let (mut found, path) = (Vec::new(), key.key_path());
    let none = |path: &str| {
        let said = format!("{path} isn't there, so the audit log can't be signed");
        Finding::fail(ABOUT, said, format!("bao write -f {path} type=ed25519"))
    };
    if let Some(key) = there(&seen.ledger_key, &mut found, none) {
        found.extend(of_key(&path, key));
    }
    let none =
        |path: &str| Finding::warn(ABOUT, format!("{path} isn't there"), "check that the address is Vault's");
    if there(&seen.may_sign, &mut found, none) == Some(&false) {
        let said = "the daemon may not sign by it, so the audit log can't be signed";
        found.push(Finding::fail(ABOUT, said, policy_line(&key.sign_path(), &["update"])));
    }
    if found.is_empty() {
        found.push(Finding::ok(ABOUT, format!("{path} signs, and can't leave Vault")));
    }
    found
}

fn of_key(path: &str, key: &LedgerKey) -> Vec<Finding> {
    if key.kind != "ed25519" || key.derived {
        let said = format!("{path} isn't a plain ed25519 key, so the audit log can't be signed");
        let advice =
            "make one that is, under another name: bao write -f … type=ed25519; and name it in transit_key";
        return vec![Finding::fail(ABOUT, said, advice)];
    }
    let mut found = Vec::new();
    if key.exportable || key.allow_plaintext_backup {
        let said = format!("{path} can be taken out of Vault; who has it can sign another log by this name");
        let advice = "make one that can't, under another name, and give the log another origin";
        found.push(Finding::warn(ABOUT, said, advice));
    }
    if key.deletion_allowed {
        let said = format!("{path} can be deleted, and what it signed couldn't be gone on from");
        found.push(Finding::warn(ABOUT, said, format!("bao write {path}/config deletion_allowed=false")));
    }
    found
}
