//! What is stored in these tests. Everything is made by the rules, step by step, as the daemon would; after each step
//! what the store holds is compared with what was given to it.

use std::{collections::BTreeSet, num::NonZeroU32, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use hallpass::{
    access::{
        actor::{Actor, Person},
        approval::Decision,
        change::Change,
        event::{HandleDigest, Recorded},
        grant::Grant,
        handle::{Accessor, LeaseId},
        id::{GrantId, RequestId},
        limits::Limits,
        members::Members,
        quorum::Quorum,
        request::{Ask, Request},
        revocation::{Cause, Confirmation, Step},
        target::{EarlyRevocation, Target},
        terms::Leeway,
        terms::Terms,
        text::{IdempotencyKey, Prose},
        writing::Writing,
    },
    clock::{Clock, ManualClock},
    store::{Store, Write},
};

/// When the tests begin.
pub fn beginning() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_790_000_000_123).unwrap()
}

pub fn person(name: &str) -> Person {
    Person { subject: format!("subject-{name}"), name: name.to_owned() }
}

/// A target that lapses undecided requests after an hour and unclaimed ones after two.
pub fn target(name: &str, approvals_required: u32) -> Target {
    Target {
        name: name.parse().unwrap(),
        description: String::new(),
        credential_path: format!("database/creds/{name}"),
        vault_policy: String::new(),
        window_max: Duration::from_hours(8),
        decide_within: Duration::from_hours(1),
        claim_within: Duration::from_hours(2),
        requesters: Members::default(),
        approvers: Members::default(),
        approvals_required: NonZeroU32::new(approvals_required).unwrap(),
        quorum: Quorum::default(),
        leeway: Leeway { shorten: true, narrow: true },
        hours: None,
        early_revocation: EarlyRevocation::EndsSessions,
        window_default: None,
        writing: Writing::default(),
        limits: Limits::default(),
        cosigned_within: None,
    }
}

pub fn digest(text: &str) -> HandleDigest {
    HandleDigest(text.to_owned())
}

/// A store, a clock, and the daemon's moves.
#[derive(Debug)]
pub struct World<'s> {
    pub store: &'s dyn Store,
    pub clock: ManualClock,
}

impl<'s> World<'s> {
    pub fn new(store: &'s dyn Store) -> Self {
        Self { store, clock: ManualClock::new(beginning()) }
    }

    /// The time, a millisecond later each time that it is asked for, so that ids are in the order of their making.
    pub fn tick(&self) -> DateTime<Utc> {
        self.clock.advance(TimeDelta::milliseconds(1));
        self.clock.now()
    }

    pub fn ask(&self, target: &Target, requester: &str) -> Ask {
        Ask {
            groups: BTreeSet::from(["dev".to_owned(), "a \"quoted\" group".to_owned()]),
            target: target.name.clone(),
            credential_path: target.credential_path.clone(),
            requester: person(requester),
            duration: Duration::from_hours(1),
            reason: Prose::new("the queue is stuck").unwrap().into(),
            ticket: None,
            approvals_required: target.approvals_required.get(),
            not_before: Some(beginning()),
            submitted_at: self.tick(),
            key: None,
        }
    }

    pub fn submission(&self, target: &Target, ask: Ask) -> Change<Request> {
        let id = RequestId::new(ask.submitted_at, self.clock.random());
        Request::submit(id, ask, target.decide_within)
    }

    pub async fn submit(&self, target: &Target, requester: &str) -> Request {
        self.submit_ask(target, self.ask(target, requester)).await
    }

    pub async fn submit_ask(&self, target: &Target, ask: Ask) -> Request {
        self.store_request(self.submission(target, ask)).await
    }

    pub async fn submit_with_key(&self, target: &Target, requester: &str, key: &str) -> Request {
        let key = IdempotencyKey::new(key).unwrap();
        self.submit_ask(target, Ask { key, ..self.ask(target, requester) }).await
    }

    pub fn decision(&self, request: &Request, approver: &str) -> Decision {
        Decision {
            approver: person(approver),
            statement: Prose::new("go ahead, or don't").unwrap().into(),
            digest: request.digest(),
            decided_at: self.tick(),
            groups: BTreeSet::from(["leads".to_owned(), "a \"quoted\" group".to_owned()]),
            terms: Terms::default(),
            signed: None,
        }
    }

    pub fn approval(&self, request: &Request, target: &Target, approver: &str) -> Change<Request> {
        let decision = self.decision(request, approver);
        let not_after = Some(decision.decided_at + TimeDelta::days(30));
        let terms =
            Terms { duration: Some(request.ask.duration), not_before: Some(decision.decided_at), not_after };
        request
            .clone()
            .approve(Decision { terms, ..decision }, Some(target))
            .unwrap()
            .expect("a first approval of this person")
    }

    pub fn denial(&self, request: &Request, target: &Target, approver: &str) -> Change<Request> {
        request.clone().deny(self.decision(request, approver), Some(target)).unwrap()
    }

    pub async fn approve(&self, request: &Request, target: &Target, approver: &str) -> Request {
        self.store_request(self.approval(request, target, approver)).await
    }

    pub async fn approved(&self, target: &Target, requester: &str) -> Request {
        let mut request = self.submit(target, requester).await;
        for number in 0..target.approvals_required.get() {
            request = self.approve(&request, target, &format!("approver-{number}")).await;
        }
        request
    }

    /// Claims a request, and stores the claim and the intent together.
    pub async fn claim(&self, request: Request, target: &Target) -> (Request, Grant) {
        let now = self.tick();
        let (claimed, warrant) = request.claim(now, Some(target)).unwrap();
        let opened = Grant::open(GrantId::new(now, self.clock.random()), warrant, now);
        let recorded = self.store.commit(&[Write::Request(&claimed), Write::Grant(&opened)]).await.unwrap();
        assert_eq!(recorded.len(), 2);
        let (claimed, opened) = (claimed.into_after(), opened.into_after());
        self.is_stored(&claimed).await;
        self.is_held(&opened).await;
        (claimed, opened)
    }

    pub async fn opened(&self, target: &Target, requester: &str) -> (Request, Grant) {
        let approved = self.approved(target, requester).await;
        self.claim(approved, target).await
    }

    pub async fn minted(&self, grant: Grant) -> Grant {
        let accessor = Accessor::new(format!("secret-token-{}", grant.id));
        let change = grant.minted(accessor, digest("token-digest"), self.tick()).unwrap();
        self.store_grant(change).await
    }

    pub async fn leased(&self, grant: Grant) -> Grant {
        let lease = LeaseId::new(format!("{}/secret-lease-{}", grant.credential_path, grant.id));
        let wrapping = Accessor::new(format!("secret-wrapping-{}", grant.id));
        let digests = (digest("lease-digest"), digest("wrapping-digest"));
        self.store_grant(grant.leased(lease, wrapping, digests, self.tick()).unwrap()).await
    }

    pub async fn activated(&self, grant: Grant) -> Grant {
        self.store_grant(grant.activate(self.tick()).unwrap()).await
    }

    pub async fn active(&self, target: &Target, requester: &str) -> Grant {
        let (_, grant) = self.opened(target, requester).await;
        let grant = self.minted(grant).await;
        let grant = self.leased(grant).await;
        self.activated(grant).await
    }

    pub async fn begun(&self, grant: Grant, cause: Cause) -> Grant {
        let reason = Prose::new("enough").unwrap();
        let actor = Actor::Person(person("operator"));
        self.store_grant(grant.begin(cause, actor, Some(&reason), self.tick()).unwrap()).await
    }

    pub async fn retried(&self, grant: Grant, step: Step, error: &str) -> Grant {
        self.store_grant(grant.retry(step, error, self.tick()).unwrap()).await
    }

    pub async fn confirmed(&self, grant: Grant, confirmation: Confirmation) -> Grant {
        let change = grant.confirm(confirmation, Some(digest("lease-digest")), self.tick()).unwrap();
        self.store_grant(change).await
    }

    /// Stores a change of a request, and compares what the store holds then.
    pub async fn store_request(&self, change: Change<Request>) -> Request {
        let recorded = self.store.commit(&[Write::Request(&change)]).await.unwrap();
        let after = change.into_after();
        self.is_stored(&after).await;
        self.is_last(after.id, &recorded).await;
        after
    }

    /// Stores a change of a grant, and compares what the store holds then.
    pub async fn store_grant(&self, change: Change<Grant>) -> Grant {
        let recorded = self.store.commit(&[Write::Grant(&change)]).await.unwrap();
        let after = change.into_after();
        self.is_held(&after).await;
        self.is_last(after.request, &recorded).await;
        after
    }

    pub async fn is_stored(&self, request: &Request) {
        assert_eq!(self.store.request(request.id).await.unwrap().as_ref(), Some(request));
    }

    pub async fn is_held(&self, grant: &Grant) {
        assert_eq!(self.store.grant(grant.id).await.unwrap().as_ref(), Some(grant));
    }

    async fn is_last(&self, request: RequestId, recorded: &[Recorded]) {
        let timeline = self.store.timeline(request).await.unwrap();
        assert_eq!(timeline.last(), recorded.last());
    }
}
