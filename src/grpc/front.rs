//! Who lets callers in and whom they meet then, both of one configuration. A call takes one front at the door and keeps it
//! to its end, so that nobody is known by one configuration and judged by another.

use std::sync::{Arc, PoisonError, RwLock};

use crate::{broker::Broker, identity::Verifier};

/// What a call meets.
#[derive(Clone, Debug)]
pub struct Front {
    /// Says who calls.
    pub verifier: Arc<Verifier>,
    /// Does what is asked, by the same configuration.
    pub broker: Arc<Broker>,
}

/// The front in force.
#[derive(Debug)]
pub struct Fronts(RwLock<Front>);

impl Fronts {
    /// Begins with this one.
    #[must_use]
    pub const fn new(first: Front) -> Self {
        Self(RwLock::new(first))
    }

    /// The one in force now.
    #[must_use]
    pub fn now(&self) -> Front {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on calls meet this one; those that are under way keep theirs.
    pub fn replace(&self, next: Front) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = next;
    }
}
