//! hallpassd's errors, turned into a message, what to do next, and an exit code.
//!
//! `errors.proto` says what each one carries. A status without hallpassd's own details came from something in between,
//! or from this side of the connection.

use std::error::Error;

use tonic::{Code, Status};
use tonic_types::{ErrorInfo, FieldViolation, StatusExt};

use super::error::{Exit, Failure, chain};
use crate::wire::ErrorReason;

/// The domain in the details of every error that hallpassd makes.
const DOMAIN: &str = "hallpass";

/// What a status means to the caller. `server` is the address that was called.
#[must_use]
pub fn failure(status: &Status, server: &str) -> Failure {
    match status.get_details_error_info().filter(|info| info.domain == DOMAIN) {
        Some(info) => refused(status, &info),
        None => foreign(status, server),
    }
}

/// Whether the same call may succeed a little later, and nothing has to be done but to wait.
#[must_use]
pub fn is_transient(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::Aborted | Code::ResourceExhausted | Code::DeadlineExceeded => true,
        // A connection that breaks under a call shows up as one of these, with the transport's error as its source.
        Code::Unknown | Code::Internal | Code::Cancelled => status.source().is_some(),
        _ => false,
    }
}

fn refused(status: &Status, info: &ErrorInfo) -> Failure {
    let reason = ErrorReason::from_str_name(&format!("ERROR_REASON_{}", info.reason));
    let exit = if reason == Some(ErrorReason::TimedOut) { Exit::TimedOut } else { Exit::Refused };
    let mut failure = Failure::new(exit, message(status));
    failure.details = details(status, &failure.message);
    failure.hint = reason.and_then(|reason| hint(reason, info));
    failure.reason = Some(info.reason.clone());
    failure
}

fn message(status: &Status) -> String {
    let said = status.message().trim();
    if said.is_empty() { status.code().description().to_owned() } else { said.to_owned() }
}

/// One line per wrong field and per failed precondition, unless the message says the same.
fn details(status: &Status, message: &str) -> Vec<String> {
    let fields = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    let said = |field: &FieldViolation| message.contains(&format!("{} {}", field.field, field.description));
    let fields = fields.into_iter().filter(|field| !said(field));
    let fields = fields.map(|field| format!("{}: {}", field.field, field.description));
    let failed = status.get_details_precondition_failure().map(|failed| failed.violations);
    let failed = failed.unwrap_or_default().into_iter().map(|violation| violation.description);
    fields.chain(failed).filter(|line| !line.trim().is_empty() && line != message).collect()
}

fn hint(reason: ErrorReason, info: &ErrorInfo) -> Option<String> {
    let known = |key: &str| info.metadata.get(key).map_or("", String::as_str);
    let text = match reason {
        ErrorReason::Unspecified => return None,
        ErrorReason::BadField => "correct what is named above; `--help` of the verb has an example",
        ErrorReason::TokenInvalid => "log in again with `hallpass login`",
        ErrorReason::IdentityInvalid => {
            "ask the operators for a certificate that holds, or to list your user; or come in by another way"
        }
        ErrorReason::KeysUnavailable => "hallpassd can't check identities at present; try again",
        ErrorReason::RoleMissing => {
            "`hallpass targets` shows what you may do; the operators define the roles"
        }
        ErrorReason::SelfApproval => "ask another approver: nobody decides his own request",
        ErrorReason::NotOwner => {
            "only who made the request may do this; an operator ends grants with `hallpass revoke`"
        }
        ErrorReason::NotFound => "`hallpass list` and `hallpass targets` show what there is for you",
        ErrorReason::RequestState if known("state").is_empty() => "`hallpass show` says how it came to this",
        ErrorReason::RequestState => return Some(state_hint(known("state"))),
        ErrorReason::DigestStale => {
            "the request isn't the one that was read; read it again with `hallpass show`"
        }
        ErrorReason::TargetChanged => "the target was configured anew; submit a new request",
        ErrorReason::NoEligibleApprover => "the operators have to name an approver for this target",
        ErrorReason::GrantHeld if known("grant").is_empty() => held_hint(),
        ErrorReason::GrantHeld => {
            return Some(format!("`hallpass show {}`; {}", known("grant"), held_hint()));
        }
        ErrorReason::GrantEnded => "submit a new request; what was released or taken away isn't issued again",
        ErrorReason::WindowClosed => "submit a new request; a window is never reopened",
        ErrorReason::GrantLimit => {
            "the request stays approved until it lapses; claim it when a grant has ended"
        }
        ErrorReason::GrantPause => {
            "the request stays approved until it lapses; claim it when the pause is over"
        }
        ErrorReason::TargetFrozen => {
            "the request stays approved until it lapses; `hallpass freezes` shows what is frozen"
        }
        ErrorReason::TooEarly | ErrorReason::OutsideHours => {
            "the request stays approved until it lapses; `hallpass show` says when that is"
        }
        ErrorReason::IssueBlocked => {
            "tell the operators: hallpassd lacks rights in Vault, or its audit log isn't what it was"
        }
        ErrorReason::NotCosigned => "claim again in a moment; tell the operators if no witness comes back",
        ErrorReason::EarlierRemains => {
            "claim again in a moment; `hallpass list --overdue` says what is in the way"
        }
        ErrorReason::IssueFailed => "claim again; what may have been issued is being revoked",
        ErrorReason::ApprovalInvalid => {
            "submit a new request; the approvals don't count for this one any more"
        }
        ErrorReason::IdempotencyKeyReused => "use another `--idempotency-key`, or the same text as before",
        ErrorReason::Conflict | ErrorReason::TooMany | ErrorReason::Stopping => "try again in a moment",
        ErrorReason::StoreUnavailable => {
            "nothing may change while the audit log can't be written; try again later"
        }
        ErrorReason::SignatureRequired => {
            "sign it: `hallpass approve ID --sign KEY`, with a key that the operators listed for you"
        }
        ErrorReason::SignatureInvalid => return Some(signature_hint(known("problem"))),
        ErrorReason::SignersUnusable => "tell the operators; hallpassd's log has the file and the line",
        ErrorReason::TimedOut => "look with `hallpass show` or `hallpass list` before you try again",
        ErrorReason::Internal => "tell the operators; hallpassd's log has the details",
    };
    Some(text.to_owned())
}

fn held_hint() -> &'static str {
    "if the credential never arrived, claim with `--reissue`: it revokes the first one"
}

fn signature_hint(problem: &str) -> String {
    let hint = match problem {
        "OTHER_KEY" | "KEY_EXPIRED" | "KEY_NOT_YET_VALID" | "KEY_REVOKED" | "NOT_LISTED" => {
            "use another `--sign KEY`, or ask the operators which keys they listed for you"
        }
        "NOT_PRESENT" => "use `--sign KEY` with a hardware key that wants to be touched",
        "OTHER_TIME" | "BEFORE_REQUEST" => "set this machine's clock, and sign again",
        _ => "read the request again, and sign it again with `hallpass approve ID --sign KEY`",
    };
    hint.to_owned()
}

fn state_hint(state: &str) -> String {
    format!("its state is {state}; `hallpass show` says how it came to this")
}

fn foreign(status: &Status, server: &str) -> Failure {
    if status.code() == Code::DeadlineExceeded {
        return late(server);
    }
    if status.source().is_some() || status.code() == Code::Unavailable {
        let cause = status.source().map_or_else(|| message(status), chain_of);
        return unreachable(server, &cause);
    }
    let failure = Failure::new(Exit::Refused, message(status));
    match status.code() {
        Code::Unauthenticated => failure.hint("log in again with `hallpass login`"),
        Code::Unimplemented => failure.hint(format!("is hallpassd at {server}, and of the same version?")),
        _ => failure,
    }
}

fn chain_of(source: &(dyn Error + 'static)) -> String {
    chain(source)
}

/// A call took longer than its limit.
#[must_use]
pub fn late(server: &str) -> Failure {
    Failure::new(Exit::TimedOut, format!("{server} did not answer in time"))
        .hint("try again, or allow more time with `--timeout`")
}

fn unreachable(server: &str, cause: &str) -> Failure {
    let hint = if cause.contains("certificate") {
        "name the certificate authority of hallpassd with `--ca-file` or HALLPASS_CA_FILE"
    } else {
        "check `--server` or HALLPASS_SERVER, and that hallpassd runs"
    };
    Failure::local(format!("cannot reach hallpassd at {server}: {cause}")).hint(hint)
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    const SERVER: &str = "https://hallpass.example";

    /// A status as hallpassd makes it.
    pub fn status(code: Code, reason: &str, metadata: &[(&str, &str)]) -> Status {
        let metadata: HashMap<String, String> =
            metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
        Status::with_error_details(code, "it does not go", details)
    }

    #[test]
    fn every_reason_has_a_next_step_and_all_but_one_are_refusals() {
        for number in 1..=35 {
            let reason = ErrorReason::try_from(number).unwrap();
            let short = reason.as_str_name().strip_prefix("ERROR_REASON_").unwrap();
            let failure = failure(&status(Code::FailedPrecondition, short, &[]), SERVER);
            let late = reason == ErrorReason::TimedOut;
            assert_eq!(failure.exit, if late { Exit::TimedOut } else { Exit::Refused }, "{short}");
            assert!(failure.is(short));
            assert!(failure.hint.is_some_and(|hint| !hint.is_empty()), "{short}");
        }
        assert!(ErrorReason::try_from(36).is_err(), "a new reason needs a hint and a place in this test");
    }

    #[test]
    fn unavailable_is_local_only_if_hallpassd_did_not_say_it() {
        let said = failure(&status(Code::Unavailable, "STORE_UNAVAILABLE", &[]), SERVER);
        assert_eq!(said.exit, Exit::Refused);
        let network = failure(&Status::unavailable("tcp connect error"), SERVER);
        assert_eq!(network.exit, Exit::Local);
        assert!(network.message.contains(SERVER), "{network:?}");
        assert!(network.hint.unwrap().contains("--server"));
    }

    #[test]
    fn statuses_without_details_have_exit_codes_too() {
        let cases = [
            (Code::DeadlineExceeded, Exit::TimedOut),
            (Code::Unauthenticated, Exit::Refused),
            (Code::PermissionDenied, Exit::Refused),
            (Code::NotFound, Exit::Refused),
            (Code::InvalidArgument, Exit::Refused),
            (Code::AlreadyExists, Exit::Refused),
            (Code::Unimplemented, Exit::Refused),
            (Code::Internal, Exit::Refused),
            (Code::Unavailable, Exit::Local),
        ];
        for (code, exit) in cases {
            assert_eq!(failure(&Status::new(code, "no"), SERVER).exit, exit, "{code:?}");
        }
        let broken = Status::from_error(Box::new(std::io::Error::other("connection reset")));
        assert_eq!(failure(&broken, SERVER).exit, Exit::Local);
        assert!(is_transient(&broken));
        assert!(!is_transient(&Status::internal("a defect")));
    }

    #[test]
    fn foreign_details_are_not_taken_for_hallpassds() {
        let details = ErrorDetails::with_error_info("TOKEN_INVALID", "proxy.example", HashMap::new());
        let status = Status::with_error_details(Code::Unavailable, "no", details);
        let failure = failure(&status, SERVER);
        assert_eq!((failure.exit, failure.reason), (Exit::Local, None));
    }

    #[test]
    fn each_wrong_field_has_a_line() {
        let mut details = ErrorDetails::with_error_info("BAD_FIELD", DOMAIN, HashMap::new());
        details.add_bad_request_violation("reason", "must not be blank");
        details.add_bad_request_violation("duration", "at most 4h");
        details.add_precondition_failure_violation("BAD_FIELD", "requests/x", "say more");
        details.add_precondition_failure_violation("BAD_FIELD", "requests/x", "wrong fields");
        let failure =
            failure(&Status::with_error_details(Code::InvalidArgument, "wrong fields", details), SERVER);
        assert_eq!(failure.details, ["reason: must not be blank", "duration: at most 4h", "say more"]);
        let mut details = ErrorDetails::with_error_info("BAD_FIELD", DOMAIN, HashMap::new());
        details.add_bad_request_violation("duration", "is too long");
        let status = Status::with_error_details(Code::InvalidArgument, "duration is too long", details);
        assert!(super::failure(&status, SERVER).details.is_empty(), "the message says it already");
    }

    #[test]
    fn hints_name_what_the_metadata_knows() {
        let held = failure(&status(Code::FailedPrecondition, "GRANT_HELD", &[("grant", "grants/g")]), SERVER);
        assert!(held.hint.as_ref().unwrap().contains("hallpass show grants/g"), "{held:?}");
        assert!(held.hint.unwrap().contains("--reissue"));
        let state =
            failure(&status(Code::FailedPrecondition, "REQUEST_STATE", &[("state", "DENIED")]), SERVER);
        assert!(state.hint.unwrap().contains("DENIED"));
    }
}
