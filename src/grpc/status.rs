//! The one place that makes a [`Status`]. Every failure has its canonical code, the reason of `errors.proto`, and the
//! details that a client can act on. What the daemon's own parts ran into is the status's source: it is logged where the
//! call is known, once, and never sent.

use std::{collections::HashMap, error::Error as StdError, sync::Arc, time::Duration};

use chrono::SecondsFormat;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    access::refusal::Refusal,
    broker::{BadField, Error},
    identity::IdentityError,
    wire::ErrorReason,
};

/// The domain of every `ErrorInfo`.
const DOMAIN: &str = "hallpass";

/// The longest message. It travels in a header, up to three times and encoded, and clients take 8 to 16 KiB of headers.
const MESSAGE_MAX_BYTES: usize = 1000;

/// When to try again after a collision: the other one is done by then.
const RETRY_COLLISION: Duration = Duration::from_secs(1);
/// When to try again after an outage: often enough to notice its end, seldom enough not to prolong it.
const RETRY_OUTAGE: Duration = Duration::from_secs(5);
/// When to try again without the issuer's keys: they are asked for no more often.
const RETRY_KEYS: Duration = Duration::from_secs(10);

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::BadFields(fields) => bad_fields(message, fields),
            Error::NotFound { .. } => Made::new(Code::NotFound, ErrorReason::NotFound, message).status(),
            Error::Refused { name, refusal } => refused(&message, &name, &refusal),
            Error::NoEligibleApprover { name } => {
                precondition(ErrorReason::NoEligibleApprover, message, &name).status()
            }
            Error::KeyReused { .. } => {
                Made::new(Code::AlreadyExists, ErrorReason::IdempotencyKeyReused, message).status()
            }
            Error::IssueBlocked { name, .. }
            | Error::LedgerBlocked { name, .. }
            | Error::DutyBlocked { name, .. } => {
                precondition(ErrorReason::IssueBlocked, message, &name).status()
            }
            Error::EarlierRemains { grant } => unavailable(ErrorReason::EarlierRemains, message)
                .metadata("grant", format!("grants/{grant}"))
                .status(),
            Error::IssueFailed { grant, .. } => unavailable(ErrorReason::IssueFailed, message)
                .metadata("grant", format!("grants/{grant}"))
                .status(),
            Error::Conflict | Error::OffDuty { .. } | Error::Reconfigured => {
                Made::new(Code::Aborted, ErrorReason::Conflict, message).retry(RETRY_COLLISION).status()
            }
            Error::StoreUnavailable(source) => {
                because(unavailable(ErrorReason::StoreUnavailable, message).status(), Arc::new(source))
            }
            Error::SignersUnusable(source) => {
                because(unavailable(ErrorReason::SignersUnusable, message).status(), Arc::new(source))
            }
            Error::Stopping => stopping(),
            Error::Internal(source) => {
                because(Made::new(Code::Internal, ErrorReason::Internal, message).status(), source.into())
            }
        }
    }
}

/// An identity that isn't trusted, or can't be checked.
pub(super) fn identity(error: &IdentityError) -> Status {
    if error.is_unavailable() {
        let message = format!("{error}; try again, and tell the operators if it lasts");
        return Made::new(Code::Unavailable, ErrorReason::KeysUnavailable, message)
            .retry(RETRY_KEYS)
            .status();
    }
    if error.is_about_a_token() {
        return token_invalid(&error.to_string());
    }
    Made::new(Code::Unauthenticated, ErrorReason::IdentityInvalid, error.to_string()).status()
}

/// A call without a usable token, for this reason.
pub(super) fn token_invalid(problem: &str) -> Status {
    let message = format!("{problem}; log in again");
    Made::new(Code::Unauthenticated, ErrorReason::TokenInvalid, message).status()
}

/// The daemon is stopping.
pub(super) fn stopping() -> Status {
    unavailable(ErrorReason::Stopping, Error::Stopping.to_string()).status()
}

/// A bound is reached; `what` there are too many of.
pub(super) fn too_many(what: &str) -> Status {
    let message = format!("too many {what} at once; try again");
    Made::new(Code::ResourceExhausted, ErrorReason::TooMany, message).retry(RETRY_COLLISION).status()
}

/// More than may come within a minute; there is room again after so long.
pub(super) fn too_often(what: &str, after: Duration) -> Status {
    let after = Duration::from_secs(after.as_secs() + 1);
    let message = format!("too many {what} within a minute; try again in {} s", after.as_secs());
    Made::new(Code::ResourceExhausted, ErrorReason::TooMany, message).retry(after).status()
}

/// There is no such method, so no reason of ours applies.
pub(super) fn unknown_method() -> Status {
    Status::unimplemented("there is no such method")
}

/// A call that took longer than any should: each wait below has its own, shorter bound.
pub(super) fn timed_out() -> Status {
    let message = "the call took too long; look whether it happened before you try again";
    Made::new(Code::DeadlineExceeded, ErrorReason::TimedOut, message.to_owned()).status()
}

/// A message that takes longer to arrive than any should. Nothing was done.
pub(super) fn slow() -> Status {
    let message = "the message didn't arrive in time, and nothing was done; try again";
    Made::new(Code::DeadlineExceeded, ErrorReason::TimedOut, message.to_owned()).status()
}

/// Something that can't be, was.
pub(super) fn defect(message: &str) -> Status {
    Made::new(Code::Internal, ErrorReason::Internal, message.to_owned()).status()
}

/// What the transport library made of a message that it could not read, in our terms. It calls a message that doesn't
/// decode an internal error, although it is the client that is wrong.
pub(super) fn unreadable(status: &Status) -> Option<Status> {
    let problem = match status.code() {
        Code::Internal | Code::InvalidArgument => "can't be decoded",
        Code::OutOfRange => "is too long",
        _ => return None,
    };
    Some(Error::BadFields(vec![BadField::new("message", problem)]).into())
}

fn bad_fields(message: String, fields: Vec<BadField>) -> Status {
    let mut made = Made::new(Code::InvalidArgument, ErrorReason::BadField, message);
    for bad in fields {
        made.details.add_bad_request_violation(bad.field, bad.problem);
    }
    made.status()
}

fn refused(message: &str, name: &str, refusal: &Refusal) -> Status {
    let denied = |reason| Made::new(Code::PermissionDenied, reason, message.to_owned());
    let failed = |reason| precondition(reason, message.to_owned(), name);
    match refusal {
        Refusal::RoleMissing { .. } => denied(ErrorReason::RoleMissing),
        Refusal::SelfApproval => denied(ErrorReason::SelfApproval),
        Refusal::NotOwner { .. } => denied(ErrorReason::NotOwner),
        Refusal::RequestState { state, .. } => failed(ErrorReason::RequestState).metadata("state", *state),
        Refusal::DigestStale { current } => {
            failed(ErrorReason::DigestStale).metadata("digest", current.to_string())
        }
        Refusal::TargetChanged => failed(ErrorReason::TargetChanged),
        Refusal::ApprovalInvalid => failed(ErrorReason::ApprovalInvalid),
        Refusal::GrantHeld { grant } => {
            failed(ErrorReason::GrantHeld).metadata("grant", format!("grants/{grant}"))
        }
        Refusal::GrantEnded => failed(ErrorReason::GrantEnded),
        Refusal::WindowClosed => failed(ErrorReason::WindowClosed),
        Refusal::GrantLimit { .. } => failed(ErrorReason::GrantLimit),
        Refusal::GrantPause { over_at } => {
            let over_at = over_at.to_rfc3339_opts(SecondsFormat::Millis, true);
            failed(ErrorReason::GrantPause).metadata("over_at", over_at)
        }
        Refusal::TooEarly { not_before } => failed(ErrorReason::TooEarly)
            .metadata("not_before", not_before.to_rfc3339_opts(SecondsFormat::Millis, true)),
        Refusal::Frozen { since, .. } => failed(ErrorReason::TargetFrozen)
            .metadata("since", since.to_rfc3339_opts(SecondsFormat::Millis, true)),
        Refusal::OutsideHours { fits_at, .. } => {
            let made = failed(ErrorReason::OutsideHours);
            match fits_at {
                Some(at) => made.metadata("fits_at", at.to_rfc3339_opts(SecondsFormat::Millis, true)),
                None => made,
            }
        }
        Refusal::SignatureRequired { .. } => failed(ErrorReason::SignatureRequired),
        Refusal::NotCosigned { last, .. } => {
            let made = failed(ErrorReason::NotCosigned);
            match last {
                Some(at) => made.metadata("cosigned_at", at.to_rfc3339_opts(SecondsFormat::Millis, true)),
                None => made,
            }
        }
        Refusal::SignatureInvalid { problem } => {
            denied(ErrorReason::SignatureInvalid).metadata("problem", problem.name())
        }
    }
    .status()
}

fn precondition(reason: ErrorReason, message: String, name: &str) -> Made {
    let mut made = Made::new(Code::FailedPrecondition, reason, message);
    made.details.add_precondition_failure_violation(wire_name(reason), name, short(&made.message));
    made
}

fn unavailable(reason: ErrorReason, message: String) -> Made {
    Made::new(Code::Unavailable, reason, message).retry(RETRY_OUTAGE)
}

/// A status in the making.
struct Made {
    code: Code,
    reason: ErrorReason,
    message: String,
    metadata: HashMap<String, String>,
    details: ErrorDetails,
}

impl Made {
    fn new(code: Code, reason: ErrorReason, message: String) -> Self {
        Self { code, reason, message, metadata: HashMap::new(), details: ErrorDetails::new() }
    }

    fn metadata(mut self, key: &str, value: impl Into<String>) -> Self {
        self.metadata.insert(key.to_owned(), value.into());
        self
    }

    fn retry(mut self, after: Duration) -> Self {
        self.details.set_retry_info(Some(after));
        self
    }

    fn status(mut self) -> Status {
        self.details.set_error_info(wire_name(self.reason), DOMAIN, self.metadata);
        Status::with_error_details(self.code, short(&self.message), self.details)
    }
}

/// The reason as it is sent: without the prefix that proto enums need.
fn wire_name(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

fn short(message: &str) -> String {
    let end = message.floor_char_boundary(MESSAGE_MAX_BYTES);
    let (kept, rest) = message.split_at(end);
    if rest.is_empty() { kept.to_owned() } else { format!("{kept}…") }
}

fn because(mut status: Status, source: Arc<dyn StdError + Send + Sync>) -> Status {
    status.set_source(source);
    status
}

/// Logs what a call ran into if that is for the operators to mend, not for the caller.
pub(super) fn log(status: &Status, method: &str, client: Option<&str>, user: &str) {
    let ours = matches!(status.code(), Code::Internal | Code::DeadlineExceeded);
    if ours || status.source().is_some() {
        tracing::error!(
            event.action = "call-failed",
            event.outcome = "failure",
            url.path = method,
            client.address = client,
            user.name = user,
            error = status.source(),
            "a call failed: {}",
            status.message()
        );
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use chrono::DateTime;
    use tracing::Level;

    use super::*;
    use crate::{
        access::{approval::Digest, id::GrantId, refusal::Holders, signing::Problem},
        signature::{ListError, Lists},
        store::StoreError,
        telemetry::{Format, tests::logged},
        vault::MissingCapability,
    };

    const NAME: &str = "requests/r";

    fn grant() -> GrantId {
        GrantId::new(DateTime::UNIX_EPOCH, 7)
    }

    fn refused_with(refusal: Refusal) -> Error {
        Error::Refused { name: NAME.into(), refusal }
    }

    fn store(secret: &'static str) -> StoreError {
        StoreError::Unavailable { operation: "commit", source: secret.into() }
    }

    fn unusable() -> ListError {
        Lists::parse("secret", "").unwrap_err()
    }

    /// An error, and what the contract says that it is on the wire: code, reason, metadata.
    type Row = (Error, Code, &'static str, Option<(&'static str, String)>);

    fn all() -> Vec<Row> {
        let missing = vec![MissingCapability { path: "database/creds/x".into(), capability: "read" }];
        let held = ("grant", format!("grants/{}", grant()));
        let name = || NAME.to_owned();
        let others = vec![
            (
                Error::BadFields(vec![BadField::new("duration", "is bad")]),
                Code::InvalidArgument,
                "BAD_FIELD",
                None,
            ),
            (Error::NotFound { name: name() }, Code::NotFound, "NOT_FOUND", None),
            (
                Error::NoEligibleApprover { name: name() },
                Code::FailedPrecondition,
                "NO_ELIGIBLE_APPROVER",
                None,
            ),
            (Error::KeyReused { name: name() }, Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED", None),
            (Error::IssueBlocked { name: name(), missing }, Code::FailedPrecondition, "ISSUE_BLOCKED", None),
            (
                Error::LedgerBlocked { name: name(), problem: "it was changed".into() },
                Code::FailedPrecondition,
                "ISSUE_BLOCKED",
                None,
            ),
            (
                Error::IssueFailed { grant: grant(), reason: "x".into() },
                Code::Unavailable,
                "ISSUE_FAILED",
                Some(held.clone()),
            ),
            (Error::EarlierRemains { grant: grant() }, Code::Unavailable, "EARLIER_REMAINS", Some(held)),
            (Error::Conflict, Code::Aborted, "CONFLICT", None),
            (Error::Reconfigured, Code::Aborted, "CONFLICT", None),
            (Error::StoreUnavailable(store("secret")), Code::Unavailable, "STORE_UNAVAILABLE", None),
            (Error::SignersUnusable(unusable()), Code::Unavailable, "SIGNERS_UNUSABLE", None),
            (Error::Stopping, Code::Unavailable, "STOPPING", None),
            (Error::Internal("secret".into()), Code::Internal, "INTERNAL", None),
        ];
        others.into_iter().chain(refusals()).chain(more_refusals()).collect()
    }

    fn refusals() -> Vec<Row> {
        let digest = Digest::parse(&format!("sha256:{}", "ab".repeat(32))).unwrap();
        vec![
            (
                refused_with(Refusal::RoleMissing { verb: "approve" }),
                Code::PermissionDenied,
                "ROLE_MISSING",
                None,
            ),
            (refused_with(Refusal::SelfApproval), Code::PermissionDenied, "SELF_APPROVAL", None),
            (refused_with(Refusal::NotOwner { verb: "claim" }), Code::PermissionDenied, "NOT_OWNER", None),
            (
                refused_with(Refusal::RequestState { state: "DENIED", action: "claimed" }),
                Code::FailedPrecondition,
                "REQUEST_STATE",
                Some(("state", "DENIED".into())),
            ),
            (
                refused_with(Refusal::DigestStale { current: digest }),
                Code::FailedPrecondition,
                "DIGEST_STALE",
                Some(("digest", digest.to_string())),
            ),
            (refused_with(Refusal::TargetChanged), Code::FailedPrecondition, "TARGET_CHANGED", None),
            (refused_with(Refusal::ApprovalInvalid), Code::FailedPrecondition, "APPROVAL_INVALID", None),
            (
                refused_with(Refusal::GrantHeld { grant: grant() }),
                Code::FailedPrecondition,
                "GRANT_HELD",
                Some(("grant", format!("grants/{}", grant()))),
            ),
            (refused_with(Refusal::GrantEnded), Code::FailedPrecondition, "GRANT_ENDED", None),
            (refused_with(Refusal::WindowClosed), Code::FailedPrecondition, "WINDOW_CLOSED", None),
        ]
    }

    /// Those of claims whose time hasn't come, and of signatures.
    fn more_refusals() -> Vec<Row> {
        vec![
            (
                refused_with(Refusal::GrantLimit { holders: Holders::Caller, max: NonZeroU32::MIN }),
                Code::FailedPrecondition,
                "GRANT_LIMIT",
                None,
            ),
            (
                refused_with(Refusal::GrantPause { over_at: DateTime::UNIX_EPOCH }),
                Code::FailedPrecondition,
                "GRANT_PAUSE",
                Some(("over_at", "1970-01-01T00:00:00.000Z".into())),
            ),
            (
                refused_with(Refusal::Frozen { since: DateTime::UNIX_EPOCH, reason: "breach".into() }),
                Code::FailedPrecondition,
                "TARGET_FROZEN",
                Some(("since", "1970-01-01T00:00:00.000Z".into())),
            ),
            (
                refused_with(Refusal::TooEarly { not_before: DateTime::UNIX_EPOCH }),
                Code::FailedPrecondition,
                "TOO_EARLY",
                Some(("not_before", "1970-01-01T00:00:00.000Z".into())),
            ),
            (
                refused_with(Refusal::OutsideHours { hours: "'* 9 * * *' (UTC)".into(), fits_at: None }),
                Code::FailedPrecondition,
                "OUTSIDE_HOURS",
                None,
            ),
            (
                refused_with(Refusal::NotCosigned {
                    within: Duration::from_mins(10),
                    last: Some(DateTime::UNIX_EPOCH),
                }),
                Code::FailedPrecondition,
                "NOT_COSIGNED",
                Some(("cosigned_at", "1970-01-01T00:00:00.000Z".into())),
            ),
            (
                refused_with(Refusal::SignatureRequired { present: true }),
                Code::FailedPrecondition,
                "SIGNATURE_REQUIRED",
                None,
            ),
            (
                refused_with(Refusal::SignatureInvalid { problem: Problem::KeyRevoked }),
                Code::PermissionDenied,
                "SIGNATURE_INVALID",
                Some(("problem", "KEY_REVOKED".into())),
            ),
        ]
    }

    #[test]
    fn every_error_has_its_code_reason_and_details() {
        for (error, code, reason, metadata) in all() {
            let text = error.to_string();
            let status = Status::from(error);
            let details = status.get_error_details();
            let info = details.error_info().unwrap();
            assert_eq!((status.code(), info.reason.as_str()), (code, reason), "{text}");
            assert_eq!((info.domain.as_str(), status.message()), (DOMAIN, text.as_str()));
            let metadata = metadata.map(|(key, value)| (key.to_owned(), value));
            assert_eq!(info.metadata, metadata.into_iter().collect(), "{text}");
            assert_eq!(details.bad_request().is_some(), code == Code::InvalidArgument, "{text}");
            assert_eq!(details.precondition_failure().is_some(), code == Code::FailedPrecondition, "{text}");
            let again = matches!(code, Code::Unavailable | Code::Aborted);
            assert_eq!(details.retry_info().is_some(), again, "{text}");
            if let Some(failure) = details.precondition_failure() {
                let violation = &failure.violations[0];
                assert_eq!((violation.r#type.as_str(), violation.subject.as_str()), (reason, NAME));
                assert_eq!(violation.description, text);
            }
        }
    }

    #[test]
    fn reasons_are_those_of_the_contract_and_none_is_left_out() {
        let mut reached: Vec<&str> = all().iter().map(|(_, _, reason, _)| *reason).collect();
        reached.extend(["TOKEN_INVALID", "KEYS_UNAVAILABLE", "TOO_MANY", "TIMED_OUT", "IDENTITY_INVALID"]);
        let known = (1..).map_while(|number| ErrorReason::try_from(number).ok());
        let mut known: Vec<&str> = known.map(wire_name).collect();
        reached.sort_unstable();
        // Two errors are a conflict.
        reached.dedup();
        known.sort_unstable();
        assert_eq!(reached, known);
        for (error, ..) in all() {
            if let Error::Refused { refusal, .. } = &error {
                assert!(known.contains(&refusal.reason()), "{refusal}");
            }
        }
    }

    #[test]
    fn identity_errors_tell_what_to_do() {
        let status = identity(&IdentityError::Expired);
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(status.get_details_error_info().unwrap().reason, "TOKEN_INVALID");
        assert_eq!(status.message(), "the token is expired; log in again");
        let status = identity(&IdentityError::KeysUnavailable);
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.get_details_error_info().unwrap().reason, "KEYS_UNAVAILABLE");
        assert!(status.get_details_retry_info().is_some());
        let status = identity(&IdentityError::Certificate("is revoked"));
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(status.get_details_error_info().unwrap().reason, "IDENTITY_INVALID");
        assert_eq!(status.message(), "the client's certificate is revoked");
        assert_eq!(identity(&IdentityError::TrustUnavailable).code(), Code::Unavailable);
        let status = too_often("calls", Duration::from_millis(1500));
        assert_eq!(status.get_details_error_info().unwrap().reason, "TOO_MANY");
        assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(2)));
        assert_eq!(too_many("calls").get_details_error_info().unwrap().reason, "TOO_MANY");
        let status = timed_out();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(status.get_details_error_info().unwrap().reason, "TIMED_OUT");
    }

    #[test]
    fn all_fields_are_named() {
        let fields =
            vec![BadField::new("duration", "must be set"), BadField::new("reason", "must not be blank")];
        let request = Status::from(Error::BadFields(fields)).get_details_bad_request().unwrap();
        let named: Vec<_> = request
            .field_violations
            .iter()
            .map(|bad| (bad.field.as_str(), bad.description.as_str()))
            .collect();
        assert_eq!(named, [("duration", "must be set"), ("reason", "must not be blank")]);
    }

    #[test]
    fn what_is_inside_stays_inside() {
        for error in [Error::Internal("secret".into()), Error::StoreUnavailable(store("secret"))] {
            let status = Status::from(error);
            let sent = status.clone().into_http::<()>();
            assert!(!format!("{:?}", sent.headers()).contains("secret"));
            assert!(!String::from_utf8_lossy(status.details()).contains("secret"));
            let line = logged(Level::INFO, Format::Json, || log(&status, "/m", Some("::1"), "dana"));
            for said in ["secret", "call-failed", r#""url.path":"/m""#, r#""client.address":"::1""#, "dana"] {
                assert!(line.contains(said), "{line}");
            }
        }
    }

    #[test]
    fn what_the_caller_can_mend_is_not_the_operators_matter() {
        let mendable =
            [Error::Conflict, Error::Reconfigured, Error::Stopping, refused_with(Refusal::SelfApproval)];
        let log_all = || mendable.into_iter().for_each(|error| log(&error.into(), "/m", None, "dana"));
        assert_eq!(logged(Level::INFO, Format::Json, log_all), "");
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let missing = |_| MissingCapability { path: "ü".repeat(50), capability: "read" };
        let error = Error::IssueBlocked { name: NAME.into(), missing: (0..100).map(missing).collect() };
        let status = Status::from(error);
        assert!(status.message().len() <= MESSAGE_MAX_BYTES + '…'.len_utf8());
        assert!(status.message().ends_with('…'));
        assert!(status.details().len() < 4096);
    }

    #[test]
    fn a_message_that_cannot_be_read_is_the_clients_fault() {
        for code in [Code::Internal, Code::OutOfRange] {
            let status = unreadable(&Status::new(code, "library")).unwrap();
            assert_eq!(status.get_details_error_info().unwrap().reason, "BAD_FIELD");
        }
        assert!(unreadable(&Status::unimplemented("compression")).is_none());
    }
}
