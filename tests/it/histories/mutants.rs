//! What is broken on purpose, one thing at a time, to see that the checks find it: an issuer and a store that lie, people
//! whom the identity provider doesn't know as one, and a daemon that forgets.

mod issuer;
mod store;

use std::sync::Arc;

use hallpass::{store::Store, vault::Issuer};

use self::{issuer::LyingIssuer, store::LyingStore};
use crate::support::memory::MemoryStore;

/// What is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mutant {
    /// Nothing.
    #[default]
    Sound,
    /// Revoking only asks Vault to do it one day, and its answer is taken for the end (defect 2).
    AnswerIsTheEnd,
    /// Any refusal to revoke is taken for the end (defect 1).
    RefusalIsTheEnd,
    /// A lease keeps the time that its role gives it.
    NeverShortens,
    /// Leases that nobody recorded aren't found.
    ListsNothing,
    /// A grant's token lives for an hour from the start.
    TokensLive,
    /// The intent is answered for, and not stored.
    IntentIsLost,
    /// A grant's token is answered for, and not stored.
    TokenIsLost,
    /// A change loses its event.
    EventIsLost,
    /// An event loses its change.
    ChangeIsLost,
    /// A grant's window is read longer than it is.
    WindowMoves,
    /// Each login is somebody else.
    LoginsAreStrangers,
    /// After six tries, an ending isn't tried any more (defect 3).
    GivesUp,
    /// What was to be ended is forgotten at a restart (defect 7).
    TimersAreLost,
}

impl Mutant {
    pub fn issuer(self, sound: Arc<dyn Issuer>) -> Arc<dyn Issuer> {
        match self {
            Self::Sound => sound,
            _ => Arc::new(LyingIssuer::new(sound, self)),
        }
    }

    pub fn store(self, sound: Arc<dyn Store>, memory: &Arc<MemoryStore>) -> Arc<dyn Store> {
        match self {
            Self::Sound => sound,
            _ => Arc::new(LyingStore::new(sound, Arc::clone(memory), self)),
        }
    }
}
