//! Reaching Vault, the daemon's login there, and the two clocks.

use std::path::Path;

use chrono::{DateTime, Datelike, TimeDelta, Utc};

use super::{
    Setup,
    finding::Finding,
    seen::{failed, policy_line, there},
};
use crate::vault::{
    VaultError,
    inspect::{Inspection, SecretId, Seen},
};

/// Where systemd puts credentials. It opens them to the unit's user by an access list, which shows as the group's bits.
const BY_SYSTEMD: &str = "/run/credentials";

/// How far apart the clocks may be.
const CLOCKS_MAX: TimeDelta = TimeDelta::seconds(1);

/// How long before its end a secret id is worth a word.
const SECRET_ID_SOON: TimeDelta = TimeDelta::days(7);

const NEW_SECRET_ID: &str = "make a new one and replace the file: \"Changing things\" in docs/operations.md";

/// The file with the secret id. The configuration refuses one that is open to everybody.
pub(super) fn file(file: &Path, mode: Option<u32>) -> Option<Finding> {
    let open = mode.is_some_and(|mode| mode & 0o070 != 0) && !file.starts_with(BY_SYSTEMD);
    let shown = file.display();
    open.then(|| {
        let said = format!("{shown} is open to a group");
        Finding::warn("secret id", said, format!("chmod 0600 {shown}"))
    })
}

/// Vault can't be reached or doesn't let the daemon in: nothing else can be looked at there.
pub(super) fn unreached(setup: &Setup<'_>, error: &VaultError) -> Finding {
    let otherwise = "check role_id, approle_mount and namespace, and that the secret id is still good";
    Finding::error(format!("vault {}", setup.vault), &error.reason, otherwise)
}

/// The login, its secret id, and the clocks.
pub(super) fn findings(setup: &Setup<'_>, seen: &Inspection, now: DateTime<Utc>) -> Vec<Finding> {
    let mut found = Vec::new();
    let about = format!("vault {}", setup.vault);
    let none = |path: &str| {
        Finding::fail("vault", format!("{path} isn't there"), "check that the address is Vault's")
    };
    if let Some(own) = there(&seen.own, &mut found, none) {
        found.push(Finding::ok(about, format!("logged in, with the policies {}", own.policies.join(", "))));
    }
    found.push(clocks(seen));
    match &seen.secret_id {
        Seen::NotAsked => {}
        other => {
            let none = |path: &str| Finding::warn("secret id", format!("{path} isn't there"), NEW_SECRET_ID);
            let secret_id = there(other, &mut found, none);
            found.extend(secret_id.map(|secret_id| lasts(secret_id, &app_role(setup, seen), now)));
        }
    }
    found
}

fn clocks(seen: &Inspection) -> Finding {
    let about = "clocks";
    match seen.clock_ahead {
        Err(ref error) => Finding { about: about.into(), ..failed(error) },
        Ok(ahead) if ahead.abs() <= CLOCKS_MAX => {
            Finding::ok(about, "this machine and Vault agree to within a second")
        }
        Ok(ahead) => {
            let word = if ahead > TimeDelta::zero() { "ahead of" } else { "behind" };
            let seconds = ahead.abs().num_milliseconds() / 1000;
            let said =
                format!("this machine is more than {seconds} s {word} Vault; windows end at the wrong time");
            Finding::fail(
                about,
                said,
                "synchronise both machines, with systemd-timesyncd or chrony; `timedatectl` says how each stands",
            )
        }
    }
}

/// Where the daemon's `AppRole` is configured, as far as the login says.
fn app_role(setup: &Setup<'_>, seen: &Inspection) -> String {
    let meta = if let Seen::There(own) = &seen.own { own.meta.as_ref() } else { None };
    let name = meta.and_then(|meta| meta.get("role_name")).map_or("<role>", String::as_str);
    format!("auth/{}/role/{name}", setup.approle_mount)
}

/// Without a good secret id the next login fails, and then nothing can be revoked.
fn lasts(secret_id: &SecretId, app_role: &str, now: DateTime<Utc>) -> Finding {
    let about = "secret id";
    if secret_id.secret_id_num_uses > 0 {
        let said = format!(
            "is good for {} more logins only, this check having used one",
            secret_id.secret_id_num_uses
        );
        return Finding::fail(
            about,
            said,
            format!("bao write {app_role} secret_id_num_uses=0, then {NEW_SECRET_ID}"),
        );
    }
    match secret_id.expiration_time.filter(|at| at.year() > 1) {
        None => Finding::ok(about, "doesn't expire"),
        Some(at) if at - now < SECRET_ID_SOON => {
            Finding::warn(about, format!("expires at {}", at.format("%Y-%m-%d %H:%M UTC")), NEW_SECRET_ID)
        }
        Some(at) => Finding::ok(about, format!("is good until {}", at.format("%Y-%m-%d"))),
    }
}

/// Whether the login of this check was ended.
pub(super) fn ended(seen: &Inspection) -> Option<Finding> {
    let error = seen.logged_out.as_ref().err()?;
    let said = format!("the login of this check lives on until it expires: {}", error.reason);
    Some(Finding::warn("vault", said, policy_line("auth/token/revoke-accessor", &["update"])))
}
