//! From the wire to the verbs' own types. What isn't certainly meant is refused, and all that is wrong with a message is
//! said at once, field by field. No rule is applied here: whether a duration is too long for its target is not a question
//! of form.

mod filter;

use std::{fmt::Display, str::FromStr, time::Duration};

use chrono::{DateTime, Utc};

use self::filter::request_filter;
use super::page::Page;
use crate::{
    access::{
        approval::Digest,
        approval_text::TEXT_MAX_BYTES,
        freeze::Extent,
        id::{GrantId, RequestId},
        target::TargetName,
        terms::Terms,
        text::{IdempotencyKey, Prose, Ticket, line},
    },
    broker::{Approving, BadField, Error, GrantFilter, RequestFilter, Signature, Submission, Written},
    signature::SIGNATURE_MAX_BYTES,
    wire,
};

/// The longest length of time that can be meant: beyond it, adding to an instant could overflow. The targets' own bounds
/// are far below.
const DURATION_MAX: Duration = Duration::from_hours(24 * 366 * 100);

/// The years that a timestamp may lie in: those of `google.protobuf.Timestamp`, as seconds.
const TIMESTAMP_RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// How all targets are named together (<https://google.aip.dev/159>).
const EVERY_TARGET: &str = "targets/-";

/// Collects what is wrong with a message.
#[derive(Default)]
struct Problems(Vec<BadField>);

impl Problems {
    fn take<T>(&mut self, read: Result<T, BadField>) -> Option<T> {
        read.map_err(|bad| self.0.push(bad)).ok()
    }

    fn error(self) -> Error {
        Error::BadFields(self.0)
    }

    fn none_or<T>(self, value: T) -> Result<T, Error> {
        if self.0.is_empty() { Ok(value) } else { Err(self.error()) }
    }
}

/// How many leaves are asked for where nobody says, and at most.
const LEAVES_MAX: u32 = 1000;

/// How many events a checkpoint is about, or at least.
pub(super) fn checkpoint(field: &'static str, events: i64) -> Result<u64, Error> {
    size(field, events).map_err(|bad| Error::BadFields(vec![bad]))
}

/// After which place, and how many at most.
pub(super) fn leaves(message: &wire::ListLeavesRequest) -> Result<(i64, u32), Error> {
    let mut bad = Problems::default();
    let after = bad.take(size("after_sequence", message.after_sequence));
    match (after, bad.take(size("page_size", message.page_size.into()))) {
        (Some(_), Some(0)) => Ok((message.after_sequence, LEAVES_MAX)),
        (Some(_), Some(limit)) => {
            let limit = u32::try_from(limit).map_or(LEAVES_MAX, |limit| limit.min(LEAVES_MAX));
            Ok((message.after_sequence, limit))
        }
        _ => Err(bad.error()),
    }
}

/// The place of an event, and in a log of which size.
pub(super) fn inclusion(message: &wire::ProveInclusionRequest) -> Result<(u64, u64), Error> {
    sizes(("sequence", message.sequence), ("size", message.size))
}

/// The former size, and the later one.
pub(super) fn consistency(message: &wire::ProveConsistencyRequest) -> Result<(u64, u64), Error> {
    sizes(("former_size", message.former_size), ("size", message.size))
}

fn sizes(one: (&'static str, i64), other: (&'static str, i64)) -> Result<(u64, u64), Error> {
    let mut bad = Problems::default();
    match (bad.take(size(one.0, one.1)), bad.take(size(other.0, other.1))) {
        (Some(one), Some(other)) => Ok((one, other)),
        _ => Err(bad.error()),
    }
}

/// A size of the log, or a place in it.
fn size(field: &'static str, size: i64) -> Result<u64, BadField> {
    u64::try_from(size).map_err(|_| BadField::new(field, "must not be negative"))
}

pub(super) fn submission(message: &wire::SubmitRequestRequest) -> Result<Submission, Error> {
    let mut bad = Problems::default();
    let target = bad.take(resource("target", "targets", &message.target));
    let duration = bad.take(duration("duration", message.duration));
    let reason = bad.take(text("reason", Prose::new(&message.reason)));
    let ticket = bad.take(text("ticket", Ticket::new(&message.ticket)));
    let key = bad.take(text("idempotency_key", IdempotencyKey::new(&message.idempotency_key)));
    let (not_before, validate_only) =
        (bad.take(second("not_before", message.not_before)), message.validate_only);
    match (target, duration, reason, ticket, key, not_before) {
        (Some(target), Some(duration), Some(reason), Some(ticket), Some(key), Some(not_before)) => {
            Ok(Submission { target, duration, not_before, reason, ticket, key, validate_only })
        }
        _ => Err(bad.error()),
    }
}

/// What approving and denying have in common.
pub(super) fn decision(name: &str, digest: &str, statement: &str) -> Result<(RequestId, Written), Error> {
    let mut bad = Problems::default();
    let id = bad.take(resource("name", "requests", name));
    let digest = Digest::parse(digest).ok_or(BadField::new("digest", "must be `sha256:` and 64 hex digits"));
    let digest = bad.take(digest);
    let statement = bad.take(text("statement", Prose::new(statement)));
    match (id, digest, statement) {
        (Some(id), Some(digest), Some(statement)) => Ok((id, Written { digest, statement })),
        _ => Err(bad.error()),
    }
}

/// An approval, which may be on stricter terms, and may be signed.
pub(super) fn approval(message: &wire::ApproveRequestRequest) -> Result<(RequestId, Approving), Error> {
    let mut bad = Problems::default();
    let (text, armored) = (&message.signed_text, &message.signature);
    for (field, value, max) in
        [("signed_text", text, TEXT_MAX_BYTES), ("signature", armored, SIGNATURE_MAX_BYTES)]
    {
        if value.len() > max {
            bad.0.push(BadField::new(field, format!("must have at most {max} bytes")));
        }
    }
    if text.is_empty() != armored.is_empty() {
        bad.0.push(BadField::new("signature", "must come together with signed_text"));
    }
    if message.validate_only && !armored.is_empty() {
        bad.0.push(BadField::new("validate_only", "is for what isn't signed yet"));
    }
    let terms = Terms {
        duration: bad.take(duration("duration", message.duration)).flatten(),
        not_before: bad.take(second("not_before", message.not_before)).flatten(),
        not_after: bad.take(second("not_after", message.not_after)).flatten(),
    };
    match decision(&message.name, &message.digest, &message.statement) {
        Ok((id, written)) => {
            let given = !armored.is_empty();
            let signature = given.then(|| Signature { text: text.clone(), armored: armored.clone() });
            bad.none_or((id, Approving { written, terms, signature }))
        }
        Err(Error::BadFields(more)) => Err(Error::BadFields(bad.0.into_iter().chain(more).collect())),
        Err(other) => Err(other),
    }
}

pub(super) fn revocation(message: &wire::RevokeGrantRequest) -> Result<(GrantId, Prose), Error> {
    let mut bad = Problems::default();
    let id = bad.take(resource("name", "grants", &message.name));
    let reason = bad.take(text("reason", Prose::new(&message.reason)));
    id.zip(reason).ok_or_else(|| bad.error())
}

/// What is to be frozen or thawed, and why.
pub(super) fn freeze(target: &str, reason: &str) -> Result<(Extent, Prose), Error> {
    let mut bad = Problems::default();
    let extent = match target {
        EVERY_TARGET => Some(Extent::Everything),
        one => bad.take(resource("target", "targets", one)).map(Extent::Target),
    };
    let reason = bad.take(text("reason", Prose::new(reason)));
    extent.zip(reason).ok_or_else(|| bad.error())
}

pub(super) fn watched(
    message: &wire::WatchRequestsRequest,
) -> Result<(Option<RequestId>, Option<i64>), Error> {
    let mut bad = Problems::default();
    let request = bad.take(optional("name", "requests", &message.name)).flatten();
    if message.after_sequence.is_some_and(|sequence| sequence < 0) {
        bad.0.push(BadField::new("after_sequence", "must not be negative"));
    }
    bad.none_or((request, message.after_sequence))
}

pub(super) fn target_page(message: &wire::ListTargetsRequest) -> Result<Page<TargetName>, Error> {
    // Targets have no filter; an empty message stands for it.
    let (page, bad) = Page::parse("targets", &(), message.page_size, &message.page_token);
    Problems(bad).none_or(page)
}

/// A page of requests.
pub(super) fn request_page(
    message: wire::ListRequestsRequest,
) -> Result<(RequestFilter, Page<RequestId>), Error> {
    filtered_page("requests", (message.page_size, &message.page_token), message.filter)
}

/// A page of exceptions. The two orders are two lists, so that a token is one of its order.
pub(super) fn exception_page(
    message: wire::ListExceptionsRequest,
) -> Result<(RequestFilter, Page<RequestId>), Error> {
    let asked = (message.page_size, message.page_token.as_str());
    match wire::ListOrder::try_from(message.order) {
        Ok(wire::ListOrder::Unspecified | wire::ListOrder::NewestFirst) => {
            filtered_page("exceptions", asked, message.filter)
        }
        Ok(wire::ListOrder::OldestFirst) => {
            let (filter, page) = filtered_page("exceptions, the oldest first", asked, message.filter)?;
            Ok((RequestFilter { oldest_first: true, ..filter }, page))
        }
        Err(_) => {
            Err(Error::BadFields(vec![BadField::new("order", "has a value that this server doesn't know")]))
        }
    }
}

fn filtered_page(
    list: &'static str,
    (size, token): (i32, &str),
    filter: Option<wire::RequestFilter>,
) -> Result<(RequestFilter, Page<RequestId>), Error> {
    let filter = filter.unwrap_or_default();
    let (page, bad) = Page::parse(list, &filter, size, token);
    let mut bad = Problems(bad);
    let filter = request_filter(&filter, &mut bad);
    bad.none_or((filter, page))
}

/// What is to be counted.
pub(super) fn counted(message: wire::SummarizeExceptionsRequest) -> Result<RequestFilter, Error> {
    let mut bad = Problems::default();
    let filter = request_filter(&message.filter.unwrap_or_default(), &mut bad);
    bad.none_or(filter)
}

pub(super) fn grant_page(message: wire::ListGrantsRequest) -> Result<(GrantFilter, Page<GrantId>), Error> {
    let filter = message.filter.unwrap_or_default();
    let (page, bad) = Page::parse("grants", &filter, message.page_size, &message.page_token);
    let mut bad = Problems(bad);
    let states = bad.take(states::<wire::GrantState>(&filter.states, wire::GrantState::as_str_name));
    let filter = GrantFilter {
        states: states.unwrap_or_default(),
        target: bad.take(optional("filter.target", "targets", &filter.target)).flatten(),
        holder: bad.take(person("filter.holder", &filter.holder)).flatten(),
        request: bad.take(optional("filter.request", "requests", &filter.request)).flatten(),
        overdue: None,
    };
    bad.none_or((filter, page))
}

/// A name alone, for the methods that take nothing else.
pub(super) fn name<Id: FromStr<Err: Display>>(
    field: &'static str,
    collection: &str,
    text: &str,
) -> Result<Id, Error> {
    resource(field, collection, text).map_err(|bad| Error::BadFields(vec![bad]))
}

fn resource<Id: FromStr<Err: Display>>(
    field: &'static str,
    collection: &str,
    text: &str,
) -> Result<Id, BadField> {
    let id = text.strip_prefix(collection).and_then(|rest| rest.strip_prefix('/'));
    let id = id.ok_or_else(|| BadField::new(field, format!("must be a name like {collection}/…")))?;
    id.parse().map_err(|problem: Id::Err| BadField::new(field, problem.to_string()))
}

fn optional<Id: FromStr<Err: Display>>(
    field: &'static str,
    collection: &str,
    text: &str,
) -> Result<Option<Id>, BadField> {
    if text.is_empty() { Ok(None) } else { resource(field, collection, text).map(Some) }
}

fn text<T>(field: &'static str, read: Result<T, impl Display>) -> Result<T, BadField> {
    read.map_err(|problem| BadField::new(field, problem.to_string()))
}

/// A subject or a name to look for: one line, as the identity provider's claims are.
fn person(field: &'static str, text: &str) -> Result<Option<String>, BadField> {
    if text.is_empty() {
        return Ok(None);
    }
    self::text(field, line(text)).map(|line| Some(line.to_owned()))
}

/// A length of time, if there is any.
fn duration(
    field: &'static str,
    duration: Option<prost_types::Duration>,
) -> Result<Option<Duration>, BadField> {
    let bad = |problem| Err(BadField::new(field, problem));
    match duration {
        None => Ok(None),
        Some(duration) if duration.nanos != 0 => bad("must be whole seconds"),
        Some(duration) => match u64::try_from(duration.seconds).map(Duration::from_secs) {
            Ok(Duration::ZERO) => bad("must be at least one second"),
            Ok(duration) if duration <= DURATION_MAX => Ok(Some(duration)),
            Ok(_) => bad("is out of range"),
            Err(_) => bad("must not be negative"),
        },
    }
}

/// An instant, rounded up to the milliseconds that the record keeps: both `at >= bound` and `at < bound` mean the same
/// for whole milliseconds then.
fn instant(
    field: &'static str,
    timestamp: Option<prost_types::Timestamp>,
) -> Result<Option<DateTime<Utc>>, BadField> {
    let Some(timestamp) = timestamp else { return Ok(None) };
    let nanos = u32::try_from(timestamp.nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    let seconds = Some(timestamp.seconds).filter(|seconds| TIMESTAMP_RANGE.contains(seconds));
    let at = seconds.zip(nanos).and_then(|(seconds, nanos)| {
        let millis = seconds * 1000 + i64::from(nanos.div_ceil(1_000_000));
        DateTime::from_timestamp_millis(millis)
    });
    at.map(Some).ok_or(BadField::new(field, "is not a valid timestamp"))
}

/// An instant that people choose: a whole second, as what they sign has it.
fn second(
    field: &'static str,
    timestamp: Option<prost_types::Timestamp>,
) -> Result<Option<DateTime<Utc>>, BadField> {
    match timestamp {
        Some(timestamp) if timestamp.nanos != 0 => Err(BadField::new(field, "must be a whole second")),
        timestamp => instant(field, timestamp),
    }
}

/// The names of states.
fn states<E: TryFrom<i32>>(
    numbers: &[i32],
    name: impl Fn(&E) -> &'static str,
) -> Result<Vec<&'static str>, BadField> {
    names(("filter.states", "state"), numbers, name)
}

/// The names of an enum's values, as the rules and the record know them: what they are called behind their prefix.
fn names<E: TryFrom<i32>>(
    (field, kind): (&'static str, &'static str),
    numbers: &[i32],
    name: impl Fn(&E) -> &'static str,
) -> Result<Vec<&'static str>, BadField> {
    let (mut names, prefix) = (Vec::new(), format!("_{}_", kind.to_ascii_uppercase()));
    for number in numbers {
        let value = E::try_from(*number).ok().filter(|_| *number != 0);
        let value = value.ok_or(BadField::new(field, format!("has a value that is no {kind}")))?;
        let known = name(&value).split_once(&prefix).map_or("", |(_, known)| known);
        if !names.contains(&known) {
            names.push(known);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
