//! What a database role does to an account at its end, against what the target promises its approvers; and whether the
//! database knows the account's end by itself.
//!
//! Statements are searched for words, not understood: one that calls a procedure of yours which ends the sessions isn't
//! recognised, and one that names a word without doing it is.

use super::finding::Finding;
use crate::{
    access::target::{EarlyRevocation, Target},
    vault::inspect::DatabaseRole,
};

/// What ends sessions, one statement a line: from `deploy/vault/database-role.json`.
const POSTGRESQL: &str = "\
set its revocation_statements as in deploy/vault/database-role.json, in this order:
ALTER ROLE \"{{name}}\" NOLOGIN;
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{{name}}';
DROP ROLE IF EXISTS \"{{name}}\";
or say in the configuration: early_revocation = \"stops_new_logins\"";

const OTHERWISE: &str =
    "say in the configuration: early_revocation = \"stops_new_logins\"; or have them end the sessions";

/// The kinds of databases that this check knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    PostgreSql,
    MySql,
    Unknown,
}

impl Kind {
    fn of(plugin: &str) -> Self {
        match plugin {
            postgresql if postgresql.contains("postgresql") => Self::PostgreSql,
            mysql if mysql.contains("mysql") => Self::MySql,
            _ => Self::Unknown,
        }
    }
}

/// The end of an account: early, and by itself.
pub(super) fn findings(
    target: &Target,
    about: &str,
    role_path: &str,
    role: &DatabaseRole,
    plugin: &str,
) -> Vec<Finding> {
    let kind = Kind::of(plugin);
    let mut found = Vec::new();
    if target.early_revocation == EarlyRevocation::EndsSessions {
        found.push(ends_sessions(about, role_path, role, kind, plugin));
    }
    if kind == Kind::PostgreSql {
        found.extend(third_clock(about, role_path, role));
    }
    found
}

fn ends_sessions(about: &str, role_path: &str, role: &DatabaseRole, kind: Kind, plugin: &str) -> Finding {
    let statements = role.revocation_statements.join(" ").to_lowercase();
    let whose = if role.revocation_statements.is_empty() {
        "the plugin's own revocation statements".to_owned()
    } else {
        format!("the revocation_statements of {role_path}")
    };
    let left_open =
        format!("{whose} leave open sessions as they are, and early_revocation promises \"ends_sessions\"");
    let ends = Finding::ok(about, format!("{whose} end open sessions"));
    match (kind, statements.find("pg_terminate_backend"), statements.find("nologin")) {
        (Kind::PostgreSql, None, _) => Finding::fail(about, left_open, POSTGRESQL),
        (Kind::PostgreSql, Some(end), Some(no_login)) if no_login < end => ends,
        (Kind::PostgreSql, Some(_), _) => {
            let said = format!(
                "{whose} end the sessions before the login is taken away: one that begins meanwhile stays"
            );
            Finding::warn(about, said, "put first: ALTER ROLE \"{{name}}\" NOLOGIN;")
        }
        (Kind::MySql, ..) if statements.contains("kill") => ends,
        (Kind::MySql, ..) => Finding::fail(about, left_open, OTHERWISE),
        (Kind::Unknown, ..) => {
            let said = format!("whether {whose} end open sessions isn't known for {plugin}");
            Finding::warn(about, said, "try it: open a session, release the grant, and look")
        }
    }
}

/// Clock 3: the database refuses the login by itself, if it was told the end and every change of it.
fn third_clock(about: &str, role_path: &str, role: &DatabaseRole) -> Option<Finding> {
    let tells = |statements: &[String]| {
        let text = statements.join(" ").to_lowercase();
        text.contains("valid until") && text.contains("{{expiration}}")
    };
    let advice = |key: &str, statement: &str| {
        format!("have its {key} say: {statement} VALID UNTIL '{{{{expiration}}}}'")
    };
    if !tells(&role.creation_statements) {
        let said = format!("the accounts of {role_path} have no end of their own, if Vault is dead");
        return Some(Finding::warn(about, said, advice("creation_statements", "CREATE ROLE …")));
    }
    // The plugin's own do.
    if !role.renew_statements.is_empty() && !tells(&role.renew_statements) {
        let said = format!("the renew_statements of {role_path} don't move the accounts' own end");
        return Some(Finding::warn(about, said, advice("renew_statements", "ALTER ROLE \"{{name}}\"")));
    }
    None
}
