//! The architecture, read from the source: every path that a file names, in a `use` or elsewhere, against the table of
//! what its module never uses. Comments, literals and modules marked `#[cfg(test)]` don't count: what isn't in the binary
//! can't bend a layer, and tests may need what their subject may not.

mod reader;

use std::{
    fs,
    path::{Path, PathBuf},
};

use reader::Reader;

/// The libraries that a room of their own stands around.
const LIBRARIES: &[&str] = &["sqlx", "vaultrs", "rustify*", "tonic*", "prost*"];

/// What only values need nothing of: the runtime, the log, the network, chance, the time, and all that the system has.
const OUTSIDE: &[&str] = &[
    "tokio*",
    "tracing*",
    "reqwest",
    "getrandom",
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "chrono::Local",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// Files are read, and nothing else of what is outside.
const OUTSIDE_BUT_FILES: &[&str] =
    &["tokio*", "reqwest", "std::env", "std::net", "std::process", "std::time::SystemTime"];

/// What the files below some modules never name, in one list or several. The first parts of paths; `tonic*` stands for the
/// whole family. What of ours a module names is in [`OF_OURS`] as well, where that is shorter.
const NEVER: &[(&[&str], &[&[&str]])] = &[
    (&["access"], &[LIBRARIES, OUTSIDE, &["std::io"]]),
    (&["ledger"], &[LIBRARIES, OUTSIDE]),
    (&["signature", "verify", "fsck"], &[LIBRARIES, OUTSIDE_BUT_FILES]),
    (
        &["broker"],
        &[
            LIBRARIES,
            &["reqwest", "std::env", "std::fs", "std::process"],
            &["crate::config", "crate::wire", "crate::grpc", "crate::cli", "crate::daemon", "crate::sweep"],
        ],
    ),
    (&["store"], &[&["crate::broker", "crate::grpc", "crate::vault", "crate::cli", "crate::daemon"]]),
    (
        &["vault"],
        &[&["crate::broker", "crate::grpc", "crate::store", "crate::ledger", "crate::cli", "crate::daemon"]],
    ),
    (
        &["notary"],
        &[
            LIBRARIES,
            &["std::env", "std::process"],
            &["crate::config", "crate::store", "crate::grpc", "crate::cli", "crate::daemon", "crate::sweep"],
        ],
    ),
    (&["grpc"], &[&["crate::store", "crate::vault", "sqlx", "vaultrs", "rustify*"]]),
    (
        &["doctor"],
        &[
            LIBRARIES,
            &["reqwest", "tokio*", "std::env", "std::fs", "std::process"],
            &["crate::broker", "crate::clock", "crate::config", "crate::grpc", "crate::cli", "crate::daemon"],
            &["crate::sweep"],
        ],
    ),
    (&["cli"], &[&["crate::broker", "crate::store", "crate::vault", "crate::daemon", "crate::sweep"]]),
];

/// What only some modules name.
const ONLY: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("vaultrs", &["vault"]),
    ("rustify*", &["vault"]),
    ("tonic*", &["grpc", "cli", "wire"]),
    ("aws_lc_rs::signature", &["ledger", "signature"]),
];

/// What some modules name of ours: themselves, and these.
const OF_OURS: &[(&str, &[&str])] = &[
    ("access", &[]),
    ("ledger", &["access"]),
    ("signature", &["access"]),
    ("verify", &["access", "ledger", "signature"]),
    ("fsck", &["access", "ledger", "signature", "store", "verify"]),
];

/// What the rules may name of other crates at all.
const ACCESS_MAY: &[&str] = &[
    "std",
    "core",
    "chrono",
    "chrono_tz",
    "cron",
    "hex",
    "regex_lite",
    "serde",
    "serde_json",
    "sha2",
    "thiserror",
    "ulid",
    "unicode_security",
];

/// The files below `grpc` that make a status: the one that knows how, and the health service, whose contract isn't ours.
const STATUS_FILES: &[&str] = &["grpc/status.rs", "grpc/health.rs"];

/// How tonic's statuses are made; `from` goes through [`STATUS_FILES`], and the others only read one.
const STATUS_MAKERS: &[&str] = &[
    "aborted",
    "already_exists",
    "cancelled",
    "data_loss",
    "deadline_exceeded",
    "failed_precondition",
    "from_error",
    "internal",
    "invalid_argument",
    "new",
    "not_found",
    "ok",
    "out_of_range",
    "permission_denied",
    "resource_exhausted",
    "unauthenticated",
    "unavailable",
    "unimplemented",
    "unknown",
    "with_details",
    "with_details_and_metadata",
    "with_error_details",
    "with_error_details_vec",
    "with_metadata",
];

#[test]
fn every_module_names_only_what_it_may() {
    let faults: Vec<_> = sources().iter().flat_map(|(name, text)| check(name, text)).collect();
    assert!(faults.is_empty(), "forbidden paths:\n{}", faults.join("\n"));
}

/// Every file of the source but those of tests: its path below `src`, and its text.
pub fn sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&src, &mut files);
    assert!(files.len() > 20, "the source is somewhere else: {files:?}");
    let named = |file: &PathBuf| {
        let name = file.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(file).unwrap())
    };
    files.iter().map(named).collect()
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") && !is_test_file(&path) {
            files.push(path);
        }
    }
    files.sort();
}

/// A file of tests is declared by a `#[cfg(test)] mod` elsewhere; by custom its name says so.
fn is_test_file(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    stem == "tests"
        || stem.ends_with("_tests")
        || path.parent().is_some_and(|parent| parent.ends_with("tests"))
}

/// Every fault of one file, which is named by its path below `src`.
fn check(file: &str, source: &str) -> Vec<String> {
    let module = module_of(file);
    let top = module.first().map_or("", String::as_str);
    let read = Reader::new(source).read(&module);
    let mut faults: Vec<String> = Vec::new();
    for path in &read.paths {
        let shown = path.join("::");
        for (modules, never) in NEVER {
            let forbidden =
                never.iter().copied().flatten().find(|never| modules.contains(&top) && names(path, never));
            faults.extend(forbidden.map(|never| format!("{file}: {shown} ({top} never uses {never})")));
        }
        for (what, only) in ONLY {
            if names(path, what) && !only.contains(&top) {
                faults.push(format!("{file}: {shown} (only for {})", only.join(", ")));
            }
        }
        for (_, may) in OF_OURS.iter().filter(|(module, _)| *module == top) {
            let is_other = |ours: &String| ours != top && !may.contains(&ours.as_str());
            if path[0] == "crate" && path.get(1).is_some_and(is_other) {
                faults.push(format!("{file}: {shown} ({top} uses nothing else of ours)"));
            }
        }
        let makes = |pair: &[String]| pair[0] == "Status" && STATUS_MAKERS.contains(&pair[1].as_str());
        if top == "grpc" && !STATUS_FILES.contains(&file) && path.windows(2).any(makes) {
            faults.push(format!("{file}: {shown} (a Status is made in {})", STATUS_FILES[0]));
        }
    }
    for used in read.used.iter().filter(|_| top == "access") {
        let known = ACCESS_MAY.contains(&used[0].as_str()) || used[0] == "crate";
        if !known && is_lower(&used[0]) {
            faults.push(format!("{file}: {} (not among what the rules may use)", used.join("::")));
        }
    }
    faults.dedup();
    faults
}

fn is_lower(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase())
}

/// Whether a path begins with what the table names.
fn names(path: &[String], what: &str) -> bool {
    let parts: Vec<&str> = what.split("::").collect();
    path.len() >= parts.len()
        && parts.iter().zip(path).all(|(part, word)| match part.strip_suffix('*') {
            Some(family) => {
                word == family || word.strip_prefix(family).is_some_and(|rest| rest.starts_with('_'))
            }
            None => word == part,
        })
}

/// The module that a file is: `broker/mod.rs` and `broker.rs` are `broker`, `lib.rs` and what is in `bin` are the root.
fn module_of(file: &str) -> Vec<String> {
    let mut parts: Vec<String> = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if parts.first().is_some_and(|first| first == "bin") {
        parts.clear();
    }
    if parts.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// One line that is wrong for each entry of the tables, so that none of them can rot unseen.
const WRONG: &[(&str, &str)] = &[
    ("access/grant.rs", "use tokio::sync::Mutex;"),
    ("access/grant.rs", "use tokio_util::sync::CancellationToken;"),
    ("access/grant.rs", "use sqlx::FromRow;"),
    ("access/grant.rs", "use tonic::Status;"),
    ("access/grant.rs", "use prost::Message;"),
    ("access/grant.rs", "use prost_types::Timestamp;"),
    ("access/grant.rs", "use vaultrs::client::Client;"),
    ("access/grant.rs", "use tracing::info;"),
    ("access/grant.rs", "use reqwest::Client;"),
    ("access/grant.rs", "use rand::random;"),
    ("access/grant.rs", "use crate::clock::Clock;"),
    ("access/grant.rs", "use crate::{access::id::GrantId, store::{Store, Write}};"),
    ("access/grant.rs", "use super::super::broker::Broker;"),
    ("access/grant.rs", "fn f() { let now = std::time::SystemTime::now(); }"),
    ("access/grant.rs", "use std::{collections::BTreeMap, env};"),
    ("access/grant.rs", "fn f() { tracing::info!(\"done\"); }"),
    ("access/mod.rs", "use super::clock::Clock;"),
    ("broker/claim.rs", "use sqlx::SqlitePool;"),
    ("broker/claim.rs", "#[derive(sqlx::FromRow)] struct Row;"),
    ("broker/claim.rs", "use vaultrs::client::VaultClient;"),
    ("broker/claim.rs", "use rustify_derive::Endpoint;"),
    ("broker/claim.rs", "fn f() -> Result<(), tonic::Status> { Ok(()) }"),
    ("broker/claim.rs", "use prost_types::Duration;"),
    ("broker/claim.rs", "use crate::{\n    access::{\n        id::GrantId,\n    },\n    config::Config,\n};"),
    ("broker/claim.rs", "use crate::wire::Grant;"),
    ("broker/claim.rs", "fn f() { std::env::var(\"HOME\"); }"),
    ("broker/claim.rs", "use std::env::var as ask;"),
    ("broker/claim.rs", "use super::super::grpc::status;"),
    ("broker/mod.rs", "use super::cli;"),
    ("store/sqlite/read.rs", "use crate::broker::Error;"),
    ("store/sqlite/read.rs", "use crate::{access::{id::GrantId}, vault::Issuer};"),
    ("store/mod.rs", "use crate::grpc;"),
    ("vault/client.rs", "use crate::store::{self, Store};"),
    ("vault/client.rs", "use crate::broker::{Broker as Daemon};"),
    ("vault/client.rs", "use super::super::ledger::*;"),
    ("ledger/tree.rs", "use crate::store::Store;"),
    ("ledger.rs", "fn f() { crate::vault::connect(); }"),
    ("ledger/note.rs", "use crate::{access::id::GrantId, signature::PublicKey};"),
    ("ledger/checkpoint/signed.rs", "use super::super::super::clock::Clock;"),
    ("ledger/witness.rs", "fn f() { std::fs::read(\"checkpoint\"); }"),
    ("grpc/service.rs", "use crate::store::Slice;"),
    ("grpc/service.rs", "use crate::vault::Issuer;"),
    ("grpc/service.rs", "use ::sqlx::Row;"),
    ("grpc/service.rs", "use vaultrs::error::ClientError;"),
    ("grpc/service.rs", "fn f() -> Status { Status::internal(\"no\") }"),
    ("grpc/service.rs", "fn f() -> tonic::Status { tonic::Status::not_found(\"no\") }"),
    ("doctor/store.rs", "use sqlx::Row;"),
    ("doctor/policy.rs", "fn f() { std::fs::read(\"policy.hcl\"); }"),
    ("signature/lists.rs", "use crate::broker::Broker;"),
    ("signature/lists.rs", "fn f() { std::process::Command::new(\"ssh-keygen\"); }"),
    ("broker/signed.rs", "use aws_lc_rs::signature::ED25519;"),
    ("cli/claim.rs", "use crate::broker::Error;"),
    ("cli/claim.rs", "use crate::store::Slice;"),
    ("cli/claim.rs", "use crate::vault::Issuer;"),
    ("cli/claim.rs", "use crate::daemon;"),
    ("sweep.rs", "use sqlx::Row;"),
    ("daemon.rs", "use vaultrs::client::Client;"),
    ("daemon.rs", "use rustify::Endpoint;"),
    ("daemon.rs", "use tonic::transport::Server;"),
    ("bin/hallpassd.rs", "use tonic_health::server;"),
    ("identity/keys.rs", "pub(crate) use tonic::Code;"),
    ("broker/end.rs", "#[cfg(test)] use std::fmt; use sqlx::Row;"),
    ("broker/end.rs", "mod inner { use super::super::super::config::Config; }"),
    ("broker/end.rs", "#[cfg(test)] mod tests { fn f() {} } use sqlx::Row;"),
];

/// What looks wrong and isn't.
const RIGHT: &[(&str, &str)] = &[
    (
        "access/grant.rs",
        "use std::{fmt, time::Duration}; use chrono::{DateTime, Utc}; use super::{id::GrantId, text};",
    ),
    (
        "access/grant.rs",
        "//! It never asks tokio::time.\n/* sqlx::query /* crate::store */ */ const A: &str = \"crate::store\";",
    ),
    (
        "access/grant.rs",
        "const A: &str = r#\"use \"sqlx::Row\";\"#; const B: char = '\"'; fn f<'a>(x: &'a str) -> &'a str { x }",
    ),
    ("access/text.rs", "#[cfg(test)]\nmod tests {\n    use super::*;\n    use tokio::time;\n}"),
    ("access/text.rs", "use State::{Issuing, Active};"),
    (
        "broker/claim.rs",
        "use crate::{access::id::GrantId, store::Write, vault::Issuer}; use tokio::sync::Mutex;",
    ),
    (
        "broker/claim.rs",
        "#[cfg(test)] #[expect(dead_code, reason = \"x\")] mod tests { use sqlx::Row; mod a { } }",
    ),
    ("store/sqlite/read.rs", "use sqlx::{QueryBuilder, sqlite::SqlitePool}; use crate::store::Due;"),
    ("vault/client.rs", "use vaultrs::client::Client; use rustify::Endpoint; use super::error::Failure;"),
    ("signature/key.rs", "use aws_lc_rs::signature::ED25519; use crate::access::signing::Problem;"),
    (
        "ledger/note/key.rs",
        "use aws_lc_rs::signature::ED25519; use crate::{access::id::GrantId, ledger::tree};",
    ),
    ("grpc/status.rs", "fn f() -> Status { Status::internal(\"no\") }"),
    ("grpc/auth.rs", "fn f() { Status::from_header_map(&headers); Status::from(error); }"),
    ("grpc/service.rs", "use tonic::{Request, Response, Status}; use crate::broker::{Broker, Slice};"),
    ("cli/claim.rs", "use tonic::transport::Channel; use crate::wire::ClaimRequest;"),
    ("wire.rs", "tonic::include_proto!(\"hallpass.v1\");"),
    ("daemon.rs", "use crate::{broker::Broker, grpc, store::sqlite::SqliteStore, vault::VaultIssuer};"),
    ("bin/hallpassd.rs", "fn main() { hallpass::daemon::run(); }"),
];

#[test]
fn each_forbidden_path_is_seen() {
    for (file, source) in WRONG {
        assert!(!check(file, source).is_empty(), "{file}: {source}");
    }
    for (modules, never) in NEVER {
        for (module, what) in
            modules.iter().flat_map(|module| never.iter().copied().flatten().map(move |what| (module, what)))
        {
            let source = format!("use crate::{{self}};\nuse {}::x;", what.trim_end_matches('*'));
            assert!(!check(&format!("{module}/x.rs"), &source).is_empty(), "{module}: {what}");
        }
    }
}

#[test]
fn nothing_else_is_seen() {
    for (file, source) in RIGHT {
        assert_eq!(check(file, source), Vec::<String>::new(), "{source}");
    }
}
