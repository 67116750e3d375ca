//! Who does it, where several daemons share a store: each thing that must not be done twice at once is a duty, which one of them
//! takes. Where one daemon has the store for itself, everything is its own.

use std::sync::Arc;

use chrono::TimeDelta;
use tokio::sync::{OwnedMutexGuard, watch as channel};

use super::{
    Broker, Error,
    issuing::{AtWork, Locks},
};
use crate::{
    access::{change::Change, grant::Grant, id::GrantId, target::Target},
    store::{Duties, Duty, Member, Store, Write},
};

/// How long to wait before it is tried again to take what another daemon has.
const TRY_AGAIN: std::time::Duration = std::time::Duration::from_millis(50);

/// How long after other daemons recorded something it is looked what may lapse by that: not after each of their commits. A request
/// that lapsed meanwhile is refused all the same; that it did is on record that much later.
const LAPSES_AFTER: TimeDelta = TimeDelta::seconds(1);

/// A duty that is given back when this is dropped.
#[derive(Debug)]
pub(super) struct OnDuty {
    store: Arc<dyn Store>,
    duty: Option<Duty>,
}

impl Drop for OnDuty {
    fn drop(&mut self) {
        if let (Some(duties), Some(duty)) = (self.store.duties(), self.duty.take()) {
            duties.give_back(duty);
        }
    }
}

/// Shows that nobody else does the same, in this process or in another one, until it is dropped.
#[derive(Debug)]
pub(super) struct Alone {
    _among_daemons: OnDuty,
    _here: OwnedMutexGuard<()>,
}

/// Shows that a claim is at work on a grant, until it is dropped.
#[derive(Debug)]
pub(super) struct Working<'a> {
    _among_daemons: OnDuty,
    _here: AtWork<'a>,
}

impl Broker {
    /// Begins to work on a grant that is about to be opened.
    ///
    /// # Errors
    ///
    /// If the store can't be asked, or this daemon takes no work.
    pub(super) async fn at_work(&self, id: GrantId) -> Result<Working<'_>, Error> {
        let among_daemons = self.on_duty(Duty::Grant(id)).await?;
        Ok(Working { _among_daemons: among_daemons, _here: self.issuing.begin(id) })
    }

    /// Commits a change of a grant that this daemon is at work on, unless another one has taken that over.
    ///
    /// # Errors
    ///
    /// Like each commit, and with [`Error::OffDuty`].
    pub(super) async fn commit_on_duty(
        &self,
        change: &Change<Grant>,
        more: &[Write<'_>],
    ) -> Result<(), Error> {
        let duty = Duty::Grant(change.after().id);
        self.commit(&[&[Write::Fenced(&duty)], more, &[Write::Grant(change)]].concat()).await
    }

    /// Takes a duty, if nobody else has it.
    ///
    /// # Errors
    ///
    /// If the store can't be asked.
    pub(super) async fn takes(&self, duty: &Duty) -> Result<bool, Error> {
        match self.store.duties() {
            None => Ok(true),
            Some(duties) => Ok(duties.take(duty).await?),
        }
    }

    /// Takes a duty that somebody begins, and keeps it as long as the answer is.
    ///
    /// # Errors
    ///
    /// If another daemon has it, or the store can't be asked.
    pub(super) async fn on_duty(&self, duty: Duty) -> Result<OnDuty, Error> {
        if self.takes(&duty).await? {
            Ok(OnDuty { store: Arc::clone(&self.store), duty: Some(duty) })
        } else {
            Err(Error::OffDuty { duty: duty.to_string() })
        }
    }

    /// Gives a duty back.
    pub(super) fn gives_back(&self, duty: Duty) {
        if let Some(duties) = self.store.duties() {
            duties.give_back(duty);
        }
    }

    /// Waits until nobody else does the same: first here, by the name, then among the daemons.
    ///
    /// # Errors
    ///
    /// If the store can't be asked, or this daemon takes no work.
    pub(super) async fn alone(&self, locks: &Locks, name: &str, duty: Duty) -> Result<Alone, Error> {
        let here = locks.lock(name).await;
        while !self.takes(&duty).await? {
            if self.store.duties().and_then(Duties::problem).is_some() {
                return Err(Error::OffDuty { duty: duty.to_string() });
            }
            self.clock.sleep(TRY_AGAIN).await;
        }
        let among_daemons = OnDuty { store: Arc::clone(&self.store), duty: Some(duty) };
        Ok(Alone { _among_daemons: among_daemons, _here: here })
    }

    /// Refuses to begin anything as long as this daemon takes no work.
    pub(super) fn must_be_on_duty(&self, target: &Target) -> Result<(), Error> {
        match self.store.duties().and_then(Duties::problem) {
            None => Ok(()),
            Some(problem) => Err(Error::DutyBlocked { name: format!("targets/{}", target.name), problem }),
        }
    }

    /// Whether a chore is this daemon's: the first one that asks has it, until it is gone.
    pub async fn has_chore(&self, name: &'static str) -> bool {
        self.takes(&Duty::Chore(name)).await.unwrap_or(false)
    }

    /// Returns when a daemon is gone that shared the store, so that what it was at is anybody's; never, if none does.
    pub async fn somebody_gone(&self, seen: &mut Option<channel::Receiver<u64>>) {
        let Some(duties) = self.store.duties() else { return std::future::pending().await };
        // The sender lives in the store that this holds, so it can't be gone.
        let _ = seen.get_or_insert_with(|| duties.gone()).changed().await;
    }

    /// Tells those who watch, and whoever waits for work, of what other daemons record; for ever.
    pub async fn follow_others(&self) {
        let Some(duties) = self.store.duties() else { return std::future::pending().await };
        let mut grown = duties.grown();
        while grown.changed().await.is_ok() {
            let last = *grown.borrow_and_update();
            let is_news = self.news.send_if_modified(|newest| {
                let newer = last > *newest;
                *newest = last.max(*newest);
                newer
            });
            if is_news {
                self.may_lapse(self.clock.now() + LAPSES_AFTER);
            }
        }
    }

    /// The daemons that share the store; none if one has it for itself.
    ///
    /// # Errors
    ///
    /// If the store can't be asked.
    pub async fn members(&self) -> Result<Vec<Member>, Error> {
        match self.store.duties() {
            None => Ok(Vec::new()),
            Some(duties) => Ok(duties.members().await?),
        }
    }
}
