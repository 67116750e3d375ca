//! The store in memory, which the simulation stands on, has to pass for a database: it keeps everything as long as the test
//! lasts, and a restart changes nothing.

use std::sync::Arc;

use hallpass::store::Store;

use super::Backend;
use crate::support::memory::MemoryStore;

/// A store of its own for one test.
pub struct Memory(Arc<dyn Store>);

impl Backend for Memory {
    async fn start() -> Self {
        Self(Arc::new(MemoryStore::default()))
    }

    fn store(&self) -> &Arc<dyn Store> {
        &self.0
    }

    async fn restart(self) -> Self {
        self
    }
}
