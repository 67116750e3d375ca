//! What a failed call may have done. "Refused" is said only where Vault certainly did nothing: whoever is told so cleans
//! nothing up.

use std::time::Duration;

use hallpass::{
    access::handle::{Accessor, LeaseId},
    vault::{GrantToken, Issuer, Outcome, VaultError, VaultIssuer},
};

use super::{
    canned::{ALIVE, Canned, Fault, LOGIN, Reply, issuer},
    world::{MINUTE, new_grant},
};
use crate::support::servers::eventually;

/// What a row does to the request.
#[derive(Clone, Copy, Debug)]
enum Row {
    /// Nobody listens any more.
    Gone,
    Fault(Fault),
    Say(u16, &'static str),
}

const REFUSED: Outcome = Outcome::Refused;
const UNKNOWN: Outcome = Outcome::Unknown;

const ROWS: &[(Row, Outcome)] = &[
    (Row::Gone, REFUSED),
    (Row::Fault(Fault::ResetUnread), UNKNOWN),
    (Row::Fault(Fault::Reset), UNKNOWN),
    (Row::Fault(Fault::Hang), UNKNOWN),
    (Row::Fault(Fault::Cut), UNKNOWN),
    (Row::Fault(Fault::Stall), UNKNOWN),
    (Row::Say(403, r#"{"errors":["permission denied"]}"#), REFUSED),
    (Row::Say(429, r#"{"errors":["request path \"x\": rate limit quota exceeded"]}"#), REFUSED),
    (Row::Say(429, "<html>slow down</html>"), UNKNOWN),
    (Row::Say(500, r#"{"errors":["internal error"]}"#), UNKNOWN),
    (Row::Say(502, "<html>bad gateway</html>"), UNKNOWN),
    (Row::Say(502, r#"{"errors":["upstream rate limited"]}"#), UNKNOWN),
    (Row::Say(503, r#"{"errors":["Vault is sealed"]}"#), REFUSED),
    (Row::Say(503, r#"{"errors":["failed to persist: Vault is sealed"]}"#), UNKNOWN),
    (Row::Say(504, "upstream timed out"), UNKNOWN),
    (Row::Say(307, ""), UNKNOWN),
    (Row::Say(200, "<html>welcome</html>"), UNKNOWN),
    (Row::Say(200, r#"{"errors":["no"]}"#), UNKNOWN),
    (Row::Say(200, "{}"), UNKNOWN),
    (Row::Say(204, ""), UNKNOWN),
];

/// A request: its method, its path, and how the one before it begins, after which nobody may listen.
type Target = (&'static str, &'static str, &'static str);

const CREATE: Target = ("POST", "auth/token/create/grant", "GET /v1/auth/token/lookup-self ");
const READ: Target = ("GET", "db/creds/x", "LIST /v1/sys/leases/lookup/db/creds/x/ ");
const RENEW_TOKEN: Target = ("POST", "auth/token/renew-accessor", "POST /v1/auth/approle/login ");
const RENEW_LEASE: Target = ("POST", "sys/leases/renew", "POST /v1/auth/approle/login ");

const NO_LEASES: Reply = ("LIST", "sys/leases/lookup/db/creds/x/", 404, "", r#"{"errors":[]}"#);
const REVOKED: Reply = ("POST", "auth/token/revoke-accessor", 204, "", "");
const TOKEN_RENEWED: Reply =
    ("POST", "auth/token/renew-accessor", 200, "", r#"{"auth":{"client_token":"","lease_duration":60}}"#);
const LEASE_RENEWED: Reply =
    ("POST", "sys/leases/renew", 200, "", r#"{"lease_id":"db/creds/x/abc","lease_duration":60}"#);

/// A Vault that is well but for one request.
async fn vault(target: Target, row: Row) -> Canned {
    let (method, path, before) = target;
    let begin: &'static str = Box::leak(format!("{method} /v1/{path} ").into_boxed_str());
    let whole = r#"{"auth":null,"data":{"padding":"so that half of it is something"}}"#;
    let (begin, fault, said) = match row {
        Row::Gone => (before, Fault::Last, None),
        Row::Fault(fault) => (begin, fault, Some((200, whole))),
        Row::Say(status, body) => ("nothing", Fault::Hang, Some((status, body))),
    };
    let mut replies: Vec<Reply> =
        said.map(|(status, body)| (method, path, status, "", body)).into_iter().collect();
    replies.extend([LOGIN, ALIVE, NO_LEASES, REVOKED, TOKEN_RENEWED, LEASE_RENEWED]);
    Canned::faulty(replies, begin, fault).await
}

/// What the row comes to, and how often the request was sent.
async fn outcome(
    target: Target,
    row: Row,
    call: impl AsyncFn(&VaultIssuer) -> Result<(), VaultError>,
) -> (Outcome, Canned) {
    let vault = vault(target, row).await;
    let (issuer, _dir) = issuer(&vault.address, Duration::from_millis(500));
    let error = call(&issuer).await.expect_err(&format!("{target:?} {row:?}"));
    (error.outcome, vault)
}

async fn mint(issuer: &VaultIssuer) -> Result<(), VaultError> {
    issuer.mint(new_grant(), "cred-x", MINUTE).await.map(drop)
}

async fn read(issuer: &VaultIssuer) -> Result<(), VaultError> {
    let token = GrantToken { token: "s.grant".into(), accessor: Accessor::new("grant-accessor") };
    issuer.read_wrapped(token, "db/creds/x", MINUTE).await.map(drop)
}

async fn shorten(issuer: &VaultIssuer) -> Result<(), VaultError> {
    issuer.shorten(&Accessor::new("grant-accessor"), &LeaseId::new("db/creds/x/abc"), MINUTE).await
}

#[tokio::test]
async fn a_token_creation_without_a_clear_answer_may_have_made_a_token() {
    for (row, expected) in ROWS {
        let (outcome, vault) = outcome(CREATE, *row, mint).await;
        assert_eq!(outcome, *expected, "{row:?}");
        let sent = vault.count("POST /v1/auth/token/create/grant ");
        assert_eq!(sent, usize::from(!matches!(row, Row::Gone)), "never sent twice: {row:?}");
    }
}

#[tokio::test]
async fn a_read_without_a_clear_answer_may_have_made_a_lease_and_ends_its_token() {
    for (row, expected) in ROWS {
        let (outcome, vault) = outcome(READ, *row, read).await;
        assert_eq!(outcome, *expected, "{row:?}");
        let gone = matches!(row, Row::Gone);
        assert_eq!(vault.count("GET /v1/db/creds/x "), usize::from(!gone), "never sent twice: {row:?}");
        assert_eq!(vault.got("POST /v1/auth/token/revoke-accessor "), !gone, "{row:?}");
        // What is refused at the door needs no second look, which a Vault in trouble wouldn't answer.
        assert_eq!(vault.count("LIST "), 1, "{row:?}");
    }
}

#[tokio::test]
async fn an_end_without_a_clear_answer_may_have_been_set() {
    for target in [RENEW_TOKEN, RENEW_LEASE] {
        for (row, expected) in ROWS {
            // Of two calls one is answered well, unless nobody listens.
            let expected = if matches!(row, Row::Gone) { *expected } else { UNKNOWN };
            assert_eq!(outcome(target, *row, shorten).await.0, expected, "{target:?} {row:?}");
        }
    }
}

#[tokio::test]
async fn an_end_that_neither_call_could_set_is_refused_only_if_both_were() {
    const BOTH: [(&str, &str); 2] = [("POST", "auth/token/renew-accessor"), ("POST", "sys/leases/renew")];
    const SEALED: &str = r#"{"errors":["Vault is sealed"]}"#;
    const BROKEN: &str = r#"{"errors":["internal error"]}"#;
    for (token, lease, expected) in [
        ((503, SEALED), (503, SEALED), REFUSED),
        ((503, SEALED), (500, BROKEN), UNKNOWN),
        ((500, BROKEN), (503, SEALED), UNKNOWN),
    ] {
        let replies = BOTH.iter().zip([token, lease]);
        let mut replies: Vec<Reply> =
            replies.map(|((method, path), (status, body))| (*method, *path, status, "", body)).collect();
        replies.push(LOGIN);
        let vault = Canned::faulty(replies, "nothing", Fault::Hang).await;
        let (issuer, _dir) = issuer(&vault.address, MINUTE);
        assert_eq!(shorten(&issuer).await.unwrap_err().outcome, expected, "{token:?} {lease:?}");
    }
}

/// A proxy without a Vault behind it: nothing that makes something goes there.
#[tokio::test]
async fn no_token_is_asked_for_where_no_vault_answers() {
    const BAD_GATEWAY: Reply = ("GET", "auth/token/lookup-self", 502, "", "<html>bad gateway</html>");
    let vault = Canned::start(&[LOGIN, BAD_GATEWAY]).await;
    let (issuer, _dir) = issuer(&vault.address, MINUTE);
    assert_eq!(issuer.mint(new_grant(), "cred-x", MINUTE).await.unwrap_err().outcome, REFUSED);
    assert!(!vault.got("POST /v1/auth/token/create"));
}

/// Ending may be asked for as often as it takes.
#[tokio::test]
async fn a_revocation_whose_connection_is_cut_is_sent_again() {
    for begin in ["POST /v1/auth/token/revoke-accessor ", "POST /v1/sys/leases/revoke "] {
        let vault = Canned::faulty(vec![LOGIN], begin, Fault::Reset).await;
        let (issuer, _dir) = issuer(&vault.address, MINUTE);
        let done = if begin.contains("leases") {
            issuer.revoke_lease(&LeaseId::new("db/creds/x/abc")).await
        } else {
            issuer.revoke_token(&Accessor::new("a")).await
        };
        assert_eq!(done.unwrap_err().outcome, UNKNOWN);
        eventually("it was sent twice", async || vault.count(begin) == 2).await;
    }
}
