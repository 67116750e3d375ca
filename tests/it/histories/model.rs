//! What the audit log says happened, replayed by itself: written from the documented meaning of the events, not from the
//! code that makes them. The rows must say the same (I4).

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use hallpass::access::{
    actor::Actor,
    event::Recorded,
    grant::{Grant, Issued, State},
    id::{GrantId, RequestId},
    request::Request,
};

use super::{cast, jobs};
use crate::support::memory::Rows;

/// A request as the log tells of it.
#[derive(Clone, Debug)]
pub struct RequestTold {
    pub requester: &'static str,
    pub state: &'static str,
    pub revision: i64,
    pub duration: TimeDelta,
    /// The human beings who approved, in order.
    pub approvers: Vec<&'static str>,
    pub approvals_required: usize,
    pub window: Option<(DateTime<Utc>, DateTime<Utc>)>,
    changed_at: DateTime<Utc>,
}

/// A grant as the log tells of it.
#[derive(Clone, Debug)]
pub struct GrantTold {
    pub request: RequestId,
    pub state: &'static str,
    /// How much was issued by then: nothing, a token, a lease.
    pub issued: usize,
    revision: i64,
    window: (DateTime<Utc>, DateTime<Utc>),
    changed_at: DateTime<Utc>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Model {
    pub requests: BTreeMap<RequestId, RequestTold>,
    pub grants: BTreeMap<GrantId, GrantTold>,
    read: usize,
    /// The target that the configuration in force doesn't have; empty if it has all.
    without: String,
}

/// What is wrong, by the invariant's name.
pub type Verdict = Result<(), (&'static str, String)>;

fn wrong(name: &'static str, what: impl Into<String>) -> Verdict {
    Err((name, what.into()))
}

fn ensure(name: &'static str, holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { wrong(name, what()) }
}

impl Model {
    /// Replays what was recorded since the last time, and compares.
    pub fn follow(&mut self, rows: &Rows) -> Verdict {
        ensure("I8", rows.events.len() >= self.read, || "events are gone".to_owned())?;
        for event in &rows.events[self.read..] {
            self.read += 1;
            let sequence = i64::try_from(self.read).unwrap();
            ensure("I8", event.sequence == sequence, || format!("{sequence} is {}", event.sequence))?;
            self.replay(event)?;
        }
        self.compare(rows)
    }

    fn replay(&mut self, event: &Recorded) -> Verdict {
        let kind = event.kind.as_str();
        if matches!(kind, "RequestSubmitted" | "RequestApproved" | "RequestClaimed" | "GrantOpened") {
            self.is_configured(event)?;
        }
        match (kind, event.about.request, event.about.grant) {
            ("RequestSubmitted", Some(id), None) => self.submitted(id, event),
            ("GrantOpened", Some(request), Some(id)) => self.opened(request, id, event),
            (_, Some(id), None) if kind.starts_with("Request") => self.request_moved(id, event),
            (_, Some(_), Some(id)) if kind.starts_with("Grant") || kind.starts_with("Revocation") => {
                self.grant_moved(id, event)
            }
            ("ConfigurationChanged", ..) => {
                event.detail["digest"].as_str().unwrap_or_default().clone_into(&mut self.without);
                Ok(())
            }
            (
                "AttemptRefused"
                | "RecordingResumed"
                | "ReconciliationDone"
                | "UnknownLeaseFound"
                | "WrappingTokenOpened",
                ..,
            ) => Ok(()),
            _ => wrong("I4", format!("nothing is known of {event:?}")),
        }
    }

    /// The daemon starts with a configuration without this target.
    pub fn started_with(&mut self, without: Option<&str>) {
        self.without = jobs::digest(without);
    }

    /// What the policy allows was allowed by the configuration that the log says is in force.
    fn is_configured(&self, event: &Recorded) -> Verdict {
        let target = event.about.target.as_ref().map(ToString::to_string).unwrap_or_default();
        ensure("reload", target != self.without, || {
            format!("{} on {target}, which isn't configured", event.kind)
        })
    }

    fn submitted(&mut self, id: RequestId, event: &Recorded) -> Verdict {
        let Actor::Person(requester) = &event.actor else { return wrong("I4", "the daemon asked") };
        let target = event.about.target.as_ref().map(ToString::to_string);
        let required = cast::TARGETS.iter().find(|(name, ..)| Some(*name) == target.as_deref());
        let told = RequestTold {
            requester: cast::human(&requester.subject),
            state: "PENDING",
            revision: 1,
            duration: TimeDelta::seconds(event.detail["duration_seconds"].as_i64().unwrap()),
            approvers: Vec::new(),
            approvals_required: required.map_or(usize::MAX, |(_, _, count)| *count as usize),
            window: None,
            changed_at: event.at,
        };
        ensure("I4", self.requests.insert(id, told).is_none(), || format!("{id} is submitted again"))
    }

    fn request_moved(&mut self, id: RequestId, event: &Recorded) -> Verdict {
        let Some(told) = self.requests.get_mut(&id) else {
            return wrong("I4", format!("{} of what was never submitted", event.kind));
        };
        let before = told.state;
        (told.state, told.changed_at, told.revision) = (
            match event.kind.as_str() {
                "RequestApproved" => told.approved(&event.actor)?,
                "RequestDenied" => "DENIED",
                "RequestWithdrawn" => "WITHDRAWN",
                "RequestLapsed" => "LAPSED",
                "RequestClaimed" => "CLAIMED",
                other => return wrong("I4", format!("nothing is known of {other}")),
            },
            event.at,
            told.revision + 1,
        );
        let allowed = match before {
            "PENDING" => told.state != "CLAIMED",
            "APPROVED" => matches!(told.state, "CLAIMED" | "WITHDRAWN" | "LAPSED"),
            _ => false,
        };
        ensure("I4", allowed, || format!("{id} went from {before} to {}", told.state))?;
        told.is_approved_by_others(id)
    }

    fn opened(&mut self, request: RequestId, id: GrantId, event: &Recorded) -> Verdict {
        let at = |field: &str| -> Option<DateTime<Utc>> { event.detail[field].as_str()?.parse().ok() };
        let (Some(opens_at), Some(closes_at)) = (at("opens_at"), at("closes_at")) else {
            return wrong("I4", format!("{id} opened without a window"));
        };
        let window = (opens_at, closes_at);
        let Some(of) = self.requests.get_mut(&request) else {
            return wrong("I1", format!("{id} was opened for nothing"));
        };
        ensure("I1", of.state == "CLAIMED", || format!("{id} was opened for what is {}", of.state))?;
        of.is_approved_by_others(request)?;
        ensure("window", closes_at - opens_at == of.duration, || format!("{id} has another length"))?;
        let first = *of.window.get_or_insert(window);
        ensure("window", first == window, || format!("{id} has another window than the grant before"))?;
        let held = |other: &GrantTold| other.request == request && other.is_open();
        ensure("I4", !self.grants.values().any(held), || format!("{id} isn't the only one"))?;
        let told =
            GrantTold { request, state: "ISSUING", issued: 0, revision: 1, window, changed_at: event.at };
        ensure("I4", self.grants.insert(id, told).is_none(), || format!("{id} is opened again"))
    }

    fn grant_moved(&mut self, id: GrantId, event: &Recorded) -> Verdict {
        let Some(told) = self.grants.get_mut(&id) else {
            return wrong("I4", format!("{} of what was never opened", event.kind));
        };
        let (before, issued) = (told.state, told.issued);
        let (state, issued, allowed) = match event.kind.as_str() {
            "GrantTokenMinted" => ("ISSUING", 1, before == "ISSUING" && issued == 0),
            "GrantLeaseRecorded" => ("ISSUING", 2, before == "ISSUING" && issued == 1),
            "GrantActivated" => ("ACTIVE", 2, before == "ISSUING" && issued == 2 && event.at < told.window.1),
            "RevocationBegun" => ("REVOKING", issued, told.is_open()),
            "RevocationRetried" | "RevocationOverdue" => ("REVOKING", issued, before == "REVOKING"),
            "GrantRevoked" => ("REVOKED", issued, before == "REVOKING" && issued == 2),
            "GrantFailed" => ("FAILED", issued, before == "REVOKING"),
            other => return wrong("I4", format!("nothing is known of {other}")),
        };
        (told.state, told.issued) = (state, issued);
        (told.changed_at, told.revision) = (event.at, told.revision + 1);
        ensure("I4", allowed, || format!("{id} went from {before} ({issued}) by {}", event.kind))
    }

    fn compare(&self, rows: &Rows) -> Verdict {
        ensure("I4", self.requests.len() == rows.requests.len(), || "requests without events".to_owned())?;
        for (id, row) in &rows.requests {
            let Some(told) = self.requests.get(id) else {
                return wrong("I4", format!("{id} has no event"));
            };
            ensure("I4", told.is(row), || format!("the log says {told:?}, the row {row:?}"))?;
        }
        ensure("I4", self.grants.len() == rows.grants.len(), || "grants without events".to_owned())?;
        for (id, row) in &rows.grants {
            let Some(told) = self.grants.get(id) else {
                return wrong("I4", format!("{id} has no event"));
            };
            let window = (row.window.opens_at(), row.window.closes_at());
            ensure("window", told.window == window, || format!("the window of {id} moved to {window:?}"))?;
            ensure("I4", told.is(row), || format!("the log says {told:?}, the row {row:?}"))?;
        }
        Ok(())
    }
}

impl RequestTold {
    fn approved(&mut self, by: &Actor) -> Result<&'static str, (&'static str, String)> {
        let Actor::Person(person) = by else { return Err(("I5", "the daemon approved".to_owned())) };
        self.approvers.push(cast::human(&person.subject));
        Ok(if self.approvers.len() >= self.approvals_required { "APPROVED" } else { "PENDING" })
    }

    /// I5, by who the people really are.
    fn is_approved_by_others(&self, id: RequestId) -> Verdict {
        ensure("I5", !self.approvers.contains(&self.requester), || {
            format!("{} approved his own {id}", self.requester)
        })?;
        let mut people = self.approvers.clone();
        people.sort_unstable();
        people.dedup();
        let needed = matches!(self.state, "APPROVED" | "CLAIMED");
        ensure("I5", !needed || people.len() >= self.approvals_required, || {
            format!("{id} is {} by {people:?} alone", self.state)
        })
    }

    fn is(&self, row: &Request) -> bool {
        use hallpass::access::request::State;
        let changed_at = match &row.state {
            State::Pending { .. } => self.changed_at,
            State::Approved { approved_at: at, .. }
            | State::Withdrawn { withdrawn_at: at }
            | State::Lapsed { lapsed_at: at }
            | State::Claimed { claimed_at: at } => *at,
            State::Denied { denial } => denial.decision().decided_at,
        };
        self.state == row.state.name()
            && self.revision == row.revision
            && self.approvers.len() == row.approvals.len()
            && self.changed_at == changed_at
    }
}

impl GrantTold {
    pub fn is_open(&self) -> bool {
        matches!(self.state, "ISSUING" | "ACTIVE")
    }

    fn is(&self, row: &Grant) -> bool {
        let issued = |issued: &Issued| match issued {
            Issued::Nothing => 0,
            Issued::Token(_) => 1,
            Issued::Lease(_) => 2,
        };
        let (issued, changed_at) = match &row.state {
            State::Issuing { issued: what } => (issued(what), self.changed_at),
            State::Active { activated_at, .. } => (2, *activated_at),
            State::Revoking(ending) => (issued(&ending.issued), self.changed_at),
            State::Revoked { revoked_at, .. } => (2, *revoked_at),
            State::Failed { failed_at, .. } => (self.issued, *failed_at),
        };
        (self.state, self.issued, self.revision) == (row.state.name(), issued, row.revision)
            && self.changed_at == changed_at
            && self.request == row.request
    }
}
