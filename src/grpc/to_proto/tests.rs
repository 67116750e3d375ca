//! What each state looks like from outside: every time is there when it is known, and only then.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::*;
use crate::access::{
    approval::Approval,
    approval::Digest,
    event::About,
    grant::{Ending, Issued, Leased},
    handle::{Accessor, LeaseId},
    id::{GrantId, RequestId},
    kept::{Erased, Reason, Text},
    request::Ask,
    signing::Signed,
    terms::Terms,
    text::Prose,
    window::Window,
};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn shown_at(seconds: i64) -> Timestamp {
    Timestamp { seconds: 1_800_000_000 + seconds, nanos: 0 }
}

fn somebody(name: &str) -> Person {
    Person { subject: format!("s-{name}"), name: name.into() }
}

fn decided(by: &str, seconds: i64) -> Decision {
    let digest = Digest::parse(&format!("sha256:{}", "ab".repeat(32))).unwrap();
    Decision {
        approver: somebody(by),
        statement: Prose::new("because").unwrap().into(),
        digest,
        decided_at: at(seconds),
        groups: BTreeSet::from(["leads".to_owned()]),
        terms: Terms::default(),
        signed: None,
    }
}

fn a_request(state: request::State) -> wire::Request {
    let ask = Ask {
        groups: BTreeSet::from(["dev".to_owned()]),
        target: "orders-ro".parse().unwrap(),
        credential_path: "database/creds/x".into(),
        requester: somebody("dana"),
        duration: Duration::from_mins(30),
        reason: Prose::new("a row is wrong").unwrap().into(),
        ticket: None,
        approvals_required: 2,
        not_before: None,
        submitted_at: at(0),
        key: None,
    };
    let terms =
        Terms { duration: Some(Duration::from_mins(20)), not_before: Some(at(7)), not_after: Some(at(8)) };
    let approvals = vec![Approval::recorded(Decision { terms, ..decided("ada", 5) })];
    let request = Request { id: RequestId::new(at(0), 7), ask, approvals, state, revision: 1 };
    super::request(RequestView { request, grant: None, groups_missing: vec!["leads".to_owned()] })
}

#[test]
fn a_request_shows_the_times_of_its_state_only() {
    let denial = Denial::recorded(decided("bob", 9));
    let cases = [
        (
            request::State::Pending { lapses_at: at(60) },
            wire::RequestState::Pending,
            Some(shown_at(60)),
            None,
        ),
        (
            request::State::Approved { approved_at: at(5), lapses_at: at(90) },
            wire::RequestState::Approved,
            Some(shown_at(90)),
            Some(shown_at(5)),
        ),
        (request::State::Denied { denial }, wire::RequestState::Denied, None, Some(shown_at(9))),
        (
            request::State::Withdrawn { withdrawn_at: at(8) },
            wire::RequestState::Withdrawn,
            None,
            Some(shown_at(8)),
        ),
        (request::State::Lapsed { lapsed_at: at(61) }, wire::RequestState::Lapsed, None, Some(shown_at(61))),
        (
            request::State::Claimed { claimed_at: at(20) },
            wire::RequestState::Claimed,
            None,
            Some(shown_at(20)),
        ),
    ];
    for (state, name, lapses_at, settled_at) in cases {
        let rules = state.name();
        let message = a_request(state);
        assert_eq!(message.state(), name);
        assert_eq!(name.as_str_name(), format!("REQUEST_STATE_{rules}"));
        assert_eq!((message.lapses_at, message.settled_at), (lapses_at, settled_at), "{rules}");
        let verdicts: Vec<_> = message.decisions.iter().map(wire::Decision::verdict).collect();
        let expected: &[_] = match name {
            wire::RequestState::Denied => &[wire::Verdict::Approved, wire::Verdict::Denied],
            _ => &[wire::Verdict::Approved],
        };
        assert_eq!(verdicts, expected);
        assert_eq!((message.grant.as_str(), message.ticket.as_str()), ("", ""));
        assert!(message.digest.starts_with("sha256:"));
    }
}

fn a_grant(state: grant::State) -> wire::Grant {
    let window = Window::open(at(20), Duration::from_mins(30));
    super::grant(Grant {
        id: GrantId::new(at(20), 8),
        request: RequestId::new(at(0), 7),
        target: "orders-ro".parse().unwrap(),
        credential_path: "database/creds/x".into(),
        holder: somebody("dana"),
        window,
        opened_at: at(20),
        state,
        revision: 1,
    })
}

fn leased() -> Leased {
    Leased {
        token: Accessor::new("SECRET-token"),
        wrapping: Accessor::new("SECRET-wrapping"),
        lease: LeaseId::new("SECRET-lease"),
    }
}

fn ending(activated_at: Option<DateTime<Utc>>) -> Ending {
    Ending {
        cause: Cause::Released,
        issued: Issued::Lease(leased()),
        activated_at,
        begun_at: at(30),
        step: Step::Lease,
        error: Some("the database is down".into()),
        alarms: 2,
    }
}

#[test]
fn a_grant_shows_the_times_of_its_state_only() {
    let revoked = grant::State::Revoked {
        cause: Cause::Released,
        activated_at: at(21),
        begun_at: at(30),
        revoked_at: at(40),
    };
    let failed = grant::State::Failed { cause: Cause::IssueFailed, begun_at: at(30), failed_at: at(40) };
    let cases = [
        (grant::State::Issuing { issued: Issued::Nothing }, [None, None, None]),
        (grant::State::Active { leased: leased(), activated_at: at(21) }, [Some(shown_at(21)), None, None]),
        (grant::State::Revoking(ending(Some(at(21)))), [Some(shown_at(21)), Some(shown_at(30)), None]),
        (grant::State::Revoking(ending(None)), [None, Some(shown_at(30)), None]),
        (revoked, [Some(shown_at(21)), Some(shown_at(30)), Some(shown_at(40))]),
        (failed, [None, Some(shown_at(30)), Some(shown_at(40))]),
    ];
    for (state, times) in cases {
        let rules = state.name();
        let message = a_grant(state);
        assert_eq!(message.state().as_str_name(), format!("GRANT_STATE_{rules}"));
        assert_eq!([message.activated_at, message.revocation_begun_at, message.ended_at], times, "{rules}");
        assert_eq!((message.opens_at, message.closes_at), (Some(shown_at(20)), Some(shown_at(20 + 1800))));
        let is_ending = rules == "REVOKING";
        assert_eq!(message.revocation_step() == wire::RevocationStep::Lease, is_ending);
        assert_eq!(message.revocation_error == "the database is down", is_ending);
        assert_eq!(message.cause() == wire::RevocationCause::Unspecified, times[1].is_none());
        assert!(!format!("{message:?}").contains("SECRET"), "handles stay inside");
    }
}

#[test]
fn causes_and_steps_are_those_of_the_rules() {
    let causes = (1..).map_while(|number| wire::RevocationCause::try_from(number).ok());
    for shown in causes {
        let name = shown.as_str_name().strip_prefix("REVOCATION_CAUSE_").unwrap();
        assert_eq!(cause_of(Cause::named(name).unwrap()), shown);
    }
    let steps = (1..).map_while(|number| wire::RevocationStep::try_from(number).ok());
    for shown in steps {
        let name = shown.as_str_name().strip_prefix("REVOCATION_STEP_").unwrap();
        assert_eq!(step_of(Step::named(name).unwrap()), shown);
    }
}

#[test]
fn an_event_says_what_is_known_and_leaves_the_rest_out() {
    let event = Recorded {
        sequence: 3,
        at: at(1),
        actor: Actor::Daemon,
        about: About::default(),
        kind: "RequestLapsed".into(),
        detail: json!({ "text": "x", "number": 1800, "list": [true, null], "object": { "a": "b" } }),
    };
    let message = super::event(event);
    assert_eq!((message.sequence, message.recorded_at), (3, Some(shown_at(1))));
    assert_eq!((message.actor, message.request.as_str(), message.grant.as_str()), (None, "", ""));
    let value = |kind| Value { kind: Some(kind) };
    let list = vec![value(Kind::BoolValue(true)), value(Kind::NullValue(0))];
    let object = Struct { fields: BTreeMap::from([("a".into(), value(Kind::StringValue("b".into())))]) };
    let expected = BTreeMap::from([
        ("text".into(), value(Kind::StringValue("x".into()))),
        ("number".into(), value(Kind::NumberValue(1800.0))),
        ("list".into(), value(Kind::ListValue(ListValue { values: list }))),
        ("object".into(), value(Kind::StructValue(object))),
    ]);
    assert_eq!(message.detail.unwrap().fields, expected);
}

/// What was written isn't there, and what is there isn't taken for it.
#[test]
fn an_erased_text_is_shown_by_its_digest_and_time() {
    let [reason, statement, text, whole] = ["reason", "statement", "text", "request"].map(Digest::of_text);
    let erased = |digest| Erased { digest, erased_at: at(50) };
    let shown =
        |digest: Digest| Some(wire::ErasedText { digest: digest.to_string(), erased_at: Some(shown_at(50)) });
    let signed = Signed {
        text: Text::Erased(erased(text)),
        signature: "armor".into(),
        key: "SHA256:key".into(),
        present: true,
    };
    let decision = Decision {
        statement: Text::Erased(erased(statement)),
        signed: Some(Box::new(signed)),
        ..decided("ada", 5)
    };
    let ask = Ask {
        target: "orders-ro".parse().unwrap(),
        credential_path: "database/creds/x".into(),
        requester: somebody("dana"),
        duration: Duration::from_mins(30),
        reason: Reason::Erased { text: erased(reason), request: whole },
        ticket: None,
        approvals_required: 1,
        not_before: None,
        submitted_at: at(0),
        key: None,
        groups: [].into(),
    };
    let state = request::State::Claimed { claimed_at: at(6) };
    let approvals = vec![Approval::recorded(decision)];
    let request = Request { id: RequestId::new(at(0), 7), ask, approvals, state, revision: 4 };
    let message = super::request(RequestView { request, grant: None, groups_missing: Vec::new() });
    assert_eq!((message.reason.as_str(), message.reason_erased), ("", shown(reason)));
    assert_eq!(message.digest, whole.to_string());
    let [decision] = message.decisions.try_into().unwrap();
    assert_eq!((decision.statement.as_str(), decision.statement_erased), ("", shown(statement)));
    assert_eq!((decision.signed_text.as_str(), decision.signed_text_erased), ("", shown(text)));
    assert_eq!((decision.signature.as_str(), decision.user_present), ("armor", true));
}
