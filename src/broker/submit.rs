//! Step 1: a developer asks, in writing. Also taking it back.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use super::{BadField, Broker, Error, RequestView};
use crate::{
    access::{
        actor::Caller,
        event::About,
        id::RequestId,
        policy::{Subject, Verb},
        request::{Ask, Request},
        target::{Target, TargetName},
        terms::not_before_problem,
        text::{IdempotencyKey, Prose, Ticket},
    },
    store::Write,
};

/// What a requester wrote.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The target.
    pub target: TargetName,
    /// How long the window shall be, in whole seconds; the target's default if nothing is said.
    pub duration: Option<Duration>,
    /// When the window may open first; as soon as it is approved if nothing is said.
    pub not_before: Option<DateTime<Utc>>,
    /// Why.
    pub reason: Prose,
    /// The ticket that it belongs to.
    pub ticket: Option<Ticket>,
    /// The client's name for this submission.
    pub key: Option<IdempotencyKey>,
    /// Whether it is only checked.
    pub validate_only: bool,
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
        // Before it is checked: what was submitted stays so, whatever the target demands by now.
        if let Some(earlier) = self.submitted_before(caller, submission, target).await? {
            return self.view(earlier).await;
        }
        let duration = check(submission, target, now)?;
        let ask = ask(caller, submission, target, duration, now);
        let change = Request::submit(RequestId::new(now, self.clock.random()), ask, target.decide_within);
        if !submission.validate_only {
            self.commit_allowed(&[Write::Request(&change)]).await?;
        }
        Ok(self.seen(change.into_after(), None))
    }

    /// The request that the same person submitted with the same key, if it asks the same.
    async fn submitted_before(
        &self,
        caller: &Caller,
        submission: &Submission,
        target: &Target,
    ) -> Result<Option<Request>, Error> {
        let Some(key) = &submission.key else { return Ok(None) };
        let Some(earlier) = self.store.request_by_key(&caller.person.subject, key).await? else {
            return Ok(None);
        };
        let duration = submission.duration.unwrap_or(earlier.ask.duration);
        let asked = ask(caller, submission, target, duration, earlier.ask.submitted_at);
        // What the target was then isn't what the person wrote.
        let (credential_path, approvals_required) =
            (earlier.ask.credential_path.clone(), earlier.ask.approvals_required);
        let ask = Ask { credential_path, approvals_required, ..asked };
        if ask.asks_same_as(&earlier.ask) {
            return Ok(Some(earlier));
        }
        Err(Error::KeyReused { name: format!("requests/{}", earlier.id) })
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
        self.commit_allowed(&[Write::Request(&change)]).await?;
        Ok(self.seen(change.into_after(), None))
    }

    /// A request that somebody wants to do something with, what events about it name, and its resource name.
    pub(super) async fn load(&self, id: RequestId) -> Result<(Request, About, String), Error> {
        let name = format!("requests/{id}");
        let Some(request) = self.store.request(id).await? else { return Err(Error::NotFound { name }) };
        let target = Some(request.ask.target.clone());
        Ok((request, About { request: Some(id), grant: None, target }, name))
    }
}

fn ask(
    caller: &Caller,
    submission: &Submission,
    target: &Target,
    duration: Duration,
    now: DateTime<Utc>,
) -> Ask {
    Ask {
        target: target.name.clone(),
        credential_path: target.credential_path.clone(),
        requester: caller.person.clone(),
        groups: caller.groups.intersection(&target.requesters.groups).cloned().collect(),
        duration,
        not_before: submission.not_before,
        reason: submission.reason.clone().into(),
        ticket: submission.ticket.clone(),
        approvals_required: target.approvals_required.get(),
        submitted_at: now,
        key: submission.key.clone(),
    }
}

/// Whether everything is as the target demands, or all that isn't; and how long the window will be.
fn check(submission: &Submission, target: &Target, now: DateTime<Utc>) -> Result<Duration, Error> {
    let opens_at = submission.not_before.map_or(now, |at| at.max(now));
    let duration = duration(submission.duration, target)
        .and_then(|duration| must_fit(duration, target, opens_at, now).map(|()| duration));
    let problems = [
        ("duration", duration.as_ref().err().cloned()),
        ("not_before", submission.not_before.and_then(|at| not_before_problem(at, now))),
        ("reason", target.writing.reason_problem(&submission.reason)),
        ("ticket", target.writing.ticket_problem(submission.ticket.as_ref())),
    ];
    let bad = |(field, problem): (_, Option<String>)| Some(BadField { field, problem: problem? });
    let bad: Vec<BadField> = problems.into_iter().filter_map(bad).collect();
    match duration {
        Ok(duration) if bad.is_empty() => Ok(duration),
        _ => Err(Error::BadFields(bad)),
    }
}

fn duration(asked: Option<Duration>, target: &Target) -> Result<Duration, String> {
    let missing = || format!("must be given: {} has no default", target.name);
    let duration = asked.or(target.window_default).ok_or_else(missing)?;
    if duration.is_zero() {
        return Err("must be positive".to_owned());
    }
    if duration > target.window_max {
        let max = humantime::format_duration(target.window_max);
        return Err(format!("must be at most {max}, the longest window of {}", target.name));
    }
    Ok(duration)
}

/// Whether a window of this length could open in the target's hours before the request would lapse, if it may not open
/// before some time.
fn must_fit(
    duration: Duration,
    target: &Target,
    opens_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), String> {
    let Some(hours) = &target.hours else { return Ok(()) };
    let lapses_at = opens_at.max(now + target.decide_within) + target.claim_within;
    if hours.first_fit(opens_at, lapses_at, duration).is_some() {
        return Ok(());
    }
    let length = humantime::format_duration(duration);
    Err(format!("must be shorter: before the request lapses, no {length} lie in the target's hours, {hours}"))
}
