//! Step 2: another person answers, in writing.

use std::sync::Arc;

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

/// What a decision does to a request; `None` if it changes nothing.
type Rule = fn(Request, Decision, Option<&Target>) -> Result<Option<Change<Request>>, Refusal>;

impl Broker {
    /// Approves another person's request.
    ///
    /// # Errors
    ///
    /// If it doesn't exist, isn't the caller's to approve, isn't waiting for decisions, or isn't the one that was read.
    pub async fn approve(
        self: &Arc<Self>,
        caller: &Caller,
        id: RequestId,
        written: Written,
    ) -> Result<RequestView, Error> {
        self.decide(Verb::ApproveRequest, caller, id, written, Request::approve).await
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
        self.decide(Verb::DenyRequest, caller, id, written, rule).await
    }

    async fn decide(
        self: &Arc<Self>,
        verb: Verb,
        caller: &Caller,
        id: RequestId,
        written: Written,
        rule: Rule,
    ) -> Result<RequestView, Error> {
        let (broker, caller) = (Arc::clone(self), caller.clone());
        self.to_its_end(
            async move { again_on_conflict!(broker.decide_once(verb, &caller, id, &written, rule)) },
        )
        .await
    }

    async fn decide_once(
        &self,
        verb: Verb,
        caller: &Caller,
        id: RequestId,
        written: &Written,
        rule: Rule,
    ) -> Result<RequestView, Error> {
        let (request, about, name) = self.load(id).await?;
        let subject = Subject::Owned(&request.ask.target, &request.ask.requester);
        self.allow(verb, caller, subject, about, &name).await?;
        let target = self.policy.targets.get(&request.ask.target);
        if let Some(problem) = target.and_then(|target| target.writing.statement_problem(&written.statement))
        {
            return Err(Error::BadFields(vec![BadField { field: "statement", problem }]));
        }
        let decision = Decision {
            approver: self.policy.approver(&caller.person, &request).clone(),
            statement: written.statement.clone(),
            digest: written.digest,
            decided_at: self.clock.now(),
        };
        match rule(request.clone(), decision, target) {
            Ok(Some(change)) => {
                self.commit_allowed(&[Write::Request(&change)]).await?;
                Ok(RequestView { request: change.into_after(), grant: None })
            }
            Ok(None) => self.view(request).await,
            Err(refusal) => Err(Error::Refused { name, refusal }),
        }
    }
}
