//! Step 1: a developer asks, in writing. Also taking it back.

use std::{sync::Arc, time::Duration};

use super::{BadField, Broker, Error, RequestView};
use crate::{
    access::{
        actor::Caller,
        event::About,
        id::RequestId,
        policy::{Subject, Verb},
        request::{Ask, Request},
        target::{Target, TargetName},
        text::{IdempotencyKey, Prose, Ticket},
    },
    store::Write,
};

/// What a requester wrote.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The target.
    pub target: TargetName,
    /// How long the window shall be, in whole seconds.
    pub duration: Duration,
    /// Why.
    pub reason: Prose,
    /// The ticket that it belongs to.
    pub ticket: Option<Ticket>,
    /// The client's name for this submission.
    pub key: Option<IdempotencyKey>,
}

impl Broker {
    /// Submits a request.
    ///
    /// # Errors
    ///
    /// If the target is unknown, not the caller's to request or nobody's to approve, the duration is out of bounds, the
    /// key was used for something else, or the store fails.
    pub async fn submit(
        self: &Arc<Self>,
        caller: &Caller,
        submission: Submission,
    ) -> Result<RequestView, Error> {
        let name = format!("targets/{}", submission.target);
        let not_found = || Error::NotFound { name: name.clone() };
        let target = self.policy.targets.get(&submission.target).ok_or_else(not_found)?;
        let about = About { target: Some(target.name.clone()), ..About::default() };
        self.allow(Verb::SubmitRequest, caller, Subject::Target(&target.name), about, &name).await?;
        if target.approvers.is_empty() {
            return Err(Error::NoEligibleApprover { name });
        }
        check_duration(submission.duration, target)?;
        let (broker, caller, target) = (Arc::clone(self), caller.clone(), target.clone());
        self.to_its_end(async move { again_on_conflict!(broker.submit_once(&caller, &submission, &target)) })
            .await
    }

    async fn submit_once(
        &self,
        caller: &Caller,
        submission: &Submission,
        target: &Target,
    ) -> Result<RequestView, Error> {
        let now = self.clock.now();
        let ask = Ask {
            target: target.name.clone(),
            credential_path: target.credential_path.clone(),
            requester: caller.person.clone(),
            duration: submission.duration,
            reason: submission.reason.clone(),
            ticket: submission.ticket.clone(),
            approvals_required: target.approvals_required.get(),
            submitted_at: now,
            key: submission.key.clone(),
        };
        if let Some(earlier) = self.submitted_before(&ask).await? {
            return self.view(earlier).await;
        }
        let change = Request::submit(RequestId::new(now, self.clock.random()), ask, target.decide_within);
        self.commit(&[Write::Request(&change)]).await?;
        Ok(RequestView { request: change.into_after(), grant: None })
    }

    /// The request that the same person submitted with the same key, if it asks the same.
    async fn submitted_before(&self, ask: &Ask) -> Result<Option<Request>, Error> {
        let Some(key) = &ask.key else { return Ok(None) };
        match self.store.request_by_key(&ask.requester.subject, key).await? {
            Some(earlier) if ask.asks_same_as(&earlier.ask) => Ok(Some(earlier)),
            Some(earlier) => Err(Error::KeyReused { name: format!("requests/{}", earlier.id) }),
            None => Ok(None),
        }
    }

    /// Takes one's own request back before it is claimed.
    ///
    /// # Errors
    ///
    /// If it doesn't exist, isn't the caller's, or is decided against, claimed or over.
    pub async fn withdraw(self: &Arc<Self>, caller: &Caller, id: RequestId) -> Result<RequestView, Error> {
        let (broker, caller) = (Arc::clone(self), caller.clone());
        self.to_its_end(async move { again_on_conflict!(broker.withdraw_once(&caller, id)) }).await
    }

    async fn withdraw_once(&self, caller: &Caller, id: RequestId) -> Result<RequestView, Error> {
        let (request, about, name) = self.load(id).await?;
        let subject = Subject::Owned(&request.ask.target, &request.ask.requester);
        self.allow(Verb::WithdrawRequest, caller, subject, about, &name).await?;
        let withdrawn = request.withdraw(caller.person.clone(), self.clock.now());
        let change = withdrawn.map_err(|refusal| Error::Refused { name, refusal })?;
        self.commit(&[Write::Request(&change)]).await?;
        Ok(RequestView { request: change.into_after(), grant: None })
    }

    /// A request that somebody wants to do something with, what events about it name, and its resource name.
    pub(super) async fn load(&self, id: RequestId) -> Result<(Request, About, String), Error> {
        let name = format!("requests/{id}");
        let Some(request) = self.store.request(id).await? else { return Err(Error::NotFound { name }) };
        let target = Some(request.ask.target.clone());
        Ok((request, About { request: Some(id), grant: None, target }, name))
    }
}

fn check_duration(duration: Duration, target: &Target) -> Result<(), Error> {
    let problem = if duration.is_zero() {
        "must be positive".to_owned()
    } else if duration > target.window_max {
        let max = humantime::format_duration(target.window_max);
        format!("must be at most {max}, the longest window of {}", target.name)
    } else {
        return Ok(());
    };
    Err(Error::BadFields(vec![BadField { field: "duration", problem }]))
}
