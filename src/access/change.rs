//! A state change and its audit event, which are one thing (I4). Only the rules make one, and the store takes nothing
//! else: a change without an event doesn't compile.

use super::event::Event;

/// The next state of a `T`, the state that it must still have in the store, and what the audit log says about it.
#[derive(Clone, Debug)]
#[must_use = "a change has happened only once the store committed it"]
pub struct Change<T> {
    from: Option<&'static str>,
    after: T,
    event: Event,
}

impl<T> Change<T> {
    pub(super) const fn first(after: T, event: Event) -> Self {
        Self { from: None, after, event }
    }

    pub(super) const fn next(from: &'static str, after: T, event: Event) -> Self {
        Self { from: Some(from), after, event }
    }

    /// The name of the state before, which the store must find; `None` for something new.
    #[must_use]
    pub const fn from(&self) -> Option<&'static str> {
        self.from
    }

    /// The state to store. Its revision is one more than the one that the store must find.
    #[must_use]
    pub const fn after(&self) -> &T {
        &self.after
    }

    /// What the audit log says about it.
    #[must_use]
    pub const fn event(&self) -> &Event {
        &self.event
    }

    /// The new state, once it is committed.
    #[must_use]
    pub fn into_after(self) -> T {
        self.after
    }
}
