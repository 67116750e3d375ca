//! What of this module the fuzz targets call (`tests/fuzz`): the readers of messages and of page tokens, without a server
//! around them. It is in no other build than theirs and the tests'.

use std::{fmt::Display, str::FromStr};

use prost::Message;

use super::{from_proto, page::Page};
use crate::{
    access::{
        freeze::Extent,
        id::{GrantId, RequestId},
        target::TargetName,
        text::Prose,
    },
    broker::{Approving, Error, GrantFilter, RequestFilter, Slice, Submission, Written},
    wire,
};

/// A list that has pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Of targets.
    Targets,
    /// Of requests.
    Requests,
    /// Of exceptions.
    Exceptions,
    /// Of grants.
    Grants,
}

impl List {
    /// All.
    pub const ALL: [Self; 4] = [Self::Targets, Self::Requests, Self::Exceptions, Self::Grants];

    /// After what a page begins, if its token is one of this list with this filter, which is an encoded message; `None` if
    /// the message isn't one.
    ///
    /// # Errors
    ///
    /// If the token isn't taken.
    #[must_use]
    pub fn read(self, filter: &[u8], token: &str) -> Option<Result<String, ()>> {
        match self {
            Self::Targets => Some(read::<TargetName>("targets", &(), token)),
            Self::Requests => request_filter(filter).map(|it| read::<RequestId>("requests", &it, token)),
            Self::Exceptions => request_filter(filter).map(|it| read::<RequestId>("exceptions", &it, token)),
            Self::Grants => grant_filter(filter).map(|it| read::<GrantId>("grants", &it, token)),
        }
    }

    /// The token of the page after this thing; `None` if it can't be in the list, or the filter's message isn't one.
    #[must_use]
    pub fn token(self, filter: &[u8], shown: &str) -> Option<String> {
        match self {
            Self::Targets => token::<TargetName>("targets", &(), shown),
            Self::Requests => token::<RequestId>("requests", &request_filter(filter)?, shown),
            Self::Exceptions => token::<RequestId>("exceptions", &request_filter(filter)?, shown),
            Self::Grants => token::<GrantId>("grants", &grant_filter(filter)?, shown),
        }
    }
}

fn request_filter(message: &[u8]) -> Option<wire::RequestFilter> {
    wire::RequestFilter::decode(message).ok()
}

fn grant_filter(message: &[u8]) -> Option<wire::GrantFilter> {
    wire::GrantFilter::decode(message).ok()
}

fn read<Id: FromStr + Display>(list: &'static str, filter: &impl Message, token: &str) -> Result<String, ()> {
    let (page, bad) = Page::<Id>::parse(list, filter, 0, token);
    page.after().filter(|_| bad.is_empty()).map(ToString::to_string).ok_or(())
}

fn token<Id: FromStr + Display + Clone>(
    list: &'static str,
    filter: &impl Message,
    shown: &str,
) -> Option<String> {
    let shown: Id = shown.parse().ok()?;
    let (page, _) = Page::<Id>::parse(list, filter, 1, "");
    // Two things, and room for one.
    let (_, token) = page.fill([(), ()], |()| shown.clone(), |()| ());
    Some(token)
}

/// Reads a submission.
///
/// # Errors
///
/// All that is wrong with it.
pub fn submission(message: &wire::SubmitRequestRequest) -> Result<Submission, Error> {
    from_proto::submission(message)
}

/// Reads a decision.
///
/// # Errors
///
/// All that is wrong with it.
pub fn decision(message: &wire::DenyRequestRequest) -> Result<(RequestId, Written), Error> {
    from_proto::decision(&message.name, &message.digest, &message.statement)
}

/// Reads an approval.
///
/// # Errors
///
/// All that is wrong with it.
pub fn approval(message: &wire::ApproveRequestRequest) -> Result<(RequestId, Approving), Error> {
    from_proto::approval(message)
}

/// Reads the end of a grant.
///
/// # Errors
///
/// All that is wrong with it.
pub fn revocation(message: &wire::RevokeGrantRequest) -> Result<(GrantId, Prose), Error> {
    from_proto::revocation(message)
}

/// Reads a freeze.
///
/// # Errors
///
/// All that is wrong with it.
pub fn freeze(message: &wire::FreezeTargetsRequest) -> Result<(Extent, Prose), Error> {
    from_proto::freeze(&message.target, &message.reason)
}

/// Reads what is watched.
///
/// # Errors
///
/// All that is wrong with it.
pub fn watched(message: &wire::WatchRequestsRequest) -> Result<(Option<RequestId>, Option<i64>), Error> {
    from_proto::watched(message)
}

/// Reads a page of targets.
///
/// # Errors
///
/// All that is wrong with it.
pub fn targets(message: &wire::ListTargetsRequest) -> Result<Option<TargetName>, Error> {
    from_proto::target_page(message).map(|page| page.after().cloned())
}

/// Reads a page of requests.
///
/// # Errors
///
/// All that is wrong with it.
pub fn requests(message: wire::ListRequestsRequest) -> Result<(RequestFilter, Slice<RequestId>), Error> {
    let (filter, page) = from_proto::request_page(message)?;
    Ok((filter, page.slice()))
}

/// Reads a page of exceptions.
///
/// # Errors
///
/// All that is wrong with it.
pub fn exceptions(message: wire::ListExceptionsRequest) -> Result<(RequestFilter, Slice<RequestId>), Error> {
    let (filter, page) = from_proto::exception_page(message)?;
    Ok((filter, page.slice()))
}

/// Reads a page of grants.
///
/// # Errors
///
/// All that is wrong with it.
pub fn grants(message: wire::ListGrantsRequest) -> Result<(GrantFilter, Slice<GrantId>), Error> {
    from_proto::grant_page(message).map(|(filter, page)| (filter, page.slice()))
}
