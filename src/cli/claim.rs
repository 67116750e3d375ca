//! `hallpass claim`: gets the credential of an approved request, and opens it at Vault itself.
//!
//! hallpassd only carries a wrapping token. Before it is opened, Vault says what was wrapped: a token that was opened
//! already, or that wraps something else, was exchanged or read on its way, and nothing more is done with it. The
//! credential goes to standard output and nowhere else.

use clap::{Args, ValueEnum};
use secrecy::SecretString;
use serde_json::json;

use super::{
    App,
    connect::Server,
    error::{Exit, Failure},
    escape, name,
    output::to_json,
    table::Block,
    time,
    vault::{Credential, Field, Vault, VaultError},
    view,
};
use crate::wire::{ClaimGrantRequest, ClaimGrantResponse, Grant, ReleaseGrantRequest};

const AFTER_HELP: &str = "\
Examples:
  hallpass claim 01kb0x3v9m2d4e5f6g7h8j9kab
  hallpass claim 01kb0x3v9m2d4e5f6g7h8j9kab --format env
  hallpass claim 01kb0x3v9m2d4e5f6g7h8j9kab --reissue

In a shell: eval \"$(hallpass claim ID --format env)\"; psql -U \"$HALLPASS_USERNAME\" …";

/// The reason of the failure that a credential may be in somebody else's hands.
const INTERCEPTED: &str = "WRAPPING_TOKEN_INTERCEPTED";
const EARLIER_OPENED: &str = "the credential that this one replaces had been opened. If that wasn't you, somebody has it: \
    it is revoked by now, but inform the operators, because it has to be investigated";

/// Variables that steer this client, and those that `--format env` sets itself. A credential's field doesn't get one of
/// these names: the shell's next `hallpass` would go by it.
const TAKEN: &[&str] = &[
    "HALLPASS_GRANT",
    "HALLPASS_CLOSES_AT",
    "HALLPASS_SERVER",
    "HALLPASS_CA_FILE",
    "HALLPASS_CERT_FILE",
    "HALLPASS_KEY_FILE",
    "HALLPASS_TIMEOUT",
    "HALLPASS_OUTPUT",
    "HALLPASS_TOKEN_FILE",
    "HALLPASS_LOGIN_METHOD",
    "HALLPASS_LOGIN_ROLE",
    "HALLPASS_MOUNT",
    "HALLPASS_ROLE",
    "HALLPASS_ROLE_ID",
    "HALLPASS_ISSUER",
    "HALLPASS_ISSUER_CA_FILE",
    "HALLPASS_CLIENT_ID",
    "HALLPASS_CLIENT_SECRET_FILE",
    "HALLPASS_SCOPE",
    "HALLPASS_CALLBACK_HOST",
    "HALLPASS_CALLBACK_PORT",
];

/// How the credential is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// Lines that a shell can evaluate.
    Env,
    /// For programs.
    Json,
}

/// The arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct ClaimArgs {
    /// The request: its id, with or without `requests/`.
    request: String,
    /// Revoke what an earlier claim issued, and issue again inside the same window.
    #[arg(long)]
    reissue: bool,
    /// How to print the credential [default: as `--output` says].
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// Print the wrapping token instead of opening it, to open it elsewhere. It is a secret.
    #[arg(long, conflicts_with = "format")]
    wrapped: bool,
}

/// Runs the verb.
///
/// # Errors
///
/// If the server refuses, or the credential can't be opened.
pub async fn run(app: &App, args: ClaimArgs) -> Result<(), Failure> {
    let request = name::request(&args.request)?;
    let timeout = app.options.claim_timeout();
    let server = Server::new(&app.options, timeout)?;
    // Whatever is wrong with Vault's settings has to be known before the window opens.
    let vault = if args.wrapped { None } else { Some(Vault::new(&app.options, timeout)?) };
    let claimed = claim(&server, &request, args.reissue).await?;
    let Some(vault) = vault else {
        return print_wrapped(app, &claimed);
    };
    if claimed.earlier_opened {
        app.out.note(EARLIER_OPENED);
    }
    let grant_name = claimed.grant.as_ref().map(|grant| grant.name.clone()).unwrap_or_default();
    let (grant, credential) = match open(&vault, claimed, &request).await {
        Err(failure) if failure.is(INTERCEPTED) => {
            return Err(give_back(&server, grant_name, failure).await);
        }
        opened => opened?,
    };
    let printed = match args.format.unwrap_or(if app.out.is_json() { Format::Json } else { Format::Table }) {
        Format::Table => app.out.raw(&table(app, &grant, &credential)),
        Format::Env => app.out.raw(&exports(&grant, &credential)),
        Format::Json => {
            app.out.json(&json!({ "grant": to_json(&grant)?, "credential": credential.expose_json() }))
        }
    };
    printed.map_err(|failure| failure.hint(again(&request)))
}

async fn claim(server: &Server, request: &str, reissue: bool) -> Result<ClaimGrantResponse, Failure> {
    let message = ClaimGrantRequest { request: request.to_owned(), reissue };
    let answer = server.answer(server.grants().claim_grant(server.call(message))).await;
    answer.map_err(|failure| match failure.exit {
        // The claim may have gone through with its answer lost.
        Exit::Local | Exit::TimedOut => {
            let hint = failure.hint.clone().unwrap_or_default();
            failure.hint(format!("{hint}; if the claim says GRANT_HELD then, {}", again(request)))
        }
        _ => failure,
    })
}

/// What to do if the credential never arrived.
fn again(request: &str) -> String {
    format!("`hallpass claim {request} --reissue` gets a new credential and revokes this one")
}

async fn open(
    vault: &Vault,
    claimed: ClaimGrantResponse,
    request: &str,
) -> Result<(Grant, Credential), Failure> {
    let ClaimGrantResponse { grant, wrapping_token, creation_path, .. } = claimed;
    let grant =
        grant.ok_or_else(|| Failure::local("hallpassd's answer has no grant").hint(again(request)))?;
    let wrapping = SecretString::from(wrapping_token);
    let unopened = |error: &VaultError| unopened(error, &grant, request);
    let path = vault.wrapped_path(&wrapping).await.map_err(|error| unopened(&error))?;
    if path != creation_path {
        let detail = format!("it wraps `{path}` and should wrap `{creation_path}`");
        return Err(intercepted(&grant, "the wrapping token was exchanged on its way").detail(detail));
    }
    let credential = vault.unwrap(&wrapping).await.map_err(|error| unopened(&error))?;
    Ok((grant, credential))
}

fn unopened(error: &VaultError, grant: &Grant, request: &str) -> Failure {
    if error.is_spent_wrapping_token() {
        return intercepted(grant, "somebody else may have opened the wrapping token")
            .detail(error.to_string());
    }
    let failure = error.failure();
    let first = failure.hint.clone().map(|hint| format!("{hint}; then ")).unwrap_or_default();
    failure
        .detail(format!("{} was issued, but not opened", grant.name))
        .hint(format!("{first}{}", again(request)))
}

/// Has the credential revoked and the alarm recorded, and says whether that went well.
async fn give_back(server: &Server, name: String, failure: Failure) -> Failure {
    let message = ReleaseGrantRequest { name, wrapping_opened: true };
    match server.answer(server.grants().release_grant(server.call(message))).await {
        Ok(_) => failure.hint(
            "it is being revoked, and an alarm is recorded; inform the operators: it has to be investigated",
        ),
        // The hint that is there says how to do it by hand.
        Err(_) => failure,
    }
}

/// The credential may be in somebody else's hands. That isn't a case for trying again.
fn intercepted(grant: &Grant, what: &str) -> Failure {
    let name = &grant.name;
    let mut failure =
        Failure::local(format!("POSSIBLE INTERCEPTION: {what}; the credential is not safe to use"));
    failure.reason = Some(INTERCEPTED.into());
    failure.hint(format!(
        "run `hallpass release {name}` now and inform the operators: it has to be investigated"
    ))
}

fn print_wrapped(app: &App, claimed: &ClaimGrantResponse) -> Result<(), Failure> {
    app.out.message(claimed, |claimed| {
        let grant = claimed.grant.as_ref();
        Block::new()
            .field("wrapping token", &claimed.wrapping_token)
            .field("opens for", time::wire_length(claimed.wrapping_ttl.as_ref()).unwrap_or_default())
            .field("wraps", &claimed.creation_path)
            .field("grant", grant.map(|grant| grant.name.as_str()).unwrap_or_default())
            .at("closes", grant.and_then(|grant| grant.closes_at.as_ref()), &app.times())
    })
}

fn table(app: &App, grant: &Grant, credential: &Credential) -> String {
    let mut block = Block::new();
    let mut below = Vec::new();
    for (key, field) in credential.fields() {
        let value = field.expose();
        if escape::is_plain(value) {
            block = block.field(key, value);
        } else if escape::is_plain(&value.replace('\n', "")) {
            // A key or certificate: whole lines from the margin on, so that they can be copied.
            below.push(format!("\n{}:\n{}\n", escape::line(key), value.trim_end_matches('\n')));
        } else {
            block =
                block.field(key, "(has control characters: claim with `--reissue --format json` to get it)");
        }
    }
    let block = block
        .field("target", &grant.target)
        .field("grant", &grant.name)
        .state("state", &view::grant_state(grant))
        .at("closes", grant.closes_at.as_ref(), &app.times())
        .field("when done", format!("hallpass release {}", grant.name));
    block.render(false) + &below.concat()
}

/// `export HALLPASS_USERNAME='…'` for each text, number and truth value, and for the grant and its end.
fn exports(grant: &Grant, credential: &Credential) -> String {
    let mut lines = Vec::new();
    let mut used: Vec<String> = TAKEN.iter().copied().map(str::to_owned).collect();
    for (key, field) in credential.fields() {
        let value = field.expose();
        let structured = matches!(field, Field::Other(_)) && value.starts_with(['{', '[']);
        // No variable can hold a NUL.
        if structured || value.contains('\0') {
            continue;
        }
        let name = free_variable(key, &used);
        lines.push(format!("export {name}={}\n", escape::shell(value)));
        used.push(name);
    }
    lines.push(format!("export HALLPASS_GRANT={}\n", escape::shell(&grant.name)));
    if let Some(closes_at) = time::instant(grant.closes_at.as_ref()) {
        let closes_at = closes_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        lines.push(format!("export HALLPASS_CLOSES_AT={}\n", escape::shell(&closes_at)));
    }
    lines.concat()
}

/// A variable's name for a field, with a number behind it if it is taken.
fn free_variable(key: &str, used: &[String]) -> String {
    let upper = key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    let name = format!("HALLPASS_{}", upper.collect::<String>());
    let numbered = (2..=used.len() + 2).map(|number| format!("{name}_{number}"));
    let mut candidates = std::iter::once(name.clone()).chain(numbered);
    candidates.find(|candidate| !used.contains(candidate)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use reqwest::StatusCode;

    use super::*;
    use crate::cli::vault::tests::credential;

    fn grant() -> Grant {
        let closes_at = Some(prost_types::Timestamp { seconds: 1_795_438_800, nanos: 5_000_000 });
        Grant { name: "grants/g".into(), closes_at, ..Grant::default() }
    }

    #[test]
    fn export_lines_are_what_a_shell_reads_back() {
        let evil = "a'b\"c$(echo x)`id`\\ \n;#\u{1b}";
        let data =
            json!({ "username": "u", "password": evil, "port": 5432, "a.b-c": "x", "nested": { "x": 1 } });
        let mut script = exports(&grant(), &credential(data));
        script.push_str(
            "printf '%s|' \"$HALLPASS_PASSWORD\" $HALLPASS_USERNAME $HALLPASS_PORT $HALLPASS_A_B_C \\\n",
        );
        script.push_str("$HALLPASS_GRANT $HALLPASS_CLOSES_AT \"$HALLPASS_NESTED\"");
        let output = Command::new("sh").arg("-c").arg(&script).output().unwrap();
        let expected = format!("{evil}|u|5432|x|grants/g|2026-11-23T13:00:00Z||");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{script}");
        assert!(output.stderr.is_empty());
    }

    #[test]
    fn a_field_cant_steer_the_next_call() {
        let data = json!({ "server": "https://evil", "grant": "x", "a-b": "1", "a_b": "2", "nul": "a\0b" });
        let lines = exports(&grant(), &credential(data));
        assert!(lines.contains("export HALLPASS_SERVER_2='https://evil'"), "{lines}");
        assert!(lines.contains("export HALLPASS_GRANT='grants/g'") && lines.contains("HALLPASS_GRANT_2='x'"));
        assert!(lines.contains("HALLPASS_A_B='1'") && lines.contains("HALLPASS_A_B_2='2'"), "{lines}");
        assert!(!lines.contains("NUL"));
        assert!(lines.lines().all(|line| line.starts_with("export HALLPASS_")), "{lines}");
    }

    #[test]
    fn every_variable_of_this_client_is_taken() {
        let cli = <super::super::args::Cli as clap::CommandFactory>::command();
        let arguments = cli.get_subcommands().flat_map(clap::Command::get_arguments);
        for variable in cli.get_arguments().chain(arguments).filter_map(clap::Arg::get_env) {
            let name = variable.to_str().unwrap();
            assert!(!name.starts_with("HALLPASS_") || TAKEN.contains(&name), "{name}");
        }
    }

    #[test]
    fn a_spent_wrapping_token_is_an_alarm_and_a_broken_connection_is_not() {
        let errors = "wrapping token is not valid or does not exist".to_owned();
        let spent = unopened(
            &VaultError::Refused { status: StatusCode::BAD_REQUEST, errors },
            &grant(),
            "requests/r",
        );
        assert!(spent.message.contains("POSSIBLE INTERCEPTION") && spent.is("WRAPPING_TOKEN_INTERCEPTED"));
        assert!(spent.hint.unwrap().contains("hallpass release grants/g"));
        let broken = unopened(&VaultError::Network("reset".into()), &grant(), "requests/r");
        assert!(!broken.message.contains("INTERCEPTION"));
        assert!(broken.hint.unwrap().contains("hallpass claim requests/r --reissue"));
    }
}
