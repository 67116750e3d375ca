//! Watching: the audit log as it grows, with requests and grants as they stand. Watchers read the store at their own
//! pace and are only woken from here, so a slow one holds up nobody and misses nothing.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::watch as channel;

use super::{Broker, Error, RequestView};
use crate::access::{
    actor::Caller,
    event::{About, Recorded},
    grant::Grant,
    id::RequestId,
    policy::{Scope, Subject, Verb},
    request::Request,
};

/// How many events are read at once.
const BATCH: u32 = 100;

/// One thing that a watcher sees.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What happened; `None` for the present that a watch of one request begins with.
    pub event: Option<Recorded>,
    /// The request as it stands.
    pub request: RequestView,
    /// Its latest grant as it stands.
    pub grant: Option<Grant>,
    /// Where to go on.
    pub sequence: i64,
}

/// A watch under way.
#[derive(Debug)]
pub struct Watch {
    broker: Arc<Broker>,
    scope: Scope,
    request: Option<RequestId>,
    sequence: i64,
    present: Option<Request>,
    waiting: VecDeque<Recorded>,
    news: channel::Receiver<i64>,
}

impl Broker {
    /// Begins to watch one request, or all that the caller may see, after a place in the log or from now on.
    ///
    /// # Errors
    ///
    /// If the request doesn't exist or isn't the caller's to see, or if the caller has no role at all.
    pub async fn watch(
        self: &Arc<Self>,
        caller: &Caller,
        request: Option<RequestId>,
        after: Option<i64>,
    ) -> Result<Watch, Error> {
        // Listen before looking, so that nothing falls between.
        let news = self.news.subscribe();
        let last = self.store.last_sequence().await?;
        let (scope, present) = if let Some(id) = request {
            // The right to read this one request was asked for, so no narrower scope applies.
            (Scope::All, Some(self.readable(Verb::WatchRequest, caller, id, "requests").await?))
        } else {
            self.allow(Verb::WatchRequests, caller, Subject::Anything, About::default(), "requests").await?;
            (self.policy.scope(caller), None)
        };
        let present = present.filter(|_| after.is_none());
        let sequence = after.unwrap_or(last);
        Ok(Watch {
            broker: Arc::clone(self),
            scope,
            request,
            sequence,
            present,
            waiting: VecDeque::new(),
            news,
        })
    }
}

impl Watch {
    /// Waits for the next thing to see. Safe to cancel: nothing is lost.
    ///
    /// # Errors
    ///
    /// If the store fails, or with [`Error::Stopping`] when the daemon stops, or with [`Error::Reconfigured`] when its
    /// configuration is changed.
    pub async fn next(&mut self) -> Result<Seen, Error> {
        if let Some(request) = self.present.clone() {
            let seen = self.seen(request, None).await?;
            self.present = None;
            return Ok(seen);
        }
        loop {
            // What the caller may see now isn't known here: he asks again.
            if !self.broker.is_in_force() {
                return Err(Error::Reconfigured);
            }
            if let Some(event) = self.waiting.front().cloned() {
                let seen = self.seen_event(event).await?;
                self.waiting.pop_front();
                if let Some(seen) = seen {
                    return Ok(seen);
                }
            } else {
                self.read().await?;
            }
        }
    }

    /// Reads on, or waits until there is something to read.
    async fn read(&mut self) -> Result<(), Error> {
        self.news.borrow_and_update();
        let broker = &self.broker;
        let events = broker.store.events_after(&self.scope, self.request, self.sequence, BATCH).await?;
        self.waiting.extend(events);
        if self.waiting.is_empty() {
            tokio::select! {
                // The sender lives in the broker that this holds, so it can't be gone.
                _ = self.news.changed() => {}
                () = broker.replaced() => return Err(Error::Reconfigured),
                () = broker.stopping.cancelled() => return Err(Error::Stopping),
            }
        }
        Ok(())
    }

    async fn seen_event(&mut self, event: Recorded) -> Result<Option<Seen>, Error> {
        self.sequence = event.sequence;
        let Some(id) = event.about.request else { return Ok(None) };
        match self.broker.store.request(id).await? {
            Some(request) => self.seen(request, Some(event)).await.map(Some),
            None => Ok(None),
        }
    }

    async fn seen(&self, request: Request, event: Option<Recorded>) -> Result<Seen, Error> {
        let grant = self.broker.grants_of(request.id).await?.into_iter().next();
        let request = self.broker.seen(request, grant.as_ref().map(|grant| grant.id));
        Ok(Seen { event, request, grant, sequence: self.sequence })
    }
}
