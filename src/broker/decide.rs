//! Step 2: another person answers, in writing.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{BadField, Broker, Error, RequestView};
use crate::{
    access::{
        actor::Caller,
        approval::{Decision, Digest},
        change::Change,
        id::RequestId,
        policy::{Subject, Verb},
        refusal::Refusal,
        request::Request,
        target::Target,
        terms::Terms,
        text::Prose,
    },
    store::Write,
};

/// What an approver wrote.
#[derive(Clone, Debug)]
pub struct Written {
    /// The digest of the request that he read.
    pub digest: Digest,
    /// The statement.
    pub statement: Prose,
}

/// What is decided.
#[derive(Clone, Copy, Debug)]
enum Verdict {
    Approved(Terms),
    Denied,
}

impl Verdict {
    const fn verb(self) -> Verb {
        match self {
            Self::Approved(_) => Verb::ApproveRequest,
            Self::Denied => Verb::DenyRequest,
        }
    }

    /// What it does to a request; `None` if it changes nothing.
    fn apply(
        self,
        request: Request,
        decision: Decision,
        target: Option<&Target>,
    ) -> Result<Option<Change<Request>>, Refusal> {
        match self {
            Self::Approved(terms) => request.approve(decision, terms, target),
            Self::Denied => request.deny(decision, target).map(Some),
        }
    }

    /// What is wrong with what the approver wrote, for this target.
    fn problems(
        self,
        request: &Request,
        written: &Written,
        target: &Target,
        now: DateTime<Utc>,
    ) -> Vec<BadField> {
        let statement = target.writing.statement_problem(&written.statement);
        let statement = statement.map(|problem| BadField { field: "statement", problem });
        let terms = match self {
            Self::Approved(terms) => {
                terms.problems(target.leeway, request.ask.duration, request.terms(), now)
            }
            Self::Denied => Vec::new(),
        };
        let terms = terms.into_iter().map(|(field, problem)| BadField { field, problem });
        statement.into_iter().chain(terms).collect()
    }
}

impl Broker {
    /// Approves another person's request, as it is or on stricter terms.
    ///
    /// # Errors
    ///
    /// If it doesn't exist, isn't the caller's to approve, isn't waiting for decisions, or isn't the one that was read; or
    /// if the target demands more of what is written, or doesn't allow the terms.
    pub async fn approve(
        self: &Arc<Self>,
        caller: &Caller,
        id: RequestId,
        written: Written,
        terms: Terms,
    ) -> Result<RequestView, Error> {
        self.decide(Verdict::Approved(terms), caller, id, written).await
    }

    /// Denies another person's request.
    ///
    /// # Errors
    ///
    /// Like [`Self::approve`].
    pub async fn deny(
        self: &Arc<Self>,
        caller: &Caller,
        id: RequestId,
        written: Written,
    ) -> Result<RequestView, Error> {
        self.decide(Verdict::Denied, caller, id, written).await
    }

    async fn decide(
        self: &Arc<Self>,
        verdict: Verdict,
        caller: &Caller,
        id: RequestId,
        written: Written,
    ) -> Result<RequestView, Error> {
        let (broker, caller) = (Arc::clone(self), caller.clone());
        self.to_its_end(async move { again_on_conflict!(broker.decide_once(verdict, &caller, id, &written)) })
            .await
    }

    async fn decide_once(
        &self,
        verdict: Verdict,
        caller: &Caller,
        id: RequestId,
        written: &Written,
    ) -> Result<RequestView, Error> {
        let (request, about, name) = self.load(id).await?;
        let subject = Subject::Owned(&request.ask.target, &request.ask.requester);
        self.allow(verdict.verb(), caller, subject, about, &name).await?;
        let (target, now) = (self.policy.targets.get(&request.ask.target), self.clock.now());
        let problems = target.map(|target| verdict.problems(&request, written, target, now));
        if let Some(problems) = problems.filter(|problems| !problems.is_empty()) {
            return Err(Error::BadFields(problems));
        }
        let approving = target.map(|target| caller.groups.intersection(&target.approvers.groups));
        let decision = Decision {
            approver: self.policy.approver(&caller.person, &request).clone(),
            statement: written.statement.clone(),
            digest: written.digest,
            decided_at: now,
            groups: approving.into_iter().flatten().cloned().collect(),
        };
        match verdict.apply(request.clone(), decision, target) {
            Ok(Some(change)) => {
                self.commit_allowed(&[Write::Request(&change)]).await?;
                Ok(self.seen(change.into_after(), None))
            }
            Ok(None) => self.view(request).await,
            Err(refusal) => Err(Error::Refused { name, refusal }),
        }
    }
}
