//! What doctor finds in Vault, and about reaching it.

use std::{collections::BTreeSet, fs, net::TcpListener, path::PathBuf, process::Command};

use serde_json::{Value, json};

use super::{Diagnosis, defect, fails, is_well, warns};
use crate::support::{
    servers::eventually,
    world::{Wishes, World},
};

fn token_role(world: &World) -> String {
    format!("auth/token/roles/hallpass-grant-{}", world.name)
}

fn database_role(world: &World) -> String {
    format!("database-{}/roles/hp-orders-ro", world.name)
}

fn deployed(world: &World, file: &str) -> Value {
    serde_json::from_str(&world.deployed_text(file)).unwrap()
}

#[tokio::test]
async fn the_deployed_files_are_well_and_people_are_told_so() {
    let world = World::start().await;
    is_well(&world);
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpassd"));
    let output = command.args(["doctor", "--config"]).arg(world.config_file()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{text}");
    assert!(text.lines().last().unwrap().ends_with("ok, 0 to think about, 0 wrong"), "{text}");
    assert!(text.lines().rev().skip(1).all(|line| line.starts_with("ok    ")), "{text}");
    let secret_id = fs::read_to_string(world.dir.join("vault-secret-id")).unwrap();
    assert!(!text.contains(&secret_id));
    assert_eq!(world.accounts().await, Vec::<String>::new(), "nothing was issued");
}

#[tokio::test]
async fn the_key_that_signs_the_log() {
    let world = World::start().await;
    let path = format!("transit-{}/keys/hallpass-ledger", world.name);
    let about = || "ledger key".to_owned();
    world.bao.write(&format!("{path}/config"), json!({ "deletion_allowed": true })).await;
    world.bao.shell(&warns(&world, &defect(about(), "can be deleted", "deletion_allowed=false")));
    is_well(&world);
    let sign =
        format!("path \"transit-{}/sign/hallpass-ledger\" {{ capabilities = [\"update\"] }}", world.name);
    let policy = world.deployed_text("hallpassd.hcl");
    assert!(policy.contains(&sign), "{policy}");
    let name = format!("hallpassd-{}", world.name);
    world.write_policy(&name, &policy.replace(&sign, "")).await;
    fails(&world, &defect(about(), "may not sign by it", "capabilities = [\"update\"]"));
    world.write_policy(&name, &policy).await;
    world.bao.write(&format!("{path}/config"), json!({ "deletion_allowed": true })).await;
    world.bao.delete(&path).await;
    world
        .bao
        .shell(&fails(&world, &defect(about(), "isn't there", &format!("bao write -f {path} type=ed25519"))));
    is_well(&world);
    world.bao.write(&format!("{path}/config"), json!({ "exportable": true })).await;
    warns(&world, &defect(about(), "can be taken out of Vault", "another origin"));
    world.bao.write(&format!("{path}/config"), json!({ "deletion_allowed": true })).await;
    world.bao.delete(&path).await;
    world.bao.write(&path, json!({ "type": "aes256-gcm96" })).await;
    fails(&world, &defect(about(), "isn't a plain ed25519 key", "transit_key"));
}

#[tokio::test]
async fn a_bad_configuration_is_64_as_elsewhere() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpassd"));
    let output = command.args(["doctor", "--config", "/nonexistent"]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(64), 0), "{output:?}");
}

#[tokio::test]
async fn every_setting_of_the_token_role() {
    let world = World::start().await;
    let (path, about) = (token_role(&world), format!("token role hallpass-grant-{}", world.name));
    for (wrong, said) in [
        (json!({ "orphan": false }), "orphan is false"),
        (json!({ "renewable": false }), "renewable is false"),
        (json!({ "token_no_default_policy": false }), "could renew itself"),
        (json!({ "token_period": "1h" }), "has a period"),
        (json!({ "token_num_uses": 3 }), "token_num_uses is set"),
        (
            json!({ "token_explicit_max_ttl": "30m" }),
            "its tokens end after 30m, and the longest window is 1h",
        ),
        (
            json!({ "allowed_policies_glob": "other-*" }),
            "doesn't let a token carry the policy cred-orders-ro",
        ),
        (json!({ "disallowed_policies_glob": "*" }), "doesn't let a token carry the policy cred-orders-ro"),
    ] {
        world.bao.write(&path, wrong.clone()).await;
        let advice = fails(&world, &defect(about.clone(), said, &format!("bao write {path} ")));
        if wrong.get("disallowed_policies_glob").is_some() {
            world.bao.write(&path, json!({ "disallowed_policies_glob": [] })).await;
        } else {
            world.bao.shell(&advice);
        }
        is_well(&world);
    }
    world.bao.write(&path, json!({ "token_explicit_max_ttl": 0 })).await;
    world.bao.shell(&warns(&world, &defect(about.clone(), "isn't set", "token_explicit_max_ttl=1h")));
    is_well(&world);
    // Vault takes this kind only together with another defect.
    let batch = json!({ "token_type": "batch", "renewable": false, "token_explicit_max_ttl": 0 });
    world.bao.write(&path, batch).await;
    let wrong: Vec<_> = Diagnosis::of(&world.config_file()).with("fail").into_iter().cloned().collect();
    let advice: Vec<_> = wrong.iter().map(|finding| finding["advice"].as_str().unwrap()).collect();
    assert!(wrong.iter().any(|finding| finding["said"].as_str().unwrap().contains("batch")), "{wrong:#?}");
    assert_eq!(advice.len(), 2, "{wrong:#?}");
    advice.iter().rev().for_each(|advice| world.bao.shell(advice));
    warns(&world, &defect(about.clone(), "isn't set", "token_explicit_max_ttl"));
    world.bao.delete(&path).await;
    fails(&world, &defect(about, "isn't there", "@token-role.json"));
}

#[tokio::test]
async fn a_policy_that_does_not_enforce_wrapping_or_allows_more() {
    let world = World::start().await;
    let name = format!("cred-orders-ro-{}", world.name);
    let about = format!("policy {name}");
    let good = world.deployed_text("cred-orders-ro.hcl");
    let change = |from: &str, to: &str| good.replace(from, to);
    let one_read = "\"read\"]";
    for (policy, said, advice) in [
        (change("min_wrapping_ttl = \"1s\"", ""), "doesn't enforce wrapping", "min_wrapping_ttl = \"1s\""),
        (change("\"1s\"", "0"), "doesn't enforce wrapping", "min_wrapping_ttl = \"1s\""),
        (change("\"1s\"", "\"6m\""), "longer than the configuration's wrap_ttl, 5m", "min_wrapping_ttl"),
        (change("\"10m\"", "60"), "shorter than the configuration's wrap_ttl, 5m", "max_wrapping_ttl"),
        (change(one_read, "\"list\"]"), "doesn't let a grant's token read", "min_wrapping_ttl = \"1s\""),
        (change(one_read, "\"read\", \"update\"]"), "allows update", "capabilities = [\"read\"]"),
        (
            good.clone() + "path \"auth/token/renew-self\" { capabilities = [\"update\"] }",
            "also allows update on auth/token/renew-self",
            "take path \"auth/token/renew-self\" out of it",
        ),
        (change("hp-orders-ro", "hp-other"), "doesn't let a grant's token read", "hp-orders-ro"),
    ] {
        world.write_policy(&name, &policy).await;
        let diagnosis = Diagnosis::of(&world.config_file());
        assert_eq!(diagnosis.code, Some(1), "{policy}");
        let fails = diagnosis.with("fail");
        let told = |finding: &&&Value| {
            finding["about"] == about.as_str()
                && finding["said"].as_str().unwrap().contains(said)
                && finding["advice"].as_str().unwrap().contains(advice)
        };
        assert_eq!(fails.iter().filter(told).count(), 1, "{said} in {fails:#?}");
    }
    world.write_policy(&name, &change("hp-orders-ro", "hp-*")).await;
    warns(&world, &defect(about.clone(), "allows reading", "instead"));
    // What Vault understands and the parser here doesn't is no failure.
    let on_one_line = good.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join(" ");
    world.write_policy(&name, &on_one_line).await;
    warns(&world, &defect(about.clone(), "can't be read here", "a line of its own"));
    let path = world.credential_path();
    let as_json = json!({ "path": { path: { "capabilities": ["read"], "min_wrapping_ttl": "1s" } } });
    world.write_policy(&name, &as_json.to_string()).await;
    is_well(&world);
    world.bao.delete(&format!("sys/policies/acl/{name}")).await;
    let advice = fails(&world, &defect(about, "isn't there", "bao policy write"));
    let (_, block) = advice.split_once('\n').unwrap();
    world.write_policy(&name, block).await;
    is_well(&world);
}

#[tokio::test]
async fn a_role_whose_leases_are_too_short_or_whose_sessions_stay() {
    let world = World::start().await;
    let (path, about) = (database_role(&world), "target orders-ro");
    let good = deployed(&world, "database-role.json");
    for (wrong, said, advice) in [
        (json!({ "default_ttl": "10m", "max_ttl": "30m" }), "is 30m, and window_max is 1h", "max_ttl=1h"),
        (
            json!({ "revocation_statements": [] }),
            "the plugin's own revocation statements leave open sessions",
            "SELECT pg_terminate_backend(pid)",
        ),
        (
            json!({ "revocation_statements": ["DROP ROLE IF EXISTS \"{{name}}\";"] }),
            "leave open sessions",
            "early_revocation = \"stops_new_logins\"",
        ),
    ] {
        world.bao.write(&path, wrong).await;
        let advice = fails(&world, &defect(about, said, advice));
        if advice.starts_with("bao ") {
            world.bao.shell(&advice);
            is_well(&world);
        }
        world.bao.write(&path, good.clone()).await;
    }
    let statements = &good["revocation_statements"];
    for (wrong, said, advice) in [
        (
            json!({ "revocation_statements": [statements[1], statements[0]] }),
            "one that begins meanwhile stays",
            "NOLOGIN",
        ),
        (
            json!({ "creation_statements": ["CREATE ROLE \"{{name}}\""] }),
            "have no end of their own",
            "VALID UNTIL",
        ),
        (json!({ "renew_statements": ["SELECT 1"] }), "don't move the accounts' own end", "VALID UNTIL"),
        (json!({ "default_ttl": "30s" }), "could end before its end is set", "default_ttl=1h"),
    ] {
        world.bao.write(&path, wrong).await;
        warns(&world, &defect(about, said, advice));
        world.bao.write(&path, good.clone()).await;
    }
    world.bao.delete(&path).await;
    fails(&world, &defect(about, "isn't there", "@database-role.json"));
    world.bao.write(&path, good).await;
    let connection = format!("database-{}/config/orders", world.name);
    world.bao.write(&connection, json!({ "allowed_roles": ["another"], "verify_connection": false })).await;
    world.bao.shell(&fails(
        &world,
        &defect(about, "doesn't allow the role hp-orders-ro", "allowed_roles=another,hp-orders-ro"),
    ));
    is_well(&world);
    world.bao.delete(&connection).await;
    fails(&world, &defect(about, "which isn't there", "@database-connection.json"));
}

#[tokio::test]
async fn bounds_of_mounts_count_too() {
    let world = World::with(Wishes { own_vault: true, ..Wishes::default() }).await;
    let mount = format!("mount database-{}/", world.name);
    let tune = format!("sys/mounts/database-{}/tune", world.name);
    world.bao.write(&tune, json!({ "default_lease_ttl": "10m", "max_lease_ttl": "10m" })).await;
    world.bao.shell(&fails(
        &world,
        &defect(mount, "its leases end after 10m", "bao secrets tune -max-lease-ttl=1h"),
    ));
    is_well(&world);
    let short = json!({ "default_lease_ttl": "10m", "max_lease_ttl": "10m" });
    world.bao.write("sys/mounts/auth/token/tune", short).await;
    world
        .bao
        .shell(&fails(&world, &defect("token mount", "no token lasts longer than 10m", "bao auth tune")));
    is_well(&world);
}

#[tokio::test]
async fn targets_that_could_never_issue() {
    let target = |name: &str, path: &str| {
        format!(
            "[targets.{name}]\ndescription = \"x\"\ncredential_path = \"{path}\"\nvault_policy = \"cred-orders-ro-@\"\n\
             window_max = \"1h\"\ndecide_within = \"1h\"\nclaim_within = \"1h\"\nrequesters = []\n\
             approvers = [\"x\"]\nearly_revocation = \"expires_only\"\n"
        )
    };
    let more = target("unmounted", "nowhere/creds/x")
        + &target("unmade", "database-@/creds/hp-none")
        + &target("static", "database-@/static-creds/hp-x")
        + &target("leaseless", "secret-@/x");
    let world = World::with(Wishes { more, ..Wishes::default() }).await;
    world.bao.write(&format!("sys/mounts/secret-{}", world.name), json!({ "type": "kv" })).await;
    let diagnosis = Diagnosis::of(&world.config_file());
    assert_eq!(diagnosis.code, Some(1));
    for (target, said, advice) in [
        ("unmounted", "nothing is mounted", "credential_path"),
        ("unmade", "isn't there", "@database-role.json"),
        ("static", "has no lease", "creds/"),
        ("leaseless", "the engine kv", "leases"),
    ] {
        let finding = diagnosis.about("fail", &format!("target {target}"));
        super::says(finding, &defect("", said, advice));
    }
}

#[tokio::test]
async fn rights_that_are_missing_and_rights_that_are_too_much() {
    let world = World::start().await;
    let name = format!("hallpassd-{}", world.name);
    let good = world.deployed_text("hallpassd.hcl");
    let without =
        |line: &str| good.lines().filter(|each| !each.starts_with(line)).collect::<Vec<_>>().join("\n");
    for (path, said) in [
        ("auth/token/revoke-accessor", "what was issued couldn't be ended"),
        ("sys/leases/revoke", "what was issued couldn't be ended"),
        ("sys/leases/lookup", "an end couldn't be confirmed"),
        ("sys/leases/renew", "the end of a grant couldn't be set"),
        ("sys/capabilities-self", "couldn't be asked for"),
    ] {
        let policy = without(&format!("path \"{path}\""));
        world.write_policy(&name, &policy).await;
        let advice = fails(
            &world,
            &defect("rights", said, &format!("path \"{path}\" {{ capabilities = [\"update\"] }}")),
        );
        let (_, line) = advice.split_once(": ").unwrap();
        world.write_policy(&name, &format!("{policy}\n{line}")).await;
        is_well(&world);
    }
    let policy = without(&format!("path \"sys/leases/lookup/database-{}", world.name));
    world.write_policy(&name, &policy).await;
    let advice =
        fails(&world, &defect("rights", "list and sudo on sys/leases/lookup/", "[\"list\", \"sudo\"]"));
    let (_, line) = advice.split_once(": ").unwrap();
    world.write_policy(&name, &format!("{policy}\n{line}")).await;
    is_well(&world);

    let path = world.credential_path();
    world.write_policy(&name, &format!("{good}\npath \"{path}\" {{ capabilities = [\"read\"] }}")).await;
    fails(&world, &defect("rights", "and so see a credential", &format!("take read on {path}")));
    let force = "path \"sys/leases/revoke-force/*\" { capabilities = [\"update\", \"sudo\"] }";
    world.write_policy(&name, &format!("{good}\n{force}")).await;
    warns(
        &world,
        &defect(
            "rights",
            "ends more than one grant or forgets a lease",
            "take sudo on sys/leases/revoke-force/",
        ),
    );
}

#[tokio::test]
async fn what_may_not_be_looked_at_is_a_warning_with_the_line_to_add() {
    let only_what_is_needed = |policy: String| {
        let (before, rest) = policy.split_once("# Only for `hallpassd doctor`").unwrap();
        let after = rest.split_once("\n\n").map_or("", |(_, after)| after);
        format!("{before}{after}")
    };
    let world = World::with(Wishes { daemon_policy: only_what_is_needed, ..Wishes::default() }).await;
    let name = format!("hallpassd-{}", world.name);
    let mut policy = only_what_is_needed(world.deployed_text("hallpassd.hcl"));
    // Some lines are only found missing when others are there.
    for _ in 0..4 {
        let diagnosis = Diagnosis::of(&world.config_file());
        assert_eq!((diagnosis.code, diagnosis.with("fail").len()), (Some(0), 0), "{diagnosis:#?}");
        for warning in diagnosis.with("warn") {
            let advice = warning["advice"].as_str().unwrap();
            policy.push('\n');
            policy.push_str(advice.strip_prefix("add to the daemon's policy: ").unwrap());
        }
        world.write_policy(&name, &policy).await;
    }
    assert!(policy.contains("config/orders"), "{policy}");
    is_well(&world);
}

#[tokio::test]
async fn a_secret_id_that_ends_is_told_before_it_does() {
    let world = World::start().await;
    let role = format!("auth/approle/role/hallpassd-{}", world.name);
    let replace = async |settings: Value| {
        world.bao.write(&role, settings).await;
        let made = world.bao.write(&format!("{role}/secret-id"), json!({})).await;
        fs::write(world.dir.join("vault-secret-id"), made["data"]["secret_id"].as_str().unwrap()).unwrap();
    };
    replace(json!({ "secret_id_ttl": "24h" })).await;
    warns(&world, &defect("secret id", "expires at", "make a new one"));
    replace(json!({ "secret_id_ttl": "720h", "secret_id_num_uses": 5 })).await;
    fails(
        &world,
        &defect(
            "secret id",
            "is good for 4 more logins only",
            &format!("bao write {role} secret_id_num_uses=0"),
        ),
    );
    fs::write(world.dir.join("vault-secret-id"), "no such id").unwrap();
    let about = format!("vault {}/", world.bao.address);
    fails(&world, &defect(about, "invalid role or secret ID", "secret id"));
}

/// The accessors of all tokens.
async fn tokens(world: &World) -> BTreeSet<String> {
    let listed = world.bao.list("auth/token/accessors").await;
    serde_json::from_value(listed["data"]["keys"].clone()).unwrap()
}

#[tokio::test]
async fn a_vault_that_is_sealed_down_or_silent_ends_it_soon() {
    let world = World::with(Wishes { own_vault: true, ..Wishes::default() }).await;
    world.stop_daemon("TERM").await;
    let before = tokens(&world).await;
    is_well(&world);
    // A login that was left behind would live for 20 minutes. The wrapping that told the time lives for a second.
    eventually("its tokens are gone", async || tokens(&world).await.is_subset(&before)).await;
    let about = format!("vault {}/", world.bao.address);
    world.bao.stop();
    fails(&world, &defect(about.clone(), "cannot connect", "check that Vault runs"));
    world.bao.start_sealed();
    fails(&world, &defect(about, "Vault is sealed", "unseal it"));

    // It takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let config: PathBuf = world.dir.join("silent.toml");
    let text = fs::read_to_string(world.config_file()).unwrap().replace(&world.bao.address, &address);
    fs::write(&config, text.replace("timeout = \"10s\"", "timeout = \"1s\"")).unwrap();
    let diagnosis = Diagnosis::of(&config);
    assert_eq!(diagnosis.code, Some(1));
    let finding = diagnosis.about("fail", &format!("vault {address}/"));
    assert!(finding["said"].as_str().unwrap().contains("no answer within the time limit"), "{finding:#}");
}
