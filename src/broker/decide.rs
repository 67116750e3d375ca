//! Step 2: another person answers, in writing.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{BadField, Broker, Error, RequestView, signed::Signature};
use crate::{
    access::{
        actor::Caller,
        approval::{Decision, Digest},
        change::Change,
        event::About,
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

/// An approval: on which terms, and the signature that comes with it, if one does.
#[derive(Clone, Debug)]
pub struct Approving {
    /// What he wrote.
    pub written: Written,
    /// What he allows of what was asked.
    pub terms: Terms,
    /// What he signed.
    pub signature: Option<Signature>,
}

impl From<Written> for Approving {
    fn from(written: Written) -> Self {
        Self { written, terms: Terms::default(), signature: None }
    }
}

impl Approving {
    /// What is wrong with it, for this target.
    fn problems(&self, request: &Request, target: &Target, now: DateTime<Utc>) -> Vec<BadField> {
        let statement = target.writing.statement_problem(&self.written.statement);
        let terms = self.terms.problems(target.leeway, request.ask.duration, request.terms(), now);
        let all = statement.map(|problem| ("statement", problem)).into_iter().chain(terms);
        all.map(|(field, problem)| BadField { field, problem }).collect()
    }
}

/// What a decision does to a request; `None` if it changes nothing.
type Rule = fn(Request, Decision, Option<&Target>) -> Result<Option<Change<Request>>, Refusal>;

/// A decision that may be made, and what it is about.
struct Made<'a> {
    decision: Decision,
    request: Request,
    target: Option<&'a Target>,
    about: About,
    name: String,
}

impl Broker {
    /// Approves another person's request, as it is or on stricter terms.
    ///
    /// # Errors
    ///
    /// If it doesn't exist, isn't the caller's to approve, isn't waiting for decisions, or isn't the one that was read; if
    /// the target demands more of what is written, or doesn't allow the terms; or if a signature is missing, or doesn't
    /// prove this approval.
    pub async fn approve(
        self: &Arc<Self>,
        caller: &Caller,
        id: RequestId,
        approving: impl Into<Approving>,
    ) -> Result<RequestView, Error> {
        self.decide(Verb::ApproveRequest, caller, id, approving.into(), Request::approve).await
    }

    /// What approving would make of a request, for an approver who is about to sign, and whether it would change it. The
    /// last decision is his then. Nothing is recorded.
    ///
    /// # Errors
    ///
    /// Like [`Self::approve`], but that a signature is missing.
    pub async fn approve_unsigned(
        &self,
        caller: &Caller,
        id: RequestId,
        approving: &Approving,
    ) -> Result<(RequestView, bool), Error> {
        let made = self.decision(Verb::ApproveRequest, caller, id, approving).await?;
        match made.request.clone().approve_unsigned(made.decision, made.target) {
            Ok(Some(request)) => Ok((self.seen(request, None), true)),
            Ok(None) => Ok((self.view(made.request).await?, false)),
            Err(refusal) => Err(Error::Refused { name: made.name, refusal }),
        }
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
        let rule: Rule = |request, decision, target| request.deny(decision, target).map(Some);
        self.decide(Verb::DenyRequest, caller, id, written.into(), rule).await
    }

    async fn decide(
        self: &Arc<Self>,
        verb: Verb,
        caller: &Caller,
        id: RequestId,
        approving: Approving,
        rule: Rule,
    ) -> Result<RequestView, Error> {
        let (broker, caller) = (Arc::clone(self), caller.clone());
        self.to_its_end(
            async move { again_on_conflict!(broker.decide_once(verb, &caller, id, &approving, rule)) },
        )
        .await
    }

    async fn decide_once(
        &self,
        verb: Verb,
        caller: &Caller,
        id: RequestId,
        approving: &Approving,
        rule: Rule,
    ) -> Result<RequestView, Error> {
        let Made { decision, request, target, about, name } =
            self.decision(verb, caller, id, approving).await?;
        match rule(request.clone(), decision, target) {
            Ok(Some(change)) => {
                self.commit_allowed(&[Write::Request(&change)]).await?;
                Ok(self.seen(change.into_after(), None))
            }
            Ok(None) => self.view(request).await,
            Err(refusal) => Err(self.refused(verb, caller, about, &name, refusal).await),
        }
    }

    /// Whether the caller may decide, and what he decides, with his signature verified.
    async fn decision(
        &self,
        verb: Verb,
        caller: &Caller,
        id: RequestId,
        approving: &Approving,
    ) -> Result<Made<'_>, Error> {
        let Approving { written, terms, signature } = approving;
        let (request, about, name) = self.load(id).await?;
        let subject = Subject::Owned(&request.ask.target, &request.ask.requester);
        self.allow(verb, caller, subject, about.clone(), &name).await?;
        let (target, now) = (self.policy.targets.get(&request.ask.target), self.clock.now());
        let problems = target.map(|target| approving.problems(&request, target, now)).unwrap_or_default();
        if !problems.is_empty() {
            return Err(Error::BadFields(problems));
        }
        let approver = self.policy.approver(&caller.person, &request).clone();
        let groups = target.map(|target| caller.groups.intersection(&target.approvers.groups));
        let signed = match signature {
            None => None,
            Some(signature) => match self.signed(signature, &approver.subject, now).await? {
                Ok(signed) => Some(Box::new(signed)),
                Err(problem) => {
                    let refusal = Refusal::SignatureInvalid { problem };
                    return Err(self.refused(verb, caller, about, &name, refusal).await);
                }
            },
        };
        let decision = Decision {
            approver,
            statement: written.statement.clone().into(),
            digest: written.digest,
            decided_at: now,
            groups: groups.into_iter().flatten().cloned().collect(),
            terms: *terms,
            signed,
        };
        Ok(Made { decision, request, target, about, name })
    }
}
