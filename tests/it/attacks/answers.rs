//! What answers tell: what happened and what to do, and nothing of files, queries or the code.

use chrono::DateTime;
use hallpass::{
    access::id::GrantId,
    broker::{BadField, Error},
    store::StoreError,
};
use tonic::Status;

/// What stands in the chain of an error of the daemon's parts, as it would be logged.
const INSIDE: [&str; 6] = [
    "unable to open database file: /var/lib/hallpass/hallpass.db",
    "error returned from database: (code: 1) no such column: SELECT id FROM grants WHERE state = ?",
    "UNIQUE constraint failed: requests.digest",
    "thread 'main' panicked at src/broker/claim.rs:42:7:\n   0: std::backtrace_rs::backtrace::trace",
    "tcp connect error: Connection refused (os error 111) 10.1.2.3:8200",
    "No such file or directory (os error 2)",
];

/// What betrays a file, a query, a stack or the system.
const TELLTALE: [&str; 15] = [
    "/var/",
    "/etc/",
    "/run/",
    ".db",
    ".rs",
    "SELECT",
    "WHERE",
    "UNIQUE",
    "constraint",
    "backtrace",
    "panicked",
    "os error",
    "10.1.2.3",
    "no such column",
    "thread '",
];

/// All that is sent of a status: its message, its details, its headers.
fn sent(status: &Status) -> String {
    let details = String::from_utf8_lossy(status.details()).into_owned();
    let response = status.clone().into_http::<()>();
    format!("{} {details} {:?}", status.message(), response.headers())
}

fn is_silent(status: &Status) {
    let sent = sent(status);
    for telltale in TELLTALE {
        assert!(!sent.contains(telltale), "{telltale} in {sent}");
    }
}

#[test]
fn no_failure_of_our_own_parts_is_told() {
    let grant = GrantId::new(DateTime::UNIX_EPOCH, 7);
    for inside in INSIDE {
        let failures: [Error; 5] = [
            StoreError::Unavailable { operation: "commit", source: inside.into() }.into(),
            StoreError::Corrupt { operation: "read", what: inside.into(), problem: "no state" }.into(),
            Error::Internal(inside.into()),
            Error::EarlierRemains { grant },
            Error::BadFields(vec![BadField::new("reason", "must not be blank")]),
        ];
        for failure in failures {
            is_silent(&failure.into());
        }
    }
}
