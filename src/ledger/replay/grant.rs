//! What becomes of grants: opened on the approvals of a request, issued step by step, ended by one path.

use foldhash::{HashMap, HashSet};

use super::{
    Event, Findings, Id, Place, Replay,
    people::People,
    request::{Claimed, Request},
};
use crate::access::revocation::{Cause, Confirmation, Step};

/// All grants that there were.
#[derive(Debug, Default)]
pub(super) struct Grants {
    open: HashMap<u128, Grant>,
    over: HashSet<u128>,
}

/// A grant that isn't over.
#[derive(Debug)]
struct Grant {
    request: u128,
    target: Option<u32>,
    holder: u32,
    closes_at: i64,
    issued: Issued,
    lease: Option<Box<str>>,
    is_active: bool,
    ending: Option<Ending>,
}

/// What Vault has made for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Issued {
    Nothing,
    Token,
    Lease,
}

#[derive(Debug)]
struct Ending {
    cause: Option<Cause>,
    begun_at: i64,
    step: Step,
    error: Option<Box<str>>,
    alarms: i64,
}

impl Grants {
    /// How many aren't over.
    pub(super) fn open(&self) -> u64 {
        self.open.len() as u64
    }

    /// Whether this grant was ever opened.
    pub(super) fn knows(&self, id: u128) -> bool {
        self.open.contains_key(&id) || self.over.contains(&id)
    }

    /// The grant that an event about this target is about, if that isn't over.
    fn of(
        &mut self,
        findings: &mut Findings,
        place: Place<'_>,
        event: &Event<'_>,
        target: Option<u32>,
    ) -> Option<&mut Grant> {
        let Some(id) = event.grant else {
            findings.wrong(place, "doesn't say which grant it is about");
            return None;
        };
        let Some(grant) = self.open.get_mut(&id.number) else {
            let over = self.over.contains(&id.number);
            let problem =
                if over { "is about a grant that is over" } else { "is about a grant that was never opened" };
            findings.wrong(place, problem);
            return None;
        };
        let same =
            event.request.is_some_and(|request| request.number == grant.request) && target == grant.target;
        findings.must(place, same, "is about another request or target than the grant");
        Some(grant)
    }

    fn end(&mut self, id: u128) {
        self.open.remove(&id);
        self.over.insert(id);
    }
}

impl Replay {
    pub(super) fn opened(&mut self, place: Place<'_>, event: &Event<'_>) {
        self.counts.grants += 1;
        let first = self.claimed.take().is_some();
        let holder = self.person(place, event);
        let target = self.target(place, event);
        let (opens_at, closes_at) = (event.detail.instant("opens_at"), event.detail.instant("closes_at"));
        let (Some(request), Some(id), Some(holder), Some(opens_at), Some(closes_at)) =
            (event.request, event.grant, holder, opens_at, closes_at)
        else {
            return self.wrong(place, "doesn't say whose grant it is, or for how long");
        };
        self.must(place, !self.grants.knows(id.number), "opens a grant that was opened before");
        if let Some(name) = &event.target {
            let frozen = self.freezes.cover(name);
            self.must(place, !frozen, "opens a grant of a target that is frozen");
        }
        let window = (opens_at, closes_at);
        self.must(place, opens_at < closes_at, "has a window that is empty or runs backwards");
        self.follows(place, event, (request, id), holder, target, window, first);
        let grant = Grant {
            request: request.number,
            target,
            holder,
            closes_at,
            issued: Issued::Nothing,
            lease: None,
            is_active: false,
            ending: None,
        };
        self.grants.open.insert(id.number, grant);
    }

    /// Whether a grant follows from its request: from its claim, or from the grant before it. Which causes let another one
    /// follow isn't asked: whether there may be one is decided on what is read a moment before it is recorded.
    #[expect(clippy::too_many_arguments, reason = "they are one event's parts, read once")]
    fn follows(
        &mut self,
        place: Place<'_>,
        event: &Event<'_>,
        (request, id): (Id<'_>, Id<'_>),
        holder: u32,
        target: Option<u32>,
        window: (i64, i64),
        first: bool,
    ) {
        let Some(Request::Claimed(claimed)) = self.requests.get_mut(&request.number) else {
            return self.wrong(place, "opens a grant on a request that isn't claimed");
        };
        let opened = Claimed { window: claimed.window.or(Some(window)), last: Some(id.number), ..**claimed };
        let claimed = std::mem::replace(&mut **claimed, opened);
        self.must(place, holder == claimed.requester, "opens a grant for another person than the requester");
        self.must(place, target == claimed.target, "opens a grant of another target than was asked for");
        let reissue = event.detail.flag("reissue").unwrap_or(!first);
        self.must(place, reissue != first, "says wrongly whether there was a grant of the request before");
        if first {
            self.must(place, window.0 == event.at, "has a window that doesn't open when it was claimed");
            let length = claimed.duration.and_then(|seconds| i64::try_from(seconds).ok());
            let fits = length.is_none_or(|seconds| window.1 - window.0 == seconds.saturating_mul(1000));
            self.must(place, fits, "has a window of another length than was approved");
        } else {
            let before = claimed.last.and_then(|last| self.grants.open.get(&last));
            let free = before.is_none_or(|before| before.ending.is_some());
            self.must(place, free, "opens a grant beside one that is held");
            self.must(place, claimed.window == Some(window), "has another window than the grant before it");
            self.must(place, event.at < window.1, "opens a grant when its window is over");
        }
    }

    pub(super) fn issued(&mut self, place: Place<'_>, event: &Event<'_>) {
        self.must_be_the_daemon(place, event);
        let target = self.target(place, event);
        let Some(grant) = self.grants.of(&mut self.findings, place, event, target) else { return };
        let is_issuing = grant.ending.is_none() && !grant.is_active;
        let (from, to) = match event.kind.as_ref() {
            "GrantTokenMinted" => (Issued::Nothing, Issued::Token),
            "GrantLeaseRecorded" => (Issued::Token, Issued::Lease),
            _ => (Issued::Lease, Issued::Lease),
        };
        let is_next = is_issuing && grant.issued == from;
        self.findings.must(place, is_next, "comes when the grant isn't at this point");
        grant.issued = to;
        match event.kind.as_ref() {
            "GrantLeaseRecorded" => grant.lease = event.detail.text("lease_digest").map(Into::into),
            "GrantActivated" => {
                let in_time = event.at < grant.closes_at;
                self.findings.must(place, in_time, "activates a grant whose window is over");
                grant.is_active = true;
            }
            _ => {}
        }
    }

    pub(super) fn begun(&mut self, place: Place<'_>, event: &Event<'_>) {
        let actor = event.actor.as_ref().map(|who| self.people.number(&who.subject, &who.name));
        let target = self.target(place, event);
        let Some(grant) = self.grants.of(&mut self.findings, place, event, target) else { return };
        self.findings.must(place, grant.ending.is_none(), "begins an end that began before");
        let cause = event.detail.text("cause").as_deref().and_then(Cause::named);
        match cause {
            None => self.findings.wrong(place, "has a cause that isn't known"),
            Some(cause) => {
                let fits = grant.may_end(event, actor, cause, &self.people);
                self.findings.must(place, fits, "has a cause that its actor can't have had");
            }
        }
        // What is being made is ended by a look at the clock that is a moment older than what is recorded.
        let early = cause == Some(Cause::WindowClosed) && grant.is_active && event.at < grant.closes_at;
        self.findings.must(place, !early, "has a cause that isn't there yet");
        let step = match grant.issued {
            Issued::Nothing => Step::Confirmation,
            Issued::Token => Step::Token,
            Issued::Lease => Step::Wrapping,
        };
        grant.ending.get_or_insert(Ending { cause, begun_at: event.at, step, error: None, alarms: 0 });
    }

    pub(super) fn ending(&mut self, place: Place<'_>, event: &Event<'_>) {
        self.must_be_the_daemon(place, event);
        let target = self.target(place, event);
        let Some(grant) = self.grants.of(&mut self.findings, place, event, target) else { return };
        let step = event.detail.text("step").as_deref().and_then(Step::named);
        self.findings.must(place, step.is_some(), "names a step that isn't known");
        match (&mut grant.ending, step) {
            (Some(ending), Some(step)) if event.kind == "RevocationRetried" => {
                ending.step = step;
                ending.error = event.detail.text("error").map(Into::into);
            }
            (Some(ending), Some(step)) => {
                let fits = event.detail.instant("begun_at") == Some(ending.begun_at)
                    && ending.step == step
                    && event.detail.text("error").as_deref() == ending.error.as_deref();
                ending.alarms += 1;
                let counted = event.detail.number("alarms") == Some(ending.alarms);
                self.findings.must(place, fits, "tells of another end than the one that is under way");
                self.findings.must(place, counted, "counts the alarms wrongly");
            }
            _ => self.findings.wrong(place, "tells of the end of a grant that isn't ending"),
        }
    }

    pub(super) fn over(&mut self, place: Place<'_>, event: &Event<'_>) {
        self.must_be_the_daemon(place, event);
        let target = self.target(place, event);
        let Some(grant) = self.grants.of(&mut self.findings, place, event, target) else { return };
        let cause = event.detail.text("cause").as_deref().and_then(Cause::named);
        let begun = grant.ending.as_ref().map(|ending| ending.cause);
        let same = begun.is_none_or(|begun| begun == cause);
        self.findings.must(place, begun.is_some(), "ends a grant whose end never began");
        self.findings.must(place, same, "has another cause than the end began with");
        let was_active = event.kind == "GrantRevoked";
        let fits = was_active == grant.is_active;
        self.findings.must(place, fits, "is the end of a grant that was active, or of one that wasn't");
        let needed = match grant.issued {
            Issued::Lease => Confirmation::LeaseGone,
            Issued::Token => Confirmation::NoLeaseLeft,
            Issued::Nothing => Confirmation::NothingIssued,
        };
        let confirmed = event.detail.text("confirmation").as_deref() == Some(needed.name());
        self.findings.must(place, confirmed, "rests on another confirmation than what was issued demands");
        if was_active {
            let same = event.detail.text("lease_digest").as_deref() == grant.lease.as_deref();
            self.findings.must(place, same, "ends another lease than was recorded");
        }
        if let Some(id) = event.grant {
            self.grants.end(id.number);
        }
    }

    pub(super) fn wrapping_opened(&mut self, place: Place<'_>, event: &Event<'_>) {
        let Some(person) = self.person(place, event) else { return };
        let Some(id) = event.grant.filter(|id| self.grants.knows(id.number)) else {
            return self.wrong(place, "is about a grant that was never opened");
        };
        if let Some(grant) = self.grants.open.get(&id.number) {
            let own = self.people.own(person, grant.holder);
            self.must(place, own, "is told by another person than the holder");
        }
    }
}

impl Grant {
    /// Whether a cause is one for whoever began the end.
    fn may_end(&self, event: &Event<'_>, actor: Option<u32>, cause: Cause, people: &People) -> bool {
        let has_reason = event.detail.has("reason_digest");
        match cause {
            Cause::Released | Cause::Reissued => {
                actor.is_some_and(|actor| people.own(actor, self.holder)) && !has_reason
            }
            Cause::RevokedByOperator | Cause::Frozen => actor.is_some(),
            Cause::WindowClosed | Cause::TargetRemoved | Cause::EndedOutside | Cause::IssueFailed => {
                actor.is_none() && !has_reason
            }
        }
    }
}
