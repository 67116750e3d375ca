//! What a filter means, request by request: the plainest way to say it, which every store is compared with.

use chrono::{DateTime, Utc};
use hallpass::{
    access::{
        approval::{Approval, Decision},
        grant::{Grant, State},
        request::{Request, State as RequestState},
        totals::Counted,
    },
    store::{HeldGrant, RequestFilter},
};

use super::{Rows, fits};

/// Everybody's decisions.
fn decisions(request: &Request) -> Vec<&Decision> {
    let mut decisions: Vec<_> = request.approvals.iter().map(Approval::decision).collect();
    if let RequestState::Denied { denial } = &request.state {
        decisions.push(denial.decision());
    }
    decisions
}

/// Since when there was access, or could have been; until when; and whether it was held.
fn span(grant: &Grant) -> (DateTime<Utc>, Option<DateTime<Utc>>, bool) {
    let opened = grant.opened_at;
    let (activated, ended) = match &grant.state {
        State::Issuing { .. } => (None, None),
        State::Active { activated_at, .. } => (Some(*activated_at), None),
        State::Revoking(ending) => (ending.activated_at, None),
        State::Revoked { activated_at, revoked_at, .. } => (Some(*activated_at), Some(*revoked_at)),
        State::Failed { failed_at, .. } => (None, Some(*failed_at)),
    };
    (activated.unwrap_or(opened), ended, activated.is_some())
}

fn is_like(grant: &Grant, filter: &HeldGrant) -> bool {
    let cause = match &grant.state {
        State::Issuing { .. } | State::Active { .. } => None,
        State::Revoking(ending) => Some(ending.cause),
        State::Revoked { cause, .. } | State::Failed { cause, .. } => Some(*cause),
    };
    let (from, until, _) = span(grant);
    let late = match &grant.state {
        State::Revoked { revoked_at, .. } => {
            Some((*revoked_at - grant.window.closes_at()).num_milliseconds())
        }
        _ => None,
    };
    let millis = |length: &std::time::Duration| i64::try_from(length.as_millis()).unwrap();
    (filter.states.is_empty() || filter.states.contains(&grant.state.name()))
        && (filter.causes.is_empty() || cause.is_some_and(|cause| filter.causes.contains(&cause.name())))
        && fits(filter.holder.as_ref(), |who| grant.holder.subject == *who || grant.holder.name == *who)
        && fits(filter.held_from.as_ref(), |start| until.is_none_or(|until| until > *start))
        && fits(filter.held_until.as_ref(), |end| from < *end)
        && fits(filter.late_by.as_ref(), |by| late.is_some_and(|late| late > 0 && late >= millis(by)))
        && fits(filter.early_by.as_ref(), |by| late.is_some_and(|late| late < 0 && -late >= millis(by)))
}

impl Rows {
    fn grants_of(&self, request: &Request) -> impl Iterator<Item = &Grant> {
        let id = request.id;
        self.grants.values().filter(move |grant| grant.request == id)
    }

    /// Whether the filter lets it through.
    pub fn matches(&self, filter: &RequestFilter, request: &Request) -> bool {
        let (ask, decisions) = (&request.ask, decisions(request));
        let who = &ask.requester;
        let unsigned = request.approvals.iter().any(|approval| approval.decision().signed.is_none());
        let has = |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
        let alarms = ["RevocationOverdue", "WrappingTokenOpened"];
        let is_alarm = |event: &&hallpass::access::event::Recorded| {
            event.about.request == Some(request.id) && alarms.contains(&event.kind.as_str())
        };
        (filter.states.is_empty() || filter.states.contains(&request.state.name()))
            && fits(filter.target.as_ref(), |target| ask.target == *target)
            && fits(filter.requester.as_ref(), |name| who.subject == *name || who.name == *name)
            && fits(filter.submitted_from.as_ref(), |from| ask.submitted_at >= *from)
            && fits(filter.submitted_until.as_ref(), |until| ask.submitted_at < *until)
            && fits(filter.approver.as_ref(), |name| {
                let is_his = |by: &&Decision| by.approver.subject == *name || by.approver.name == *name;
                decisions.iter().any(is_his)
            })
            && fits(filter.group.as_ref(), |group| ask.groups.contains(group))
            && fits(filter.ticket.as_ref(), |ticket| {
                ask.ticket.as_ref().is_some_and(|known| known.as_str() == *ticket)
            })
            && fits(filter.text.as_ref(), |text| {
                ask.reason.kept().is_some_and(|reason| has(reason.as_str(), text))
                    || decisions
                        .iter()
                        .filter_map(|decision| decision.statement.kept())
                        .any(|said| has(said.as_str(), text))
            })
            && fits(filter.signed.as_ref(), |signed| {
                if *signed { !request.approvals.is_empty() && !unsigned } else { unsigned }
            })
            && (!filter.alarmed || self.events.iter().any(|event| is_alarm(&event)))
            && (filter.grant == HeldGrant::default()
                || self.grants_of(request).any(|grant| is_like(grant, &filter.grant)))
    }

    /// What is counted of it.
    pub fn counted(&self, request: &Request, now: DateTime<Utc>) -> Counted {
        let length = |from: DateTime<Utc>, until: DateTime<Utc>| (until - from).to_std().unwrap_or_default();
        let last = decisions(request).last().map(|decision| decision.decided_at);
        let held: Vec<_> = self.grants_of(request).filter(|grant| span(grant).2).collect();
        let planned =
            held.iter().map(|grant| length(grant.window.opens_at(), grant.window.closes_at())).max();
        let really = |grant: &Grant| {
            let (from, until, _) = span(grant);
            length(from, until.unwrap_or(now))
        };
        Counted {
            target: request.ask.target.to_string(),
            groups: request.ask.groups.iter().cloned().collect(),
            state: request.state.name().to_owned(),
            granted: planned.map(|planned| (planned, held.iter().map(|grant| really(grant)).sum())),
            decided: last
                .filter(|_| Counted::is_decided(request.state.name()))
                .map(|last| length(request.ask.submitted_at, last)),
        }
    }
}
