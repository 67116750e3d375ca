//! Every commit goes through here, so that what is recorded is also logged and told to those who watch.

use tracing::info;

use super::{Broker, Error};
use crate::{
    access::{actor::Actor, event::Recorded, target::TargetName},
    store::Write,
};

/// The kinds of events after which there is another deadline, or a grant that is ending.
const MAKES_WORK: [&str; 2] = ["GrantOpened", "RevocationBegun"];

impl Broker {
    /// Commits, then tells: the log gets a line for each event, watchers wake, and the sweeper looks for work.
    pub(super) async fn commit(&self, writes: &[Write<'_>]) -> Result<(), Error> {
        let recorded = self.store.commit(writes).await?;
        for write in writes {
            match write {
                Write::Grant(change) => self.armed.note(change.after()),
                Write::Request(change) => {
                    change.after().state.lapses_at().into_iter().for_each(|at| self.may_lapse(at));
                }
                _ => {}
            }
        }
        for event in &recorded {
            log(event);
        }
        if let Some(last) = recorded.last() {
            // Commits may return out of order; the newest number wins.
            self.news.send_if_modified(|newest| {
                let newer = last.sequence > *newest;
                *newest = last.sequence.max(*newest);
                newer
            });
        }
        if recorded.iter().any(|event| MAKES_WORK.contains(&event.kind.as_str())) {
            self.work.notify_one();
        }
        Ok(())
    }
}

fn log(event: &Recorded) {
    let (id, name) = match &event.actor {
        Actor::Person(person) => (Some(person.subject.as_str()), Some(person.name.as_str())),
        Actor::Daemon => (None, None),
    };
    info!(
        "event.kind" = "event",
        "event.action" = event.kind,
        "event.sequence" = event.sequence,
        "user.id" = id,
        "user.name" = name,
        "hallpass.request.id" = event.about.request.map(|id| id.to_string()),
        "hallpass.grant.id" = event.about.grant.map(|id| id.to_string()),
        "hallpass.target.name" = event.about.target.as_ref().map(TargetName::as_str),
        "hallpass.detail" = event.detail.to_string(),
        "audit event {} recorded: {}",
        event.sequence,
        event.kind,
    );
}
