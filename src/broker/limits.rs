//! What is held of a target, counted before one more grant is opened. One claim at a time for each target that has limits,
//! from the count to the commit: two that counted the same would both be let in.

use super::{Broker, Error, duty::Alone};
use crate::{
    access::{limits::Held, refusal::Refusal, request::Request, target::Target},
    store::Duty,
};

/// While this is kept, nobody else is counted for the target.
pub(super) type Counting = Option<Alone>;

impl Broker {
    /// Refuses what the target's limits refuse.
    pub(super) async fn within_limits(
        &self,
        request: &Request,
        target: Option<&Target>,
        rule: impl FnOnce(&Target, Held) -> Result<(), Refusal>,
    ) -> Result<Counting, Error> {
        let Some(target) = target.filter(|target| !target.limits.is_none()) else { return Ok(None) };
        let (name, duty) = (target.name.as_str(), Duty::Target(target.name.clone()));
        let counting = self.alone(&self.counting, name, duty).await?;
        let held = self.store.held(&target.name, &request.ask.requester.subject, request.id).await?;
        match rule(target, held) {
            Ok(()) => Ok(Some(counting)),
            Err(refusal) => Err(Error::Refused { name: format!("targets/{}", target.name), refusal }),
        }
    }
}
