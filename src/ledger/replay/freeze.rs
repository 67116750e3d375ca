//! Freezes, and what happens to none of the requests: configurations and refusals.

use std::collections::BTreeMap;

use super::{Event, Place, Replay};

/// The freezes that stand, by what they cover, and whether each ends what is held.
#[derive(Debug, Default)]
pub(super) struct Freezes(BTreeMap<String, bool>);

impl Freezes {
    /// Whether nothing of this target may be granted.
    pub(super) fn cover(&self, target: &str) -> bool {
        self.0.contains_key(target) || self.0.contains_key("*")
    }
}

impl Replay {
    pub(super) fn frozen_or_thawed(&mut self, place: Place<'_>, event: &Event<'_>) {
        self.person(place, event);
        let Some(extent) = event.detail.text("extent") else {
            return self.wrong(place, "doesn't say what it covers");
        };
        let target = (extent != "*").then_some(extent.as_ref());
        self.must(place, event.target.as_deref() == target, "is about another target than it covers");
        let stands = self.freezes.0.get(extent.as_ref()).copied();
        if event.kind == "TargetsThawed" {
            self.must(place, stands.is_some(), "thaws what isn't frozen");
            self.freezes.0.remove(extent.as_ref());
            return;
        }
        let ends = event.detail.flag("ends_grants").unwrap_or_default();
        let is_new = stands.is_none_or(|ended| ends && !ended);
        self.must(place, is_new, "freezes once more what is frozen, and adds nothing to it");
        self.freezes.0.insert(extent.into_owned(), ends || stands == Some(true));
    }

    pub(super) fn configured(&mut self, place: Place<'_>, event: &Event<'_>) {
        self.must_be_the_daemon(place, event);
        self.removed = event.detail.number("ended").unwrap_or_default();
    }

    pub(super) fn attempt_refused(&mut self, place: Place<'_>, event: &Event<'_>) {
        self.person(place, event);
        let known = |known: bool, there: bool| known || !there;
        let request = event.request.is_some_and(|id| self.requests.contains_key(&id.number));
        let grant = event.grant.is_some_and(|id| self.grants.knows(id.number));
        let fits = known(request, event.request.is_some()) && known(grant, event.grant.is_some());
        self.must(place, fits, "is about what was never recorded");
    }
}
