//! Reading errors as a client does.

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// An error's code and reason.
pub fn reason(error: &Status) -> (Code, String) {
    let info = error.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo: {error:?}"));
    assert_eq!(info.domain, "hallpass");
    (error.code(), info.reason)
}

/// The fields that a `BadRequest` names.
pub fn bad_fields(error: &Status) -> Vec<String> {
    assert_eq!(reason(error), (Code::InvalidArgument, "BAD_FIELD".to_owned()));
    let details = error.get_details_bad_request().expect("a BadRequest");
    details.field_violations.into_iter().map(|violation| violation.field).collect()
}

/// What a `PreconditionFailure` is about, and what it tells to do.
pub fn precondition(error: &Status) -> (String, String) {
    assert_eq!(error.code(), Code::FailedPrecondition, "{error:?}");
    let details = error.get_details_precondition_failure().expect("a PreconditionFailure");
    let [violation] = &details.violations[..] else { panic!("{details:?}") };
    assert_eq!(violation.r#type, reason(error).1);
    (violation.subject.clone(), violation.description.clone())
}
