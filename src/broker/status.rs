//! How the daemons are, and what they have before them: for those who operate them, and who look whether they do.

use chrono::{DateTime, Utc};

use super::{Broker, Error};
use crate::{
    access::{
        actor::Caller,
        event::About,
        policy::{Scope, Subject, Verb},
    },
    store::{Duties, GrantFilter, Member, Overdue, Slice},
};

/// How many grants of a kind are counted.
const COUNTED_MAX: u32 = 1000;

/// How things are.
#[derive(Clone, Debug)]
pub struct Status {
    /// The daemons that share the store; none if one has it for itself.
    pub members: Vec<Member>,
    /// Why this one takes no work, if it takes none.
    pub problem: Option<String>,
    /// How many events there are.
    pub events: i64,
    /// How many of them are signed.
    pub events_signed: u64,
    /// When a witness signed last.
    pub cosigned_at: Option<DateTime<Utc>>,
    /// Grants that are ending, up to a bound.
    pub grants_ending: u64,
    /// Grants whose window is over, and that haven't begun to end, up to a bound.
    pub grants_closing: u64,
    /// What should be over by now, up to a bound.
    pub grants_overdue: u64,
    /// Requests whose time is over.
    pub requests_lapsing: u64,
}

impl Broker {
    /// Says how things are.
    ///
    /// # Errors
    ///
    /// If the caller may not know, or the store can't be read.
    pub async fn status(&self, caller: &Caller) -> Result<Status, Error> {
        self.allow(Verb::GetStatus, caller, Subject::Anything, About::default(), "daemons").await?;
        let now = self.clock.now();
        let (due, by) = (self.store.due(now).await?, now - self.alarm_after);
        let overdue =
            GrantFilter { overdue: Some(Overdue { begun_by: by, closed_by: by }), ..GrantFilter::default() };
        let slice = Slice { after: None, limit: COUNTED_MAX };
        let signed = self.store.ledger().last_checkpoint().await?;
        Ok(Status {
            members: self.members().await?,
            problem: self.store.duties().and_then(Duties::problem),
            events: self.store.last_sequence().await?,
            events_signed: signed.map_or(0, |checkpoint| checkpoint.size),
            cosigned_at: self.store.ledger().last_cosigned_at().await?,
            grants_ending: self.store.endings(None, COUNTED_MAX).await?.len() as u64,
            grants_closing: self.store.closing(now, COUNTED_MAX).await?.len() as u64,
            grants_overdue: self.store.grants(&Scope::All, &overdue, slice).await?.len() as u64,
            requests_lapsing: due.lapsing.len() as u64,
        })
    }
}
