//! What can be said on the command line. Every verb's own arguments stand in its own file.
//!
//! No argument takes a secret: other users of the machine can read argument lists.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{
    Args, Parser, Subcommand,
    builder::{OsStringValueParser, TypedValueParser},
};

use super::{
    audit, claim, daemons, decide, freeze, list, login, output::Mode, release, request, revoke, show,
    targets, time, watch, withdraw,
};

/// Where hallpassd is if nobody says so: on this machine, at its default port.
const SERVER: &str = "https://127.0.0.1:7643";
/// How long one call may take: far more than any but a claim needs.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a claim may take: Vault has to make an account on the target.
const CLAIM_TIMEOUT: Duration = Duration::from_mins(2);

/// The exit codes, where a script's author looks for them first.
const AFTER_HELP: &str = "\
Exit codes:
  0    done
  1    something on this side: files, the network, Vault, the configuration
  2    the arguments are wrong
  3    hallpassd refused
  4    the request was denied, lapsed or was withdrawn
  5    timed out; nothing was refused
  6    the audit log, or what was verified, doesn't hold
  130  interrupted while waiting

Example:
  hallpass login --username alice
  hallpass request orders-ro --for 90m --reason 'stuck order 4711'";

/// Time-boxed production credentials, after a written approval.
#[derive(Debug, Parser)]
#[command(name = "hallpass", version, after_help = AFTER_HELP, arg_required_else_help = true)]
pub struct Cli {
    /// What all verbs understand.
    #[command(flatten)]
    pub options: Options,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What all verbs understand.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Common options")]
pub struct Options {
    /// Where hallpassd is: https://, http:// only on this machine, or unix: and a path, where no login is needed.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "HALLPASS_SERVER",
        default_value = SERVER
    )]
    server: String,
    /// The certificate authorities that hallpassd's certificate is checked against, instead of the system's.
    #[arg(long, global = true, value_name = "FILE", env = "HALLPASS_CA_FILE", value_parser = file())]
    ca_file: Option<PathBuf>,
    /// Your certificate, PEM, where hallpassd knows people by theirs: no login is needed then.
    #[arg(long, global = true, value_name = "FILE", env = "HALLPASS_CERT_FILE", value_parser = file())]
    cert_file: Option<PathBuf>,
    /// The private key of `--cert-file`, PEM.
    #[arg(long, global = true, value_name = "FILE", env = "HALLPASS_KEY_FILE", value_parser = file())]
    key_file: Option<PathBuf>,
    /// How long one call may take [default: 30s, claim 120s].
    #[arg(long, global = true, value_name = "DURATION", env = "HALLPASS_TIMEOUT", value_parser = time::parse_length)]
    pub timeout: Option<Duration>,
    /// Tables for people or JSON for programs; `audit list` also has JSON lines and CSV.
    #[arg(
        long,
        global = true,
        value_name = "HOW",
        env = "HALLPASS_OUTPUT",
        value_enum,
        default_value = "table"
    )]
    pub output: Mode,
    /// Where the login is kept [default: hallpass/token under `$XDG_STATE_HOME` or `~/.local/state`].
    #[arg(long, global = true, value_name = "FILE", env = "HALLPASS_TOKEN_FILE", value_parser = file())]
    token_file: Option<PathBuf>,
    /// Where Vault is; http:// only on this machine.
    #[arg(long, global = true, value_name = "URL", env = "VAULT_ADDR")]
    vault_addr: Option<String>,
    /// The certificate authorities that Vault's certificate is checked against, instead of the system's.
    #[arg(long, global = true, value_name = "FILE", env = "VAULT_CACERT", value_parser = file())]
    vault_ca_file: Option<PathBuf>,
    /// Vault's namespace.
    #[arg(long, global = true, value_name = "PATH", env = "VAULT_NAMESPACE")]
    vault_namespace: Option<String>,
}

/// A variable that is set to nothing counts as not set, as Vault's own client has it.
pub fn file() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

fn set(path: Option<&PathBuf>) -> Option<&Path> {
    path.map(PathBuf::as_path).filter(|path| !path.as_os_str().is_empty())
}

impl Options {
    /// Where hallpassd is.
    #[must_use]
    pub fn server(&self) -> &str {
        if self.server.is_empty() { SERVER } else { &self.server }
    }

    /// The certificate authorities for hallpassd's certificate.
    #[must_use]
    pub fn ca_file(&self) -> Option<&Path> {
        set(self.ca_file.as_ref())
    }

    /// The caller's certificate, if there is one.
    #[must_use]
    pub fn cert_file(&self) -> Option<&Path> {
        set(self.cert_file.as_ref())
    }

    /// The private key of the caller's certificate.
    #[must_use]
    pub fn key_file(&self) -> Option<&Path> {
        set(self.key_file.as_ref())
    }

    /// Where the login is kept, if somebody said so.
    #[must_use]
    pub fn token_file(&self) -> Option<&Path> {
        set(self.token_file.as_ref())
    }

    /// Where Vault is.
    #[must_use]
    pub fn vault_addr(&self) -> Option<&str> {
        self.vault_addr.as_deref().filter(|text| !text.is_empty())
    }

    /// The certificate authorities for Vault's certificate.
    #[must_use]
    pub fn vault_ca_file(&self) -> Option<&Path> {
        set(self.vault_ca_file.as_ref())
    }

    /// Vault's namespace.
    #[must_use]
    pub fn vault_namespace(&self) -> Option<&str> {
        self.vault_namespace.as_deref().filter(|text| !text.is_empty())
    }

    /// How long one call may take.
    #[must_use]
    pub fn call_timeout(&self) -> Duration {
        self.timeout.unwrap_or(CALL_TIMEOUT)
    }

    /// How long a claim may take.
    #[must_use]
    pub fn claim_timeout(&self) -> Duration {
        self.timeout.unwrap_or(CLAIM_TIMEOUT)
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Log in, through Vault or at an issuer, and keep the identity token for the other verbs.
    Login(login::LoginArgs),
    /// List the targets that you may request, approve, audit or operate; or show one.
    Targets(targets::TargetsArgs),
    /// Ask for access to a target, and wait for the decision.
    Request(request::SubmitArgs),
    /// Take back your own request, before it is claimed.
    Withdraw(withdraw::WithdrawArgs),
    /// Approve somebody's request, in writing.
    Approve(decide::ApproveArgs),
    /// Deny somebody's request, in writing.
    Deny(decide::DenyArgs),
    /// Claim your approved request: get the credential. The window opens now.
    Claim(claim::ClaimArgs),
    /// End your own grant before its window closes, and wait until it has ended.
    Release(release::ReleaseArgs),
    /// End anybody's grant, as an operator, and wait until it has ended.
    Revoke(revoke::RevokeArgs),
    /// Stop new grants of a target or of all, as an operator.
    Freeze(freeze::FreezeArgs),
    /// End a freeze, as an operator.
    Thaw(freeze::ThawArgs),
    /// List what is frozen.
    Freezes(freeze::FreezesArgs),
    /// Show how the daemons are, and what they have before them, as an operator or auditor.
    Status(daemons::StatusArgs),
    /// Show everything about a request or a grant: decisions, grants and timeline.
    Show(show::ShowArgs),
    /// List requests or grants, the newest first.
    List(list::ListArgs),
    /// Follow what happens, one line per event.
    Watch(watch::WatchArgs),
    /// Look through past exceptions, verify the log or an export of it, or stand witness for it.
    Audit(audit::AuditArgs),
}

impl Verb {
    /// Whether this is the list that can be printed for spreadsheets and line by line.
    #[must_use]
    pub const fn lists_exceptions(&self) -> bool {
        matches!(self, Self::Audit(audit::AuditArgs { verb: audit::AuditVerb::List(_) }))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    const VERBS: [&str; 17] = [
        "login", "targets", "request", "withdraw", "approve", "deny", "claim", "release", "revoke", "freeze",
        "thaw", "freezes", "status", "show", "list", "watch", "audit",
    ];

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_a_text_and_an_example() {
        let cli = Cli::command();
        let verbs: Vec<_> = cli.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
        assert_eq!(verbs, VERBS);
        for verb in cli.get_subcommands() {
            let name = verb.get_name();
            assert!(verb.get_about().is_some(), "{name}");
            let after = verb.get_after_help().unwrap_or_else(|| panic!("{name} has no example")).to_string();
            assert!(
                after.contains("Example") && after.contains(&format!("hallpass {name}")),
                "{name}: {after}"
            );
            for argument in verb.get_arguments() {
                assert!(argument.get_help().is_some(), "{name}: {}", argument.get_id());
            }
        }
        assert!(cli.get_after_help().unwrap().to_string().contains("Exit codes"));
    }

    #[test]
    fn the_examples_in_the_help_parse() {
        for verb in Cli::command().get_subcommands() {
            let after = verb.get_after_help().unwrap().to_string();
            for line in after.lines().map(str::trim).filter(|line| line.starts_with("hallpass ")) {
                let words = words(line);
                assert!(
                    Cli::try_parse_from(&words).is_ok(),
                    "{line}: {:?}",
                    Cli::try_parse_from(&words).err()
                );
            }
        }
    }

    /// Splits a line as a shell does, as far as the examples need it.
    fn words(line: &str) -> Vec<String> {
        let line = line.split(" | ").next().unwrap().split(" < ").next().unwrap();
        let mut words = vec![String::new()];
        for (number, part) in line.split('\'').enumerate() {
            if number % 2 == 1 {
                words.last_mut().unwrap().push_str(part);
                continue;
            }
            let mut pieces = part.split(' ');
            words.last_mut().unwrap().push_str(pieces.next().unwrap());
            words.extend(pieces.map(str::to_owned));
        }
        words.into_iter().filter(|word| !word.is_empty()).collect()
    }

    #[test]
    fn no_argument_takes_a_secret() {
        for verb in Cli::command().get_subcommands() {
            for argument in verb.get_arguments() {
                let id = argument.get_id().as_str();
                assert!(!["password", "token", "secret"].contains(&id), "{}: {id}", verb.get_name());
            }
        }
    }

    #[test]
    fn a_claim_is_given_more_time() {
        let parse = |words: &[&str]| Cli::try_parse_from(words).unwrap().options;
        let options = parse(&["hallpass", "targets"]);
        assert!(options.claim_timeout() > options.call_timeout());
        let options = parse(&["hallpass", "targets", "--timeout", "5s"]);
        assert_eq!(options.claim_timeout(), Duration::from_secs(5));
    }

    #[test]
    fn what_is_set_to_nothing_is_not_set() {
        let empty = [
            "--server=",
            "--ca-file=",
            "--token-file=",
            "--vault-addr=",
            "--vault-ca-file=",
            "--vault-namespace=",
        ];
        let options =
            Cli::try_parse_from([&["hallpass", "targets"], empty.as_slice()].concat()).unwrap().options;
        assert_eq!((options.server(), options.ca_file(), options.token_file()), (SERVER, None, None));
        assert_eq!(
            (options.vault_addr(), options.vault_ca_file(), options.vault_namespace()),
            (None, None, None)
        );
    }
}
