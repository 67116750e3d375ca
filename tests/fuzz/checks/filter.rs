//! What comes over the wire: a byte for the kind of message, and the message as it is encoded. What is read of it says what
//! the message said, and otherwise at least one field is named.

use chrono::{DateTime, Utc};
use hallpass::{
    access::{
        freeze::Extent,
        terms::Terms,
        text::{is_obeyed, line},
    },
    broker::{Error, RequestFilter, Slice},
    grpc::fuzzing::{self, List},
    wire,
};
use prost::Message;

pub fn check(input: &[u8]) {
    let Some((kind, message)) = input.split_first() else { return };
    match kind % 10 {
        0 => read(message, submission),
        1 => read(message, approval),
        2 => read(message, decision),
        3 => read(message, revocation),
        4 => read(message, freeze),
        5 => read(message, watched),
        6 => read(message, targets),
        7 => read(message, requests),
        8 => read(message, exceptions),
        _ => read(message, grants),
    }
}

/// Decodes the message, reads it, and looks at what is said if that can't be done.
fn read<M: Message + Default>(message: &[u8], read: impl FnOnce(&M) -> Result<(), Error>) {
    let Ok(message) = M::decode(message) else { return };
    match read(&message) {
        Ok(()) => {}
        Err(Error::BadFields(fields)) => {
            assert!(!fields.is_empty(), "nothing is wrong, and it wasn't read");
            let shown = |problem: &str| !problem.is_empty() && !problem.contains(is_obeyed);
            assert!(fields.iter().all(|bad| shown(&bad.problem) && shown(bad.field)), "{fields:?}");
        }
        Err(other) => panic!("reading refuses nothing but fields: {other:?}"),
    }
}

fn submission(message: &wire::SubmitRequestRequest) -> Result<(), Error> {
    let read = fuzzing::submission(message)?;
    assert_eq!(format!("targets/{}", read.target), message.target);
    let seconds = |length: std::time::Duration| i64::try_from(length.as_secs()).unwrap();
    assert_eq!(read.duration.map(seconds), message.duration.map(|duration| duration.seconds));
    assert_eq!(read.not_before.map(spelled), message.not_before);
    must_be_prose(read.reason.as_str(), &message.reason);
    assert_eq!(read.ticket.as_ref().map_or("", |ticket| ticket.as_str()), message.ticket.trim());
    assert_eq!(read.key.as_ref().map_or("", |key| key.as_str()), message.idempotency_key);
    Ok(())
}

fn approval(message: &wire::ApproveRequestRequest) -> Result<(), Error> {
    let (id, read) = fuzzing::approval(message)?;
    must_name("requests", &id.to_string(), &message.name);
    // Its hex digits are numbers, which may be in either case.
    assert_eq!(read.written.digest.to_string(), message.digest.to_ascii_lowercase());
    must_be_prose(read.written.statement.as_str(), &message.statement);
    must_be_terms(read.terms, message);
    let signature = read.signature.map(|signature| (signature.text, signature.armored)).unwrap_or_default();
    assert_eq!(signature, (message.signed_text.clone(), message.signature.clone()));
    Ok(())
}

fn decision(message: &wire::DenyRequestRequest) -> Result<(), Error> {
    let (id, read) = fuzzing::decision(message)?;
    must_name("requests", &id.to_string(), &message.name);
    must_be_prose(read.statement.as_str(), &message.statement);
    Ok(())
}

fn revocation(message: &wire::RevokeGrantRequest) -> Result<(), Error> {
    let (id, reason) = fuzzing::revocation(message)?;
    must_name("grants", &id.to_string(), &message.name);
    must_be_prose(reason.as_str(), &message.reason);
    Ok(())
}

fn freeze(message: &wire::FreezeTargetsRequest) -> Result<(), Error> {
    let (extent, reason) = fuzzing::freeze(message)?;
    let target = match extent {
        Extent::Everything => "-".to_owned(),
        Extent::Target(target) => target.to_string(),
    };
    assert_eq!(format!("targets/{target}"), message.target);
    must_be_prose(reason.as_str(), &message.reason);
    Ok(())
}

fn watched(message: &wire::WatchRequestsRequest) -> Result<(), Error> {
    let (request, after) = fuzzing::watched(message)?;
    assert_eq!(request.is_none(), message.name.is_empty());
    assert_eq!(after, message.after_sequence);
    assert!(after.is_none_or(|after| after >= 0));
    Ok(())
}

fn targets(message: &wire::ListTargetsRequest) -> Result<(), Error> {
    let after = fuzzing::targets(message)?.map(|after| after.to_string());
    must_be_page(List::Targets, &[], after, &message.page_token);
    Ok(())
}

fn requests(message: &wire::ListRequestsRequest) -> Result<(), Error> {
    let (filter, slice) = fuzzing::requests(message.clone())?;
    must_be_requests(List::Requests, &filter, slice, &message.page_token, message.filter.clone());
    Ok(())
}

fn exceptions(message: &wire::ListExceptionsRequest) -> Result<(), Error> {
    let (filter, slice) = fuzzing::exceptions(message.clone())?;
    assert_eq!(filter.oldest_first, message.order == i32::from(wire::ListOrder::OldestFirst));
    if filter.oldest_first {
        // Its tokens are another list's, which nobody has one of.
        assert_eq!(slice.after.is_some(), !message.page_token.is_empty());
        return Ok(());
    }
    must_be_requests(List::Exceptions, &filter, slice, &message.page_token, message.filter.clone());
    Ok(())
}

fn grants(message: &wire::ListGrantsRequest) -> Result<(), Error> {
    let (read, slice) = fuzzing::grants(message.clone())?;
    let asked = message.filter.clone().unwrap_or_default();
    must_be_states(&read.states, asked.states.len());
    must_be_person(read.holder.as_deref(), &asked.holder);
    assert_eq!(read.request.is_none(), asked.request.is_empty());
    assert_eq!(read.target.map_or_else(String::new, |it| format!("targets/{it}")), asked.target);
    assert!(read.overdue.is_none() && (2..=201).contains(&slice.limit));
    let after = slice.after.map(|after| after.to_string());
    must_be_page(List::Grants, &asked.encode_to_vec(), after, &message.page_token);
    Ok(())
}

/// Ids may be written in either case.
fn must_name(collection: &str, id: &str, name: &str) {
    let written = name.strip_prefix(collection).and_then(|rest| rest.strip_prefix('/')).unwrap();
    assert_eq!(written.to_ascii_lowercase(), id);
}

fn must_be_prose(read: &str, written: &str) {
    assert_eq!(read, written.replace("\r\n", "\n").trim());
    assert!(!read.is_empty() && !read.contains(|c| is_obeyed(c) && !matches!(c, '\n' | '\t')));
}

fn must_be_terms(terms: Terms, message: &wire::ApproveRequestRequest) {
    let seconds = |length: std::time::Duration| i64::try_from(length.as_secs()).unwrap();
    assert_eq!(terms.duration.map(seconds), message.duration.map(|duration| duration.seconds));
    assert_eq!(terms.not_before.map(spelled), message.not_before);
    assert_eq!(terms.not_after.map(spelled), message.not_after);
}

fn must_be_requests(
    list: List,
    read: &RequestFilter,
    slice: Slice<hallpass::access::id::RequestId>,
    token: &str,
    asked: Option<wire::RequestFilter>,
) {
    let asked = asked.unwrap_or_default();
    must_be_states(&read.states, asked.states.len());
    must_be_person(read.requester.as_deref(), &asked.requester);
    must_be_person(read.approver.as_deref(), &asked.approver);
    must_be_person(read.group.as_deref(), &asked.group);
    must_be_person(read.ticket.as_deref(), &asked.ticket);
    must_be_person(read.text.as_deref(), &asked.text);
    assert!(read.text.as_ref().is_none_or(|text| text.len() <= 256 && text.chars().count() >= 3));
    assert_eq!((read.signed.is_some(), read.alarmed), (asked.signed != 0, asked.alarmed));
    let grant = asked.grant.clone().unwrap_or_default();
    must_be_states(&read.grant.states, grant.states.len());
    must_be_states(&read.grant.causes, grant.causes.len());
    must_be_person(read.grant.holder.as_deref(), &grant.holder);
    let seconds = |by: std::time::Duration| i64::try_from(by.as_secs()).unwrap();
    assert_eq!(read.grant.late_by.map(seconds), grant.late_by.map(|by| by.seconds));
    assert_eq!(read.grant.early_by.map(seconds), grant.early_by.map(|by| by.seconds));
    let target = read.target.as_ref().map_or_else(String::new, |it| format!("targets/{it}"));
    assert_eq!(target, asked.target);
    for (read, asked) in
        [(read.submitted_from, asked.submitted_from), (read.submitted_until, asked.submitted_until)]
    {
        // Rounded up, to the millisecond.
        let nanos =
            |at: prost_types::Timestamp| i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanos);
        let read = read.map(|at| i128::from(at.timestamp_millis()) * 1_000_000);
        let late = read.zip(asked.map(nanos)).map(|(read, asked)| read - asked);
        assert_eq!(read.is_some(), asked.is_some());
        assert!(late.is_none_or(|late| (0..1_000_000).contains(&late)), "{late:?}");
    }
    assert!((2..=201).contains(&slice.limit));
    must_be_page(list, &asked.encode_to_vec(), slice.after.map(|after| after.to_string()), token);
}

fn must_be_states(states: &[&str], asked: usize) {
    assert!(states.len() <= asked && states.is_empty() == (asked == 0));
    let named = |state: &&str| !state.is_empty() && *state != "UNSPECIFIED";
    assert!(states.iter().all(named), "{states:?}");
}

fn must_be_person(read: Option<&str>, asked: &str) {
    assert_eq!(read.unwrap_or_default(), asked);
    assert!(read.is_none_or(|read| line(read) == Ok(read)));
}

fn must_be_page(list: List, filter: &[u8], after: Option<String>, token: &str) {
    let given = after.map_or_else(String::new, |after| list.token(filter, &after).unwrap());
    assert_eq!(given, token, "this token was never given out");
}

fn spelled(at: DateTime<Utc>) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.timestamp(),
        nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap(),
    }
}
