//! Step 5: the auditor looks; so does everybody else, at what is his to see.

use super::{Broker, Error, GrantFilter, Part, RequestFilter, Slice, claim::about};
use crate::{
    access::{
        actor::Caller,
        event::{About, Recorded},
        freeze::Freeze,
        grant::Grant,
        id::{GrantId, RequestId},
        policy::{Role, Scope, Subject, Verb},
        request::{Request, State},
        target::{Target, TargetName},
        totals::Totals,
    },
    store::Overdue,
};

/// A request as callers see it.
#[derive(Clone, Debug)]
pub struct RequestView {
    /// The request.
    pub request: Request,
    /// Its latest grant.
    pub grant: Option<GrantId>,
    /// The groups of which approvals are missing while it is PENDING, each as often as approvals are.
    pub groups_missing: Vec<String>,
}

/// A target as a caller sees it.
#[derive(Clone, Debug)]
pub struct TargetView {
    /// The target.
    pub target: Target,
    /// Whether the caller may request it.
    pub can_request: bool,
    /// Whether the caller may approve other people's requests for it.
    pub can_approve: bool,
    /// What stands in the way of issuing; empty if nothing does.
    pub blockers: Vec<String>,
    /// The freeze that covers it.
    pub freeze: Option<Freeze>,
}

/// A request with everything that came of it.
#[derive(Clone, Debug)]
pub struct Exception {
    /// The request with its decisions.
    pub request: RequestView,
    /// Its grants, the latest first.
    pub grants: Vec<Grant>,
    /// What happened, in order; empty in lists.
    pub timeline: Vec<Recorded>,
}

impl Broker {
    /// The targets that the caller has a role for, in the order of their names.
    ///
    /// # Errors
    ///
    /// If the caller has no role at all.
    pub async fn targets(&self, caller: &Caller) -> Result<Vec<TargetView>, Error> {
        self.allow(Verb::ListTargets, caller, Subject::Anything, About::default(), "targets").await?;
        let visible = |target: &&Target| {
            self.policy.allow(Verb::GetTarget, caller, Subject::Target(&target.name)).is_ok()
        };
        let freezes = self.store.freezes().await?;
        let targets = self.policy.targets.values().filter(visible);
        Ok(targets.map(|target| self.target_view(caller, target, &freezes)).collect())
    }

    /// One target.
    ///
    /// # Errors
    ///
    /// If it doesn't exist, or the caller has no role for it.
    pub async fn target(&self, caller: &Caller, name: &TargetName) -> Result<TargetView, Error> {
        let resource = format!("targets/{name}");
        let Some(target) = self.policy.targets.get(name) else {
            return Err(Error::NotFound { name: resource });
        };
        let about = About { target: Some(name.clone()), ..About::default() };
        self.allow(Verb::GetTarget, caller, Subject::Target(name), about, &resource).await?;
        Ok(self.target_view(caller, target, &self.store.freezes().await?))
    }

    fn target_view(&self, caller: &Caller, target: &Target, freezes: &[Freeze]) -> TargetView {
        let roles = self.policy.roles(caller, Subject::Target(&target.name));
        TargetView {
            target: target.clone(),
            can_request: roles.contains(&Role::Requester),
            can_approve: roles.contains(&Role::Approver),
            blockers: self.blockers_of(target),
            freeze: freezes.iter().find(|freeze| freeze.extent.covers(&target.name)).cloned(),
        }
    }

    /// A request as it is seen, with its latest grant.
    pub(super) fn seen(&self, request: Request, grant: Option<GrantId>) -> RequestView {
        let target = self.policy.targets.get(&request.ask.target);
        let pending = target.filter(|_| matches!(request.state, State::Pending { .. }));
        let missing = pending.map(|target| request.missing(target)).unwrap_or_default();
        let each = |(group, count): (&str, u32)| std::iter::repeat_n(group.to_owned(), count as usize);
        let groups_missing = missing.into_iter().flat_map(each).collect();
        RequestView { request, grant, groups_missing }
    }

    /// One request.
    ///
    /// # Errors
    ///
    /// If it doesn't exist, or isn't the caller's to see.
    pub async fn request(&self, caller: &Caller, id: RequestId) -> Result<RequestView, Error> {
        let request = self.readable(Verb::GetRequest, caller, id, "requests").await?;
        self.view(request).await
    }

    /// Requests that match, the newest first unless the filter says otherwise.
    ///
    /// # Errors
    ///
    /// If the caller has no role at all, or the store fails.
    pub async fn requests(
        &self,
        caller: &Caller,
        filter: &RequestFilter,
        slice: Slice<RequestId>,
    ) -> Result<Part<RequestView>, Error> {
        let Part { items, resume } = self.listed(Verb::ListRequests, caller, filter, slice).await?;
        Ok(Part { items: items.into_iter().map(|exception| exception.request).collect(), resume })
    }

    /// One grant.
    ///
    /// # Errors
    ///
    /// If it doesn't exist, or isn't the caller's to see.
    pub async fn grant(&self, caller: &Caller, id: GrantId) -> Result<Grant, Error> {
        let name = format!("grants/{id}");
        let Some(grant) = self.store.grant(id).await? else { return Err(Error::NotFound { name }) };
        let subject = Subject::Owned(&grant.target, &grant.holder);
        self.allow(Verb::GetGrant, caller, subject, about(&grant), &name).await?;
        Ok(grant)
    }

    /// What counts as overdue now.
    #[must_use]
    pub fn overdue(&self) -> Overdue {
        let now = self.clock.now();
        Overdue { begun_by: now - self.alarm_after, closed_by: now - self.alarm_after }
    }

    /// Grants that match, the newest first.
    ///
    /// # Errors
    ///
    /// If the caller has no role at all, or the store fails.
    pub async fn grants(
        &self,
        caller: &Caller,
        filter: &GrantFilter,
        slice: Slice<GrantId>,
    ) -> Result<Vec<Grant>, Error> {
        self.allow(Verb::ListGrants, caller, Subject::Anything, About::default(), "grants").await?;
        Ok(self.store.grants(&self.policy.scope(caller), filter, slice).await?)
    }

    /// One exception, with its timeline.
    ///
    /// # Errors
    ///
    /// If it doesn't exist, or isn't the caller's to see.
    pub async fn exception(&self, caller: &Caller, id: RequestId) -> Result<Exception, Error> {
        let request = self.readable(Verb::GetException, caller, id, "exceptions").await?;
        let grants = self.grants_of(id).await?;
        let grant = grants.first().map(|grant| grant.id);
        self.whole(Exception { request: self.seen(request, grant), grants, timeline: Vec::new() }).await
    }

    /// An exception with its timeline, for whoever may read it.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn whole(&self, exception: Exception) -> Result<Exception, Error> {
        let timeline = self.store.timeline(exception.request.request.id).await?;
        Ok(Exception { timeline, ..exception })
    }

    /// Exceptions that match, the newest first unless the filter says otherwise, without their timelines.
    ///
    /// # Errors
    ///
    /// If the caller has no role at all, or the store fails.
    pub async fn exceptions(
        &self,
        caller: &Caller,
        filter: &RequestFilter,
        slice: Slice<RequestId>,
    ) -> Result<Part<Exception>, Error> {
        self.listed(Verb::ListExceptions, caller, filter, slice).await
    }

    /// All exceptions that match and that the caller may see, in numbers; what isn't over counts until now.
    ///
    /// # Errors
    ///
    /// If the caller has no role at all, or the store fails.
    pub async fn totals(&self, caller: &Caller, filter: &RequestFilter) -> Result<Totals, Error> {
        let verb = Verb::SummarizeExceptions;
        self.allow(verb, caller, Subject::Anything, About::default(), "exceptions").await?;
        Ok(self.store.totals(&self.policy.scope(caller), filter, self.clock.now()).await?)
    }

    async fn listed(
        &self,
        verb: Verb,
        caller: &Caller,
        filter: &RequestFilter,
        slice: Slice<RequestId>,
    ) -> Result<Part<Exception>, Error> {
        self.allow(verb, caller, Subject::Anything, About::default(), "requests").await?;
        self.within(&self.policy.scope(caller), filter, slice).await
    }

    /// All exceptions that match, for the daemon's own report: nobody calls, so nobody is asked who he is.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn all(
        &self,
        filter: &RequestFilter,
        slice: Slice<RequestId>,
    ) -> Result<Part<Exception>, Error> {
        self.within(&Scope::All, filter, slice).await
    }

    /// The same in numbers.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn totals_of_all(&self, filter: &RequestFilter) -> Result<Totals, Error> {
        Ok(self.store.totals(&Scope::All, filter, self.clock.now()).await?)
    }

    async fn within(
        &self,
        scope: &Scope,
        filter: &RequestFilter,
        slice: Slice<RequestId>,
    ) -> Result<Part<Exception>, Error> {
        let Part { items: requests, resume } = self.store.requests(scope, filter, slice).await?;
        let ids: Vec<RequestId> = requests.iter().map(|request| request.id).collect();
        let mut grants = self.store.grants_of(&ids).await?;
        let with_grants = |request: Request| {
            let grants = grants.remove(&request.id).unwrap_or_default();
            let grant = grants.first().map(|grant| grant.id);
            Exception { request: self.seen(request, grant), grants, timeline: Vec::new() }
        };
        Ok(Part { items: requests.into_iter().map(with_grants).collect(), resume })
    }

    /// A request that the caller may read. Others get the same answer as for one that doesn't exist.
    pub(super) async fn readable(
        &self,
        verb: Verb,
        caller: &Caller,
        id: RequestId,
        collection: &str,
    ) -> Result<Request, Error> {
        let name = format!("{collection}/{id}");
        let Some(request) = self.store.request(id).await? else { return Err(Error::NotFound { name }) };
        let about = About { request: Some(id), grant: None, target: Some(request.ask.target.clone()) };
        let subject = Subject::Owned(&request.ask.target, &request.ask.requester);
        self.allow(verb, caller, subject, about, &name).await?;
        Ok(request)
    }

    /// A request with its latest grant.
    pub(super) async fn view(&self, request: Request) -> Result<RequestView, Error> {
        let grant = self.grants_of(request.id).await?.first().map(|grant| grant.id);
        Ok(self.seen(request, grant))
    }

    /// A request's grants, the latest first.
    pub(super) async fn grants_of(&self, id: RequestId) -> Result<Vec<Grant>, Error> {
        Ok(self.store.grants_of(&[id]).await?.remove(&id).unwrap_or_default())
    }
}
