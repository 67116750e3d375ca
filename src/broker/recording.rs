//! Records what ended while nothing could be recorded, once the store takes it again (I7).

use tracing::{error, info};

use super::{
    Broker, Error,
    journal::{Gap, Unrecorded},
};
use crate::{
    access::{
        actor::Actor,
        event::{About, Event, Fact},
        grant::{Grant, State},
    },
    store::Write,
};

impl Broker {
    /// Returns when something waits to be recorded.
    pub async fn something_unrecorded(&self) {
        if self.journal.is_empty() {
            self.unrecorded.notified().await;
        }
    }

    /// Records what is kept: first that there was a gap, then each ending as it happened. True if nothing is left.
    ///
    /// # Errors
    ///
    /// If the store doesn't take it; what isn't recorded stays kept.
    pub async fn record_kept(&self) -> Result<bool, Error> {
        if let Some(gap) = self.journal.gap() {
            self.mark(gap).await?;
        }
        while let Some(unrecorded) = self.journal.first() {
            match self.record_ending(&unrecorded).await {
                // It moved on meanwhile; it is read again.
                Ok(()) | Err(Error::Conflict) => {}
                Err(failure @ Error::StoreUnavailable(_)) => return Err(failure),
                Err(failure) => {
                    // It can't be recorded as it is; the sweeper finds the grant as the store has it.
                    self.journal.recorded(&unrecorded);
                    return Err(failure);
                }
            }
        }
        Ok(self.journal.is_empty())
    }

    async fn mark(&self, gap: Gap) -> Result<(), Error> {
        let Gap { lost_from, kept, dropped } = gap;
        let fact = Fact::RecordingResumed { lost_from, kept, dropped };
        let event = Event { at: self.clock.now(), actor: Actor::Daemon, about: About::default(), fact };
        self.commit(&[Write::Fact(&event)]).await?;
        self.journal.told();
        info!("event.action" = "recording-resumed", "events can be recorded again; {kept} endings follow");
        Ok(())
    }

    async fn record_ending(&self, unrecorded: &Unrecorded) -> Result<(), Error> {
        let id = unrecorded.grant.id;
        let Some(stored) = self.store.grant_to_end(id).await? else {
            self.journal.recorded(unrecorded);
            error!("event.action" = "ending-not-recorded", "hallpass.grant.id" = %id, "the grant isn't in the store");
            return Ok(());
        };
        self.commit_as_it_happened(stored, unrecorded).await?;
        self.journal.recorded(unrecorded);
        // The record may have moved on without this process hearing of it, by a commit that it gave up on.
        self.armed.forget(id);
        if unrecorded.confirmed.is_some() {
            self.issuing.forget(id);
        }
        Ok(())
    }

    /// The beginning, the end, or both, with the times at which they happened. An end that doesn't fit isn't recorded: more
    /// was issued than had to be ended then, by a claim that was faster with its own record. It begins to end by this, and
    /// the sweeper ends it.
    async fn commit_as_it_happened(&self, stored: Grant, unrecorded: &Unrecorded) -> Result<(), Error> {
        let begun = unrecorded.begin(stored.clone());
        let now = begun.as_ref().map_or(stored, |change| change.after().clone());
        let over = match (&now.state, unrecorded.confirmed) {
            (State::Revoking(ending), Some((confirmation, at))) => {
                let lease = self.lease_digest(ending);
                now.confirm(confirmation, lease, at).ok()
            }
            _ => None,
        };
        let writes: Vec<Write<'_>> = begun.iter().chain(over.iter()).map(Write::Grant).collect();
        if writes.is_empty() { Ok(()) } else { self.commit(&writes).await }
    }
}
